"""The grid's commands are ones that exist, and the checks of docs/scale.md run."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from cdlib.cli import app
from cdlib.methods import RECIPES
from cdlib.runs import project_root
from cdlib.settings import load_profile

ROOT = project_root()
SNAKEFILE = (ROOT / "Snakefile").read_text("utf-8")


def commands() -> list[str]:
    """The shell command of each rule, its Python strings joined."""
    blocks = re.findall(r"^    shell:\n((?:        .*\n)+)", SNAKEFILE, re.MULTILINE)
    return ["".join(re.findall(r'"(.*)"', block)) for block in blocks]


def help_of(command: str) -> str:
    if command.startswith("python "):
        words = [sys.executable, *command.split(" --")[0].split()[1:], "--help"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return CliRunner().invoke(app, [*command.split(" --")[0].split()[1:], "--help"]).stdout


@pytest.mark.parametrize("command", commands())
def test_each_cell_is_a_command_that_exists(command: str) -> None:
    text = help_of(command)
    options = re.findall(r"--[a-z-]+", command)
    assert options
    assert set(options) <= set(re.findall(r"--[a-z-]+", text))


def test_the_grid_has_its_three_commands() -> None:
    assert [c.split(" --")[0] for c in commands()] == [
        "cdlib data prepare",
        "python -m cdlib.train",
        "cdlib study",
    ]


def test_the_grids_nets_and_data_sets_are_the_studys() -> None:
    (names,) = re.findall(r'"methods",\n    "(.*)"\.split', SNAKEFILE)
    assert names.split() == list(RECIPES)
    (datasets,) = re.findall(r'"datasets", (\[.*\])\)', SNAKEFILE)
    assert re.findall(r'"(.*?)"', datasets) == [d.name for d in load_profile("quick").datasets]


def test_the_scale_check_runs(tmp_path) -> None:
    output = tmp_path / "memory.csv"
    script = [sys.executable, str(ROOT / "scripts" / "scale_check.py")]
    given = ["--images", "400", "--size", "32", "--every", "0.02", "--output", str(output)]
    done = subprocess.run(script + given, capture_output=True, text=True, check=True)
    rows = pd.read_csv(output)
    stages = ["prepare", "read the array", "cut shards", "read the shards"]
    assert list(rows["stage"].unique()) == stages
    assert (rows.groupby("stage")["images"].max() == 400).all()
    assert (rows[["own_mb", "mapped_mb"]] > 0).all(axis=None)
    for stage in stages:
        assert f"| {stage} " in done.stdout


def test_the_table_of_equal_times_grows_by_a_row(tmp_path) -> None:
    output = tmp_path / "times.csv"
    known = pd.DataFrame([{"minutes": 0.02, "width": 0.05, "size": 48, "lr_hole_l1": 0.2}])
    known.to_csv(output, index=False)
    script = [sys.executable, str(ROOT / "scripts" / "equal_time.py"), "--profile", "quick"]
    given = ["--minutes", "0.02", "--width", "0.05", "--size", "32", "--output", str(output)]
    subprocess.run(script + given, capture_output=True, check=True)
    rows = pd.read_csv(output)
    assert list(rows["size"]) == [32, 48]
    row = rows.iloc[0]
    assert 0.2 < row["took_minutes"] / row["minutes"] < 20
    assert (row[["images", "lr_hole_l1", "lr_hole_l1_mean"]] > 0).all()
