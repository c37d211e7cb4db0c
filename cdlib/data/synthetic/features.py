"""The features of a portrait: eyes and brows, mouth, beard, glasses."""

import numpy as np

from cdlib.data.synthetic.canvas import mix, planes, smoothstep
from cdlib.data.synthetic.portrait import EYE_APART, EYE_LINE, MOUTH_LINE, Face

_FRAMES = ((0.06, 0.05, 0.05), (0.30, 0.18, 0.10), (0.55, 0.52, 0.50))


def eyes(f: Face) -> None:
    """Both eyes at once, mirrored but for the gaze, with lids and brows."""
    c, rng = f.c, f.c.rng
    side = np.sign(f.u - f.turn)
    out = np.abs(f.u - f.turn) - EYE_APART  # (1, n): 0 mid-eye, above 0 towards the temple
    half, opening = rng.uniform(0.050, 0.058), rng.uniform(0.019, 0.029)
    bow = np.clip(1 - (out / half) ** 2, 0, 1)
    line = EYE_LINE - rng.uniform(-0.05, 0.15) * out
    upper, lower = line - opening * bow, line + 0.6 * opening * bow**0.8
    inside = smoothstep(-0.003, 0.004, np.minimum(f.v - upper, lower - f.v)) * (bow > 0)
    white = 0.55 + 14 * np.clip(f.v - upper, 0, 0.024)
    c.cover(planes((0.97, 0.95, 0.93)) * white, inside)
    gaze = rng.uniform(-0.008, 0.008)
    off = (out - gaze * side) ** 2 + (f.v - EYE_LINE + 0.003) ** 2
    c.cover(f.iris * 0.5, inside * smoothstep(0.025**2, 0.022**2, off))
    c.cover(f.iris * 1.25, inside * smoothstep(0.020**2, 0.015**2, off))
    c.cover((0.02, 0.02, 0.02), inside * smoothstep(0.012**2, 0.008**2, off))
    glint = f.pair(EYE_APART, EYE_LINE - 0.011, 0.006, 0.006)
    c.cover((1.0, 1.0, 1.0), np.clip(glint * 1.4, 0, 1) * inside)
    lash = rng.uniform(0.004, 0.006) if f.masculine else rng.uniform(0.006, 0.010)
    lids = smoothstep(lash, 0.3 * lash, np.abs(f.v - upper)) * (bow > 0)
    lids += 0.35 * smoothstep(0.006, 0.0, np.abs(f.v - lower)) * (bow > 0)
    c.cover((0.08, 0.05, 0.05), np.clip(lids, 0, 0.95))
    crease = smoothstep(0.006, 0.0, np.abs(f.v - upper + 0.013)) * np.sqrt(bow)
    c.cover(f.skin * (0.40, 0.28, 0.26), 0.55 * crease)
    _brows(f, out)


def _brows(f: Face, out: np.ndarray) -> None:
    rng = f.c.rng
    along = (out - 0.004) / 0.072
    bow = np.clip(1 - along**2, 0, 1)
    middle = EYE_LINE - 0.058 - rng.uniform(0.004, 0.018) * bow + rng.uniform(-0.006, 0.01) * along
    thick = (0.010 if f.masculine else 0.007) * (1.1 - 0.35 * along) * np.sqrt(bow)
    brow = smoothstep(0.004, -0.004, np.abs(f.v - middle) - thick) * (bow > 0)
    f.c.cover(np.minimum(f.hair * 0.7, 0.4), 0.85 * brow)


def mouth(f: Face) -> None:
    """The lips, closed or open on a row of teeth."""
    c, rng = f.c, f.c.rng
    along = (f.u - f.turn) / rng.uniform(0.072, 0.096)
    bow = np.clip(1 - along**2, 0, 1)
    smile, gap = rng.uniform(-0.004, 0.026), max(rng.uniform(-0.02, 0.024), 0)
    line = MOUTH_LINE - smile * along**2
    heart = 1 - 0.3 * np.exp(-((along / 0.16) ** 2))
    top = line - rng.uniform(0.012, 0.020) * bow * heart
    bottom = line + gap * bow + rng.uniform(0.018, 0.028) * bow**0.7
    red = rng.uniform(0.15, 0.30) if f.masculine else rng.uniform(0.3, 0.8)
    lip = mix(f.skin * (0.78, 0.55, 0.52), (0.72, 0.16, 0.20), red).reshape(3)
    height = (f.v - line) / 0.03
    gloss = np.exp(-((height - 0.45 - 30 * gap) ** 2) * 6)
    shade = 0.80 + 0.30 * gloss - 0.12 * smoothstep(0.1, -0.1, height)
    inside = smoothstep(-0.003, 0.003, np.minimum(f.v - top, bottom - f.v)) * (bow > 0)
    c.cover(planes(lip) * shade, 0.9 * inside)
    opened = np.minimum(f.v - line + 0.001, line + gap * bow - f.v)
    opened = smoothstep(-0.002, 0.002, opened) * (bow > 0) * (gap > 0.003)
    c.cover(mix((0.95, 0.93, 0.90), (0.30, 0.10, 0.10), np.abs(along) ** 3), opened)
    seam = smoothstep(0.005, 0.0, np.abs(f.v - line)) * np.sqrt(bow) * (gap <= 0.003)
    c.cover(lip * 0.3, 0.8 * seam)


def beard(f: Face, head: np.ndarray) -> None:
    """A beard, from a shadow to a full one, within the mask of the head (n, n)."""
    cheek = f.v - 0.60 - 0.9 * np.maximum(0.14 - np.abs(f.u - f.turn), 0)
    lip = f.blob(f.turn, 0.660, 0.075, 0.018)
    cover = np.maximum(smoothstep(0.0, 0.05, cheek), smoothstep(0.3, 0.8, lip))
    stubble = 0.8 + 0.14 * f.c.noise(64, 64, 2)
    f.c.cover(f.hair * 0.9, np.clip(f.c.rng.uniform(0.15, 0.9) * cover * stubble, 0, 1) * head)


def glasses(f: Face) -> None:
    """Round or square glasses, some of them dark."""
    c, rng = f.c, f.c.rng
    out = np.abs(f.u - f.turn) - EYE_APART - 0.004
    power = 2.0 if rng.random() < 0.5 else 4.0
    rim = np.abs(out / 0.080) ** power + np.abs((f.v - EYE_LINE - 0.006) / 0.058) ** power
    rim = rim ** (1 / power)
    tint = 0.9 if rng.random() < 0.3 else 0.06
    lens = mix((0.05, 0.05, 0.07), (0.45, 0.45, 0.5), np.clip((f.v - 0.42) * 4, 0, 1))
    c.cover(lens, tint * smoothstep(1.0, 0.96, rim))
    frame = smoothstep(0.13, 0.05, np.abs(rim - 1))
    bars = (np.abs(f.u - f.turn) < 0.042) | (np.abs(f.u - f.turn) > 0.196)
    bars = bars & (np.abs(f.u) < f.width + 0.005)
    frame = np.maximum(frame, smoothstep(0.008, 0.004, np.abs(f.v - EYE_LINE + 0.006)) * bars)
    c.cover(c.tone(rng.choice(_FRAMES)), frame)
