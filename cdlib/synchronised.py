"""Several processes that train one net: each on its share of a batch, all to the same weights.

Shares are equally large, so the mean over a batch is the mean of the shares' means. In one process
every function here does nothing.
"""

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_first_process() -> bool:
    """Whether this process writes: it is alone, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", 0)) == 0


def mean_over_processes(values: Tensor) -> Tensor:
    """The processes' mean, of any shape; gradients pass."""
    return _Mean.apply(values) if dist.is_initialized() else values


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        mean = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(mean)
        return mean / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # The mean moves the loss of every process, and moves by 1 / processes with each value.
        return _Mean.apply(gradient)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every gradient becomes its mean over the processes, in one message.

    Where a parameter has no gradient, it has none in any process: their graphs are alike.
    """
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, parts, strict=True):
        gradient.copy_(mean.view_as(gradient))


def synchronise(net: nn.Module) -> None:
    """Make `net` one net in all processes, in place: equal weights, BatchNorm over whole batches.

    Parameters, buffers and their names stay as they are.
    """
    if not dist.is_initialized():
        return
    for tensor in net.state_dict().values():
        sent = tensor.contiguous()
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)
    for module in net.modules():
        # Not what derives from it: timm's BatchNorms have a forward pass of their own, and are
        # only used frozen.
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm2d


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the shares of all processes together.

    torch's own `SyncBatchNorm` does not run on CPUs, and is no `BatchNorm2d`: the recipes that
    freeze one would pass it over. This one is used on every device.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        full = x.float()  # statistics in single precision, also under mixed precision
        own_variance, own_mean = torch.var_mean(full, dim=(0, 2, 3), correction=0)  # (C,)
        mean = mean_over_processes(own_mean)
        variance = mean_over_processes(own_variance + (own_mean - mean).square())
        self._remember(mean.detach(), variance.detach(), full[:, 0].numel())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (full * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, own_count: int) -> None:
        count = own_count * dist.get_world_size()
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
