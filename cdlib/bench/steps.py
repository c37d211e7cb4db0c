"""Whole training steps of a network, plain and fast: data, forward, backward, critic, optimisers.

Both forms are the training loop's own step (`cdlib.training`) on the recipe of the study. The
plain form is what PyTorch gives by default: plain layers, contiguous memory, default Adam.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from cdlib.bench.measuring import Options, interleaved, paired_ratio
from cdlib.bench.sizes import open_bench
from cdlib.data.batches import Batch, TrainingBatches
from cdlib.methods import RECIPES
from cdlib.progress import Files, Progress
from cdlib.training import Training
from cdlib.workspace import Workspace

FORMS = ("plain", "fast")
WARM_STEPS = 2  # from the second on, a step finds the first one's memory


@dataclass(frozen=True)
class PlainBatch(Batch):
    """In contiguous memory."""

    def to(self, device: torch.device) -> Batch:
        image, mask, label = (t.contiguous() for t in (self.image, self.mask, self.label))
        return Batch(image.to(device), mask.to(device), label.to(device))


@dataclass(frozen=True)
class PlainBatches:
    """`TrainingBatches` in contiguous memory."""

    batches: TrainingBatches

    def batch(self, step: int) -> PlainBatch:
        batch = self.batches.batch(step)
        return PlainBatch(batch.image, batch.mask, batch.label)


def training(workspace: Workspace, name: str, form: str) -> Training:
    """A training at its first step, in one of `FORMS`; both start from the same weights."""
    profile, arrays = workspace.profile, workspace.arrays("scenes")
    settings = profile.train.model_copy(update={"fast": form == "fast"})
    profile = profile.model_copy(update={"train": settings})
    context = workspace.context("scenes")
    started = Training(
        RECIPES[name](context),
        profile,
        Files.of(workspace.run, context.dataset, name),
        context.dataset,
        arrays.train,
        arrays.validation,
        Progress(fingerprint=""),
    )
    if form == "plain":
        _make_plain(started)
    return started


def _make_plain(started: Training) -> None:
    """Undo what the loop does for speed whether or not `train.fast` is set."""
    for net in (*started.raw.values(), *started.average.values()):
        net.to(memory_format=torch.contiguous_format)
    started.batches = PlainBatches(started.batches)
    started.optimisers = {
        name: torch.optim.Adam(started.parameters[name], lr=o.learning_rate, betas=o.betas)
        for name, o in started.recipe.optimisers.items()
    }


def measure(options: Options, folder: Path, name: str) -> dict[str, Any]:
    """Every phase of a network's training, timed: both forms, and the making of a batch alone.

    `phases` holds by name the `share` of the images that a phase sees, its `gmac_per_image` in
    all passes, counted as direct convolutions, and `seconds`: of each step, by form.
    """
    workspace = open_bench(options, folder)
    forms = {form: training(workspace, name, form) for form in FORMS}
    fast = forms["fast"]
    phases = {}
    for index, phase in enumerate(fast.recipe.phases):
        calls: dict[str, Callable[[], object]] = {}
        for form, started in forms.items():
            calls[form] = _stepper(started, index)
        calls["data"] = lambda: fast.batches.batch(fast.progress.step).to(fast.fabric.device)
        phases[phase.name] = {
            "share": phase.share,
            "gmac_per_image": fast.gmac[phase.name],
            "seconds": interleaved(calls, options),
        }
    return {"settings": fast.recipe.settings, "phases": phases}


def take_steps(options: Options, folder: Path, name: str, form: str) -> None:
    """A few steps of every phase in one form: what its memory is measured on."""
    started = training(open_bench(options, folder), name, form)
    for index in range(len(started.recipe.phases)):
        step = _stepper(started, index)
        for _ in range(WARM_STEPS):
            step()


def _stepper(started: Training, index: int) -> Callable[[], object]:
    """A step of the phase of that index. Each form has its own recipe, and so its own phases."""
    phase = started.recipe.phases[index]
    started.enter(phase)
    return lambda: started.step(phase)


def summary(phases: dict[str, Any], batch: int, ceiling: float) -> dict[str, Any]:
    """What `measure` found, over all phases by their shares.

    `images_per_s` of each form and of the data alone; of a form its `share_of_ceiling`, of the
    data its share of the fast step; and how many times as fast the fast form is.
    """
    whole = sum(phase["share"] for phase in phases.values())
    weights = [phase["share"] / whole for phase in phases.values()]
    gmac = sum(w * p["gmac_per_image"] for w, p in zip(weights, phases.values(), strict=True))
    seconds = {}
    for form in (*FORMS, "data"):
        rounds = zip(*(phase["seconds"][form] for phase in phases.values()), strict=True)
        seconds[form] = [sum(w * s for w, s in zip(weights, r, strict=True)) for r in rounds]
    speeds = {form: batch / median(values) for form, values in seconds.items()}
    told: dict[str, Any] = {
        form: {
            "images_per_s": speeds[form],
            "share_of_ceiling": 2 * gmac * speeds[form] / ceiling,
        }
        for form in FORMS
    }
    told["ratio"] = paired_ratio(seconds["plain"], seconds["fast"])
    share = paired_ratio(seconds["data"], seconds["fast"])
    told["data"] = {"images_per_s": speeds["data"], "share_of_fast_step": share}
    return told
