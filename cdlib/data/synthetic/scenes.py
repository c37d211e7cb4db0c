"""Procedural outdoor scenes: the embedded stand-in for the paper's Places images (sec. 4).

A scene is a function of (index, seed) alone; its label is its kind. Skies, woods and grounds are
shared between kinds, so parts of a picture fit several labels: the conflict the paper speaks of.
"""

import numpy as np

from cdlib.data.synthetic import land, town, water
from cdlib.data.synthetic.canvas import seeded_canvas

_STREAM = 0

_PAINTERS = {
    painter.__name__: painter
    for painter in (
        water.beach,
        land.mountains,
        land.forest,
        town.city,
        land.desert,
        land.snowfield,
        land.meadow,
        town.night_street,
        water.sunset_sea,
        land.canyon,
        water.lake,
        town.village,
    )
}

SCENES: tuple[str, ...] = tuple(_PAINTERS)


def draw_scene(index: int, size: int, seed: int) -> tuple[np.ndarray, int]:
    """Draw one scene: uint8 (size, size, 3) RGB and its label, an index into `SCENES`.

    The label is index % len(SCENES), which keeps the kinds balanced. The same (index, seed) gives
    the same layout at every size.

    Raises:
        ValueError: an index or seed below 0, or a size below 8 pixels.
    """
    canvas = seeded_canvas(index, size, seed, _STREAM)
    label = index % len(SCENES)
    _PAINTERS[SCENES[label]](canvas)
    return canvas.finish(), label
