"""`Ours_bicubic`: the compressor's LR image enlarged by bicubic interpolation, a floor."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from cdlib.methods import compressor
from cdlib.methods.context import Context
from cdlib.nets.compression import FACTOR


def enlarge(lr: Tensor) -> Tensor:
    """(B,3,h,w) -> (B,3,8h,8w) in [0,1]."""
    return F.interpolate(lr, scale_factor=FACTOR, mode="bicubic", align_corners=False).clamp(0, 1)


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    compress = compressor.load(context)
    return lambda image, mask: enlarge(compress(image, mask))
