"""The fast forms of `nn.Conv2d` and of the gated convolution, drop-in for the plain ones."""

import torch
from torch import Tensor, nn

from cdlib.fast.tiling import Convolution, Tiling, best
from cdlib.fast.winograd import convolve
from cdlib.layers import GatedConv2d


def _tiling(x: Tensor, *convolutions: nn.Conv2d) -> Tiling | None:
    """The tiling for `convolutions`, alike but for their weights, of x (B, C, H, W), if any."""
    first = convolutions[0]
    settings = first.kernel_size, first.stride, first.padding, first.dilation
    square = all(len(set(setting)) == 1 for setting in settings)
    if not square or first.groups > 1 or first.padding_mode != "zeros" or x.dtype != torch.float32:
        return None
    outputs = sum(convolution.out_channels for convolution in convolutions)
    sides = (setting[0] for setting in settings)
    return best(Convolution(*x.shape[2:], first.in_channels, outputs, *sides))


class FastConv2d(nn.Conv2d):
    """`nn.Conv2d`, by Winograd's method where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        tiling = _tiling(x, self)
        return super().forward(x) if tiling is None else convolve(x, tiling, self)[0]


class FastGatedConv2d(GatedConv2d):
    """`GatedConv2d`, its two convolutions as one by Winograd's method where that pays."""

    def forward(self, x: Tensor) -> Tensor:
        tiling = _tiling(x, self.feature, self.gate)
        if tiling is None:
            return super().forward(x)
        feature, gate = convolve(x, tiling, self.feature, self.gate)
        return self.activation(self.norm(feature)) * torch.sigmoid(gate)
