"""GatedConv's network (Yu et al. 2019, sec. 3), known as DeepFill v2.

Two stages of gated convolutions without normalisation. The first paints the hole coarsely; the
second sees that pasted into the image, and refines it in two branches, one of dilated
convolutions, one of contextual attention. Layers as in the authors' code. Widths are nominal, as
the source counts them: features and gates together, so that 48 means 24 effective channels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdlib.contextual_attention import contextual_attention
from cdlib.layers import GatedConv2d
from cdlib.masks import compose


@dataclass(frozen=True)
class Row:
    """A gated convolution: `width` in units of the nominal base width; `enlarge` x2 before it."""

    kernel: int
    width: float
    stride: int = 1
    dilation: int = 1
    enlarge: bool = False
    activation: type[nn.Module] = nn.ELU


DILATED = tuple(Row(3, 4, dilation=dilation) for dilation in (2, 4, 8, 16))
DECODER = (
    Row(3, 4),
    Row(3, 4),
    Row(3, 2, enlarge=True),  # 1/4 -> 1/2
    Row(3, 2),
    Row(3, 1, enlarge=True),  # -> 1
    Row(3, 0.5),
)
COARSE = (
    Row(5, 1),
    Row(3, 2, stride=2),  # -> 1/2
    Row(3, 2),
    Row(3, 4, stride=2),  # -> 1/4
    Row(3, 4),
    Row(3, 4),
    *DILATED,
    *DECODER,
)
CONVOLUTIONAL_BRANCH = (
    Row(5, 1),
    Row(3, 1, stride=2),
    Row(3, 2),
    Row(3, 2, stride=2),
    Row(3, 4),
    Row(3, 4),
    *DILATED,
)
BEFORE_ATTENTION = (
    Row(5, 1),
    Row(3, 1, stride=2),
    Row(3, 2),
    Row(3, 4, stride=2),
    Row(3, 4),
    Row(3, 4, activation=nn.ReLU),  # similarities of what is there, none of what is not
)
AFTER_ATTENTION = (Row(3, 4), Row(3, 4))


class DeepFill(nn.Module):
    """Masked image (B,3,H,W) in [0,1], mask (B,1,H,W), 1 valid -> coarse and refined image, alike.

    Both outputs cover the whole frame, in [0,1]. H and W are multiples of 8. Inside, images lie
    in [-1,1] and the hole is 0; the first stage also sees a plane of ones and the hole.
    """

    def __init__(self, width: int = 48):
        super().__init__()
        deep, last = _channels(4, width), _channels(0.5, width)
        self.coarse = nn.Sequential(*_layers(COARSE, 5, width), _to_image(last))
        self.convolutional = nn.Sequential(*_layers(CONVOLUTIONAL_BRANCH, 3, width))
        self.before_attention = nn.Sequential(*_layers(BEFORE_ATTENTION, 3, width))
        self.after_attention = nn.Sequential(*_layers(AFTER_ATTENTION, deep, width))
        self.decoder = nn.Sequential(*_layers(DECODER, 2 * deep, width), _to_image(last))
        for layer in self.modules():
            if isinstance(layer, GatedConv2d):
                # Nothing normalises, and a gate starts at 1/2. From the source's own start (Glorot)
                # a millionth of the signal arrives at the output, and a short training is over
                # before it has grown.
                nn.init.kaiming_normal_(layer.feature.weight)
                with torch.no_grad():
                    layer.feature.weight *= 2

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x = (2 * image - 1) * mask
        coarse = torch.tanh(self.coarse(torch.cat([x, torch.ones_like(mask), 1 - mask], dim=1)))
        pasted = compose(coarse, x, mask)
        attended = self.before_attention(pasted)  # (B,C,H/4,W/4)
        valid = 1 - F.max_pool2d(1 - mask, 4)  # (B,1,H/4,W/4): nothing of the hole inside
        attended = self.after_attention(contextual_attention(attended, valid))
        deep = torch.cat([self.convolutional(pasted), attended], dim=1)  # (B,2C,H/4,W/4)
        refined = torch.tanh(self.decoder(deep))
        return (coarse + 1) / 2, (refined + 1) / 2


def _channels(multiple: float, width: int) -> int:
    return max(1, round(multiple * width / 2))


def _layers(rows: tuple[Row, ...], inputs: int, width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for row in rows:
        if row.enlarge:
            layers.append(nn.Upsample(scale_factor=2))
        channels = _channels(row.width, width)
        layers.append(
            GatedConv2d(
                inputs,
                channels,
                row.kernel,
                row.stride,
                row.dilation,
                norm=nn.Identity,
                activation=row.activation(),
            )
        )
        inputs = channels
    return layers


def _to_image(inputs: int) -> nn.Module:
    return nn.Conv2d(inputs, 3, kernel_size=3, padding=1)
