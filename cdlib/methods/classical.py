"""Fills without learning: Telea 2004, Navier-Stokes (Bertalmio et al. 2001), biharmonic.

All three continue colours from the hole's rim; nothing far into a large hole can be known to them.
They are library code (OpenCV, scikit-image), which works on one 8-bit image at a time.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from cdlib.masks import compose
from cdlib.methods.context import Context

Fill = Callable[[Tensor, Tensor], Tensor]
RADIUS = 3  # pixels: the neighbourhood of Telea and Navier-Stokes, as in OpenCV's examples


def fill_each(image: Tensor, mask: Tensor, fill: Callable[..., np.ndarray]) -> Tensor:
    """Apply `fill(rgb (H,W,3) uint8, hole (H,W) uint8, 1 missing) -> rgb` to images one by one.

    (B,3,H,W) in [0,1] and (B,1,H,W), 1 valid, -> (B,3,H,W). The hole is first painted in the mean
    valid colour: OpenCV reads a little of it near the frame's corners. Valid pixels come back as
    they were, not rounded to 8 bits.
    """
    known = torch.where(mask > 0, image, 0)
    colour = known.sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True)
    painted = torch.where(mask > 0, image, colour).mul(255).round().byte()
    holes = (mask.squeeze(1) == 0).byte().cpu().numpy()  # (B,H,W)
    filled = [
        fill(np.ascontiguousarray(rgb), hole)
        for rgb, hole in zip(painted.permute(0, 2, 3, 1).cpu().numpy(), holes, strict=True)
    ]
    output = torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).to(image) / 255
    return compose(output, image, mask)


def load_telea(_: Context) -> Fill:
    return lambda image, mask: fill_each(image, mask, _telea)


def load_navier_stokes(_: Context) -> Fill:
    return lambda image, mask: fill_each(image, mask, _navier_stokes)


def load_biharmonic(_: Context) -> Fill:
    return lambda image, mask: fill_each(image, mask, _biharmonic)


def _telea(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return cv2.inpaint(rgb, hole, RADIUS, cv2.INPAINT_TELEA)


def _navier_stokes(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return cv2.inpaint(rgb, hole, RADIUS, cv2.INPAINT_NS)


def _biharmonic(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    # An edge hole is open at the frame, where the solution overshoots; the function clips it.
    filled = inpaint_biharmonic(rgb, hole, channel_axis=-1)  # float in [0,1]
    return np.round(255 * filled).astype(np.uint8)
