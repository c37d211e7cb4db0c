"""Images and methods and judges -> one row an output: the scores that every table is made from.

A row is keyed by data set, image, side of the hole, method and variant: `raw` is the method's own
output over the whole frame, `composed` keeps the valid pixels. The similarities are booleans
(Eq. 4 is their mean), missing where a data set has no classes; `_1k` is under the pre-trained
network's own 1,000 outputs, `_hole` looks at the hole's bounding box alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from cdlib import metrics
from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch, side_batches
from cdlib.judge import Judge, imagenet_judge, load_judge
from cdlib.masks import compose
from cdlib.methods import METHODS, compressor, open_for_scoring, open_method
from cdlib.methods.context import Context
from cdlib.runs import atomic_path, digest, sha256_file
from cdlib.settings import SIDES

KEY = ["dataset", "image", "side", "method", "variant"]
MEASURES = ["l1", "l2", "psnr", "ssim"]
SIMILARITIES = [
    "similarity",
    "similarity5",
    "similarity_1k",
    "similarity5_1k",
    "similarity_hole",
    "similarity_hole_1k",
]


@dataclass(frozen=True)
class Judges:
    """A data set's fine-tuned classifier, if it has classes, and the pre-trained network as it is.

    What they say of the true images is kept, since every method is held against it.
    """

    classes: Judge | None
    thousand: Judge
    _of_truth: dict[tuple, dict[str, Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context, classes: tuple[str, ...]) -> "Judges":
        trained = None
        if len(classes) > 1:
            trained = load_judge(context.profile, context.run, context.dataset, classes)
        return cls(trained, imagenet_judge(context.profile))

    def logits(self, image: Tensor) -> dict[str, Tensor]:
        """Images (B,3,H,W) -> logits by suffix: "" for the classes, "_1k" for ImageNet's."""
        out = {"_1k": self.thousand.thousand(image)}
        return out if self.classes is None else out | {"": self.classes(image)}

    def of_truth(self, key: tuple, image: Tensor) -> dict[str, Tensor]:
        if key not in self._of_truth:
            self._of_truth[key] = self.logits(image)
        return self._of_truth[key]


def score_methods(
    names: Iterable[str], context: Context, test: PreparedArray, judges: Judges
) -> pd.DataFrame:
    """Scores of the named methods on all test images under all four sides.

    A method's scores are kept in `results/<profile>/scores/<data set>/<method>.parquet` and taken
    from there while its nets, the judge, the images and the settings are the same.
    """
    parts = []
    for name in names:
        path = context.run.scores / context.dataset / f"{name}.parquet"
        fingerprint = _fingerprint(name, context, test)
        if (kept := _kept(path, fingerprint)) is None:
            frame = score_method(name, context, test, judges)
            with atomic_path(path) as temporary:
                frame.attrs["fingerprint"] = fingerprint
                frame.to_parquet(temporary)
            kept = pd.read_parquet(path)
        parts.append(kept)
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def score_method(name: str, context: Context, test: PreparedArray, judges: Judges) -> pd.DataFrame:
    """One method on every test image under every side; a row an image, side and variant."""
    method = open_for_scoring(name, context)
    rows = []
    size = context.profile.evaluate.batch_size
    title, total = f"{name} on {context.dataset}", len(test) * len(SIDES)
    bar = tqdm(total=total, unit="image", desc=title, mininterval=15)
    for side, names, batch in side_batches(test, context.profile, size):
        raw = method(batch)
        rows.append(measure(raw, batch, names, side, judges, context.profile.judge.input_size))
        bar.update(len(batch.image))
    bar.close()
    frame = pd.concat(rows, ignore_index=True).assign(method=name, dataset=context.dataset)
    return frame.reindex(columns=KEY + MEASURES + SIMILARITIES)


