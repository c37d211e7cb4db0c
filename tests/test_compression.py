import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cdlib.costs import PAPER_TOTALS, table1, totals
from cdlib.layers import GatedConv2d, StridedConv1x1
from cdlib.nets.compression import TABLE, CompressionNetwork
from cdlib.nets.edsr import EDSR, StackedEDSR
from cdlib.nets.sn_patchgan import SNPatchGAN


def test_gated_convolution_is_its_formula():
    layer = GatedConv2d(4, 6, kernel=5, stride=2).eval()
    layer.norm.running_mean.normal_()
    layer.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 12, 12)
    feature = F.conv2d(x, layer.feature.weight, layer.feature.bias, stride=2, padding=2)
    gate = F.conv2d(x, layer.gate.weight, layer.gate.bias, stride=2, padding=2)
    mean = layer.norm.running_mean.view(1, -1, 1, 1)
    spread = (layer.norm.running_var + layer.norm.eps).sqrt().view(1, -1, 1, 1)
    normed = (feature - mean) / spread
    expected = torch.where(normed > 0, normed, 0.2 * normed) / (1 + (-gate).exp())
    torch.testing.assert_close(layer(x), expected)


def test_strided_1x1_equals_the_library_form():
    layer = StridedConv1x1(4, 7, stride=2)
    x = torch.randn(2, 4, 9, 10)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, stride=2))


def test_256_pixels_become_32():
    with torch.no_grad():
        output = CompressionNetwork()(torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 256, 256))
    assert output.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("mapping", ["plain", "gated"])
@pytest.mark.parametrize("size", [(32, 64), (64, 64)])
def test_any_size_divisible_by_8(mapping, size):
    net = CompressionNetwork(width=0.0625, mapping=mapping)
    output = net(torch.rand(2, 3, *size), torch.ones(2, 1, *size))
    assert output.shape == (2, 3, size[0] // 8, size[1] // 8)
    if mapping == "plain":
        assert output.min() >= 0
        assert output.max() <= 1


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"36x32.*multiples of 8"):
        CompressionNetwork(width=0.0625)(torch.rand(1, 3, 36, 32), torch.ones(1, 1, 36, 32))


def test_table_has_a_row_a_layer_and_agrees_with_the_live_network():
    table = CompressionNetwork.table()
    assert list(table.columns) == ["block", "layer", "kernel", "channels", "stride"]
    net = CompressionNetwork()
    convolutions = []
    for block in net.blocks:
        convolutions += [block.first.feature, block.second.feature, block.shortcut[0]]
    convolutions.append(net.mapping[0])
    assert len(table) == len(convolutions)
    for row, conv in zip(table.itertuples(), convolutions, strict=True):
        assert (row.kernel, row.channels) == (conv.kernel_size[0], conv.out_channels)
        stride = conv.step if isinstance(conv, StridedConv1x1) else conv.stride[0]
        assert row.stride == stride
    halvings = [row.stride for row in TABLE]
    assert halvings.count(2) == 3


def test_totals_are_the_papers():
    ours = totals(table1(width=1.0, size=256)).set_index("quantity")["ours"]
    assert ours["parameters"] == sum(p.numel() for p in CompressionNetwork().parameters())
    for quantity, paper in PAPER_TOTALS.items():
        assert ours[quantity] == pytest.approx(paper, rel=0.001)


def test_width_scales_every_layer_but_the_mapping():
    live = table1(width=0.25, size=64)
    assert set(live["live_channels"][:-1]) == {32}
    assert live["live_channels"].iloc[-1] == 3


def test_the_plain_mapping_block_can_get_dark():
    mapping = CompressionNetwork(width=0.0625).mapping
    mapping[0].bias.data.fill_(-20)
    assert mapping(torch.randn(1, 8, 4, 4)).max() < 1e-3


def test_spectral_norm_keeps_the_largest_singular_value_near_one():
    critic = SNPatchGAN(width=0.25).train()
    image, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32)
    for _ in range(50):  # power iterations
        critic(image, mask)
    for layer in critic.layers:
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
            assert largest.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("factor", [2, 4])
def test_edsr_enlarges_by_its_factor(factor):
    assert EDSR(factor, features=4, blocks=1)(torch.rand(1, 3, 6, 5)).shape == (
        1,
        3,
        6 * factor,
        5 * factor,
    )


def test_stacked_edsr_enlarges_by_8_and_other_factors_are_refused():
    output, middle = StackedEDSR(features=4, blocks=1)(torch.rand(1, 3, 4, 4))
    assert output.shape[-1] == 32
    assert middle.shape[-1] == 8
    with pytest.raises(ValueError, match="factor 3"):
        EDSR(3)
