"""The study runner: order, what runs again, failures, and what is left behind."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_study import Runs, fake_study
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from notebook_files import write_notebook
from papermill.exceptions import PapermillExecutionError
from rich.console import Console

from cdlib import imports
from cdlib.display import Display, clock
from cdlib.execution import CellStarted, Failed, Job, Printed, _Relay, execute, failure_reason
from cdlib.imports import used_modules
from cdlib.locks import exclusive
from cdlib.provenance import provenance
from cdlib.settings import ConfigurationError, load_profile
from cdlib.stages import data_manifests, input_hash, read_stages
from cdlib.study import StageError


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return fake_study(tmp_path, monkeypatch)


def test_runs_in_order_and_then_not_again(runs: Runs) -> None:
    assert runs() == ["01_first", "02_second", "03_third"]
    assert runs() == []
    assert "02_second: unchanged, skipped" in runs.screen.getvalue()
    assert runs.jobs[0].parameters == {
        "profile": "quick",
        "overrides": {"data.prepared": str(runs.prepared)},
        "results_dir": str(runs.results),
    }


def test_a_changed_notebook_runs_again_with_all_after_it(runs: Runs) -> None:
    runs()
    write_notebook(runs.notebooks, "02_second", "1 + 2")
    assert runs() == ["02_second", "03_third"]


def test_another_profile_runs_everything_again(runs: Runs) -> None:
    runs()
    assert runs({"train.images_seen": 16}) == ["01_first", "02_second", "03_third"]


def test_a_missing_executed_copy_is_made_again(runs: Runs) -> None:
    runs()
    (runs.results / "quick" / "notebooks" / "02_second.ipynb").unlink()
    assert runs() == ["02_second"]


def test_changed_data_run_everything_again_and_new_data_do_not(runs: Runs) -> None:
    folder = runs.prepared / "synthetic-scenes"
    folder.mkdir(parents=True)

    def prepare(split: str, content: str) -> None:
        manifest = {"sha256": content, "count": 3, "skipped": {"a.jpg": "broken"}}
        (folder / f"{split}.json").write_text(json.dumps(manifest))

    prepare("train-64", "aa")
    (folder / "test-64.partial.json").write_text('{"done": 3}')
    runs()
    assert runs.read("run.json")["data"] == {
        "synthetic-scenes/train-64": {"images": 3, "skipped": 1, "sha256": "aa"}
    }
    prepare("train-128", "bb")
    assert runs() == []
    prepare("train-64", "cc")
    assert runs() == ["01_first", "02_second", "03_third"]


def test_a_notebook_that_is_gone_leaves_no_record(runs: Runs) -> None:
    runs()
    (runs.notebooks / "03_third.ipynb").unlink()
    write_notebook(runs.notebooks, "04_fourth", "1 + 1")
    assert runs() == ["04_fourth"]
    known = ["01_first", "02_second", "04_fourth"]
    assert sorted(runs.read("stages.json")) == sorted(runs.read("run.json")["stages"]) == known


def test_only_runs_what_is_named_whatever_its_state(runs: Runs) -> None:
    assert runs(only=["3", "01"]) == ["01_first", "03_third"]
    assert runs(only=["03"]) == ["03_third"]
    # The third ran before the second was there, and so has to run after it.
    assert runs() == ["02_second", "03_third"]
    with pytest.raises(ConfigurationError, match=r"--only 7: no such notebook; there are 01_first"):
        runs(only=["7"])


def test_fresh_runs_everything_and_takes_checkpoints_away(runs: Runs) -> None:
    runs()
    folder = runs.results / "quick" / "checkpoints" / "faces"
    folder.mkdir(parents=True)
    for name in ("a.safetensors", "a.resume.pt", "a.previous.resume.pt", "notes.txt"):
        (folder / name).touch()
    with pytest.raises(ConfigurationError, match="without --only"):
        runs(fresh=True, only=["1"])
    assert runs(fresh=True) == ["01_first", "02_second", "03_third"]
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_failure_stops_the_sequence_and_is_tried_again(runs: Runs) -> None:
    runs()
    write_notebook(runs.notebooks, "02_second", "1 + 3")
    runs.fails_at = "02_second"
    message = r"^02_second: cell 1 \(first line\): ValueError: no; see .*/quick/notebooks/02_second"
    with pytest.raises(StageError, match=message):
        runs()
    assert runs.done == ["02_second"]
    # Back to what it was: the copy is of the failed one, so that it has to run again.
    write_notebook(runs.notebooks, "02_second", "1 + 1")
    runs.fails_at = None
    assert runs() == ["02_second"]


def test_run_json_says_where_the_numbers_came_from(runs: Runs) -> None:
    timings = runs.results / "quick" / "timings"
    timings.mkdir(parents=True)
    (timings / "01_first.json").write_text('{"edsr faces": {"images_per_s": 40.5}}')
    runs()
    content = runs.read("run.json")
    assert content["device"] == {"cpu": "a processor"}
    assert content["seed"] == content["profile"]["seed"] == 0
    assert content["versions"]["torch"].startswith("2.")
    assert {"python", "papermill", "opencv-contrib-python-headless"} <= set(content["versions"])
    assert content["stages"]["01_first"]["throughput"]["edsr faces"]["images_per_s"] == 40.5
    assert content["stages"]["03_third"]["seconds"] < 5
    assert content["profile"]["data"]["prepared"] == ".../prepared"
    assert str(runs.results.parent) not in json.dumps(content)


def test_a_second_study_in_the_folder_is_refused(runs: Runs) -> None:
    lock = runs.results / "quick" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("999999999\n")  # left behind by a process that is gone
    assert len(runs()) == 3
    message = rf"{lock}: process {os.getpid()} is at work here;"
    with exclusive(lock), pytest.raises(OSError, match=message):
        runs()


def test_results_that_cannot_be_written_are_refused(runs: Runs) -> None:
    runs.results.write_text("a file")
    with pytest.raises(OSError, match="results"):
        runs()
    assert runs.done == []
    assert runs.results.read_text() == "a file"


def test_notebooks_are_checked_before_any_runs(runs: Runs) -> None:
    path = write_notebook(runs.notebooks, "03_third", parameters='profile = "quick"\nseed = 0')
    with pytest.raises(ConfigurationError, match="overrides, profile, results_dir; found: profile"):
        runs()
    write_notebook(runs.notebooks, "03_third", "1 +")
    with pytest.raises(ConfigurationError, match=r"03_third.*code cell 2 is not Python"):
        runs()
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="not a notebook"):
        runs()
    assert runs.done == []
    with pytest.raises(FileNotFoundError, match="start the study inside a checkout"):
        read_stages(runs.notebooks / "elsewhere")


def test_a_name_with_slashes_is_refused(runs: Runs) -> None:
    with pytest.raises(ConfigurationError, match="leave out slashes"):
        runs({"name": "../elsewhere"})


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package `cdlib` of a few lines, to be searched and changed."""
    files = {
        "__init__.py": "from cdlib import never",
        "never.py": "",
        "masks.py": "from cdlib.settings import SIDES",
        "settings.py": "import yaml",
        "deep/__init__.py": "TABLE = {'late': 'cdlib.late'}",
        "deep/one.py": "def f():\n    from . import two\n",
        "deep/two.py": "from ..masks import edge_mask",
        "late.py": "",
    }
    for name, text in files.items():
        path = tmp_path / "cdlib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cdlib"