@torch.no_grad()
def measure(
    raw: Tensor,
    batch: Batch,
    names: tuple[str, ...],
    side: str,
    judges: Judges,
    input_size: int,
) -> pd.DataFrame:
    """Scores of one batch of outputs (B,3,H,W), raw and composed: a row an image and variant.

    Columns `image, side, variant`, the measures and the similarities. `names` and `side` must
    stand for these images under these masks alone: the judges' view of the truth is kept by them.
    """
    composed = compose(raw, batch.image, batch.mask)
    judged = judges.of_truth(names, batch.image)
    cut = partial(metrics.crop_to_hole, mask=batch.mask, size=input_size)
    judged_hole = judges.of_truth((side, *names), cut(batch.image))
    hole = judges.logits(cut(raw))
    columns: dict[str, Tensor] = {}
    rows = []
    for variant, output in (("raw", raw), ("composed", composed)):
        # Many fills keep the valid pixels themselves: what is asked once is not asked again.
        if variant == "raw" or not torch.equal(raw, composed):
            columns = {m: getattr(metrics, m)(output, batch.image) for m in MEASURES}
            columns |= _similarities(judges.logits(output), judged, hole, judged_hole)
        rows.append(pd.DataFrame({"image": names} | columns).assign(side=side, variant=variant))
    return pd.concat(rows, ignore_index=True)


def _similarities(
    output: dict[str, Tensor],
    truth: dict[str, Tensor],
    hole: dict[str, Tensor],
    hole_truth: dict[str, Tensor],
) -> dict[str, Tensor]:
    """The columns `SIMILARITIES` from logits by suffix, of the frame and of the hole alone."""
    columns = {}
    for suffix, logits in output.items():
        known = truth[suffix]
        columns[f"similarity{suffix}"] = metrics.similar(logits, known, 1)
        columns[f"similarity5{suffix}"] = metrics.similar(logits, known, min(5, known.shape[1]))
        columns[f"similarity_hole{suffix}"] = metrics.similar(hole[suffix], hole_truth[suffix], 1)
    return columns


@torch.no_grad()
def score_compressor(context: Context, test: PreparedArray) -> pd.DataFrame:
    """LR errors on all test images under all four sides: `lr_hole_l1, lr_l1`.

    `method` is `compressor`, or `mean`: the mean valid colour in the hole, its floor.
    """
    compress = compressor.load(context)
    form = context.profile.compressor.lr_truth
    mean = open_method("mean", context)
    frames = []
    size = context.profile.evaluate.batch_size
    for side, names, batch in side_batches(test, context.profile, size):
        truth, mask = compressor.lr_truth(batch.image, form), compressor.lr_mask(batch.mask)
        outputs = {
            "compressor": compress(batch.masked, batch.mask),
            "mean": compressor.lr_truth(mean(batch.image, batch.mask), form),
        }
        for name, output in outputs.items():
            columns = {
                "image": names,
                "lr_hole_l1": metrics.l1(output, truth, mask),
                "lr_l1": metrics.l1(output, truth),
            }
            frames.append(pd.DataFrame(columns).assign(side=side, method=name))
    return pd.concat(frames, ignore_index=True).assign(dataset=context.dataset)


def _fingerprint(name: str, context: Context, test: PreparedArray) -> str:
    run, dataset = context.run, context.dataset
    files = [run.net(dataset, net) for net in (*METHODS[name].nets, "judge")]
    files.append(run.checkpoints(dataset) / "threshold.json")
    hashes = [sha256_file(file) for file in files if file.exists()]
    profile = context.profile
    settings = [profile.judge.model_dump(), profile.fraction, profile.size, profile.seed]
    return digest([name, hashes, test.manifest["sha256"], settings])


def _kept(path: Path, fingerprint: str) -> pd.DataFrame | None:
    """The scores in `path`, if they are there, can be read and are of `fingerprint`."""
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"{path}: damaged, scored anew ({type(error).__name__})")
        return None
    return frame if frame.attrs.get("fingerprint") == fingerprint else None
