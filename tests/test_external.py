"""Outputs made elsewhere: exported inputs, scores of what comes back, and MI-GAN's examples."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import tiny_workspace

from cdlib import external, modern
from cdlib.checkpoints import save_net
from cdlib.external import MANIFEST, evaluate, export_inputs, read_manifest, score_outputs
from cdlib.judge import Judge
from cdlib.runs import sha256_file
from cdlib.scores import MEASURES, SIMILARITIES, Judges, score_method

COUNT = 6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """With a judge that has learnt nothing: it is as good here as any."""
    workspace = tiny_workspace(tmp_path_factory.mktemp("external"))
    context, classes = workspace.context("scenes"), len(workspace.arrays("scenes").test.classes)
    torch.manual_seed(0)
    judge = Judge("small", classes, 32, pretrained=False)
    weights = {f"judge.{key}": tensor for key, tensor in judge.state_dict().items()}
    save_net(context.run.checkpoints(context.dataset) / "judge.safetensors", weights, {})
    return workspace


@pytest.fixture(scope="module")
def test_set(workspace):
    return workspace.arrays("scenes").test


@pytest.fixture(scope="module")
def judges(workspace, test_set):
    return Judges.of(workspace.context("scenes"), test_set.classes)


@pytest.fixture
def inputs(workspace, test_set, tmp_path):
    folder = tmp_path / "inputs"
    export_inputs(workspace.context("scenes"), test_set, COUNT, folder)
    return folder


def truths(test_set, inputs, folder, suffixes=(".png",)):
    """Perfect outputs."""
    folder.mkdir()
    for index, entry in enumerate(read_manifest(inputs)["inputs"]):
        picture = Image.fromarray(test_set.images[entry["position"]])
        picture.save(folder / (entry["name"] + suffixes[index % len(suffixes)]))
    return folder


def test_an_export_hides_the_hole_and_says_what_it_is(workspace, test_set, inputs):
    manifest = json.loads((inputs / MANIFEST).read_text())
    assert manifest["dataset"] == "synthetic-scenes"
    assert manifest["test_sha256"] == test_set.manifest["sha256"]
    entries = manifest["inputs"]
    assert [e["side"] for e in entries] == ["top", "bottom", "left", "right", "top", "bottom"]
    assert len({e["name"] for e in entries}) == COUNT
    positions = [e["position"] for e in entries]
    assert (positions[0], positions[-1]) == (0, len(test_set) - 1)
    for entry in entries:
        image_file, mask_file = (inputs / k / f"{entry['name']}.png" for k in ("images", "masks"))
        image, mask = np.asarray(Image.open(image_file)), np.asarray(Image.open(mask_file))
        assert set(np.unique(mask)) == {0, 255}
        assert (mask == 0).mean() == pytest.approx(10 / 32)
        assert (image[mask == 0] == 0).all()
        assert np.array_equal(image[mask > 0], test_set.images[entry["position"]][mask > 0])
        assert entry["images_sha256"] == sha256_file(image_file)
        assert entry["masks_sha256"] == sha256_file(mask_file)
        assert entry["image"] == test_set.names[entry["position"]]


def test_an_export_is_the_same_every_time(workspace, test_set, inputs, tmp_path):
    export_inputs(workspace.context("scenes"), test_set, COUNT, tmp_path / "again")
    assert (tmp_path / "again" / MANIFEST).read_bytes() == (inputs / MANIFEST).read_bytes()


def test_an_export_leaves_nothing_half_done(workspace, test_set, inputs, tmp_path, monkeypatch):
    context = workspace.context("scenes")
    for count in (0, len(test_set) + 1):
        with pytest.raises(ValueError, match=f"n {count}: the test set .* has {len(test_set)}"):
            export_inputs(context, test_set, count, tmp_path / "new")
    with pytest.raises(FileExistsError, match="inputs is not an empty folder"):
        export_inputs(context, test_set, 1, inputs)

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(external, "write_json", full)
    with pytest.raises(OSError, match="disk full"):
        export_inputs(context, test_set, 2, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"inputs"}


def test_perfect_outputs_have_perfect_scores(workspace, test_set, inputs, tmp_path):
    outputs = truths(test_set, inputs, tmp_path / "out", (".png", ".BMP", ".tif"))
    shown = evaluate(workspace, outputs, "Perfect", inputs)
    run = workspace.run
    scores = pd.read_parquet(run.scores / "synthetic-scenes" / "external" / "Perfect.parquet")
    assert len(scores) == 2 * COUNT
    assert (scores[["l1", "l2"]] == 0).all(axis=None)
    assert (scores["ssim"] > 0.9999).all()
    assert scores[SIMILARITIES].astype(float).eq(1).all(axis=None)
    assert set(shown["variant"]) == {"raw", "composed"}
    assert (shown["n"] == COUNT).all()
    assert (run.tables / "external_synthetic-scenes_Perfect.csv").is_file()


def test_the_scores_are_those_of_a_method_of_ours(workspace, test_set, judges, inputs, tmp_path):
    """The exported inputs, handed back as they are, are the outputs of `masked`."""
    context = workspace.context("scenes")
    ours = score_method("masked", context, test_set, judges)
    theirs = score_outputs(
        inputs / "images", "black", read_manifest(inputs), context, test_set, judges
    )
    assert list(theirs.columns) == list(ours.columns)
    key = ["dataset", "image", "side", "variant"]
    both = theirs.merge(ours, on=key, suffixes=("_theirs", "_ours"), validate="1:1")
    assert len(both) == len(theirs) == 2 * COUNT
    for column in MEASURES + SIMILARITIES:
        a, b = (both[f"{column}_{who}"].to_numpy(dtype=float) for who in ("theirs", "ours"))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=column)
    assert theirs["l1"].gt(0).all()


def test_composed_keeps_the_valid_pixels(workspace, test_set, judges, inputs, tmp_path):
    """An output that is right in the hole alone has no error once it is composed."""
    outputs = truths(test_set, inputs, tmp_path / "out")
    for path in outputs.iterdir():
        mask = np.asarray(Image.open(inputs / "masks" / path.name))
        Image.fromarray(np.where(mask[..., None] > 0, 255, np.asarray(Image.open(path)))).save(path)
    context, manifest = workspace.context("scenes"), read_manifest(inputs)
    scores = score_outputs(outputs, "half", manifest, context, test_set, judges)
    assert scores[scores["variant"] == "composed"]["l1"].eq(0).all()
    assert scores[scores["variant"] == "raw"]["l1"].gt(0).all()


def test_what_is_wrong_with_outputs_is_said_by_name(workspace, test_set, inputs, tmp_path):
    outputs = truths(test_set, inputs, tmp_path / "out")
    names = [entry["name"] for entry in read_manifest(inputs)["inputs"]]
    first = outputs / f"{names[0]}.png"
    good = first.read_bytes()

    def refused(message, error=ValueError):
        with pytest.raises(error, match=message):
            evaluate(workspace, outputs, "Theirs", inputs)

    first.unlink()
    refused(f"no image named {names[0]}$")
    for path in list(outputs.iterdir())[1:]:
        path.unlink()
    refused(rf"no image named {names[0]}, \S+, \S+ and 2 more$")
    outputs = truths(test_set, inputs, tmp_path / "fresh")
    first = outputs / f"{names[0]}.png"
    Image.new("RGB", (40, 32)).save(first)
    refused(f"{names[0]}.png: 40x32 pixels, its input has 32x32")
    first.write_bytes(good[:200])
    refused(f"{names[0]}.png: ")
    first.write_text("not an image")
    refused(f"{names[0]}.png: not a JPEG")
    first.write_bytes(good)
    (outputs / f"{names[0]}.bmp").write_bytes(good)
    refused(f"{names[0]}.png and {names[0]}.bmp: two images of one name")
    outputs = tmp_path / "nowhere"
    refused("nowhere: no such folder", FileNotFoundError)


def test_images_of_no_input_are_pointed_out(workspace, test_set, inputs, tmp_path, capsys):
    outputs = truths(test_set, inputs, tmp_path / "out")
    Image.new("RGB", (8, 8)).save(outputs / "contact-sheet.png")
    (outputs / "log.txt").write_text("done")
    evaluate(workspace, outputs, "Theirs", inputs)
    assert "not scored, since no input has the name: contact-sheet" in capsys.readouterr().out


def test_inputs_of_another_study_are_refused(workspace, test_set, inputs, tmp_path):
    outputs = truths(test_set, inputs, tmp_path / "out")
    manifest = read_manifest(inputs)
    for key, value in {"test_sha256": "0", "fraction": 0.25, "size": 64}.items():
        (inputs / MANIFEST).write_text(json.dumps(manifest | {key: value}))
        with pytest.raises(ValueError, match="other test images or masks than profile quick"):
            evaluate(workspace, outputs, "Theirs", inputs)
    for broken in ("{", "[]", "{}"):
        (inputs / MANIFEST).write_text(broken)
        with pytest.raises(ValueError, match=r"manifest\.json: damaged"):
            evaluate(workspace, outputs, "Theirs", inputs)
    with pytest.raises(FileNotFoundError, match="cdlib export-inputs"):
        evaluate(workspace, outputs, "Theirs", outputs)
    for name in ("Ours_STS", "a/b", ""):
        with pytest.raises(ValueError, match="letters, digits"):
            evaluate(workspace, outputs, name, inputs)


@pytest.fixture
def examples(tmp_path):
    """Both sets, three images each of 48 px; the third mask leaves no whole block."""
    rng = np.random.default_rng(0)
    whole = np.full((48, 48), 255, np.uint8)
    whole[:, 20:] = 0
    ragged = np.where(np.indices((48, 48)).sum(0) % 6 < 3, 255, 0).astype(np.uint8)
    for name in modern.SETS:
        for kind in ("images", "masks", "outputs/MI-GAN"):
            (tmp_path / name / kind).mkdir(parents=True)
        for stem, mask in {"a": whole, "b": whole.T, "c": ragged}.items():
            picture = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            for kind, pixels in {
                "images": picture,
                "masks": mask,
                "outputs/MI-GAN": picture,
            }.items():
                Image.fromarray(pixels).save(tmp_path / name / kind / f"{stem}.png")
    return tmp_path


def test_no_valid_pixel_of_a_resized_example_holds_any_of_the_hole(examples):
    folder = examples / "ffhq"
    before = modern.read_examples(folder, 32)
    for stem in ("a", "b", "c"):
        mask = np.asarray(Image.open(folder / "masks" / f"{stem}.png"))[..., None]
        picture = np.asarray(Image.open(folder / "images" / f"{stem}.png"))
        changed = np.where(mask > 0, picture, 255 - picture).astype(np.uint8)
        Image.fromarray(changed).save(folder / "images" / f"{stem}.png")
    after = modern.read_examples(folder, 32)
    assert not torch.equal(before.truth, after.truth)
    assert torch.equal(before.truth * before.mask, after.truth * after.mask)
    assert (before.names, before.left_out) == (("a", "b"), 1)
    assert before.mask.mean().item() == pytest.approx(13 / 32)  # 20 of 48 columns: 13.3 of 32


def test_mi_gan_is_scored_beside_ours(workspace, examples):
    scores = modern.score_modern(
        workspace, examples, {name: ["mean", "masked"] for name in workspace.datasets}
    )
    shown = modern.save_modern(workspace, scores)
    assert len(shown) == 2 * 3 * 2  # sets, methods, variants
    peer = scores[scores["method"] == "MI-GAN"]
    assert (peer["l1"] == 0).all()
    assert peer["similarity_1k"].astype(bool).all()
    assert scores[scores["method"] == "masked"]["l1"].gt(0).all()
    table = pd.read_csv(workspace.run.tables / "modern.csv")
    assert list(table["n"].unique()) == [2]
    assert table["similarity"].isna().all()
    intervals = pd.read_csv(workspace.run.tables / "modern_intervals.csv")
    assert (intervals["low"] <= intervals["value"]).all()
    caption = (workspace.run.tables / "modern.md").read_text().splitlines()[0]
    assert "places2 1, ffhq 1" in caption


def test_an_example_without_its_mask_is_named(examples, workspace):
    (examples / "ffhq" / "images" / "b.png").unlink()
    with pytest.raises(ValueError, match="no image named b"):
        modern.read_examples(examples / "ffhq", 32)
    with pytest.raises(FileNotFoundError, match="masks"):
        modern.read_examples(examples / "nothing", 32)
