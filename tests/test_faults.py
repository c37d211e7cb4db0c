"""A full disk, a folder that may not be written, damaged files, an interruption anywhere: each
ends in one line that names the file, nothing half-written is left, and the next run goes on."""

import itertools
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from fake_study import Runs, fake_study
from faults import full_disk, public_folder, read_only
from photograph_sets import SIZE, class_folders, folder_set
from typer.testing import CliRunner

from cdlib.checkpoints import CheckpointError, load_state, save_net, save_state
from cdlib.cli import app
from cdlib.data import writing
from cdlib.data.array import prepare
from cdlib.figures import save_figure
from cdlib.locks import exclusive
from cdlib.methods import load_method
from cdlib.runs import atomic_path, write_json
from cdlib.settings import ConfigurationError, load_profile
from cdlib.tables import save_table
from cdlib.workspace import open_workspace


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return fake_study(tmp_path, monkeypatch)


NUMBERS = np.random.default_rng(0).random(4000)
FRAME = pd.DataFrame({"l1": NUMBERS})


def draw(path: Path) -> None:
    figure, axis = plt.subplots()
    axis.plot(NUMBERS)
    save_figure(figure, path.parent, path.stem)


def score(path: Path) -> None:
    with atomic_path(path) as temporary:
        FRAME.to_parquet(temporary)


WRITERS = {
    "net.safetensors": lambda path: save_net(path, {"a": torch.from_numpy(NUMBERS)}, {}),
    "net.resume.pt": lambda path: save_state(path, {"a": torch.from_numpy(NUMBERS)}),
    "table.csv": lambda path: save_table(FRAME[:400], path.parent, path.stem, "A caption."),
    "figure.png": draw,
    "scores.parquet": score,
    "run.json": lambda path: write_json(path, NUMBERS.tolist()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there_and_is_said_with_the_file(tmp_path, name):
    path, write = tmp_path / name, WRITERS[name]
    path.write_bytes(b"before")
    with full_disk(2_000), pytest.raises(OSError, match=r"too large|cannot be written") as caught:
        write(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == [name]
    assert path.read_bytes() == b"before"
    write(path)
    assert path.stat().st_size > 2_000


def test_a_figure_that_fits_as_png_alone(tmp_path):
    figure, axis = plt.subplots(figsize=(0.5, 0.5))
    axis.axis("off")
    axis.scatter(NUMBERS, NUMBERS[::-1])
    with full_disk(12_000), pytest.raises(OSError, match=r"too large.*figure\.pdf"):
        save_figure(figure, tmp_path, "figure")
    assert os.listdir(tmp_path) == ["figure.png"]


def test_a_training_outlives_a_full_disk_by_its_last_state(tmp_path):
    path = tmp_path / "net.resume.pt"
    save_state(path, {"step": 1})
    with full_disk(2_000), pytest.raises(OSError, match=r"net\.resume\.pt: cannot be written"):
        save_state(path, {"step": 2, "a": torch.zeros(4000)})
    assert load_state(path) == {"step": 1}


def test_an_array_goes_on_after_a_full_disk(tmp_path, monkeypatch):
    dataset = folder_set(class_folders(tmp_path / "raw"))
    whole = prepare(dataset, "train", SIZE, tmp_path / "whole", 0)
    monkeypatch.setattr(writing, "FLUSH_EVERY", 4)
    with full_disk(9_000), pytest.raises(OSError, match="too large") as caught:
        prepare(dataset, "train", SIZE, tmp_path / "full", 0)
    folder = tmp_path / "full" / "photos"
    assert caught.value.filename == str(folder / "train-16.npy")
    assert not {"train-16.npy", "train-16.labels.npy", "train-16.json"} & set(os.listdir(folder))
    lines: list[str] = []
    again = prepare(dataset, "train", SIZE, tmp_path / "full", 0, progress=lines.append)
    assert "8 of them done before" in lines[0]
    assert again.manifest["sha256"] == whole.manifest["sha256"]
    assert sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") == [
        "train-16.json",
        "train-16.labels.npy",
        "train-16.npy",
    ]


def test_a_study_goes_on_after_a_full_disk(study):
    for room, name in ((0, ".lock"), (2_000, "run.json")):
        with full_disk(room), pytest.raises(OSError, match=rf"too large.*{name}"):
            study()
    assert study() == ["01_first", "02_second", "03_third"]
    assert study() == []


def test_a_copy_that_was_cut_short_is_not_kept(study, monkeypatch):
    study()
    copy = study.results / "quick" / "notebooks" / "02_second.ipynb"
    before = copy.read_text()
    inner = study.execute

    def cut(job):
        yield from inner(job)
        job.output.write_text(before[:50])

    monkeypatch.setattr("cdlib.study.execute", cut)
    study(only=["2"])
    assert copy.read_text() == before


def test_results_that_may_not_be_written_are_refused(study, tmp_path, monkeypatch):
    study()
    with public_folder() as folder:
        net, results = folder / "net.safetensors", folder / "results"
        with read_only(folder):
            with pytest.raises(PermissionError, match=rf"{net}'$"):
                save_net(net, {"a": torch.zeros(2)}, {})
            monkeypatch.setattr("cdlib.study.read_stages", lambda folder: [])
            done = CliRunner().invoke(app, ["study", "--results", str(results)])
        assert (done.exit_code, done.stderr) == (
            2,
            f"cdlib: error: {results}: Permission denied\n",
        )
        assert os.listdir(folder) == []
        (results / "quick").mkdir(parents=True)
        with read_only(results / "quick"):
            done = CliRunner().invoke(app, ["study", "--results", str(results)])
        assert done.exit_code == 2
        assert done.stderr == f"cdlib: error: {results}/quick/.lock: Permission denied\n"


def test_prepared_images_that_may_not_be_written_are_read(tmp_path):
    with public_folder() as folder:
        dataset = folder_set(class_folders(folder / "raw"))
        whole = prepare(dataset, "test", SIZE, folder / "out", 0)
        with read_only(folder / "out" / "photos"):
            assert (prepare(dataset, "test", SIZE, folder / "out", 0).images == whole.images).all()
            with pytest.raises(PermissionError, match=r"\.train-16\.lock"):
                prepare(dataset, "train", SIZE, folder / "out", 0)


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"01_first": 3}', '{"01_first": {}}', "é"])
def test_a_damaged_record_of_the_stages_is_refused_with_the_remedy(study, content):
    study()
    path = study.results / "quick" / "stages.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"stages\.json: damaged; delete it and run again"):
        study()
    path.unlink()
    assert len(study()) == 3


@pytest.mark.parametrize("name", ["run.json", "timings/01_first.json"])
def test_damaged_notes_are_written_anew_or_left_out(study, name):
    study()
    path = study.results / "quick" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"cut')
    assert study(only=["3"]) == ["03_third"]
    stages = study.read("run.json")["stages"]
    assert sorted(stages) == ["01_first", "02_second", "03_third"]
    assert "throughput" not in stages["01_first"]


def test_damaged_manifests_of_data_are_passed_over(study):
    profile = load_profile("quick")
    places = [(d.name, split) for d in profile.datasets for split in ("train", "validation")]
    for (name, split), content in zip(places, ("{", "[]", "3", '{"sha256": "aa"}'), strict=True):
        path = study.prepared / name / f"{split}-{profile.side(split)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    study()
    assert study.read("run.json")["data"] == {}


def test_a_profile_of_another_run_is_replaced_or_refused_by_name(tmp_path):
    run = open_workspace("quick", {}, tmp_path).run
    right = run.profile_file.read_text()
    for content in ("name: [", "name: quick\nsize: 3", right + "more: 1\n"):
        run.profile_file.write_text(content)
        with pytest.raises(ConfigurationError, match=rf"profile {run.profile_file}: "):
            load_method("mean", run.folder, "scenes")
        open_workspace("quick", {}, tmp_path)
        assert run.profile_file.read_text() == right


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"threshold": "high"}'])
def test_a_damaged_threshold_is_refused_with_the_remedy(tmp_path, content):
    from cdlib.thresholds import read_threshold

    context = open_workspace("quick", {}, tmp_path).context("scenes")
    path = context.run.checkpoints(context.dataset) / "threshold.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"threshold\.json is damaged: run notebook 03"):
        read_threshold(context)


