"""The fast forms: against direct convolution in double precision, and as training uses them."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from cdlib.fast import accelerate
from cdlib.fast.elu import Elu
from cdlib.fast.instance_norm import instance_norm
from cdlib.fast.tiling import Convolution, Tiling, best
from cdlib.fast.toom_cook import matrices
from cdlib.fast.winograd import Winograd, convolve
from cdlib.layers import GatedConv2d
from cdlib.nets.compression import CompressionNetwork

FORMS = [(3, 4), (3, 6), (3, 8), (5, 4), (5, 6), (5, 8)]  # kernel, rows of a tile
LIMIT = 5e-5  # of the largest value


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error(ours: Tensor, exact: Tensor) -> float:
    return ((ours - exact).abs().max() / exact.abs().max()).item()


def tiling_for(convolution: nn.Conv2d, x: Tensor, side: int) -> Tiling:
    sides = (
        setting[0]
        for setting in (
            convolution.kernel_size,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
        )
    )
    return Tiling(Convolution(len(x), *x.shape[2:], *convolution.weight.shape[1::-1], *sides), side)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd wherever it has a form, also where it does not pay."""
    monkeypatch.setattr("cdlib.fast.tiling.MARGIN", float("inf"))
    best.cache_clear()
    yield
    best.cache_clear()


@pytest.mark.parametrize(("outputs", "taps"), [(4, 3), (4, 5), (6, 3), (6, 5), (8, 3), (8, 5)])
def test_the_matrices_compute_correlation(outputs: int, taps: int) -> None:
    rng = np.random.default_rng(0)
    signal, kernel = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
    a, g, b = matrices(outputs, taps)
    np.testing.assert_allclose(
        a @ ((g @ kernel) * (b @ signal)), np.correlate(signal, kernel, "valid"), rtol=1e-12
    )


