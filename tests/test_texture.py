import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings

from cdlib import finetune, similar_texture_selection, stretch_valid
from cdlib.masks import edge_mask
from cdlib.settings import SIDES
from cdlib.texture import select_blocks, valid_rectangle


def slow_selection(lr_output, reference, valid, block):
    """Eq. 1-2 as loops: every LR pixel against every reference block, the first best wins."""
    batch, _, height, width = lr_output.shape
    lr_reference = F.avg_pool2d(reference, block)
    out = torch.zeros_like(reference)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                best, best_distance = None, float("inf")
                for v in range(height):
                    for u in range(width):
                        rows, columns = (
                            slice(v * block, (v + 1) * block),
                            slice(u * block, (u + 1) * block),
                        )
                        if valid is not None and not (valid[b, 0, rows, columns] == 1).all():
                            continue
                        d = (lr_output[b, :, y, x] - lr_reference[b, :, v, u]).abs()
                        distance = ((d[0] + d[1]) + d[2]).item()
                        if distance < best_distance:
                            best, best_distance = (rows, columns), distance
                out[b, :, y * block : (y + 1) * block, x * block : (x + 1) * block] = reference[
                    b, :, best[0], best[1]
                ]
    return out


def images(seed, batch, height, width, block, levels):
    """Few grey levels make ties common."""
    generator = torch.Generator().manual_seed(seed)
    lr = torch.randint(levels, (batch, 3, height, width), generator=generator) / levels
    shape = (batch, 3, height * block, width * block)
    return lr, torch.randint(levels, shape, generator=generator) / levels


cases = {
    "seed": st.integers(0, 2**31),
    "batch": st.integers(1, 3),
    "height": st.integers(2, 5),
    "width": st.integers(2, 5),
    "block": st.sampled_from([1, 2, 8]),
    "levels": st.sampled_from([2, 4, 256]),
}


@settings(max_examples=25, deadline=None)
@given(**cases)
def test_literal_form_equals_the_triple_loop(seed, batch, height, width, block, levels):
    lr, reference = images(seed, batch, height, width, block, levels)
    fast = similar_texture_selection(lr, reference, block=block)
    assert torch.equal(fast, slow_selection(lr, reference, None, block))


@settings(max_examples=25, deadline=None)
@given(side=st.sampled_from(SIDES), **cases)
def test_valid_form_equals_the_triple_loop(seed, batch, height, width, block, levels, side):
    lr, reference = images(seed, batch, height, width, block, levels)
    tall, wide = height * block, width * block
    valid = edge_mask(tall, wide, side, 0.5).expand(batch, 1, tall, wide)
    fast = similar_texture_selection(lr, reference, valid, block)
    assert torch.equal(fast, slow_selection(lr, reference, valid, block))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.sampled_from(SIDES))
def test_no_pixel_comes_from_outside_a_valid_block(seed, side):
    lr, reference = images(seed, 2, 6, 6, 8, 256)
    valid = edge_mask(48, 48, side, 0.3).expand(2, 1, 48, 48)
    marked = torch.where(valid > 0, reference, 7.0)
    assert similar_texture_selection(lr, marked, valid).max() <= 1
    poisoned = torch.where(valid > 0, reference, torch.nan)
    assert not similar_texture_selection(lr, poisoned, valid).isnan().any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_reference_comes_back_from_its_own_lr_version(seed):
    generator = torch.Generator().manual_seed(seed)
    reference = torch.rand(1, 3, 32, 32, generator=generator)
    lr = F.avg_pool2d(reference, 8)
    assert len(lr.flatten(2)[0].T.unique(dim=0)) == 16  # distinct colours
    assert torch.equal(similar_texture_selection(lr, reference), reference)


def test_many_queries_are_taken_in_chunks(monkeypatch):
    lr, reference = images(0, 2, 6, 6, 2, 256)
    whole = select_blocks(lr, reference, block=2)
    monkeypatch.setattr("cdlib.texture._CHUNK", 100)
    assert torch.equal(select_blocks(lr, reference, block=2), whole)


def test_refusals_name_the_image_and_the_shapes():
    lr, reference = images(0, 2, 4, 4, 8, 256)
    valid = torch.ones(2, 1, 32, 32)
    valid[1, :, ::8] = 0  # a missing line in every block
    with pytest.raises(ValueError, match="image 1: no 8x8 block"):
        similar_texture_selection(lr, reference, valid)
    with pytest.raises(ValueError, match="expected 8 times"):
        similar_texture_selection(lr, reference[..., :16])


@pytest.mark.parametrize("side", SIDES)
def test_stretch_is_the_valid_strip_resized(side):
    image = torch.rand(1, 3, 40, 48)
    mask = edge_mask(40, 48, side).unsqueeze(0)
    rows, columns = (mask[0, 0] > 0).any(1), (mask[0, 0] > 0).any(0)
    strip = image[:, :, rows][..., columns]
    expected = F.interpolate(strip, (40, 48), mode="bilinear", align_corners=False)
    assert torch.equal(stretch_valid(image, mask), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 7), st.floats(0.3, 0.95))
def test_valid_rectangle_is_the_largest(seed, height, width, density):
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(height, width, generator=generator) < density
    if not valid.any():
        with pytest.raises(ValueError, match="no valid pixel"):
            valid_rectangle(valid)
        return
    found = valid[valid_rectangle(valid)]
    largest = max(
        (b - t) * (r - s)
        for t in range(height)
        for b in range(t + 1, height + 1)
        for s in range(width)
        for r in range(s + 1, width + 1)
        if valid[t:b, s:r].all()
    )
    assert found.all()
    assert found.numel() == largest


def test_finetune_by_hand():
    output = torch.tensor([0.5, 0.5, 0.5]).view(1, 3, 1, 1).expand(1, 3, 1, 2).clone()
    stretched = output.clone()
    stretched[0, :, 0, 0] += torch.tensor([0.3, 0.0, 0.0])  # mean over RGB 0.1
    stretched[0, :, 0, 1] += torch.tensor([0.3, 0.3, 0.0])  # mean over RGB 0.2
    fine = finetune(output, stretched, threshold=0.15)
    assert torch.equal(fine[..., 0], stretched[..., 0])
    assert torch.equal(fine[..., 1], output[..., 1])
    assert torch.equal(finetune(output, stretched, threshold=0.0), output)
