"""ELU by `exp` instead of `expm1`, which takes ten times as long on a CPU."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Elu(torch.autograd.Function):
    """max(x, exp(min(x, 0)) - 1): as exp(x) - 1 >= x, this is x above 0 and exp(x) - 1 below.

    x of any shape; absolute error below 1e-7.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        y = torch.maximum(x, x.clamp(max=0).exp_().sub_(1))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.elu_backward(dy, 1, 1, 1, True, y)
