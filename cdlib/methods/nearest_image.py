"""`nearest_image`: the hole taken from the training image whose valid part is closest.

What plain memory of the training images is worth: a bound on what a network could have learnt by
heart. Closeness is the squared difference at low resolution (1/8, area averages), and only there
where the input is valid.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cdlib.data.array import PreparedArray
from cdlib.data.splits import open_split
from cdlib.masks import compose
from cdlib.methods.context import Context
from cdlib.nets.compression import FACTOR

MEMORY = 2**28  # bytes of keys: a larger training set is thinned out evenly
_CHUNK = 256  # images read at once


def load(context: Context) -> Callable[[Tensor, Tensor], Tensor]:
    return NearestImage(open_split(context.profile, context.dataset, "train"))


class NearestImage:
    """(image (B,3,H,W), mask (B,1,H,W)) -> image. Training images are resized to the input's frame.

    Keys are made when a size is first asked for, and those of one size are kept.
    """

    def __init__(self, training: PreparedArray, memory: int = MEMORY):
        self.training = training
        self.memory = memory
        self._keys: tuple[Tensor, Tensor] | None = None  # positions (n,), keys (n,3,h,w)

    def __call__(self, image: Tensor, mask: Tensor) -> Tensor:
        pictures = self.training.tensor(self.choose(image, mask)).to(image)
        resized = F.interpolate(pictures, image.shape[-2:], mode="bicubic", antialias=True)
        return compose(resized.clamp(0, 1), image, mask)

    def choose(self, image: Tensor, mask: Tensor) -> Tensor:
        """Position in the training array for each input, (B,); ties go to the first.

        An LR pixel counts by its valid share, and its colour is the mean of its valid part.
        """
        share = F.avg_pool2d(mask, FACTOR)  # (B,1,h,w)
        colour = F.avg_pool2d(torch.where(mask > 0, image, 0), FACTOR) / share.clamp_min(1e-6)
        positions, keys = self._keys_of(colour.shape[-2:])
        # sum of share * (key - colour)^2, less what is the same for every key
        weights = share.expand_as(colour).flatten(1)  # (B,3hw)
        queries = (share * colour).flatten(1)
        best = torch.full((len(image),), torch.inf)
        chosen = torch.zeros(len(image), dtype=torch.int64)
        for start in range(0, len(keys), _CHUNK):
            some = keys[start : start + _CHUNK].to(image).flatten(1)  # (n,3hw)
            distance = (weights @ some.square().T - 2 * queries @ some.T).cpu()  # (B,n)
            value, index = distance.min(dim=1)
            closer = value < best
            best = torch.where(closer, value, best)
            chosen = torch.where(closer, index + start, chosen)
        return positions[chosen]

    def _keys_of(self, size: torch.Size) -> tuple[Tensor, Tensor]:
        if self._keys is None or self._keys[1].shape[-2:] != size:
            count = max(1, min(len(self.training), self.memory // (12 * size.numel())))
            positions = torch.linspace(0, len(self.training) - 1, count).round().long()
            keys = [
                F.adaptive_avg_pool2d(self.training.tensor(some), size)
                for some in positions.split(_CHUNK)
            ]
            self._keys = positions, torch.cat(keys)
        return self._keys
