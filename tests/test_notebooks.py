"""The real notebooks, executed in sequence by papermill on a very small study, twice."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from tiny import OVERRIDES

from cdlib.runs import project_root
from cdlib.study import run_study
from cdlib.verify import NOT_COMPARED

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
# Grids of eight images want as many; the rest is as small as in the other tests.
STUDY = OVERRIDES | {"data.scenes.test": 24, "data.faces.test": 8, "judge.images_seen": 320}
STUDY |= {"train.images_seen": 160}

COLUMNS = ["dataset", "method", "variant", "mask", "n", "l1", "l2", "similarity", "similarity5"]
COLUMNS += ["psnr", "ssim", "similarity_1k", "similarity5_1k"]
COLUMNS += ["similarity_hole", "similarity_hole_1k"]


# A file that shows where a study is, and the signal that ends it there: first while a net is
# trained, then while methods are scored.
KILLS = (
    ("checkpoints/*/super_resolution.resume.pt", signal.SIGKILL),
    ("scores/*/Ours_SRN.parquet", signal.SIGTERM),
)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two results folders of the same study; the second was killed, and started again, twice."""
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    overrides = STUDY | {"data.prepared": str(tmp_path_factory.mktemp("prepared"))}
    run_study("quick", overrides, first)
    command = [sys.executable, "-m", "cdlib", "study", "--results", str(second)]
    command += [f"--set={key}={value}" for key, value in overrides.items()]
    for pattern, number in KILLS:
        with subprocess.Popen(command, cwd=project_root(), stdout=subprocess.DEVNULL) as study:
            while not list((second / "quick").glob(pattern)):
                assert study.poll() is None, f"it ended before there was {pattern}"
                time.sleep(0.01)
            study.send_signal(number)
        assert study.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM)
    subprocess.run(command, cwd=project_root(), stdout=subprocess.DEVNULL, check=True)
    return [first / "quick", second / "quick"]


@pytest.mark.slow
def test_every_notebook_is_executed_and_leaves_tables_and_figures(studies):
    first = studies[0]
    executed = sorted(path.name for path in (first / "notebooks").iterdir())
    assert executed == [path.name for path in NOTEBOOKS]
    for name in ("table1", "compressor", "threshold", "decompressors", "judge", "conflict"):
        for suffix in (".csv", ".md", ".tex"):
            assert (first / "tables" / f"{name}{suffix}").stat().st_size > 0
    figures = {path.stem for path in (first / "figures").iterdir()}
    assert len(figures) > 20
    for stem in figures:
        assert (first / "figures" / f"{stem}.png").exists()
        assert (first / "figures" / f"{stem}.pdf").exists()
    for study in studies:
        hidden = [path.name for path in study.rglob(".*")]
        assert [name for name in hidden if not name.endswith(".lock")] == []


@pytest.mark.slow
def test_table_2_has_the_columns_that_others_read(studies):
    for dataset in ("synthetic-scenes", "synthetic-faces"):
        table = pd.read_csv(studies[0] / "tables" / f"table2_{dataset}.csv")
        assert list(table.columns) == COLUMNS
        assert set(table["variant"]) == {"raw", "composed"}
        assert table["similarity"].isna().all() == (dataset == "synthetic-faces")
        assert table["similarity_1k"].notna().all()
        ranges = table[["l1", "l2", "similarity_1k", "similarity5_1k"]]
        assert ranges.min().min() >= 0
        assert ranges.max().max() <= 1
        masked = table[table["method"] == "masked"].set_index("variant")["l1"]
        assert masked["raw"] == pytest.approx(masked["composed"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_tables_however_often_it_is_killed(studies):
    first, second = ({p.name: p for p in (f / "tables").glob("*.csv")} for f in studies)
    assert first.keys() == second.keys()
    for name in first:
        if Path(name).stem not in NOT_COMPARED:
            assert first[name].read_text() == second[name].read_text(), name


@pytest.mark.slow
def test_run_json_says_what_was_run(studies):
    run = json.loads((studies[0] / "run.json").read_text())
    assert run["seed"] == 0
    assert run["profile"]["size"] == 32
    assert {"python", "torch"} <= run["versions"].keys()
    assert str(project_root()) not in json.dumps(run)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_thin_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    parameters = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(parameters) == 1
    assert parameters[0].source.startswith('profile = "quick"')
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert all("def " not in cell.source and "class " not in cell.source for cell in code)
    assert max(len(cell.source.splitlines()) for cell in code) <= 20
    assert any(cell.cell_type == "markdown" for cell in notebook.cells)
