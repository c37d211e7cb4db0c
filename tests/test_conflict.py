"""The conflict index on made cases with known answers, against a slow version, and invariances."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cdlib.conflict import (
    conflict_curve,
    conflict_index,
    contexts_and_contents,
    extrapolated_index,
)
from cdlib.settings import SIDES


def mixture(conflict: float, count: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Contexts in a square; the given share of the content's variance is noise, the rest theirs."""
    rng = np.random.default_rng(seed)
    context = rng.random((count, 2))
    angle = 2 * np.pi * context[:, :1]
    decided = np.sqrt(2) * np.hstack([np.sin(angle), np.cos(angle)])  # variance 1 a column
    noise = rng.normal(size=(count, 2))
    return context, np.sqrt(1 - conflict) * decided + np.sqrt(conflict) * noise


def slow_index(context: np.ndarray, content: np.ndarray) -> float:
    def squared(vectors, i, j):
        return sum((a - b) ** 2 for a, b in zip(vectors[i], vectors[j], strict=True))

    count = len(context)
    nearest, everyone = [], []
    for i in range(count):
        others = [j for j in range(count) if j != i]
        nearest.append(squared(content, i, min(others, key=lambda j: squared(context, i, j))))
        everyone += [squared(content, i, j) for j in others]
    return float(np.mean(nearest) / np.mean(everyone))


def test_the_index_is_the_slow_one():
    context, content = mixture(0.4, count=40)
    assert conflict_index(context, content) == pytest.approx(slow_index(context, content))


def test_by_hand():
    context = torch.tensor([[0.0], [1.0], [10.0], [12.0]])  # pairs 0-1 and 2-3 are nearest
    content = torch.tensor([[0.0], [1.0], [0.0], [3.0]])
    # nearest: 1, 1, 9, 9, mean 5; all six pairs: 1, 0, 9, 1, 4, 9, mean 4
    assert conflict_index(context, content) == pytest.approx(5 / 4)


@pytest.mark.parametrize("conflict", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_a_mixture_has_its_share(conflict):
    context, content = mixture(conflict)
    assert conflict_index(context, content) == pytest.approx(conflict, abs=0.1)
    assert extrapolated_index(context, content) == pytest.approx(conflict, abs=0.1)


def test_the_index_errs_upwards_and_less_so_with_more_images():
    errors = [conflict_index(*mixture(0, count)) for count in (50, 200, 800)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2] > 0
    assert abs(extrapolated_index(*mixture(0, 800), neighbours=5)) < errors[2] / 2


def test_independent_content_has_index_1_without_bias():
    context, content = mixture(1, count=5)
    values = [conflict_index(context, content[list(order)]) for order in permutations(range(5))]
    assert np.mean(values) == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    units=st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(-5, 5)),
)
def test_neither_order_nor_units_matter(seed, units):
    context, content = mixture(0.5, count=60, seed=seed)
    order = np.random.default_rng(seed).permutation(60)
    other = units[0] * context[order] + units[2], units[1] * content[order] + units[2]
    for measure in (conflict_index, extrapolated_index):
        assert measure(*other) == pytest.approx(measure(context, content), rel=1e-6)
    curves = conflict_curve(*other, bins=5), conflict_curve(context, content, bins=5)
    np.testing.assert_allclose(*curves, rtol=1e-6)


def test_curve_rises_from_the_index_to_unlike_contexts():
    context, content = mixture(0.3)
    curve = conflict_curve(context, content, bins=10)
    count = len(context)
    assert curve["n"].sum() == count * (count - 1) / 2
    for column in ("context_distance", "content_distance"):
        assert np.average(curve[column], weights=curve["n"]) == pytest.approx(1)
    assert curve["quantile"].iloc[-1] == 1
    assert curve["context_distance"].is_monotonic_increasing
    assert curve["content_distance"].iloc[0] == pytest.approx(0.3, abs=0.1)
    assert curve["content_distance"].iloc[-1] > 1
    assert conflict_curve(context, content, bins=1).to_numpy().tolist() == [
        pytest.approx([1, 1, 1, count * (count - 1) / 2])
    ]


def photographs(count: int = 5, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", SIDES)
def test_context_and_content_are_the_two_parts(side):
    images = photographs()
    # 30 % of 64 are 19 pixels: two whole LR pixels of content, one of neither, five of context
    context, content = contexts_and_contents(images, side, 0.3)
    assert context.shape == (5, 5 * 8 * 3)
    assert content.shape == (5, 2 * 8 * 3)
    turns = {"right": 0, "top": 3, "left": 2, "bottom": 1}[side]
    upright = np.rot90(images, turns, axes=(1, 2))
    lr = upright.reshape(5, 8, 8, 8, 8, 3).mean(axis=(2, 4)) / 255
    for vectors, part in ((context, lr[:, :, :5]), (content, lr[:, :, 6:])):
        expected = np.sort(part.reshape(5, -1), axis=1)
        np.testing.assert_allclose(np.sort(vectors, axis=1), expected, atol=1e-6)


def test_scale_is_of_the_content_only():
    images = photographs()
    context, content = contexts_and_contents(images, "right", 0.3, scale=8)
    same, pixels = contexts_and_contents(images, "right", 0.3, scale=1)
    assert torch.equal(same, context)
    np.testing.assert_allclose(pixels, images[:, :, 48:].reshape(5, -1) / 255, atol=1e-6)
    average = pixels.view(5, 8, 8, 2, 8, 3).mean(dim=(2, 4)).flatten(1)
    torch.testing.assert_close(average, content)


def test_refusals():
    context, content = mixture(0.5, count=30)
    for measure in (conflict_index, extrapolated_index, conflict_curve):
        with pytest.raises(ValueError, match=r"expected \(N,Dc\) and \(N,Dm\)"):
            measure(context, content[:-1])
        with pytest.raises(ValueError, match=r"expected \(N,Dc\) and \(N,Dm\)"):
            measure(context[:, 0], content)
        with pytest.raises(ValueError, match="three images at least"):
            measure(context[:2], content[:2])
        with pytest.raises(ValueError, match="NaN or infinite"):
            measure(context, np.where(content > 1, np.nan, content))
        with pytest.raises(ValueError, match="content is the same in all images"):
            measure(context, np.ones_like(content))
    with pytest.raises(ValueError, match=r"neighbours 30: must lie in 2..29"):
        extrapolated_index(context, content, neighbours=30)
    with pytest.raises(ValueError, match="equally near"):
        extrapolated_index(np.ones_like(context), content)
    with pytest.raises(ValueError, match="context is the same"):
        conflict_curve(np.ones_like(context), content)
    with pytest.raises(ValueError, match="bins 0"):
        conflict_curve(context, content, bins=0)
    with pytest.raises(ValueError, match="sample of at most 5000"):
        conflict_curve(np.zeros((5001, 1)), np.arange(5001.0)[:, None])


def test_images_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        contexts_and_contents(photographs(size=60), "left", 0.3)
    with pytest.raises(ValueError, match="scale 3: must divide 8"):
        contexts_and_contents(photographs(), "left", 0.3, scale=3)
    with pytest.raises(ValueError, match=r"fraction 0\.05 of 64x64: no whole 8x8 block"):
        contexts_and_contents(photographs(), "left", 0.05)
    with pytest.raises(ValueError, match="side 'middle'"):
        contexts_and_contents(photographs(), "middle", 0.3)
