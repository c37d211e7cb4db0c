"""What every notebook opens first: the profile, the run's folder, and the prepared data sets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cdlib.checkpoints import read_about
from cdlib.data.array import PreparedArray
from cdlib.data.splits import open_split
from cdlib.fast.memory import keep_freed_memory
from cdlib.methods.context import Context
from cdlib.runs import Run, resolve, write_json, write_text
from cdlib.settings import Profile, load_profile
from cdlib.synchronised import is_first_process


@dataclass(frozen=True)
class Arrays:
    """One data set's splits; training images may be kept larger (`data.margin`) for the crops."""

    train: PreparedArray
    validation: PreparedArray
    test: PreparedArray


@dataclass(frozen=True)
class Workspace:
    profile: Profile
    run: Run

    @property
    def datasets(self) -> tuple[str, str]:
        """Names of the many-scene set and of the face set, in this order."""
        scenes, faces = self.profile.datasets
        return scenes.name, faces.name

    def context(self, dataset: str) -> Context:
        return Context(self.profile, self.run, self.profile.dataset(dataset).name)

    def arrays(self, dataset: str) -> Arrays:
        """Prepared once, then opened; see `cdlib.data.splits.open_split`."""
        splits = ("train", "validation", "test")
        return Arrays(*(open_split(self.profile, dataset, split) for split in splits))

    def record_trainings(self, stage: str, nets: list[Path]) -> pd.DataFrame:
        """What the trainings of a stage took, for `run.json`; a row a net.

        Columns `net, dataset, images_seen, seconds, images_per_s, gmac`.
        """
        columns = ["net", "dataset", "images_seen", "seconds", "images_per_s", "gmac"]
        rows = [{key: about[key] for key in columns} for about in map(read_about, nets)]
        timings = {f"{row['net']} {row['dataset']}": row for row in rows}
        write_json(self.run.folder / "timings" / f"{stage}.json", timings)
        return pd.DataFrame(rows, columns=columns)


def open_workspace(
    profile: str, overrides: dict[str, Any] | None = None, results_dir: Path | str = "results"
) -> Workspace:
    """The study of a profile under `results_dir/<profile>`; the resolved profile is kept there.

    Raises:
        ConfigurationError: see `cdlib.settings.load_profile`.
        OSError: when the results folder cannot be written.
    """
    keep_freed_memory()
    resolved = load_profile(profile, overrides)
    run = Run(resolve(results_dir) / resolved.name)
    content = yaml.safe_dump(resolved.model_dump(mode="json"), sort_keys=False)
    if is_first_process():
        write_text(run.profile_file, content)
    return Workspace(resolved, run)
