"""How a convolution falls into tiles for Winograd's method, and whether the method pays."""

import math
from dataclasses import dataclass
from functools import cache

# Rows of the output in a tile, and up to how many channels: sums over more are rounded more, and
# tall tiles magnify it.
SIDES = {4: math.inf, 6: math.inf, 8: 64}
KERNELS = (3, 5)

# Costs in multiply-adds of a direct convolution, fitted to timings of eighteen layers, forward and
# backward, on one thread and on two: of a multiply-add of the short convolutions, of each value of
# a transformed image, and of a multiply-add of the kernel's transform, once a batch. Three quarters
# of the timings are met within a tenth, all within a fifth.
PRODUCT, VALUE, KERNEL = 1.35, 92, 60
MARGIN = 0.9  # take Winograd only where the rough fit promises a tenth


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
    """A convolution of stride 1 in tiles of `side` rows of its output.

    Each phase of a dilated convolution is an image of its own.
    """

    of: Convolution
    side: int

    @property
    def size(self) -> int:
        """Rows of the input in a tile."""
        return self.side + self.of.kernel - 1

    @property
    def span(self) -> int:
        """Rows of the output that a tile of every phase covers."""
        return self.side * self.of.dilation

    @property
    def tiles(self) -> int:
        """Tiles down each phase."""
        return -(-self.of.size[0] // self.span)

    @property
    def rows(self) -> int:
        """Rows of the input, padded to whole tiles."""
        return self.of.dilation * (self.side * self.tiles + self.of.kernel - 1)

    @property
    def cost(self) -> float:
        """Of one image, in multiply-adds of a direct convolution."""
        of = self.of
        lines = self.size * self.tiles * of.dilation
        product = lines * of.size[1] * of.kernel * of.inputs * of.outputs
        values = lines * (of.width * of.inputs + of.size[1] * of.outputs)
        transform = self.size * of.kernel**2 * of.inputs * of.outputs
        return PRODUCT * product + VALUE * values + KERNEL * transform / of.batch


@cache
def best(of: Convolution) -> Tiling | None:
    """The cheapest tiling of a convolution; None if it has none, or is cheaper without."""
    if of.stride > 1 or of.kernel not in KERNELS:
        return None
    channels = max(of.inputs, of.outputs)
    tilings = [Tiling(of, side) for side, most in SIDES.items() if channels <= most]
    tiling = min(tilings, key=lambda tiling: tiling.cost)
    direct = math.prod(of.size) * of.kernel**2 * of.inputs * of.outputs
    return tiling if tiling.cost < MARGIN * direct else None
