"""Conflict: alike inputs that need unlike outputs (paper sec. 1), measured without any network.

Context is what a network sees of an image, content is what it has to fill in. All distances are
squared Euclidean ones. Relative to the mean over all pairs of images, the content distance between
images of equal context is E[Var(content | context)] / Var(content): the share of the content that
its context leaves open, and so the least relative L2 error that any network can reach.

A finite set has no two equal contexts. `conflict_index` takes each image's nearest one, and errs
upwards by what the content changes over that distance: compare sets of the same N only.
`extrapolated_index` follows the distance down to 0 instead; it is less biased and noisier.
"""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from cdlib.masks import edge_mask
from cdlib.nets.compression import FACTOR

Vectors = NDArray[np.floating] | Tensor
_CHUNK = 512  # rows of the table of distances that are held at once
_MOST_IMAGES = 5000  # of which `conflict_curve` holds all pairs


def contexts_and_contents(
    images: NDArray[np.uint8], side: str, fraction: float, scale: int = FACTOR
) -> tuple[Tensor, Tensor]:
    """Vectors of both for every image under one edge mask: (N,Dc) and (N,Dm), in [0,1].

    The context is the LR image where it is valid, at 1/8 whatever the scale, so that indices of
    several scales speak of the same pairs. The content is the hole, reduced by area averaging to
    1/scale. LR pixels that are partly missing belong to neither.

    Args:
        images: (N,H,W,3) uint8, as in a prepared array; both sides divisible by 8.
        scale: of the content: 8 is what the compression network predicts, 1 is the full image.

    Raises:
        ValueError: sides or a scale that do not divide, or a hole without one whole LR pixel.
    """
    height, width = images.shape[1:3]
    if height % FACTOR or width % FACTOR:
        raise ValueError(f"images of {height}x{width}: both sides must be multiples of {FACTOR}")
    if not 1 <= scale <= FACTOR or FACTOR % scale:
        raise ValueError(f"scale {scale}: must divide {FACTOR}")
    share_valid = _reduce(edge_mask(height, width, side, fraction)[0].unsqueeze(-1), FACTOR)[..., 0]
    valid, missing = share_valid == 1, share_valid == 0  # (h,w)
    if not missing.any():
        raise ValueError(
            f"fraction {fraction} of {height}x{width}: no whole {FACTOR}x{FACTOR} block"
        )
    fine = FACTOR // scale
    hole = missing.repeat_interleave(fine, 0).repeat_interleave(fine, 1)
    contexts, contents = [], []
    for start in range(0, len(images), _CHUNK):
        chunk = torch.from_numpy(np.array(images[start : start + _CHUNK])).float().div_(255)
        contexts.append(_reduce(chunk, FACTOR)[:, valid].flatten(1))
        contents.append(_reduce(chunk, scale)[:, hole].flatten(1))
    return torch.cat(contexts), torch.cat(contents)


def conflict_index(context: Vectors, content: Vectors) -> float:
    """Mean content distance between nearest-context pairs over that between all pairs.

    Near 0 where the context decides the content; 1, without bias at any N, where the two are
    independent. In between it is an upper estimate, see above. Units of either do not matter.

    Args:
        context, content: (N,Dc) and (N,Dm), a row an image.

    Raises:
        ValueError: other shapes, fewer than three images, values that are not finite, or content
            that is the same in all images.
    """
    return image_conflicts(context, content).mean().item()


def image_conflicts(context: Vectors, content: Vectors) -> Tensor:
    """Each image's share in `conflict_index`, which is their mean: (N,) >= 0; errors as there."""
    context, content = _checked(context, content)
    _, distance = _neighbours(context, content, 1)
    return distance[:, 0] / _mean_over_pairs(content)


def extrapolated_index(context: Vectors, content: Vectors, neighbours: int = 20) -> float:
    """The conflict at context distance 0, from a line through the nearest neighbours' distances.

    The intercept of the Gamma test (Stefansson, Koncar & Jones 1997) over the content's variance:
    mean content distance of the p-th nearest contexts against their mean context distance,
    p = 1..neighbours, by least squares. It can fall below 0 by noise; errors as `conflict_index`.
    """
    context, content = _checked(context, content)
    if not 2 <= neighbours < len(context):
        raise ValueError(f"neighbours {neighbours}: must lie in 2..{len(context) - 1}")
    apart, distance = (d.mean(dim=0) for d in _neighbours(context, content, neighbours))
    spread = apart - apart.mean()
    if not spread.any():
        raise ValueError(f"the {neighbours} nearest contexts are equally near: no line to follow")
    slope = (spread * distance).sum() / spread.square().sum()
    return ((distance.mean() - slope * apart.mean()) / _mean_over_pairs(content)).item()


