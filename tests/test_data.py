"""Which images there are: folder layouts, splits, drawn images, downloads."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from hypothesis import given
from hypothesis import strategies as st
from photograph_sets import SIZE, SPLITS, class_folders, folder_set, partitioned_faces, save

from cdlib.data.array import prepare
from cdlib.data.download import ensure_celeba, ensure_places365
from cdlib.data.folder import list_folder
from cdlib.data.sources import evenly, source_of
from cdlib.settings import ConfigurationError, DatasetSettings


@pytest.fixture
def root(tmp_path):
    return class_folders(tmp_path / "raw")


@pytest.fixture
def faces(tmp_path):
    return partitioned_faces(tmp_path / "faces")


# Layouts


def test_class_folders(root):
    save(root / "train" / "city" / "UPPER.JPEG", 7)
    (root / "train" / "city" / "notes.txt").write_text("not listed")
    save(root / "train" / ".hidden" / "a.jpg", 8)
    listing = list_folder(root, "train")
    assert listing.classes == ("beach", "city", "forest")
    assert len(listing.files) == 37
    assert listing.files == sorted(listing.files)
    assert ("train/city/UPPER.JPEG", 1) in listing.files
    assert list_folder(root, "validation").files == []
    assert [label for _, label in list_folder(root, "test").files] == [0] * 4 + [1] * 4 + [2] * 4


def test_partition_file(faces):
    parts = {split: [n for n, _ in list_folder(faces, split).files] for split in SPLITS}
    assert [len(parts[split]) for split in SPLITS] == [8, 3, 4]
    assert parts["validation"][0] == "img_align_celeba/000008.jpg"
    assert list_folder(faces, "test").classes == ("face",)


def test_a_missing_folder_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere: no such folder.*README.*"Real data"'):
        prepare(folder_set(tmp_path / "nowhere"), "train", SIZE, tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()


def test_folders_without_images(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty: neither train/<class>/ nor list_eval"):
        list_folder(tmp_path / "empty", "train")
    (tmp_path / "empty" / "train").mkdir()
    with pytest.raises(FileNotFoundError, match="no class folders"):
        list_folder(tmp_path / "empty", "train")
    (root / "train" / "desert").mkdir()
    with pytest.raises(FileNotFoundError, match=r"desert: no images in it \(.jpg"):
        list_folder(root, "train")


def test_a_test_class_that_train_lacks(root):
    save(root / "test" / "moon" / "a.jpg", 0)
    with pytest.raises(ValueError, match=r"test/moon: a class that .*train lacks"):
        list_folder(root, "test")


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("gone.jpg 0", FileNotFoundError, "line 16: gone.jpg is not in"),
        ("000001.jpg 0", ValueError, "line 16: '000001.jpg 0' is not a new file"),
        ("000001.jpg 3", ValueError, "line 16"),
        ("000001.jpg", ValueError, "line 16"),
    ],
)
def test_faulty_partition_lines(faces, line, error, message):
    with open(faces / "list_eval_partition.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(error, match=message):
        list_folder(faces, "train")


# Splits


def names_of(dataset: DatasetSettings, seed: int = 0) -> dict[str, tuple[str, ...]]:
    return {split: source_of(dataset, split, seed).names for split in SPLITS}


def test_the_validation_cut(root):
    names = names_of(folder_set(root))
    assert [len(names[split]) for split in SPLITS] == [30, 6, 12]
    assert not set(names["train"]) & set(names["validation"])
    assert len(set(names["train"]) | set(names["validation"])) == 36
    assert names == names_of(folder_set(root))
    other = names_of(folder_set(root), seed=1)
    assert set(other["validation"]) != set(names["validation"])
    assert other["test"] == names["test"]


def test_fewer_training_images_leave_validation_alone(root):
    names = names_of(folder_set(root))
    few = names_of(folder_set(root, train=10))
    assert few["train"] == names["train"][:10]
    assert few["validation"] == names["validation"]


def test_a_validation_part_of_its_own_is_used(faces):
    names = names_of(folder_set(faces, validation=2))
    assert [len(names[split]) for split in SPLITS] == [8, 2, 4]
    assert all("000008" <= Path(name).stem <= "000010" for name in names["validation"])


def test_a_validation_that_takes_everything(root):
    with pytest.raises(ConfigurationError, match=r"validation = 36 leaves none of the 36"):
        source_of(folder_set(root, validation=36), "train", 0)


def test_a_smaller_test_part_keeps_the_balance(root):
    source = source_of(folder_set(root, test=6), "test", 0)
    labels = [source.read(i, 8)[1] for i in range(6)]
    assert labels == [0, 0, 1, 1, 2, 2]


@given(st.integers(1, 200), st.integers(1, 250))
def test_evenly(total, count):
    chosen = evenly(list(range(total)), count)
    assert len(chosen) == min(total, count)
    steps = np.diff(chosen)
    assert (steps >= 1).all()
    assert np.ptp(steps) <= 1 if len(steps) else True


@pytest.mark.parametrize("kind", ["synthetic-scenes", "synthetic-faces"])
def test_drawn_images(kind, tmp_path):
    dataset = DatasetSettings(name="drawn", source=kind, train=14, validation=3, test=4)
    arrays = {s: prepare(dataset, s, SIZE, tmp_path, 5, progress=lambda _: None) for s in SPLITS}
    assert [len(arrays[split]) for split in SPLITS] == [14, 3, 4]
    for one, other in combinations(SPLITS, 2):
        assert not set(arrays[one].names) & set(arrays[other].names)
    train = arrays["train"]
    assert train.labels.max() < len(train.classes)
    assert (train.labels >= 0).all()
    another = prepare(dataset, "train", SIZE, tmp_path / "b", 6, progress=lambda _: None)
    assert another.manifest["sha256"] != train.manifest["sha256"]


def test_changed_drawings_are_noticed(monkeypatch):
    dataset = DatasetSettings(name="drawn", source="synthetic-scenes", train=2, test=2)
    before = source_of(dataset, "train", 0).fingerprint
    assert source_of(dataset, "train", 0).fingerprint == before
    from cdlib.data import synthetic

    draw = synthetic.draw_scene

    def darker(index, size, seed):
        image, label = draw(index, size, seed)
        return image // 2, label

    monkeypatch.setattr(synthetic, "draw_scene", darker)
    assert source_of(dataset, "train", 0).fingerprint != before


# Downloads


def broken_download(*_, **__):
    raise RuntimeError("Too many users have viewed or downloaded this file recently.")


@pytest.mark.parametrize(
    ("ensure", "kind", "archives"),
    [
        (ensure_places365, "Places365", "train_256_places365standard.tar.*data_256_standard"),
        (ensure_celeba, "CelebA", "img_align_celeba.zip.*list_eval_partition.txt"),
    ],
)
def test_downloads_are_asked_for_and_fail_with_advice(
    ensure, kind, archives, tmp_path, monkeypatch
):
    with pytest.raises(FileNotFoundError, match=f"cdlib data download.*{archives}") as caught:
        ensure(tmp_path / "set", "train")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(torchvision.datasets, kind, broken_download)
    with pytest.raises(FileNotFoundError, match=rf"not be downloaded \(Too many.*{archives}"):
        ensure(tmp_path / "set", "train", download=True)


@pytest.mark.parametrize("inner", ["", "celeba"])
def test_celeba_where_torchvision_puts_it(faces, tmp_path, inner):
    (tmp_path / "set").mkdir()
    faces.rename(tmp_path / "set" / inner)
    listing = ensure_celeba(tmp_path / "set", "test")
    assert len(listing.files) == 4
    assert all((listing.root / name).is_file() for name, _ in listing.files)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A tiny Places365; its class file is not in sorted order. Hashes are not compared."""
    root = tmp_path / "places"
    for i in range(5):
        save(root / "data_256_standard" / "z" / "zoo" / f"{i:08d}.jpg", i)
        save(root / "data_256_standard" / "a" / "airfield" / f"{i:08d}.jpg", 10 + i)
        save(root / "val_256" / f"Places365_val_{i:08d}.jpg", 20 + i)
    (root / "categories_places365.txt").write_text("/z/zoo 0\n/a/airfield 1\n")
    lines = [
        f"/{c}/{i:08d}.jpg {k}" for k, c in enumerate(("z/zoo", "a/airfield")) for i in range(5)
    ]
    (root / "places365_train_standard.txt").write_text("\n".join(lines))
    lines = [f"Places365_val_{i:08d}.jpg {i % 2}" for i in range(5)]
    (root / "places365_val.txt").write_text("\n".join(lines))
    monkeypatch.setattr(
        "torchvision.datasets.places365.check_integrity", lambda path, md5: Path(path).is_file()
    )
    return root


def test_places365(places, tmp_path):
    dataset = DatasetSettings(name="places", source="places365", root=places, validation=3)
    names = names_of(dataset)
    assert [len(names[split]) for split in SPLITS] == [7, 3, 5]
    train = prepare(dataset, "train", SIZE, tmp_path / "out", 0)
    assert train.classes == ("/z/zoo", "/a/airfield")
    for name, label in zip(train.names, train.labels, strict=True):
        assert f"/{Path(name).parent}" == train.classes[label]
    assert list(prepare(dataset, "test", SIZE, tmp_path / "out", 0).labels) == [0, 1, 0, 1, 0]


def test_places365_that_is_not_whole(places):
    dataset = DatasetSettings(name="places", source="places365", root=places, validation=3)
    (places / "val_256" / "Places365_val_00000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_00000002.jpg: listed but not there"):
        source_of(dataset, "test", 0)
    (places / "data_256_standard").rename(places / "data_256")
    with pytest.raises(FileNotFoundError, match=r"no folder .*data_256_standard.*renamed"):
        source_of(dataset, "train", 0)
