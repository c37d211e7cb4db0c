"""Prepared arrays: content, manifest, skipped files, interruption and damage."""

import json
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from photograph_sets import SIZE, SPLITS, class_folders, folder_set
from PIL import Image

from cdlib.data import sources, writing
from cdlib.data.array import prepare
from cdlib.data.sources import Source
from cdlib.data.writing import ArrayFiles, Reached, write_arrays
from cdlib.runs import sha256_file


@pytest.fixture
def root(tmp_path):
    return class_folders(tmp_path / "raw")


def hashes(directory: Path) -> dict[str, str]:
    files = (p for p in directory.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {p.name: sha256_file(p) for p in files}


def test_prepared_twice_gives_the_same_bytes(root, tmp_path):
    for directory in ("a", "b"):
        for split in SPLITS:
            prepare(folder_set(root), split, SIZE, tmp_path / directory, 0)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_the_array_holds_the_images(root, tmp_path):
    array = prepare(folder_set(root), "test", 20, tmp_path, 0)
    assert array.images.shape == (12, 20, 20, 3)
    assert isinstance(array.images, np.memmap)
    assert array.labels.dtype == np.int64
    for row, name in enumerate(array.names):
        original = np.asarray(Image.open(root / name))[:, 2:22]  # 24 wide, cropped to 20
        assert (array.images[row] == original).all()
        assert array.classes[array.labels[row]] == Path(name).parent.name
    batch = array.tensor([3, 0])
    assert batch.shape == (2, 3, 20, 20)
    assert batch.dtype == torch.float32
    expected = np.asarray(array.images)[[3, 0]].transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_allclose(batch.numpy(), expected, rtol=1e-6)
    assert torch.equal(array.tensor(torch.tensor([3, 0])), batch)


def test_the_manifest(root, tmp_path):
    array = prepare(folder_set(root, test=6), "test", SIZE, tmp_path, 0)
    manifest = json.loads((tmp_path / "photos" / "test-16.json").read_text())
    assert manifest == array.manifest
    assert manifest["source"] == "folder"
    assert (manifest["name"], manifest["split"]) == ("photos", "test")
    assert (manifest["count"], manifest["size"], manifest["test"]) == (6, SIZE, 6)
    assert manifest["sha256"] == sha256_file(tmp_path / "photos" / "test-16.npy")
    assert manifest["names"][0] == "test/beach/00.png"
    assert manifest["skipped"] == {}


def test_unreadable_files_are_skipped_and_listed(root, tmp_path, capsys):
    (root / "train" / "city" / "03.jpg").write_text("not a photograph")
    whole = (root / "train" / "city" / "04.jpg").read_bytes()
    (root / "train" / "city" / "04.jpg").write_bytes(whole[:-200])
    dataset = folder_set(root, validation=1)
    arrays = [prepare(dataset, split, SIZE, tmp_path, 0) for split in ("train", "validation")]
    skipped = {k: v for a in arrays for k, v in a.manifest["skipped"].items()}
    assert set(skipped) == {"train/city/03.jpg", "train/city/04.jpg"}
    assert skipped["train/city/03.jpg"].startswith("not a JPEG")
    assert "truncated" in skipped["train/city/04.jpg"].lower()
    train = arrays[0]
    assert (
        len(train) == len(train.names) == len(train.labels) == 35 - len(train.manifest["skipped"])
    )
    assert not set(train.names) & set(skipped)
    for row, name in enumerate(train.names):  # rows and names have not slipped
        assert (train.images[row] == sources.decode(root / name, SIZE)).all()
        assert train.classes[train.labels[row]] == Path(name).parent.name
    assert f"{len(train.manifest['skipped'])} skipped (see " in capsys.readouterr().out


def test_nothing_readable(root, tmp_path):
    for path in (root / "test").rglob("*.png"):
        path.write_text("no")
    with pytest.raises(ValueError, match=r"no image is readable of 12 \(e.g. test/beach/00.png: "):
        prepare(folder_set(root), "test", SIZE, tmp_path, 0)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == [".test-16.lock"]


def break_off(monkeypatch, dataset, directory: Path, seed: int = 0) -> None:
    """Start to prepare, flush after every 4 images, and be interrupted at the 12th."""
    monkeypatch.setattr(writing, "FLUSH_EVERY", 4)
    with monkeypatch.context() as patch:
        Reads(patch, stop=11)
        with pytest.raises(KeyboardInterrupt):
            prepare(dataset, "train", SIZE, directory, seed)


class Reads:
    """Counts the images that are decoded; breaks off at number `stop`."""

    def __init__(self, monkeypatch, stop: int | None = None):
        self.count, self.stop, self.decode = 0, stop, sources.decode
        monkeypatch.setattr(sources, "decode", self)

    def __call__(self, path: Path, size: int) -> np.ndarray:
        if self.count == self.stop:
            raise KeyboardInterrupt
        self.count += 1
        return self.decode(path, size)


def test_the_second_time_nothing_is_read(root, tmp_path, monkeypatch, capsys):
    first = prepare(folder_set(root), "train", SIZE, tmp_path, 0)
    assert "preparing 30 images" in capsys.readouterr().out
    reads = Reads(monkeypatch)
    again = prepare(folder_set(root), "train", SIZE, tmp_path, 0)
    assert reads.count == 0
    assert (again.images == first.images).all()
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_preparation_goes_on(root, tmp_path, monkeypatch):
    (root / "train" / "city" / "03.jpg").write_text("not a photograph")
    dataset = folder_set(root)
    prepare(dataset, "train", SIZE, tmp_path / "whole", 0)
    break_off(monkeypatch, dataset, tmp_path / "broken")
    assert not (tmp_path / "broken" / "photos" / "train-16.npy").exists()
    lines = []
    reads = Reads(monkeypatch)
    prepare(dataset, "train", SIZE, tmp_path / "broken", 0, progress=lines.append)
    assert reads.count == 30 - 8
    assert "8 of them done before" in lines[0]
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "broken")


