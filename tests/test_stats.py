"""The bootstrap by image: closed forms, coverage, what it must not depend on, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdlib.stats import interval, paired_difference


def test_width_is_the_normal_theory_s():
    values = np.random.default_rng(0).normal(3, 2, size=2000)
    mean, low, high = interval(values, np.arange(2000), resamples=2000)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert mean == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert (high + low) / 2 == pytest.approx(mean, abs=0.2 * half)


def test_rows_of_one_image_count_as_one():
    rng = np.random.default_rng(1)
    values = rng.normal(size=100)
    once = interval(values, np.arange(100))
    names = np.array([f"image {i:03d}" for i in range(100)])
    four_times = interval(np.repeat(values, 4), np.repeat(names, 4))
    assert four_times == pytest.approx(once)


def test_two_images_by_hand():
    # draws: 00, 01, 10, 11 with mean 0, 1/2, 1/2, 1, a quarter each
    assert interval([0, 0, 1, 1], ["a", "a", "b", "b"]) == (0.5, 0, 1)
    mean, low, high = interval([0, 1, 1, 1], ["a", "b", "b", "b"], level=0.4)
    assert (mean, low, high) == (0.75, 0.75, 0.75)  # 30th to 70th percentile of 0, 3/4, 3/4, 1


def test_coverage_of_clustered_values():
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        effects = rng.normal(size=(60, 1)) + 0.5 * rng.normal(size=(60, 4))
        ids = np.repeat(np.arange(60), 4)
        _, low, high = interval(effects.ravel(), ids, level=0.9, resamples=200, seed=trial)
        covered += low <= 0 <= high
    assert 0.84 <= covered / 200 <= 0.95  # rows as if independent would cover about 0.65


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 5)), min_size=2, max_size=30).filter(
        lambda rows: len({cluster for _, cluster in rows}) > 1
    ),
    st.randoms(use_true_random=False),
)
def test_order_does_not_matter_and_the_mean_is_the_rows(rows, random):
    shuffled = random.sample(rows, len(rows))
    result = interval(*zip(*rows, strict=True), resamples=100)
    assert interval(*zip(*shuffled, strict=True), resamples=100) == pytest.approx(result, abs=1e-9)
    values = [value for value, _ in rows]
    assert result[0] == pytest.approx(np.mean(values), abs=1e-9)
    assert min(values) - 1e-9 <= result[1] <= result[2] <= max(values) + 1e-9


def test_seed_level_and_booleans():
    rng = np.random.default_rng(3)
    values, ids = rng.random(200) < 0.9, np.arange(200)
    result = interval(values, ids)
    assert interval(values, ids) == result
    assert interval(values, ids, seed=1) != result
    assert result[0] == pytest.approx(values.mean())
    narrow = interval(values, ids, level=0.5)
    assert result[1] < narrow[1] < narrow[2] < result[2]


@pytest.mark.parametrize("value", [0, 1, 0.1])
def test_constant_values_give_no_width(value):
    assert interval([value] * 6, [0, 0, 1, 1, 2, 2]) == pytest.approx((value,) * 3)


def test_paired_difference_sees_what_the_means_hide():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=300)  # images differ far more than methods do
    a, b = truth + 0.1 + 0.05 * rng.normal(size=300), truth
    ids = np.arange(300)
    mean, low, high = paired_difference(a, b, ids)
    assert 0 < low < mean < high
    assert mean == pytest.approx(0.1, abs=0.02)
    assert interval(b, ids)[2] > interval(a, ids)[1]  # their own intervals overlap
    assert paired_difference(b, a, ids) == pytest.approx((-mean, -high, -low))


def test_refusals():
    with pytest.raises(ValueError, match=r"2 of 3 values are NaN or infinite"):
        interval([1.0, np.nan, np.inf], [0, 1, 2])
    with pytest.raises(ValueError, match=r"must be the same \(n,\)"):
        interval([1.0, 2.0], [0, 1, 2])
    with pytest.raises(ValueError, match=r"must be the same \(n,\)"):
        interval([[1.0], [2.0]], [[0], [1]])
    with pytest.raises(ValueError, match="no values"):
        interval([], [])
    with pytest.raises(ValueError, match="one cluster only"):
        interval([1.0, 2.0], ["a", "a"])
    with pytest.raises(ValueError, match=r"level 95"):
        interval([1.0, 2.0], [0, 1], level=95)
    with pytest.raises(ValueError, match="rows must be paired"):
        paired_difference([1.0, 2.0], [1.0], [0, 1])
