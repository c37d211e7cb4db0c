"""Hold committed tables against tables made anew from the committed nets and the local data.

The notebooks run again in a folder of their own, on copies of the finished nets, so nothing is
trained; then every number of every table is compared. This is how a reader checks a study.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cdlib.runs import Run
from cdlib.settings import load_profile
from cdlib.study import StageError, run_study

# What the same nets on the same images may differ by on another machine: sums in another order
# change errors in the last digits, and now and then turn a classifier's close decision.
TOLERANCES = {
    "l1": 1e-4,
    "l2": 1e-4,
    "lr_hole_l1": 1e-4,
    "lr_l1": 1e-4,
    "psnr": 0.01,
    "ssim": 1e-3,
}
OTHERWISE = 5e-3
# Tables about the run, not of it.
NOT_COMPARED = ("trainings", "costs")


@dataclass(frozen=True)
class Finding:
    """One number, or one table, that is off or could not be checked."""

    table: str
    where: str
    reason: str
    checked: bool


def verify(results: Path, profile: str) -> list[Finding]:
    """What is off in `results/<profile>`, and what could not be checked, and why.

    Raises:
        FileNotFoundError: no such run, or none with tables.
    """
    run = Run(results / load_profile(profile).name)
    if not run.profile_file.is_file() or not any(run.tables.glob("*.csv")):
        raise FileNotFoundError(f"{run.folder} holds no finished study: no profile.yaml or tables")
    with tempfile.TemporaryDirectory() as folder:
        again = Run(Path(folder) / run.folder.name)
        for part in ("checkpoints", "logs", "samples"):
            if (run.folder / part).is_dir():
                states = shutil.ignore_patterns("*.resume.pt")
                shutil.copytree(run.folder / part, again.folder / part, ignore=states)
        reason = _run_again(run, Path(folder))
        return list(_compare(run.tables, again.tables, reason))


def _run_again(run: Run, folder: Path) -> str:
    """Execute the notebooks on the copies; why it stopped, if it did."""
    try:
        run_study(str(run.profile_file), {"train.allowed": False}, folder)
    except (StageError, OSError) as error:
        return str(error)
    return "no notebook wrote it"


def _compare(known: Path, made: Path, reason: str) -> Iterator[Finding]:
    for path in sorted(known.glob("*.csv")):
        if path.stem in NOT_COMPARED:
            continue
        if not (made / path.name).exists():
            yield Finding(path.stem, "whole table", f"not made again: {reason}", checked=False)
            continue
        try:
            tables = pd.read_csv(path), pd.read_csv(made / path.name)
        except ValueError as error:
            reason = f"cannot be read: {' '.join(str(error).split())}"
            yield Finding(path.stem, "whole table", reason, checked=True)
            continue
        yield from compare_tables(path.stem, *tables)


def compare_tables(name: str, known: pd.DataFrame, made: pd.DataFrame) -> Iterator[Finding]:
    """A finding for each number that differs by more than its tolerance, and each changed text."""
    if list(known.columns) != list(made.columns) or len(known) != len(made):
        yield Finding(name, "whole table", "other columns or another number of rows", checked=True)
        return
    for row in range(len(known)):
        for column in known.columns:
            a, b = known[column][row], made[column][row]
            metric = known["metric"][row] if "metric" in known else column
            if _differ(a, b, TOLERANCES.get(str(metric), OTHERWISE)):
                label = " ".join(str(v) for v in known.iloc[row] if isinstance(v, str))
                reason = f"committed {a}, made again {b}"
                yield Finding(name, f"row {row + 1} ({label}), {column}", reason, checked=True)


def _differ(a: object, b: object, tolerance: float) -> bool:
    numbers = int | float | np.number
    if isinstance(a, numbers) and isinstance(b, numbers) and not isinstance(a, bool):
        return not np.isclose(a, b, rtol=0, atol=tolerance, equal_nan=True)
    return a != b
