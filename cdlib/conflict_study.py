"""The conflict index on prepared data sets: by set, side of the hole, and scale of the content."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdlib.conflict import conflict_curve, contexts_and_contents, image_conflicts
from cdlib.data.array import PreparedArray
from cdlib.nets.compression import FACTOR
from cdlib.settings import SIDES, Profile
from cdlib.stats import interval

MOST_IMAGES = 2000  # of each set; the index needs all distances between them
CURVE_IMAGES = 1500  # of each set; the curve needs all pairs in memory


def conflict_table(datasets: dict[str, PreparedArray], profile: Profile) -> pd.DataFrame:
    """Columns `dataset, side, content, index, low, high, n`: all sets with the same n.

    The interval is a bootstrap over images, the nearest contexts held fixed.
    """
    n = min(MOST_IMAGES, *map(len, datasets.values()))
    settings = profile.evaluate
    rows = []
    for name, array in datasets.items():
        images = _sample(array, n)
        for side in SIDES:
            for scale, content in ((FACTOR, "at 1/8"), (1, "at full size")):
                vectors = contexts_and_contents(images, side, profile.fraction, scale)
                shares = image_conflicts(*vectors).numpy()
                bounds = interval(
                    shares, np.arange(n), settings.level, settings.resamples, profile.seed
                )
                rows.append((name, side, content, *bounds, n))
    columns = ["dataset", "side", "content", "index", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def conflict_by_distance(
    datasets: dict[str, PreparedArray], profile: Profile, side: str
) -> dict[str, pd.DataFrame]:
    """`cdlib.conflict.conflict_curve` of each set for one side, content at 1/8, same n."""
    n = min(CURVE_IMAGES, *map(len, datasets.values()))
    curves = {}
    for name, array in datasets.items():
        vectors = contexts_and_contents(_sample(array, n), side, profile.fraction)
        curves[f"{name}, hole at {side}, n = {n:,}"] = conflict_curve(*vectors)
    return curves


def _sample(array: PreparedArray, count: int) -> NDArray[np.uint8]:
    """The first `count`: prepared training images lie in a random order."""
    return array.images[:count]
