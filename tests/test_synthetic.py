"""The procedural pictures: a function of (index, seed), one layout at every size, real texture."""

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdlib.data.synthetic import SCENES, draw_face, draw_scene

DRAWERS = pytest.mark.parametrize("draw", [draw_scene, draw_face])
KINDS = len(SCENES)


def batch(draw, count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.stack([draw(index, size, seed)[0] for index in range(count)])


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@DRAWERS
@settings(max_examples=25, deadline=None)
@given(
    index=st.integers(0, 10**6),
    seed=st.integers(0, 2**32),
    size=st.integers(4, 16).map(lambda eighths: 8 * eighths),
)
def test_any_picture_is_well_formed_and_repeats(draw, index, seed, size):
    picture, label = draw(index, size, seed)
    assert picture.dtype == np.uint8
    assert picture.shape == (size, size, 3)
    assert label == (index % KINDS if draw is draw_scene else 0)
    assert picture.std() > 5
    again, label_again = draw(index, size, seed)
    np.testing.assert_array_equal(picture, again)
    assert label == label_again


@DRAWERS
def test_a_fresh_process_draws_the_same_bytes(draw):
    here = hashlib.sha256(batch(draw, KINDS, 32).tobytes()).hexdigest()
    script = (
        f"import hashlib; from cdlib.data.synthetic import {draw.__name__} as draw\n"
        f"pictures = b''.join(draw(i, 32, 0)[0].tobytes() for i in range({KINDS}))\n"
        "print(hashlib.sha256(pictures).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert there.stdout.strip() == here, there.stderr


@DRAWERS
def test_the_global_generator_is_neither_read_nor_moved(draw):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first = draw(5, 32, 0)[0]
    np.testing.assert_array_equal(before, np.random.get_state()[1])
    np.random.seed(2)
    np.testing.assert_array_equal(first, draw(5, 32, 0)[0])


@DRAWERS
def test_the_seed_changes_the_picture(draw):
    first, second = draw(0, 32, 0)[0].astype(float), draw(0, 32, 1)[0].astype(float)
    assert np.abs(first - second).mean() > 2


@DRAWERS
def test_a_picture_keeps_its_layout_at_other_sizes(draw):
    for index in range(2 * KINDS):
        small = draw(index, 64, 3)[0]
        for size in (48, 128):
            other = cv2.resize(draw(index, size, 3)[0], (64, 64), interpolation=cv2.INTER_AREA)
            assert correlation(small, other) > 0.9, (index, size)


@DRAWERS
def test_no_two_pictures_are_near_duplicates(draw):
    count = 10 * KINDS
    thumbnails = batch(draw, count, 32).astype(np.float32).reshape(count, -1)
    distances = np.abs(thumbnails[:, None] - thumbnails[None]).mean(axis=-1)
    distances[np.diag_indices(count)] = np.inf
    assert distances.min() > 8  # of 255, on average over all the pixels


@DRAWERS
def test_pictures_have_texture_and_full_range(draw):
    pictures = batch(draw, 4 * KINDS, 64).astype(np.float32)
    fine = np.array([np.abs(p - cv2.GaussianBlur(p, (0, 0), 1)).mean() for p in pictures])
    assert fine.min() > 1
    assert np.median(fine) > 2
    assert pictures.min() < 10
    assert pictures.max() > 240


def test_labels_are_balanced_and_name_the_kinds():
    assert len(set(SCENES)) == KINDS >= 8
    labels = [draw_scene(index, 8, 0)[1] for index in range(3 * KINDS)]
    np.testing.assert_array_equal(np.bincount(labels, minlength=KINDS), 3)


def test_kinds_can_be_told_apart_but_not_by_the_sky_alone():
    """The nearest neighbour finds the kind from whole thumbnails, less often from their tops."""
    pictures = batch(draw_scene, 25 * KINDS, 32, seed=7).astype(np.float32)
    small = np.stack([cv2.resize(p, (16, 16), interpolation=cv2.INTER_AREA) for p in pictures])
    labels = np.arange(len(small)) % KINDS
    known = 20 * KINDS

    def accuracy(part: np.ndarray) -> float:
        flat = part.reshape(len(part), -1)
        distances = ((flat[known:, None] - flat[None, :known]) ** 2).sum(axis=-1)
        return float((labels[distances.argmin(axis=1)] == labels[known:]).mean())

    whole, sky = accuracy(small), accuracy(small[:, :4])
    assert whole > 0.7
    assert sky < whole - 0.15


def test_faces_are_aligned():
    """The average of many faces still has dark eyes on brighter cheeks: they share their place."""
    mean = batch(draw_face, 100, 64).astype(np.float32).mean(axis=(0, 3))
    eyes = np.minimum(mean[29:33, 22:27].min(), mean[29:33, 38:43].min())
    cheeks = np.minimum(mean[36:40, 24:28].mean(), mean[36:40, 37:41].mean())
    assert eyes < cheeks - 15


@DRAWERS
@pytest.mark.parametrize(
    ("index", "size", "seed", "message"),
    [
        (-1, 32, 0, "index -1, seed 0: .* 0 or more"),
        (0, 32, -4, "index 0, seed -4: .* 0 or more"),
        (0, 7, 0, "size 7: .* at least 8"),
    ],
)
def test_refusals(draw, index, size, seed, message):
    with pytest.raises(ValueError, match=message):
        draw(index, size, seed)
