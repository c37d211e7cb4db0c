"""Similar texture selection (paper sec. 3.2, Eq. 1-3): LR image -> HR image by copying blocks.

Eq. 1-2 as printed search *all* of the true image, the part under the hole included: an oracle
that no user has. With `valid`, only blocks that are known in full may be chosen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 2**18  # distances held at once: bounds the memory, and 1 MB stays in the cache


def similar_texture_selection(
    lr_output: Tensor, reference: Tensor, valid: Tensor | None = None, block: int = 8
) -> Tensor:
    """For each LR pixel the HR block whose average colour is nearest (Eq. 1), copied (Eq. 2).

    Args:
        lr_output: (B,3,h,w), the completed LR image.
        reference: (B,3,h*block,w*block), where blocks come from; area averaging makes its LR
            version.
        valid: (B,1,h*block,w*block), 1 valid. Only blocks that are valid in full may be chosen.
            None is the paper's literal form: any block of the reference.
        block: side of a block in pixels, the paper's 8.

    Returns:
        (B,3,h*block,w*block). The distance is L1 over RGB; ties go to the first in row-major order.

    Raises:
        ValueError: shapes that do not fit, or an image with no block that is valid in full.
    """
    chosen = select_blocks(lr_output, reference, valid, block)  # (B, h*w)
    output = reference.new_empty(reference.shape)
    for index, source, target in zip(chosen, reference, output, strict=True):
        blocks = _in_blocks(source, block).flatten(0, 1)  # (h*w,3,block,block)
        places = _in_blocks(target, block)
        places.copy_(blocks[index].view(places.shape))
    return output


def _in_blocks(image: Tensor, block: int) -> Tensor:
    """View of (3,h*block,w*block) as (h,w,3,block,block)."""
    return image.unflatten(2, (-1, block)).unflatten(1, (-1, block)).permute(1, 3, 0, 2, 4)


def select_blocks(
    lr_output: Tensor, reference: Tensor, valid: Tensor | None = None, block: int = 8
) -> Tensor:
    """Eq. 1: the row-major index of the chosen reference block for each LR pixel, (B, h*w) int64.

    Arguments and errors as `similar_texture_selection`.
    """
    batch, channels, height, width = lr_output.shape
    if reference.shape != (batch, channels, height * block, width * block):
        raise ValueError(
            f"reference of shape {tuple(reference.shape)}: expected {block} times the LR output's "
            f"{tuple(lr_output.shape)}"
        )
    queries = lr_output.flatten(2)  # (B,3,h*w)
    keys = F.avg_pool2d(reference, block).flatten(2)  # (B,3,h*w)
    allowed = None
    if valid is not None:
        allowed = _valid_blocks(valid, block).flatten(1)  # (B, h*w)
        empty = (~allowed.any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise ValueError(f"image {empty[0]}: no {block}x{block} block is valid in full")
    chosen = torch.empty(batch, height * width, dtype=torch.int64, device=lr_output.device)
    rows = max(1, _CHUNK // (height * width))
    for image in range(batch):
        known = keys[image] if allowed is None else keys[image][:, allowed[image]]
        for start in range(0, height * width, rows):
            query = queries[image, :, start : start + rows]  # (3,q)
            distance = (query[0].unsqueeze(1) - known[0]).abs_()  # (q,k)
            for channel in range(1, channels):
                distance += (query[channel].unsqueeze(1) - known[channel]).abs_()
            chosen[image, start : start + rows] = _first_smallest(distance)
        if allowed is not None:  # from positions among the allowed to positions in the frame
            chosen[image] = allowed[image].nonzero().flatten()[chosen[image]]
    return chosen


def _first_smallest(distance: Tensor) -> Tensor:
    """Position of each row's smallest value, the first of equals: (q,k) -> (q,) int64."""
    if distance.device.type == "cpu":  # NumPy's search is ten times as quick there
        return torch.from_numpy(distance.detach().numpy().argmin(axis=1))
    return distance.argmin(dim=1)


def _valid_blocks(valid: Tensor, block: int) -> Tensor:
    """Which blocks are valid in full: (B,1,H,W) -> (B,h,w) bool."""
    return (-F.max_pool2d(-valid, block)).squeeze(1) > 0


def stretch_valid(image: Tensor, mask: Tensor) -> Tensor:
    """The valid rectangle of an edge-masked image, resized (bilinear) to the whole frame.

    (B,3,H,W), (B,1,H,W) -> (B,3,H,W). For a hole of another shape the valid rectangle is the
    largest one without a missing pixel.

    Raises:
        ValueError: an image with no valid pixel.
    """
    size = image.shape[-2:]
    stretched = []
    for index in range(image.shape[0]):
        rows, columns = valid_rectangle(mask[index, 0] > 0)
        part = image[index : index + 1, :, rows, columns]
        stretched.append(F.interpolate(part, size, mode="bilinear", align_corners=False))
    return torch.cat(stretched)


def valid_rectangle(valid: Tensor) -> tuple[slice, slice]:
    """The largest rectangle of True in (H,W) bool: slices of rows and of columns.

    Raises:
        ValueError: when nothing is True.
    """
    if not valid.any():
        raise ValueError("mask with no valid pixel: nothing to stretch")
    rows, columns = (valid.any(dim=d).nonzero().flatten() for d in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    if valid[box].all():
        return box
    best, area = box, 0
    # Rectangles by their top row: below it, a column counts as long as it stays valid.
    for top in range(valid.shape[0]):
        height = valid[top:].long().cumprod(dim=0).sum(dim=0).tolist()
        for bottom in sorted({h for h in height if h}):
            run = start = 0
            for column, h in enumerate([*height, 0]):
                if h >= bottom:
                    run += 1
                    continue
                start = column - run
                if run * bottom > area:
                    best, area = (slice(top, top + bottom), slice(start, column)), run * bottom
                run = 0
    return best


def finetune(hr_output: Tensor, stretched: Tensor, threshold: float) -> Tensor:
    """Eq. 3: where the two differ by less than `threshold`, the stretched image's pixel.

    (B,3,H,W) twice -> (B,3,H,W). The difference is the mean absolute difference over RGB, in [0,1].
    """
    difference = (hr_output - stretched).abs().mean(dim=1, keepdim=True)
    return torch.where(difference < threshold, stretched, hr_output)
