"""A prepared split as tar shards: written once, then read image by image in any order.

The layout is WebDataset's (github.com/webdataset/webdataset): uncompressed tars, in which the
members of one image lie side by side and share their name up to the first dot, here
`000000012.png` and `000000012.cls`. Its stock decoders read both. Beside the tars lie

    index.json      the shards, with counts, sizes and hashes, and what they were made from
    manifest.json   the manifest of the array that they were made from
    members.npy     where each image lies

PNG loses nothing, so that a training from shards sees the pixels of the array. Images are found
by their place alone: no name in a tar is ever used as a path.
"""

import json
import tarfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from cdlib.data.array import PreparedArray
from cdlib.data.folder import Split
from cdlib.runs import atomic_path, sha256_file, write_json
from cdlib.settings import Count, Settings

# Row i of members.npy: the PNG of image i begins at `offset` of shard i // per_shard.
MEMBER = np.dtype([("offset", "<i8"), ("bytes", "<i8"), ("crc", "<u4"), ("label", "<i8")])
_QUICK = (cv2.IMWRITE_PNG_COMPRESSION, 1)  # photographs gain next to nothing from more
_THREADS = 8  # that decode a batch: one alone would hold up a GPU
_AGAIN = "run `cdlib data shard` again"


class Shard(Settings):
    images: Count
    bytes: Count
    sha256: str


