"""What each of two processes does for `test_distributed.py`; `fabric run` starts this file.

In turn: the first step of every phase of some recipes, a loss that is not finite in one process
alone, and a training that is killed. The test does the first of these once more by itself.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import tiny_workspace
from torch import Tensor, nn

from cdlib.methods import RECIPES
from cdlib.progress import Files, Progress
from cdlib.recipes import Phase, Recipe, Step
from cdlib.runs import Run
from cdlib.synchronised import is_first_process
from cdlib.train import train_method
from cdlib.training import Training
from cdlib.workspace import Workspace

NETS = ("compressor", "partial_conv", "edge_connect", "context_encoder")
# Unequal holes, and the plain forms, which round alike whatever the size of a batch.
STEPS = {"train__masks": "irregular", "train__fast": False}
TRAINING = {
    "train__images_seen": 80,  # 20 steps
    "train__validate_every": 40,
    "super_resolution__trained_on": "completion",  # by the net that was trained just before
}
KILLED_AT = 11  # steps; the last state is of step 10


def first_steps(workspace: Workspace) -> dict[str, dict[str, Tensor]]:
    """By "net, phase": gradients, BatchNorm statistics, measurements, and the images seen."""
    found = {}
    for name in NETS:
        training = training_of(workspace, RECIPES[name](workspace.context("scenes")))
        for phase in training.recipe.phases:
            found[f"{name}, {phase.name}"] = first_step(training, phase)
    return found


def training_of(workspace: Workspace, recipe: Recipe) -> Training:
    """Ready to run, its files apart from those of the workspace's own trainings."""
    data = workspace.arrays("scenes")
    files = Files.of(Run(workspace.run.folder.parent / "steps"), "scenes", recipe.name)
    arrays = data.train, data.validation
    return Training(recipe, workspace.profile, files, "scenes", *arrays, Progress("none"))


def first_step(training: Training, phase: Phase) -> dict[str, Tensor]:
    for name, optimiser in training.optimisers.items():
        optimiser.step = lambda: None  # every phase at the initial weights
        for parameter in training.parameters[name]:
            parameter.grad = None
    image = training.batches.batch(training.progress.step).image
    training.enter(phase)
    measured = training.step(phase)
    found = {"image": image} | {f"measured {name}": value for name, value in measured.items()}
    for net, module in training.raw.items():
        for name, parameter in module.named_parameters():
            if parameter.grad is not None:
                found[f"gradient {net}.{name}"] = parameter.grad.clone()
        for name, norm in module.named_modules():
            if isinstance(norm, nn.BatchNorm2d):
                for key, value in norm.named_buffers():
                    found[f"statistics {net}.{name}.{key}"] = value.clone()
    return found


def changed(recipe: Recipe, change) -> Recipe:
    """`recipe` with `change(step function)` for that of its only phase."""
    (phase,) = recipe.phases
    return replace(recipe, phases=(replace(phase, step=change(phase.step)),))


def poisoned(step: Step) -> Step:
    def poisoned_step(nets, batch):
        losses, measured = step(nets, batch)
        share = 1.0 if is_first_process() else float("nan")
        return {name: loss * share for name, loss in losses.items()}, measured

    return poisoned_step


def killed(step: Step) -> Step:
    left = iter(range(KILLED_AT + 1))  # one more: what a step costs is counted on one

    def killed_step(nets, batch):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(nets, batch)

    return killed_step


def main(folder: Path) -> None:
    found = first_steps(tiny_workspace(folder, **STEPS))
    compressor = RECIPES["compressor"]

    short = tiny_workspace(folder, train__images_seen=8)
    try:
        training_of(short, changed(compressor(short.context("scenes")), poisoned)).run()
    except FloatingPointError as error:
        found["refused"] = {str(error): torch.ones(1)}
    torch.save(found, folder / f"{0 if is_first_process() else 1}.pt")

    RECIPES["compressor"] = lambda context: changed(compressor(context), killed)
    train_method(tiny_workspace(folder, **TRAINING), "compressor", "scenes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
