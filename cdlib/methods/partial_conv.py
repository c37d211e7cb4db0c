"""`PartialConv` (Liu et al. 2018, *Image Inpainting for Irregular Holes ...*): its recipe.

Loss (sec. 3.3): L1 by region, perceptual and style distances of the raw and of the
composed output, and total variation along the hole; no adversary. Every term is an average, as
the authors' later note says. A second phase runs at a quarter of the rate with the encoder's
BatchNorm frozen (sec. 4).
"""

from collections.abc import Callable
from functools import cache

import torch.nn.functional as F
from torch import Tensor

from cdlib.data.batches import Batch
from cdlib.masks import compose
from cdlib.methods import peers
from cdlib.methods.context import Context
from cdlib.nets.partial_unet import PartialUNet
from cdlib.perceptual import Features, perceptual_loss, style_loss
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.settings import Profile

NAME = "partial_conv"
WEIGHTS = {"valid": 1.0, "hole": 6.0, "perceptual": 0.05, "style": 120.0, "variation": 0.1}
FINE_TUNING = 0.2  # share of the images seen that the second phase has: our choice
FINE_TUNING_RATE = 0.25  # 5e-5 after 2e-4


def region_l1(output: Tensor, truth: Tensor, region: Tensor) -> Tensor:
    """Sum of |output - truth| where `region` (B,1,H,W) is 1, over the size of the image. Scalar."""
    return (region * (output - truth).abs()).mean()


def hole_variation(composed: Tensor, mask: Tensor) -> Tensor:
    """Total variation of `composed` (B,3,H,W) inside the hole grown by one pixel. Scalar >= 0.

    Mean absolute difference of neighbours, down plus across, both of them inside the region, over
    the size of the image. Source: Liu et al. 2018, sec. 3.3.
    """
    region = F.max_pool2d(1 - mask, 3, stride=1, padding=1)
    down = (composed[..., 1:, :] - composed[..., :-1, :]).abs()
    down = down * region[..., 1:, :] * region[..., :-1, :]
    across = (composed[..., :, 1:] - composed[..., :, :-1]).abs()
    across = across * region[..., :, 1:] * region[..., :, :-1]
    return (down.sum() + across.sum()) / composed.numel()


def loss_terms(
    features: Features, output: Tensor, truth: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """The five terms, unweighted, under the names of `WEIGHTS`."""
    composed = compose(output, truth, mask)
    of_output, of_composed, of_truth = (features(image) for image in (output, composed, truth))
    return {
        "valid": region_l1(output, truth, mask),
        "hole": region_l1(output, truth, 1 - mask),
        "perceptual": perceptual_loss(of_output, of_truth) + perceptual_loss(of_composed, of_truth),
        "style": style_loss(of_output, of_truth) + style_loss(of_composed, of_truth),
        "variation": hole_variation(composed, mask),
    }


def recipe(profile: Profile) -> Recipe:
    settings = profile.peers.partial_conv

    @cache
    def features() -> Features:
        """On first use: VGG16's weights may have to be downloaded."""
        return Features(profile.judge.network)

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        output = nets[NAME](batch.masked, batch.mask)
        seen_by = features().to(batch.image.device)
        terms = loss_terms(seen_by, output, batch.image, batch.mask)
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        return {NAME: loss}, {name: term.detach() for name, term in terms.items()}

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        return peers.measure(nets[NAME](batch.masked, batch.mask), batch)

    def preview(nets: Nets, batch: Batch) -> Tensor:
        return peers.show(nets[NAME](batch.masked, batch.mask), batch)

    return Recipe(
        name=NAME,
        build=lambda: {NAME: PartialUNet(profile.size, settings.width)},
        optimisers={NAME: Optimiser((NAME,), settings.learning_rate, betas=(0.9, 0.999))},
        phases=(
            Phase("initial", step, share=1 - FINE_TUNING),
            Phase(
                "fine_tuning",
                step,
                share=FINE_TUNING,
                rate=FINE_TUNING_RATE,
                prepare=lambda nets: nets[NAME].freeze_encoder_norms(),
            ),
        ),
        kept=(NAME,),
        validate=validate,
        best_by=peers.BEST_BY,
        preview=preview,
        settings=settings.model_dump() | {"features": profile.judge.network},
    )


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    """(masked image, mask) -> image in [0,1], by the run's finished net."""
    profile = context.profile
    net = peers.finished(context, NAME, PartialUNet(profile.size, profile.peers.partial_conv.width))
    return lambda image, mask: net(image, mask).clamp(0, 1)
