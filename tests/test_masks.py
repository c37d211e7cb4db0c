import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from cdlib.masks import (
    check_inputs,
    compose,
    draw_masks,
    edge_mask,
    irregular_mask,
    rectangle_mask,
)
from cdlib.settings import SIDES

sizes = st.integers(2, 12).map(lambda n: 8 * n)


@given(sizes, sizes, st.sampled_from(SIDES), st.floats(0.1, 0.9))
def test_edge_mask_is_a_strip_of_the_fraction_at_its_side(height, width, side, fraction):
    mask = edge_mask(height, width, side, fraction)[0]
    upright = mask if side in ("top", "bottom") else mask.T
    lines = upright[:, 0]
    assert (upright == lines[:, None]).all()
    assert (lines == 0).sum() == round(len(lines) * fraction)
    ordered = lines if side in ("top", "left") else lines.flip(0)
    assert (ordered.diff() >= 0).all()


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_edge_mask_refuses_fractions_that_leave_nothing(fraction):
    with pytest.raises(ValueError, match="fraction"):
        edge_mask(64, 64, "top", fraction)


def test_edge_mask_refuses_an_unknown_side():
    with pytest.raises(ValueError, match="top, bottom, left, right"):
        edge_mask(64, 64, "middle")


@settings(max_examples=30)
@given(sizes, sizes, st.integers(0, 2**31))
def test_random_masks_are_binary_leave_something_and_follow_their_generator(height, width, seed):
    for draw in (rectangle_mask, irregular_mask):
        first, again = (
            draw(height, width, generator=torch.Generator().manual_seed(seed)) for _ in range(2)
        )
        assert first.shape == (1, height, width)
        assert torch.equal(first, again)
        assert set(first.unique().tolist()) == {0.0, 1.0}


def test_a_rectangle_is_one_rectangle():
    mask = rectangle_mask(64, 96, generator=torch.Generator().manual_seed(3))[0]
    rows, columns = ((mask == 0).any(dim=d) for d in (1, 0))
    assert torch.equal(mask == 0, rows[:, None] & columns[None, :])


def test_edge_masks_of_a_batch_take_every_side():
    generator = torch.Generator().manual_seed(0)
    masks = draw_masks("edge", 64, 32, 32, fraction=0.3, generator=generator)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 4


def test_compose_keeps_valid_pixels_exactly_even_beside_nan():
    image, output = torch.rand(2, 3, 16, 16), torch.full((2, 3, 16, 16), torch.nan)
    mask = edge_mask(16, 16, "left").expand(2, 1, 16, 16)
    composed = compose(output, image, mask)
    valid = mask.expand_as(image) > 0
    assert torch.equal(composed[valid], image[valid])
    assert composed[~valid].isnan().all()


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16), r"\(B,3,H,W\)"),
        (torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 8, 16), "mask of shape"),
        (torch.zeros(1, 3, 20, 16), torch.ones(1, 1, 20, 16), "multiples of 8"),
        (torch.zeros(1, 3, 16, 16), torch.full((1, 1, 16, 16), 0.5), "other than 0"),
        (torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16), "no valid pixel"),
        (torch.full((1, 3, 16, 16), torch.nan), torch.ones(1, 1, 16, 16), "NaN"),
    ],
)
def test_the_door_names_what_is_wrong(image, mask, message):
    with pytest.raises(ValueError, match=message):
        check_inputs(image, mask)


def test_the_door_lets_anything_stand_under_the_hole():
    mask = edge_mask(16, 16, "top").unsqueeze(0)
    check_inputs(torch.where(mask > 0, torch.rand(1, 3, 16, 16), torch.nan), mask)