class Index(Settings):
    """`index.json`: what was cut, how, and the shards that are done, by file name."""

    name: str
    split: Split
    size: Count
    count: Count
    per_shard: Count
    array: str  # sha256 of the array's images
    shards: dict[str, Shard]

    @property
    def files(self) -> list[str]:
        """All that there must be in the end, in order."""
        return [f"{number:06d}.tar" for number in range(-(-self.count // self.per_shard))]


class ShardImages:
    """The images of shards, (N,H,W,3) uint8 RGB, behind numpy's indexing; decoded when asked for.

    An index is a row, a slice, or a list or array of rows.
    """

    def __init__(self, shards: list[Path], index: Index, members: NDArray[Any]):
        self.shape = (index.count, index.size, index.size, 3)
        self._shards, self._per_shard, self._members = shards, index.per_shard, members
        self._rows = np.arange(index.count)
        self._threads = ThreadPoolExecutor(_THREADS)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Raises ValueError where a shard was changed or damaged."""
        rows = self._rows[index]
        if rows.ndim == 0:
            return self._image(int(rows))
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, image in enumerate(self._threads.map(self._image, rows.tolist())):
            images[place] = image
        return images

    def _image(self, row: int) -> NDArray[np.uint8]:
        member = self._members[row]
        path = self._shards[row // self._per_shard]
        # Opened each time, since there may be more shards than files a process may hold open.
        with open(path, "rb", buffering=0) as file:
            file.seek(member["offset"])
            content = file.read(member["bytes"])
        sound = zlib.crc32(content) == member["crc"]
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if sound else None
        if image is None or image.shape != self.shape[1:]:
            raise ValueError(f"{path}: image {row} is damaged, or not where it was; {_AGAIN}")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_shards(
    array: PreparedArray,
    folder: Path,
    per_shard: int,
    progress: Callable[[str], None] = print,
) -> None:
    """Write `array` as shards of `per_shard` images; whole ones of an earlier run are left.

    One image is held at a time, and the same array gives the same bytes.

    Args:
        folder: for these shards alone; made if it is not there.
        progress: takes the lines that say what is done; by default they are printed.

    Raises:
        ValueError: the folder holds the shards of something else.
        OSError: no room, or no right to write there.
    """
    about = {key: array.manifest[key] for key in ("name", "split", "size", "count")}
    index = Index(**about, per_shard=per_shard, array=array.manifest["sha256"], shards={})
    index.shards.update(_finished(folder, index))
    write_json(folder / "manifest.json", array.manifest)
    members = np.empty(len(array), MEMBER)
    for number, name in enumerate(index.files):
        path = folder / name
        rows = range(len(array))[number * per_shard : (number + 1) * per_shard]
        if not _whole(path, index.shards.get(name)):
            with atomic_path(path) as temporary:
                _write_tar(temporary, array, rows)
            size, sha256 = path.stat().st_size, sha256_file(path)
            index.shards[name] = Shard(images=len(rows), bytes=size, sha256=sha256)
            write_json(folder / "index.json", index.model_dump())
            progress(f"{path}: {rows.stop:,} of {len(array):,} images")
        members[rows.start : rows.stop] = _located(path, array.labels[rows.start : rows.stop])
    with atomic_path(folder / "members.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, members)


def open_shards(folder: Path, name: str, split: Split, size: int) -> PreparedArray:
    """The shards of data set `name` that lie in `folder`, of images of `size` pixels a side.

    They carry the manifest of the array that they were made from, so that a net that was trained
    on the one counts as trained on the other. Sizes and places are checked here, the content as it
    is read.

    Raises:
        FileNotFoundError: no shards are there.
        ValueError: they are of something else, unfinished, cut short, or not as the index says.
    """
    index, manifest, members = _read(folder)
    if (index.name, index.split, index.size) != (name, split, size):
        raise ValueError(
            f"{folder}: holds {index.name} {index.split} at {index.size} px, the profile wants "
            f"{name} {split} at {size} px; write these with `cdlib data shard`, or set another "
            "folder as `shards`"
        )
    shards = _checked(folder, index, members)
    images = ShardImages(shards, index, members)
    names, classes = tuple(manifest["names"]), tuple(manifest["classes"])
    return PreparedArray(images, members["label"].copy(), classes, names, manifest)


def _finished(folder: Path, index: Index) -> dict[str, Shard]:
    """The shards that an earlier run of the same kind recorded."""
    try:
        earlier = Index.model_validate_json((folder / "index.json").read_text("utf-8"))
    except (FileNotFoundError, ValidationError):
        return {}
    if earlier.model_copy(update={"shards": {}}) != index:
        raise ValueError(
            f"{folder}: holds shards of other images, or of another --per-shard; choose another "
            "folder, or delete this one"
        )
    return earlier.shards


def _whole(path: Path, record: Shard | None) -> bool:
    return record is not None and path.is_file() and sha256_file(path) == record.sha256


def _write_tar(path: Path, array: PreparedArray, rows: range) -> None:
    with tarfile.open(path, "w:", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            image = cv2.cvtColor(np.asarray(array.images[row]), cv2.COLOR_RGB2BGR)
            _, png = cv2.imencode(".png", image, _QUICK)
            _add(tar, f"{row:09d}.png", png.tobytes())
            _add(tar, f"{row:09d}.cls", str(array.labels[row]).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # Neither time nor owner: the same images give the same bytes.
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, BytesIO(content))


def _located(path: Path, labels: NDArray[np.int64]) -> NDArray[Any]:
    """Where the images of one shard lie: (n,) of `MEMBER`."""
    with tarfile.open(path, "r:") as tar:
        images = (info for info in tar if info.name.endswith(".png"))
        rows = [
            (info.offset_data, info.size, zlib.crc32(tar.extractfile(info).read()), label)
            for info, label in zip(images, labels, strict=True)
        ]
    return np.array(rows, MEMBER)


def _read(folder: Path) -> tuple[Index, dict[str, Any], NDArray[Any]]:
    file = folder / "index.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no shards here; write them with `cdlib data shard`")
    try:
        index = Index.model_validate_json(file.read_text("utf-8"))
        file = folder / "manifest.json"
        manifest = json.loads(file.read_text("utf-8"))
        names, classes, of = (manifest[key] for key in ("names", "classes", "sha256"))
        file = folder / "members.npy"
        members = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{file}: missing, the shards are unfinished; {_AGAIN}") from None
    except (ValueError, EOFError, KeyError, TypeError):
        raise ValueError(f"{file}: damaged; {_AGAIN}") from None
    fits = (
        of == index.array
        and members.dtype == MEMBER
        and members.shape == (index.count,) == (len(names),)
        and 0 <= members["label"].min() <= members["label"].max() < len(classes)
    )
    if not fits:
        raise ValueError(f"{folder}: manifest.json or members.npy is not the index's; {_AGAIN}")
    return index, manifest, members


def _checked(folder: Path, index: Index, members: NDArray[Any]) -> list[Path]:
    """The shards in order, after what can be checked without reading them."""
    # A file name of the index is used as a path only if it is one that we would have given.
    if sorted(index.shards) != index.files:
        raise ValueError(
            f"{folder}/index.json: its shards are not {index.files[0]} to {index.files[-1]}; "
            f"unfinished? {_AGAIN}"
        )
    shards = [folder / name for name in index.files]
    sizes = np.array([index.shards[name].bytes for name in index.files])
    for path, size in zip(shards, sizes, strict=True):
        if not path.is_file() or path.stat().st_size != size:
            raise ValueError(f"{path}: missing, cut short or changed; {_AGAIN}")
    ends = members["offset"] + members["bytes"]
    inside = ends <= sizes[np.arange(index.count) // index.per_shard]
    if not (inside & (members["offset"] >= 0) & (members["bytes"] > 0)).all():
        raise ValueError(f"{folder}/members.npy: images beyond the shards' ends; {_AGAIN}")
    return shards
