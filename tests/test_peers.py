"""The rivals: one contract over their nets and recipes, and what is each paper's own."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cdlib.checkpoints import save_net
from cdlib.costs import parameters
from cdlib.data.batches import Batch
from cdlib.masks import compose, edge_mask
from cdlib.methods import context_encoder, gated_conv, partial_conv, peers
from cdlib.methods.context import Context
from cdlib.nets.context_encoder import ContextEncoder, net_size
from cdlib.nets.deepfill import DeepFill
from cdlib.nets.partial_unet import PartialUNet, halvings
from cdlib.perceptual import Features
from cdlib.runs import Run
from cdlib.settings import SIDES, load_profile, profile_names

METHODS = {method.NAME: method for method in (gated_conv, partial_conv, context_encoder)}
PROFILE = load_profile(
    "quick",
    {
        "size": 32,
        "peers.gated_conv.width": 4,
        "peers.partial_conv.width": 4,
        "peers.context_encoder.width": 4,
    },
)

every_method = pytest.mark.parametrize("name", METHODS)


def batch(size=32):
    generator = torch.Generator().manual_seed(1)
    image = F.interpolate(torch.rand(4, 3, 8, 8, generator=generator), size, mode="bilinear")
    image = image * torch.tensor([0.9, 0.5, 0.2]).view(3, 1, 1)  # of a colour that can be learnt
    masks = torch.stack([edge_mask(size, size, side) for side in SIDES])
    return Batch(image, masks, torch.zeros(4, dtype=torch.long))


def built(name):
    torch.manual_seed(0)
    recipe = METHODS[name].recipe(PROFILE)
    return recipe, recipe.build()


def gradients(recipe, phase, nets):
    """As the loop takes them: of each optimiser's loss, for that optimiser's parameters alone."""
    losses, _ = phase.step(nets, batch())
    assert set(losses) == set(recipe.optimisers)
    for name, loss in losses.items():
        owned = [p for net in recipe.optimisers[name].nets for p in nets[net].parameters()]
        inputs = [p for p in owned if p.requires_grad]
        loss.backward(inputs=inputs, retain_graph=True)


@every_method
def test_every_parameter_gets_a_gradient_and_one_step_moves_every_net(name):
    recipe, nets = built(name)
    assert {net for o in recipe.optimisers.values() for net in o.nets} == set(nets)
    if name == "gated_conv":
        # Within the hinge's margin, real and false cancel in the bias of the scores.
        nn.init.constant_(nets["critic"].layers[-1].bias, 2.0)
    before = copy.deepcopy(nets)
    gradients(recipe, recipe.phases[0], nets)
    for key, net in nets.items():
        for parameter, tensor in net.named_parameters():
            assert tensor.grad is not None, f"{key}.{parameter}"
            assert tensor.grad.isfinite().all(), f"{key}.{parameter}"
            assert tensor.grad.abs().max() > 0, f"{key}.{parameter}"
        torch.optim.Adam(net.parameters(), lr=1e-3).step()
        for old, new in zip(before[key].parameters(), net.parameters(), strict=True):
            assert not torch.equal(old, new)


@every_method
def test_a_few_steps_lower_the_loss(name):
    recipe, nets = built(name)
    optimisers = {
        key: torch.optim.Adam([p for n in o.nets for p in nets[n].parameters()], lr=2e-3)
        for key, o in recipe.optimisers.items()
    }
    errors = []
    for _ in range(12):
        errors.append(recipe.validate(nets, batch())["l1_raw"].mean())
        for optimiser in optimisers.values():
            optimiser.zero_grad()
        gradients(recipe, recipe.phases[0], nets)
        for optimiser in optimisers.values():
            optimiser.step()
    assert min(errors[-3:]) < 0.8 * errors[0]


@every_method
@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
def test_a_finished_net_fills_any_size_and_does_not_see_the_hole(name, size, tmp_path):
    _, nets = built(name)
    weights = {f"{name}.{key}": tensor for key, tensor in nets[name].state_dict().items()}
    context = Context(PROFILE, Run(tmp_path), "set")
    save_net(context.run.checkpoints("set") / f"{name}.safetensors", weights, {})
    fill = METHODS[name].load(context)
    image, mask = torch.rand(2, 3, *size), edge_mask(*size, "right").expand(2, -1, -1, -1)
    with torch.no_grad():
        output = fill(image, mask)
        assert output.shape == image.shape
        assert output.isfinite().all()
        assert 0 <= output.min() <= output.max() <= 1
        assert output.std() > 0
        assert torch.equal(fill(compose(torch.rand_like(image), image, mask), mask), output)


@every_method
def test_weights_are_chosen_by_the_same_rule_and_shown_in_the_same_columns(name):
    recipe, nets = built(name)
    example = batch()
    nets[name].eval()
    with torch.no_grad():
        measured = recipe.validate(nets, example)
        grid = recipe.preview(nets, example)
    assert recipe.best_by == peers.BEST_BY == "l1_composed"
    assert measured["l1_composed"].shape == (4,)
    assert (measured["l1_composed"] <= measured["l1_raw"]).all()
    masked, raw, composed, truth = grid.unflatten(0, (4, 4)).unbind(1)
    assert torch.equal(masked, example.masked)
    assert torch.equal(truth, example.image)
    assert torch.equal(composed, compose(raw, truth, example.mask))


def test_every_profile_gives_the_rivals_their_sizes():
    for profile in map(load_profile, profile_names()):
        assert set(profile.peers.model_fields_set) == set(type(profile.peers).model_fields)
    paper, quick, cpu = (load_profile(name).peers for name in ("paper", "quick", "cpu"))
    assert paper == type(paper)()  # the defaults are the papers' own
    for rival in type(paper).model_fields:
        assert getattr(quick, rival).width < getattr(cpu, rival).width


def test_gated_conv_has_its_papers_number_of_parameters():
    with torch.device("meta"):
        assert parameters(DeepFill(48)) / 1e6 == pytest.approx(4.1, abs=0.06)


def test_gated_conv_weighs_its_losses_as_the_source():
    recipe, nets = built("gated_conv")
    example = batch()
    nets["critic"].eval()  # no power iteration between the two calls
    losses, _ = recipe.phases[0].step(nets, example)
    coarse, refined = nets["gated_conv"](example.masked, example.mask)
    composed = compose(refined, example.image, example.mask)
    fake = nets["critic"](composed, example.mask)
    real = nets["critic"](example.image, example.mask)
    # the source's images lie in [-1,1], where differences are twice ours
    l1 = [(2 * (image - example.image)).abs().mean() for image in (coarse, refined)]
    torch.testing.assert_close(losses["gated_conv"], sum(l1) - fake.mean())
    hinge = (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2
    torch.testing.assert_close(losses["critic"], hinge)


def test_gated_conv_starts_with_a_signal_at_its_output():
    _, nets = built("gated_conv")
    with torch.no_grad():
        coarse, refined = nets["gated_conv"](batch().masked, batch().mask)
    for image in (coarse, refined):
        assert image.std(dim=(2, 3)).mean() > 0.01


@pytest.mark.parametrize(
    ("size", "times", "left"), [(32, 5, 1), (64, 6, 1), (96, 6, 2), (128, 7, 1), (256, 8, 1)]
)
def test_partial_conv_halves_down_to_1_or_2_pixels(size, times, left):
    assert halvings(size) == times
    net = PartialUNet(size, width=1).eval()
    shapes = []
    net.encoder[-1].register_forward_hook(lambda *call: shapes.append(call[-1][0].shape[-2:]))
    with torch.no_grad():
        net(torch.rand(1, 3, size, size), torch.ones(1, 1, size, size))
    assert shapes == [(left, left)]


def test_partial_conv_has_its_papers_layers():
    with torch.device("meta"):
        net = PartialUNet(256)
    shapes = [tuple(block.conv.conv.weight.shape) for block in (*net.encoder, *net.decoder)]
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    kernels = [7, 5, 5, 3, 3, 3, 3, 3]
    down = zip(widths, [3, *widths], kernels, strict=False)
    assert shapes[:8] == [(out, inputs, k, k) for out, inputs, k in down]
    up = [512, 512, 512, 512, 256, 128, 64, 3]
    inputs = [512 + 512, 512 + 512, 512 + 512, 512 + 512, 512 + 256, 256 + 128, 128 + 64, 64 + 3]
    assert shapes[8:] == [(o, i, 3, 3) for o, i in zip(up, inputs, strict=True)]


def test_partial_conv_second_phase_leaves_the_encoders_norms_as_they_are():
    recipe, nets = built("partial_conv")
    first, second = recipe.phases
    assert [first.share, second.share] == [0.8, 0.2]
    assert second.rate * 2e-4 == pytest.approx(5e-5)
    net = nets["partial_conv"].train()
    gradients(recipe, first, nets)  # moves the running statistics off their start
    net.zero_grad()
    second.prepare(nets)
    norms = {
        part: [m for m in getattr(net, part).modules() if isinstance(m, nn.BatchNorm2d)]
        for part in ("encoder", "decoder")
    }
    before = copy.deepcopy(norms)
    gradients(recipe, second, nets)
    torch.optim.Adam(net.parameters(), lr=1e-3).step()
    changed = {
        part: [
            not torch.equal(old, new)
            for a, b in zip(before[part], norms[part], strict=True)
            for old, new in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
        ]
        for part in norms
    }
    assert len(norms["encoder"]) == 4
    assert not any(changed["encoder"])
    assert all(changed["decoder"])


def test_partial_conv_weighs_its_losses_as_the_paper():
    recipe, nets = built("partial_conv")
    example = batch()
    loss, measured = recipe.phases[0].step(nets, example)
    papers = {"valid": 1, "hole": 6, "perceptual": 0.05, "style": 120, "variation": 0.1}
    assert papers == partial_conv.WEIGHTS
    expected = sum(papers[name] * term for name, term in measured.items())
    torch.testing.assert_close(loss["partial_conv"].detach(), expected)


def test_partial_conv_terms_by_hand():
    truth, mask = torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    mask[..., 12:] = 0
    output = torch.full_like(truth, 0.5)
    terms = partial_conv.loss_terms(Features("small"), output, truth, mask)
    assert terms["valid"] == 0.5 * 12 / 16  # averaged over the size of the image
    assert terms["hole"] == 0.5 * 4 / 16
    # one step of 0.5 in each of 16 rows, inside the hole and its rim
    assert terms["variation"] == pytest.approx(0.5 * 16 * 3 / (3 * 16 * 16))
    raw_only = partial_conv.loss_terms(Features("small"), output * mask, truth, mask)
    assert raw_only["hole"] == raw_only["variation"] == 0
    assert raw_only["perceptual"] > 0  # the raw output is looked at, not the composed one alone


def test_hole_variation_is_its_sum_over_pairs():
    image, mask = torch.rand(2, 3, 7, 8), torch.rand(2, 1, 7, 8).round()
    total = 0.0
    for b in range(2):
        hole = {(i, j) for i in range(7) for j in range(8) if mask[b, 0, i, j] == 0}
        grown = {(i + di, j + dj) for i, j in hole for di in (-1, 0, 1) for dj in (-1, 0, 1)}
        for i in range(7):
            for j in range(8):
                for neighbour in ((i + 1, j), (i, j + 1)):
                    inside = neighbour[0] < 7 and neighbour[1] < 8
                    if inside and {(i, j), neighbour} <= grown:
                        total += (image[b, :, i, j] - image[b, :, *neighbour]).abs().sum().item()
    value = partial_conv.hole_variation(image, mask).item()
    assert value == pytest.approx(total / image.numel(), rel=1e-5)


def test_context_encoder_weighs_its_losses_as_the_paper():
    recipe, nets = built("context_encoder")
    example = batch()
    nets["critic"].eval()
    losses, _ = recipe.phases[0].step(nets, example)
    output = nets["context_encoder"](example.masked, example.mask)
    real, fake = nets["critic"](example.image), nets["critic"](output)
    l2 = (2 * (output - example.image)).square().mean()  # as in [-1,1]
    expected = 0.999 * l2 - 0.001 * F.logsigmoid(fake).mean()
    torch.testing.assert_close(losses["context_encoder"], expected)
    cross = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
    torch.testing.assert_close(losses["critic"], cross)
    rates = {name: o.learning_rate for name, o in recipe.optimisers.items()}
    assert rates["critic"] == pytest.approx(rates["context_encoder"] / 10)


def test_context_encoder_is_made_for_a_multiple_of_32():
    assert [net_size(size) for size in (32, 40, 64, 72, 96, 128, 256)] == [
        32, 32, 64, 64, 96, 128, 256
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"size 40: .*multiple of 32"):
        ContextEncoder(40)


def test_context_encoder_reaches_across_the_whole_image():
    net = ContextEncoder(64, width=2).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    output = net(image, torch.ones(1, 1, 64, 64))
    (gradient,) = torch.autograd.grad(output[..., -4:, -4:].sum(), image)
    assert gradient[..., :4, :4].abs().max() > 0
