"""Methods that run elsewhere: the inputs to hand them, and the scores of what they give back.

`export_inputs` writes masked test images and their masks as PNG files; another program completes
them, and `evaluate` scores the folder of its outputs by the measures of `cdlib.scores`.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch
from cdlib.data.decode import UnreadableImageError, decode, opened
from cdlib.data.folder import SUFFIXES
from cdlib.masks import edge_mask
from cdlib.methods import METHODS
from cdlib.methods.context import Context
from cdlib.runs import atomic_path, sha256_file, write_json
from cdlib.scores import KEY, MEASURES, SIMILARITIES, Judges, measure
from cdlib.settings import SIDES
from cdlib.tables import intervals, save_table, table2, table2_shown
from cdlib.workspace import Workspace

MANIFEST = "manifest.json"


def export_inputs(context: Context, test: PreparedArray, count: int, folder: Path) -> None:
    """Write `count` test images, spread evenly over the set, each under one edge mask.

    `images/NAME.png` has a black hole, `masks/NAME.png` is white where valid; NAME is the image's
    position and the side of the hole, `00012-left`, the sides in turn. `manifest.json` lists them
    and says what they were made from. The folder appears when all of it is written.

    Raises:
        ValueError: a `count` that the test set has not.
        FileExistsError: `folder` is there and is not empty.
    """
    if not 0 < count <= len(test):
        raise ValueError(f"n {count}: the test set of {context.dataset} has {len(test)} images")
    size, fraction = context.profile.size, context.profile.fraction
    entries = []
    with _appearing(folder) as temporary:
        for index, position in enumerate(np.linspace(0, len(test) - 1, count).round().astype(int)):
            side = SIDES[index % len(SIDES)]
            name = f"{position:05d}-{side}"
            mask = edge_mask(size, size, side, fraction)[0].byte().numpy()  # (H,W), 1 valid
            pictures = {"images": test.images[position] * mask[..., None], "masks": mask * 255}
            entry = {"name": name, "image": test.names[position], "side": side}
            entry |= {"position": int(position)}
            for kind, pixels in pictures.items():
                path = temporary / kind / f"{name}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(pixels).save(path)
                entry[f"{kind}_sha256"] = sha256_file(path)
            entries.append(entry)
        about = {
            "dataset": context.dataset,
            "size": size,
            "fraction": fraction,
            "mask": "white is valid, black is missing",
            "test_sha256": test.manifest["sha256"],
        }
        write_json(temporary / MANIFEST, about | {"inputs": entries})


def evaluate(workspace: Workspace, outputs: Path, name: str, inputs: Path) -> pd.DataFrame:
    """Score the images in `outputs`, made from the exported folder `inputs`, as method `name`.

    Keeps the scores beside those of our methods, in `scores/<data set>/external/<name>.parquet`,
    and the table as `tables/external_<data set>_<name>`; returns the table for reading.

    Raises:
        ValueError: a name of ours or one that cannot be a file's, inputs that were exported from
            other test images, or outputs that are missing, unreadable or of another size.
        FileNotFoundError: no manifest in `inputs`, or no folder `outputs`.
    """
    if name in METHODS or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(f"name {name!r}: letters, digits and . _ + - only, and no name of ours")
    manifest = read_manifest(inputs)
    context = workspace.context(manifest["dataset"])
    test = workspace.arrays(manifest["dataset"]).test
    judges = Judges.of(context, test.classes)
    scores = score_outputs(outputs, name, manifest, context, test, judges)
    with atomic_path(context.run.scores / context.dataset / "external" / f"{name}.parquet") as path:
        scores.to_parquet(path)
    measured = intervals(scores, context.profile.evaluate, context.profile.seed)
    caption = f"{name} on {context.dataset}: outputs made elsewhere, one side of the hole an image."
    stem = f"external_{context.dataset}_{name}"
    return save_table(table2(measured), context.run.tables, stem, caption, table2_shown(measured))


@torch.no_grad()
def score_outputs(
    outputs: Path,
    name: str,
    manifest: dict[str, Any],
    context: Context,
    test: PreparedArray,
    judges: Judges,
) -> pd.DataFrame:
    """A row an output and variant, in the columns of `cdlib.scores`. Raises as `evaluate`."""
    profile = context.profile
    made_from = (test.manifest["sha256"], profile.size, profile.fraction)
    if made_from != (manifest["test_sha256"], manifest["size"], manifest["fraction"]):
        raise ValueError(
            f"{MANIFEST}: exported from other test images or masks than profile {profile.name} "
            "has; export the inputs again"
        )
    files = match_outputs(outputs, [entry["name"] for entry in manifest["inputs"]])
    rows = []
    for side in SIDES:
        entries = [entry for entry in manifest["inputs"] if entry["side"] == side]
        mask = edge_mask(profile.size, profile.size, side, profile.fraction)
        for start in range(0, len(entries), profile.evaluate.batch_size):
            some = entries[start : start + profile.evaluate.batch_size]
            positions = [entry["position"] for entry in some]
            labels = torch.from_numpy(test.labels[positions])
            batch = Batch(test.tensor(positions), mask.expand(len(some), -1, -1, -1), labels)
            raw = torch.stack([read_output(files[e["name"]], profile.size) for e in some])
            names = tuple(entry["image"] for entry in some)
            rows.append(measure(raw, batch, names, side, judges, profile.judge.input_size))
    frame = pd.concat(rows, ignore_index=True).assign(method=name, dataset=context.dataset)
    return frame.reindex(columns=KEY + MEASURES + SIMILARITIES)


def read_manifest(inputs: Path) -> dict[str, Any]:
    """What `export_inputs` wrote.

    Raises:
        FileNotFoundError: no manifest there.
        ValueError: a manifest that is not one.
    """
    path = inputs / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; --inputs names the folder that cdlib export-inputs wrote"
        )
    try:
        manifest = json.loads(path.read_text("utf-8"))
        keys = {"dataset", "size", "fraction", "test_sha256", "inputs"}
        if keys <= manifest.keys():
            return manifest
    except (ValueError, AttributeError):
        pass
    raise ValueError(f"{path}: damaged; export the inputs again")


def match_outputs(folder: Path, names: list[str]) -> dict[str, Path]:
    """The image of each name (file name without its suffix); images of no name are pointed out.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a name without an image, or with two.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()):
        if path.stem in found:
            raise ValueError(f"{path} and {found[path.stem].name}: two images of one name")
        found[path.stem] = path
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{folder}: no image named {_some(missing)}")
    if extra := sorted(found.keys() - set(names)):
        print(f"{folder}: not scored, since no input has the name: {_some(extra)}")
    return found


def read_output(path: Path, size: int) -> Tensor:
    """An image file of any common format as (3,size,size) RGB in [0,1].

    Raises:
        ValueError: a file that is no image, or one of another size.
    """
    try:
        with opened(path) as image:
            width, height = image.size
        pixels = decode(path, size)
    except UnreadableImageError as error:
        raise ValueError(f"{path}: {error}") from None
    if (width, height) != (size, size):
        raise ValueError(f"{path}: {width}x{height} pixels, its input has {size}x{size}")
    return torch.tensor(pixels).permute(2, 0, 1) / 255


def _some(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder, renamed to `folder` on success and removed on failure."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder: name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
