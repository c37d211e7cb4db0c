"""The hair of a portrait: what hangs behind the head, and what falls before it."""

import cv2
import numpy as np

from cdlib.data.synthetic.canvas import fractal, mix, smoothstep
from cdlib.data.synthetic.portrait import TEMPLES, Face


def strand_colours(f: Face, parting: float) -> np.ndarray:
    """The hair's colour (3, n, n): strands that fan out from the parting, with a sheen."""
    fan = (f.u - parting) / (np.maximum(f.v - f.crown, 0) + 0.16)
    tile = fractal(f.c.rng, 24, 3, 4)
    columns = fan * 26 + 96 + 60 * f.style.curl * np.sin(f.v * 40)
    rows = np.broadcast_to(f.v * 20, columns.shape)
    strands = cv2.remap(
        tile, columns, rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    sheen = 0.6 * np.exp(-(((f.v - f.crown - 0.09) / 0.05) ** 2))
    shade = 0.36 + 0.20 * strands + 0.25 * sheen + 0.7 * f.light * f.u
    return mix(f.hair * 0.35, np.minimum(f.hair * 1.5 + 0.10, 1), np.clip(shade, 0, 1.2))


def hair_outline(f: Face) -> np.ndarray:
    """The mask (n, n) of the head of hair as seen from behind."""
    s = f.style
    top = f.crown - s.volume
    rise = np.clip((TEMPLES - f.v) / (TEMPLES - top), 0, 1)
    half = (f.width + s.volume) * (np.sqrt(1 - rise**2) + 0.15 * np.maximum(f.v - TEMPLES, 0))
    edge = s.curl * f.c.noise(9, 9, 3)
    inside = smoothstep(0.006, -0.006, np.abs(f.u) - half + edge)
    inside *= smoothstep(0.02, -0.02, f.v - s.length + 2 * edge)
    return inside * smoothstep(-0.008, 0.008, f.v - top + edge)


def front_hair(f: Face, strands: np.ndarray, outline: np.ndarray, parting: float) -> None:
    """Cover the brow and the sides of the face, with the shadow that the hair throws."""
    s = f.style
    aside = f.u - parting
    reach = f.width + 0.012 - np.sign(aside) * parting  # from the parting to the side of the head
    spread = np.clip(np.abs(aside) / reach, 0, 1.3)
    fall = (min(s.length, 0.95) - s.hairline) * spread**s.roundness * 0.9
    locks = 0.012 * f.c.line_noise(14, 3)
    edge = f.v - s.hairline - fall + locks
    shadow = smoothstep(0.045, 0.0, edge) * outline * (s.volume > 0.01)
    f.c.cover(f.skin * (0.36, 0.26, 0.24), 0.45 * shadow)
    f.c.cover(strands, smoothstep(0.008, -0.008, edge) * outline)
