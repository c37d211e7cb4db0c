"""The parts that procedural scenes share: skies, ridges, grounds, trees, buildings.

A part is painted on a `Canvas` in place. That scenes share them is on purpose: a torn-off edge of
plain sky fits several kinds of scene, as in photographs.
"""

import cv2
import numpy as np

from cdlib.data.synthetic.canvas import Canvas, Colour, mix, planes, smoothstep

# Zenith, horizon, light: the light multiplies every colour on the ground.
SKIES = {
    "noon": ((0.16, 0.40, 0.80), (0.66, 0.83, 0.96), (1.02, 1.00, 0.96)),
    "hazy": ((0.50, 0.64, 0.78), (0.86, 0.88, 0.88), (0.92, 0.92, 0.90)),
    "golden": ((0.36, 0.50, 0.74), (0.98, 0.82, 0.58), (1.06, 0.90, 0.70)),
    "overcast": ((0.50, 0.54, 0.59), (0.78, 0.80, 0.82), (0.78, 0.80, 0.84)),
    "dusk": ((0.24, 0.24, 0.46), (0.88, 0.56, 0.52), (0.70, 0.60, 0.72)),
    "sunset": ((0.20, 0.18, 0.42), (1.00, 0.56, 0.18), (0.62, 0.42, 0.36)),
    "night": ((0.01, 0.02, 0.06), (0.08, 0.08, 0.16), (0.55, 0.50, 0.50)),
}
DAY = ("noon", "noon", "hazy", "golden", "overcast")


def sky(canvas: Canvas, horizon: float, times: tuple[str, ...] = DAY) -> np.ndarray:
    """Paint a sky over the whole canvas and set its light; returns the haze colour (3,)."""
    rng = canvas.rng
    zenith, haze, light = SKIES[times[rng.integers(len(times))]]
    zenith, haze = canvas.tone(zenith), canvas.tone(haze)
    height = np.clip(1 - canvas.y / horizon, 0, 1) ** rng.uniform(0.6, 1.1)
    canvas.pixels[:] = mix(haze, zenith, height)
    canvas.light = planes(light)
    _clouds(canvas, haze, horizon)
    return haze


def _clouds(canvas: Canvas, haze: np.ndarray, horizon: float) -> None:
    rng = canvas.rng
    billows = canvas.noise(3, int(rng.integers(4, 10)), 5)
    threshold = rng.uniform(-0.2, 1.8)
    alpha = smoothstep(threshold, threshold + 1.0, billows) * rng.uniform(0.5, 0.95)
    lit = np.minimum(haze + 0.35, 1.0)
    shaded = haze * 0.82
    canvas.cover(mix(lit, shaded, smoothstep(0.8, 2.6, billows)), alpha * (canvas.y < horizon))


def sun(canvas: Canvas, x: float, y: float, radius: float, colour: Colour) -> None:
    """Add a bright disc with a glow around it."""
    distance = np.sqrt((canvas.x - x) ** 2 + (canvas.y - y) ** 2)
    glow = 0.6 * np.exp(-distance / 0.16) + smoothstep(radius * 1.15, radius, distance)
    canvas.pixels += planes(colour) * glow


def lamps(canvas: Canvas, centres: np.ndarray, reach: float, colour: Colour) -> None:
    """Add small lights at centres (k, 2), each with a halo of the given reach."""
    coarse = (np.arange(64, dtype=np.float32) + 0.5) / 64  # a halo is smooth: draw it small
    x, y = centres.astype(np.float32).T[:, :, None, None]
    square = ((coarse - x) ** 2 + (coarse[:, None] - y) ** 2) / reach**2
    halo = (0.5 / (1 + 30 * square)).sum(axis=0)
    halo = cv2.resize(halo, (canvas.n, canvas.n), interpolation=cv2.INTER_CUBIC)
    bulbs = canvas.discs(centres, np.full(len(centres), 0.012))
    canvas.pixels += planes(colour) * (halo + bulbs)


def peaks(canvas: Canvas, base: float, height: float, count: int) -> np.ndarray:
    """The skyline (n,) of a mountain range that rises `height` above `base` at the most."""
    rng = canvas.rng
    tops = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count
    heights = height * rng.uniform(0.5, 1.0, count)
    slopes = rng.uniform(0.7, 1.5, count)
    slopes_down = heights[:, None] - slopes[:, None] * np.abs(canvas.x - tops[:, None])
    profile = np.maximum(slopes_down.max(axis=0), 0.1 * height)
    return (base - profile - 0.05 * height * canvas.line_noise(10, 4)).astype(np.float32)


def hills(canvas: Canvas, base: float, height: float, cells: int = 2) -> np.ndarray:
    """A rolling skyline (n,) about `base`; `height` is its standard deviation."""
    return base - height * canvas.line_noise(cells, 2)


