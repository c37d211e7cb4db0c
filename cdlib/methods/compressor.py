"""The compression stage (paper sec. 3.1): its recipe, and its finished net.

Loss: L1 + adversarial (SN-PatchGAN, hinge) + variance term, all on the LR image; Adam 2e-4.
The paper gives no weights; ours are in the profile (`compressor.*`).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib import losses, metrics
from cdlib.checkpoints import load_net
from cdlib.data.batches import Batch
from cdlib.methods.context import Context
from cdlib.nets.compression import FACTOR, CompressionNetwork
from cdlib.nets.sn_patchgan import SNPatchGAN
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.settings import CompressorSettings, Profile

NAME = "compressor"


def lr_truth(image: Tensor, form: str) -> Tensor:
    """The LR ground truth, (B,3,H,W) -> (B,3,H/8,W/8) in [0,1]: area average, or bicubic."""
    if form == "area":
        return F.avg_pool2d(image, FACTOR)
    small = F.interpolate(image, scale_factor=1 / FACTOR, mode="bicubic", antialias=True)
    return small.clamp(0, 1)


def lr_mask(mask: Tensor) -> Tensor:
    """(B,1,H,W) -> (B,1,H/8,W/8): an LR pixel is valid where its whole block is."""
    return (F.avg_pool2d(mask, FACTOR) == 1).float()


def recipe(profile: Profile) -> Recipe:
    settings = profile.compressor

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        truth = lr_truth(batch.image, settings.lr_truth)
        mask = lr_mask(batch.mask)
        output = nets["compressor"](batch.masked, batch.mask)
        pair, masks = torch.cat([truth, output]), torch.cat([mask, mask])
        real, fake = nets["critic"](pair, masks).chunk(2)
        l1 = F.l1_loss(output, truth)
        variation = losses.variation(output, settings.variation_form)
        generator = (
            settings.reconstruction * l1
            + settings.adversarial * losses.hinge_generator(fake)
            + settings.variation * variation
        )
        critic = losses.hinge_discriminator(real, fake)
        measured = {
            "lr_l1": l1.detach(),
            "variation": variation.detach(),
            "lr_hole_l1": metrics.l1(output.detach(), truth, mask).mean(),
        }
        return {"critic": critic, "compressor": generator}, measured

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        truth = lr_truth(batch.image, settings.lr_truth)
        output = nets["compressor"](batch.masked, batch.mask)
        return {
            "lr_hole_l1": metrics.l1(output, truth, lr_mask(batch.mask)),
            "lr_l1": metrics.l1(output, truth),
        }

    def preview(nets: Nets, batch: Batch) -> Tensor:
        """Columns: masked input, LR output, LR truth; a row an image, LR pixels as squares."""
        truth = lr_truth(batch.image, settings.lr_truth)
        output = nets["compressor"](batch.masked, batch.mask)
        large = [F.interpolate(lr, scale_factor=FACTOR) for lr in (output, truth)]
        return torch.stack([batch.masked, *large], dim=1).flatten(0, 1)

    rate = settings.learning_rate
    return Recipe(
        name=NAME,
        build=lambda: {"compressor": _net(settings), "critic": SNPatchGAN(width=settings.width)},
        optimisers={
            "compressor": Optimiser(("compressor",), rate),
            "critic": Optimiser(("critic",), rate),
        },
        phases=(Phase("gan", step),),
        kept=("compressor",),
        validate=validate,
        best_by="lr_hole_l1",
        preview=preview,
        settings=settings.model_dump(),
    )


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    """(masked image, mask) -> LR image, by the run's finished net."""
    net = _net(context.profile.compressor)
    load_net(context.run.net(context.dataset, NAME), net, "compressor")
    return net.eval()


def _net(settings: CompressorSettings) -> CompressionNetwork:
    return CompressionNetwork(settings.width, settings.mapping)
