"""What the rivals have in common: full-resolution networks, chosen, shown and opened alike."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from cdlib import metrics
from cdlib.checkpoints import load_net
from cdlib.data.batches import Batch
from cdlib.masks import compose
from cdlib.methods.context import Context

BEST_BY = "l1_composed"  # which weights of a training are kept: the same rule for all

Net = TypeVar("Net", bound=nn.Module)


def measure(output: Tensor, batch: Batch) -> dict[str, Tensor]:
    """L1 of each image, (B,): of the raw output, and with the valid pixels put back."""
    output = output.clamp(0, 1)
    composed = compose(output, batch.image, batch.mask)
    return {
        "l1_raw": metrics.l1(output, batch.image),
        BEST_BY: metrics.l1(composed, batch.image),
    }


def show(output: Tensor, batch: Batch) -> Tensor:
    """A preview grid, (4B,3,H,W): masked input, raw output, composed, truth; a row an image."""
    composed = compose(output, batch.image, batch.mask)
    return torch.stack([batch.masked, output, composed, batch.image], dim=1).flatten(0, 1)


def finished(context: Context, name: str, net: Net) -> Net:
    """`net` with the weights of the run's finished training of that name, ready to use."""
    load_net(context.run.net(context.dataset, name), net, name)
    return net.eval()
