"""Winograd convolution in plain PyTorch: F(4x4, 5x5) and F(4x4, 3x3), forward and backward.

Source: Lavin & Gray 2016, *Fast Algorithms for Convolutional Neural Networks*, sec. 4. A tile of
4x4 outputs costs 64 products a channel pair instead of 400 (5x5), or 36 instead of 144 (3x3).

Stride and dilation reduce to stride 1: of a dilated convolution each phase of the image is an
image of its own; of a strided one each phase is a set of channels of its own.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from cdlib.fast.toom_cook import matrices

SIDE = 4  # outputs a tile
WORKING_SET = 2**20  # floats: larger pieces of a batch fall out of the processor's cache


@cache
def _transforms(taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """A^T (4, n), G x G (n*n, taps*taps) and B^T (n, n), float32."""
    a, g, b = matrices(SIDE, taps)
    single = [torch.from_numpy(m).float() for m in (a, np.kron(g, g), b)]
    return single[0], single[1], single[2]


@dataclass(frozen=True)
class Tiling:
    """How a convolution of an image (B, height, width, C) falls into tiles of 4x4 outputs."""

    height: int
    width: int
    kernel: int
    stride: int
    dilation: int

    @property
    def taps(self) -> int:
        """Side of the kernel of one phase."""
        return -(-self.kernel // self.stride)

    @property
    def size(self) -> int:
        """Side of a transformed tile."""
        return SIDE + self.taps - 1

    @property
    def unit(self) -> int:
        """Pixels between neighbours of one phase."""
        return self.stride * self.dilation

    @property
    def padding(self) -> int:
        return self.dilation * (self.kernel // 2)

    @cached_property
    def outputs(self) -> tuple[int, int]:
        return -(-self.height // self.stride), -(-self.width // self.stride)

    @cached_property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across, of one phase of the dilation."""
        span = SIDE * self.dilation
        return -(-self.outputs[0] // span), -(-self.outputs[1] // span)

    @cached_property
    def padded(self) -> tuple[int, int]:
        down, across = self.tiles
        reach = self.size - SIDE
        return self.unit * (SIDE * down + reach), self.unit * (SIDE * across + reach)

    @property
    def count(self) -> int:
        """Tiles an image."""
        return self.tiles[0] * self.tiles[1] * self.dilation**2

    def frame(self, padded: Tensor) -> Tensor:
        """The image within its padding, a view."""
        return padded[
            :, self.padding : self.padding + self.height, self.padding : self.padding + self.width
        ]

    def input_tiles(self, padded: Tensor) -> Tensor:
        """(B, Hp, Wp, C) -> overlapping view (n, n, B, d, down, d, across, s, s, C)."""
        batch, row, column, _ = padded.stride()
        down, across = self.tiles
        s, d, unit = self.stride, self.dilation, self.unit
        return padded.as_strided(
            (self.size, self.size, len(padded), d, down, d, across, s, s, padded.shape[3]),
            (
                *(unit * row, unit * column, batch),
                *(row, SIDE * unit * row, column, SIDE * unit * column),
                *(row, column, 1),
            ),
            padded.storage_offset(),
        )

    def output_tiles(self, y: Tensor) -> Tensor:
        """(B, 4 d down, 4 d across, O) -> view (4, 4, B, d, down, d, across, O)."""
        down, across = self.tiles
        d = self.dilation
        tiles = y.view(len(y), down, SIDE, d, across, SIDE, d, y.shape[3])
        return tiles.permute(2, 5, 0, 3, 1, 6, 4, 7)


def _both_sides(matrix: Tensor, tiles: Tensor) -> Tensor:
    """matrix x tile x matrix^T for tiles (k, k, ...), matrix (m, k) -> (m, m, N)."""
    m, k = matrix.shape
    half = (matrix @ tiles.reshape(k, -1)).view(m, k, -1)
    return torch.bmm(matrix.expand(m, m, k), half)


def _pieces(batch: int, tiling: Tiling, channels: int) -> list[slice]:
    step = max(1, WORKING_SET // (tiling.count * tiling.size**2 * channels))
    return [slice(i, i + step) for i in range(0, batch, step)]


def _transformed(x: Tensor, tiling: Tiling) -> Tensor:
    """A piece of the batch (B, H, W, C) -> B^T d B, (n*n, tiles, s*s*C)."""
    padded = x.new_zeros(len(x), *tiling.padded, x.shape[3])
    tiling.frame(padded).copy_(x)
    tiles = _both_sides(_transforms(tiling.taps)[2], tiling.input_tiles(padded))
    return tiles.view(tiling.size**2, -1, tiling.stride**2 * x.shape[3])


def _kernels(weight: Tensor, tiling: Tiling) -> Tensor:
    """(O, C, k, k) -> G g G^T, (n*n, s*s*C, O)."""
    s, taps = tiling.stride, tiling.taps
    missing = s * taps - tiling.kernel
    weight = torch.nn.functional.pad(weight, (0, missing, 0, missing))
    out, inputs = weight.shape[:2]
    phases = weight.view(out, inputs, taps, s, taps, s).permute(2, 4, 3, 5, 1, 0)
    kernels = _transforms(taps)[1] @ phases.reshape(taps**2, -1)
    return kernels.view(tiling.size**2, s * s * inputs, out)


def _kernels_back(gradient: Tensor, tiling: Tiling, shape: torch.Size) -> Tensor:
    """The transpose of `_kernels`."""
    s, taps = tiling.stride, tiling.taps
    out, inputs = shape[:2]
    phases = _transforms(taps)[1].T @ gradient.reshape(tiling.size**2, -1)
    phases = phases.view(taps, taps, s, s, inputs, out).permute(5, 4, 0, 2, 1, 3)
    weight = phases.reshape(out, inputs, taps * s, taps * s)
    return weight[..., : tiling.kernel, : tiling.kernel]


class Winograd(torch.autograd.Function):
    """Convolution of x (B, H, W, C) with weight (O, C, k, k) and bias (O,) -> (B, H', W', O)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, tiling: Tiling) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.tiling = tiling
        out = len(weight)
        down, across = tiling.tiles
        kernels = _kernels(weight, tiling)
        to_outputs = _transforms(tiling.taps)[0]
        span = SIDE * tiling.dilation
        y = x.new_empty(len(x), span * down, span * across, out)
        for piece in _pieces(len(x), tiling, sum(kernels.shape[1:])):
            products = torch.bmm(_transformed(x[piece], tiling), kernels)
            if bias is not None:
                # The position of the points (1, 1) enters every output of a tile with factor 1.
                products[tiling.size + 1] += bias
            target = tiling.output_tiles(y[piece])
            products = products.view(tiling.size, tiling.size, -1)
            target.copy_(_both_sides(to_outputs, products).view(target.shape))
        height, width = tiling.outputs
        return y[:, :height, :width].contiguous()

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight = ctx.saved_tensors
        tiling: Tiling = ctx.tiling
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        to_outputs, _, to_inputs = _transforms(tiling.taps)
        down, across = tiling.tiles
        span = SIDE * tiling.dilation
        height, width = tiling.outputs
        dy = torch.nn.functional.pad(
            dy, (0, 0, 0, span * across - width, 0, span * down - height)
        ).contiguous()
        kernels = _kernels(weight, tiling)
        dx = torch.empty_like(x) if need_x else None
        dkernels = torch.zeros_like(kernels) if need_weight else None
        for piece in _pieces(len(x), tiling, sum(kernels.shape[1:])):
            dproducts = _both_sides(to_outputs.T, tiling.output_tiles(dy[piece]))
            dproducts = dproducts.view(tiling.size**2, -1, len(weight))
            if need_weight:
                dkernels.baddbmm_(_transformed(x[piece], tiling).transpose(1, 2), dproducts)
            if need_x:
                dtiles = torch.bmm(dproducts, kernels.transpose(1, 2))
                dtiles = _both_sides(to_inputs.T, dtiles.view(tiling.size, tiling.size, -1))
                padded = x.new_zeros(len(x[piece]), *tiling.padded, x.shape[3])
                target = tiling.input_tiles(padded)
                dtiles = dtiles.view(target.shape)
                # Tiles overlap, quarters of tiles do not.
                for i in range(0, tiling.size, SIDE):
                    for j in range(0, tiling.size, SIDE):
                        quarter = slice(i, i + SIDE), slice(j, j + SIDE)
                        target[quarter].add_(dtiles[quarter])
                dx[piece] = tiling.frame(padded)
        dweight = _kernels_back(dkernels, tiling, weight.shape) if need_weight else None
        return dx, dweight, dy.sum((0, 1, 2)) if need_bias else None, None


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, dilation: int = 1
) -> Tensor:
    """`F.conv2d` of x (B, C, H, W) with "same" padding, dilation * (k // 2), by Winograd.

    Kernels of 3x3 and 5x5; stride 1 or 2, dilation any, not both above 1. The result lies in
    channels_last memory.
    """
    tiling = Tiling(x.shape[2], x.shape[3], weight.shape[2], stride, dilation)
    y = Winograd.apply(x.permute(0, 2, 3, 1), weight, bias, tiling)
    return y.permute(0, 3, 1, 2)
