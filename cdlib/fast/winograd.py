"""Winograd convolution in plain PyTorch, forward and backward.

Source: Lavin & Gray 2016, *Fast Algorithms for Convolutional Neural Networks*, sec. 4: with
tiles d of the input and a kernel g, y = A^T [(G g G^T) . (B^T d B)] A. The product at each
position of the tile is a matrix product over the channels. The backward pass is the transpose of
each step and uses the transformed input again.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cdlib.fast.tiling import Tiling
from cdlib.fast.toom_cook import matrices

WORKING_SET = 2**20  # transformed values at a time: what the processor's caches hold


@cache
def _transforms(side: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A^T (m, n), G (n, r) and B^T (n, n) in single precision."""
    a, g, b = (torch.from_numpy(matrix).float() for matrix in matrices(side, taps))
    return a, g, b


def _along(matrix: Tensor, tiles: Tensor, axis: int) -> Tensor:
    """Multiply axis 0 or 1 of tiles (k, ...) or (j, k, ...) by matrix (m, k)."""
    m, k = matrix.shape
    if axis == 0:
        return (matrix @ tiles.reshape(k, -1)).view(m, *tiles.shape[1:])
    j = len(tiles)
    product = torch.bmm(matrix.expand(j, m, k), tiles.reshape(j, k, -1))
    return product.view(j, m, *tiles.shape[2:])


def _windows(x: Tensor, axis: int, tiling: Tiling) -> Tensor:
    """View of overlapping tiles along one axis (unit * blocks): (n, ..., tiles, unit, ...)."""
    blocks = x.unflatten(axis, (-1, tiling.unit))
    return blocks.unfold(axis, tiling.size, tiling.side).movedim(-1, 0)


def _add_windows(tiles: Tensor, target: Tensor, axis: int, tiling: Tiling) -> Tensor:
    """The transpose of `_windows`, added to `target`."""
    windows = _windows(target, axis, tiling)
    # Neighbouring tiles overlap; their first `side` values do not, nor do the rest.
    for part in slice(tiling.side), slice(tiling.side, None):
        windows[part] += tiles[part]
    return target


def _phases_last(tiles: Tensor, tiling: Tiling) -> Tensor:
    """(n, n, B, down, unit, across, unit, C): a stride's phases move beside the channels."""
    return tiles if tiling.of.stride == 1 else tiles.transpose(4, 5)


def _transform_input(x: Tensor, tiling: Tiling) -> Tensor:
    """B^T d B of x (B, H, W, C) -> (n * n, tiles, channels)."""
    matrix = _transforms(tiling.side, tiling.taps)[2]
    top = tiling.of.padding
    bottom, right = (p - top - s for p, s in zip(tiling.inputs, x.shape[1:3], strict=True))
    padded = F.pad(x, (0, 0, top, right, top, bottom))
    across = _along(matrix, _windows(padded, 2, tiling), 0)  # (n, B, H, across, unit, C)
    both = _windows(across, 2, tiling)  # (n, n, B, down, unit, across, unit, C)
    both = _along(matrix, _phases_last(both, tiling), 0)
    return both.view(tiling.size**2, -1, tiling.of.stride**2 * x.shape[3])


def _transform_input_back(tiles: Tensor, tiling: Tiling, batch: int) -> Tensor:
    """The transpose of `_transform_input`."""
    matrix = _transforms(tiling.side, tiling.taps)[2].T
    n, unit = tiling.size, tiling.unit
    (down, across), (height, width) = tiling.tiles, tiling.inputs
    grid = (down, unit, across) if tiling.of.stride == 1 else (down, across, unit)
    tiles = tiles.view(n, n, batch, *grid, unit, -1)
    tiles = _phases_last(_along(matrix, tiles, 0), tiling)
    columns = tiles.new_zeros(n, batch, height, across, unit, tiles.shape[-1])
    columns = _along(matrix, _add_windows(tiles, columns, 2, tiling), 0)
    padded = tiles.new_zeros(batch, height, width, tiles.shape[-1])
    _add_windows(columns, padded, 2, tiling)
    top = tiling.of.padding
    return padded[:, top : top + tiling.of.height, top : top + tiling.of.width]


def _transform_kernel(weight: Tensor, tiling: Tiling) -> Tensor:
    """G g G^T of weight (O, C, k, k) -> (n * n, channels, O)."""
    s, r = tiling.of.stride, tiling.taps
    missing = s * r - tiling.of.kernel
    phases = F.pad(weight, (0, missing, 0, missing)).unflatten(3, (r, s)).unflatten(2, (r, s))
    phases = phases.permute(2, 4, 3, 5, 1, 0)  # (r, r, s, s, C, O)
    g = _transforms(tiling.side, r)[1]
    return _along(g, _along(g, phases, 0), 1).view(tiling.size**2, -1, len(weight))


def _transform_kernel_back(kernel: Tensor, tiling: Tiling) -> Tensor:
    """The transpose of `_transform_kernel`."""
    s, r, n = tiling.of.stride, tiling.taps, tiling.size
    g = _transforms(tiling.side, r)[1].T
    phases = _along(g, _along(g, kernel.view(n, n, s, s, -1, kernel.shape[2]), 1), 0)
    weight = phases.permute(5, 4, 0, 2, 1, 3).flatten(4, 5).flatten(2, 3)
    return weight[..., : tiling.of.kernel, : tiling.of.kernel]


