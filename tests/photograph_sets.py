"""Small photograph sets on disk for the tests of the data."""

from pathlib import Path

import numpy as np
from PIL import Image

from cdlib.settings import DatasetSettings

SIZE = 16
SPLITS = ("train", "validation", "test")


def save(path: Path, seed: int) -> None:
    """A noise image of 24x20 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def class_folders(root: Path) -> Path:
    """Three classes with 12 training (JPEG) and 4 test images (PNG) each."""
    for c, name in enumerate(("beach", "city", "forest")):
        for i in range(12):
            save(root / "train" / name / f"{i:02d}.jpg", 100 * c + i)
        for i in range(4):
            save(root / "test" / name / f"{i:02d}.png", 1000 + 100 * c + i)
    return root


def partitioned_faces(root: Path) -> Path:
    """CelebA's layout: 8 training, 3 validation and 4 test images."""
    lines = []
    for i in range(15):
        save(root / "img_align_celeba" / f"{i:06d}.jpg", i)
        lines.append(f"{i:06d}.jpg {0 if i < 8 else 1 if i < 11 else 2}")
    (root / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    return root


def folder_set(root: Path, **values) -> DatasetSettings:
    return DatasetSettings(
        **{"name": "photos", "source": "folder", "root": root, "validation": 6} | values
    )