@settings(deadline=None, max_examples=60)
@given(
    form=st.sampled_from(FORMS),
    dilation=st.integers(1, 4),
    same=st.booleans(),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(3, 20), st.integers(3, 20)),
    channels=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    heads=st.integers(1, 2),
    bias=st.booleans(),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_any_convolution_agrees_with_double_precision(
    form, dilation, same, batch, size, channels, heads, bias, channels_last, seed
) -> None:
    kernel, side = form
    reach = dilation * (kernel - 1)
    if not same:
        size = size[0] + reach, size[1] + reach
    plain = [
        nn.Conv2d(*channels, kernel, 1, reach // 2 if same else 0, dilation, bias=bias)
        for _ in range(heads)
    ]
    for index, parameter in enumerate(p for conv in plain for p in conv.parameters()):
        parameter.data = noise(*parameter.shape, seed=seed + index)
    exact = copy.deepcopy(plain)
    x = noise(batch, channels[0], *size, seed=seed)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    wide = x.double().requires_grad_()
    expected = [conv.double()(wide) for conv in exact]
    found = convolve(x.requires_grad_(), tiling_for(plain[0], x, side), *plain)
    pull = [noise(*y.shape, seed=seed + 9) for y in found]
    torch.autograd.backward(expected, [g.double() for g in pull])
    torch.autograd.backward(found, pull)
    for ours, theirs in zip(found, expected, strict=True):
        assert error(ours, theirs) < LIMIT
    assert error(x.grad, wide.grad) < LIMIT
    for ours, theirs in zip(plain, exact, strict=True):
        for name, parameter in ours.named_parameters():
            assert error(parameter.grad, theirs.get_parameter(name).grad) < LIMIT


@pytest.mark.parametrize(("kernel", "side"), FORMS)
def test_a_wide_layer_keeps_its_precision(kernel: int, side: int) -> None:
    conv = nn.Conv2d(128, 64, kernel, padding=kernel // 2)
    x = noise(5, 128, 24, 24)
    (y,) = convolve(x, tiling_for(conv, x, side), conv)
    assert error(y, conv.double()(x.double())) < LIMIT


def test_a_narrow_layer_stays_direct_and_a_wide_one_does_not() -> None:
    def sides(*settings: int, batch: int = 16) -> int | None:
        return (tiling := best(Convolution(batch, *settings))) and tiling.side

    assert sides(24, 24, 4, 4, 5, 1, 2, 1) is None
    assert sides(24, 24, 32, 64, 5, 1, 2, 1) == 8
    assert sides(28, 28, 128, 256, 5, 1, 2, 1) == 6
    assert sides(8, 8, 128, 256, 5, 1, 2, 1, batch=64) == 4  # two tiles of 6 would be 12 rows
    assert sides(16, 16, 32, 64, 5, 1, 2, 1) == 8
    assert sides(16, 16, 128, 256, 5, 1, 2, 1) == 6  # 8 would be rounded too much
    assert sides(8, 8, 32, 64, 5, 1, 2, 1) is None
    assert sides(12, 12, 256, 256, 3, 1, 1, 1, batch=64) == 6
    assert sides(12, 12, 256, 256, 3, 1, 1, 1) is None  # the kernels' transform alone costs a third
    assert sides(24, 24, 128, 128, 7, 1, 3, 1) is None
    assert sides(24, 24, 128, 128, 5, 2, 2, 1) is None


def settings_left_alone() -> list[nn.Conv2d]:
    return [
        nn.Conv2d(16, 16, 3, padding=1, groups=2),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(16, 16, (3, 5), padding=(1, 2)),
        nn.Conv2d(16, 16, 3, padding="same"),
        nn.Conv2d(16, 16, 4, 2, padding=1),
        nn.Conv2d(16, 16, 3, padding=1).double(),
    ]


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("conv", settings_left_alone(), ids=str)
def test_convolutions_without_a_fast_form_are_untouched(conv: nn.Conv2d) -> None:
    x = noise(1, 16, 8, 8).to(conv.weight.dtype)
    expected = conv(x)
    assert error(accelerate(conv)(x), expected) < 1e-6


def gated(**options) -> GatedConv2d:
    torch.manual_seed(0)
    layer = GatedConv2d(8, 6, 5, **options)
    for parameter in layer.norm.parameters():
        parameter.data.add_(noise(len(parameter)), alpha=0.3)
    return layer


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"dilation": 2}, {"norm": nn.Identity, "activation": nn.ELU()}],
    ids=str,
)
def test_a_gated_layer_trains_and_evaluates_like_the_plain_one(options) -> None:
    plain = gated(**options).double()
    fast = accelerate(gated(**options))
    x = noise(2, 8, 11, 14)
    for mode in (True, False):
        wide, narrow = x.double().requires_grad_(), x.clone().requires_grad_()
        plain.train(mode)
        fast.train(mode)
        expected, found = plain(wide), fast(narrow)
        pull = noise(*found.shape, seed=1)
        plain.zero_grad()
        fast.zero_grad()
        expected.backward(pull.double())
        found.backward(pull)
        assert error(found, expected) < LIMIT
        assert error(narrow.grad, wide.grad) < LIMIT
        for name, parameter in fast.named_parameters():
            if name == "feature.bias" and mode and options.get("norm") is None:
                continue  # BatchNorm removes it: the exact gradient is 0
            assert error(parameter.grad, plain.get_parameter(name).grad) < LIMIT
    for name, buffer in fast.named_buffers():
        assert error(buffer, plain.get_buffer(name).double()) < LIMIT
    with torch.no_grad():
        assert error(fast(x), plain(x.double())) < LIMIT


def test_accelerate_keeps_names_and_values() -> None:
    net = CompressionNetwork(width=0.25)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    after = accelerate(net).state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    CompressionNetwork(width=0.25).load_state_dict(after)