def _output_tiles(y: Tensor, tiling: Tiling) -> Tensor:
    """(B, m * down * d, m * across * d, O) -> view (m, m, B, down, d, across, d, O)."""
    (down, across), m, d = tiling.tiles, tiling.side, tiling.of.dilation
    tiles = y.view(len(y), down, m, d, across, m, d, y.shape[3])
    return tiles.permute(2, 5, 0, 1, 3, 4, 6, 7)


def _pieces(batch: int, tiling: Tiling) -> list[slice]:
    channels = tiling.of.inputs * tiling.of.stride**2 + tiling.of.outputs
    count = -(-batch * tiling.values * channels // WORKING_SET)
    step = -(-batch // min(batch, count))
    return [slice(i, min(i + step, batch)) for i in range(0, batch, step)]


class Winograd(torch.autograd.Function):
    """Convolutions of one input: x (B, H, W, C), tiling, weights, biases -> (B, H', W', O) each."""

    @staticmethod
    def forward(ctx, x: Tensor, tiling: Tiling, *parameters: Tensor | None) -> tuple[Tensor, ...]:
        half = len(parameters) // 2
        weights, biases = parameters[:half], parameters[half:]
        kernel = _transform_kernel(torch.cat(weights), tiling)
        ctx.tiling, ctx.widths = tiling, [len(weight) for weight in weights]
        matrix = _transforms(tiling.side, tiling.taps)[0]
        kept, needs_weight = [], any(ctx.needs_input_grad[2 : 2 + half])  # transformed inputs
        ys = [x.new_empty(len(x), *tiling.outputs, width) for width in ctx.widths]
        for piece in _pieces(len(x), tiling):
            inputs = _transform_input(x[piece], tiling)
            if needs_weight:
                kept.append(inputs)
            products = torch.bmm(inputs, kernel).view(tiling.size, tiling.size, -1)
            targets = [_output_tiles(y[piece], tiling) for y in ys]
            tiles = _along(matrix, _along(matrix, products, 0), 1)
            tiles = tiles.view(*targets[0].shape[:-1], -1).split(ctx.widths, dim=-1)
            for target, own, bias in zip(targets, tiles, biases, strict=True):
                if bias is None:
                    target.copy_(own)
                else:
                    torch.add(own, bias, out=target)
        ctx.save_for_backward(kernel, *kept)
        height, width = tiling.of.size
        return tuple(y[:, :height, :width].contiguous() for y in ys)

    @staticmethod
    @once_differentiable
    def backward(ctx, *dys: Tensor) -> tuple[Tensor | None, ...]:
        kernel, *kept = ctx.saved_tensors
        tiling, widths = ctx.tiling, ctx.widths
        needs_x, _, *needs = ctx.needs_input_grad
        needs_weight = any(needs[: len(widths)])
        dbiases = [
            dy.sum((0, 1, 2)) if need else None
            for dy, need in zip(dys, needs[len(widths) :], strict=True)
        ]
        bottom, right = (t - s for t, s in zip(tiling.outputs, tiling.of.size, strict=True))
        if bottom or right:
            dys = tuple(F.pad(dy, (0, 0, 0, right, 0, bottom)) for dy in dys)
        dys = tuple(dy.contiguous() for dy in dys)
        matrix = _transforms(tiling.side, tiling.taps)[0].T
        of, batch = tiling.of, len(dys[0])
        dx = kernel.new_empty(batch, of.height, of.width, of.inputs) if needs_x else None
        dkernel = torch.zeros_like(kernel) if needs_weight else None
        for index, piece in enumerate(_pieces(batch, tiling)):
            dy = [_output_tiles(dy[piece], tiling) for dy in dys]
            tiles = kernel.new_empty(*dy[0].shape[:-1], sum(widths))
            for own, part in zip(tiles.split(widths, dim=-1), dy, strict=True):
                own.copy_(part)
            dproducts = _along(matrix, _along(matrix, tiles, 0), 1)
            dproducts = dproducts.view(tiling.size**2, -1, sum(widths))
            if needs_weight:
                dkernel.baddbmm_(kept[index].transpose(1, 2), dproducts)
            if needs_x:
                dtiles = torch.bmm(dproducts, kernel.transpose(1, 2))
                dx[piece] = _transform_input_back(dtiles, tiling, len(dx[piece]))
        dweights = [None] * len(widths)
        if needs_weight:
            dweights = _transform_kernel_back(dkernel, tiling).split(widths)
        return dx, None, *dweights, *dbiases


def convolve(x: Tensor, tiling: Tiling, *convolutions: nn.Conv2d) -> list[Tensor]:
    """`convolutions`, alike but for their weights, of x (B, C, H, W): a list of (B, O, H', W').

    The results lie in channels_last memory.
    """
    weights = [convolution.weight for convolution in convolutions]
    biases = [convolution.bias for convolution in convolutions]
    ys = Winograd.apply(x.permute(0, 2, 3, 1), tiling, *weights, *biases)
    return [y.permute(0, 3, 1, 2) for y in ys]
