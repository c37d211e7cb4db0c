"""What the training loop needs to know of a network: its nets, optimisers, phases and steps.

A recipe is data, and one plain function a phase. The loop (`cdlib.training`) never asks which
method it trains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from cdlib.data.batches import Batch

Nets = Mapping[str, nn.Module]
Losses = dict[str, Tensor]  # by optimiser: the scalar that it minimises
Measurements = dict[str, Tensor]  # scalars for the log
Step = Callable[[Nets, Batch], tuple[Losses, Measurements]]


@dataclass(frozen=True)
class Optimiser:
    """Adam over some of the nets. A loss moves its own optimiser's parameters only."""

    nets: tuple[str, ...]
    learning_rate: float
    betas: tuple[float, float] = (0.5, 0.999)


@dataclass(frozen=True)
class Phase:
    """A part of the training: `share` of the images seen, under one step function."""

    name: str
    step: Step
    share: float = 1.0
    rate: float = 1.0  # factor on every learning rate
    prepare: Callable[[Nets], None] | None = None  # sets train/eval modes, e.g. a frozen BatchNorm


@dataclass(frozen=True)
class Recipe:
    """Everything about one network's training.

    `build` makes the nets, from the global generator that the loop has seeded. `validate` gives
    one value an image for each measurement; the weights that are kept are those with the lowest
    mean of `best_by` on the validation images. `preview` draws a sample grid of a few images,
    (N,3,H,W) in [0,1], a row of columns an image, or is None. `settings` is what the finished net
    depends on. `images_seen` overrides the profile's budget.
    """

    name: str
    build: Callable[[], dict[str, nn.Module]]
    optimisers: dict[str, Optimiser]
    phases: tuple[Phase, ...]
    kept: tuple[str, ...]
    validate: Callable[[Nets, Batch], dict[str, Tensor]]
    best_by: str
    preview: Callable[[Nets, Batch], Tensor] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    images_seen: int | None = None

    def kept_weights(self, nets: Nets) -> dict[str, Tensor]:
        """What the file of a finished net holds: the kept nets' tensors, as `<net>.<name>`."""
        return {
            f"{name}.{key}": tensor
            for name in self.kept
            for key, tensor in nets[name].state_dict().items()
        }
