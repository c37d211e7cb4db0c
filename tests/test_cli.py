"""The command line: what it lists, how it refuses, and that it starts quickly."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdlib.cli import app

HEAVY = ("torch", "papermill", "pandas", "numpy", "matplotlib", "pydantic")


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "nope"], "profile 'nope': known are cpu, gpu, paper, quick, or a path"),
        (["--profile", "none.yaml"], "profile none.yaml: No such file or directory"),
        (
            ["--set", "train.imags=3"],
            "profile quick: unknown key train.imags; allowed here:",
        ),
        (["--set", "train.batch_size=0"], "profile quick: train.batch_size = 0: input should be"),
        (["--set", "size"], "override 'size': write key=value"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    for command in (["study"], ["data", "prepare"]):
        done = run(*command, *arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"cdlib: error: {message}")
        assert done.stderr.count("\n") == 1
        assert not done.stdout


def test_outside_a_checkout_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("study")
    assert done.exit_code == 2
    assert f"{tmp_path / 'notebooks'}: no notebooks" in done.stderr
    assert os.listdir(tmp_path) == []


def test_results_on_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdlib.study.read_stages", lambda folder: [])
    (tmp_path / "results").write_text("a file")
    done = run("study", "--results", str(tmp_path / "results"))
    assert done.exit_code == 2
    assert done.stderr == f"cdlib: error: {tmp_path}/results/quick: Not a directory\n"


def folder_of(files: dict[str, bytes], root: Path) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "photographs"),
        ({"train/a/note.txt": b"words", "test/a/note.txt": b"words"}, "no images"),
        ({f"train/a/{i}.jpg": b"a text file" for i in range(3)}, "photographs"),
        (
            {f"{part}/a/{i}.jpg": b"a text file" for part in ("train", "test") for i in range(3)},
            "photographs",
        ),
    ],
    ids=["no folder", "no images", "no test part", "text files called .jpg"],
)
def test_photographs_that_cannot_be_used_are_refused(tmp_path: Path, files, message: str) -> None:
    """In the command that prepares and in the study, before any notebook runs."""
    root = tmp_path / "photographs"
    if files is not None:
        folder_of(files, root)
    settings = {
        "data.scenes.source": "folder",
        "data.scenes.root": root,
        "data.scenes.validation": 1,
        "data.prepared": tmp_path / "prepared",
    }
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    for command in (["study", "--results", str(tmp_path / "results")], ["data", "prepare"]):
        done = run(*command, *overrides)
        assert done.exit_code == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()
    left = [path for path in tmp_path.rglob("prepared/**/*") if path.suffix in (".npy", ".json")]
    assert left == []


def test_an_unknown_option_is_refused() -> None:
    assert run("study", "--bogus").exit_code == 2


def test_nothing_to_download_is_said() -> None:
    done = run("data", "download", "--profile", "quick")
    assert done.exit_code == 0
    assert "synthetic-scenes: source synthetic-scenes, nothing to download" in done.stdout


def test_profiles_are_listed_with_their_purpose() -> None:
    lines = run("profiles").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["cpu", "gpu", "paper", "quick"]
    assert "procedural images, nothing to download" in lines[3]


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-X", "importtime", "-m", "cdlib", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The processor's time, since the clock's depends on what else runs: 0.15 s, of either.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert "profiles" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint(HEAVY)
