"""Where a training writes, where it stands, and what its finished net depends on."""

import json
import math
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdlib.data.array import PreparedArray
from cdlib.locks import exclusive
from cdlib.recipes import Recipe
from cdlib.runs import Run, digest, names_file
from cdlib.settings import Profile
from cdlib.synchronised import is_first_process


@dataclass
class Progress:
    """Where a training stands: all of its state that is not a tensor of a net or an optimiser."""

    fingerprint: str
    step: int = 0
    gmac: float = 0.0
    seconds: float = 0.0
    log_bytes: int = 0
    best: float = math.inf
    best_step: int = 0


@dataclass
class Files:
    """Where one training writes."""

    net: Path
    state: Path
    log: Path
    samples: Path
    lock: Path

    @classmethod
    def of(cls, run: Run, dataset: str, name: str) -> "Files":
        return cls(
            net=run.net(dataset, name),
            state=run.checkpoints(dataset) / f"{name}.resume.pt",
            log=run.logs(dataset) / f"{name}.jsonl",
            samples=run.folder / "samples" / dataset,
            lock=run.checkpoints(dataset) / f".{name}.lock",
        )

    def held(self) -> AbstractContextManager[None]:
        """Keep other trainings of this net out of its files; among several processes, the first.

        Raises:
            OSError: one is at work here already.
        """
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        return exclusive(self.lock) if is_first_process() else nullcontext()

    def append_log(self, line: dict[str, Any]) -> int:
        """Add a line; the log's length in bytes."""
        with names_file(self.log), open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            return file.tell()

    def rewind_log(self, to: int) -> None:
        """Cut the log back to its first `to` bytes, so that no step is told twice."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        os.truncate(self.log, min(to, self.log.stat().st_size))


def fingerprint_of(
    recipe: Recipe, profile: Profile, training: PreparedArray, validation: PreparedArray
) -> str:
    """What a finished net depends on. How often it was saved or looked at is not part of it."""
    content: list[Any] = [recipe.name, recipe.settings, recipe.images_seen]
    content.append(profile.train.model_dump(exclude={"checkpoint_every", "fast", "allowed"}))
    content += [profile.seed, profile.size, profile.fraction]
    content += [training.manifest["sha256"], validation.manifest["sha256"]]
    return digest(content)


def refuse_nan(values: dict[str, float], where: str) -> None:
    """Raise FloatingPointError, with the name of the value, if one is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{where}: {name} is {value}; lower the learning rate and start again"
            )


def in_short(line: dict[str, float], best_by: str) -> str:
    """Of a line of the log, the losses and the measurement that decides."""
    shown = [name for name in line if name.startswith("loss_") or name.endswith(best_by)]
    return " ".join(f"{name}={line[name]:.4f}" for name in shown)
