"""`GatedConv` (Yu et al. 2019, *Free-Form Image Inpainting with Gated Convolution*): its recipe.

Loss (sec. 3): L1 over the whole image on both stages, and SN-PatchGAN's hinge loss on the
refined output with the valid pixels put back, in equal parts; Adam 1e-4, (0.5, 0.999).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib import losses
from cdlib.data.batches import Batch
from cdlib.masks import compose
from cdlib.methods import peers
from cdlib.methods.context import Context
from cdlib.nets.deepfill import DeepFill
from cdlib.nets.sn_patchgan import HR_CHANNELS, SNPatchGAN
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.settings import Profile

NAME = "gated_conv"
SOURCE_WIDTH = 48  # beside which the source's critic has its 64 to 256 channels
RECONSTRUCTION = 2.0  # the source's 1, for images in [-1,1]: twice the differences of ours
ADVERSARIAL = 1.0


def critic(size: int, width: int) -> SNPatchGAN:
    """SN-PatchGAN, as wide beside the generator as in the source.

    The source's six halvings bring 256 px to a score map of 4x4. Smaller images have fewer
    (96 px five, 64 px four), so that the map stays at 3x3 to 5x5.
    """
    layers = max(1, round(math.log2(size / 4)))
    return SNPatchGAN(HR_CHANNELS[:layers], width / SOURCE_WIDTH)


def recipe(profile: Profile) -> Recipe:
    settings = profile.peers.gated_conv

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        coarse, refined = nets[NAME](batch.masked, batch.mask)
        composed = compose(refined, batch.image, batch.mask)
        pair, masks = torch.cat([batch.image, composed]), torch.cat([batch.mask, batch.mask])
        real, fake = nets["critic"](pair, masks).chunk(2)
        l1_coarse = F.l1_loss(coarse, batch.image)
        l1_refined = F.l1_loss(refined, batch.image)
        generator = RECONSTRUCTION * (l1_coarse + l1_refined)
        generator = generator + ADVERSARIAL * losses.hinge_generator(fake)
        measured = {"l1_coarse": l1_coarse.detach(), "l1_refined": l1_refined.detach()}
        return {"critic": losses.hinge_discriminator(real, fake), NAME: generator}, measured

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        return peers.measure(nets[NAME](batch.masked, batch.mask)[1], batch)

    def preview(nets: Nets, batch: Batch) -> Tensor:
        return peers.show(nets[NAME](batch.masked, batch.mask)[1], batch)

    rate = settings.learning_rate
    return Recipe(
        name=NAME,
        build=lambda: {
            NAME: DeepFill(settings.width),
            "critic": critic(profile.size, settings.width),
        },
        optimisers={NAME: Optimiser((NAME,), rate), "critic": Optimiser(("critic",), rate)},
        phases=(Phase("gan", step),),
        kept=(NAME,),
        validate=validate,
        best_by=peers.BEST_BY,
        preview=preview,
        settings=settings.model_dump(),
    )


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    """(masked image, mask) -> refined image in [0,1], by the run's finished net."""
    net = peers.finished(context, NAME, DeepFill(context.profile.peers.gated_conv.width))
    return lambda image, mask: net(image, mask)[1]
