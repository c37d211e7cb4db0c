"""A modern network beside our methods: MI-GAN (Sargsyan et al. 2023) on its authors' examples.

`folder/{places2,ffhq}/{images,masks,outputs/MI-GAN}/NAME.*`; white in a mask is known. The images
are few, and MI-GAN's authors chose them. The holes are free-form, while our networks learn on
edge holes; the nets of the profile's scenes fill Places2's, those of its faces FFHQ's.

All of it is brought to the profile's size by area averages. A pixel is valid there only if every
pixel that it averages is: nothing of the hole is left in it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from cdlib.data.batches import Batch
from cdlib.data.decode import UnreadableImageError, opened
from cdlib.external import match_outputs
from cdlib.judge import imagenet_judge
from cdlib.methods import compressor, open_for_scoring
from cdlib.scores import KEY, MEASURES, SIMILARITIES, Judges, measure
from cdlib.tables import mean_with_interval, save_table, table2, table2_shown
from cdlib.workspace import Workspace

SETS = {"places2": "scenes", "ffhq": "faces"}  # set -> the profile's data set it is filled by
PEER = "MI-GAN"


@dataclass(frozen=True)
class Examples:
    """One set at the profile's size: (n,3,H,W) in [0,1], masks (n,1,H,W), 1 valid."""

    names: tuple[str, ...]
    truth: Tensor
    mask: Tensor
    output: Tensor
    left_out: int  # images whose mask leaves no 8x8 block whole, which texture selection needs


def read_examples(folder: Path, size: int) -> Examples:
    """The images of one set, in the order of their names.

    Raises:
        FileNotFoundError: a folder that is missing.
        ValueError: an image without its mask or output, or one that cannot be read.
    """
    names = sorted(path.stem for path in (folder / "masks").glob("*.*"))
    if not names:
        raise FileNotFoundError(f"{folder / 'masks'}: no masks in it")
    truth, mask, output = (
        torch.stack([_read(files[name], mode, size) for name in names])
        for mode, files in (
            ("RGB", match_outputs(folder / "images", names)),
            ("L", match_outputs(folder / "masks", names)),
            ("RGB", match_outputs(folder / "outputs" / PEER, names)),
        )
    )
    mask = (mask == 1).float()
    usable = compressor.lr_mask(mask).flatten(1).any(dim=1)
    kept = tuple(name for name, use in zip(names, usable.tolist(), strict=True) if use)
    left_out = len(names) - len(kept)
    return Examples(kept, truth[usable], mask[usable], output[usable], left_out)


@torch.no_grad()
def score_modern(
    workspace: Workspace, folder: Path, methods: Mapping[str, Iterable[str]]
) -> pd.DataFrame:
    """Scores of MI-GAN and of our `methods`, named for each of the profile's data sets.

    In the columns of `cdlib.scores`, and `left_out`.

    The judge is the pre-trained network alone: the sets' images are of no class of ours.
    """
    profile = workspace.profile
    judge = imagenet_judge(profile)
    rows = []
    for name, role in SETS.items():
        judges = Judges(None, judge)  # anew: the sets' images may have the same names
        examples = read_examples(folder / name, profile.size)
        batch = Batch(examples.truth, examples.mask, torch.zeros(len(examples.names)))
        outputs = {PEER: examples.output}
        context = workspace.context(role)
        for method in methods[context.dataset]:
            outputs[method] = open_for_scoring(method, context)(batch)
        for method, raw in outputs.items():
            frame = measure(
                raw, batch, examples.names, "free-form", judges, profile.judge.input_size
            )
            rows.append(frame.assign(method=method, dataset=name, left_out=examples.left_out))
    frame = pd.concat(rows, ignore_index=True)
    return frame.reindex(columns=[*KEY, *MEASURES, *SIMILARITIES, "left_out"])


def save_modern(workspace: Workspace, scores: pd.DataFrame) -> pd.DataFrame:
    """Write `modern` (csv, md, tex) and `modern_intervals.csv`; returns the table for reading."""
    profile, tables = workspace.profile, workspace.run.tables
    by = ["dataset", "method", "variant", "mask"]
    rows = scores.assign(mask="free-form")
    measured = mean_with_interval(rows, by, MEASURES + SIMILARITIES, profile.evaluate, profile.seed)
    left_out = scores.groupby("dataset", sort=False)["left_out"].first()
    caption = (
        f"{PEER} and ours on the examples of MI-GAN's authors, few and chosen by them, at "
        f"{profile.size} px; free-form holes, on which ours were not trained. Images left out for "
        "want of a whole valid 8x8 block: "
        + ", ".join(f"{name} {count}" for name, count in left_out.items())
        + "."
    )
    save_table(measured, tables, "modern_intervals", caption)
    return save_table(table2(measured), tables, "modern", caption, table2_shown(measured))


def _read(path: Path, mode: str, size: int) -> Tensor:
    try:
        with opened(path) as image:
            pixels = to_tensor(image.convert(mode))
    except UnreadableImageError as error:
        raise ValueError(f"{path}: {error}") from None
    return F.interpolate(pixels.unsqueeze(0), (size, size), mode="area").squeeze(0)
