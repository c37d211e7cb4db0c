"""The prepared array: a split decoded once, memory-mapped ever after (paper sec. 4).

`<directory>/<data set>/<split>-<size>.npy` holds the images, `.labels.npy` the labels and `.json`
the manifest: where the images came from, their names, what was skipped, and hashes.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cdlib.data.folder import Split
from cdlib.data.sources import Source, source_of
from cdlib.data.writing import ArrayFiles, locked, npy_header, resume_point, write_arrays
from cdlib.runs import digest, sha256_file, write_json
from cdlib.settings import DatasetSettings

# To be raised when decoding, cropping or resizing change: prepared arrays are then made anew.
_RECIPE = 1


@dataclass(frozen=True, eq=False)
class PreparedArray:
    """One split. `images` is (N,H,W,3) uint8 RGB, memory-mapped; `labels` is (N,) int64.

    `names` says which image each row is (a path in the data set, or a drawing's number).
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    manifest: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    def tensor(self, indices: Sequence[int] | np.ndarray | Tensor) -> Tensor:
        """The images at `indices` as float RGB in [0,1], (B,3,H,W) in channels_last memory."""
        batch = torch.from_numpy(np.asarray(self.images[np.asarray(indices)]))  # (B,H,W,3)
        return batch.permute(0, 3, 1, 2).float().div_(255)


def prepare(
    dataset: DatasetSettings,
    split: Split,
    size: int,
    directory: Path,
    seed: int,
    progress: Callable[[str], None] = print,
) -> PreparedArray:
    """Open a split's prepared array, and first make it if it is absent, stale or damaged.

    Memory use does not grow with the number of images. An interrupted preparation goes on where
    it was, and ends with the same bytes. An array whose source is gone (moved from another
    machine, say) is opened if it is whole and was made for the same request.

    Args:
        size: side of the square images, in pixels.
        seed: of the validation cut, and of drawn images.
        progress: takes the lines that say what is done; by default they are printed.

    Raises:
        FileNotFoundError: neither the images nor an array made from them is there.
        ValueError: no image is readable, or the settings ask for what the set cannot give.
        OSError: the array does not fit on the disk.
    """
    files = ArrayFiles(directory / dataset.name, f"{split}-{size}")
    request = _request(dataset, split, size, seed)
    try:
        source = source_of(dataset, split, seed)
    except FileNotFoundError as error:
        if _fault(files, request):
            raise
        progress(f"{files.images}: taken as it is, since the images are gone ({error})")
        return _opened(files)
    wanted = {"fingerprint": digest([source.fingerprint, source.classes, split, size, _RECIPE])}
    if not _fault(files, wanted):
        return _opened(files)
    files.folder.mkdir(parents=True, exist_ok=True)
    with locked(files):
        # Another process may have made it while this one waited.
        if fault := _fault(files, wanted):
            if files.images.exists():
                progress(f"{files.images}: {fault}; made anew")
            _make(source, files, request | wanted, progress)
    return _opened(files)


def _request(dataset: DatasetSettings, split: Split, size: int, seed: int) -> dict[str, Any]:
    """What was asked for, less what has no bearing on this split."""
    request = {"source": dataset.source, "split": split, "size": size}
    request[split] = getattr(dataset, split)
    if split == "train":
        request["validation"] = dataset.validation
    if split != "test" or dataset.source.startswith("synthetic"):
        request["seed"] = seed
    return request


def _make(
    source: Source, files: ArrayFiles, request: dict[str, Any], progress: Callable[[str], None]
) -> None:
    title, total = f"{files.folder.name} {files.stem}", len(source.names)
    at = resume_point(files, request["fingerprint"], request["size"])
    todo = total - at.done
    resumed = f", {at.done:,} of them done before" if at.done else ""
    progress(f"{title}: preparing {total:,} images{resumed}")
    started = time.perf_counter()
    at = write_arrays(source, request["size"], files, at)
    seconds = time.perf_counter() - started
    skipped = dict(at.skipped)
    manifest = {
        "name": files.folder.name,
        **request,
        "count": at.kept,
        "classes": source.classes,
        "sha256": sha256_file(files.images),
        "skipped": {source.names[position]: reason for position, reason in at.skipped},
        "names": [name for i, name in enumerate(source.names) if i not in skipped],
    }
    write_json(files.manifest, manifest)
    left_out = f", {len(skipped)} skipped (see {files.manifest})" if skipped else ""
    rate = f"{seconds:.1f} s, {todo / seconds:,.0f}/s"
    progress(f"{title}: {at.kept:,} images ({rate}){left_out}")


def _fault(files: ArrayFiles, wanted: dict[str, Any]) -> str | None:
    """Why the array on disk is not the one whose manifest holds `wanted`; None if it is."""
    try:
        manifest = json.loads(files.manifest.read_text("utf-8"))
        count, size, names = manifest["count"], manifest["size"], manifest["names"]
        if any(manifest[key] != value for key, value in wanted.items()):
            return "made from other images or settings"
        header = npy_header(count, size)
        with open(files.images, "rb") as file:
            if file.read(len(header)) != header:
                return "its shape is not its manifest's"
        if files.images.stat().st_size != len(header) + count * size * size * 3:
            return "its length is not its manifest's (cut short?)"
        labels = np.load(files.labels, allow_pickle=False)
        if len(names) != count or labels.shape != (count,) or labels.dtype != np.int64:
            return "its names or labels are not its manifest's"
        if labels.min() < 0 or labels.max() >= len(manifest["classes"]):
            return "its labels are not of its classes"
        if not {"sha256", "skipped"} <= manifest.keys():
            return "its manifest is not whole"
    except FileNotFoundError as error:
        return f"{error.filename} is missing"
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return "its manifest or labels are damaged"
    return None


def _opened(files: ArrayFiles) -> PreparedArray:
    manifest = json.loads(files.manifest.read_text("utf-8"))
    images = np.load(files.images, mmap_mode="r")
    labels = np.load(files.labels)
    names, classes = tuple(manifest["names"]), tuple(manifest["classes"])
    return PreparedArray(images, labels, classes, names, manifest)
