"""Intervals of means by the bootstrap, drawn by image: outputs of one image go together.

Rows are outputs, `clusters` says which image each is of. Four sides of one image are not four
independent trials, so whole images are drawn, with replacement (Davison & Hinkley 1997, sec. 2.4).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap


def interval(
    values: ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean over all rows and its percentile bootstrap interval, (mean, low, high).

    The percentile form keeps within the values' range and has an answer where BCa has none
    (shares of 0 or 1). Constant values give an interval of no width.

    Args:
        values: (n,), numbers or booleans.
        clusters: (n,), what is drawn together, e.g. the image's name.

    Raises:
        ValueError: shapes that differ, no rows, values that are NaN or infinite, a single cluster,
            or a `level` outside (0,1).
    """
    values, ids = _checked(values, clusters)
    if not 0 < level < 1:
        raise ValueError(f"level {level}: must lie between 0 and 1, both excluded")
    sums, counts = np.bincount(ids, weights=values), np.bincount(ids)
    if len(sums) < 2:
        raise ValueError("one cluster only: an interval needs the values of two images or more")

    # The bootstrap draws positions of clusters, so that one array stands for sums and counts.
    def mean(drawn: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return sums[drawn].sum(axis=axis) / counts[drawn].sum(axis=axis)

    result = bootstrap(
        (np.arange(len(sums)),),
        mean,
        n_resamples=resamples,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return float(values.mean()), float(low), float(high)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of a - b over rows that belong together, and its interval. Arguments as `interval`.

    Two methods on the same images under the same masks: the difference of an image is far less
    spread than its scores are.

    Raises:
        ValueError: as `interval`, and where `a` and `b` differ in shape.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"values of shapes {first.shape} and {second.shape}: rows must be paired")
    return interval(first - second, clusters, level, resamples, seed)


def _checked(
    values: ArrayLike, clusters: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    numbers, names = np.asarray(values, dtype=float), np.asarray(clusters)
    if numbers.ndim != 1 or numbers.shape != names.shape:
        shapes = f"{numbers.shape}, clusters of {names.shape}"
        raise ValueError(f"values of shape {shapes}: both must be the same (n,)")
    if len(numbers) == 0:
        raise ValueError("no values: nothing to take the mean of")
    if not np.isfinite(numbers).all():
        broken = int((~np.isfinite(numbers)).sum())
        raise ValueError(f"{broken} of {len(numbers)} values are NaN or infinite: leave them out")
    return numbers, np.unique(names, return_inverse=True)[1]
