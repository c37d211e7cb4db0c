"""Painters of scenes by the water: beach, sunset_sea, lake."""

import numpy as np

from cdlib.data.synthetic.canvas import Canvas, mix, rectangle, smoothstep
from cdlib.data.synthetic.scenery import conifers, emboss, peaks, sky, sun, treeline


def beach(c: Canvas) -> None:
    """Sea, surf and sand; the shore may slope either way."""
    u = c.rng.uniform
    horizon = u(0.30, 0.50)
    sky(c, horizon, ("noon", "noon", "hazy", "golden"))
    shore = horizon + u(0.10, 0.25) + u(-0.25, 0.25) * (c.x[0] - 0.5) + 0.02 * c.line_noise(4, 3)
    depth = np.clip((c.y - horizon) / (shore - horizon), 0, 1)
    swell = c.floor_noise(horizon, 10, 50)
    water = mix(c.tone((0.05, 0.30, 0.50)), c.tone((0.35, 0.72, 0.72)), depth**1.5)
    c.cover(water + 0.06 * swell, c.below(horizon))
    crest = smoothstep(0.9, 1.6, swell + 1.2 * np.sin(depth * 22)) * smoothstep(0.3, 0.8, depth)
    c.cover((0.95, 0.97, 0.97), 0.7 * crest * c.below(horizon))
    grain = c.floor_noise(horizon, 30, 30) * 0.035 + c.noise(64, 64, 2) * 0.025
    dry = c.tone((0.86, 0.74, 0.54))
    wetness = smoothstep(0.14, 0.0, c.y - shore)
    c.cover(mix(dry, dry * 0.66, wetness) + grain + 0.03 * c.noise(4, 6, 3), c.below(shore))
    lace = np.abs(c.y - shore - 0.01 * c.noise(10, 10, 3))
    c.cover((0.97, 0.98, 0.98), smoothstep(0.028, 0.008, lace))
    for _ in range(c.rng.integers(0, 4)):
        _parasol(c, u(0.05, 0.95), u(0.74, 0.95))


def _parasol(c: Canvas, x: float, foot: float) -> None:
    size = 0.16 * (foot - 0.2)
    top = foot - 1.3 * size
    shade = [(x - size, foot), (x + 1.3 * size, foot + 0.02), (x, foot + 0.04)]
    c.cover((0.45, 0.38, 0.30), 0.6 * c.polygons([np.array(shade)]))
    pole = rectangle(x - 0.006, top, x + 0.006, foot)
    c.cover((0.92, 0.92, 0.90), c.polygons([pole]))
    roof = c.discs(np.array([(x, top)]), np.array([size])) * (1 - c.below(top))
    stripes = (((c.x - x) / size * 2.5 + 0.5) % 1 < 0.5) + 0 * c.y
    hue = c.rng.permutation([0.85, 0.25, 0.2])
    c.cover(mix(hue, (0.95, 0.93, 0.88), stripes), roof)


def sunset_sea(c: Canvas) -> None:
    """A low sun over dark water, its glitter below it, with boats or headlands in silhouette."""
    u = c.rng.uniform
    horizon = u(0.45, 0.65)
    sky(c, horizon, ("sunset",))
    x, y = u(0.15, 0.85), horizon - u(-0.01, 0.18)
    sun(c, x, y, u(0.03, 0.06), c.tone((1.0, 0.72, 0.34)))
    c.light = np.ones((3, 1, 1), np.float32)
    swell = c.floor_noise(horizon, 8, 55) + 0.4 * c.noise(10, 48, 2)
    depth = (c.y - horizon) / (1 - horizon)
    water = mix(c.tone((0.70, 0.38, 0.22)), c.tone((0.07, 0.08, 0.18)), np.clip(depth, 0, 1) ** 0.6)
    c.cover(water * (1 + 0.22 * swell), c.below(horizon))
    column = np.exp(-(((c.x - x) / (0.03 + 0.12 * depth)) ** 2))
    glitter = column * smoothstep(-0.4, 1.0, swell)
    c.cover((1.0, 0.80, 0.45), 0.9 * glitter * c.below(horizon))
    dark = c.tone((0.08, 0.06, 0.09), 0.02)
    if c.rng.random() < 0.5:
        slope = (c.x[0] - 0.5) * (1 if c.rng.integers(2) else -1) - u(0.05, 0.3)
        land = horizon - 0.35 * np.maximum(slope, 0) * (1 + 0.2 * c.line_noise(8, 4))
        c.cover(dark, c.below(land) * (1 - c.below(horizon + 0.008)))
    for _ in range(c.rng.integers(0, 3)):
        _boat(c, u(0.1, 0.9), horizon, u(0.06, 0.16), dark)


def _boat(c: Canvas, x: float, horizon: float, size: float, colour: np.ndarray) -> None:
    hull = [(-0.5, -0.12), (0.5, -0.12), (0.35, 0.05), (-0.4, 0.05)]
    mainsail = [(0.0, -1.0), (0.0, -0.18), (0.42, -0.18)]
    jib = [(-0.05, -0.85), (-0.05, -0.18), (-0.35, -0.18)]
    waterline = (x, horizon + 0.25 * size)
    parts = [np.array(part) * size + waterline for part in (hull, mainsail, jib)]
    c.cover(colour, c.polygons(parts))


def lake(c: Canvas) -> None:
    """Still water that mirrors hills, woods and sky, with reeds before it."""
    u = c.rng.uniform
    shore = u(0.42, 0.60)
    haze = sky(c, shore)
    for distance in (0.6, 0.3):
        top = peaks(c, shore, u(0.12, 0.30), int(c.rng.integers(2, 5)))
        tint = mix(c.tone((0.22, 0.32, 0.24)), haze, distance)
        c.cover(tint * (1 + 0.15 * emboss(c.noise(6, 6, 4), True)), c.below(top))
    treeline(c, shore, u(0.04, 0.10), c.tone((0.12, 0.24, 0.10)))
    count = int(c.rng.integers(0, 8))
    feet = np.column_stack([u(0, 1, count), np.full(count, shore + 0.005)])
    c.cover(c.tone((0.07, 0.17, 0.11)), conifers(c, feet, u(0.1, 0.2, count)))
    ripple = c.floor_noise(shore, 6, 60)
    source = 2 * shore - c.y + 0.012 * ripple * (c.y - shore) / 0.2
    rows = np.clip(source * c.n, 0, c.n - 1).astype(int)
    mirror = np.take_along_axis(c.pixels, np.broadcast_to(rows, c.pixels.shape), axis=1)
    murk = 0.15 + 0.3 * (c.y - shore)
    light, c.light = c.light, np.ones((3, 1, 1), np.float32)  # the mirror image is lit already
    c.cover(mix(mirror * 0.82, (0.10, 0.22, 0.28), murk) + 0.03 * ripple, c.below(shore))
    c.light = light
    reeds = int(c.rng.integers(0, 60))
    roots = u(0.0, 0.5) + c.rng.normal(0, 0.12, reeds)
    heights, bends = u(0.15, 0.4, reeds), c.rng.normal(0, 0.04, reeds)
    stalks = [
        np.array([(x - 0.006, 1.02), (x + bend, 1.02 - height), (x + 0.006, 1.02)])
        for x, height, bend in zip(roots, heights, bends, strict=True)
    ]
    c.cover(mix(c.tone((0.16, 0.24, 0.08)), (0.46, 0.46, 0.2), 1 - c.y), c.polygons(stalks))
