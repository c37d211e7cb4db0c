"""Decompressors held side by side (paper sec. 3.2): from true LR images, and from completed ones.

From the true LR image each shows its own floor: the error that is left when compression is
perfect. From the completed one it shows what a user gets.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from cdlib import metrics
from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch, side_batches
from cdlib.masks import compose
from cdlib.methods import compressor, ours_srn
from cdlib.methods.bicubic import enlarge
from cdlib.methods.context import Context
from cdlib.texture import finetune, similar_texture_selection, stretch_valid
from cdlib.thresholds import read_threshold

Decompressor = Callable[[Tensor, Batch], Tensor]  # (LR image, batch) -> HR image


def decompressors(context: Context) -> dict[str, Decompressor]:
    """Every option: STS on valid blocks or on all of the truth, with Eq. 3 and without."""
    threshold = read_threshold(context)
    super_resolve = ours_srn.load_enlarger(context)

    def valid_only(lr: Tensor, batch: Batch) -> Tensor:
        return similar_texture_selection(lr, batch.masked, batch.mask)

    def oracle(lr: Tensor, batch: Batch) -> Tensor:
        return similar_texture_selection(lr, batch.image)

    def with_eq3(select: Decompressor) -> Decompressor:
        return lambda lr, batch: finetune(
            select(lr, batch), stretch_valid(batch.masked, batch.mask), threshold
        )

    return {
        "bicubic": lambda lr, _: enlarge(lr),
        "SRN": lambda lr, _: super_resolve(lr),
        "STS, valid blocks": valid_only,
        "STS, valid blocks, Eq. 3": with_eq3(valid_only),
        "STS, oracle": oracle,
        "STS, oracle, Eq. 3": with_eq3(oracle),
    }


@torch.no_grad()
def compare(context: Context, test: PreparedArray) -> pd.DataFrame:
    """A row an image, side, LR source and decompressor: `l1_raw, l1_composed`."""
    compress = compressor.load(context)
    form = context.profile.compressor.lr_truth
    options = decompressors(context)
    frames = []
    size = context.profile.evaluate.batch_size
    for side, names, batch in side_batches(test, context.profile, size):
        sources = {
            "truth": compressor.lr_truth(batch.image, form),
            "completion": compress(batch.masked, batch.mask),
        }
        for source, lr in sources.items():
            for name, decompress in options.items():
                output = decompress(lr, batch)
                composed = compose(output, batch.image, batch.mask)
                columns = {
                    "image": names,
                    "l1_raw": metrics.l1(output, batch.image),
                    "l1_composed": metrics.l1(composed, batch.image),
                }
                frames.append(pd.DataFrame(columns).assign(side=side, lr=source, decompressor=name))
    return pd.concat(frames, ignore_index=True).assign(dataset=context.dataset)