@pytest.mark.usefixtures("forced")
def test_two_forwards_before_their_backwards_do_not_mix() -> None:
    layer = accelerate(nn.Conv2d(8, 8, 5, padding=2))
    first, second = noise(2, 8, 9, 9, seed=1), noise(2, 8, 9, 9, seed=2)
    alone = [torch.autograd.grad(layer(x).square().sum(), layer.weight)[0] for x in (first, second)]
    one, two, _ = layer(first), layer(second), layer(first)
    assert torch.equal(torch.autograd.grad(two.square().sum(), layer.weight)[0], alone[1])
    assert torch.equal(torch.autograd.grad(one.square().sum(), layer.weight)[0], alone[0])


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("wanted", ["x", "weight", "bias"])
def test_only_the_gradients_asked_for_are_computed(
    wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    backward = Winograd.backward

    def spy(ctx, *gradients: Tensor):
        answers.append(backward(ctx, *gradients))
        return answers[-1]

    monkeypatch.setattr(Winograd, "backward", staticmethod(spy))
    layer, x = accelerate(nn.Conv2d(8, 8, 5, padding=2)), noise(2, 8, 9, 9)
    leaves = {"x": x, "weight": layer.weight, "bias": layer.bias}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name == wanted)
    layer(x).sum().backward()
    x_gradient, _, *gradients = answers[0]
    computed = dict(zip(leaves, [x_gradient, *gradients], strict=True))
    assert [name for name, gradient in computed.items() if gradient is not None] == [wanted]


def test_a_step_repeats_bit_for_bit() -> None:
    def gradients() -> list[Tensor]:
        torch.manual_seed(0)
        net = accelerate(CompressionNetwork(width=0.25))
        net(noise(2, 3, 96, 96).sigmoid(), torch.ones(2, 1, 96, 96)).square().sum().backward()
        return [parameter.grad for parameter in net.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(), strict=True))


@pytest.mark.parametrize("train", [True, False])
def test_the_compression_network_gives_the_same_image(train: bool) -> None:
    torch.manual_seed(0)
    net = CompressionNetwork(width=0.25).train(train)
    fast = accelerate(copy.deepcopy(net))
    image, mask = noise(2, 3, 96, 96).sigmoid(), torch.ones(2, 1, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(fast(image, mask), net(image, mask), rtol=0, atol=1e-4)


def test_a_second_derivative_is_refused() -> None:
    conv, x = nn.Conv2d(8, 8, 5, padding=2), noise(1, 8, 8, 8).requires_grad_()
    (y,) = convolve(x, tiling_for(conv, x, 4), conv)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@given(st.integers(0, 2**20), st.floats(0.1, 100))
def test_elu_is_its_formula(seed: int, scale: float) -> None:
    x = (scale * noise(2, 3, 5, seed=seed)).requires_grad_()
    wide = x.detach().double().requires_grad_()
    ours, exact = Elu.apply(x), torch.nn.functional.elu(wide)
    pull = noise(2, 3, 5, seed=seed + 1)
    ours.backward(pull)
    exact.backward(pull.double())
    torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**20), st.tuples(st.integers(2, 9), st.integers(2, 9)))
def test_instance_norm_is_mean_0_and_variance_1(seed: int, size: tuple[int, int]) -> None:
    x = (3 + 2 * noise(2, 5, *size, seed=seed)).requires_grad_()
    wide = x.detach().double().requires_grad_()
    ours, exact = instance_norm(x, 1e-5), torch.nn.functional.instance_norm(wide)
    pull = noise(2, 5, *size, seed=seed + 1)
    ours.backward(pull)
    exact.backward(pull.double())
    assert error(ours, exact) < LIMIT
    assert error(x.grad, wide.grad) < LIMIT


def test_a_spectrally_normalised_convolution_has_its_fast_form_too(forced: None) -> None:
    plain = spectral_norm(nn.Conv2d(8, 8, 3, padding=1)).eval()
    fast = accelerate(copy.deepcopy(nn.Sequential(plain)))
    x = noise(2, 8, 12, 12)
    with torch.autograd.profiler.profile() as profiler:
        y = fast(x)
    assert any("Winograd" in event.name for event in profiler.function_events)
    assert error(y, plain(x)) < LIMIT
    assert type(plain).__bases__ == (nn.Conv2d,)  # the original is left as it was
