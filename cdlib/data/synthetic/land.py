"""Painters of land scenes: mountains, forest, desert, snowfield, meadow, canyon."""

import numpy as np

from cdlib.data.synthetic.canvas import Canvas, mix, planes, smoothstep
from cdlib.data.synthetic.scenery import (
    conifers,
    emboss,
    flanks,
    grass,
    hills,
    peaks,
    sky,
    tree,
    treeline,
)


def mountains(c: Canvas) -> None:
    """Ranges in haze, the near one rocky and capped with snow, over woods and grass."""
    u = c.rng.uniform
    base = u(0.68, 0.85)
    haze = sky(c, base)
    from_right = bool(c.rng.integers(2))
    snow_line = u(0.15, 0.65)
    rock = c.tone((0.36, 0.34, 0.36), 0.06)
    for distance in (0.65, 0.3, 0.0):
        height = (base - 0.12) * u(0.75, 1.0) * (0.5 + 0.5 * (1 - distance))
        top = peaks(c, base, height, int(c.rng.integers(2, 5)))
        crags = c.noise(7, 5, 4)
        relief = 0.20 * flanks(top, from_right) + 0.42 * emboss(crags, from_right)
        shade = np.clip(0.55 + relief, 0, 1.2)
        stone = planes(rock) * (0.4 + shade)
        reach = snow_line * height + 0.05 * crags - (c.y - top)
        white = planes((0.72, 0.78, 0.90)) + 0.3 * (shade - 0.3)
        body = mix(stone, white, smoothstep(-0.03, 0.03, reach))
        c.cover(mix(body, haze / c.light[:, 0, 0], distance), c.below(top))
    treeline(c, 1.0, 1.0 - base + u(0.0, 0.05), c.tone((0.10, 0.20, 0.12)))
    grass(c, hills(c, base + u(0.06, 0.12), 0.01), base, c.tone((0.24, 0.36, 0.14), 0.05))


def forest(c: Canvas) -> None:
    """Trunks in depth under a roof of leaves; the far ones drown in light."""
    u = c.rng.uniform
    ground = u(0.62, 0.78)
    leaf, bark = [
        ((0.22, 0.42, 0.12), (0.24, 0.18, 0.13)),
        ((0.14, 0.32, 0.14), (0.30, 0.21, 0.15)),
        ((0.62, 0.38, 0.10), (0.22, 0.17, 0.14)),
        ((0.40, 0.50, 0.14), (0.72, 0.70, 0.66)),
    ][c.rng.integers(4)]
    leaf, bark = c.tone(leaf), c.tone(bark)
    glow = planes(np.minimum(leaf * 0.9 + 0.42, 1))
    centre = np.exp(-(((c.x - u(0.2, 0.8)) / 0.4) ** 2) - ((c.y - 0.45) / 0.35) ** 2)
    c.pixels[:] = mix(leaf * 0.5, glow, centre) + 0.06 * c.noise(16, 16, 4)
    for near in (0.25, 0.55, 1.0):
        foot = ground + 0.22 * (near - 0.25)
        if near == 0.55:
            floor = mix(leaf * 0.8, c.tone((0.34, 0.25, 0.15)), smoothstep(-1, 1, c.noise(5, 8)))
            litter = 0.10 * c.floor_noise(0.5, 26, 20) + 0.05 * c.noise(48, 48, 2)
            c.cover(floor * 0.8 + litter, c.below(hills(c, ground, 0.01)))
        _trunks(c, near, foot, mix(glow, bark, near**0.7))
    canopy = c.noise(7, 7, 5) + 2.6 * smoothstep(u(0.25, 0.5), -0.1, c.y) - 1.2
    shade = smoothstep(-1.5, 2.0, c.noise(28, 28, 3))
    c.cover(mix(leaf * 0.35, leaf * 1.5 + 0.05, shade), smoothstep(0.0, 0.35, canopy))


