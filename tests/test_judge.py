"""The judge: its pre-trained network, its input, its training by the one loop, its refusals."""

from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from cdlib.checkpoints import CheckpointError
from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch
from cdlib.judge import (
    Judge,
    accuracy,
    confusion,
    imagenet_judge,
    judge_recipe,
    load_by_position,
    load_judge,
)
from cdlib.runs import Run
from cdlib.settings import Profile, load_profile
from cdlib.training import train

LITE = "tf_efficientnet_lite0"
CLASSES = ("dark", "red", "blue")


def profile(**overrides) -> Profile:
    small = {"size": 32, "judge.input_size": 32, "judge.images_seen": 480}
    small |= {"train.validate_every": 240, "train.batch_size": 16, "train.ema": 0.9}
    return load_profile("quick", small | overrides)


def coloured(count: int) -> PreparedArray:
    """Noise with a colour by class."""
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 3
    images = rng.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    images[labels == 1, ..., 0] += 120
    images[labels == 2, ..., 2] += 120
    names = tuple(f"{i}.png" for i in range(count))
    return PreparedArray(images, labels, CLASSES, names, {"sha256": str(count)})


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("run"))
    chosen = profile()
    recipe = judge_recipe(chosen, "colours", CLASSES)
    train(recipe, chosen, run, "colours", coloured(120), coloured(30))
    return run


def test_it_learns_in_the_one_loop_and_comes_back(trained):
    judge = load_judge(profile(), trained, "colours", CLASSES)
    test = coloured(60)
    assert not judge.training
    assert accuracy(judge, test) == 1
    table = confusion(judge, test)
    assert table.to_numpy().tolist() == np.diag([20, 20, 20]).tolist()
    assert list(table.index) == list(table.columns) == list(CLASSES)


def test_confusion_counts_true_by_row(trained):
    judge = load_judge(profile(), trained, "colours", CLASSES)
    test = coloured(60)
    lied = replace(test, labels=np.where(test.labels == 1, 2, test.labels))
    table = confusion(judge, lied)
    assert table.loc["blue", "red"] == 20
    assert table.loc["red"].sum() == 0
    assert accuracy(judge, lied) == pytest.approx(2 / 3)


def test_a_judge_that_is_not_there_or_another_is_refused(trained):
    with pytest.raises(CheckpointError, match="train it first"):
        load_judge(profile(), trained, "elsewhere", CLASSES)
    with pytest.raises(CheckpointError, match=r"judge\.head\.weight has shape \(3, 128\)"):
        load_judge(profile(), trained, "colours", ("one", "two"))
    with pytest.raises(CheckpointError, match="is missing"):
        load_judge(profile(**{"judge.network": LITE}), trained, "colours", CLASSES)


def test_one_class_needs_no_judge():
    with pytest.raises(ValueError, match="faces has one class"):
        judge_recipe(profile(), "faces", ("face",))


def test_the_pre_trained_network_knows_a_cat():
    judge = imagenet_judge(profile(**{"judge.network": LITE, "judge.input_size": 224}))
    cat = torch.from_numpy(data.chelsea().copy()).permute(2, 0, 1)[None, :, :, 75:375] / 255
    logits = judge(cat)
    assert logits.shape == (1, 1000)
    assert torch.equal(logits, judge.thousand(cat))
    assert 281 <= logits.argmax().item() <= 285  # ImageNet's five domestic cats
    assert not judge.training
    assert not any(p.requires_grad for p in judge.parameters())


def test_a_small_judge_s_thousand_outputs_are_the_installed_network_s():
    image = torch.rand(1, 3, 32, 32)
    stand_in = imagenet_judge(profile())
    expected = imagenet_judge(profile(**{"judge.network": LITE}))(image)
    torch.testing.assert_close(stand_in(image), expected)


def test_the_network_sees_its_own_normalisation_and_size():
    judge = Judge(LITE, None, 32, pretrained=False)
    judge.backbone = nn.Identity()
    levels = torch.tensor([0.0, 127.0, 255.0]).view(3, 1, 1, 1).expand(3, 3, 32, 32)
    seen = judge(levels / 255)
    torch.testing.assert_close(seen, (levels - 127) / 128)
    large = judge(levels.repeat_interleave(3, 2).repeat_interleave(3, 3) / 255)
    torch.testing.assert_close(large, seen)


def test_fine_tuning_moves_every_weight_and_no_statistic():
    chosen = profile(**{"judge.network": LITE})
    recipe = judge_recipe(chosen, "colours", CLASSES)
    nets = recipe.build()
    judge = nets["judge"].train()
    before = {name: buffer.clone() for name, buffer in judge.named_buffers()}
    phase = recipe.phases[0]
    phase.prepare(nets)
    array = coloured(6)
    batch = Batch(array.tensor(range(6)), torch.ones(6, 1, 32, 32), torch.from_numpy(array.labels))
    losses, measured = phase.step(nets, batch)
    losses["judge"].backward()
    still = [n for n, p in judge.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []
    assert all(torch.equal(buffer, before[name]) for name, buffer in judge.named_buffers())
    assert 0 <= measured["error"] <= 1
    validated = recipe.validate(nets, batch)
    assert {name: tuple(value.shape) for name, value in validated.items()} == {
        "error": (6,),
        "cross_entropy": (6,),
    }


def test_weights_of_another_release_are_refused():
    net = nn.Linear(3, 2)
    values = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
    load_by_position(net, values, "here.pth")
    assert torch.equal(net.weight, values["fc.weight"])
    with pytest.raises(ValueError, match=r"here.pth: 1 entries, the net has 2"):
        load_by_position(net, {"fc.weight": torch.ones(2, 3)}, "here.pth")
    swapped = dict(reversed(values.items()))
    with pytest.raises(ValueError, match=r"fc.bias has shape \(2,\), weight needs \(2, 3\)"):
        load_by_position(net, swapped, "here.pth")


def test_weights_that_cannot_be_downloaded_say_where_they_go(monkeypatch, tmp_path):
    def offline(*_args, **_kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no network>; download https://\S*vgg16_bn") as it:
        Judge("vgg16_bn", 6, 64, pretrained=True)
    assert f"{tmp_path}/checkpoints" in str(it.value)
