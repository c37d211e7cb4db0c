"""Places365 and CelebA by way of torchvision (paper sec. 4). Nothing is fetched unasked.

Both downloads have broken before, so each refusal says how to lay the files out by hand.
torchvision's data sets take seconds to import, hence inside the functions.
"""

import os
import tarfile
from pathlib import Path

from cdlib.data.folder import PARTITION_FILE, PARTITION_IMAGES, Listing, Split, list_folder

_PLACES365_PARTS: dict[Split, str] = {"train": "train-standard", "test": "val"}
_PLACES365_BY_HAND = (
    "by hand, from places2.csail.mit.edu: unpack filelist_places365-standard.tar and val_256.tar "
    "in {root}, and train_256_places365standard.tar, whose folder data_256 is then renamed "
    "data_256_standard"
)
_CELEBA_BY_HAND = (
    "by hand, from mmlab.ie.cuhk.edu.hk/projects/CelebA.html: unpack img_align_celeba.zip in "
    "{root} (which gives img_align_celeba/) and put list_eval_partition.txt beside it"
)


def ensure_places365(root: Path, split: Split, *, download: bool = False) -> Listing:
    """Places365-Standard, the small images (256 px); its validation images are our `test`.

    `validation` is empty: the set's own is taken, and its test images have no labels.
    torchvision checks the lists of files by MD5; the images are looked at when they are read.

    Raises:
        FileNotFoundError: not there or not whole, or the download failed; with what to do.
    """
    if split == "validation":
        return Listing(root, [], ())
    from torchvision import datasets

    _unpack_inside()
    try:
        places = datasets.Places365(
            root, split=_PLACES365_PARTS[split], small=True, download=download
        )
    except Exception as error:
        # Network, archive and hash faults come as unrelated exceptions.
        raise _missing("Places365", root, download, error, _PLACES365_BY_HAND) from error
    if not os.path.isdir(places.images_dir):
        reason = f"no folder {places.images_dir}"
        raise _missing("Places365", root, download, reason, _PLACES365_BY_HAND)
    # torchvision's `classes` is sorted by name, which need not be the order of the labels.
    classes = tuple(sorted(places.class_to_idx, key=places.class_to_idx.__getitem__))
    folder = Path(places.images_dir)
    prefix = len(str(folder)) + 1  # Path.relative_to takes half a minute for 1.8 million
    return Listing(folder, [(path[prefix:], label) for path, label in places.imgs], classes)


def ensure_celeba(root: Path, split: Split, *, download: bool = False) -> Listing:
    """CelebA's aligned faces, in its own partition: one class, `face`.

    The images may lie in `root` or, where torchvision puts them, in `root/celeba`. torchvision's
    class is used to download only, since it insists on annotations that the study has no use for.

    Raises:
        FileNotFoundError: not there or not whole, or the download failed; with what to do.
    """
    for folder in (root, root / "celeba"):
        if (folder / PARTITION_FILE).is_file() and (folder / PARTITION_IMAGES).is_dir():
            return list_folder(folder, split)
    if not download:
        reason = f"no {PARTITION_FILE} and {PARTITION_IMAGES}/ in it"
        raise _missing("CelebA", root, download, reason, _CELEBA_BY_HAND)
    from torchvision import datasets

    _unpack_inside()
    try:
        datasets.CelebA(root, download=True)
    except Exception as error:
        # As above; and torchvision needs the package gdown here.
        raise _missing("CelebA", root, download, error, _CELEBA_BY_HAND) from error
    return list_folder(root / "celeba", split)


def _unpack_inside() -> None:
    """Let no member of a tar file land outside its folder.

    torchvision takes tarfile's default, which allows it before Python 3.14; zipfile never does.
    """
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)


def _missing(
    name: str, root: Path, download: bool, reason: Exception | str, by_hand: str
) -> FileNotFoundError:
    reason = " ".join(str(reason).split()).rstrip(".") or type(reason).__name__
    by_hand = by_hand.format(root=root)
    if download:
        return FileNotFoundError(f"{root}: {name} could not be downloaded ({reason}); {by_hand}")
    way = "run `cdlib data download`, or "
    return FileNotFoundError(f"{root}: {name} is not there ({reason}); {way}{by_hand}")