def conflict_curve(context: Vectors, content: Vectors, bins: int = 12) -> pd.DataFrame:
    """Content distance by context distance, over all pairs of images; for the figure.

    Returns:
        One row a bin, nearest pairs first: `quantile` (upper end, of the context distance),
        `context_distance`, `content_distance` (means, 1 = that of all pairs) and `n`. The ends of
        the bins are spaced evenly in logarithm from 1/N, the share that nearest pairs have.

    Raises:
        ValueError: as `conflict_index`, no bin, contexts that are all the same, or more than 5,000
            images, whose pairs would not fit in memory.
    """
    context, content = _checked(context, content)
    if bins < 1:
        raise ValueError(f"bins {bins}: must be at least 1")
    if len(context) > _MOST_IMAGES:
        raise ValueError(f"{len(context)} images: take a sample of at most {_MOST_IMAGES}")
    if _mean_over_pairs(context) == 0:
        raise ValueError("context is the same in all images: there are no nearer pairs")
    above = torch.ones(len(context), len(context), dtype=torch.bool).triu(1)
    apart, distance = (_distances(v, v)[above] / _mean_over_pairs(v) for v in (context, content))
    order = apart.argsort(stable=True)
    quantiles = np.geomspace(1, 1 / len(context), bins)[::-1]
    ends = np.unique(np.round(quantiles * len(order)).astype(int))
    rows = [
        (end / len(order), apart[pairs].mean().item(), distance[pairs].mean().item(), len(pairs))
        for end, pairs in zip(ends, order.tensor_split(ends[:-1].tolist()), strict=True)
    ]
    return pd.DataFrame(rows, columns=["quantile", "context_distance", "content_distance", "n"])


def _reduce(images: Tensor, factor: int) -> Tensor:
    """Area average over factor x factor blocks: (...,H,W,C) -> (...,H/factor,W/factor,C)."""
    height, width, channels = images.shape[-3:]
    blocks = (height // factor, factor, width // factor, factor, channels)
    return images.reshape(*images.shape[:-3], *blocks).mean(dim=(-4, -2))


def _neighbours(context: Tensor, content: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Context and content distances to the `count` images of nearest context, both (N,count)."""
    apart, distance = [], []
    for start in range(0, len(context), _CHUNK):
        rows = torch.arange(start, min(start + _CHUNK, len(context)))
        table = _distances(context[rows], context)
        table[torch.arange(len(rows)), rows] = torch.inf  # no image is its own neighbour
        nearest = table.topk(count, largest=False)
        apart.append(nearest.values)
        pairs = [(content[rows] - content[to]).square().sum(dim=1) for to in nearest.indices.T]
        distance.append(torch.stack(pairs, dim=1))
    return torch.cat(apart), torch.cat(distance)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances, (n,D) and (m,D) -> (n,m)."""
    return torch.cdist(a, b).square()


def _mean_over_pairs(vectors: Tensor) -> Tensor:
    """Mean squared distance over all pairs of different rows: twice the total variance."""
    return 2 * vectors.var(dim=0).sum()


def _checked(context: Vectors, content: Vectors) -> tuple[Tensor, Tensor]:
    """Both as float64 about their means, so that distances by matrix products stay exact enough."""
    pair = torch.as_tensor(context).double(), torch.as_tensor(content).double()
    shapes = " and ".join(str(tuple(vectors.shape)) for vectors in pair)
    if any(vectors.ndim != 2 for vectors in pair) or len(pair[0]) != len(pair[1]):
        raise ValueError(f"context and content of shapes {shapes}: expected (N,Dc) and (N,Dm)")
    if len(pair[0]) < 3:
        raise ValueError(f"context and content of shapes {shapes}: three images at least")
    if not all(vectors.isfinite().all() for vectors in pair):
        raise ValueError("context or content with NaN or infinite values")
    if (pair[1] == pair[1][0]).all():
        raise ValueError("content is the same in all images: there is no distance to compare with")
    return pair[0] - pair[0].mean(dim=0), pair[1] - pair[1].mean(dim=0)