def test_a_loss_that_is_not_finite_is_one_line(tmp_path, monkeypatch):
    def diverge(*_):
        raise FloatingPointError("judge on scenes, step 3: loss is nan; lower the rate")

    monkeypatch.setattr("cdlib.workspace.Workspace.arrays", diverge)
    command = ["train", "--net", "compressor", "--dataset", "scenes", "--results", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert done.stderr == "cdlib: error: judge on scenes, step 3: loss is nan; lower the rate\n"


def test_what_a_killed_process_left_is_taken_away_by_the_next_study(study):
    study()
    tables = study.results / "quick" / "tables"
    tables.mkdir()
    dead, alive = (tables / f".table2.csv.{pid}.tmp" for pid in (999_999_999, os.getpid()))
    for path in (dead, alive, tables / ".odd.tmp"):
        path.write_text("half")
    study()
    assert sorted(os.listdir(tables)) == [".odd.tmp", alive.name]


def test_interrupted_at_any_write_a_study_ends_the_same(tmp_path, monkeypatch):
    same = {"data.prepared": str(tmp_path / "prepared")}
    replace = os.replace

    def study_in(name: str) -> Runs:
        (tmp_path / name).mkdir()
        return fake_study(tmp_path / name, monkeypatch)

    def end_of(study: Runs) -> list:
        """What the stages were made from, those in `run.json`, and the files that lie there."""
        folder = study.results / "quick"
        inputs = {name: record["inputs"] for name, record in study.read("stages.json").items()}
        said = sorted(study.read("run.json")["stages"])
        return [inputs, said, sorted(path.relative_to(folder) for path in folder.rglob("*"))]

    reference = study_in("whole")
    reference(same)
    for stop in itertools.count():
        study, written = study_in(str(stop)), itertools.count()

        def interrupted(source, target, stop=stop, written=written):
            if next(written) == stop:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupted)
            try:
                study(same)
            except KeyboardInterrupt:
                before = list(study.done)
            else:
                break
        # At most the notebook whose record was being written is executed again.
        assert len(before) + len(study(same)) <= 4
        assert end_of(study) == end_of(reference)
        assert study(same) == []
    assert stop > 8


def test_a_second_study_is_refused_by_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("cdlib.study.read_stages", lambda folder: [])
    lock = tmp_path / "quick" / ".lock"
    lock.parent.mkdir()
    with exclusive(lock):
        done = CliRunner().invoke(app, ["study", "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"cdlib: error: {lock}: process {os.getpid()} is at work")
    assert done.stderr.count("\n") == 1
