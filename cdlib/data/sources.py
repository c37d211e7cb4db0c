"""Which images make up a split, and how to read one of them.

Splits never share an image. A photograph set's own validation part is used where it has one;
otherwise it is cut from the training part by a permutation that `seed` fixes. Drawn images are
numbered, and each split has its own range of numbers.
"""

import hashlib
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cdlib.data.decode import decode
from cdlib.data.download import ensure_celeba, ensure_places365
from cdlib.data.folder import Listing, Split, list_folder
from cdlib.runs import resolve
from cdlib.settings import ConfigurationError, DatasetSettings

_LISTERS: dict[str, Callable[[Path, Split], Listing]] = {
    "folder": list_folder,
    "places365": ensure_places365,
    "celeba": ensure_celeba,
}
_FIRST_NUMBER: dict[Split, int] = {"train": 0, "validation": 10_000_000, "test": 20_000_000}


@dataclass(frozen=True)
class Source:
    """The images of one split, in order. `read(position, size)` gives (uint8 image, label).

    `fingerprint` changes when the images to be read change: other files, sizes or drawings.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    fingerprint: str
    read: Callable[[int, int], tuple[np.ndarray, int]]


def source_of(dataset: DatasetSettings, split: Split, seed: int) -> Source:
    """The images of a data set's split.

    `train` and the cut `validation` come in the permutation's order, so that any first n of them
    are a fair sample; `test`, and a validation part of the set's own, evenly spread by name.

    Raises:
        FileNotFoundError: the photographs are not there, or not in a known layout.
        ConfigurationError: counts that the set cannot give.
    """
    if dataset.source.startswith("synthetic"):
        return _drawn(dataset, split, seed)
    listing = _photographs(dataset, split, seed)
    root, files = listing.root, listing.files
    sizes = (_bytes_of(root / name) for name, _ in files)
    lines = (f"{name}\t{label}\t{n}" for (name, label), n in zip(files, sizes, strict=True))

    def read(position: int, size: int) -> tuple[np.ndarray, int]:
        name, label = files[position]
        return decode(root / name, size), label

    return Source(tuple(name for name, _ in files), listing.classes, _hash(lines), read)


def evenly(items: list, count: int | None) -> list:
    """At most `count` of the items, evenly spread: sorted by class, every class keeps its share."""
    if count is None or count >= len(items):
        return items
    return [items[i * len(items) // count] for i in range(count)]


def _photographs(dataset: DatasetSettings, split: Split, seed: int) -> Listing:
    lister, root = _LISTERS[dataset.source], resolve(dataset.root)
    if split == "test":
        listing = lister(root, "test")
        return replace(listing, files=evenly(listing.files, dataset.test))
    own = lister(root, "validation")
    if split == "validation" and own.files:
        return replace(own, files=evenly(own.files, dataset.validation))
    listing = lister(root, "train")
    total = len(listing.files)
    kept = total if own.files else total - dataset.validation
    if kept <= 0:
        raise ConfigurationError(
            f"{dataset.name}: validation = {dataset.validation} leaves none of the {total} "
            "training images to train on"
        )
    order = np.random.default_rng(seed).permutation(total)
    chosen = order[kept:] if split == "validation" else order[:kept][: dataset.train]
    return replace(listing, files=[listing.files[i] for i in chosen])


def _drawn(dataset: DatasetSettings, split: Split, seed: int) -> Source:
    from cdlib.data import synthetic

    scenes = dataset.source == "synthetic-scenes"
    draw = synthetic.draw_scene if scenes else synthetic.draw_face
    classes = synthetic.SCENES if scenes else ("face",)
    count = getattr(dataset, split)
    if count is None:
        raise ConfigurationError(f"{dataset.name}: {dataset.source} needs a number in `{split}`")
    first = _FIRST_NUMBER[split]
    # A few drawings stand for the code that draws: when it changes, so does the fingerprint.
    samples = (draw(first + i, 64, seed)[0].tobytes().hex() for i in range(len(classes)))
    about = (dataset.source, str(seed), str(first), str(count), *samples)
    names = tuple(f"{first + i:08d}" for i in range(count))
    return Source(names, classes, _hash(about), lambda i, size: draw(first + i, size, seed))


def _bytes_of(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: listed but not there; unpack the set again") from None
    if not stat.S_ISREG(status.st_mode):
        # To read a pipe would be to wait without end.
        raise ValueError(f"{path}: a pipe, device or folder, not an image file; take it away")
    return status.st_size


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