@pytest.mark.parametrize("damage", ["other seed", "part cut short", "record damaged"])
def test_a_part_that_does_not_fit_is_not_used(root, tmp_path, monkeypatch, damage):
    dataset = folder_set(root)
    break_off(monkeypatch, dataset, tmp_path / "broken", 1 if damage == "other seed" else 0)
    folder = tmp_path / "broken" / "photos"
    if damage == "part cut short":
        (folder / "train-16.npy.partial").write_bytes(b"short")
    if damage == "record damaged":
        (folder / "train-16.partial.json").write_text("{")
    reads = Reads(monkeypatch)
    prepare(dataset, "train", SIZE, tmp_path / "broken", 0)
    assert reads.count == 30
    prepare(dataset, "train", SIZE, tmp_path / "whole", 0)
    assert hashes(tmp_path / "whole") == hashes(tmp_path / "broken")


def test_a_longer_part_of_other_settings_leaves_nothing(root, tmp_path, monkeypatch):
    break_off(monkeypatch, folder_set(root), tmp_path)
    for directory in (tmp_path, tmp_path / "fresh"):
        assert len(prepare(folder_set(root, train=5), "train", SIZE, directory, 0)) == 5
    assert hashes(tmp_path / "photos") == hashes(tmp_path / "fresh")


def cut(folder: Path) -> None:
    path = folder / "train-16.npy"
    path.write_bytes(path.read_bytes()[:-1])


def other_shape(folder: Path) -> None:
    np.save(folder / "train-16.npy", np.zeros((30, 8, 32, 3), np.uint8))


def other_count(folder: Path) -> None:
    path = folder / "train-16.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"count": 29}))


def other_names(folder: Path) -> None:
    path = folder / "train-16.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"names": ["a"]}))


def broken_manifest(folder: Path) -> None:
    (folder / "train-16.json").write_text('{"count":')


def other_labels(folder: Path) -> None:
    np.save(folder / "train-16.labels.npy", np.zeros(29, np.int64))


def empty_labels(folder: Path) -> None:
    (folder / "train-16.labels.npy").write_bytes(b"")


