"""The primitives that the networks share: gated and partial convolution.

Gated convolution: Yu et al. 2019, *Free-Form Image Inpainting with Gated Convolution*, sec. 3.1.
The paper of this study adds BatchNorm and LeakyReLU to every gated layer. Partial convolution:
Liu et al. 2018, *Image Inpainting for Irregular Holes Using Partial Convolutions*, sec. 3.1.

These are the plain forms, written as the equations read. `cdlib.fast` replaces them by faster
ones that compute the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedConv2d(nn.Module):
    """activation(norm(W_f * x)) x sigmoid(W_g * x): a convolution and its learnt soft mask.

    (B, inputs, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)). Source: Yu et al. 2019,
    sec. 3.1, eq. (2); BatchNorm between the features and their activation is this paper's.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        norm: type[nn.Module] = nn.BatchNorm2d,
        activation: nn.Module | None = None,
    ):
        super().__init__()
        shape = {
            "kernel_size": kernel,
            "stride": stride,
            "dilation": dilation,
            "padding": dilation * (kernel // 2),
        }
        self.feature = nn.Conv2d(inputs, channels, **shape)
        self.gate = nn.Conv2d(inputs, channels, **shape)
        self.norm = norm(channels)
        self.activation = activation or nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.feature(x))) * torch.sigmoid(self.gate(x))


class StridedConv1x1(nn.Conv2d):
    """A 1x1 convolution with a stride, as a slice and a 1x1 convolution of stride 1.

    The same numbers as `nn.Conv2d(..., 1, stride)`. Written so because the channels_last backward
    pass of the strided form crashes on CPUs below 8 input channels, which is the case of RB_0.
    """

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__(inputs, channels, kernel_size=1)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., :: self.step, :: self.step])


class PartialConv2d(nn.Module):
    """Convolution over valid values only, and the mask of where it found any.

    x (B,inputs,H,W) and its mask (B,1,H,W), 1 valid -> (B,channels,H',W') and a mask
    (B,1,H',W'). Where only some channels are valid, as after a concatenation, the mask holds
    their share and the others are 0. What lies outside the frame counts as missing; a window with
    nothing valid gives 0. Source: Liu et al. 2018, sec. 3.1, eq. (1) and (2).
    """

    def __init__(self, inputs: int, channels: int, kernel: int, stride: int = 1, bias: bool = True):
        super().__init__()
        self.window = {"kernel_size": kernel, "stride": stride, "padding": kernel // 2}
        self.conv = nn.Conv2d(inputs, channels, **self.window, bias=False)
        # The convolution has no bias of its own: the sum is renormalised before it is added.
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1)) if bias else None

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        share = F.avg_pool2d(mask, **self.window)  # (B,1,H',W'): valid part of each window
        found = (share > 0).to(x.dtype)
        out = self.conv(x * (mask > 0).to(x.dtype)) / torch.where(share > 0, share, 1)
        if self.bias is not None:
            out = out + self.bias
        return out * found, found