def emboss(field: np.ndarray, from_right: bool) -> np.ndarray:
    """Relief of a height field (n, n) lit from one side and above: light slopes are above 0."""
    step = max(len(field) // 64, 1)
    before = np.maximum(np.arange(len(field)) - step, 0)
    across, down = field - field[:, before], field - field[before]
    return (0.5 * down - across if from_right else 0.5 * down + across) * (len(field) / 64 / step)


def flanks(top: np.ndarray, from_right: bool) -> np.ndarray:
    """The light on a skyline (n,) from one side: 1 on the slopes that face it, -1 on the others."""
    faces = np.sign(np.gradient(top)) * (1 if from_right else -1)
    width = max(len(top) // 16, 1)
    return np.convolve(faces, np.full(width, 1 / width), mode="same").astype(np.float32)


def grass(canvas: Canvas, top: np.ndarray | float, horizon: float, colour: Colour) -> None:
    """Cover what lies under `top` with grass: blades close by, patches further off."""
    patches = canvas.floor_noise(horizon, 14, 10)
    blades = canvas.noise(48, 16, 2) * smoothstep(0.0, 0.4, canvas.y - horizon)
    shade = 0.5 + 0.16 * patches + 0.15 * blades
    dark, light = planes(colour) * 0.5, planes(colour) * 1.45 + planes((0.06, 0.05, 0.0))
    canvas.cover(mix(dark, light, shade), canvas.below(top))


def treeline(canvas: Canvas, base: float, height: float, colour: Colour) -> None:
    """A distant wood that stands on y = base, with a ragged top."""
    top = base - height * (1 + 0.18 * canvas.line_noise(24, 3))
    shade = 0.5 + 0.3 * canvas.noise(32, 32, 2)
    dark = planes(colour) * 0.55
    canvas.cover(mix(dark, colour, shade), canvas.below(top) * (1 - canvas.below(base)))


def tree(canvas: Canvas, x: float, base: float, height: float, colour: Colour) -> None:
    """A broad-leaved tree whose trunk stands at (x, base)."""
    rng = canvas.rng
    width = height * rng.uniform(0.03, 0.05)
    trunk = [(x - width, base), (x - width / 2, base - height), (x + width, base)]
    canvas.cover(canvas.tone((0.26, 0.19, 0.13)), canvas.polygons([np.array(trunk)]))
    spread = rng.normal(0, 1, (20, 2)) * (height * 0.13, height * 0.10)
    centres = np.array((x, base - height * 0.68)) + spread
    crown = canvas.discs(centres, height * rng.uniform(0.10, 0.17, 20))
    leaves = canvas.noise(24, 24, 3)
    lift = (base - height * 0.65 - canvas.y) / height
    shade = np.clip(0.42 + 1.1 * lift + 0.26 * leaves, 0, 1)
    ragged = crown * smoothstep(-2.2, -1.5, leaves)
    canvas.cover(mix(planes(colour) * 0.35, planes(colour) * 1.5, shade), ragged)


def conifers(canvas: Canvas, feet: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The mask of fir trees: feet (k, 2) and heights (k,)."""
    tiers = 6
    down = np.repeat(np.linspace(0.0, 0.92, tiers + 1), 2)[1:]  # from the tip, in tree heights
    out = 0.04 + 0.24 * down * np.where(np.arange(len(down)) % 2, 1.0, 0.55)
    out[0] = 0.0
    side = np.column_stack([out, down - 1])
    outline = np.concatenate([side, [(0.03, -0.08), (0.03, 0.0)]])
    outline = np.concatenate([outline, outline[::-1] * (-1, 1)])
    return canvas.polygons(
        foot + outline * height for foot, height in zip(feet, heights, strict=True)
    )


def facade(
    canvas: Canvas, box: tuple[float, float, float, float], wall: Colour, lit: float
) -> None:
    """A block of flats or offices in the box (left, top, right, bottom), with rows of windows.

    `lit` is the share of windows with a light on.
    """
    rng = canvas.rng
    left, top, right, bottom = box
    pitch_x, pitch_y = rng.uniform(0.026, 0.045), rng.uniform(0.032, 0.055)
    open_x, open_y = rng.uniform(0.45, 0.8), rng.uniform(0.4, 0.75)
    lights = rng.random((32, 32)) < lit
    glass = canvas.tone((0.22, 0.30, 0.40), 0.1)
    rows = slice(max(round(top * canvas.n), 0), max(round(bottom * canvas.n), 0))
    columns = slice(max(round(left * canvas.n), 0), max(round(right * canvas.n), 0))
    across, down = (canvas.x[:, columns] - left) / pitch_x, (canvas.y[rows] - top) / pitch_y
    window = ((across % 1 < open_x) & (down % 1 < open_y) & (down > 0.5)).astype(np.float32)
    bright = lights[down.astype(int) % 32, across.astype(int) % 32]
    shade = 1.08 - 0.25 * (canvas.x[:, columns] - left) / (right - left)
    pane = np.where(bright, planes((1.0, 0.82, 0.45)) / canvas.light, planes(glass))
    block = mix(planes(wall) * shade, pane, window)
    canvas.pixels[:, rows, columns] = block * canvas.light
