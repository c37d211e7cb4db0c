import numpy as np
import pytest
import torch
from tiny import tiny_workspace

from cdlib.data.batches import TrainingBatches, side_batches, validation_batches
from cdlib.settings import SIDES


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tiny_workspace(tmp_path_factory.mktemp("batches"))


@pytest.fixture(scope="module")
def arrays(workspace):
    return workspace.arrays("scenes")


def test_a_batch_is_a_function_of_seed_and_step(workspace, arrays):
    forwards = TrainingBatches(arrays.train, workspace.profile)
    backwards = TrainingBatches(arrays.train, workspace.profile)
    there = [forwards.batch(step) for step in range(30)]
    back = [backwards.batch(step) for step in reversed(range(30))][::-1]
    for a, b in zip(there, back, strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.mask, b.mask)
        assert torch.equal(a.label, b.label)
    assert not torch.equal(there[0].image, there[12].image)  # the next epoch is another order


def test_an_epoch_sees_every_image_once(workspace, arrays):
    plain = workspace.profile.model_copy(
        update={"train": workspace.profile.train.model_copy(update={"crop": 1.0, "flip": False})}
    )
    batches = TrainingBatches(arrays.train, plain)
    seen = torch.cat([batches.batch(step).image for step in range(len(arrays.train) // 4)])
    known = arrays.train.tensor(np.arange(len(arrays.train)))
    nearest = torch.cdist(seen.flatten(1), known.flatten(1)).min(dim=1)
    assert nearest.values.max() < 0.1
    assert sorted(nearest.indices.tolist()) == list(range(len(arrays.train)))


def test_ranks_share_one_global_batch(workspace, arrays):
    whole = TrainingBatches(arrays.train, workspace.profile).batch(5)
    parts = [TrainingBatches(arrays.train, workspace.profile, r, 2).batch(5) for r in range(2)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.image, whole.image[rank::2])
        assert torch.equal(part.mask, whole.mask[rank::2])


def test_crops_stay_inside_and_keep_the_range(workspace, arrays):
    batches = TrainingBatches(arrays.train, workspace.profile)
    for step in range(20):
        image = batches.batch(step).image
        assert image.shape[-1] == workspace.profile.size
        assert 0 <= image.amin() <= image.amax() <= 1
    grid = batches._crops(500, torch.Generator().manual_seed(0))
    assert grid.abs().max() < 1


def test_validation_takes_the_sides_in_turn_and_tests_take_all(workspace, arrays):
    profile = workspace.profile
    masks = torch.cat([b.mask for b in validation_batches(arrays.validation, profile, 5)])
    assert len(masks) == len(arrays.validation)
    assert torch.equal(masks[0], masks[4])
    assert not torch.equal(masks[0], masks[1])
    seen = [
        (side, name)
        for side, names, batch in side_batches(arrays.test, profile, 5)
        for name in names
        if len(names) == len(batch.image)
    ]
    assert seen == [(side, name) for side in SIDES for name in arrays.test.names]
