"""Fills that know nothing, the floors of every metric: mean colour, black, stretched."""

from collections.abc import Callable

import torch
from torch import Tensor

from cdlib.methods.context import Context
from cdlib.texture import stretch_valid

Fill = Callable[[Tensor, Tensor], Tensor]


def load_mean(_: Context) -> Fill:
    def fill(image: Tensor, mask: Tensor) -> Tensor:
        colour = (image * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True)
        return torch.where(mask > 0, image, colour)

    return fill


def load_masked(_: Context) -> Fill:
    return lambda image, mask: image * mask


def load_stretch(_: Context) -> Fill:
    return stretch_valid
