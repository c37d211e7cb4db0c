"""How a convolution falls into tiles for Winograd's method, and whether the method pays.

Stride and dilation reduce to a dense convolution of stride 1: each phase of a dilated
convolution is an image of its own, each phase of a strided one a set of channels of its own.
"""

import math
from dataclasses import dataclass
from functools import cache

SIDES = (4, 6)  # outputs a tile, down and across
LARGEST = 8  # inputs a tile; larger ones would save more, but round six times worse

# Costs in multiply-adds of a direct convolution, fitted to timings of twenty layers, forward and
# backward, on one thread: matrix products run slower than direct convolutions; every channel costs
# passes over memory, by the side of the tile for each transformed value, and once more for each
# output; so does each transformed weight, once a batch.
PRODUCT, TRANSFORM, OUTPUT, WEIGHT = 2.1, 3.7, 23, 40
MARGIN = 0.9  # the fit is rough: take Winograd only where it promises a tenth


@dataclass(frozen=True)
class Convolution:
    """The settings of a convolution, and the images (batch, height, width) it is used on."""

    batch: int
    height: int
    width: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the output."""
        reach = 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        return (
            (self.height + reach) // self.stride + 1,
            (self.width + reach) // self.stride + 1,
        )


@dataclass(frozen=True)
class Tiling:
    """A convolution in tiles of side x side outputs."""

    of: Convolution
    side: int

    @property
    def taps(self) -> int:
        """Side of the kernel of one phase."""
        return -(-self.of.kernel // self.of.stride)

    @property
    def size(self) -> int:
        """Side of a tile of the input."""
        return self.side + self.taps - 1

    @property
    def unit(self) -> int:
        """Pixels from one pixel of a phase to the next."""
        return self.of.stride * self.of.dilation

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across, of one phase of the dilation."""
        span = self.side * self.of.dilation
        height, width = self.of.size
        return -(-height // span), -(-width // span)

    @property
    def inputs(self) -> tuple[int, int]:
        """Height and width of the input, padded to whole tiles."""
        down, across = self.tiles
        reach = self.taps - 1
        return self.unit * (self.side * down + reach), self.unit * (self.side * across + reach)

    @property
    def outputs(self) -> tuple[int, int]:
        """Height and width of the output in whole tiles."""
        span = self.side * self.of.dilation
        return span * self.tiles[0], span * self.tiles[1]

    @property
    def values(self) -> int:
        """Transformed values of one image and channel."""
        return math.prod(self.tiles) * self.of.dilation**2 * self.size**2

    @property
    def cost(self) -> float:
        """Of one image, in multiply-adds of a direct convolution."""
        inputs, outputs = self.of.inputs * self.of.stride**2, self.of.outputs
        value = PRODUCT * inputs * outputs + TRANSFORM * self.size * (inputs + outputs)
        weights = WEIGHT * self.size**2 * inputs * outputs / self.of.batch
        return self.values * value + OUTPUT * math.prod(self.of.size) * (inputs + outputs) + weights


@cache
def best(of: Convolution) -> Tiling | None:
    """The cheapest tiling of a convolution; None if it has none, or is cheaper without."""
    if of.stride > 1 < of.dilation or (of.kernel, of.stride) not in {(3, 1), (5, 1), (5, 2)}:
        return None
    tilings = (Tiling(of, side) for side in SIDES)
    tiling = min((t for t in tilings if t.size <= LARGEST), key=lambda t: t.cost)
    direct = math.prod(of.size) * of.kernel**2 * of.inputs * of.outputs
    return tiling if tiling.cost < MARGIN * direct else None
