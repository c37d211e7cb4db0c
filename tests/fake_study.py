"""A study whose notebooks are not really executed, for the tests of the runner."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from notebook_files import write_notebook
from rich.console import Console

from cdlib import study
from cdlib.execution import CellStarted, Failed, Job
from cdlib.study import run_study


class Runs:
    """A folder of notebooks whose execution is faked: it is noted, and copies the notebook."""

    def __init__(self, folder: Path) -> None:
        self.notebooks = folder / "notebooks"
        self.results = folder / "results"
        self.prepared = folder / "prepared"
        self.done: list[str] = []
        self.jobs: list[Job] = []
        self.fails_at: str | None = None
        self.screen = io.StringIO()

    def execute(self, job: Job) -> Iterator[CellStarted | Failed]:
        self.done.append(job.source.stem)
        self.jobs.append(job)
        job.log.touch()
        job.output.write_text(job.source.read_text())
        yield CellStarted(1, "first line")
        if job.source.stem == self.fails_at:
            yield Failed("ValueError: no")

    def __call__(self, overrides: dict | None = None, **options) -> list[str]:
        """Which notebooks one run of the study executes."""
        self.done = []
        run_study(
            "quick",
            {"data.prepared": str(self.prepared)} | (overrides or {}),
            self.results,
            notebooks=self.notebooks,
            console=Console(file=self.screen, width=200),
            **options,
        )
        return self.done

    def read(self, name: str) -> dict:
        return json.loads((self.results / "quick" / name).read_text())


def fake_study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Three notebooks in `folder`, and what runs them."""
    fake = Runs(folder)
    for name in ("02_second", "01_first", "03_third"):
        write_notebook(fake.notebooks, name, "1 + 1")
    monkeypatch.setattr(study, "execute", fake.execute)
    monkeypatch.setattr(study, "describe_device", lambda: {"cpu": "a processor"})
    return fake