DEEP = ["late", "masks", "settings"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy, cdlib", []),
        ("import cdlib.masks as m", ["masks", "settings"]),
        ("from cdlib import edge_mask, settings", ["masks", "settings"]),
        ("import cdlib\ncdlib.edge_mask(1, 2, 'left')", ["masks", "settings"]),
        ("def f():\n    from cdlib.deep import two", ["deep", "deep.two", *DEEP]),
        ("from cdlib.deep.one import f", ["deep", "deep.one", "deep.two", *DEEP]),
        ("import_module('cdlib.late')", ["late"]),
    ],
)
def test_used_modules(package: Path, source: str, expected: list[str]) -> None:
    assert list(used_modules([source], package)) == [f"cdlib.{name}" for name in expected]


def test_a_changed_module_changes_the_hash_and_a_comment_does_not(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports.used_modules, "__defaults__", (package,))
    write_notebook(tmp_path, "01_a", "%matplotlib inline\nfrom cdlib import edge_mask")
    [stage] = read_stages(tmp_path)
    profile = load_profile("quick")
    before = input_hash(profile, stage, None)
    (package / "settings.py").write_text("import yaml  # a comment\n")
    (package / "late.py").write_text("x = 1\n")  # which it does not import
    assert input_hash(profile, stage, None) == before
    (package / "settings.py").write_text("import json\n")
    assert input_hash(profile, stage, None) != before


def test_manifests_of_other_data_sets_and_sizes_are_left_out(tmp_path: Path) -> None:
    for name in ("synthetic-faces", "others"):
        (tmp_path / name).mkdir()
        manifest = {"sha256": "aa", "count": 3, "skipped": {}}
        for split in ("test-64", "test-96", "validation-32"):
            (tmp_path / name / f"{split}.json").write_text(json.dumps(manifest))
    assert list(data_manifests(load_profile("quick"), tmp_path)) == ["synthetic-faces/test-64"]


