"""Two processes that train one net: against one process that does it alone."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import OVERRIDES, tiny_workspace
from two_processes import KILLED_AT, STEPS, TRAINING, first_steps, training_of

from cdlib.checkpoints import CheckpointError, load_state, read_about
from cdlib.data.batches import validation_batches
from cdlib.launch import launch
from cdlib.methods import RECIPES, compressor, ours_srn
from cdlib.progress import Files
from cdlib.settings import ConfigurationError
from cdlib.train import main, train_method

TESTS = Path(__file__).parent
# Biases before a BatchNorm, and the means that take them up, change no output: their gradients are
# nothing but rounding, of which Adam makes whole steps.
IDLE = ("feature.bias", "shortcut.0.bias", "running_mean")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where two processes have made their first steps, and were killed in a training."""
    folder = tmp_path_factory.mktemp("two")
    tiny_workspace(folder).arrays("scenes")
    command = [Path(sys.executable).with_name("fabric"), "run", "--devices", "2"]
    command += ["--accelerator", "cpu", "--main-port", str(free_port())]
    command += [TESTS / "two_processes.py", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert "Signal 9 (SIGKILL)" in done.stderr, done.stderr
    return folder


@pytest.fixture(scope="module")
def steps(folder):
    """Of the one process, and of both."""
    both = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return first_steps(tiny_workspace(folder, **STEPS)), both


def test_each_process_sees_its_share_of_the_same_images(steps):
    one, both = steps
    for case, found in one.items():
        for rank in range(2):
            assert torch.equal(both[rank][case]["image"], found["image"][rank::2])


def test_gradients_are_those_of_one_process_with_the_whole_batch(steps):
    one, both = steps
    for case, found in one.items():
        gradients = [key for key in found if key.startswith("gradient")]
        assert gradients
        assert [k for k in both[0][case] if k.startswith("gradient")] == gradients
        largest = max(found[key].abs().max() for key in gradients)
        for key in gradients:
            assert torch.equal(both[0][case][key], both[1][case][key]), f"{case}: {key}"
            off = (both[0][case][key] - found[key]).abs().max()
            assert off < 1e-5 * max(largest, 1), f"{case}: {key}"


def test_batchnorm_is_over_the_whole_batch_and_frozen_where_it_was(steps):
    one, both = steps
    moved = {}
    for case, found in one.items():
        for key in (key for key in found if key.startswith("statistics")):
            for rank in range(2):
                torch.testing.assert_close(
                    both[rank][case][key], found[key], rtol=1e-5, atol=1e-6, msg=f"{case}: {key}"
                )
            if key.endswith("num_batches_tracked"):
                moved.setdefault(case, set()).add(int(both[0][case][key]))
    assert moved["compressor, gan"] == {1}
    assert moved["context_encoder, gan"] == {1, 2}  # its critic looks twice
    assert moved["partial_conv, initial"] == {1}
    assert moved["partial_conv, fine_tuning"] == {1, 2}  # the encoder's have stopped


def test_the_mean_of_the_measurements_is_the_whole_batchs(steps):
    one, both = steps
    for case, found in one.items():
        for key in (key for key in found if key.startswith("measured")):
            mean = (both[0][case][key] + both[1][case][key]) / 2
            torch.testing.assert_close(mean, found[key], rtol=1e-5, atol=1e-6, msg=key)


def test_a_loss_that_is_not_finite_in_one_process_stops_both(folder):
    refusals = [torch.load(folder / f"{r}.pt", weights_only=True)["refused"] for r in range(2)]
    assert refusals[0].keys() == refusals[1].keys()
    assert "compressor on scenes, step 2: loss_critic is nan" in str(refusals[0])


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """The killed training, ended by the command; and the same in one process."""
    alone = tiny_workspace(
        tmp_path_factory.mktemp("one"), data__prepared=str(folder / "prepared"), **TRAINING
    )
    together = tiny_workspace(folder, **TRAINING)
    state = load_state(Files.of(together.run, "synthetic-scenes", "compressor").state)
    assert state["progress"]["step"] == KILLED_AT - 1
    changes = {key.replace("__", "."): value for key, value in TRAINING.items()}
    settings = OVERRIDES | {"data.prepared": folder / "prepared", "device": "cpu"} | changes
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "cdlib.train", "--profile", "quick"]
    command += ["--method", "cdn", "--dataset", "scenes", "--results", folder / "results"]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    paths = [line for line in done.stdout.splitlines() if line.endswith(".safetensors")]
    assert len(paths) == 2  # said once, by the first process
    train_method(alone, "cdn", "scenes")
    return alone, together


