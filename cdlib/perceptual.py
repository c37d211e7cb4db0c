"""What a frozen ImageNet network sees: perceptual and style distances between images.

Perceptual: mean absolute difference of features; style: of their Gram matrices (Gatys et al. 2016;
Liu et al. 2018, sec. 3.3). The source looks at VGG16's first three pooling layers. Its weights are
a download, so profiles whose judge is not VGG look through EfficientNet-Lite0 instead, whose
weights come with a package, at the same three resolutions.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from cdlib.judge import BACKBONES

# Root mean squares of EfficientNet-Lite0's three stages over photographs of 96 to 128 px. Divided
# by them, its features are of order 1 and weights found for VGG16 keep their order of magnitude.
LITE0_UNITS = (6.7, 9.5, 8.5)


class Features(nn.Module):
    """Image (B,3,H,W) in [0,1] -> features at 1/2, 1/4 and 1/8 of its size, frozen.

    `network` is the profile's `judge.network`: `vgg16_bn` gives VGG16's pool1 to pool3 (without
    BatchNorm, as the source's), everything else EfficientNet-Lite0's first three stages. Keep it
    out of a recipe's nets: it is neither trained nor saved. Gradients pass through to the image.

    Raises:
        FileNotFoundError: VGG16's weights are not there and cannot be downloaded.
    """

    def __init__(self, network: str):
        super().__init__()
        vgg = network == "vgg16_bn"
        backbone = BACKBONES["vgg16_bn" if vgg else "tf_efficientnet_lite0"]
        self.stages = _vgg16() if vgg else _lite0(backbone.build(True))
        self.units = (1.0, 1.0, 1.0) if vgg else LITE0_UNITS
        for name in ("mean", "deviation"):
            self.register_buffer(name, torch.tensor(getattr(backbone, name)).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = (image - self.mean) / self.deviation
        features = []
        for stage, unit in zip(self.stages, self.units, strict=True):
            x = stage(x)
            features.append(x / unit)
        return features


def perceptual_loss(output: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Sum over the stages of the mean absolute difference of features (B,C,h,w). Scalar >= 0."""
    return torch.stack([F.l1_loss(a, b) for a, b in zip(output, truth, strict=True)]).sum()


def style_loss(output: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Sum over the stages of the mean absolute difference of Gram matrices. Scalar >= 0."""
    return perceptual_loss([gram(a) for a in output], [gram(b) for b in truth])


def gram(features: Tensor) -> Tensor:
    """Products of channels, averaged over place and channels: (B,C,h,w) -> (B,C,C).

    Source: Liu et al. 2018, sec. 3.3, where K = 1 / (C h w).
    """
    flat = features.flatten(2)  # (B,C,hw)
    return flat @ (flat / flat[0].numel()).transpose(1, 2)  # divided first: safe in half precision


def _vgg16() -> nn.ModuleList:
    weights = torchvision.models.VGG16_Weights.IMAGENET1K_V1
    try:
        stored = weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise FileNotFoundError(
            f"ImageNet weights of vgg16: {error}; download {weights.url} into {folder}, or set "
            "judge.network to tf_efficientnet_lite0, whose weights are installed"
        ) from None
    net = torchvision.models.vgg16()
    net.load_state_dict(stored)
    layers = net.features
    return nn.ModuleList([layers[:5], layers[5:10], layers[10:17]])  # each ends with its pool


def _lite0(net: nn.Module) -> nn.ModuleList:
    first = nn.Sequential(net.conv_stem, net.bn1, net.blocks[0])
    return nn.ModuleList([first, net.blocks[1], net.blocks[2]])
