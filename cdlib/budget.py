"""What a step costs, and how many steps a budget pays for.

Two fair readings of "trained alike" (`train.budget`): equal images seen, or equal computation.
"""

import copy
import math
from collections.abc import Mapping

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cdlib.data.batches import Batch
from cdlib.recipes import Phase, Recipe
from cdlib.settings import TrainSettings


def gmac_per_image(
    recipe: Recipe, phase: Phase, nets: Mapping[str, nn.Module], probe: Batch
) -> float:
    """Multiply-accumulates (1e9) of one training image in a phase, all passes.

    Counted on a small batch, as plain convolutions; `nets` are left as they are.
    """
    nets = copy.deepcopy(dict(nets))
    if phase.prepare:
        phase.prepare(nets)
    with FlopCounterMode(display=False) as counter:
        losses, _ = phase.step(nets, probe)
        for name, loss in losses.items():
            owned = [p for net in recipe.optimisers[name].nets for p in nets[net].parameters()]
            loss.backward(inputs=[p for p in owned if p.requires_grad], retain_graph=True)
    return counter.get_total_flops() / 2 / len(probe.image) / 1e9


def phase_ends(recipe: Recipe, settings: TrainSettings, gmac: Mapping[str, float]) -> list[int]:
    """The step at which each phase ends; the last is the end of the training.

    `gmac` is that of one image in each phase, by its name. A recipe's own `images_seen` goes
    before the profile's.
    """
    images = recipe.images_seen or settings.images_seen
    if settings.budget == "gmac":
        images = settings.gmac / sum(p.share * gmac[p.name] for p in recipe.phases)
    steps = math.ceil(images / settings.batch_size)
    shares = [phase.share for phase in recipe.phases]
    return [round(steps * sum(shares[: i + 1]) / sum(shares)) for i in range(len(shares))]
