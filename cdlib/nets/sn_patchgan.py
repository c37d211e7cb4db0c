"""SN-PatchGAN (Yu et al. 2019, sec. 3.3): a spectrally normalised, fully convolutional critic.

It sees image and mask and scores every patch; the map itself is the output. The compression
network's critic looks at the LR image, which three stride-2 layers bring from 32x32 to 4x4;
a full-resolution critic takes the source's six.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LR_CHANNELS = (64, 128, 256)
HR_CHANNELS = (64, 128, 256, 256, 256, 256)


class SNPatchGAN(nn.Module):
    """Image (B,3,H,W) in [0,1] and mask (B,1,H,W) -> scores (B,C,H/2^n,W/2^n), unbounded."""

    def __init__(self, channels: Sequence[int] = LR_CHANNELS, width: float = 1.0):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 4
        for nominal in channels:
            out = max(1, round(nominal * width))
            layers += [
                spectral_norm(nn.Conv2d(inputs, out, kernel_size=5, stride=2, padding=2)),
                nn.LeakyReLU(0.2),
            ]
            inputs = out
        self.layers = nn.Sequential(*layers[:-1])  # the last map is the score: no rectifier

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        return self.layers(torch.cat([image, mask], dim=1))
