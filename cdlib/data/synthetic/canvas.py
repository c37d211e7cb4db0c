"""The drawing surface of the procedural images: unit coordinates, fractal noise, soft masks.

Everything is laid out in unit coordinates (x to the right, y downwards, both in [0, 1]) and every
random array has a fixed shape, so a picture keeps its layout at any size. The surface has twice
the pixels of the picture a side; `Canvas.finish` averages them, which smooths the edges.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache

import cv2
import numpy as np

_SUPERSAMPLING = 2
_SUBPIXEL_BITS = 6

Colour = Sequence[float] | np.ndarray


@lru_cache(maxsize=4)
def _axis(pixels: int) -> np.ndarray:
    axis = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
    axis.setflags(write=False)
    return axis


def planes(colour: Colour) -> np.ndarray:
    """A colour (3,) as (3, 1, 1), ready to be spread over a plane; (3, n, n) stays as it is."""
    colour = np.asarray(colour, dtype=np.float32)
    return colour.reshape(3, 1, 1) if colour.ndim == 1 else colour


def mix(first: Colour, second: Colour, share: np.ndarray | float) -> np.ndarray:
    """Blend two colours by a (n, n) or scalar share of the second: (3, n, n) or (3, 1, 1)."""
    first = planes(first)
    blend = (planes(second) - first) * np.float32(share)
    blend += first
    return blend


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 at `low` or before, 1 at `high` or beyond (which may be the smaller), smooth between."""
    t = (value - low) * (1 / (high - low))
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def fractal(rng: np.random.Generator, columns: int, rows: int, octaves: int) -> np.ndarray:
    """Fractal noise of mean 0 and deviation 1, each octave twice as fine and half as strong.

    Shape: (rows, columns) times 2 ** (octaves - 1). Summed from the coarse end, so that only
    small arrays are resized.
    """
    field = rng.random((rows, columns), dtype=np.float32)
    for octave in range(1, octaves):
        height, width = rows << octave, columns << octave
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
        field += rng.random((height, width), dtype=np.float32) * np.float32(0.55**octave)
    mean, deviation = cv2.meanStdDev(field)
    return (field - np.float32(mean.item())) / np.float32(deviation.item() + 1e-6)


def rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The corners (4, 2) of an upright rectangle, for `Canvas.polygons`."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


class Canvas:
    """A picture in the making. `pixels` is planar RGB, (3, n, n) float32, nominally in [0, 1].

    `light` is the (3, 1, 1) colour of the light: it multiplies whatever `cover` puts down.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.n = _SUPERSAMPLING * size
        self.rng = rng
        self.x = _axis(self.n)[None, :]  # (1, n)
        self.y = _axis(self.n)[:, None]  # (n, 1)
        self.pixels = np.zeros((3, self.n, self.n), np.float32)
        self.light = np.ones((3, 1, 1), np.float32)

    def tone(self, colour: Colour, spread: float = 0.04) -> np.ndarray:
        """A colour near the given one, (3,): brightness and hue both vary."""
        brightness, *hue = self.rng.uniform(-spread, spread, 4)
        shifted = np.asarray(colour) + brightness + np.array(hue) / 2
        return np.clip(shifted, 0, 1).astype(np.float32)

    def noise(self, columns: int, rows: int, octaves: int = 4) -> np.ndarray:
        """Fractal noise over the whole picture, (n, n), of mean 0 and deviation about 1."""
        field = fractal(self.rng, columns, rows, octaves)
        shrinks = max(field.shape) > self.n
        method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return cv2.resize(field, (self.n, self.n), interpolation=method)

    def floor_noise(self, horizon: float, across: float = 30, along: float = 30) -> np.ndarray:
        """Fractal noise on a floor that recedes to `horizon`, (n, n); it fades out there.

        `across` and `along` are the grains to the picture's width, across and along the view.
        """
        below = np.maximum(self.y - horizon, 0)
        distance = 0.5 / (below + 0.03)  # (n, 1), 1 near the lower edge
        tile = fractal(self.rng, 16, 16, 4)
        columns = ((self.x - 0.5) * distance * across + 64).astype(np.float32)
        rows = np.broadcast_to(distance * along, columns.shape).astype(np.float32)
        field = cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return field * smoothstep(0, 0.2, below)

    def line_noise(self, cells: int, octaves: int = 4) -> np.ndarray:
        """Fractal noise along x, (n,), of mean 0 and deviation about 1."""
        field = fractal(self.rng, cells, 1, octaves).mean(axis=0)
        field /= field.std() + np.float32(1e-6)
        return np.interp(self.x[0], _axis(len(field)), field).astype(np.float32)

    def below(self, profile: np.ndarray | float) -> np.ndarray:
        """A soft mask of what lies under y = profile: (n, n) for a line (n,), else (n, 1)."""
        return np.clip((self.y - profile) * self.n + 0.5, 0, 1)

    def polygons(self, shapes: Iterable[np.ndarray]) -> np.ndarray:
        """A soft mask (n, n) of the union of polygons, each (corners, 2) in unit x, y."""
        mask = np.zeros((self.n, self.n), np.uint8)
        scale = self.n << _SUBPIXEL_BITS
        for shape in shapes:
            corners = np.rint(np.asarray(shape) * scale).astype(np.int32)
            cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) / 255

    def discs(self, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """A soft mask (n, n) of discs: centres (k, 2) and radii (k,) in unit coordinates."""
        mask = np.zeros((self.n, self.n), np.uint8)
        scale = self.n << _SUBPIXEL_BITS
        circles = np.rint(np.column_stack([centres, radii]) * scale).astype(int)
        for x, y, radius in circles.tolist():
            cv2.circle(mask, (x, y), radius, 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask.astype(np.float32) / 255

    def cover(self, colour: Colour, alpha: np.ndarray) -> None:
        """Paint a colour, (3,) or (3, n, n), where a mask (n, n) or (n, 1) says, under `light`."""
        colour = planes(colour)
        touched = np.flatnonzero(alpha.any(axis=1))
        if not len(touched):
            return
        rows = slice(touched[0], touched[-1] + 1)  # most masks are small: blend only their rows
        if colour.shape[1] > 1:
            colour = colour[:, rows]
        strip = self.pixels[:, rows]
        change = colour * self.light - strip
        change *= alpha[rows].astype(np.float32, copy=False)
        strip += change

    def strip(self, top: float, bottom: float) -> "Canvas":
        """The rows between two heights, for a detail that needs no more: to be covered only."""
        rows = slice(round(top * self.n), round(bottom * self.n))
        part = copy(self)
        part.y, part.pixels = self.y[rows], self.pixels[:, rows]
        return part

    def finish(self) -> np.ndarray:
        """The picture as uint8 (size, size, 3) RGB."""
        size = (self.n // _SUPERSAMPLING, self.n // _SUPERSAMPLING)
        picture = np.ascontiguousarray(self.pixels.transpose(1, 2, 0))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)


def seeded_canvas(index: int, size: int, seed: int, kind: int) -> Canvas:
    """A blank canvas whose generator is keyed by (seed, index, kind) and nothing else.

    Raises:
        ValueError: an index or seed below 0, or a size below 8 pixels.
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index {index}, seed {seed}: a drawing needs numbers of 0 or more")
    if size < 8:
        raise ValueError(f"size {size}: a drawing needs at least 8 pixels a side")
    sequence = np.random.SeedSequence([seed, index, kind])
    return Canvas(size, np.random.Generator(np.random.PCG64(sequence)))
