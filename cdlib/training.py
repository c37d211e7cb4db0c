"""The one training loop: (recipe, data, profile) -> finished net, log, sample grids.

Every random draw of step n is a function of (seed, n), and the state holds all that steps leave
behind, so a training that was killed and started again ends with the same bits as one that ran
through.
"""

import copy
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image
from tqdm import tqdm

from cdlib import checkpoints
from cdlib.averaging import follow
from cdlib.budget import gmac_per_image, phase_ends
from cdlib.data.array import PreparedArray
from cdlib.data.batches import TrainingBatches, validation_batches
from cdlib.fast import accelerate
from cdlib.launch import launch
from cdlib.progress import Files, Progress, fingerprint_of, in_short, refuse_nan
from cdlib.recipes import Phase, Recipe
from cdlib.runs import Run, atomic_path
from cdlib.settings import Profile
from cdlib.synchronised import average_gradients, mean_over_processes, synchronise

LOG_EVERY = 50  # steps
SAMPLES_AT = (1 / 32, 1 / 8, 1 / 4, 1 / 2, 1)  # shares of the training at which a grid is drawn
PREVIEW_IMAGES = 8
VALIDATION_BATCH = 50


@dataclass
class Training:
    """One network's training on one data set. `train` is the way in."""

    recipe: Recipe
    profile: Profile
    files: Files
    dataset: str
    training: PreparedArray
    validation: PreparedArray
    progress: Progress
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        profile, recipe = self.profile, self.recipe
        self.fabric = fabric = launch(profile)
        device = fabric.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(profile.seed)
            self.raw = {name: net.to(device) for name, net in recipe.build().items()}
        probe = next(validation_batches(self.validation, profile, 2)).to(device)
        self.gmac = {
            phase.name: gmac_per_image(recipe, phase, self.raw, probe) for phase in recipe.phases
        }
        self.ends = phase_ends(recipe, profile.train, self.gmac)
        for net in self.raw.values():
            synchronise(net)
            net.to(memory_format=torch.channels_last)
            if profile.train.fast and device.type == "cpu":
                accelerate(net)
        self.average = {name: copy.deepcopy(self.raw[name]).eval() for name in recipe.kept}
        self.nets = {name: fabric.setup_module(net) for name, net in self.raw.items()}
        self.parameters = {
            name: [p for net in optimiser.nets for p in self.raw[net].parameters()]
            for name, optimiser in recipe.optimisers.items()
        }
        self.optimisers = {
            name: torch.optim.Adam(
                self.parameters[name], lr=o.learning_rate, betas=o.betas, fused=True
            )
            for name, o in recipe.optimisers.items()
        }
        shares = fabric.global_rank, fabric.world_size
        self.batches = TrainingBatches(self.training, profile, *shares)

    def run(self) -> None:
        """From where it stands to the end."""
        self._restore()
        total, size = self.ends[-1], self.profile.train.batch_size
        bar = tqdm(
            total=total * size,
            initial=self.progress.step * size,
            unit="image",
            desc=f"{self.recipe.name} on {self.dataset}",
            mininterval=15,
            disable=self.fabric.global_rank > 0,
        )
        phase = None
        while self.progress.step < total:
            began = time.monotonic()
            if phase is not (phase := self._phase()):
                self.enter(phase)
            measured = self.step(phase)
            line = {}
            if self._due(LOG_EVERY * size):
                line |= {name: float(mean_over_processes(v)) for name, v in measured.items()}
                refuse_nan(line, self._here())
            if self._due(self.profile.train.validate_every):
                line |= self._validate(phase)
            if any(self.progress.step == math.ceil(share * total) for share in SAMPLES_AT):
                self._draw_samples()
            self.progress.seconds += time.monotonic() - began
            if line:
                self._log(phase, line)
                bar.set_postfix_str(in_short(line, self.recipe.best_by))
            if self._due(self.profile.train.checkpoint_every):
                self._save_state()
            bar.update(size)
        bar.close()
        self._finish()
        self.fabric.barrier()  # the net is there for whichever process needs it next

    def step(self, phase: Phase) -> dict[str, Tensor]:
        """One batch: every optimiser's gradients first, then every optimiser's step."""
        key = self.profile.seed * 1_000_003 + self.progress.step
        torch.manual_seed(key * self.fabric.world_size + self.fabric.global_rank)
        batch = self.batches.batch(self.progress.step).to(self.fabric.device)
        losses, measured = phase.step(self.nets, batch)
        last = list(losses)[-1]
        for name, loss in losses.items():
            self.optimisers[name].zero_grad()
            # `inputs` keeps a generator's loss from computing its critic's weight gradients,
            # and lets one forward pass of the critic serve both losses.
            inputs = [p for p in self.parameters[name] if p.requires_grad]
            self.fabric.backward(loss, inputs=inputs, retain_graph=name != last)
        average_gradients(p for name in losses for p in self.parameters[name])
        for name in losses:
            self.optimisers[name].step()
        self.progress.step += 1
        self.progress.gmac += self.gmac[phase.name] * self.profile.train.batch_size
        follow(self.average, self.raw, self.profile.train.ema, self.progress.step)
        return {f"loss_{name}": loss.detach() for name, loss in losses.items()} | measured

    def _phase(self) -> Phase:
        return next(
            phase
            for phase, end in zip(self.recipe.phases, self.ends, strict=True)
            if self.progress.step < end
        )

    def enter(self, phase: Phase) -> None:
        """Set modes and rates for the steps of a phase."""
        for net in self.nets.values():
            net.train()
        if phase.prepare:
            phase.prepare(self.raw)
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.recipe.optimisers[name].learning_rate * phase.rate

    def _due(self, every: int) -> bool:
        """Whether the last step crossed a multiple of `every` images, or was the last of all."""
        size = self.profile.train.batch_size
        seen = self.progress.step * size
        return seen // every > (seen - size) // every or self.progress.step == self.ends[-1]

    @torch.no_grad()
    def _validate(self, phase: Phase) -> dict[str, float]:
        """Mean of each measurement over the validation images; keeps the best weights yet.

        Of the last phase only: before it, a net may not have been trained at all. Every process
        does the same, so that none waits for another here.
        """
        values: dict[str, list[Tensor]] = {}
        for batch in validation_batches(self.validation, self.profile, VALIDATION_BATCH):
            measured = self.recipe.validate(self.average, batch.to(self.fabric.device))
            for name, value in measured.items():
                values.setdefault(name, []).append(value.cpu())
        line = {f"validation_{name}": torch.cat(v).mean().item() for name, v in values.items()}
        value = line[f"validation_{self.recipe.best_by}"]
        last = phase is self.recipe.phases[-1]
        if last and (value < self.progress.best or not self.best_weights):
            self.progress.best, self.progress.best_step = value, self.progress.step
            kept = self.recipe.kept_weights(self.average)
            self.best_weights = {key: tensor.detach().clone() for key, tensor in kept.items()}
        return line

    @torch.no_grad()
    def _draw_samples(self) -> None:
        if self.recipe.preview is None or self.fabric.global_rank > 0:
            return
        batch = next(validation_batches(self.validation, self.profile, PREVIEW_IMAGES))
        grid = self.recipe.preview(self.average, batch.to(self.fabric.device)).clamp(0, 1)
        seen = self.progress.step * self.profile.train.batch_size
        path = self.files.samples / f"{self.recipe.name}-{seen:08d}.png"
        with atomic_path(path) as temporary:
            save_image(grid, temporary, nrow=len(grid) // PREVIEW_IMAGES, format="png")

    def _here(self) -> str:
        return f"{self.recipe.name} on {self.dataset}, step {self.progress.step}"

    def _log(self, phase: Phase, line: dict[str, float]) -> None:
        images = self.progress.step * self.profile.train.batch_size
        head = {"step": self.progress.step, "images": images, "phase": phase.name}
        tail = {
            "gmac": self.progress.gmac,
            "seconds": self.progress.seconds,
            "images_per_s": images / self.progress.seconds,
        }
        if self.fabric.global_rank == 0:
            self.progress.log_bytes = self.files.append_log(head | line | tail)

    def _save_state(self) -> None:
        # A state is kept only if a training can go on from it. All processes look, and all stop.
        spread = {
            f"weights of {name}": sum(p.detach().abs().sum().item() for p in net.parameters())
            for name, net in self.raw.items()
        }
        refuse_nan(spread, self._here())
        if self.fabric.global_rank > 0:
            return
        state = {
            "progress": asdict(self.progress),
            "nets": {name: net.state_dict() for name, net in self.raw.items()},
            "average": {name: net.state_dict() for name, net in self.average.items()},
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "best_weights": self.best_weights,
        }
        checkpoints.save_state(self.files.state, state)

    def _restore(self) -> None:
        """Go on from the last state of the same settings and data; the log is cut back to it."""
        state = checkpoints.load_state(self.files.state)
        if state is not None and state["progress"]["fingerprint"] == self.progress.fingerprint:
            self.progress = Progress(**state["progress"])
            self.best_weights = state["best_weights"]
            for name, net in self.raw.items():
                net.load_state_dict(state["nets"][name])
            for name, net in self.average.items():
                net.load_state_dict(state["average"][name])
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(state["optimisers"][name])
        first = self.fabric.broadcast(self.progress.step)
        if self.progress.step != first:
            raise checkpoints.CheckpointError(
                f"{self.files.state}: here it is of step {self.progress.step}, for the first "
                f"process of step {first}; all processes need the same results folder"
            )
        if self.fabric.global_rank == 0:
            self.files.rewind_log(self.progress.log_bytes)

    def _finish(self) -> None:
        if self.fabric.global_rank > 0:
            return
        images = self.ends[-1] * self.profile.train.batch_size
        about = {
            "net": self.recipe.name,
            "dataset": self.dataset,
            "fingerprint": self.progress.fingerprint,
            "settings": self.recipe.settings,
            "images_seen": images,
            "best_step": self.progress.best_step,
            f"validation_{self.recipe.best_by}": self.progress.best,
            "gmac": self.progress.gmac,
            "seconds": self.progress.seconds,
            "images_per_s": images / self.progress.seconds,
        }
        checkpoints.save_net(self.files.net, self.best_weights, about)


def train(
    recipe: Recipe,
    profile: Profile,
    run: Run,
    dataset: str,
    training: PreparedArray,
    validation: PreparedArray,
) -> Path:
    """Train `recipe` on a data set, or go on with it; the path of the finished net.

    A finished net of the same settings and data is taken as it is.

    Raises:
        CheckpointError: there is none, and the profile does not allow training.
        FloatingPointError: a loss that is not finite; the last good state is kept.
        OSError: another process trains this net here, or a file cannot be written.
    """
    files = Files.of(run, dataset, recipe.name)
    fingerprint = fingerprint_of(recipe, profile, training, validation)
    if files.net.exists() and checkpoints.read_about(files.net).get("fingerprint") == fingerprint:
        return files.net
    if not profile.train.allowed:
        raise checkpoints.CheckpointError(
            f"{files.net} is missing or of other settings or data, and train.allowed is false"
        )
    with files.held():
        progress = Progress(fingerprint)
        Training(recipe, profile, files, dataset, training, validation, progress).run()
    return files.net