@pytest.mark.slow
def test_killed_and_ended_by_two_processes_the_nets_are_those_of_one(finished):
    batch = next(
        validation_batches(finished[0].arrays("scenes").validation, finished[0].profile, 8)
    )
    outputs = []
    for workspace in finished:
        context = workspace.context("scenes")
        with torch.no_grad():
            lr = compressor.load(context)(batch.masked, batch.mask)
            outputs.append((lr, ours_srn.load_enlarger(context)(lr)))
    for one, two in zip(*outputs, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-4)
    for name in ("compressor", "super_resolution"):
        files = [checkpoints_of(workspace) / f"{name}.safetensors" for workspace in finished]
        weights = [load_file(file) for file in files]
        for key in weights[0].keys() | weights[1].keys():
            if not key.endswith(IDLE):
                torch.testing.assert_close(*(w[key] for w in weights), rtol=0, atol=1e-3, msg=key)
        about = [read_about(file) for file in files]
        for clock in ("seconds", "images_per_s"):
            assert about[0].pop(clock) != about[1].pop(clock)
        best = next(key for key in about[0] if key.startswith("validation_"))
        assert about[0].pop(best) == pytest.approx(about[1].pop(best), abs=1e-4)
        assert about[0] == about[1]


def checkpoints_of(workspace) -> Path:
    return workspace.run.checkpoints("synthetic-scenes")


@pytest.mark.slow
def test_only_the_first_process_writes(finished):
    folders = [workspace.run.folder for workspace in finished]
    alone, together = ({p.relative_to(f) for p in f.rglob("*") if p.is_file()} for f in folders)
    assert alone == together
    for name in ("compressor", "super_resolution"):
        path = Path("logs") / "synthetic-scenes" / f"{name}.jsonl"
        logs = [[json.loads(line) for line in (f / path).read_text().splitlines()] for f in folders]
        assert [line["step"] for line in logs[0]] == [10, 20]
        for one, two in zip(*logs, strict=True):
            measured = {key: two[key] for key in two if key not in ("seconds", "images_per_s")}
            assert measured == {
                key: value if isinstance(value, str) else pytest.approx(value, rel=1e-3, abs=1e-5)
                for key, value in one.items()
                if key in measured
            }


def test_processes_that_cannot_share_a_batch_equally_are_refused(tmp_path, monkeypatch):
    profile = tiny_workspace(tmp_path).profile
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(ConfigurationError, match=r"batch_size = 4: 3 processes.*batch_size=6"):
        launch(profile)


def test_a_profile_of_several_devices_says_how_to_start_them(tmp_path):
    with pytest.raises(ConfigurationError, match=r"devices = 2: this is one .*-per-node 2 -m"):
        launch(tiny_workspace(tmp_path, devices=2).profile)


def test_a_process_that_sees_another_state_is_refused(tmp_path, monkeypatch):
    workspace = tiny_workspace(tmp_path)
    training = training_of(workspace, RECIPES["compressor"](workspace.context("scenes")))
    monkeypatch.setattr(training.fabric, "broadcast", lambda step: step + 5)
    with pytest.raises(CheckpointError, match=r"step 0, .* step 5; .* same results folder"):
        training.run()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "lama", "--dataset", "scenes"], "method 'lama': one of cdn, compressor,"),
        (["--method", "cdn", "--dataset", "birds"], "data set 'birds': profile quick has"),
        (["--method", "cdn", "--dataset", "faces", "--set", "seed"], "override 'seed': write"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(words, message, tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    monkeypatch.setattr(sys, "argv", ["cdlib.train", *words, "--results", str(results)])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert said.startswith(f"cdlib: error: {message}")
    assert said.count("\n") == 1
    assert not results.exists()
