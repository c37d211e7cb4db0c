"""`PatchMatch` (Barnes et al. 2009): the hole built from patches of the image's own valid part.

By the package PyPatchMatch, coarse to fine. The nearest classical kin of texture selection: it
copies too, but small overlapping patches instead of whole blocks.
"""

from collections.abc import Callable

import numpy as np
import patchmatch
from torch import Tensor

from cdlib.methods.classical import fill_each
from cdlib.methods.context import Context

RADIUS = 3  # pixels: patches of 7x7, as in the package's examples
SEED = 0  # of its randomised search; every image starts from it


def load(_: Context) -> Callable[[Tensor, Tensor], Tensor]:
    patchmatch.set_random_seed(SEED)
    return lambda image, mask: fill_each(image, mask, _patchmatch)


def _patchmatch(rgb: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return patchmatch.inpaint(rgb, hole, patch_size=RADIUS)
