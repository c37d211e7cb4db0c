"""The nets and images that are measured: drawn images, and rivals in keeping with the width."""

from operator import attrgetter
from pathlib import Path

import numpy as np

from cdlib.bench.measuring import Options
from cdlib.runs import Run
from cdlib.settings import PeerSettings, Profile, load_profile
from cdlib.workspace import Workspace

IMAGES = {"train": 256, "validation": 32, "test": 8}
SCALED = (
    "super_resolution.features",
    "super_resolution.blocks",
    *(f"peers.{name}.width" for name in PeerSettings.model_fields),
)


def open_bench(options: Options, folder: Path) -> Workspace:
    """A run in `folder` on drawn images.

    Everything but sizes is the profile `cpu`'s. Like the compression network's width, the other
    nets' sizes lie on a line: through 0, the profile `cpu`'s and the profile `paper`'s.
    """
    return Workspace(_profile(options, folder), Run(folder / "run"))


def _profile(options: Options, folder: Path) -> Profile:
    at = [load_profile(name) for name in ("cpu", "paper")]
    widths = (0, *(profile.compressor.width for profile in at))
    drawn = {"name": "drawn", "source": "synthetic-scenes", **IMAGES}
    changes = {
        "size": options.size,
        "device": "cpu",
        "data.prepared": str(folder / "prepared"),
        "data.scenes": drawn,
        "train.batch_size": options.batch,
        "compressor.width": options.width,
        "texture.threshold": 0.1,  # any: its cost is the same
    }
    for key in SCALED:
        known = (0, *map(attrgetter(key), at))
        changes[key] = max(1, round(np.interp(options.width, widths, known)))
    return load_profile("cpu", changes)
