"""For every test: figures without a screen, and the global generators seeded."""

import random

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """cdlib draws from no global generator; what libraries draw from them is made the same."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
