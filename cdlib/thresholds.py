"""Eq. 3's t, which the paper does not give: chosen on validation images and kept in a file."""

import json
from pathlib import Path

import pandas as pd
import torch

from cdlib import metrics
from cdlib.checkpoints import CheckpointError
from cdlib.data.array import PreparedArray
from cdlib.data.batches import validation_batches
from cdlib.masks import compose
from cdlib.methods import compressor
from cdlib.methods.context import Context
from cdlib.runs import write_json
from cdlib.texture import finetune, similar_texture_selection, stretch_valid


@torch.no_grad()
def sweep(context: Context, validation: PreparedArray) -> pd.DataFrame:
    """Composed and raw L1 on validation images for each threshold of the profile.

    Columns `threshold, l1_raw, l1_composed, n`; one edge mask an image, the sides in turn.
    """
    compress = compressor.load(context)
    rows = []
    for batch in validation_batches(validation, context.profile, 50):
        output = similar_texture_selection(
            compress(batch.masked, batch.mask), batch.masked, batch.mask
        )
        stretched = stretch_valid(batch.masked, batch.mask)
        for threshold in context.profile.texture.thresholds:
            fine = finetune(output, stretched, threshold)
            composed = compose(fine, batch.image, batch.mask)
            raw = metrics.l1(fine, batch.image).tolist()
            for l1_raw, l1 in zip(raw, metrics.l1(composed, batch.image).tolist(), strict=True):
                rows.append((threshold, l1_raw, l1))
    frame = pd.DataFrame(rows, columns=["threshold", "l1_raw", "l1_composed"])
    means = frame.groupby("threshold", as_index=False).mean()
    return means.assign(n=len(validation))


def choose_threshold(context: Context, swept: pd.DataFrame) -> float:
    """The profile's threshold, or the one with the lowest raw L1; kept for the methods."""
    threshold = context.profile.texture.threshold
    if threshold is None:
        threshold = float(swept.loc[swept["l1_raw"].idxmin(), "threshold"])
    write_json(_file(context), {"threshold": threshold, "chosen_by": "validation raw L1"})
    return threshold


def read_threshold(context: Context) -> float:
    """The profile's threshold, or the one that `choose_threshold` kept.

    Raises:
        CheckpointError: none was chosen yet, or its file is damaged.
    """
    if context.profile.texture.threshold is not None:
        return context.profile.texture.threshold
    file = _file(context)
    try:
        return float(json.loads(file.read_text("utf-8"))["threshold"])
    except FileNotFoundError:
        reason = f"no {file}"
    except (ValueError, KeyError, TypeError):
        reason = f"{file} is damaged"
    raise CheckpointError(f"{reason}: run notebook 03, or set texture.threshold")


def _file(context: Context) -> Path:
    return context.run.checkpoints(context.dataset) / "threshold.json"
