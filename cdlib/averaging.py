"""The running average of the weights (EMA), which is what is validated and kept."""

from collections.abc import Mapping

import torch
from torch import nn


@torch.no_grad()
def follow(
    averages: Mapping[str, nn.Module], nets: Mapping[str, nn.Module], ema: float, step: int
) -> None:
    """Move each average towards its net by 1 - ema, buffers included; after step `step`, from 1.

    It follows closely at first, when the weights still travel far.
    """
    weight = 1 - min(ema, step / (step + 9))
    for name, average in averages.items():
        pairs = zip(average.state_dict().values(), nets[name].state_dict().values(), strict=True)
        for mean, new in pairs:
            if mean.is_floating_point():
                mean.lerp_(new, weight)
            else:
                mean.copy_(new)
