"""Similar texture selection alone (paper sec. 3.2), beside the classical fills it competes with.

All three look for the hole's content in the image itself. Selection is asked for every LR pixel
of the frame, more than the hole; the others fill the hole, as library calls on 8-bit images.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

import cv2
import numpy as np
import patchmatch
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib.bench.measuring import Options, interleaved, paired_ratio, peak_memory
from cdlib.data.synthetic import draw_scene
from cdlib.masks import edge_mask
from cdlib.methods import classical
from cdlib.methods.patchmatch import RADIUS, SEED
from cdlib.nets.compression import FACTOR
from cdlib.settings import SIDES
from cdlib.texture import similar_texture_selection

SIZE = 256  # the paper's images
SMALL = 64
MANY = 1000


def measure(options: Options) -> dict[str, Any]:
    # The memory first: what is asked later would hide it.
    memory = {"images": MANY, "size": SMALL, "extra_mb": _extra_memory() / 1e6}
    return {
        "memory": memory,
        "sizes": {size: _against_classical(size, options) for size in sorted({options.size, SIZE})},
        "linearity": _linearity(options),
    }


def _images(count: int, size: int) -> tuple[np.ndarray, Tensor]:
    """Drawn images with the hole black, (B,H,W,3) uint8, and edge masks (B,1,H,W)."""
    sides = torch.stack([edge_mask(size, size, side) for side in SIDES])
    mask = sides[torch.arange(count) % len(SIDES)]
    pictures = np.stack([draw_scene(index, size, seed=0)[0] for index in range(count)])
    return pictures * mask.byte().permute(0, 2, 3, 1).numpy(), mask


def _selection(pictures: np.ndarray, mask: Tensor) -> Callable[[], Tensor]:
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).div(255).contiguous()
    lr = F.avg_pool2d(image, FACTOR)  # any would do: every block is looked at
    return lambda: similar_texture_selection(lr, image, mask)


def _extra_memory() -> int:
    """Bytes that one call with many images takes beyond what it is given, its result included."""
    # Made without anything between: memory that was freed would count as there before.
    image = torch.rand(MANY, 3, SMALL, SMALL)
    lr = torch.rand(MANY, 3, SMALL // FACTOR, SMALL // FACTOR)
    mask = edge_mask(SMALL, SMALL, "right").expand(MANY, 1, SMALL, SMALL)
    before = psutil.Process().memory_info().rss
    similar_texture_selection(lr, image, mask)
    return peak_memory() - before


def _against_classical(size: int, options: Options) -> dict[str, float]:
    pictures, mask = _images(len(SIDES), size)
    pairs = list(zip(pictures, (mask[:, 0] == 0).byte().numpy(), strict=True))
    radius, telea = classical.RADIUS, cv2.INPAINT_TELEA
    patchmatch.set_random_seed(SEED)
    calls = {
        "selection": _selection(pictures, mask),
        "telea": lambda: [cv2.inpaint(*pair, radius, telea) for pair in pairs],
        "patchmatch": lambda: [patchmatch.inpaint(*pair, patch_size=RADIUS) for pair in pairs],
    }
    seconds = interleaved(calls, options)
    times = {f"{name}_ms": 1000 * median(s) / len(SIDES) for name, s in seconds.items()}
    others = ("telea", "patchmatch")
    ratios = {f"{o}_ratio": paired_ratio(seconds[o], seconds["selection"]) for o in others}
    return times | ratios


def _linearity(options: Options) -> dict[str, Any]:
    """Ten times the images: the time of one, as a multiple of what it takes among the fewer."""
    counts = (10, 100)
    seconds = interleaved({str(n): _selection(*_images(n, SMALL)) for n in counts}, options)
    few, many = seconds.values()
    return {
        "size": SMALL,
        "ms_per_image": {n: 1000 * median(seconds[str(n)]) / n for n in counts},
        "ratio": paired_ratio(many, few) * counts[0] / counts[1],
    }
