"""Photographs in a folder, in one of two layouts.

Class folders:   root/{train,test}/<class>/*.jpg        label = place among the sorted names
One class:       root/img_align_celeba/*.jpg and root/list_eval_partition.txt, CelebA's own
                 (lines `name code`: 0 train, 1 validation, 2 test)
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
PARTITION_FILE = "list_eval_partition.txt"
PARTITION_IMAGES = "img_align_celeba"
_CODES: dict[Split, str] = {"train": "0", "validation": "1", "test": "2"}


@dataclass(frozen=True)
class Listing:
    """The images of one split: (path relative to `root`, label), in sorted order."""

    root: Path
    files: list[tuple[str, int]]
    classes: tuple[str, ...]


def list_folder(root: Path, split: Split) -> Listing:
    """List one split. Class folders have no validation part: there `files` is empty.

    Raises:
        FileNotFoundError: no such folder, neither layout in it, a folder without images, or a
            partition line that names no file.
        ValueError: a class in `test` that `train` lacks, a partition line that is not one, or a
            name that is not UTF-8.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; {_remedy()}")
    if (root / PARTITION_FILE).is_file():
        return _list_partition(root, split)
    if (root / "train").is_dir():
        return _list_classes(root, split)
    raise FileNotFoundError(f"{root}: neither train/<class>/ nor {PARTITION_FILE}; {_remedy()}")


def _remedy() -> str:
    return 'put photographs there as the README says under "Real data"'


def _list_classes(root: Path, split: Split) -> Listing:
    classes = tuple(sorted(_names(root / "train", folders=True)))
    if not classes:
        raise FileNotFoundError(f"{root / 'train'}: no class folders in it; {_remedy()}")
    if split == "validation":
        return Listing(root, [], classes)
    found = sorted(_names(root / split, folders=True))
    if unknown := sorted(set(found) - set(classes)):
        raise ValueError(f"{root / split / unknown[0]}: a class that {root / 'train'} lacks")
    files = []
    for name in found:
        images = _images(root / split / name)
        files += [(f"{split}/{name}/{image}", classes.index(name)) for image in images]
    if not files:
        raise FileNotFoundError(f"{root / split}: no class folders in it; {_remedy()}")
    return Listing(root, files, classes)


def _list_partition(root: Path, split: Split) -> Listing:
    there = set(_images(root / PARTITION_IMAGES))
    codes: dict[str, str] = {}
    lines = (root / PARTITION_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        where = f"{root / PARTITION_FILE}, line {number}"
        match line.rsplit(maxsplit=1):
            case []:
                continue
            case [name, code] if code in _CODES.values() and name not in codes:
                codes[name] = code
            case _:
                raise ValueError(f"{where}: {line!r} is not a new file's name and 0, 1 or 2")
        if name not in there:
            raise FileNotFoundError(f"{where}: {name} is not in {root / PARTITION_IMAGES}")
    chosen = sorted(name for name, code in codes.items() if code == _CODES[split])
    if not chosen and split != "validation":
        raise FileNotFoundError(f"{root / PARTITION_FILE}: gives no image to {split}")
    return Listing(root, [(f"{PARTITION_IMAGES}/{name}", 0) for name in chosen], ("face",))


def _images(folder: Path) -> list[str]:
    found = sorted(n for n in _names(folder, folders=False) if n.lower().endswith(SUFFIXES))
    if not found:
        raise FileNotFoundError(f"{folder}: no images in it ({' '.join(SUFFIXES)})")
    return found


def _names(folder: Path, *, folders: bool) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {_remedy()}")
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_dir() == folders and e.name[0] != "."]
    for name in names:
        if name != name.encode("utf-8", "replace").decode():
            # It would do until the scores are written, hours later.
            raise ValueError(f"{folder}: the name {name!r} in it is not UTF-8; rename it")
    return names
