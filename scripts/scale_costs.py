"""What a profile's trainings cost in device-hours and on disk: computed, not measured.

    python scripts/scale_costs.py --profile paper --share 0.2

Multiply-accumulates are counted on the live networks, over all passes of one training step each.
Hours = 2 x MAC x images seen / (peak x share), with the devices' dense bf16 peaks and the share of
them that a training is assumed to reach. docs/scale.md says what came out.
"""

import argparse
from collections.abc import Iterator
from unittest.mock import patch

import pandas as pd
import torch
import torchvision
from torchvision.models import WeightsEnum

from cdlib.budget import gmac_per_image
from cdlib.costs import parameters
from cdlib.data.batches import Batch
from cdlib.judge import judge_recipe
from cdlib.methods import RECIPES, edge_connect
from cdlib.methods.context import Context
from cdlib.recipes import Recipe
from cdlib.runs import Run, resolve
from cdlib.settings import Profile, load_profile

PEAK = {"H100": 989e12, "A100": 312e12}  # FLOP/s, bf16, dense; the makers' sheets
# A training's state, at most: weights, their average, the best, Adam's two moments; and the state
# before it is kept.
COPIES = 5 * 2
CLASSES = 365  # of Places365


def recipes_of(profile: Profile) -> Iterator[tuple[Recipe, int]]:
    """Every network of the study, and on how many data sets it is trained."""
    scenes = profile.data.scenes.name
    context = Context(profile, Run(resolve("results") / profile.name), scenes)
    for make in RECIPES.values():
        yield make(context), 2
    yield judge_recipe(profile, scenes, tuple(map(str, range(CLASSES)))), 1


def costs(profile: Profile, share: float) -> pd.DataFrame:
    """A row a network, and their sum."""
    rows = []
    for recipe, datasets in recipes_of(profile):
        gmac, count = counted(recipe, profile.size)
        images = datasets * (recipe.images_seen or profile.train.images_seen)
        flop = 2e9 * gmac * images
        rows.append(
            {
                "net": recipe.name,
                "parameters_m": count / 1e6,
                "gmac_per_image": gmac,
                "images_seen_m": images / 1e6,
                "exaflop": flop / 1e18,
                **{f"{name}_hours": flop / peak / share / 3600 for name, peak in PEAK.items()},
                "states_gb_at_most": datasets * COPIES * 4 * count / 1e9,
            }
        )
    table = pd.DataFrame(rows)
    together = table.sum(numeric_only=True).drop(["gmac_per_image", "parameters_m"])
    return pd.concat([table, pd.DataFrame([{"net": "together"} | together.to_dict()])])


def counted(recipe: Recipe, size: int) -> tuple[float, int]:
    """Multiply-accumulates (1e9) of one training image, the mean over the phases; parameters."""
    try:
        with torch.device("meta"):  # counts without computing
            return _counted(recipe, size)
    except RuntimeError:  # a step that looks at values
        return _counted(recipe, size)


def _counted(recipe: Recipe, size: int) -> tuple[float, int]:
    nets = recipe.build()
    image, mask = torch.rand(2, 3, size, size), torch.ones(2, 1, size, size)
    mask[..., : size // 2] = 0
    probe = Batch(image, mask, torch.zeros(2, dtype=torch.long))
    shares = sum(phase.share for phase in recipe.phases)
    gmac = sum(p.share * gmac_per_image(recipe, p, nets, probe) for p in recipe.phases) / shares
    return gmac, sum(parameters(net) for net in nets.values())


def _untrained(weights: WeightsEnum, **_: bool) -> dict[str, torch.Tensor]:
    name = type(weights).__name__.removesuffix("_Weights").lower()
    return getattr(torchvision.models, name)().state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--share", type=float, default=0.2, help="of the peak that is reached")
    given = parser.parse_args()
    # The cost does not depend on weights, which need not be there, nor on where edges are.
    with (
        patch.object(WeightsEnum, "get_state_dict", _untrained),
        patch.object(edge_connect, "canny", lambda grey, valid=None: torch.zeros_like(grey)),
    ):
        table = costs(load_profile(given.profile), given.share)
    print(table.to_markdown(index=False, floatfmt=".1f"))


if __name__ == "__main__":
    main()
