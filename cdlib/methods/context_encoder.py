"""`ContextEncoder` (Pathak et al. 2016): its recipe, as the authors train it for holes anywhere.

Loss (sec. 3.2): 0.999 L2 over the whole output and 0.001 adversarial, a plain GAN on the raw
output; Adam, (0.5, 0.999), the critic at a tenth of the rate.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib.data.batches import Batch
from cdlib.methods import peers
from cdlib.methods.context import Context
from cdlib.nets.context_encoder import ContextEncoder, Critic, net_size
from cdlib.recipes import Losses, Measurements, Nets, Optimiser, Phase, Recipe
from cdlib.settings import Profile

NAME = "context_encoder"
RECONSTRUCTION = 4 * 0.999  # 0.999 for images in [-1,1]: four times the squares of ours
ADVERSARIAL = 0.001
CRITIC_RATE = 0.1  # of the generator's


def recipe(profile: Profile) -> Recipe:
    settings = profile.peers.context_encoder
    size = net_size(profile.size)

    def step(nets: Nets, batch: Batch) -> tuple[Losses, Measurements]:
        output = nets[NAME](batch.masked, batch.mask)
        # Apart: in one batch the critic's BatchNorm would mix real and false.
        real, fake = nets["critic"](batch.image), nets["critic"](output)
        l2 = F.mse_loss(output, batch.image)
        generator = RECONSTRUCTION * l2 + ADVERSARIAL * cross_entropy(fake, 1)
        critic = cross_entropy(real, 1) + cross_entropy(fake, 0)
        return {"critic": critic, NAME: generator}, {"l2": l2.detach()}

    def validate(nets: Nets, batch: Batch) -> dict[str, Tensor]:
        return peers.measure(nets[NAME](batch.masked, batch.mask), batch)

    def preview(nets: Nets, batch: Batch) -> Tensor:
        return peers.show(nets[NAME](batch.masked, batch.mask), batch)

    rate = settings.learning_rate
    return Recipe(
        name=NAME,
        build=lambda: {
            NAME: ContextEncoder(size, settings.width),
            "critic": Critic(size, settings.width),
        },
        optimisers={
            NAME: Optimiser((NAME,), rate),
            "critic": Optimiser(("critic",), rate * CRITIC_RATE),
        },
        phases=(Phase("gan", step),),
        kept=(NAME,),
        validate=validate,
        best_by=peers.BEST_BY,
        preview=preview,
        settings=settings.model_dump(),
    )


def cross_entropy(logits: Tensor, label: int) -> Tensor:
    """Of real (1) or false (0), logits (B,). Scalar >= 0."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    """(masked image, mask) -> image in [0,1], by the run's finished net.

    The net works at the size it was trained for; other images are resized to it and back.
    """
    profile = context.profile
    width = profile.peers.context_encoder.width
    return peers.finished(context, NAME, ContextEncoder(net_size(profile.size), width))