def test_asking_for_the_commit_leaves_the_repository_alone(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.hooksPath=")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    def asked() -> dict:
        return provenance(load_profile("quick"), tmp_path, {}, {}, {})

    git("init")
    code = tmp_path / "cdlib" / "a.py"
    code.parent.mkdir()
    code.write_text("x = 1")
    git("add", "-A")
    git("commit", "-m", "first")
    os.utime(code, (0, 0))  # which `git status` would note down in the index
    index = (tmp_path / ".git" / "index").read_bytes()
    assert asked()["dirty"] is False
    assert (tmp_path / ".git" / "index").read_bytes() == index
    code.write_text("x = 2")
    assert asked()["dirty"] is True


def test_whatever_papermill_raises_becomes_one_line() -> None:
    cell = PapermillExecutionError(3, 2, "f()", "KeyError", "'a'\nb", [])
    assert failure_reason(cell) == "KeyError: 'a' b"
    assert failure_reason(DeadKernelError("Kernel died")).startswith("the kernel died")
    timeout = CellTimeoutError.error_from_timeout_and_cell("late", 5, None)
    assert failure_reason(timeout).startswith("timeout: A cell timed out")
    assert failure_reason(RuntimeError("no kernel")) == "RuntimeError: no kernel"


class Sent(list):
    send = list.append


def test_output_comes_in_whole_lines_and_bars_as_passing_ones() -> None:
    stdout = Sent()
    relay = _Relay(stdout, bars_only=False)
    for piece in ("one\ntw", "o\n", "\n"):
        relay.write(piece)
    assert stdout == [Printed("one", False), Printed("two", False)]
    stderr = Sent()
    relay = _Relay(stderr, bars_only=True)
    for piece in ("a warning\n", "\r 10%", "\r 20%\r 30%", "\n", "more\n"):
        relay.write(piece)
    assert stderr == [Printed(" 10%", True), Printed(" 30%", True), Printed(" 30%", False)]


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    now = [0.0]
    monkeypatch.setattr("cdlib.display.time.monotonic", lambda: now[0])
    with Display(Console(file=screen, width=80), "01_first", 12) as display:
        display.cell, display.passing = 3, "42%"
        for now[0] in range(0, 75, 5):
            display.tick()
    assert screen.getvalue().splitlines() == [
        "01_first: started",
        "01_first  cell 3/12  0:35  42%",
        "01_first  cell 3/12  1:10",
    ]
    assert clock(3675) == "1:01:15"


# From here on notebooks are really executed, which takes seconds each.


def _job(folder: Path, *code: str) -> Job:
    source = write_notebook(folder, "01_a", *code)
    results = {"profile": "quick", "overrides": {"seed": 1}, "results_dir": "results"}
    return Job(source, folder / "out.ipynb", folder / "log", results, folder)


def test_a_dead_kernel_is_said(tmp_path: Path) -> None:
    job = _job(tmp_path, "import os\nos._exit(3)")
    events = [event for event in execute(job) if event is not None]
    assert events[-2] == CellStarted(3, "import os")
    assert events[-1] == Failed("the kernel died: memory ran out, or compiled code crashed")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "pyproject.toml").touch()
    return folder


def _study(checkout: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "cdlib", "study", "--set", "seed=7", *arguments]


def test_the_command_executes_and_names_the_cell_that_fails(checkout: Path) -> None:
    report = (
        "import os, sys, pathlib\n"
        "print(f'rate {overrides} {results_dir} {profile}')\n"
        "assert pathlib.Path.cwd() == pathlib.Path(results_dir).parent\n"
        "print(sys.executable)"
    )
    write_notebook(checkout / "notebooks", "01_good", report)
    bad = "# a comment\nraise ValueError('two\\nlines')"
    write_notebook(checkout / "notebooks", "02_bad", "x = 1", bad, "y = 2")
    write_notebook(checkout / "notebooks", "03_never", "1")
    done = subprocess.run(_study(checkout), cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 1, done
    assert f"  rate {{'seed': 7}} {checkout}/results quick\n  {sys.executable}\n" in done.stdout
    message = "cdlib: failed: 02_bad: cell 4 (# a comment): ValueError: two lines; see "
    copies = checkout / "results" / "quick" / "notebooks"
    assert done.stderr == f"{message}{copies / '02_bad.ipynb'}\n"
    assert sorted(os.listdir(copies))[:2] == ["01_good.ipynb", "02_bad.ipynb"]
    good, bad = ((copies / f"{name}.ipynb").read_text() for name in ("01_good", "02_bad"))
    assert '"ename": "ValueError"' in bad
    assert "rate {'seed': 7}" in good
    assert str(checkout) not in good.replace(sys.executable, "")
    stages = json.loads((checkout / "results" / "quick" / "stages.json").read_text())
    assert list(stages) == ["01_good"]
    device = json.loads((checkout / "results" / "quick" / "run.json").read_text())["device"]
    assert device["threads"] >= 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_an_ended_study_leaves_no_process_behind(
    checkout: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    note = tmp_path / "pids"
    wait = (
        "import os, subprocess, time\n"
        "worker = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{worker.pid}} .')\n"
        "time.sleep(60)"
    )
    write_notebook(checkout / "notebooks", "09_wait", wait)
    command = _study(checkout, "--only", "09", "--results", str(tmp_path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        command,
        cwd=checkout,
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores SIGINT, and so would the study that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        _until(lambda: note.exists() and note.read_text().endswith("."), 120)
        process.send_signal(number)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    pids = [int(pid) for pid in note.read_text().split()[:2]]
    _until(lambda: not any(_alive(pid) for pid in pids), 30)
    _until(lambda: os.listdir(scratch) == [], 30)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
