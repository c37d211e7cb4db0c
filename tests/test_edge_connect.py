"""EdgeConnect: its edges, its nets, its three phases, and what it may see."""

from dataclasses import replace
from itertools import count

import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_workspace
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

from cdlib.checkpoints import read_about
from cdlib.data.batches import Batch
from cdlib.masks import draw_masks, edge_mask
from cdlib.methods import edge_connect, peers
from cdlib.methods.edge_connect import canny, predict_edges
from cdlib.nets.edge_connect import EdgeGenerator, InpaintingGenerator, PatchCritic
from cdlib.settings import SIDES
from cdlib.training import train

WIDTH = 4


def photographs(count=4, height=32, width=32, seed=0):
    """Smooth images with a few strong contours."""
    noise = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian_blur(noise, 9)
    return ((smooth - 0.5) * 8 + 0.5).clamp(0, 1)


def batch_of(count=4, size=32):
    generator = torch.Generator().manual_seed(1)
    masks = draw_masks("edge", count, size, size, fraction=0.3, generator=generator)
    return Batch(photographs(count, size, size), masks, torch.zeros(count, dtype=torch.int64))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    changes = {"peers__edge_connect__width": WIDTH, "train__images_seen": 24}
    changes |= {"train__validate_every": 4}
    return tiny_workspace(tmp_path_factory.mktemp("edge_connect"), **changes)


@pytest.fixture(scope="module")
def trained(workspace):
    """Two steps of each phase, through the loop, by a measure that gets worse and worse."""
    data, calls = workspace.arrays("scenes"), count()

    def worse(_, batch):
        return {peers.BEST_BY: torch.full((len(batch.image),), float(next(calls)))}

    context = workspace.context("scenes")
    profile, run = workspace.profile, workspace.run
    recipe = replace(edge_connect.recipe(profile), validate=worse)
    train(recipe, profile, run, context.dataset, data.train, data.validation)
    return context


@pytest.fixture
def recipe(workspace):
    return edge_connect.recipe(workspace.profile)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 64)])
