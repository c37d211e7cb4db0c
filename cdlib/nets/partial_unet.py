"""PartialConv's network (Liu et al. 2018, sec. 3.2): a U-Net of partial convolutions.

The source's eight halvings bring 256 px to 1 and 512 px to 2. A smaller image has fewer: as many
as bring it to 1 or 2 px, so 7 at 128 px and 6 at 64 and 96 px.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cdlib.layers import PartialConv2d


@dataclass(frozen=True)
class Row:
    """A halving of the encoder: `width` in units of the base width."""

    kernel: int
    width: int


ENCODER = (Row(7, 1), Row(5, 2), Row(5, 4), Row(3, 8), Row(3, 8), Row(3, 8), Row(3, 8), Row(3, 8))


def halvings(size: int) -> int:
    """How often an image of this side is halved until 1 or 2 px are left, at most eight times."""
    return min(len(ENCODER), size.bit_length() - 1)


class PartialBlock(nn.Module):
    """Partial convolution, BatchNorm or a bias, activation; the mask goes along."""

    def __init__(self, conv: PartialConv2d, norm: nn.Module, activation: nn.Module):
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, mask = self.conv(x, mask)
        return self.activation(self.norm(x)), mask


class PartialUNet(nn.Module):
    """Masked image (B,3,H,W) in [0,1] and mask (B,1,H,W), 1 valid -> image (B,3,H,W), unbounded.

    `size` is the side that the depth is made for; other sizes pass too, at that depth. Inside,
    images lie in [-1,1].
    """

    def __init__(self, size: int, width: int = 64):
        super().__init__()
        encoder, decoder = [], []
        inputs = 3
        for level, row in enumerate(ENCODER[: halvings(size)]):
            first, channels = level == 0, row.width * width
            encoder.append(
                PartialBlock(
                    PartialConv2d(inputs, channels, row.kernel, stride=2, bias=first),
                    nn.Identity() if first else nn.BatchNorm2d(channels),
                    nn.ReLU(),
                )
            )
            # What this level's halving took apart, the decoder puts together: the enlarged
            # features and the halving's input, to as many channels as that input had.
            decoder.append(
                PartialBlock(
                    PartialConv2d(channels + inputs, inputs, kernel=3, bias=first),
                    nn.Identity() if first else nn.BatchNorm2d(inputs),
                    nn.Identity() if first else nn.LeakyReLU(0.2),
                )
            )
            inputs = channels
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(reversed(decoder))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)  # the source's: He et al. 2015

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = 2 * image - 1
        skips = []
        for block in self.encoder:
            skips.append((x, mask))
            x, mask = block(x, mask)
        for block in self.decoder:
            skip, skip_mask = skips.pop()
            size = skip.shape[-2:]
            x, mask = F.interpolate(x, size), F.interpolate(mask, size)
            # Two masks, each of its own channels: a window's valid share counts both.
            shares = x.shape[1] * mask + skip.shape[1] * skip_mask
            x = torch.cat([x * mask, skip * skip_mask], dim=1)
            x, mask = block(x, shares / x.shape[1])
        return (x + 1) / 2

    def freeze_encoder_norms(self) -> None:
        """The encoder's BatchNorm as it is, statistics and weights: the source's second phase."""
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
