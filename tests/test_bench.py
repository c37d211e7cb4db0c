"""The measurements: what the file holds, whether its numbers fit together, how the forms agree."""

import json
import os
from statistics import median

import pytest
import torch
from typer.testing import CliRunner

from cdlib import bench
from cdlib.bench import ceiling, measuring, selection, sizes, steps
from cdlib.bench.measuring import Options, in_own_process
from cdlib.cli import app

TINY = Options(size=32, width=0.0625, batch=4, repeats=1, threads=1)
ARGUMENTS = ["--size", "32", "--width", "0.0625", "--batch", "4", "--repeats", "2"]
ARGUMENTS += ["--threads", "1"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return sizes.open_bench(TINY, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(what was printed, what was written) by the command."""
    path = tmp_path_factory.mktemp("bench") / "deep" / "bench.json"
    only = ("compressor", "partial_conv", "Ours_STS", "mean")
    chosen = [argument for name in only for argument in ("--only", name)]
    done = CliRunner().invoke(app, ["bench", *ARGUMENTS, *chosen, "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert [file.name for file in path.parent.iterdir()] == ["bench.json"]
    return done.stdout, json.loads(path.read_text("utf-8"))


def test_the_file_says_where_and_how_it_was_measured(measured):
    _, content = measured
    assert content["machine"]["cpu"]
    assert content["machine"]["threads"] == 1
    assert content["machine"]["instruction_set"] == torch.backends.cpu.get_cpu_capability()
    assert content["options"] == TINY.as_dict() | {"repeats": 2}
    assert content["options"]["clock"] == "processor time"
    assert "texture" not in content


def test_the_ceiling_is_the_fastest_of_all(measured):
    _, content = measured
    top = content["ceiling"]
    speeds = [row["gflops"] for row in top["convolutions"]]
    assert min(speeds) > 0
    assert top["best_convolution"]["gflops"] == max(speeds)
    assert top["gflops"] == max(*speeds, top["matmul"]["gflops"])


@pytest.mark.parametrize(("name", "phases"), [("compressor", 1), ("partial_conv", 2)])
def test_speeds_ratios_and_shares_follow_from_the_times(measured, name, phases):
    _, content = measured
    net = content["training"][name]
    assert len(net["phases"]) == phases
    whole = sum(p["share"] for p in net["phases"].values())
    parts = [(p["share"] / whole, p) for p in net["phases"].values()]
    rounds = {
        form: [sum(w * p["seconds"][form][r] for w, p in parts) for r in range(2)]
        for form in ("plain", "fast", "data")
    }
    gflop = 2 * sum(w * p["gmac_per_image"] for w, p in parts)
    for form in ("plain", "fast"):
        speed = TINY.batch / median(rounds[form])
        assert net[form]["images_per_s"] == pytest.approx(speed)
        share = gflop * speed / content["ceiling"]["gflops"]
        assert net[form]["share_of_ceiling"] == pytest.approx(share)
        assert net[form]["peak_memory_mb"] > 50
    ratios = [plain / fast for plain, fast in zip(rounds["plain"], rounds["fast"], strict=True)]
    assert net["ratio"] == pytest.approx(sum(ratios) / 2)
    assert 0 < net["data"]["share_of_fast_step"] < 1


def test_methods_are_timed_and_everything_is_printed(measured):
    printed, content = measured
    times = content["inference"]["ms_per_image"]
    assert list(times) == ["Ours_STS", "mean"]
    assert min(times.values()) > 0
    for word in ("compressor", "partial_conv", "Ours_STS", "mean", "GFLOP/s", "processor time"):
        assert word in printed


@pytest.mark.parametrize("name", ["compressor", "edge_connect"])
def test_both_forms_start_and_end_alike(workspace, name):
    forms = {form: steps.training(workspace, name, form) for form in steps.FORMS}
    ends = {}
    for form, training in forms.items():
        before = weights(training)
        for index in range(len(training.recipe.phases)):
            steps._stepper(training, index)()
        ends[form] = before, weights(training)
    assert torch.equal(ends["plain"][0], ends["fast"][0])
    moved = (ends["plain"][1] - ends["plain"][0]).norm()
    apart = (ends["plain"][1] - ends["fast"][1]).norm()
    assert 0 < apart < 0.05 * moved


def weights(training):
    return torch.cat(
        [p.detach().flatten() for net in training.raw.values() for p in net.parameters()]
    )


def test_the_plain_form_is_plain(workspace):
    plain = steps.training(workspace, "compressor", "plain")
    seen = []
    for net in plain.raw.values():
        assert not any(type(module).__name__.startswith("Fast") for module in net.modules())
        for module in net.modules():
            module.register_forward_hook(lambda module, inputs, y: seen.append((*inputs, y)))
    steps._stepper(plain, 0)()
    assert len(seen) > 40
    assert all(tensor.is_contiguous() for tensors in seen for tensor in tensors)
    for optimiser in plain.optimisers.values():
        assert not optimiser.defaults["fused"]
        assert not optimiser.defaults["foreach"]
    fast = steps.training(workspace, "compressor", "fast")
    assert any(type(m).__name__.startswith("Fast") for m in fast.raw["compressor"].modules())


@pytest.mark.parametrize(("width", "expected"), [(0.125, 6), (0.25, 12), (1.0, 48)])
def test_rivals_are_the_profiles_own_sizes_at_their_widths(tmp_path, width, expected):
    options = Options(size=64, width=width, batch=4, repeats=1, threads=1)
    assert sizes.open_bench(options, tmp_path).profile.peers.gated_conv.width == expected


def test_the_ceiling_tries_every_convolution_of_table_1_once():
    rows = ceiling.measure(TINY)["convolutions"]
    assert len({(row["layer"], row["layout"]) for row in rows}) == len(rows)
    kernels = {row["layer"][:3] for row in rows}
    assert kernels == {"1x1", "3x3", "5x5"}


def test_selection_is_held_against_the_classical_fills(monkeypatch):
    monkeypatch.setattr(selection, "SIZE", 32)
    monkeypatch.setattr(selection, "MANY", 8)
    monkeypatch.setattr(selection, "SMALL", 32)
    content = selection.measure(TINY)
    (row,) = content["sizes"].values()
    assert row["telea_ratio"] == pytest.approx(row["telea_ms"] / row["selection_ms"])
    assert row["patchmatch_ratio"] == pytest.approx(row["patchmatch_ms"] / row["selection_ms"])
    few, many = content["linearity"]["ms_per_image"].values()
    assert content["linearity"]["ratio"] == pytest.approx(many / few)


def test_texture_selection_of_many_images_needs_little_more_than_its_result():
    extra, _ = in_own_process(TINY, extra_memory)
    result = 4 * selection.MANY * 3 * selection.SMALL**2
    assert result < extra < 2 * result + 50e6


def extra_memory(_):
    return selection._extra_memory()


def test_a_process_gives_its_result_its_memory_or_its_error():
    threads, memory = in_own_process(TINY, lent)
    assert threads == 1
    assert memory > 80  # MB
    with pytest.raises(ValueError, match="no such thing"):
        in_own_process(TINY, refuse)
    with pytest.raises(ChildProcessError, match=r"test_bench: .* \(exit code 9\)"):
        in_own_process(TINY, die)


def lent(_):
    torch.ones(20_000_000)  # 80 MB
    return torch.get_num_threads()


def refuse(_):
    raise ValueError("no such thing")


def die(_):
    os._exit(9)


def test_rounds_are_in_turn_and_the_first_does_not_count():
    calls = []
    forms = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = measuring.interleaved(forms, Options(32, 1.0, 1, repeats=3, threads=2))
    assert calls == list("abababab")
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert measuring.paired_ratio([2.0, 6.0, 9.0], [1.0, 2.0, 1.0]) == 3.0


def test_names_that_are_not_known_are_refused_before_anything_runs():
    done = CliRunner().invoke(app, ["bench", "--only", "telea", "--only", "photoshop"])
    assert done.exit_code == 2
    assert done.stderr.startswith("cdlib: error: --only photoshop: one of compressor, ")
    with pytest.raises(ValueError, match="size = 30"):
        bench.run(size=30)