def test_the_nets_keep_sizes_and_ranges(height, width):
    image, mask = (
        photographs(2, height, width),
        edge_mask(height, width, "left").expand(2, 1, -1, -1),
    )
    grey = rgb_to_grayscale(image)
    edges = EdgeGenerator(WIDTH)(grey, grey, mask)
    output = InpaintingGenerator(WIDTH)(image, edges, mask)
    assert edges.shape == grey.shape
    assert output.shape == image.shape
    for result in (edges, output):
        assert result.min() >= 0
        assert result.max() <= 1
        assert result.std() > 0
    maps = PatchCritic(3, WIDTH)(image)
    assert [m.shape[1] for m in maps] == [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH, 1]
    assert maps[2].shape[2:] == (height // 8, width // 8)


def test_the_nets_do_not_look_under_the_mask():
    image, mask = photographs(2), edge_mask(32, 32, "top").expand(2, 1, -1, -1)
    hidden = torch.where(mask > 0, image, torch.nan)
    grey, edges = rgb_to_grayscale(hidden), torch.where(mask > 0, 1.0, torch.nan)
    assert EdgeGenerator(WIDTH)(grey, edges, mask).isfinite().all()
    assert InpaintingGenerator(WIDTH)(hidden, torch.ones_like(mask), mask).isfinite().all()


def test_the_size_is_the_source_s():
    """Written out layer by layer for width 64, without the biases that a norm takes out."""
    ends = 7 * 7 * 64 * (3 + 1) + 1 + 2 * 16 * (64 * 128 + 128 * 256)
    middle = 8 * 2 * 9 * 256 * 256
    assert sum(p.numel() for p in EdgeGenerator(64).parameters()) == ends + middle
    critic = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert sum(p.numel() for p in PatchCritic(3, 64).parameters()) == critic


def test_edges_of_a_masked_image_are_blind_to_the_hole_and_its_rim():
    grey = rgb_to_grayscale(photographs(4, 48, 48))
    masks = torch.stack([edge_mask(48, 48, side) for side in SIDES])
    edges = canny(grey, masks)
    assert edges.sum() > 50
    assert set(edges.unique().tolist()) == {0, 1}
    for hole in (torch.rand_like(grey), torch.full_like(grey, torch.nan), torch.zeros_like(grey)):
        assert torch.equal(canny(torch.where(masks > 0, grey, hole), masks), edges)
    flat = torch.where(masks > 0, torch.full_like(grey, 0.7), 0)
    assert canny(flat).sum() > 0  # the rim is an edge to who does not know the mask
    assert canny(flat, masks).sum() == 0
    assert (edges * (1 - masks)).sum() == 0


def test_edges_of_a_step_lie_on_the_step():
    grey = torch.zeros(1, 1, 32, 32)
    grey[..., 20:] = 1
    columns = canny(grey)[0, 0, 2:-2].nonzero()[:, 1].unique().tolist()
    assert columns in ([19], [20], [19, 20])


def test_predicted_edges_are_the_net_s_in_the_hole_alone():
    batch = batch_of()
    net = EdgeGenerator(WIDTH).eval()
    grey = rgb_to_grayscale(batch.masked)
    known = canny(grey, batch.mask)
    edges, valid = predict_edges(net, batch.masked, batch.mask), batch.mask > 0
    assert torch.equal(edges[valid], known[valid])
    assert torch.equal(edges[~valid], net(grey, known, batch.mask)[~valid])


def test_every_parameter_learns_and_each_phase_moves_its_own(recipe):
    nets, batch = recipe.build(), batch_of()
    moved = {}
    for phase in recipe.phases:
        for net in nets.values():
            net.train()
        if phase.prepare:
            phase.prepare(nets)
        losses, measured = phase.step(nets, batch)
        assert all(value.isfinite() and value.ndim == 0 for value in measured.values())
        for name, loss in losses.items():
            parameters = [p for net in recipe.optimisers[name].nets for p in nets[net].parameters()]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            assert all(g.abs().sum() > 0 for g in gradients), name
        moved[phase.name] = set(losses)
    edges, inpainting = (
        {"edge_generator", "edge_critic"},
        {
            "inpainting_generator",
            "inpainting_critic",
        },
    )
    assert list(moved.values()) == [edges, inpainting, inpainting]
    assert edges | inpainting == set(nets) == set(recipe.optimisers)


def test_the_edge_model_stands_still_in_the_last_phase(recipe):
    nets, last = recipe.build(), recipe.phases[-1]
    before = {key: value.clone() for key, value in nets["edge_generator"].state_dict().items()}
    last.prepare(nets)
    losses, _ = last.step(nets, batch_of())
    sum(losses.values()).backward()
    assert all(p.grad is None for p in nets["edge_generator"].parameters())
    for key, value in nets["edge_generator"].state_dict().items():
        assert torch.equal(value, before[key])


def evaluated(recipe):
    """Nets whose spectral norms stand still, so that a loss can be computed twice."""
    return {name: net.eval() for name, net in recipe.build().items()}


def says(score, real):
    return F.binary_cross_entropy(score.sigmoid(), torch.full_like(score, float(real)))


def test_the_edge_losses_by_hand(recipe):
    nets, batch = evaluated(recipe), batch_of()
    losses, _ = recipe.phases[0].step(nets, batch)
    grey, truth = rgb_to_grayscale(batch.image), canny(rgb_to_grayscale(batch.image))
    seen = rgb_to_grayscale(batch.masked)
    output = nets["edge_generator"](seen, canny(seen, batch.mask), batch.mask)
    real = nets["edge_critic"](torch.cat([grey, truth], 1))
    fake = nets["edge_critic"](torch.cat([grey, output], 1))
    matching = sum((a - b).abs().mean() for a, b in zip(real, fake, strict=True))
    generator = says(fake[-1], 1) + 10 * matching
    critic = (says(real[-1], 1) + says(fake[-1], 0)) / 2
    torch.testing.assert_close(losses["edge_generator"], generator)
    torch.testing.assert_close(losses["edge_critic"], critic)


def test_the_inpainting_losses_by_hand(recipe):
    nets, batch = evaluated(recipe), batch_of()
    losses, parts = recipe.phases[1].step(nets, batch)
    edges = canny(rgb_to_grayscale(batch.image))
    output = nets["inpainting_generator"](batch.masked, edges, batch.mask)
    real, fake = (nets["inpainting_critic"](x)[-1] for x in (batch.image, output))
    hole = (batch.mask == 0).float().mean()
    l1 = (output - batch.image).abs().mean() / hole
    features = 0.1 * parts["perceptual"] + 250 * parts["style"]
    torch.testing.assert_close(losses["inpainting_generator"], l1 + 0.1 * says(fake, 1) + features)
    critic = (says(real, 1) + says(fake, 0)) / 2
    torch.testing.assert_close(losses["inpainting_critic"], critic)
    assert parts["perceptual"] > 0
    assert parts["style"] > 0


def test_the_critics_learn_at_a_tenth_of_the_rate(recipe, workspace):
    rate = workspace.profile.peers.edge_connect.learning_rate
    rates = {name: o.learning_rate for name, o in recipe.optimisers.items()}
    assert rates["edge_critic"] == rates["inpainting_critic"] == pytest.approx(rate / 10)
    assert rates["edge_generator"] == rates["inpainting_generator"] == rate


def test_a_finished_training_fills_blindly(trained):
    fill = edge_connect.load(trained)
    for size in ((32, 32), (40, 64)):
        image = photographs(4, *size)
        mask = torch.stack([edge_mask(*size, side) for side in SIDES])
        with torch.no_grad():
            output = fill(image * mask, mask)
            assert output.shape == image.shape
            for hole in (torch.rand_like(image), torch.full_like(image, torch.nan)):
                assert torch.equal(fill(torch.where(mask > 0, image, hole), mask), output)


@torch.no_grad()
def test_the_oracle_reads_the_true_edges_of_the_hole_and_nothing_else(trained):
    oracle = edge_connect.load_oracle(trained)
    batch, other = batch_of(), photographs(seed=7)
    output = oracle(batch.masked, batch.mask, batch.image)
    assert not torch.equal(output, oracle(batch.masked, batch.mask, other))
    assert not torch.equal(output, edge_connect.load(trained)(batch.masked, batch.mask))
    # Outside Canny's reach of the hole the truth does not count.
    reach = F.max_pool2d(1 - batch.mask, 25, 1, 12)
    changed = torch.where(reach > 0, batch.image, other)
    assert torch.equal(output, oracle(batch.masked, batch.mask, changed))


def test_the_kept_weights_are_of_the_last_phase(trained):
    """Before it the inpainting model has not learnt to live with predicted edges."""
    path = trained.run.checkpoints(trained.dataset) / f"{edge_connect.NAME}.safetensors"
    assert read_about(path)["best_step"] == 5


def test_validation_and_preview(recipe):
    nets, batch = evaluated(recipe), batch_of()
    with torch.no_grad():
        measured = recipe.validate(nets, batch)
        grid = recipe.preview(nets, batch)
    assert {key: value.shape for key, value in measured.items()} == dict.fromkeys(
        ("l1_raw", "l1_composed", "edge_l1"), (4,)
    )
    assert recipe.best_by in measured
    assert (measured["l1_composed"] < measured["l1_raw"]).all()
    assert grid.shape == (16, 3, 32, 32)
