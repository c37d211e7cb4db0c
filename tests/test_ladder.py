"""The sanity ladder on photographs: the committed nets beat the mean colour and the stretch.

Composed L1 on held-out test photographs: of all of them, as the committed tables have it, and of
the first ones anew from the nets, where the photographs are at hand (README, "Real data").
"""

import pandas as pd
import pytest
import torch

from cdlib import metrics
from cdlib.data.batches import side_batches
from cdlib.masks import compose
from cdlib.methods import METHODS, finished_methods, open_for_scoring
from cdlib.runs import Run, project_root
from cdlib.settings import load_profile
from cdlib.workspace import Workspace

RESULTS = project_root() / "results" / "cpu"
FLOORS = ("mean", "stretch")
IMAGES = 30
TRAINED = [name for name, method in METHODS.items() if method.nets and not method.oracle]


def table(dataset):
    rows = pd.read_csv(RESULTS / "tables" / f"table2_{dataset}_intervals.csv")
    return rows[(rows["variant"] == "composed") & (rows["metric"] == "l1")].set_index("method")


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("dataset", ["scenes", "celeba"])
def test_every_trained_network_beats_the_floors_in_the_committed_tables(dataset, floor):
    rows = table(dataset)
    trained = [method for method in TRAINED if method in rows.index]
    assert len(trained) >= 3
    assert (rows.loc[trained, "high"] < rows.loc[floor, "low"]).all()


@pytest.fixture(params=["scenes", "faces"])
def held_out(request, monkeypatch):
    """The run on one data set, and its first test photographs under each of the four sides."""
    monkeypatch.chdir(project_root())  # which a profile's paths are relative to
    profile = load_profile("cpu", {"train.allowed": False})
    settings = getattr(profile.data, request.param)
    if not settings.root.is_dir():
        pytest.skip(f"the photographs are not at hand: {settings.root}")
    workspace, firsts = Workspace(profile, Run(RESULTS)), {}
    for side, _, batch in side_batches(workspace.arrays(settings.name).test, profile, IMAGES):
        firsts.setdefault(side, batch)
    return workspace.context(settings.name), list(firsts.values())


def l1(name, context, batches):
    """Composed L1 of each image under each side, (4 x images,)."""
    method = open_for_scoring(name, context)
    return torch.cat([metrics.l1(compose(method(b), b.image, b.mask), b.image) for b in batches])


def test_every_trained_network_beats_the_floors_on_photographs(held_out):
    errors = {
        name: l1(name, *held_out) for name in finished_methods((*TRAINED, *FLOORS), held_out[0])
    }
    floor = min(errors[name].mean() for name in FLOORS)
    trained = {name: float(errors[name].mean()) for name in errors if name not in FLOORS}
    assert len(trained) >= 3
    assert max(trained.values()) < floor, (trained, floor)