def unknown_class(folder: Path) -> None:
    np.save(folder / "train-16.labels.npy", np.full(30, 3, np.int64))


def no_classes(folder: Path) -> None:
    drop(folder, "classes")


def no_hash(folder: Path) -> None:
    drop(folder, "sha256")


def drop(folder: Path, key: str) -> None:
    path = folder / "train-16.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))


def no_labels(folder: Path) -> None:
    (folder / "train-16.labels.npy").unlink()


@pytest.mark.parametrize(
    ("harm", "notice"),
    [
        (cut, "length"),
        (other_shape, "shape"),
        (other_count, "shape"),
        (other_names, "names"),
        (broken_manifest, "damaged"),
        (other_labels, "labels"),
        (empty_labels, "damaged"),
        (no_labels, "missing"),
        (unknown_class, "classes"),
        (no_classes, "damaged"),
        (no_hash, "not whole"),
    ],
)
def test_a_damaged_array_is_made_anew(root, tmp_path, capsys, harm, notice):
    prepare(folder_set(root), "train", SIZE, tmp_path, 0)
    sound = hashes(tmp_path / "photos")
    harm(tmp_path / "photos")
    capsys.readouterr()
    prepare(folder_set(root), "train", SIZE, tmp_path, 0)
    assert hashes(tmp_path / "photos") == sound
    first_line = capsys.readouterr().out.splitlines()[0]
    assert "train-16.npy: " in first_line
    assert notice in first_line
    assert first_line.endswith("made anew")


@pytest.mark.parametrize("name", ["new.png", "00.png"])
def test_changed_images_are_noticed(root, tmp_path, capsys, name):
    first = prepare(folder_set(root), "test", SIZE, tmp_path, 0)
    Image.new("RGB", (30, 30), (0, 0, 255)).save(root / "test" / "city" / name)
    second = prepare(folder_set(root), "test", SIZE, tmp_path, 0)
    assert len(second) == len(first) + (name == "new.png")
    assert (second.images[second.names.index(f"test/city/{name}")] == (0, 0, 255)).all()
    assert "made from other images or settings; made anew" in capsys.readouterr().out


def test_an_array_outlives_its_images(root, tmp_path, capsys):
    first = prepare(folder_set(root), "test", SIZE, tmp_path / "out", 0)
    root.rename(tmp_path / "elsewhere")
    again = prepare(folder_set(root), "test", SIZE, tmp_path / "out", 3)  # no seed in test
    assert (again.images == first.images).all()
    assert "the images are gone" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="no such folder"):
        prepare(folder_set(root, test=5), "test", SIZE, tmp_path / "out", 0)
    cut_file = tmp_path / "out" / "photos" / "test-16.npy"
    cut_file.write_bytes(cut_file.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        prepare(folder_set(root), "test", SIZE, tmp_path / "out", 0)


def test_two_at_once_make_it_once(root, tmp_path, monkeypatch):
    reads = Reads(monkeypatch)
    work = [
        threading.Thread(target=prepare, args=(folder_set(root), "train", SIZE, tmp_path, 0))
        for _ in range(3)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert reads.count == 30
    assert len(prepare(folder_set(root), "train", SIZE, tmp_path, 0)) == 30


def test_memory_does_not_grow_with_the_count(tmp_path):
    def read(position, size):
        return np.full((size, size, 3), position % 256, np.uint8), position % 7

    count = 2500  # 30 MB
    source = Source(tuple(map(str, range(count))), ("a",), "", read)
    tracemalloc.start()
    try:
        write_arrays(source, 64, ArrayFiles(tmp_path, "train-64"), Reached("key"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6
    images = np.load(tmp_path / "train-64.npy", mmap_mode="r")
    assert images.shape == (count, 64, 64, 3)
    assert (images[:, 5, 5, 1] == np.arange(count) % 256).all()


def test_a_full_disk_is_refused_beforehand(root, tmp_path, monkeypatch):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"train-16.npy: needs 0.0 GB of disk and 0.0 GB are free"):
        prepare(folder_set(root), "train", SIZE, tmp_path, 0)
