"""One portrait in the making: its palettes, haircuts, build, and where its parts lie.

Coordinates: u to the right from the middle line, v downwards, in picture widths.
"""

from copy import copy
from dataclasses import dataclass

import numpy as np

from cdlib.data.synthetic.canvas import Canvas

EYE_LINE, EYE_APART = 0.475, 0.118
MOUTH_LINE = 0.70
TEMPLES = 0.45  # where the head is widest

SKINS = (
    (0.97, 0.80, 0.70),
    (0.93, 0.73, 0.60),
    (0.84, 0.62, 0.47),
    (0.68, 0.47, 0.33),
    (0.48, 0.31, 0.22),
    (0.36, 0.23, 0.16),
)
HAIRS = (
    (0.07, 0.06, 0.06),
    (0.16, 0.10, 0.07),
    (0.30, 0.18, 0.10),
    (0.52, 0.34, 0.18),
    (0.80, 0.64, 0.38),
    (0.55, 0.24, 0.10),
    (0.62, 0.61, 0.60),
)
IRISES = ((0.25, 0.14, 0.07), (0.36, 0.24, 0.11), (0.25, 0.42, 0.55), (0.32, 0.44, 0.28))


@dataclass(frozen=True)
class Style:
    """A haircut: how far it stands off the head, how low it hangs, where its front edge lies."""

    volume: float
    length: float
    hairline: float
    roundness: float  # of the front edge: low for a parting, high for a straight fringe
    curl: float


STYLES = (
    Style(volume=0.020, length=0.46, hairline=0.27, roundness=3.0, curl=0.006),
    Style(volume=0.045, length=0.50, hairline=0.26, roundness=2.0, curl=0.010),
    Style(volume=0.050, length=0.52, hairline=0.31, roundness=4.0, curl=0.016),
    Style(volume=0.050, length=0.80, hairline=0.27, roundness=3.2, curl=0.008),
    Style(volume=0.055, length=1.10, hairline=0.25, roundness=2.8, curl=0.010),
    Style(volume=0.045, length=1.05, hairline=0.37, roundness=8.0, curl=0.006),
    Style(volume=0.085, length=1.00, hairline=0.27, roundness=3.6, curl=0.030),
    Style(volume=0.110, length=0.62, hairline=0.26, roundness=3.0, curl=0.022),
    Style(volume=0.004, length=0.44, hairline=0.20, roundness=2.0, curl=0.002),
)


class Face:
    """What the parts of one face share: its canvas, coordinates, colours, light and build."""

    def __init__(self, canvas: Canvas) -> None:
        rng = canvas.rng
        self.c = canvas
        skin = rng.integers(len(SKINS))
        choice = slice(None if skin < 3 else 2)  # dark skin goes with the dark hair and eyes
        self.skin = canvas.tone(SKINS[skin], 0.02)
        self.hair = canvas.tone(rng.choice(HAIRS[choice]), 0.02)
        self.iris = canvas.tone(rng.choice(IRISES[choice]), 0.05)
        self.style = STYLES[rng.integers(len(STYLES))]
        self.light = rng.uniform(-0.65, 0.65)
        self.width = rng.uniform(0.205, 0.235)
        self.chin = rng.uniform(0.835, 0.875)
        self.crown = rng.uniform(0.13, 0.16)
        self.turn = rng.uniform(-0.025, 0.025)  # shifts the features sideways
        self.masculine = self.style.length < 0.55 and rng.random() < 0.85

    @property
    def u(self) -> np.ndarray:
        """Distance from the middle line, (1, n), above 0 to the right."""
        return self.c.x - 0.5

    @property
    def v(self) -> np.ndarray:
        """Height in the picture, (rows, 1), from 0 at the top."""
        return self.c.y

    def between(self, top: float, bottom: float) -> "Face":
        """The same face, to draw on the rows between two heights only."""
        part = copy(self)
        part.c = self.c.strip(top, bottom)
        return part

    def blob(self, u: float, v: float, wide: float, high: float) -> np.ndarray:
        """A soft spot (n, n) of height 1 at (u, v)."""
        across = np.exp(-(((self.u - u) / wide) ** 2))
        return across * np.exp(-(((self.v - v) / high) ** 2))

    def pair(self, apart: float, v: float, wide: float, high: float) -> np.ndarray:
        """Two soft spots (n, n), mirrored about the middle of the features."""
        left = self.blob(self.turn - apart, v, wide, high)
        return left + self.blob(self.turn + apart, v, wide, high)
