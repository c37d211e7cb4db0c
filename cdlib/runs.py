"""Where the files of a run lie, and how they are written: beside first, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


def project_root() -> Path:
    """The checkout's folder, from wherever in it a notebook or a command was started."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    return here


def resolve(path: Path | str) -> Path:
    """A relative path means: relative to the project root."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling of `path`, renamed to it on success and removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with names_file(path, temporary):
            yield temporary
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # the first error is the one to be told
            temporary.unlink()


@contextmanager
def names_file(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Give errors of writing the file's name, since a full disk is reported without one."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None or error.filename == str(temporary)
        if error.errno is not None and nameless:
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of `atomic_path` whose process was killed."""
    for path in folder.rglob(".*.tmp"):
        process = path.stem.rpartition(".")[2]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=False, default=str) + "\n")


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Any) -> str:
    """Hash of a JSON-like value, the same in every process."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Run:
    """`results/<profile>`: one profile's notebooks, tables, figures, checkpoints, logs, scores."""

    folder: Path

    @property
    def profile_file(self) -> Path:
        return self.folder / "profile.yaml"

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def notebooks(self) -> Path:
        return self.folder / "notebooks"

    @property
    def scores(self) -> Path:
        return self.folder / "scores"

    def checkpoints(self, dataset: str) -> Path:
        return self.folder / "checkpoints" / dataset

    def net(self, dataset: str, name: str) -> Path:
        """The file of a finished net."""
        return self.checkpoints(dataset) / f"{name}.safetensors"

    def logs(self, dataset: str) -> Path:
        return self.folder / "logs" / dataset
