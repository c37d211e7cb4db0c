"""Winograd convolution down the columns, forward and backward, in plain PyTorch.

Source: Lavin & Gray 2016, *Fast Algorithms for Convolutional Neural Networks*, sec. 4, in one
dimension: with tiles d of n rows of the input and the kernel's columns g,
y = A^T [(G g) * (B^T d)], where * is a convolution along the rows for each of the n values.
Those are left to the library, as one convolution of n groups: it is nearer to the processor's
peak there than in the matrix products of the two-dimensional form, and half as much data passes
through memory. The backward pass is the transpose of each step and uses the transformed input
again.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cdlib.fast.tiling import Tiling
from cdlib.fast.toom_cook import matrices


@cache
def _transforms(side: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A^T (m, n), G (n, r) and B^T (n, n) in single precision."""
    a, g, b = (torch.from_numpy(matrix).float() for matrix in matrices(side, taps))
    return a, g, b


def _times(matrix: Tensor, values: Tensor) -> Tensor:
    """Matrix (m, k) times values (B, k, ...) -> (B, m, ...)."""
    batch, _, *rest = values.shape
    return torch.bmm(matrix.expand(batch, -1, -1), values.flatten(2)).view(batch, -1, *rest)


def _windows(x: Tensor, tiling: Tiling) -> Tensor:
    """View of overlapping tiles of x (B, rows, W, C): (B, n, tiles, dilation, W, C)."""
    phases = x.unflatten(1, (-1, tiling.of.dilation))
    return phases.unfold(1, tiling.size, tiling.side).movedim(-1, 1)


def _output_tiles(y: Tensor, tiling: Tiling) -> Tensor:
    """View of y (B, rows, W', O), whole tiles: (B, m, tiles, dilation, W', O)."""
    tiles = y.unflatten(1, (tiling.tiles, tiling.side, tiling.of.dilation))
    return tiles.movedim(2, 1)


def _image(values: Tensor) -> Tensor:
    """(B, n, tiles, dilation, W, C) -> (B, n * C, tiles * dilation, W), channels_last, copied."""
    return values.flatten(2, 3).movedim(1, 3).flatten(3).permute(0, 3, 1, 2)


def _values(image: Tensor, tiling: Tiling) -> Tensor:
    """View of the inverse of `_image`."""
    groups = image.permute(0, 2, 3, 1).unflatten(3, (tiling.size, -1))
    return groups.movedim(3, 1).unflatten(2, (tiling.tiles, tiling.of.dilation))


class Winograd(torch.autograd.Function):
    """Convolutions of one input: x (B, H, W, C), tiling, weights, biases -> (B, H', W', O) each."""

    @staticmethod
    def forward(ctx, x: Tensor, tiling: Tiling, *parameters: Tensor | None) -> tuple[Tensor, ...]:
        half = len(parameters) // 2
        weights, biases = parameters[:half], parameters[half:]
        of, (height, width) = tiling.of, tiling.of.size
        a, g, b = _transforms(tiling.side, of.kernel)
        # Of each of the n a kernel (O, C, 1, k) along the rows.
        kernels = torch.tensordot(g, torch.cat(weights), ([1], [2])).flatten(0, 1).unsqueeze(2)
        padded = F.pad(x, (0, 0, 0, 0, of.padding, tiling.rows - of.padding - of.height))
        inputs = _image(_times(b, _windows(padded, tiling)))
        along = {"padding": (0, of.padding), "dilation": (1, of.dilation), "groups": tiling.size}
        tiles = _times(a, _values(F.conv2d(inputs, kernels, **along), tiling))
        ctx.tiling, ctx.shape = tiling, inputs.shape
        ctx.widths = [len(weight) for weight in weights]
        ys = []
        for own, bias in zip(tiles.split(ctx.widths, dim=-1), biases, strict=True):
            y = x.new_empty(len(x), tiling.span * tiling.tiles, width, own.shape[-1])
            if bias is None:
                _output_tiles(y, tiling).copy_(own)
            else:
                torch.add(own, bias, out=_output_tiles(y, tiling))
            ys.append(y[:, :height].contiguous())
        # Without a gradient of the weights the transformed input is not kept.
        needed = any(ctx.needs_input_grad[2 : 2 + half])
        ctx.save_for_backward(kernels, inputs if needed else None)
        return tuple(ys)

    @staticmethod
    @once_differentiable
    def backward(ctx, *dys: Tensor) -> tuple[Tensor | None, ...]:
        kernels, inputs = ctx.saved_tensors
        tiling, widths, of = ctx.tiling, ctx.widths, ctx.tiling.of
        needs_x, _, *needs = ctx.needs_input_grad
        needs_weight = any(needs[: len(widths)])
        a, g, b = _transforms(tiling.side, of.kernel)
        dbiases = [
            dy.sum((0, 1, 2)) if need else None
            for dy, need in zip(dys, needs[len(widths) :], strict=True)
        ]
        if bottom := tiling.span * tiling.tiles - of.size[0]:
            dys = tuple(F.pad(dy, (0, 0, 0, 0, 0, bottom)) for dy in dys)
        tiles = torch.cat([_output_tiles(dy, tiling) for dy in dys], dim=-1)
        dproducts = _image(_times(a.T, tiles))
        if not needs_weight:  # the library asks for the shape alone
            inputs = kernels.new_empty(1).expand(ctx.shape)
        settings = [1, 1], [0, of.padding], [1, of.dilation], False, [0, 0], tiling.size
        dinputs, dkernels, _ = torch.ops.aten.convolution_backward(
            dproducts, inputs, kernels, None, *settings, [needs_x, needs_weight, False]
        )
        dx, dweights = None, [None] * len(widths)
        if needs_x:
            dwindows = _times(b.T, _values(dinputs, tiling))
            padded = dwindows.new_zeros(len(dys[0]), tiling.rows, of.width, of.inputs)
            windows = _windows(padded, tiling)
            # Neighbouring tiles overlap; their first `side` rows do not, nor do the rest.
            for part in slice(tiling.side), slice(tiling.side, None):
                windows[:, part] += dwindows[:, part]
            dx = padded[:, of.padding : of.padding + of.height]
        if needs_weight:
            dkernels = dkernels.squeeze(2).unflatten(0, (tiling.size, -1))
            dweight = torch.tensordot(dkernels, g, ([0], [0])).movedim(-1, 2)
            dweights = dweight.split(widths)
        return dx, None, *dweights, *dbiases


def convolve(x: Tensor, tiling: Tiling, *convolutions: nn.Conv2d) -> list[Tensor]:
    """`convolutions`, alike but for their weights, of x (B, C, H, W): a list of (B, O, H', W').

    The results lie in channels_last memory.
    """
    weights = [convolution.weight for convolution in convolutions]
    biases = [convolution.bias for convolution in convolutions]
    ys = Winograd.apply(x.permute(0, 2, 3, 1), tiling, *weights, *biases)
    return [y.permute(0, 3, 1, 2) for y in ys]
