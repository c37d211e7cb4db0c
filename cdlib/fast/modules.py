"""The fast forms of single modules, drop-in for the plain ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdlib.fast.elu import Elu
from cdlib.fast.instance_norm import instance_norm
from cdlib.fast.tiling import Convolution, Tiling, best
from cdlib.fast.winograd import convolve
from cdlib.layers import GatedConv2d

VECTORS = 32  # channels from which a convolution keeps the processor's vectors busy by itself


def _tiling(x: Tensor, *convolutions: nn.Conv2d) -> Tiling | None:
    """The tiling for `convolutions`, alike but for their weights, of x (B, C, H, W), if any."""
    first = convolutions[0]
    settings = first.kernel_size, first.stride, first.padding, first.dilation
    square = all(len(set(setting)) == 1 for setting in settings)
    if not square or first.groups > 1 or first.padding_mode != "zeros" or x.dtype != torch.float32:
        return None
    outputs = sum(convolution.out_channels for convolution in convolutions)
    sides = (setting[0] for setting in settings)
    of = Convolution(len(x), *x.shape[2:], first.in_channels, outputs, *sides)
    return best(of)


class FastConv2d(nn.Conv2d):
    """`nn.Conv2d`, by Winograd's method where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        tiling = _tiling(x, self)
        return super().forward(x) if tiling is None else convolve(x, tiling, self)[0]


class FastGatedConv2d(GatedConv2d):
    """`GatedConv2d`, its two convolutions as one where that pays, by Winograd's method or not."""

    def forward(self, x: Tensor) -> Tensor:
        tiling = _tiling(x, self.feature, self.gate)
        if tiling is not None:
            feature, gate = convolve(x, tiling, self.feature, self.gate)
        elif self.feature.out_channels < VECTORS:
            feature, gate = _side_by_side(x, self.feature, self.gate)
        else:
            feature, gate = self.feature(x), self.gate(x)
        return self.activation(self.norm(feature)) * torch.sigmoid(gate)


def _side_by_side(x: Tensor, *convolutions: nn.Conv2d) -> list[Tensor]:
    """Convolutions of one input, alike but for their weights, as one with all their channels.

    A processor computes 16 channels at a time, and narrow layers would leave half of them idle.
    Copying the results apart costs what wider layers would gain.
    """
    first = convolutions[0]
    weight = torch.cat([convolution.weight for convolution in convolutions])
    bias = torch.cat([convolution.bias for convolution in convolutions])
    both = F.conv2d(x, weight, bias, first.stride, first.padding, first.dilation)
    # Copies of their own: what follows is slow on every other block of channels.
    parts = both.chunk(len(convolutions), dim=1)
    return [part.contiguous(memory_format=torch.channels_last) for part in parts]


class FastELU(nn.ELU):
    """`nn.ELU` (alpha 1), not in place."""

    def forward(self, x: Tensor) -> Tensor:
        return Elu.apply(x)


class FastInstanceNorm2d(nn.InstanceNorm2d):
    """`nn.InstanceNorm2d` as it is by default: without weights or running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x, self.eps)
