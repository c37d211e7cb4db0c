"""EdgeConnect's networks (Nazeri et al. 2019, sec. 3 and appendix A): edges first, then colours.

Two generators of one build and two critics of another. `width` is the first layer's channels, the
source's 64. Convolutions that an InstanceNorm follows have no bias: it would take it out again.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

RESIDUAL_BLOCKS = 8


class ResidualBlock(nn.Module):
    """x + two 3x3 convolutions, the first of dilation 2: it widens what the generator sees."""

    def __init__(self, channels: int, wrap: Callable[[nn.Module], nn.Module]):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(2),
            wrap(nn.Conv2d(channels, channels, 3, dilation=2, bias=False)),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            wrap(nn.Conv2d(channels, channels, 3, bias=False)),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """(B,inputs,H,W) -> logits (B,outputs,H,W); H and W multiples of 4, at least 16.

    `spectral` normalises every layer but the last, as the edge generator has it.
    """

    def __init__(self, inputs: int, outputs: int, width: int, spectral: bool):
        super().__init__()
        wrap = spectral_norm if spectral else nn.Identity()
        half, quarter = 2 * width, 4 * width  # channels at 1/2 and 1/4 of the size
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3),
            wrap(nn.Conv2d(inputs, width, 7, bias=False)),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            wrap(nn.Conv2d(width, half, 4, stride=2, padding=1, bias=False)),
            nn.InstanceNorm2d(half),
            nn.ReLU(),
            wrap(nn.Conv2d(half, quarter, 4, stride=2, padding=1, bias=False)),
            nn.InstanceNorm2d(quarter),
            nn.ReLU(),
            *(ResidualBlock(quarter, wrap) for _ in range(RESIDUAL_BLOCKS)),
            wrap(nn.ConvTranspose2d(quarter, half, 4, stride=2, padding=1, bias=False)),
            nn.InstanceNorm2d(half),
            nn.ReLU(),
            wrap(nn.ConvTranspose2d(half, width, 4, stride=2, padding=1, bias=False)),
            nn.InstanceNorm2d(width),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(width, outputs, 7),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class EdgeGenerator(nn.Module):
    """Grey image, its edges and the mask, (B,1,H,W) each -> edges of the whole frame, in [0,1].

    What lies under the mask is not looked at: the hole is white, and without edges.
    """

    def __init__(self, width: int):
        super().__init__()
        self.generator = Generator(3, 1, width, spectral=True)

    def forward(self, grey: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        seen = [torch.where(mask > 0, grey, 1), torch.where(mask > 0, edges, 0), 1 - mask]
        return torch.sigmoid(self.generator(torch.cat(seen, dim=1)))


class InpaintingGenerator(nn.Module):
    """Image (B,3,H,W), edges of the whole frame and mask (B,1,H,W) -> image (B,3,H,W) in [0,1].

    The image's hole is white, whatever it holds; the mask itself is not an input.
    """

    def __init__(self, width: int):
        super().__init__()
        self.generator = Generator(4, 3, width, spectral=False)

    def forward(self, image: Tensor, edges: Tensor, mask: Tensor) -> Tensor:
        seen = torch.cat([torch.where(mask > 0, image, 1), edges], dim=1)
        return (torch.tanh(self.generator(seen)) + 1) / 2


class PatchCritic(nn.Module):
    """70x70 PatchGAN (Isola et al. 2017): (B,inputs,H,W) -> the maps of its five layers.

    The last one, about (B,1,H/8,W/8), are the scores (logits); the others serve feature matching.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        channels = (inputs, width, 2 * width, 4 * width, 8 * width, 1)
        strides = (2, 2, 2, 1, 1)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride, padding=1, bias=False))
            for (a, b), stride in zip(pairwise(channels), strides, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        *hidden, score = self.layers
        maps = [x]
        for layer in hidden:
            maps.append(F.leaky_relu(layer(maps[-1]), 0.2))
        return [*maps[1:], score(maps[-1])]
