"""The compression network (paper sec. 3.1, Table 1): masked image -> completed image at 1/8 size.

A ResNet-like stack of gated convolutions: residual blocks RB_0 to RB_10, then the mapping block MB.
How we read the paper where it is open stands in docs/interpretation.md; two points matter here.
The printed table was not at hand when this one was typed: `TABLE` is reconstructed from what is
known of it (block names, strides, the plain 1x1 shortcut of RB_0, 18.07 M parameters and
56.9 GMAC at 256 px). And MB is a plain convolution and a sigmoid: gated, normalised and rectified
like the other layers its output cannot get dark, and the network hardly learns.
"""

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from cdlib.layers import GatedConv2d, StridedConv1x1

FACTOR = 8  # HR side / LR side


@dataclass(frozen=True)
class Row:
    """One block of Table 1. RB: two gated convolutions, the first strided, and a shortcut."""

    block: str
    kernel: int
    channels: int
    stride: int
    shortcut: int | None  # kernel of the plain convolution beside the gated pair


TABLE = (
    Row("RB_0", kernel=5, channels=128, stride=2, shortcut=1),  # 256 -> 128
    Row("RB_1", kernel=5, channels=128, stride=2, shortcut=1),  # -> 64
    Row("RB_2", kernel=5, channels=128, stride=1, shortcut=1),
    Row("RB_3", kernel=5, channels=128, stride=1, shortcut=1),
    Row("RB_4", kernel=5, channels=128, stride=1, shortcut=1),
    Row("RB_5", kernel=5, channels=128, stride=1, shortcut=1),
    Row("RB_6", kernel=5, channels=128, stride=2, shortcut=3),  # -> 32
    Row("RB_7", kernel=5, channels=128, stride=1, shortcut=3),
    Row("RB_8", kernel=5, channels=128, stride=1, shortcut=3),
    Row("RB_9", kernel=5, channels=128, stride=1, shortcut=3),
    Row("RB_10", kernel=5, channels=128, stride=1, shortcut=3),
    Row("MB", kernel=3, channels=3, stride=1, shortcut=None),
)


class ResidualBlock(nn.Module):
    """RB: two gated convolutions beside a plain, normalised shortcut (He et al. 2016, option C)."""

    def __init__(self, inputs: int, channels: int, row: Row):
        super().__init__()
        self.first = GatedConv2d(inputs, channels, row.kernel, row.stride)
        self.second = GatedConv2d(channels, channels, row.kernel)
        if row.shortcut == 1:
            shortcut = StridedConv1x1(inputs, channels, row.stride)
        else:
            shortcut = nn.Conv2d(
                inputs, channels, row.shortcut, row.stride, padding=row.shortcut // 2
            )
        self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.shortcut(x)


class CompressionNetwork(nn.Module):
    """Masked image (B,3,H,W) and mask (B,1,H,W), 1 valid -> LR image (B,3,H/8,W/8), all in [0,1].

    Table 1 with every channel count but MB's multiplied by `width`. `mapping="gated"` is the
    literal reading of MB, kept for the ablation.

    Raises:
        ValueError: from `forward`, when H or W is not a multiple of 8.
    """

    def __init__(self, width: float = 1.0, mapping: Literal["plain", "gated"] = "plain"):
        super().__init__()
        *residual, last = TABLE
        channels = 4  # RGB and the mask
        blocks = []
        for row in residual:
            out = max(1, round(row.channels * width))
            blocks.append(ResidualBlock(channels, out, row))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        if mapping == "gated":
            self.mapping = GatedConv2d(channels, last.channels, last.kernel)
        else:
            self.mapping = nn.Sequential(
                nn.Conv2d(channels, last.channels, last.kernel, padding=last.kernel // 2),
                nn.Sigmoid(),
            )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if height % FACTOR or width % FACTOR:
            raise ValueError(
                f"image size {height}x{width}: both sides must be multiples of {FACTOR}"
            )
        x = torch.cat([image, mask], dim=1)  # (B,4,H,W)
        x = self.blocks(x)  # (B,C,H/8,W/8)
        return self.mapping(x)  # (B,3,H/8,W/8)

    @staticmethod
    def table() -> pd.DataFrame:
        """Table 1, a row a layer: columns `block, layer, kernel, channels, stride`."""
        rows = []
        for row in TABLE:
            if row.shortcut is None:
                rows.append((row.block, "mapping", row.kernel, row.channels, row.stride))
                continue
            rows.append((row.block, "gated 1", row.kernel, row.channels, row.stride))
            rows.append((row.block, "gated 2", row.kernel, row.channels, 1))
            rows.append((row.block, "shortcut", row.shortcut, row.channels, row.stride))
        return pd.DataFrame(rows, columns=["block", "layer", "kernel", "channels", "stride"])
