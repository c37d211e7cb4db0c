"""Winograd convolution down the columns, forward and backward, in plain PyTorch.

Source: Lavin & Gray 2016, *Fast Algorithms for Convolutional Neural Networks*, sec. 4, in one
dimension: with tiles d of n rows of the input and the kernel's columns g,
y = A^T [(G g) * (B^T d)], where * is a convolution along the rows for each of the n values.
Those are left to the library, which is nearer to the processor's peak there than in the matrix
products of the two-dimensional form, and half as much data passes through memory. The backward
pass is the transpose of each step and uses the transformed input again.
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
    """Matrix (m, k) times values (k, ...) -> (m, ...)."""
    return (matrix @ values.reshape(len(values), -1)).view(-1, *values.shape[1:])


def _windows(x: Tensor, tiling: Tiling) -> Tensor:
    """View of overlapping tiles of x (B, rows, W, C): (n, B, tiles, dilation, W, C)."""
    phases = x.unflatten(1, (-1, tiling.of.dilation))
    return phases.unfold(1, tiling.size, tiling.side).movedim(-1, 0)


def _output_tiles(y: Tensor, tiling: Tiling) -> Tensor:
    """View of y (B, rows, W', O), whole tiles: (m, B, tiles, dilation, W', O)."""
    tiles = y.unflatten(1, (tiling.tiles, tiling.side, tiling.of.dilation))
    return tiles.movedim(2, 0)


def _images(values: Tensor) -> Tensor:
    """(n, B, tiles, dilation, W, C) -> view (n, B, C, tiles * dilation, W), channels_last."""
    return values.flatten(2, 3).permute(0, 1, 4, 2, 3)


def _stacked(images: list[Tensor], tiling: Tiling) -> Tensor:
    """The inverse of `_images`, copied."""
    values = torch.stack([image.permute(0, 2, 3, 1) for image in images])
    return values.unflatten(2, (tiling.tiles, tiling.of.dilation))


class Winograd(torch.autograd.Function):
    """Convolutions of one input: x (B, H, W, C), tiling, weights, biases -> (B, H', W', O) each."""

    @staticmethod
    def forward(ctx, x: Tensor, tiling: Tiling, *parameters: Tensor | None) -> tuple[Tensor, ...]:
        half = len(parameters) // 2
        weights, biases = parameters[:half], parameters[half:]
        of, (height, width) = tiling.of, tiling.of.size
        a, g, b = _transforms(tiling.side, of.kernel)
        # Each of the n: a kernel (O, C, 1, k) along the rows.
        kernels = _times(g, torch.cat(weights).permute(2, 0, 1, 3)).unsqueeze(3)
        padded = F.pad(x, (0, 0, 0, 0, of.padding, tiling.rows - of.padding - of.height))
        inputs = _images(_times(b, _windows(padded, tiling)))
        along = {"padding": (0, of.padding), "dilation": (1, of.dilation)}
        products = [F.conv2d(i, k, **along) for i, k in zip(inputs, kernels, strict=True)]
        tiles = _times(a, _stacked(products, tiling))
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
        dproducts = _images(_times(a.T, tiles))
        if not needs_weight:  # the library asks for the shape alone
            inputs = kernels.new_empty(1).expand(ctx.shape)
        wanted = [needs_x, needs_weight, False]
        settings = [1, 1], [0, of.padding], [1, of.dilation], False, [0, 0], 1
        gradients = [
            torch.ops.aten.convolution_backward(dy, x, kernel, None, *settings, wanted)
            for dy, x, kernel in zip(dproducts, inputs, kernels, strict=True)
        ]
        dinputs, dkernels, _ = zip(*gradients, strict=True)
        dx, dweights = None, [None] * len(widths)
        if needs_x:
            dwindows = _times(b.T, _stacked(dinputs, tiling))
            padded = dwindows.new_zeros(len(dys[0]), tiling.rows, of.width, of.inputs)
            windows = _windows(padded, tiling)
            # Neighbouring tiles overlap; their first `side` rows do not, nor do the rest.
            for part in slice(tiling.side), slice(tiling.side, None):
                windows[part] += dwindows[part]
            dx = padded[:, of.padding : of.padding + of.height]
        if needs_weight:
            dweight = _times(g.T, torch.stack(dkernels).squeeze(3)).permute(1, 2, 0, 3)
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
