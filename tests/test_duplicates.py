"""Near-duplicates between two arrays."""

import numpy as np
from PIL import Image, ImageFilter

from cdlib.data.array import PreparedArray
from cdlib.data.duplicates import near_duplicates, perceptual_hashes


def blobs(seed: int, side: int = 64) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


def array_of(images: list[Image.Image], prefix: str) -> PreparedArray:
    pixels = np.stack([np.asarray(image) for image in images])
    names = tuple(f"{prefix}{i}" for i in range(len(images)))
    return PreparedArray(pixels, np.zeros(len(images), np.int64), ("a",), names, {})


def test_near_duplicates_are_found_across_sizes():
    train = [blobs(i, 96) for i in range(40)]
    copies = [
        train[7],
        train[21].point(lambda v: v * 0.8 + 10),
        train[33].filter(ImageFilter.GaussianBlur(1)),
    ]
    strangers = [blobs(1000 + i) for i in range(30)]
    test = [image.resize((64, 64), Image.Resampling.BICUBIC) for image in copies] + strangers
    pairs = near_duplicates(array_of(train, "train"), array_of(test, "test"))
    found = {(name, twin) for name, twin, _ in pairs}
    assert found == {("test0", "train7"), ("test1", "train21"), ("test2", "train33")}
    assert pairs == sorted(pairs, key=lambda pair: pair[2])


def test_the_same_layout_in_other_colours_is_no_duplicate():
    """Equal hashes alone do not make a pair: the grey images are equal, the colours are not."""
    rng = np.random.default_rng(0)
    grey = np.asarray(blobs(3).convert("L"), float)[..., None]
    tint = rng.uniform(-60, 60, (8, 8, 3)).repeat(8, 0).repeat(8, 1)
    tint -= tint.mean(2, keepdims=True)
    one, other = (grey / 2 + 60 + s * tint for s in (1, -1))
    one, other = (Image.fromarray(a.clip(0, 255).astype(np.uint8)) for a in (one, other))
    train, test = array_of([one], "train"), array_of([other], "test")
    assert near_duplicates(train, test) == []
    assert len(near_duplicates(train, test, min_correlation=-1)) == 1


def test_half_of_the_bits_are_set():
    hashes = perceptual_hashes(array_of([blobs(i) for i in range(600)], ""))  # more than a chunk
    assert hashes.shape == (600, 64)
    assert hashes.abs().eq(1).all()
    assert hashes.sum(1).eq(0).all()
