"""Procedural aligned faces: the embedded stand-in for the paper's CelebA images (sec. 4).

A face is frontal and centred, as after an alignment by the eyes. It is a shaded ellipsoid with
relief (sockets, nose, cheeks) that features and hair cover; the pose, a small turn and shift of
the whole picture, comes last.
"""

from math import copysign

import cv2
import numpy as np

from cdlib.data.synthetic.canvas import mix, planes, seeded_canvas, smoothstep
from cdlib.data.synthetic.features import beard, eyes, glasses, mouth
from cdlib.data.synthetic.hair import front_hair, hair_outline, strand_colours
from cdlib.data.synthetic.portrait import EYE_APART, EYE_LINE, MOUTH_LINE, TEMPLES, Face

_STREAM = 1
_LABEL = 0


def _background(f: Face) -> None:
    c = f.c
    first, second = c.rng.uniform(0.10, 0.85, (2, 1)) + c.rng.normal(0, 0.10, (2, 3))
    blur = c.noise(int(c.rng.integers(1, 6)), int(c.rng.integers(1, 5)), 2)
    c.pixels[:] = mix(first, second, smoothstep(-1.2, 1.2, blur + c.rng.uniform(-2, 2) * f.u))


def _torso(f: Face) -> None:
    c, rng = f.c, f.c.rng
    broad = 0.115 if f.masculine else 0.09
    neck = smoothstep(0.006, -0.006, np.abs(f.u) - broad - 0.8 * np.maximum(f.v - 0.88, 0) ** 1.5)
    shadow = smoothstep(0.12, -0.02, f.v - f.chin) * 0.4 + 0.25 + 1.2 * f.light * -f.u
    c.cover(mix(f.skin * 0.95, f.skin * (0.42, 0.32, 0.30), shadow), neck * (f.v > 0.7))
    shoulders = 0.915 + 0.34 * np.maximum(np.abs(f.u) - 0.13, 0) ** 1.3
    cut = rng.uniform(0.0, 0.14) - np.abs(f.u) * rng.uniform(0.5, 1.0)
    cloth = planes(c.tone(rng.uniform(0.05, 0.95, 3)))
    folds = 0.85 + 0.12 * c.noise(6, 5, 3) + 0.8 * f.light * f.u
    c.cover(cloth * folds, smoothstep(-0.005, 0.005, f.v - shoulders - np.maximum(cut, 0)))


def _relief(f: Face) -> tuple[np.ndarray, np.ndarray]:
    """The light on the head (n, n), about 0 to 1, and the head's mask (n, n)."""
    down = f.v - TEMPLES
    down = np.where(down < 0, down / (TEMPLES - f.crown), down / (f.chin - TEMPLES))
    jaw = 0.10 if f.masculine else 0.22
    across = f.u / (f.width * (1 - jaw * np.clip(down, 0, 1) ** 1.5))
    radius = across**2 + np.abs(down) ** 2.5
    depth = np.sqrt(np.maximum(1 - radius, 0))
    shade = 0.10 + 0.62 * depth + 0.50 * f.light * across - 0.16 * down
    t, side = f.turn, copysign(1, f.light)
    shade -= 0.22 * f.pair(EYE_APART - 0.01, EYE_LINE - 0.012, 0.060, 0.035)
    shade += 0.10 * f.pair(0.115, 0.59, 0.05, 0.05)
    shade += 0.16 * f.blob(1.4 * t + 0.006 * side, 0.52, 0.018, 0.09)
    shade += 0.14 * f.blob(1.6 * t, 0.598, 0.024, 0.020)
    shade -= (0.14 + 0.2 * abs(f.light)) * f.blob(1.4 * t - 0.033 * side, 0.56, 0.014, 0.05)
    shade -= 0.20 * f.blob(1.4 * t, 0.636, 0.045, 0.013)
    shade -= 0.16 * f.blob(t, MOUTH_LINE + 0.055, 0.06, 0.014)
    shade += 0.08 * f.blob(t, f.chin - 0.06, 0.05, 0.03)
    shade -= 0.08 * f.pair(0.085, 0.65, 0.012, 0.035)
    return shade, smoothstep(1.05, 0.97, radius)


def _head(f: Face) -> None:
    """Ears, skin, blush, beard and nostrils."""
    c = f.c
    shade, mask = _relief(f)
    dark, bright = f.skin * (0.40, 0.29, 0.27), np.minimum(f.skin * 1.13 + 0.02, 1)
    ear = ((np.abs(f.u) - f.width) / 0.03) ** 2 + ((f.v - 0.52) / 0.065) ** 2
    c.cover(mix(dark, f.skin, 0.55 + 1.2 * f.light * f.u), smoothstep(1.08, 0.95, ear))
    pores = 0.02 * c.noise(40, 40, 2)
    c.cover(mix(dark, bright, np.clip(shade + 0.12 + pores, 0, 1.1)), mask)
    blush = c.rng.uniform(0.05, 0.30) * f.pair(0.125, 0.60, 0.05, 0.045)
    c.cover(f.skin * (0.95, 0.62, 0.58), blush * mask)
    if f.masculine and c.rng.random() < 0.55:
        beard(f, mask)
    f = f.between(0.58, 0.66)
    nostrils = f.blob(1.5 * f.turn - 0.021, 0.622, 0.009, 0.007)
    nostrils += f.blob(1.5 * f.turn + 0.021, 0.622, 0.009, 0.007)
    f.c.cover(f.skin * (0.26, 0.16, 0.14), 0.85 * nostrils)


def _pose(f: Face) -> None:
    """Turn and shift the whole picture a little about its middle, and tint its light."""
    rng, n = f.c.rng, f.c.n
    turn = cv2.getRotationMatrix2D((n / 2, n / 2), rng.normal(0, 2.5), rng.uniform(1.0, 1.08))
    turn[:, 2] += rng.normal(0, 0.008, 2) * n
    picture = np.ascontiguousarray(f.c.pixels.transpose(1, 2, 0))
    picture = cv2.warpAffine(picture, turn, (n, n), borderMode=cv2.BORDER_REFLECT)
    tint = rng.uniform(0.94, 1.05) + rng.normal(0, 0.02, 3)
    f.c.pixels = picture.transpose(2, 0, 1) * planes(tint)


def draw_face(index: int, size: int, seed: int) -> tuple[np.ndarray, int]:
    """Draw one aligned face: uint8 (size, size, 3) RGB and the label 0, the only kind.

    The same (index, seed) gives the same face at every size.

    Raises:
        ValueError: an index or seed below 0, or a size below 8 pixels.
    """
    canvas = seeded_canvas(index, size, seed, _STREAM)
    face = Face(canvas)
    parting = canvas.rng.uniform(-0.09, 0.09)
    _background(face)
    strands, outline = strand_colours(face, parting), hair_outline(face)
    canvas.cover(strands * 0.75, outline)
    _torso(face)
    _head(face)
    eyes(face.between(0.38, 0.58))
    mouth(face.between(0.64, 0.80))
    if canvas.rng.random() < 0.2:
        glasses(face.between(0.38, 0.58))
    front_hair(face, strands, outline, parting)
    _pose(face)
    return canvas.finish(), _LABEL
