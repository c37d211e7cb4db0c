"""Test images that are in the training part too, or nearly: a leak that flatters every method.

Perceptual hash (pHash): which of the 64 lowest DCT coefficients of the grey image, at 32x32, lie
above their median. Copies of another size, compression or brightness differ in a few of the 64.
Pictures of one plain layout (two ridges under a sky, two aligned faces) can come as close, so the
pairs that the hash proposes are confirmed by the correlation of their colours.
"""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dctn
from torch import Tensor

from cdlib.data.array import PreparedArray

_CHUNK = 512


def near_duplicates(
    train: PreparedArray,
    test: PreparedArray,
    max_distance: int = 8,
    min_correlation: float = 0.91,
) -> list[tuple[str, str, int]]:
    """(test name, train name, distance) of the pairs that show the same picture, nearest first.

    The defaults were chosen by eye on photographs of scenes and of faces: of the pairs they let
    through all were the same picture or the same view seconds apart; with a correlation of 0.90
    the first wrong pairs came in. Mirrored copies and strong crops are not found.

    Args:
        max_distance: bits, of 64, in which the hashes may differ.
        min_correlation: of the two images at 32x32 RGB, in [-1,1].
    """
    train_hashes, test_hashes = perceptual_hashes(train), perceptual_hashes(test)
    pairs = []
    for start in range(0, len(test), _CHUNK):
        # Of signs, the inner product is agreeing minus differing bits; exact in float32.
        distance = (64 - test_hashes[start : start + _CHUNK] @ train_hashes.T) / 2  # (n,N)
        rows, columns = (distance <= max_distance).nonzero(as_tuple=True)
        bits = distance[rows, columns].int().tolist()
        pairs += zip((rows + start).tolist(), columns.tolist(), bits, strict=True)
    confirmed = []
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs[start : start + _CHUNK]
        in_test, in_train, _ = map(list, zip(*chunk, strict=True))
        correlation = (_thumbnails(test, in_test) * _thumbnails(train, in_train)).sum(1)
        confirmed += [p for p, c in zip(chunk, correlation, strict=True) if c >= min_correlation]
    named = [(test.names[row], train.names[column], bits) for row, column, bits in confirmed]
    return sorted(named, key=lambda pair: (pair[2], pair[0], pair[1]))


def perceptual_hashes(array: PreparedArray) -> Tensor:
    """The 64 bits of each image as +1 and -1: (N,64) float."""
    hashes = []
    for start in range(0, len(array), _CHUNK):
        images = array.tensor(range(start, min(start + _CHUNK, len(array))))
        grey = F.adaptive_avg_pool2d(images.mean(1, keepdim=True), 32)[:, 0]  # (n,32,32)
        low = dctn(grey.numpy(), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
        hashes.append(np.where(low > np.median(low, axis=1, keepdims=True), 1, -1))
    return torch.from_numpy(np.concatenate(hashes)).float()


def _thumbnails(array: PreparedArray, rows: list[int]) -> Tensor:
    """32x32 RGB, of mean 0 and length 1, so that inner products are correlations: (n,3072)."""
    small = F.adaptive_avg_pool2d(array.tensor(rows), 32).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)
