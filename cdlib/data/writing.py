"""Write a split's array image by image: constant memory, and able to go on after a break.

Images and labels are appended to files beside the final ones. Every `FLUSH_EVERY` images they
are flushed and a record says how far they got; what lies beyond the record is cut off and made
again, so that an interrupted preparation ends with the same bytes.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cdlib.data.decode import UnreadableImageError
from cdlib.data.sources import Source
from cdlib.runs import atomic_path, names_file, write_json

FLUSH_EVERY = 1000


@dataclass(frozen=True)
class ArrayFiles:
    """The files of one prepared split: `<folder>/<split>-<size>` and these endings."""

    folder: Path
    stem: str

    def __getitem__(self, ending: str) -> Path:
        return self.folder / f"{self.stem}{ending}"

    @property
    def images(self) -> Path:
        return self[".npy"]

    @property
    def labels(self) -> Path:
        return self[".labels.npy"]

    @property
    def manifest(self) -> Path:
        return self[".json"]


@dataclass
class Reached:
    """How far a preparation is: images looked at, and (position, reason) of those skipped."""

    key: str
    done: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)

    @property
    def kept(self) -> int:
        return self.done - len(self.skipped)


def npy_header(count: int, size: int) -> bytes:
    """128 bytes, whatever the count: the format pads, so that the count can be put in last."""
    head = BytesIO()
    shape = (count, size, size, 3)
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, about)
    return head.getvalue()


def resume_point(files: ArrayFiles, key: str, size: int) -> Reached:
    """The start, unless an interrupted preparation of the same `key` left a usable part."""
    try:
        found = Reached(**json.loads(files[".partial.json"].read_text("utf-8")))
        complete = (
            found.key == key
            and files[".npy.partial"].stat().st_size >= _image_bytes(found.kept, size)
            and files[".labels.partial"].stat().st_size >= 8 * found.kept
        )
    except (OSError, ValueError, TypeError):
        return Reached(key)
    return found if complete else Reached(key)


def write_arrays(source: Source, size: int, files: ArrayFiles, at: Reached) -> Reached:
    """Read the images from `at` on, and leave `files.images` and `files.labels` whole.

    Raises:
        ValueError: not one image of the source is readable.
        OSError: the disk has too little room, or writing fails; the part that is done stays.
    """
    _check_room(files, _image_bytes(len(source.names) - at.done, size))
    pixels, labels = files[".npy.partial"], files[".labels.partial"]
    pixels.touch()
    labels.touch()
    with (
        names_file(files.images),
        open(pixels, "r+b") as pixel_file,
        open(labels, "r+b") as label_file,
    ):
        pixel_file.truncate(_image_bytes(at.kept, size))
        label_file.truncate(8 * at.kept)
        pixel_file.seek(_image_bytes(at.kept, size))
        label_file.seek(0, os.SEEK_END)
        todo = range(at.done, len(source.names))
        # Quiet (disable=None) where standard error is no terminal: bars fill log files.
        bar = tqdm(todo, files.stem, initial=at.done, total=len(source.names), disable=None)
        for position in bar:
            try:
                image, label = source.read(position, size)
            except UnreadableImageError as error:
                at.skipped.append((position, str(error)))
            else:
                pixel_file.write(image.tobytes())
                label_file.write(np.int64(label).tobytes())
            at.done += 1
            if at.done % FLUSH_EVERY == 0:
                _flush(pixel_file, label_file)
                write_json(files[".partial.json"], vars(at))
        pixel_file.seek(0)
        pixel_file.write(npy_header(at.kept, size))
        _flush(pixel_file, label_file)
    if at.kept:
        with atomic_path(files.labels) as temporary, open(temporary, "wb") as file:
            np.save(file, np.fromfile(labels, np.int64))
        os.replace(pixels, files.images)
    for ending in (".npy.partial", ".labels.partial", ".partial.json"):
        files[ending].unlink(missing_ok=True)
    if not at.kept:
        position, reason = at.skipped[0]
        example = f"{source.names[position]}: {reason}"
        raise ValueError(f"{files.images}: no image is readable of {at.done} (e.g. {example})")
    return at


@contextmanager
def locked(files: ArrayFiles) -> Iterator[None]:
    """Wait for other processes (several GPUs, say) that write the same array."""
    with open(files.folder / f".{files.stem}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _image_bytes(count: int, size: int) -> int:
    return len(npy_header(count, size)) + count * size * size * 3


def _flush(*open_files) -> None:
    for file in open_files:
        file.flush()
        os.fsync(file.fileno())


def _check_room(files: ArrayFiles, needed: int) -> None:
    free = shutil.disk_usage(files.folder).free
    if needed > free:
        raise OSError(
            f"{files.images}: needs {needed / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB are "
            "free; lower the data set's `train` or `test`"
        )
