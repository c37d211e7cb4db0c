import pytest
import torch
from tiny import tiny_workspace
from torch import nn
from untrained import save_untrained

from cdlib.checkpoints import read_about
from cdlib.data.batches import validation_batches
from cdlib.methods import METHODS, RECIPES, compressor, rivals_of
from cdlib.nets.compression import CompressionNetwork
from cdlib.training_costs import COSTS, kept_parameters, method_costs, sizes


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = tiny_workspace(tmp_path_factory.mktemp("costs"))
    save_untrained(workspace, "scenes")
    return workspace


def test_costs_are_those_of_the_finished_nets(workspace):
    context = workspace.context("scenes")
    batch = next(validation_batches(workspace.arrays("scenes").validation, context.profile, 2))
    table = method_costs(["Ours_SRN", "EdgeConnect_oracle", "telea"], context, batch)
    assert list(table.columns) == COSTS
    srn, edges, telea = table.to_dict("records")
    assert srn["total_gmac"] == 3.0  # two nets of 1.5
    assert srn["train_images_per_s"] == pytest.approx(320 / 8.0)
    assert edges["images_seen"] == 320
    assert telea["params"] == telea["gmac_per_image"] == telea["total_gmac"] == 0
    assert (table["infer_ms_per_image"] > 0).all()


def test_parameters_are_those_of_the_saved_generator(workspace):
    context = workspace.context("scenes")
    path = context.run.checkpoints(context.dataset) / "compressor.safetensors"
    assert read_about(path)["net"] == "compressor"
    net: nn.Module = CompressionNetwork(context.profile.compressor.width)
    assert kept_parameters("compressor", context) == sum(p.numel() for p in net.parameters())


def test_gmac_of_the_compressor_is_that_of_its_table(workspace):
    context = workspace.context("scenes")
    batch = next(validation_batches(workspace.arrays("scenes").validation, context.profile, 2))
    [row] = method_costs(["Ours_bicubic"], context, batch).to_dict("records")
    net, seen = CompressionNetwork(context.profile.compressor.width).eval(), []
    hooks = [
        m.register_forward_hook(lambda m, _, y: seen.append(m.weight.numel() * y[0, 0].numel()))
        for m in net.modules()
        if isinstance(m, nn.Conv2d)
    ]
    net(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32))
    assert hooks
    assert row["gmac_per_image"] == pytest.approx(sum(seen) / 1e9)


def test_each_net_is_larger_in_its_own_paper(workspace):
    table = sizes([compressor.NAME], workspace.context("scenes"))
    assert (table["paper_parameters"] > table["parameters"]).all()
    assert table["paper_parameters"].item() / 1e6 == pytest.approx(18.07, abs=0.01)
    assert table["paper_gmac"].item() == pytest.approx(56.9, abs=0.1)


def test_rivals_are_the_nets_that_the_named_methods_need():
    assert rivals_of(["mean", "Ours_SRN"]) == []
    assert rivals_of(["EdgeConnect_oracle", "EdgeConnect", "GatedConv"]) == [
        "gated_conv",
        "edge_connect",
    ]
    assert set(rivals_of(METHODS)) == set(RECIPES) - {"compressor", "super_resolution"}
