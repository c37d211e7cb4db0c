"""Contextual attention: features in the hole rebuilt from patches of valid features.

Source: Yu et al. 2018, *Generative Image Inpainting with Contextual Attention*, sec. 4.1, which
GatedConv (Yu et al. 2019) takes over. Similarities are cosines, as the equation has them; the
authors' code normalises one side only. Overlapping patches are averaged by how many there are,
which at the border are fewer than the four that the code divides by.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def contextual_attention(
    features: Tensor, mask: Tensor, rate: int = 2, scale: float = 10.0
) -> Tensor:
    """Each patch of `features` as a mean of its valid patches, weighted by similarity.

    Patches are compared as 3x3 at 1/rate of the resolution, and copied at full resolution.

    Args:
        features: (B,C,h,w), sides multiples of `rate`, which is even.
        mask: (B,1,h,w), 1 valid. A patch that touches the hole is never copied; where all do,
            the result is 0.
        scale: of the similarities before the softmax.
    """
    height, width = features.shape[-2:]
    grid = height // rate, width // rate
    small = features[..., ::rate, ::rate]
    patches = F.normalize(F.unfold(small, 3, padding=1), dim=1)  # (B,9C,n), n patches
    scores = patches.transpose(1, 2) @ patches  # (B,n,n): of each patch with each source
    scores = propagate(scores.unflatten(1, grid).unflatten(3, grid)).flatten(3).flatten(1, 2)

    hole = F.max_pool2d(F.max_pool2d(1 - mask, rate), 3, stride=1, padding=1)
    valid = (hole == 0).to(scores.dtype).flatten(2)  # (B,1,n): of each source
    attention = torch.softmax(scale * scores * valid, dim=2) * valid  # (B,n,n)

    window = {"kernel_size": 2 * rate, "stride": rate, "padding": rate // 2}
    copied = F.unfold(features, **window) @ attention.transpose(1, 2)  # (B,4 rate^2 C,n)
    ones = torch.ones_like(features[:1, :1])
    overlaps = F.fold(F.unfold(ones, **window), (height, width), **window)  # (1,1,h,w)
    return F.fold(copied, (height, width), **window) / overlaps


def propagate(scores: Tensor) -> Tensor:
    """Similarities (B,h,w,h',w') summed over equal shifts of both patches by -1, 0, 1.

    Left and right, then up and down: neighbours should come from neighbours.
    """
    for here, there in ((2, 4), (1, 3)):
        sides = [(1, 1) if dim in (here, there) else (0, 0) for dim in (4, 3, 2, 1)]
        padded = F.pad(scores, [pad for side in sides for pad in side])
        lengths = scores.shape[here], scores.shape[there]
        scores = sum(
            padded.narrow(here, i, lengths[0]).narrow(there, i, lengths[1]) for i in range(3)
        )
    return scores
