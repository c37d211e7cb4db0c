"""What each method costs: parameters, multiply-accumulates, training and inference."""

import time
from collections.abc import Iterable
from statistics import median

import pandas as pd
import torch

from cdlib.checkpoints import read_about
from cdlib.costs import macs, parameters
from cdlib.data.batches import Batch
from cdlib.methods import METHODS, RECIPES, open_for_scoring
from cdlib.methods.context import Context
from cdlib.settings import Profile, load_profile

COSTS = ["method", "params", "gmac_per_image", "train_images_per_s", "images_seen"]
COSTS += ["total_gmac", "infer_ms_per_image"]
REPEATS = 3


def method_costs(methods: Iterable[str], context: Context, batch: Batch) -> pd.DataFrame:
    """A row a method, in the columns `COSTS`, from its finished nets and on `batch`.

    `params` and `gmac_per_image` are what filling one image takes (convolutions and matrix
    products; texture selection's comparisons are neither), `total_gmac` all that the training of
    its nets took. Where a method has several nets, `images_seen` is the longest training's, and
    `train_images_per_s` is over the time of all.
    """
    rows = []
    for name in methods:
        nets = METHODS[name].nets
        about = [read_about(context.run.net(context.dataset, net)) for net in nets]
        seen = max((a["images_seen"] for a in about), default=0)
        seconds = sum(a["seconds"] for a in about)
        rows.append(
            {
                "method": name,
                "params": sum(kept_parameters(net, context) for net in nets),
                "train_images_per_s": seen / seconds if about else None,
                "images_seen": seen,
                "total_gmac": sum(a["gmac"] for a in about),
            }
            | _inference(name, context, batch)
        )
    return pd.DataFrame(rows)[COSTS]


def kept_parameters(net: str, context: Context) -> int:
    """Of the finished net: its generators, without what only trains them."""
    recipe = RECIPES[net](context)
    with torch.device("meta"):
        nets = recipe.build()
    return sum(parameters(nets[name]) for name in recipe.kept)


def sizes(nets: Iterable[str], context: Context, paper: str = "paper") -> pd.DataFrame:
    """Each net at the profile's size and as large as its own paper has it (profile `paper`).

    Columns `net, parameters, gmac, paper_parameters, paper_gmac`; gmac is one image forward.
    """
    large = Context(load_profile(paper), context.run, context.dataset)
    rows = []
    for net in nets:
        row = {"net": net}
        for prefix, where in (("", context), ("paper_", large)):
            row[f"{prefix}parameters"] = kept_parameters(net, where)
            row[f"{prefix}gmac"] = _forward_gmac(net, where)
        rows.append(row)
    return pd.DataFrame(rows)


def _forward_gmac(net: str, context: Context) -> float:
    recipe = RECIPES[net](context)
    nets = {name: module.eval() for name, module in recipe.build().items()}
    return macs(recipe.validate, nets, _one_image(context.profile)) / 1e9


def _one_image(profile: Profile) -> Batch:
    mask = torch.ones(1, 1, profile.size, profile.size)
    mask[..., profile.size // 2 :] = 0
    image = torch.rand(1, 3, profile.size, profile.size, generator=torch.Generator().manual_seed(0))
    return Batch(image, mask, torch.zeros(1, dtype=torch.long))


def _inference(name: str, context: Context, batch: Batch) -> dict[str, float]:
    method = open_for_scoring(name, context)
    gmac = macs(method, batch) / 1e9
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        method(batch)
        seconds.append(time.perf_counter() - began)
    return {
        "gmac_per_image": gmac / len(batch.image),
        "infer_ms_per_image": 1000 * median(seconds) / len(batch.image),
    }
