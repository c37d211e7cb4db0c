"""Masks and the convention that all of cdlib keeps (paper sec. 1 and Fig. 1).

The one place that says it: masks are float, 1 = valid, 0 = missing, shape (1,H,W) alone and
(B,1,H,W) in a batch; images are float RGB in [0,1], (B,3,H,W). LR means 1/8 of HR.
"""

import math

import torch
from torch import Generator, Tensor

from cdlib.settings import SIDES, MaskKind

_ROUNDING = 1e-3  # by which resized images may leave [0,1]


def edge_mask(height: int, width: int, side: str, fraction: float = 0.3) -> Tensor:
    """The paper's task: a strip of `fraction` of the frame missing at one side. (1,H,W).

    Raises:
        ValueError: an unknown side, or a fraction that leaves nothing or takes nothing.
    """
    if side not in SIDES:
        raise ValueError(f"side {side!r}: one of {', '.join(SIDES)}")
    if not 0 < fraction < 1:
        raise ValueError(f"fraction {fraction}: must lie between 0 and 1, both excluded")
    extent = height if side in ("top", "bottom") else width
    missing = round(extent * fraction)
    if not 0 < missing < extent:
        raise ValueError(f"fraction {fraction} of {extent} pixels: takes nothing or everything")
    mask = torch.ones(1, height, width)
    match side:
        case "top":
            mask[:, :missing] = 0
        case "bottom":
            mask[:, height - missing :] = 0
        case "left":
            mask[:, :, :missing] = 0
        case "right":
            mask[:, :, width - missing :] = 0
    return mask


def rectangle_mask(height: int, width: int, *, generator: Generator) -> Tensor:
    """A regular hole: one rectangle, sides 30 to 60 % of the frame's, anywhere inside. (1,H,W)."""
    share = 0.3 + 0.3 * torch.rand(2, generator=generator)
    tall, wide = round(height * share[0].item()), round(width * share[1].item())
    top = int(torch.randint(height - tall + 1, (), generator=generator))
    left = int(torch.randint(width - wide + 1, (), generator=generator))
    mask = torch.ones(1, height, width)
    mask[:, top : top + tall, left : left + wide] = 0
    return mask


def irregular_mask(height: int, width: int, *, generator: Generator) -> Tensor:
    """An irregular hole: 4 to 8 random strokes, each a bent line of round caps. (1,H,W).

    In the manner of the free-form masks of Yu et al. 2019, sec. 3.5: vertices that turn by
    random angles, thickness and length in proportion to the frame.
    """
    side = min(height, width)
    rows = torch.arange(height).view(-1, 1) + 0.5
    columns = torch.arange(width).view(1, -1) + 0.5
    hole = torch.zeros(height, width, dtype=torch.bool)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    for _ in range(int(torch.randint(4, 9, (), generator=generator))):
        y, x = uniform(0, height), uniform(0, width)
        angle = uniform(0, 2 * math.pi)
        radius = uniform(0.03, 0.07) * side
        for _ in range(int(torch.randint(3, 7, (), generator=generator))):
            length = uniform(0.1, 0.3) * side
            dy, dx = length * math.sin(angle), length * math.cos(angle)
            # distance of every pixel to the segment from (y, x) to (y + dy, x + dx)
            along = ((rows - y) * dy + (columns - x) * dx) / length**2
            along = along.clamp(0, 1)
            hole |= (rows - y - along * dy) ** 2 + (columns - x - along * dx) ** 2 < radius**2
            y, x = min(max(y + dy, 0), height), min(max(x + dx, 0), width)
            angle += uniform(-1.2, 1.2)
    return (~hole).float().unsqueeze(0)


def draw_masks(
    kind: MaskKind, count: int, height: int, width: int, *, fraction: float, generator: Generator
) -> Tensor:
    """A batch of random masks of one kind, (count,1,H,W); edge masks at a random side each."""
    if kind == "edge":
        sides = torch.stack([edge_mask(height, width, side, fraction) for side in SIDES])
        return sides[torch.randint(len(SIDES), (count,), generator=generator)]
    draw = rectangle_mask if kind == "rectangle" else irregular_mask
    return torch.stack([draw(height, width, generator=generator) for _ in range(count)])


def compose(output: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Valid pixels from `image`, the rest from `output`, exactly: shapes (B,3,H,W), (B,1,H,W)."""
    return torch.where(mask > 0, image, output)


def check_inputs(image: Tensor, mask: Tensor) -> None:
    """The door of every method.

    Raises:
        ValueError: shapes that do not fit, sides that are not multiples of 8 from 16 on, another
            type than float32, a mask that is not of zeros and ones, an image with nothing valid,
            or valid pixels that are not finite or outside [0,1].
    """
    if image.ndim != 4 or image.shape[1] != 3 or not len(image):
        raise ValueError(f"image of shape {tuple(image.shape)}: expected (B,3,H,W), B >= 1")
    expected = (image.shape[0], 1, *image.shape[2:])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask of shape {tuple(mask.shape)}: expected {expected}, as the image")
    height, width = image.shape[-2:]
    if height % 8 or width % 8 or min(height, width) < 16:
        raise ValueError(
            f"image size {height}x{width}: both sides must be multiples of 8, at least 16"
        )
    for name, tensor in (("image", image), ("mask", mask)):
        if tensor.dtype != torch.float32:
            raise ValueError(f"{name} of {tensor.dtype}: expected torch.float32")
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("mask with values other than 0 (missing) and 1 (valid)")
    if (mask.amax(dim=(1, 2, 3)) == 0).any():
        raise ValueError("mask with no valid pixel: there is nothing to complete the image from")
    valid = torch.where(mask > 0, image, 0)
    if not torch.isfinite(valid).all():
        raise ValueError("image with NaN or infinite values among its valid pixels")
    if valid.min() < -_ROUNDING or valid.max() > 1 + _ROUNDING:
        raise ValueError(
            f"image with valid pixels from {valid.min():.3g} to {valid.max():.3g}: expected [0,1]"
        )
