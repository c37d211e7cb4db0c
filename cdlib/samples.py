"""What the notebooks show rather than count: tables of the data, sample images, sample grids."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Generator, Tensor
from torchvision.transforms.functional import to_tensor

from cdlib.data.array import PreparedArray
from cdlib.data.batches import Batch
from cdlib.data.duplicates import near_duplicates
from cdlib.masks import compose, draw_masks, edge_mask
from cdlib.methods import open_for_scoring
from cdlib.methods.context import Context
from cdlib.settings import SIDES, MaskKind, Profile
from cdlib.workspace import Arrays


def describe(datasets: dict[str, Arrays]) -> pd.DataFrame:
    """A row a data set and split: counts, size, classes, files skipped, the array's hash."""
    rows = []
    for name, arrays in datasets.items():
        for split in ("train", "validation", "test"):
            array: PreparedArray = getattr(arrays, split)
            rows.append(
                {
                    "dataset": name,
                    "split": split,
                    "images": len(array),
                    "pixels": array.images.shape[1],
                    "classes": len(array.classes),
                    "skipped": len(array.manifest["skipped"]),
                    "sha256": array.manifest["sha256"][:12],
                }
            )
    return pd.DataFrame(rows)


def near_duplicate_table(datasets: dict[str, Arrays]) -> pd.DataFrame:
    """Test images with a twin among the training images: `dataset, test, train, bits`."""
    rows = [
        (name, *pair)
        for name, arrays in datasets.items()
        for pair in near_duplicates(arrays.train, arrays.test)
    ]
    return pd.DataFrame(rows, columns=["dataset", "test", "train", "bits"])


def test_manifest(datasets: dict[str, Arrays], twins: pd.DataFrame) -> pd.DataFrame:
    """What scores are taken on, image by image: `dataset, image, label, sha256, left_out`.

    The hash is of the decoded pixels at the profile's size; images with a twin (`twins` is
    `near_duplicate_table`) are left out.
    """
    rows = []
    for name, arrays in datasets.items():
        test, own = arrays.test, set(twins.loc[twins["dataset"] == name, "test"])
        for i, image in enumerate(test.names):
            pixels = sha256(test.images[i].tobytes()).hexdigest()
            rows.append((name, image, test.classes[test.labels[i]], pixels, image in own))
    return pd.DataFrame(rows, columns=["dataset", "image", "label", "sha256", "left_out"])


def mask_manifest(size: int, fraction: float) -> pd.DataFrame:
    """The masks that scores are taken under: `side, height, width, missing, sha256`.

    The hash is of the mask's bytes, one a pixel, 1 valid.
    """
    rows = []
    for side in SIDES:
        mask = edge_mask(size, size, side, fraction)[0].byte().numpy()
        rows.append((side, size, size, int((mask == 0).sum()), sha256(mask.tobytes()).hexdigest()))
    return pd.DataFrame(rows, columns=["side", "height", "width", "missing", "sha256"])


def sample_rows(array: PreparedArray, rows: int, columns: int) -> list[list[Tensor]]:
    """Up to rows x columns images (3,H,W), the classes in turn, in full rows."""
    rows = min(rows, len(array) // columns)
    images = array.tensor(_classes_in_turn(array, rows * columns))
    return [list(row) for row in images.split(columns)]


def every_mask(size: int, fraction: float, seed: int) -> dict[str, Tensor]:
    """One mask of each kind (1,H,W), by its name: the four edges, a rectangle, strokes (Fig. 1)."""
    masks = {f"edge, {side}": edge_mask(size, size, side, fraction) for side in SIDES}
    kinds: tuple[MaskKind, ...] = ("rectangle", "irregular")
    for kind in kinds:
        masks[kind] = random_masks(kind, 1, size, fraction, seed)[0]
    return masks


def random_masks(kind: MaskKind, count: int, size: int, fraction: float, seed: int) -> Tensor:
    generator = Generator().manual_seed(seed)
    return draw_masks(kind, count, size, size, fraction=fraction, generator=generator)


def coverages(count: int, size: int, fraction: float, seed: int) -> dict[str, np.ndarray]:
    """Share of the frame that is missing in `count` random masks of each kind."""
    kinds: tuple[MaskKind, ...] = ("edge", "rectangle", "irregular")
    return {
        kind: 1 - random_masks(kind, count, size, fraction, seed).mean((1, 2, 3)).numpy()
        for kind in kinds
    }


def training_samples(folder: Path, net: str) -> dict[str, Tensor]:
    """The grids drawn while `net` trained, by images seen, as (3,H,W)."""
    paths = sorted(folder.glob(f"{net}-*.png"))
    return {f"{int(p.stem.rpartition('-')[2]):,} images": to_tensor(Image.open(p)) for p in paths}


def one_a_class(array: PreparedArray, profile: Profile, count: int) -> Batch:
    """Up to `count` test images, classes in turn, the side of the hole in turn."""
    picks = _classes_in_turn(array, count)
    masks = [
        edge_mask(profile.size, profile.size, SIDES[i % len(SIDES)], profile.fraction)
        for i in range(len(picks))
    ]
    labels = torch.from_numpy(array.labels[picks])
    return Batch(array.tensor(picks), torch.stack(masks), labels)


def completions(
    context: Context, test: PreparedArray, names: list[str], count: int
) -> dict[str, list[list[Tensor]]]:
    """Rows for the paper's Figs 5 and 6, raw and composed: input, each method, truth."""
    batch = one_a_class(test, context.profile, count)
    outputs = {"raw": [], "composed": []}
    for name in names:
        raw = open_for_scoring(name, context)(batch)
        outputs["raw"].append(raw)
        outputs["composed"].append(compose(raw, batch.image, batch.mask))
    return {
        variant: [list(row) for row in zip(batch.masked, *columns, batch.image, strict=True)]
        for variant, columns in outputs.items()
    }


def _classes_in_turn(array: PreparedArray, count: int) -> list[int]:
    """Rows of `count` images: the first of each class, the second of each, and so on."""
    place = pd.Series(array.labels).groupby(array.labels).cumcount().to_numpy()
    return np.lexsort((array.labels, place))[:count].tolist()
