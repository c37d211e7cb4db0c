"""The fast forms of `nn.Conv2d` and of the gated convolution."""

import torch
from torch import Tensor, nn

from cdlib.fast.winograd import convolve
from cdlib.layers import GatedConv2d


def _pays(conv: nn.Conv2d) -> bool:
    """Whether Winograd has a form for `conv` and is faster, judged by its settings."""
    kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
    same = (dilation * (kernel // 2),) * 2
    return (
        conv.kernel_size in {(3, 3), (5, 5)}
        and conv.stride == (stride, stride)
        and conv.dilation == (dilation, dilation)
        and (stride == 1 or (stride == 2 and dilation == 1))
        and conv.padding == same
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and conv.in_channels * stride**2 >= 16
        and conv.out_channels >= 16
    )


class FastConv2d(nn.Conv2d):
    fits = staticmethod(_pays)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.weight, self.bias, self.stride[0], self.dilation[0])


class FastGatedConv2d(GatedConv2d):
    @staticmethod
    def fits(module: GatedConv2d) -> bool:
        return _pays(module.feature)

    def forward(self, x: Tensor) -> Tensor:
        feature, gate = self.feature, self.gate
        both = convolve(
            x,
            torch.cat([feature.weight, gate.weight]),
            torch.cat([feature.bias, gate.bias]),
            feature.stride[0],
            feature.dilation[0],
        )
        values, mask = both.split(feature.out_channels, dim=1)
        values = values.contiguous(memory_format=torch.channels_last)
        return self.activation(self.norm(values)) * torch.sigmoid(mask)
