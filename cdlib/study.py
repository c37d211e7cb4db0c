"""The study: its notebooks in order, each as far as its inputs have changed.

Everything is written under `<results>/<profile's name>/`: executed notebooks, what they make
themselves, `stages.json` (which says what is up to date) and `run.json` (where it came from).
"""

import json
import os
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console

from cdlib.display import Display, clock
from cdlib.execution import CellStarted, Failed, Job, Printed, execute
from cdlib.locks import exclusive
from cdlib.provenance import describe_device, provenance
from cdlib.runs import Run, project_root, remove_leftovers, resolve, write_json, write_text
from cdlib.settings import ConfigurationError, Profile, load_profile
from cdlib.stages import Records, Stage, data_manifests, input_hash, read_stages


class StageError(RuntimeError):
    """A notebook that failed: which, in which cell, and why, in one line."""


@dataclass
class Study:
    """A profile's sequence of notebooks, and the folder that it fills.

    `parameters` are what every notebook is given; `root` is where notebooks run.
    """

    profile: Profile
    parameters: dict[str, Any]
    stages: list[Stage]
    run: Run
    root: Path
    console: Console

    @cached_property
    def device(self) -> dict[str, Any]:
        return describe_device()

    def sequence(self, only: Iterable[str], fresh: bool) -> None:
        """See `run_study`."""
        records = Records.read(self.run.folder / "stages.json")
        if gone := records.stages.keys() - {stage.name for stage in self.stages}:
            records.drop(*gone)
        chosen = set(only)
        if fresh:
            self._forget(records)
        before = None
        for stage in self.stages:
            inputs = input_hash(self.profile, stage, before and records.key(before))
            before = stage.name
            if chosen and stage.name not in chosen:
                continue
            if not chosen and self._current(stage, inputs, records):
                self.console.print(f"{stage.name}: unchanged, skipped", highlight=False)
                continue
            # Whatever happens now, the old outputs are no longer this stage's.
            records.drop(stage.name)
            seconds = self._execute(stage)
            record = {
                "inputs": inputs,
                "data": self._data(),
                "seconds": round(seconds, 1),
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            # In this order, so that an interruption cannot leave `run.json` behind for good.
            self._write_provenance(records.stages | {stage.name: record})
            records.put(stage.name, record)

    def _copy(self, stage: Stage) -> Path:
        return self.run.notebooks / stage.path.name

    def _current(self, stage: Stage, inputs: str, records: Records) -> bool:
        return self._copy(stage).exists() and records.current(stage.name, inputs, self._data())

    def _manifests(self) -> dict[str, dict[str, Any]]:
        return data_manifests(self.profile, resolve(self.profile.data.prepared))

    def _data(self) -> dict[str, str]:
        return {name: manifest["sha256"] for name, manifest in self._manifests().items()}

    def _forget(self, records: Records) -> None:
        """What would let a training go on from where it was, or not start at all."""
        records.drop(*records.stages)
        for pattern in ("*.resume*.pt", "*.safetensors"):
            for path in self.run.folder.glob(f"checkpoints/**/{pattern}"):
                path.unlink()

    def _execute(self, stage: Stage) -> float:
        """Seconds that the notebook took; its executed copy is left even if it failed."""
        copy = self._copy(stage)
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial, log = copy.with_name(f".{copy.name}"), copy.with_suffix(".log")
        job = Job(stage.path, partial, log, self.parameters, self.root)
        cell, failure = None, None
        try:
            # One more cell than in the source: papermill adds the parameters.
            display = Display(self.console, stage.name, len(stage.code) + 1)
            with display, closing(execute(job)) as events:
                for event in events:
                    match event:
                        case CellStarted():
                            cell, display.cell = event, event.number
                        case Printed(line, passing=True):
                            display.passing = line
                        case Printed(line):
                            display.print(f"  {line}")
                        case Failed(reason):
                            failure = reason
                    display.tick()
            self._keep(partial, copy)
        finally:
            partial.unlink(missing_ok=True)
            if log.exists() and (failure is None or not log.stat().st_size):
                log.unlink()
        if failure is not None:
            raise StageError(self._describe(stage, cell, failure, log))
        self.console.print(f"{stage.name}: done in {clock(display.seconds)}", highlight=False)
        return display.seconds

    def _keep(self, partial: Path, copy: Path) -> None:
        """Move the executed copy to its place, free of the paths of this machine.

        One that is cut short (the disk was full) stays away: no notebook could be made of it.
        """
        with suppress(FileNotFoundError, ValueError):
            text = partial.read_text("utf-8")
            json.loads(text)
            write_text(copy, text.replace(f"{self.root}{os.sep}", ""))

    def _describe(self, stage: Stage, cell: CellStarted | None, failure: str, log: Path) -> str:
        where = f"cell {cell.number} ({cell.first_line})" if cell else "before its first cell"
        logged = f" and {log.name}" if log.exists() else ""
        return f"{stage.name}: {where}: {failure}; see {self._copy(stage)}{logged}"

    def _write_provenance(self, records: dict[str, dict[str, Any]]) -> None:
        stages = {}
        for name, record in sorted(records.items()):
            stages[name] = {key: record[key] for key in ("seconds", "finished")}
            timings = self.run.folder / "timings" / f"{name}.json"
            with suppress(FileNotFoundError, ValueError):  # it says more, and is missed by none
                stages[name]["throughput"] = json.loads(timings.read_text("utf-8"))
        content = provenance(self.profile, self.root, stages, self._manifests(), self.device)
        write_json(self.run.folder / "run.json", content)


def run_study(
    profile: str,
    overrides: dict[str, Any],
    results: Path,
    *,
    only: Iterable[str] = (),
    fresh: bool = False,
    notebooks: Path | None = None,
    console: Console | None = None,
) -> None:
    """Run the notebooks whose inputs have changed, in order, and stop at one that fails.

    Args:
        profile: a built-in profile's name, or the path of a YAML file.
        overrides: by dotted keys, see `cdlib.settings.load_profile`.
        results: the folder that holds one folder a profile.
        only: numbers of notebooks; these run, changed or not, and no others.
        fresh: run all, and train anew.
        notebooks: where they are; the checkout's `notebooks`, if not given.

    Raises:
        ConfigurationError: a profile, override, number or notebook that is not as it must be.
        OSError: no notebooks, results that cannot be written, or another study at work in them.
        StageError: a notebook failed.
    """
    resolved = load_profile(profile, overrides)
    stages = read_stages(notebooks or project_root() / "notebooks")
    chosen = [name for number in only for name in _numbered(stages, number)]
    if chosen and fresh:
        raise ConfigurationError("--fresh takes away every checkpoint: give it without --only")
    given = str(Path(profile).resolve()) if Path(profile).suffix in (".yaml", ".yml") else profile
    parameters = {
        "profile": given,
        "overrides": overrides,
        "results_dir": str(results.resolve()),
    }
    run = Run(results.resolve() / resolved.name)
    run.folder.mkdir(parents=True, exist_ok=True)
    study = Study(resolved, parameters, stages, run, project_root(), console or Console())
    with exclusive(run.folder / ".lock"):
        remove_leftovers(run.folder)
        study.sequence(chosen, fresh)


def _numbered(stages: list[Stage], number: str) -> list[str]:
    names = [stage.name for stage in stages if stage.name.startswith(f"{number.zfill(2)}_")]
    if not names:
        known = ", ".join(stage.name for stage in stages)
        raise ConfigurationError(f"--only {number}: no such notebook; there are {known}")
    return names
