"""The rivals' primitives, against slow versions written from their equations."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cdlib.contextual_attention import contextual_attention
from cdlib.layers import GatedConv2d, PartialConv2d
from cdlib.methods.gated_conv import critic
from cdlib.nets.context_encoder import ChannelwiseLinear


def partial_convolution(x, mask, weight, bias, stride):
    """Liu et al. 2018, eq. (1) and (2), window by window; x (C,H,W), mask (C,H,W)."""
    channels, _, kernel, _ = weight.shape
    pad = kernel // 2
    x, mask = (F.pad(t, (pad,) * 4) for t in (x, mask))
    rows = range(0, x.shape[1] - kernel + 1, stride)
    columns = range(0, x.shape[2] - kernel + 1, stride)
    out = torch.zeros(channels, len(rows), len(columns), dtype=x.dtype)
    found = torch.zeros(1, len(rows), len(columns), dtype=x.dtype)
    for (i, top), (j, left) in itertools.product(enumerate(rows), enumerate(columns)):
        window = (slice(None), slice(top, top + kernel), slice(left, left + kernel))
        count = mask[window].sum()
        if count > 0:
            valid = x[window] * mask[window]
            out[:, i, j] = (weight * valid).sum((1, 2, 3)) * (mask[window].numel() / count) + bias
            found[:, i, j] = 1
    return out, found


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (5, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize("masks", ["one", "a channel each"])
def test_partial_convolution_is_its_equations(kernel, stride, masks):
    layer = PartialConv2d(3, 4, kernel, stride).double()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 13, 12, dtype=torch.double)
    mask = torch.rand(2, 1 if masks == "one" else 3, 13, 12, dtype=torch.double).round()
    mask[:, :, :, :8] = 0  # whole windows with nothing valid
    out, found = layer(x if masks == "one" else x * mask, mask.mean(1, keepdim=True))
    for b in range(2):
        expected = partial_convolution(
            x[b], mask[b].expand(3, -1, -1), layer.conv.weight, layer.bias.flatten(), stride
        )
        torch.testing.assert_close((out[b], found[b]), expected)
    assert (found == 0).any()
    assert (out * (1 - found) == 0).all()


def test_partial_convolution_of_a_full_mask_is_convolution_inside_the_frame():
    layer = PartialConv2d(3, 4, kernel=3)
    x, ones = torch.randn(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    out, found = layer(x, ones)
    plain = F.conv2d(x, layer.conv.weight) + layer.bias
    torch.testing.assert_close(out[..., 1:-1, 1:-1], plain)
    assert (found == 1).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), value=st.floats(-1e3, 1e3))
def test_partial_convolution_does_not_see_the_hole(seed, value):
    generator = torch.Generator().manual_seed(seed)
    layer = PartialConv2d(2, 3, kernel=3, stride=2)
    x = torch.randn(1, 2, 6, 6, generator=generator)
    mask = torch.rand(1, 1, 6, 6, generator=generator).round()
    changed = torch.where(mask > 0, x, value)
    torch.testing.assert_close(layer(x, mask), layer(changed, mask), rtol=0, atol=0)


def test_gated_convolution_without_norm_is_elu_times_sigmoid():
    layer = GatedConv2d(3, 5, 3, dilation=2, norm=nn.Identity, activation=nn.ELU())
    x = torch.randn(2, 3, 9, 8)
    padding = {"padding": 2, "dilation": 2}
    feature = F.conv2d(x, layer.feature.weight, layer.feature.bias, **padding)
    gate = F.conv2d(x, layer.gate.weight, layer.gate.bias, **padding)
    expected = torch.where(feature > 0, feature, feature.exp() - 1) / (1 + (-gate).exp())
    torch.testing.assert_close(layer(x), expected)


def slow_attention(x, mask, scale):
    """Yu et al. 2018, sec. 4.1, patch by patch, at rate 2; x (C,h,w), mask (1,h,w)."""
    channels, height, width = x.shape
    small, valid = x[:, ::2, ::2], F.max_pool2d(1 - mask, 2)[0] == 0
    places = list(itertools.product(range(height // 2), range(width // 2)))

    def patch(place):
        padded = F.pad(small, (1, 1, 1, 1))
        values = padded[:, place[0] : place[0] + 3, place[1] : place[1] + 3].flatten()
        return values / values.norm().clamp_min(1e-12)

    cosine = {(p, q): patch(p) @ patch(q) for p in places for q in places}

    def shifted(scores, axis):
        def at(p, q, step):
            move = (step, 0) if axis == 0 else (0, step)
            key = tuple((a + move[0], b + move[1]) for a, b in (p, q))
            return scores.get(key, torch.zeros((), dtype=x.dtype))

        return {(p, q): sum(at(p, q, step) for step in (-1, 0, 1)) for p, q in scores}

    fused = shifted(shifted(cosine, axis=1), axis=0)

    def usable(place):
        rows = slice(max(place[0] - 1, 0), place[0] + 2)
        columns = slice(max(place[1] - 1, 0), place[1] + 2)
        return valid[rows, columns].all()

    sources = [q for q in places if usable(q)]
    total = torch.zeros(channels, height + 2, width + 2, dtype=x.dtype)
    count = torch.zeros(1, height + 2, width + 2, dtype=x.dtype)
    padded = F.pad(x, (1, 1, 1, 1))
    for p in places:
        weights = [(scale * fused[p, q]).exp() for q in sources]
        everything = sum(weights) + len(places) - len(sources)  # the unusable ones weigh exp(0)
        window = (slice(None), slice(2 * p[0], 2 * p[0] + 4), slice(2 * p[1], 2 * p[1] + 4))
        for weight, q in zip(weights, sources, strict=True):
            source = (slice(None), slice(2 * q[0], 2 * q[0] + 4), slice(2 * q[1], 2 * q[1] + 4))
            total[window] += weight / everything * padded[source]
        count[window] += 1
    return (total / count)[:, 1:-1, 1:-1]


def test_contextual_attention_is_its_definition():
    x = torch.randn(2, 3, 8, 12, dtype=torch.double).relu()
    mask = torch.ones(2, 1, 8, 12, dtype=torch.double)
    mask[0, :, :, 8:] = 0
    mask[1, :, 0, 0] = 0
    output = contextual_attention(x, mask, scale=0.7)  # soft: every patch matters
    for b in range(2):
        torch.testing.assert_close(output[b], slow_attention(x[b], mask[b], 0.7))


def test_contextual_attention_copies_nothing_from_the_hole():
    x = torch.rand(1, 2, 16, 16)
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 12:] = 0
    marked = x.clone()
    marked[..., 12:] += 1000.0
    assert contextual_attention(marked, mask).max() < 2
    nothing = contextual_attention(x, torch.zeros_like(mask))
    assert (nothing == 0).all()


def test_contextual_attention_of_a_periodic_pattern_gives_it_back():
    x = torch.randn(1, 8, 4, 4).relu().tile(1, 1, 4, 6)
    output = contextual_attention(x, torch.ones(1, 1, 16, 24), scale=100.0)
    torch.testing.assert_close(output[..., 4:-4, 4:-4], x[..., 4:-4, 4:-4], rtol=0, atol=0.02)


def test_channelwise_layer_joins_all_places_of_one_channel():
    layer = ChannelwiseLinear(3, side=2)
    nn.init.normal_(layer.bias)
    x = torch.randn(4, 3, 2, 2)
    expected = torch.stack(
        [x[:, c].flatten(1) @ layer.weight[c] + layer.bias[c] for c in range(3)], dim=1
    )
    torch.testing.assert_close(layer(x), expected.view(4, 3, 2, 2))
    assert layer.weight.numel() == 3 * 2**4  # the paper's m n^4


@pytest.mark.parametrize(("size", "side"), [(32, 4), (64, 4), (96, 3), (128, 4), (256, 4)])
def test_the_full_resolution_critic_scores_a_few_patches(size, side):
    net = critic(size, width=4).eval()
    with torch.no_grad():
        scores = net(torch.rand(1, 3, size, size), torch.ones(1, 1, size, size))
    assert scores.shape[-2:] == (side, side)


def test_spectral_norm_of_the_full_resolution_critic():
    net = critic(64, width=12)
    for _ in range(30):  # each forward pass is one step of the power iteration
        net(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))
    convolutions = [layer for layer in net.layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(
            1, abs=0.05
        )
