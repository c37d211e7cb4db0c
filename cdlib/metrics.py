"""The measures of Table 2 (paper sec. 4.1): pure functions of tensors, one value an image.

Images are (B,3,H,W) in [0,1]; masks (B,1,H,W), 1 valid. The paper does not say over which pixels
it takes L1 and L2: without a mask these are means over the whole frame and the three channels,
with one over the hole alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.ops import masks_to_boxes

PSNR_CAP = 100.0  # dB, a mean squared error of 1e-10: keeps the mean over images finite


def l1(output: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference, (B,) in [0,1].

    Raises:
        ValueError: shapes that do not fit, or a mask with no missing pixel in some image.
    """
    _check_pair(output, truth)
    return _mean((output - truth).abs(), mask)


def l2(output: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared difference, (B,) in [0,1]. Raises as `l1`."""
    _check_pair(output, truth)
    return _mean((output - truth).square(), mask)


def psnr(output: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio, 10 log10(1 / L2) in dB, (B,). Raises as `l1`.

    At most 100 dB: equal images, whose ratio is infinite, get that.
    """
    return (-10 * l2(output, truth, mask).log10()).clamp_max(PSNR_CAP)


def ssim(output: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity, (B,) in [-1,1]; Wang et al. 2004: Gaussian window, sigma 1.5.

    The mean over the channels and the whole frame, reflected at its border, since the hole is
    there; implementations that leave out five pixels at each side give other values.

    Raises:
        ValueError: shapes that do not fit, or sides under the window's 11 pixels.
    """
    _check_pair(output, truth)
    if min(output.shape[-2:]) < 11:
        raise ValueError(f"images of {tuple(output.shape[-2:])} pixels: SSIM's window needs 11x11")
    return structural_similarity_index_measure(
        output, truth, gaussian_kernel=True, sigma=1.5, data_range=1.0, reduction="none"
    )


def similar(logits_output: Tensor, logits_truth: Tensor, k: int = 1) -> Tensor:
    """Whether each output's first class is among its truth's first `k`, bool (N,); Eq. 4's term.

    Logits are (N,classes). Of classes with equal logits, the one with the lower index comes first.

    Raises:
        ValueError: shapes that differ or are not (N,classes), no image, logits that are NaN or
            infinite, or a `k` that is not in 1..classes.
    """
    output, truth = torch.as_tensor(logits_output), torch.as_tensor(logits_truth)
    if output.shape != truth.shape or output.ndim != 2:
        shapes = f"{tuple(output.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"logits of shapes {shapes}: both must be the same (N,classes)")
    if output.numel() == 0:
        raise ValueError(f"logits of shape {tuple(output.shape)}: no image to compare")
    classes = output.shape[1]
    if k not in range(1, classes + 1):
        raise ValueError(f"k = {k!r}: must be a whole number from 1 to {classes}, the classes")
    if not (output.isfinite().all() and truth.isfinite().all()):
        raise ValueError("logits with NaN or infinite values: the judge or its input is broken")
    first = output.argmax(dim=1, keepdim=True)  # (N,1); the first of equal ones
    value = truth.gather(1, first)
    lower = torch.arange(classes, device=truth.device) < first  # (N,classes)
    ahead = (truth > value) | ((truth == value) & lower)
    return ahead.sum(dim=1) < k


def similarity_ratio(logits_output: Tensor, logits_truth: Tensor, k: int = 1) -> float:
    """Eq. 4: the share of outputs that the judge puts in the class of their truth, in [0,1].

    With `k` > 1, in one of the truth's first k classes. Ties and errors as `similar`.
    """
    return similar(logits_output, logits_truth, k).double().mean().item()


def crop_to_hole(image: Tensor, mask: Tensor, size: int) -> Tensor:
    """Each image's smallest upright box around its hole, resized to (B,3,size,size), bilinearly.

    An edge hole is a strip: its box is stretched to a square, for output and truth alike.

    Raises:
        ValueError: shapes that do not fit, or a mask with no missing pixel in some image.
    """
    hole = _hole(image, mask)
    boxes, which = masks_to_boxes(hole.squeeze(1)).long().unique(dim=0, return_inverse=True)
    crops = image.new_empty(len(image), image.shape[1], size, size)
    for index, (left, top, right, bottom) in enumerate(boxes.tolist()):
        box = image[which == index, :, top : bottom + 1, left : right + 1]
        crops[which == index] = F.interpolate(
            box, (size, size), mode="bilinear", antialias=True, align_corners=False
        )
    return crops


def _mean(error: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return error.mean(dim=(1, 2, 3))
    hole = _hole(error, mask)
    return (error * hole).sum(dim=(1, 2, 3)) / (error.shape[1] * hole.sum(dim=(1, 2, 3)))


def _hole(image: Tensor, mask: Tensor) -> Tensor:
    """The missing pixels as bool (B,1,H,W), at least one an image."""
    expected = (len(image), 1, *image.shape[2:])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask of shape {tuple(mask.shape)}: expected {expected}, as the image")
    hole = mask == 0
    if not hole.flatten(1).any(dim=1).all():
        raise ValueError("mask with no missing pixel: there is no hole to measure")
    return hole


def _check_pair(output: Tensor, truth: Tensor) -> None:
    if output.shape != truth.shape or output.ndim != 4 or output.shape[1] != 3:
        shapes = f"{tuple(output.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"images of shapes {shapes}: both must be the same (B,3,H,W)")
