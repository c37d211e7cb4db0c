"""Shards: the pixels of the array in WebDataset's layout, resumed, and refused where damaged."""

import json
import tarfile
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from photograph_sets import SIZE, class_folders, folder_set
from typer.testing import CliRunner

from cdlib.cli import app
from cdlib.data import shards
from cdlib.data.array import PreparedArray, prepare
from cdlib.data.batches import TrainingBatches
from cdlib.data.shards import open_shards, write_shards
from cdlib.data.splits import open_split
from cdlib.methods import nearest_image
from cdlib.methods.context import Context
from cdlib.runs import Run, sha256_file
from cdlib.settings import load_profile
from cdlib.stages import data_manifests

COUNT, PER_SHARD = 30, 8  # 8, 8, 8 and 6


@pytest.fixture(scope="module")
def array(tmp_path_factory) -> PreparedArray:
    folder = tmp_path_factory.mktemp("photographs")
    dataset = folder_set(class_folders(folder / "raw"))
    return prepare(dataset, "train", SIZE, folder / "prepared", 0, progress=str)


@pytest.fixture(scope="module")
def whole(array, tmp_path_factory) -> Path:
    """Shards that no test changes."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(array, folder, PER_SHARD, progress=str)
    return folder


@pytest.fixture
def folder(array, tmp_path) -> Path:
    write_shards(array, tmp_path / "shards", PER_SHARD, progress=str)
    return tmp_path / "shards"


def opened(folder: Path) -> PreparedArray:
    return open_shards(folder, "photos", "train", SIZE)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


@given(rows=st.lists(st.integers(-COUNT, COUNT - 1), max_size=20))
def test_shards_give_the_arrays_tensors(array, whole, rows):
    again = opened(whole)
    assert torch.equal(again.tensor(np.array(rows, int)), array.tensor(np.array(rows, int)))


@given(st.slices(COUNT) | st.integers(-COUNT, COUNT - 1))
def test_shards_are_indexed_as_the_array_is(array, whole, index):
    found, wanted = opened(whole).images[index], array.images[index]
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape
    assert (found == wanted).all()


def test_shards_carry_what_the_array_does(array, whole):
    again = opened(whole)
    assert len(again) == len(array) == COUNT
    assert again.images.shape == array.images.shape
    assert (again.labels == array.labels).all()
    assert again.labels.dtype == np.int64
    assert (again.names, again.classes) == (array.names, array.classes)
    assert again.manifest == array.manifest
    with pytest.raises(IndexError):
        again.images[COUNT]


def test_the_layout_is_webdatasets(array, whole):
    """Plain tars; an image's members side by side, named alike up to the first dot."""
    row = 0
    for path in sorted(whole.glob("*.tar")):
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
            assert all(member.isreg() for member in members)
            for png, label in zip(members[::2], members[1::2], strict=True):
                assert (png.name, label.name) == (f"{row:09d}.png", f"{row:09d}.cls")
                content = np.frombuffer(tar.extractfile(png).read(), np.uint8)
                pixels = cv2.imdecode(content, cv2.IMREAD_COLOR)[..., ::-1]
                assert (pixels == array.images[row]).all()
                assert int(tar.extractfile(label).read()) == array.labels[row]
                row += 1
    assert row == COUNT
    index = json.loads((whole / "index.json").read_text())
    assert [shard["images"] for shard in index["shards"].values()] == [8, 8, 8, 6]
    for name, shard in index["shards"].items():
        assert shard["sha256"] == sha256_file(whole / name)
        assert shard["bytes"] == (whole / name).stat().st_size


def test_the_same_array_gives_the_same_bytes(folder, whole):
    assert hashes(folder) == hashes(whole)


def test_interrupted_it_goes_on(array, whole, tmp_path, monkeypatch):
    write, written = shards._write_tar, []

    def two_and_a_half(path, array, rows):
        written.append(rows.start)
        write(path, array, rows[: len(rows) // 2] if len(written) == 3 else rows)
        if len(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_write_tar", two_and_a_half)
        with pytest.raises(KeyboardInterrupt):
            write_shards(array, tmp_path, PER_SHARD, progress=str)
    assert sorted(p.name for p in tmp_path.glob("*.tar")) == ["000000.tar", "000001.tar"]
    with pytest.raises(ValueError, match=r"members.npy: missing, the shards are unfinished; run "):
        opened(tmp_path)
    lines = []
    write_shards(array, tmp_path, PER_SHARD, progress=lines.append)
    assert lines == [
        f"{tmp_path}/000002.tar: 24 of 30 images",
        f"{tmp_path}/000003.tar: 30 of 30 images",
    ]
    assert hashes(tmp_path) == hashes(whole)


def cut(folder: Path) -> None:
    path = folder / "000001.tar"
    path.write_bytes(path.read_bytes()[:-1])


def changed(folder: Path) -> None:
    """One byte of an image's content, the length as it was."""
    path = folder / "000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)


def gone(folder: Path) -> None:
    (folder / "000003.tar").unlink()


def no_index(folder: Path) -> None:
    (folder / "index.json").write_text('{"name":')


def no_members(folder: Path) -> None:
    (folder / "members.npy").write_bytes(b"")


def edit_index(folder: Path, change) -> None:
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


def escaping(folder: Path) -> None:
    def rename(index):
        index["shards"]["../../000001.tar"] = index["shards"].pop("000001.tar")

    edit_index(folder, rename)


def unfinished(folder: Path) -> None:
    edit_index(folder, lambda index: index["shards"].pop("000003.tar"))


def other_count(folder: Path) -> None:
    edit_index(folder, lambda index: index.update(count=29))


def other_array(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "other"}))


def edit_members(folder: Path, field: str, row: int, value: int) -> None:
    members = np.load(folder / "members.npy")
    members[field][row] = value
    np.save(folder / "members.npy", members)


def beyond(folder: Path) -> None:
    edit_members(folder, "offset", 29, 10**9)


def other_label(folder: Path) -> None:
    edit_members(folder, "label", 3, 99)


def pickled(folder: Path) -> None:
    np.save(folder / "members.npy", np.array([{}], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut, r"000001.tar: missing, cut short or changed; run `cdlib data shard` again"),
        (gone, r"000003.tar: missing, cut short"),
        (no_index, r"index.json: damaged; run"),
        (no_members, r"members.npy: damaged"),
        (pickled, r"members.npy: damaged"),
        (escaping, r"index.json: its shards are not 000000.tar to 000003.tar"),
        (unfinished, r"unfinished\? run"),
        (other_count, r"manifest.json or members.npy is not the index's"),
        (other_array, r"manifest.json or members.npy is not the index's"),
        (other_label, r"manifest.json or members.npy is not the index's"),
        (beyond, r"members.npy: images beyond the shards' ends"),
    ],
)
def test_shards_that_are_not_as_they_were_are_refused(folder, harm, message):
    harm(folder)
    with pytest.raises(ValueError, match=message) as refusal:
        opened(folder)
    assert "\n" not in str(refusal.value)


