"""Painters of scenes among houses: city, night_street, village."""

import numpy as np

from cdlib.data.synthetic.canvas import Canvas, mix, planes, rectangle, smoothstep
from cdlib.data.synthetic.scenery import facade, grass, hills, lamps, sky, tree, treeline

_FRONTS = ((0.62, 0.58, 0.54), (0.55, 0.38, 0.30), (0.46, 0.52, 0.58))
_PLASTERS = ((0.90, 0.86, 0.76), (0.66, 0.36, 0.26), (0.86, 0.72, 0.48), (0.80, 0.82, 0.84))
_TILES = ((0.56, 0.24, 0.16), (0.34, 0.30, 0.30), (0.46, 0.32, 0.22))


def city(c: Canvas) -> None:
    """A skyline of blocks by day, in three depths, behind a road or a park."""
    u = c.rng.uniform
    street = u(0.74, 0.88)
    haze = sky(c, street)
    for distance in (0.6, 0.3, 0.0):
        left = u(-0.15, 0.0)
        while left < 1.0:
            width = u(0.10, 0.22)
            top = street - u(0.18, 0.52) * (1.0 + 0.3 * distance)
            wall = c.tone(c.rng.choice(_FRONTS), 0.10)
            wall = wall + (haze - wall) * distance
            facade(c, (left, top, left + width, street), wall, 0.04)
            left += width + u(-0.01, 0.05 + 0.2 * (1 - distance))
    if c.rng.random() < 0.4:
        grass(c, street, street - 0.1, c.tone((0.24, 0.38, 0.16)))
    else:
        asphalt = planes(c.tone((0.32, 0.32, 0.34))) + 0.03 * c.noise(48, 48, 2)
        c.cover(asphalt, c.below(street))
        c.cover((0.58, 0.56, 0.53), c.below(street) * (1 - c.below(street + 0.03)))
        dashes = (np.abs(c.y - (street + 1.05) / 2) < 0.008) & ((c.x * 5 + u(0, 1)) % 1 < 0.6)
        c.cover((0.92, 0.90, 0.80), dashes.astype(np.float32))
    for x in u(0, 1, c.rng.integers(0, 5)):
        tree(c, x, street + 0.03, u(0.14, 0.24), c.tone((0.20, 0.34, 0.14)))


def night_street(c: Canvas) -> None:
    """A street in perspective between lit houses, with lamps and a wet road."""
    u = c.rng.uniform
    middle, eye = u(0.35, 0.65), u(0.50, 0.62)
    sky(c, eye, ("night",))
    road = ~_street_fronts(c, middle, eye) & (c.y > eye)
    wetness = u(0.2, 0.7) * smoothstep(-1.2, 1.0, c.noise(3, 20, 3))
    mirrored = c.pixels[:, np.clip((2 * (eye + 0.02) - c.y[:, 0]) * c.n, 0, c.n - 1).astype(int)]
    asphalt = planes((0.07, 0.06, 0.08)) + 0.016 * c.floor_noise(eye)
    c.pixels = np.where(road, asphalt + 0.8 * wetness * mirrored, c.pixels)
    pairs = np.repeat(1.5 ** np.arange(5) * u(0.8, 1.2), 2)  # further lamps are divided by more
    sides = np.where(np.arange(10) % 2, 1, -1)
    heads = np.column_stack([middle + sides * 0.33 / pairs, eye - 0.26 / pairs])
    posts = [rectangle(x - 0.004, y, x + 0.004, 2.05 * eye - y) for x, y in heads]
    c.cover((0.05, 0.05, 0.06), c.polygons(posts))
    lamps(c, heads, u(0.15, 0.3), c.tone((1.0, 0.78, 0.45)))


def _street_fronts(c: Canvas, middle: float, eye: float) -> np.ndarray:
    """Paint two rows of houses that recede to (middle, eye); returns the mask of all above ground.

    A picture column sees its front at one distance, so height and length along the street follow
    by division: windows laid out evenly on the front come out in perspective.
    """
    u = c.rng.uniform
    distance = 0.45 / (np.abs(c.x - middle) + 0.01)  # to the fronts, in street widths
    up = (eye - c.y) * distance  # height over the eye on the fronts
    house = np.minimum(distance * 1.3, 31).astype(int) + 32 * (c.x > middle)
    roof = u(0.45, 1.2, 64).astype(np.float32)[house]
    shade = u(0.2, 0.5, 64).astype(np.float32)[house] * smoothstep(12, 0.5, distance)
    column, row = distance * 5.5, (up + 0.3) * 5.0
    window = (column % 1 < 0.55) & (np.abs(row % 1 - 0.55) < 0.3) & (up < roof - 0.08)
    lights = c.rng.random((64, 16)) < u(0.25, 0.6)
    lit = window & lights[column.astype(int) % 64, np.clip(row, 0, 15).astype(int)]
    wall = planes(c.tone((0.75, 0.66, 0.62))) * (shade * (1 + 0.15 * c.noise(32, 32, 2)))
    wall = mix(wall, (0.03, 0.03, 0.05), window * np.float32(0.8))
    wall = mix(wall, (1.5, 1.12, 0.55), lit * smoothstep(14, 2, distance))
    above_ground = up > -0.32
    c.cover(wall, ((up < roof) & above_ground).astype(np.float32))
    return above_ground


