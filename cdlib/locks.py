"""One study at a time in one results folder, and one training of one net."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdlib.runs import names_file


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; its content is the holder's process id.

    The system drops the lock when its holder ends, in whatever way, so that a file which a killed
    process left behind does not stand in the way. The file stays: to delete it would let two
    processes lock two files of one name.

    Raises:
        OSError: another process holds it, or the file cannot be written.
    """
    with open(path, "a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode("ascii", "replace").strip() or "unknown"
            raise OSError(
                f"{path}: process {holder} is at work here; wait for it, end it, or give another "
                "--results"
            ) from None
        with names_file(path):
            file.truncate(0)
            file.write(f"{os.getpid()}\n".encode())
        yield