def misplaced(folder: Path) -> None:
    edit_members(folder, "offset", 9, 512)


@pytest.mark.parametrize(("harm", "row"), [(changed, 8), (misplaced, 9)])
def test_a_damaged_image_is_refused_when_it_is_read(array, folder, harm, row):
    harm(folder)
    again = opened(folder)
    with pytest.raises(ValueError, match=f"000001.tar: image {row} is damaged, or not where"):
        again.tensor([0, row, 1])
    assert torch.equal(again.tensor([0, 29]), array.tensor([0, 29]))


@pytest.mark.parametrize(
    "harm", [cut, changed, gone, no_index, no_members, unfinished, other_array, misplaced]
)
def test_the_same_command_mends_them(array, folder, whole, harm):
    harm(folder)
    write_shards(array, folder, PER_SHARD, progress=str)
    assert hashes(folder) == hashes(whole)


def test_shards_of_something_else_are_neither_taken_nor_overwritten(array, folder, whole):
    with pytest.raises(ValueError, match="holds shards of other images, or of another --per-shard"):
        write_shards(array, folder, PER_SHARD + 1, progress=str)
    with pytest.raises(
        ValueError, match="holds photos train at 16 px, the profile wants photos train at 32"
    ):
        open_shards(folder, "photos", "train", 32)
    with pytest.raises(ValueError, match="the profile wants faces train at 16 px"):
        open_shards(folder, "faces", "train", SIZE)
    with pytest.raises(FileNotFoundError, match="no shards here; write them with"):
        open_shards(folder / "none", "photos", "train", SIZE)
    assert hashes(folder) == hashes(whole)


def test_memory_does_not_grow_with_the_count(tmp_path):
    """Neither in cutting nor in reading; only where an image lies is held, 28 bytes each."""
    peaks = []
    for count in (200, 800):
        images = np.lib.stride_tricks.as_strided(  # all of them one image, so that they take none
            np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8),
            (count, 48, 48, 3),
            (0, 144, 3, 1),
        )
        about = {"name": "n", "split": "train", "size": 48, "count": count, "sha256": "aa"}
        manifest = about | {"names": ["n"] * count, "classes": ["c"]}
        array = PreparedArray(images, np.zeros(count, np.int64), ("c",), ("n",) * count, manifest)
        tracemalloc.start()
        try:
            write_shards(array, tmp_path / str(count), 100, progress=str)
            again = open_shards(tmp_path / str(count), "n", "train", 48)
            for start in range(0, count, 50):
                again.tensor(range(start, start + 50))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 600 * 48 * 48 * 3 / 4


def test_a_profile_trains_from_shards_as_from_the_array(tmp_path):
    settings = {
        "size": 32,
        "data.prepared": str(tmp_path / "prepared"),
        "data.scenes.train": 24,
        "data.margin": 1.25,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = ["data", "shard", str(tmp_path / "shards"), "--dataset", "scenes"]
    done = CliRunner().invoke(app, [*command, "--per-shard", "10", *words])
    assert done.exit_code == 0, done.output
    where = f"data.scenes.shards={tmp_path / 'shards'}"
    assert done.stdout.splitlines()[-1] == f"to train from them: --set {where}"

    profile = load_profile("quick", settings)
    sharded = load_profile("quick", settings | {"data.scenes.shards": str(tmp_path / "shards")})
    array, again = (open_split(p, "scenes", "train") for p in (profile, sharded))
    assert isinstance(again.images, shards.ShardImages)
    assert again.manifest["sha256"] == array.manifest["sha256"]  # the same net, once trained
    for step in (0, 5):
        one, other = (TrainingBatches(a, profile).batch(step) for a in (array, again))
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.label, other.label)
    # A method that reads training images takes the same, under every training seed.
    seeded = Context(
        load_profile("quick", settings | {"seed": 3}), Run(tmp_path), "synthetic-scenes"
    )
    assert nearest_image.load(seeded).training.manifest == array.manifest
    manifests = data_manifests(sharded, tmp_path / "elsewhere")
    assert list(manifests) == ["synthetic-scenes/train-shards"]
    assert not isinstance(open_split(sharded, "scenes", "validation").images, shards.ShardImages)

    refused = CliRunner().invoke(app, [*command, "--split", "tests", *words])
    assert refused.exit_code == 2
    assert "--split tests: one of train, validation, test" in refused.stderr
