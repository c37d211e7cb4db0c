"""Faster forms of the primitives, for training on a CPU: the same numbers within rounding.

Winograd's method for convolutions of stride 1, any dilation: `toom_cook.py` makes its matrices,
`tiling.py` says where it pays, `winograd.py` is the method, `modules.py` the layers.
What was measured, also of ideas that gave nothing, stands in docs/performance.md.
"""

import torch
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from cdlib.fast.memory import keep_freed_memory
from cdlib.fast.modules import FastConv2d, FastELU, FastGatedConv2d, FastInstanceNorm2d
from cdlib.layers import GatedConv2d

FAST: dict[type[nn.Module], type[nn.Module]] = {
    GatedConv2d: FastGatedConv2d,
    nn.Conv2d: FastConv2d,
    nn.ELU: FastELU,
    nn.InstanceNorm2d: FastInstanceNorm2d,
}


def accelerate(net: nn.Module) -> nn.Module:
    """Swap the class of every module of `net` that has a faster form, in place; returns `net`.

    Parameters, buffers and their names stay as they are. Memory becomes channels_last, and the
    process keeps what it frees (`keep_freed_memory`). Double backward is not supported.
    """
    for module in net.modules():
        plain = type_before_parametrizations(module)
        module.__class__ = _fast_form(type(module), plain) if plain in FAST else type(module)
    keep_freed_memory()
    return net.to(memory_format=torch.channels_last)


def _fast_form(own: type[nn.Module], plain: type[nn.Module]) -> type[nn.Module]:
    """The class to swap `own` for: a parametrised module has one of its own above the plain one."""
    if own is plain:
        return FAST[plain]
    body = {k: v for k, v in vars(own).items() if k not in ("__dict__", "__weakref__")}
    return type(own.__name__, (FAST[plain],), body)
