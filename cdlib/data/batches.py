"""Training batches as functions of (seed, step): order, crops, flips and masks.

Nothing here has state that a resumed training would have to restore, and every network that is
trained with the same seed sees the same images in the same order under the same masks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cdlib.data.array import PreparedArray
from cdlib.masks import draw_masks, edge_mask
from cdlib.settings import SIDES, Profile


@dataclass(frozen=True)
class Batch:
    """True images (B,3,H,W) in [0,1], masks (B,1,H,W), 1 valid, and class labels (B,)."""

    image: Tensor
    mask: Tensor
    label: Tensor

    @property
    def masked(self) -> Tensor:
        return self.image * self.mask

    def to(self, device: torch.device) -> "Batch":
        """On `device`, the image in channels_last memory as the nets that see it."""
        image = self.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        return Batch(image, *(t.to(device, non_blocking=True) for t in (self.mask, self.label)))


class TrainingBatches:
    """`batch(step)` is the same whenever it is asked for, and whatever was asked before.

    Over several processes each takes its share of the same global batch: (rank, world).
    """

    def __init__(self, array: PreparedArray, profile: Profile, rank: int = 0, world: int = 1):
        self.array = array
        self.profile = profile
        self.share = slice(rank, None, world)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def batch(self, step: int) -> Batch:
        size, count = self.profile.size, self.profile.train.batch_size
        generator = Generator().manual_seed(_key(self.profile.seed, step))
        indices = self._indices(step * count, count)
        grid = self._crops(count, generator)
        masks = draw_masks(
            self.profile.train.masks,
            count,
            size,
            size,
            fraction=self.profile.fraction,
            generator=generator,
        )
        indices, grid, masks = indices[self.share], grid[self.share], masks[self.share]
        image = F.grid_sample(self.array.tensor(indices), grid, align_corners=False)
        return Batch(image, masks, torch.from_numpy(self.array.labels[indices]))

    def _indices(self, start: int, count: int) -> np.ndarray:
        """Positions start .. start + count of an endless sequence of shuffled epochs."""
        positions = np.arange(start, start + count)
        epochs, offsets = np.divmod(positions, len(self.array))
        return np.array([self._epoch(e)[o] for e, o in zip(epochs, offsets, strict=True)])

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            shuffle = np.random.default_rng([self.profile.seed, int(epoch)])
            self._order = int(epoch), shuffle.permutation(len(self.array))
        return self._order[1]

    def _crops(self, count: int, generator: Generator) -> Tensor:
        """Sampling grids (count,size,size,2) of random square crops, half of them flipped."""
        side = 1 - (1 - self.profile.train.crop) * torch.rand(count, generator=generator)
        shift = (1 - side).unsqueeze(1) * (2 * torch.rand(count, 2, generator=generator) - 1)
        flip = torch.ones(count)
        if self.profile.train.flip:
            flip -= 2 * torch.randint(2, (count,), generator=generator)
        zero = torch.zeros(count)
        affine = torch.stack([side * flip, zero, shift[:, 0], zero, side, shift[:, 1]], dim=1).view(
            count, 2, 3
        )
        size = self.profile.size
        return F.affine_grid(affine, [count, 3, size, size], align_corners=False)


def validation_batches(array: PreparedArray, profile: Profile, batch_size: int) -> Iterator[Batch]:
    """Every image once, uncropped, in order; image i under the edge mask of side i mod 4."""
    masks = _edge_masks(profile)
    for start in range(0, len(array), batch_size):
        index = np.arange(start, min(start + batch_size, len(array)))
        label = torch.from_numpy(array.labels[index])
        yield Batch(array.tensor(index), masks[index % len(SIDES)], label)


def side_batches(
    array: PreparedArray, profile: Profile, batch_size: int
) -> Iterator[tuple[str, tuple[str, ...], Batch]]:
    """Every image once under each edge mask, side after side: (side, image names, batch)."""
    for side, mask in zip(SIDES, _edge_masks(profile), strict=True):
        for start in range(0, len(array), batch_size):
            index = np.arange(start, min(start + batch_size, len(array)))
            label = torch.from_numpy(array.labels[index])
            names = array.names[start : start + batch_size]
            yield (
                side,
                names,
                Batch(array.tensor(index), mask.expand(len(index), -1, -1, -1), label),
            )


def _edge_masks(profile: Profile) -> Tensor:
    size = profile.size
    return torch.stack([edge_mask(size, size, side, profile.fraction) for side in SIDES])


def _key(seed: int, step: int) -> int:
    """A 63-bit generator seed for (seed, step), well mixed so that streams do not overlap."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