def _trunks(c: Canvas, near: float, foot: float, bark: np.ndarray) -> None:
    count = int(c.rng.integers(3, 6) / near**0.6)
    middles = (np.arange(count) + c.rng.uniform(0.1, 0.9, count)) / count
    halves = near * c.rng.uniform(0.018, 0.045, count)
    leans = c.rng.normal(0, 0.03, count)
    feet = foot + c.rng.uniform(-0.03, 0.05, count)
    shapes = [
        np.array([(m + s - 0.6 * h, 0), (m + s + 0.6 * h, 0), (m + h, f), (m - h, f)])
        for m, h, s, f in zip(middles, halves, leans, feet, strict=True)
    ]
    ridges = 1 + near * (0.22 * c.noise(48, 6, 2) + 0.10 * c.noise(6, 24, 2))
    c.cover(bark * ridges, c.polygons(shapes))


def desert(c: Canvas) -> None:
    """Dunes with a lit and a shaded side, and wind ripples."""
    u = c.rng.uniform
    horizon = u(0.35, 0.55)
    haze = sky(c, horizon, ("noon", "noon", "hazy", "golden", "dusk"))
    sand = c.tone((0.86, 0.60, 0.34), 0.06)
    from_right = bool(c.rng.integers(2))
    tops = np.linspace(horizon, u(0.75, 0.9), 4)
    for depth, base in enumerate(tops.tolist()):
        top = hills(c, base, 0.02 + 0.025 * depth)
        wave = c.x * u(6, 11) * (1 if from_right else -1) + u(0, 6.3)
        side = np.tanh(4 * np.sin(wave + 7 * (c.y - top) + 0.5 * c.noise(2, 2, 2)))
        phase = (c.y - top) * (160 - 30 * depth) + 2.2 * c.noise(3, 5, 3)
        ripples = np.sin(phase) * smoothstep(0.0, 0.12, c.y - top)
        shade = 0.86 + 0.15 * side + 0.05 * ripples
        body = planes(sand) * shade * planes((1.0, 0.98, 0.96)) + 0.02 * c.noise(64, 64, 2)
        c.cover(mix(body, haze / c.light[:, 0, 0], 0.35 - 0.11 * depth), c.below(top))
    for _ in range(c.rng.integers(0, 4)):
        _cactus(c, u(0.05, 0.95), u(0.7, 0.95))


def _cactus(c: Canvas, x: float, foot: float) -> None:
    height = c.rng.uniform(0.5, 0.8) * (foot - 0.35)
    thick = 0.09 * height
    joints = np.linspace(0, 1, 12)[:, None]
    stem = (x, foot) + joints * (0, -height)
    parts = [stem]
    for side in (-1, 1):
        elbow = np.array((x + side * 3.2 * thick, foot - height * c.rng.uniform(0.3, 0.55)))
        parts.append(elbow + joints * ((x - elbow[0]), 0.0))
        parts.append(elbow + joints * (0, -0.3 * height))
    centres = np.concatenate(parts)
    green = planes(c.tone((0.22, 0.36, 0.20))) * (1 - 0.35 * np.sin((c.x - x) / thick * 5))
    c.cover(green, c.discs(centres, np.full(len(centres), thick)))


def snowfield(c: Canvas) -> None:
    """Rolling snow with blue shadows and firs."""
    u = c.rng.uniform
    horizon = u(0.35, 0.55)
    sky(c, horizon, ("noon", "hazy", "overcast", "dusk"))
    c.light = c.light * 0.6 + 0.4
    treeline(c, horizon + 0.04, u(0.05, 0.12), c.tone((0.20, 0.26, 0.30)))
    from_right = bool(c.rng.integers(2))
    for base in (horizon, horizon + u(0.12, 0.2), u(0.75, 0.9)):
        top = hills(c, base, 0.025)
        drifts = 0.10 * emboss(c.noise(3, 5, 4), from_right) + 0.012 * c.noise(64, 64, 2)
        shade = np.clip(0.70 + 1.2 * drifts - 1.2 * (c.y - top - 0.1), 0, 1)
        c.cover(mix((0.56, 0.66, 0.84), (0.97, 0.97, 0.99), shade), c.below(top))
        count = int(c.rng.integers(1, 6))
        feet = np.column_stack([u(0, 1, count), base + u(0.0, 0.08, count)])
        firs = conifers(c, feet, u(0.22, 0.40, count) * (base + 0.25))
        laden = smoothstep(0.2, 0.9, c.noise(40, 64, 2))
        c.cover(mix(c.tone((0.09, 0.18, 0.15)), (0.88, 0.91, 0.96), laden), firs)
    if c.rng.random() < 0.4:
        flakes = c.discs(u(0, 1, (90, 2)), u(0.003, 0.009, 90))
        c.cover((1.0, 1.0, 1.0), 0.85 * flakes)


