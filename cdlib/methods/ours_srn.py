"""`Ours_SRN`: compression, then two stacked EDSR networks, x2 and x4 (paper sec. 3.2).

The paper does not say what they are trained on: LR truth by default, or the compressor's own
output (`super_resolution.trained_on`). Loss: L1 at x8, and at x2 for the image between them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib import metrics
from cdlib.checkpoints import load_net
from cdlib.data.batches import Batch
from cdlib.methods import compressor
from cdlib.methods.context import Context
from cdlib.nets.edsr import StackedEDSR
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe

NAME = "super_resolution"


def recipe(context: Context) -> Recipe:
    settings = context.profile.super_resolution
    lr_form = context.profile.compressor.lr_truth
    compress = compressor.load(context) if settings.trained_on == "completion" else None

    @torch.no_grad()
    def low_resolution(batch: Batch) -> Tensor:
        if compress is None:
            return compressor.lr_truth(batch.image, lr_form)
        return compress.to(batch.image.device)(batch.masked, batch.mask)

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        output, middle = nets["super_resolution"](low_resolution(batch))
        l1 = F.l1_loss(output, batch.image)
        between = F.l1_loss(middle, F.avg_pool2d(batch.image, 4))
        return {"super_resolution": l1 + between}, {"l1": l1.detach(), "l1_x2": between.detach()}

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        output, _ = nets["super_resolution"](low_resolution(batch))
        return {"l1": metrics.l1(output.clamp(0, 1), batch.image)}

    def preview(nets: Nets, batch: Batch) -> Tensor:
        """Columns: LR input, output, truth; a row an image."""
        lr = low_resolution(batch)
        output, _ = nets["super_resolution"](lr)
        large = F.interpolate(lr, batch.image.shape[-2:])
        return torch.stack([large, output, batch.image], dim=1).flatten(0, 1)

    return Recipe(
        name=NAME,
        build=lambda: {"super_resolution": StackedEDSR(settings.features, settings.blocks)},
        optimisers={
            "super_resolution": Optimiser(
                ("super_resolution",), settings.learning_rate, betas=(0.9, 0.999)
            )
        },
        phases=(Phase("l1", step),),
        kept=("super_resolution",),
        validate=validate,
        best_by="l1",
        preview=preview,
        settings=settings.model_dump() | {"lr_truth": lr_form},
        images_seen=settings.images_seen,
    )


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    compress = compressor.load(context)
    enlarge = load_enlarger(context)
    return lambda image, mask: enlarge(compress(image, mask))


def load_enlarger(context: Context) -> Callable[[Tensor], Tensor]:
    """LR (B,3,h,w) -> HR (B,3,8h,8w) in [0,1], by the run's finished nets."""
    settings = context.profile.super_resolution
    net = StackedEDSR(settings.features, settings.blocks)
    path = context.run.net(context.dataset, NAME)
    load_net(path, net, "super_resolution")
    net.eval()
    return lambda lr: net(lr)[0].clamp(0, 1)
