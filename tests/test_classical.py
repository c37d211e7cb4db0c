"""Fills without learning, and the nearest training image."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_workspace

from cdlib.masks import compose, edge_mask, irregular_mask
from cdlib.methods import classical, nearest_image, patchmatch
from cdlib.methods.nearest_image import NearestImage
from cdlib.settings import SIDES

LOADERS = {
    "telea": classical.load_telea,
    "navier_stokes": classical.load_navier_stokes,
    "biharmonic": classical.load_biharmonic,
    "patchmatch": patchmatch.load,
    "nearest_image": nearest_image.load,
}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return tiny_workspace(tmp_path_factory.mktemp("classical")).context("scenes")


@pytest.fixture(scope="module")
def fills(context):
    return {name: load(context) for name, load in LOADERS.items()}


@pytest.fixture(scope="module")
def training(fills):
    return fills["nearest_image"].training


def images(height=32, width=32, count=4):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 3, height // 8, width // 8, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bilinear")


def masks(height=32, width=32):
    edges = [edge_mask(height, width, side) for side in SIDES]
    return torch.stack(edges)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
def test_a_fill_is_blind_repeatable_and_keeps_what_is_valid(fills, name, size):
    fill, image, mask = fills[name], images(*size), masks(*size)
    output = fill(image * mask, mask)
    assert output.shape == image.shape
    assert output.min() >= 0
    assert output.max() <= 1
    assert torch.equal(compose(output, image, mask), output)
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(4))
    for hole in (noise, torch.full_like(image, torch.nan), torch.ones_like(image)):
        assert torch.equal(fill(torch.where(mask > 0, image, hole), mask), output)
    assert (output - image)[(mask == 0).expand_as(image)].abs().max() > 0


@pytest.mark.parametrize("name", LOADERS)
def test_a_fill_takes_holes_that_leave_little(fills, name):
    generator = torch.Generator().manual_seed(5)
    strokes = irregular_mask(48, 48, generator=generator)
    corner = torch.zeros(1, 48, 48)
    corner[:, 40:, 45:] = 1
    one = torch.zeros(1, 48, 48)
    one[:, 20, 20] = 1
    mask = torch.stack([strokes, corner, one])
    output = fills[name](images(48, 48, 3) * mask, mask)
    assert output.isfinite().all()


@pytest.mark.parametrize("name", ["telea", "navier_stokes", "biharmonic", "patchmatch"])
def test_a_plain_image_is_completed_plainly(fills, name):
    colour = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(4, 3, 32, 32)
    output = fills[name](colour * masks(), masks())
    torch.testing.assert_close(output, colour, atol=4 / 255, rtol=0)  # Telea drifts as it rounds


def test_biharmonic_continues_a_ramp_that_smearing_does_not(fills):
    ramp = torch.linspace(0.2, 0.8, 32).view(1, 1, 1, 32).expand(1, 3, 32, 32)
    mask = torch.ones(1, 1, 32, 32)
    mask[..., 8:24, 12:20] = 0
    output = fills["biharmonic"](ramp * mask, mask)
    torch.testing.assert_close(output, ramp, atol=1.5 / 255, rtol=0)


def test_opencv_alone_would_read_the_hole():
    """Why `fill_each` paints the hole first."""
    rgb = (images(96, 96)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    hole = 1 - edge_mask(96, 96, "top")[0].byte().numpy()
    painted = [np.where(hole[..., None] > 0, np.uint8(c), rgb) for c in (0, 255)]
    first, second = (cv2.inpaint(p, hole, 3, cv2.INPAINT_TELEA) for p in painted)
    assert not np.array_equal(first, second)


def test_patchmatch_copies_what_the_image_has():
    """Stripes go on as stripes: smearing colours would give grey."""
    stripes = (torch.arange(48) % 8 < 4).float().view(1, 1, 1, 48).expand(1, 3, 48, 48)
    mask = edge_mask(48, 48, "right").unsqueeze(0)
    output = patchmatch.load(None)(stripes * mask, mask)
    grey = ((output > 0.25) & (output < 0.75)).float().mean()
    assert grey < 0.02
    assert (output - stripes).abs().mean() < 0.05


def slow_choice(training, image, mask):
    """The same by loops over images and LR pixels, at double precision."""
    chosen = []
    for picture, known in zip(image.double(), mask.double(), strict=True):
        distances = []
        for index in range(len(training)):
            other = training.tensor([index])[0].double()
            total = 0.0
            for top in range(0, picture.shape[1], 8):
                for left in range(0, picture.shape[2], 8):
                    box = slice(top, top + 8), slice(left, left + 8)
                    share = known[0][box].mean()
                    if share == 0:
                        continue
                    seen = (picture[:, *box] * known[:, *box]).sum((1, 2)) / known[0][box].sum()
                    total += share * (seen - other[:, *box].mean((1, 2))).square().sum()
            distances.append(float(total))
        chosen.append(int(np.argmin(distances)))
    return chosen


def test_the_nearest_image_is_the_slow_loop_s(training):
    mask = masks()
    mask[3] = irregular_mask(32, 32, generator=torch.Generator().manual_seed(6))
    # Two training images in a new light, and two inputs that are no training image.
    image = images()
    image[:2] = (training.tensor([5, 17]) * 0.9 + 0.05).clamp(0, 1)
    expected = slow_choice(training, image, mask)
    assert NearestImage(training).choose(image, mask).tolist() == expected
    assert len(set(expected)) > 1


def test_a_training_image_is_completed_by_itself(fills, training):
    image, mask = training.tensor([0, 9, 20, 33]), masks()
    output = fills["nearest_image"](image * mask, mask)
    torch.testing.assert_close(output, image, atol=1e-5, rtol=0)


def test_the_training_set_is_thinned_to_the_memory_it_may_take(training):
    lr_pixels = 4 * 4
    thinned = NearestImage(training, memory=12 * lr_pixels * 7)
    image, mask = training.tensor([0, 1, 2, 47]), masks()
    chosen = set()
    for index in range(len(training)):
        chosen.add(int(thinned.choose(training.tensor([index]), mask[:1])))
    assert len(chosen) <= 7
    positions, keys = thinned._keys
    assert keys.numel() * 4 <= 12 * lr_pixels * 7
    assert positions.tolist() == np.linspace(0, 47, 7).round().astype(int).tolist()
    assert thinned.choose(image, mask)[[0, 3]].tolist() == [0, 47]