def meadow(c: Canvas) -> None:
    """A green field with flowers, hills and a few trees."""
    u = c.rng.uniform
    horizon = u(0.38, 0.60)
    haze = sky(c, horizon)
    green = c.tone((0.32, 0.52, 0.14), 0.06)
    for distance in (0.6, 0.3):
        far = mix(green * 0.8, haze, distance) + 0.04 * c.noise(16, 24, 3)
        c.cover(far, c.below(hills(c, horizon - 0.10 * distance, 0.03, 3)))
    grass(c, hills(c, horizon + 0.02, 0.01), horizon - 0.02, green)
    flower = [(0.95, 0.85, 0.15), (0.86, 0.14, 0.16), (0.95, 0.93, 0.95), (0.60, 0.36, 0.80)][
        c.rng.integers(4)
    ]
    count = int(c.rng.integers(20, 220))
    down = u(0.02, 1.0, count)
    spots = np.column_stack([u(0, 1, count), horizon + 0.05 + (0.95 - horizon) * down])
    c.cover(c.tone(flower), c.discs(spots, 0.003 + 0.014 * down))
    for x in u(0, 1, c.rng.integers(0, 4)):
        tree(c, x, horizon + u(0.04, 0.12), u(0.22, 0.42), c.tone((0.20, 0.36, 0.12)))


def canyon(c: Canvas) -> None:
    """Layered red walls on both sides of a gap, with a river or a dry bed below."""
    u = c.rng.uniform
    floor = u(0.70, 0.82)
    haze = sky(c, 0.75, ("noon", "noon", "hazy", "golden"))
    gap = u(0.3, 0.7)
    back = floor - 0.14
    bed = planes(c.tone((0.70, 0.47, 0.32))) + 0.05 * c.floor_noise(back, 20, 20)
    c.cover(bed + 0.04 * c.noise(48, 32, 2), c.below(back))
    dark, pale = c.tone((0.44, 0.17, 0.11), 0.06), c.tone((0.90, 0.60, 0.40), 0.06)
    strata = u(0, 1, 64).astype(np.float32)
    for distance in (0.55, 0.25, 0.0):
        rough = c.noise(5, 8, 5)
        level = c.y * u(18, 26) + 0.35 * rough + u(8, 24)
        rock = mix(dark, pale, strata[level.astype(int)])
        aside = c.x - gap - u(-0.06, 0.06)
        rise = floor - c.y
        terraces = 0.014 * np.tanh(3 * np.sin(rise * u(30, 48))) + 0.012 * rough
        width = np.abs(aside) - 0.05 - 0.28 * (0.55 - distance)
        reach = width - u(0.15, 0.45) * rise - terraces
        top = hills(c, 0.02 + 0.5 * distance, 0.05, 3)
        foot = floor + 0.5 * (0.55 - distance) * width + 0.01 * rough - 0.1 * distance
        side = np.float32(0.12 * (1 if c.rng.integers(2) else -1)) * np.sign(aside)
        shade = 0.84 + side + 0.25 * emboss(rough, True) + 0.09 * c.noise(40, 4, 3)
        mask = smoothstep(-0.006, 0.006, reach) * c.below(top)
        mask *= smoothstep(0.006, -0.006, c.y - foot)
        c.cover(mix(rock * shade, haze / c.light[:, 0, 0], 0.9 * distance), mask)
    if c.rng.random() < 0.6:
        below = np.maximum(c.y - back, 0)
        middle = gap + 0.09 * np.sin(below * u(8, 16)) * (below / 0.3)
        stream = smoothstep(0.006, -0.006, np.abs(c.x - middle) - 0.42 * below)
        water = planes(c.tone((0.20, 0.40, 0.42))) + 0.05 * c.floor_noise(back, 8, 40)
        c.cover(water, stream * c.below(back + 0.01))