def village(c: Canvas) -> None:
    """Gabled houses on a green before hills, with a path and trees."""
    u = c.rng.uniform
    ground = u(0.62, 0.76)
    haze = sky(c, ground)
    c.cover(mix(c.tone((0.30, 0.44, 0.18)), haze, 0.4), c.below(hills(c, ground - 0.14, 0.05)))
    treeline(c, ground, u(0.05, 0.14), c.tone((0.18, 0.30, 0.12)))
    grass(c, ground, ground - 0.15, c.tone((0.30, 0.46, 0.16)))
    grain = c.noise(64, 64, 2)
    left = u(-0.10, 0.05)
    while left < 0.9:
        width = u(0.24, 0.38)
        _house(c, left, ground + u(0.0, 0.06), width, grain)
        left += width + u(0.02, 0.16)
    for x in u(0, 1, c.rng.integers(0, 4)):
        tree(c, x, ground + u(0.06, 0.14), u(0.25, 0.45), c.tone((0.20, 0.36, 0.12)))
    bend = u(0.2, 0.8) + u(-0.3, 0.3) * (c.y - ground)
    path = np.abs(c.x - bend) - (0.03 + 0.3 * (c.y - ground)) + 0.012 * c.noise(12, 12, 3)
    earth = planes(c.tone((0.66, 0.58, 0.46))) + 0.04 * c.noise(64, 48, 2)
    c.cover(earth, smoothstep(0.01, -0.01, path) * c.below(ground + 0.06))


def _house(c: Canvas, left: float, foot: float, width: float, grain: np.ndarray) -> None:
    u = c.rng.uniform
    right, eaves, ridge = left + width, foot - width * u(0.55, 0.75), width * u(0.35, 0.6)
    courses = np.float32(0.05) * ((c.y * 60) % 1 < 0.25)
    body = c.polygons([rectangle(left, eaves, right, foot)])
    c.cover(planes(c.tone(c.rng.choice(_PLASTERS))) - 0.05 * grain - courses, body)
    if c.rng.random() < 0.6:
        x = u(left + 0.2 * width, right - 0.25 * width)
        stack = rectangle(x, eaves - 1.15 * ridge, x + 0.1 * width, eaves)
        c.cover(c.tone((0.46, 0.28, 0.22)), c.polygons([stack]))
    inset = width * (0.5 if c.rng.random() < 0.5 else 0.12)
    upper, lower, over = eaves - ridge, eaves + 0.03 * width, 0.06 * width
    roof = rectangle(left - over, upper, right + over, lower)
    roof[:2, 0] = left + inset, right - inset
    rows = 0.88 + 0.22 * ((eaves - c.y) * 45 % 1) + 0.10 * grain
    c.cover(planes(c.tone(c.rng.choice(_TILES))) * rows, c.polygons([roof]))
    c.cover((0.20, 0.16, 0.14), 0.5 * body * smoothstep(0.05, 0.0, c.y - eaves))
    _openings(c, left, eaves, foot, width)


def _openings(c: Canvas, left: float, eaves: float, foot: float, width: float) -> None:
    """Two windows and a door, in any order."""
    high, half, sill = foot - eaves, 0.075 * width, 0.06 * width
    top, bottom = eaves + 0.22 * high, foot - 0.38 * high
    *windows, door = left + width * (0.2 + 0.3 * c.rng.permutation(3))
    frames = [rectangle(x - half - sill, top, x + half + sill, bottom) for x in windows]
    panes = [rectangle(x - half, top + sill, x + half, bottom) for x in windows]
    leaf = rectangle(door - half, eaves + 0.35 * high, door + half, foot)
    c.cover(c.tone((0.93, 0.92, 0.88)), c.polygons(frames))
    c.cover(c.tone((0.20, 0.26, 0.34)), c.polygons(panes))
    c.cover(c.tone((0.36, 0.20, 0.14), 0.1), c.polygons([leaf]))
