import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file
from tiny import OVERRIDES, tiny_workspace

from cdlib import checkpoints
from cdlib.locks import exclusive
from cdlib.methods import compressor
from cdlib.progress import Files
from cdlib.recipes import Phase
from cdlib.training import train

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tiny import tiny_workspace
from cdlib.methods import compressor
from cdlib.training import train
workspace = tiny_workspace(Path(sys.argv[1]))
data = workspace.arrays("scenes")
train(compressor.recipe(workspace.profile), workspace.profile, workspace.run,
      "synthetic-scenes", data.train, data.validation)
"""


def run_training(workspace, recipe=None):
    data = workspace.arrays("scenes")
    recipe = recipe or compressor.recipe(workspace.profile)
    dataset = "synthetic-scenes"
    return train(recipe, workspace.profile, workspace.run, dataset, data.train, data.validation)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workspace = tiny_workspace(tmp_path_factory.mktemp("train"))
    return workspace, run_training(workspace)


def log_of(workspace):
    path = Files.of(workspace.run, "synthetic-scenes", "compressor").log
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_training_improves_and_says_what_it_did(trained):
    workspace, path = trained
    log = log_of(workspace)
    held_out = [line["validation_lr_hole_l1"] for line in log if "validation_lr_hole_l1" in line]
    assert min(held_out) < held_out[0]
    assert log[-1]["images"] == OVERRIDES["train.images_seen"]
    about = checkpoints.read_about(path)
    assert about["images_seen"] == OVERRIDES["train.images_seen"]
    assert about["validation_lr_hole_l1"] == min(held_out)
    # forward and backward of a convolution are three products of its size, but for the first layer
    assert log[-1]["gmac"] == pytest.approx(about["gmac"])
    assert about["gmac"] > 0


def test_a_finished_net_is_taken_as_it_is(trained):
    workspace, path = trained
    before = path.stat().st_mtime_ns
    assert run_training(workspace) == path
    assert path.stat().st_mtime_ns == before


def test_other_settings_train_anew(trained, tmp_path):
    workspace, path = trained
    other = workspace.profile.compressor.model_copy(update={"adversarial": 0.0})
    changed = workspace.profile.model_copy(update={"compressor": other})
    fresh = tiny_workspace(tmp_path)
    again = type(fresh)(changed, fresh.run)
    weights = load_file(run_training(again))
    assert any(not torch.equal(a, weights[k]) for k, a in load_file(path).items())


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(trained, tmp_path):
    """SIGKILL a real training process again and again; the state carries it to the same end."""
    reference, reference_log = load_file(trained[1]), log_of(trained[0])
    workspace = tiny_workspace(tmp_path)
    files = Files.of(workspace.run, "synthetic-scenes", "compressor")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), os.path.dirname(__file__)]
    moments = random.Random(0)
    kills = 0
    while not files.net.exists():
        assert kills < 60, "it does not get on"
        with subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as child:
            before = files.log.stat().st_size if files.log.exists() else 0
            if kills < 10:
                # Let it get as far as writing something of its own, then a random moment more.
                while child.poll() is None and not _has_moved(files, before):
                    time.sleep(0.002)
                time.sleep(moments.uniform(0, 0.05))
                child.send_signal(signal.SIGKILL)
                kills += 1
            child.wait()
    assert kills == 10
    weights = load_file(files.net)
    assert weights.keys() == reference.keys()
    assert all(torch.equal(weights[key], reference[key]) for key in reference)
    log = log_of(workspace)
    clocks = ("seconds", "images_per_s")
    strip = lambda lines: [{k: v for k, v in line.items() if k not in clocks} for line in lines]  # noqa: E731
    assert strip(log) == strip(reference_log)


def _has_moved(files, log_size):
    started = files.state.exists() and time.time() - files.state.stat().st_mtime < 0.05
    return started or (files.log.exists() and files.log.stat().st_size > log_size)


def test_a_truncated_state_falls_back_to_the_one_before(tmp_path, capsys):
    path = tmp_path / "net.resume.pt"
    checkpoints.save_state(path, {"step": 1})
    checkpoints.save_state(path, {"step": 2})
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoints.load_state(path) == {"step": 1}
    assert "going back" in capsys.readouterr().out
    path.unlink()
    assert checkpoints.load_state(path) == {"step": 1}


def test_states_load_without_running_code(tmp_path):
    path = tmp_path / "net.resume.pt"
    torch.save({"step": os.system}, path)
    assert checkpoints.load_state(path) is None


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(tmp_path):
    workspace = tiny_workspace(tmp_path)
    recipe = compressor.recipe(workspace.profile)
    inner = recipe.phases[0].step
    calls = []

    def poisoned(nets, batch):
        losses, measured = inner(nets, batch)
        calls.append(1)
        if len(calls) > 60:
            losses["compressor"] = losses["compressor"] * math.nan
        return losses, measured

    broken = type(recipe)(**{**vars(recipe), "phases": (Phase("gan", poisoned),)})
    with pytest.raises(FloatingPointError, match=r"compressor on synthetic-scenes.*learning rate"):
        run_training(workspace, broken)
    files = Files.of(workspace.run, "synthetic-scenes", "compressor")
    assert not files.net.exists()
    state = checkpoints.load_state(files.state)
    assert all(t.isfinite().all() for t in state["nets"]["compressor"].values())


def test_a_net_is_trained_by_one_process_at_a_time(tmp_path):
    workspace = tiny_workspace(tmp_path)
    files = Files.of(workspace.run, "synthetic-scenes", "compressor")
    files.lock.parent.mkdir(parents=True)
    with (
        exclusive(files.lock),
        pytest.raises(OSError, match=rf"{files.lock}: process {os.getpid()} is at work"),
    ):
        run_training(workspace)
    assert not files.state.exists()
    assert not files.log.exists()


def test_a_net_of_another_width_or_method_is_refused_by_name(trained, tmp_path):
    _, path = trained
    wider = compressor._net(tiny_workspace(tmp_path, compressor__width=0.125).profile.compressor)
    with pytest.raises(
        checkpoints.CheckpointError, match=r"compressor\.safetensors.*another width"
    ):
        checkpoints.load_net(path, wider, "compressor")
    with pytest.raises(checkpoints.CheckpointError, match="another method"):
        checkpoints.load_net(path, torch.nn.Linear(2, 2), "compressor")
    garbage = tmp_path / "garbage.safetensors"
    garbage.write_bytes(b"not a checkpoint")
    with pytest.raises(checkpoints.CheckpointError, match="damaged"):
        checkpoints.read_about(garbage)
    with pytest.raises(checkpoints.CheckpointError, match="train it first"):
        checkpoints.read_about(tmp_path / "absent.safetensors")


def test_the_gmac_budget_sets_the_number_of_steps(tmp_path):
    workspace = tiny_workspace(tmp_path, train__budget="gmac", train__gmac=0.5)
    about = checkpoints.read_about(run_training(workspace))
    assert about["gmac"] == pytest.approx(0.5, rel=0.2)


def test_without_leave_to_train_only_finished_nets_are_taken(trained, tmp_path):
    workspace, path = trained
    closed = workspace.profile.train.model_copy(update={"allowed": False})
    profile = workspace.profile.model_copy(update={"train": closed})
    assert run_training(type(workspace)(profile, workspace.run)) == path
    with pytest.raises(checkpoints.CheckpointError, match=r"train\.allowed is false"):
        run_training(tiny_workspace(tmp_path, train__allowed=False))
