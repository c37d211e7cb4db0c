"""What so many minutes of one core buy: the compression network after equal time, not equal images.

    python scripts/equal_time.py --minutes 20 --width 0.25 --size 96

Trains on the scenes of a profile, for as many images as this core manages in the time (measured
first, so run nothing else on it), and adds a row to the table: the LR hole L1 on validation images,
beside that of the mean valid colour, which is not the same at every size.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from cdlib import metrics
from cdlib.data.array import PreparedArray
from cdlib.data.batches import validation_batches
from cdlib.methods import compressor, open_method
from cdlib.methods.context import Context
from cdlib.progress import Files, Progress
from cdlib.runs import Run, resolve
from cdlib.settings import Profile, load_profile
from cdlib.tables import save_csv
from cdlib.training import Training, train
from cdlib.workspace import Workspace

WARM_UP, TIMED = 10, 40  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--width", type=float, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--native", type=int, default=128, help="size of the photographs on disk")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--output", type=Path, default=resolve("results/bench/equal_time.csv"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    changes = {
        "size": given.size,
        "compressor.width": given.width,
        "data.margin": max(1.0, min(4 / 3, given.native / given.size)),  # none is enlarged
    }
    row = {"minutes": given.minutes, "width": given.width, "size": given.size}
    row |= measured(given.profile, changes, given.minutes * 60)
    # Read only now: another core may have added its own row meanwhile.
    known = [pd.read_csv(given.output)] if given.output.exists() else []
    rows = pd.concat([*known, pd.DataFrame([row])]).sort_values(["size", "width"])
    save_csv(rows, given.output.parent, given.output.stem)


def measured(name: str, changes: dict[str, Any], seconds: float) -> dict[str, float]:
    """Train for so many seconds of processor time: what came of it, and its floor."""
    profile = load_profile(name, changes)
    dataset = profile.data.scenes.name
    with TemporaryDirectory() as folder:
        workspace = Workspace(profile, Run(Path(folder)))
        arrays = workspace.arrays(dataset)
        rate = images_per_second(profile, workspace.run, arrays.train, arrays.validation)
        images = max(round(rate * seconds), profile.train.batch_size)
        profile = load_profile(name, changes | {"train.images_seen": images})
        began = time.process_time()
        recipe = compressor.recipe(profile)
        train(recipe, profile, workspace.run, dataset, arrays.train, arrays.validation)
        took = time.process_time() - began
        lines = pd.read_json(workspace.run.logs(dataset) / f"{compressor.NAME}.jsonl", lines=True)
    error = lines["validation_lr_hole_l1"].dropna()
    return {
        "images": images,
        "images_per_s": images / took,
        "took_minutes": took / 60,
        "lr_hole_l1": error.min(),
        "lr_hole_l1_mean": mean_colour(workspace.context(dataset), arrays.validation),
    }


def images_per_second(
    profile: Profile, run: Run, training: PreparedArray, validation: PreparedArray
) -> float:
    """Of processor time, over whole training steps."""
    recipe, dataset = compressor.recipe(profile), profile.data.scenes.name
    files = Files.of(run, dataset, "rate")
    loop = Training(recipe, profile, files, dataset, training, validation, Progress(""))
    loop.enter(recipe.phases[0])
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            began = time.process_time()
        loop.step(recipe.phases[0])
    return TIMED * profile.train.batch_size / (time.process_time() - began)


def mean_colour(context: Context, validation: PreparedArray) -> float:
    """The floor: LR hole L1 of the mean valid colour on the validation images."""
    fill, form = open_method("mean", context), context.profile.compressor.lr_truth
    errors = [
        metrics.l1(
            compressor.lr_truth(fill(batch.image, batch.mask), form),
            compressor.lr_truth(batch.image, form),
            compressor.lr_mask(batch.mask),
        )
        for batch in validation_batches(validation, context.profile, 50)
    ]
    return float(torch.cat(errors).mean())


if __name__ == "__main__":
    main()
