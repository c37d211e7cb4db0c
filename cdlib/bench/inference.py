"""Every method of the tables on the same images, with nets that are not trained."""

from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from cdlib.bench.measuring import Options, interleaved
from cdlib.bench.sizes import open_bench
from cdlib.checkpoints import save_net
from cdlib.data.batches import Batch, validation_batches
from cdlib.methods import METHODS, RECIPES, open_for_scoring
from cdlib.methods.context import Context
from cdlib.settings import SIDES


def measure(options: Options, folder: Path, methods: Iterable[str]) -> dict[str, Any]:
    """`ms_per_image` by method, for a call with one image under the edge mask of each side."""
    workspace = open_bench(options, folder)
    context = workspace.context("scenes")
    _save_untrained(context, {net for name in methods for net in METHODS[name].nets})
    arrays = workspace.arrays("scenes")
    batch = next(validation_batches(arrays.validation, context.profile, len(SIDES)))
    calls = {name: _call(name, context, batch) for name in methods}
    seconds = interleaved(calls, options)
    return {
        "images": len(batch.image),
        "ms_per_image": {
            name: 1000 * median(values) / len(batch.image) for name, values in seconds.items()
        },
    }


def _call(name: str, context: Context, batch: Batch) -> Callable[[], Tensor]:
    method = open_for_scoring(name, context)
    return lambda: method(batch)


def _save_untrained(context: Context, nets: Iterable[str]) -> None:
    """As if they were finished: a net's time does not depend on its weights."""
    for name in nets:
        recipe = RECIPES[name](context)
        with torch.random.fork_rng():
            torch.manual_seed(context.profile.seed)
            built = recipe.build()
        path = context.run.net(context.dataset, name)
        save_net(path, recipe.kept_weights(built), {"net": name, "fingerprint": "untrained"})
