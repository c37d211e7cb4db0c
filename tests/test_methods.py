"""One contract over every method."""

import pytest
import torch
from tiny import tiny_workspace
from untrained import recipes, save_untrained

from cdlib import load_method
from cdlib.data.batches import validation_batches
from cdlib.masks import edge_mask
from cdlib.methods import METHODS
from cdlib.settings import SIDES

BLIND = [name for name, method in METHODS.items() if not method.oracle]
ORACLES = [name for name, method in METHODS.items() if method.oracle]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = tiny_workspace(tmp_path_factory.mktemp("methods"))
    save_untrained(workspace, "scenes")
    return workspace


def images(size=(32, 32)):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, *size, generator=generator)
    return image, torch.stack([edge_mask(*size, side) for side in SIDES])


@pytest.mark.parametrize("name", BLIND)
def test_it_fills_any_size_and_never_reads_under_the_mask(workspace, name):
    method = load_method(name, workspace.run.folder, "synthetic-scenes")
    for size in ((32, 32), (40, 64)):
        image, mask = images(size)
        output = method(image, mask)
        assert output.shape == image.shape
        assert output.isfinite().all()
        noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(2))
        for hole in (noise, torch.full_like(image, torch.nan), torch.full_like(image, 1e9)):
            assert torch.equal(method(torch.where(mask > 0, image, hole), mask), output)


@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_takes_the_truth_by_name_and_refuses_to_run_without(workspace, name):
    method = load_method(name, workspace.run.folder, "scenes")
    image, mask = images()
    with pytest.raises(ValueError, match=name):
        method(image, mask)
    output = method(image, mask, truth=image)
    assert output.shape == image.shape
    assert not torch.equal(output, method(image, mask, truth=image.flip(2)))


@pytest.mark.parametrize("name", METHODS)
def test_nothing_missing_and_next_to_nothing_valid_are_filled_too(workspace, name):
    method = load_method(name, workspace.run.folder, "scenes")
    image = images()[0][:1]
    whole, block = torch.ones(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    block[..., 8:16, 8:16] = 1
    for mask in (whole, block):
        output = method(image, mask, truth=image) if name in ORACLES else method(image, mask)
        assert output.shape == image.shape
        assert output.isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_what_is_wrong_is_refused_at_the_door(workspace, name):
    method = load_method(name, workspace.run.folder, "scenes")
    image, mask = images()
    with pytest.raises(ValueError, match="mask of shape"):
        method(image, mask[:, :, :16])
    with pytest.raises(ValueError, match="multiples of 8"):
        method(image[..., :20], mask[..., :20])


def test_unknown_names_and_folders_are_refused_by_name(workspace, tmp_path):
    with pytest.raises(ValueError, match=r"Deep.*Ours_STS"):
        load_method("Deep", workspace.run.folder, "scenes")
    with pytest.raises(ValueError, match=r"'cats'.*synthetic-faces"):
        load_method("mean", workspace.run.folder, "cats")
    with pytest.raises(FileNotFoundError, match=r"profile\.yaml"):
        load_method("mean", tmp_path, "scenes")
    with pytest.raises(ValueError, match=r"synthetic-faces.*train it first"):
        load_method("Ours_STS", workspace.run.folder, "faces")


def test_floors_by_hand(workspace):
    image, mask = images()
    fills = {n: load_method(n, workspace.run.folder, "scenes") for n in ("mean", "masked")}
    colour = image[0][:, mask[0, 0] > 0].mean(1)
    hole = fills["mean"](image, mask)[0][:, mask[0, 0] == 0]
    torch.testing.assert_close(hole, colour.unsqueeze(1).expand_as(hole))
    assert torch.equal(fills["masked"](image, mask), image * mask)


def test_every_parameter_of_every_net_gets_a_gradient(workspace):
    batch = next(validation_batches(workspace.arrays("scenes").validation, workspace.profile, 4))
    for recipe in recipes(workspace, "scenes"):
        nets = recipe.build()
        reached = set()
        for phase in recipe.phases:
            losses, _ = phase.step(nets, batch)
            for name, loss in losses.items():
                for net in recipe.optimisers[name].nets:
                    inputs = list(nets[net].parameters())
                    loss.backward(inputs=inputs, retain_graph=True)
                    reached |= {id(p) for p in inputs if p.grad is not None}
        for net in nets.values():
            for name, parameter in net.named_parameters():
                assert id(parameter) in reached, f"{recipe.name}: {name}"
                # A bias may cancel: before BatchNorm, or a critic's between real and fake.
                assert "bias" in name or parameter.grad.any(), f"{recipe.name}: {name}"
