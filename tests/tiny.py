"""The smallest study that is still one: seconds, not minutes."""

from pathlib import Path

from cdlib.workspace import Workspace, open_workspace

OVERRIDES = {
    "size": 32,
    "data.scenes.train": 48,
    "data.scenes.validation": 12,
    "data.scenes.test": 12,
    "data.faces.train": 24,
    "data.faces.validation": 12,
    "data.faces.test": 8,
    "train.images_seen": 320,
    "train.batch_size": 4,
    "train.fast": True,
    "train.validate_every": 80,
    "train.checkpoint_every": 8,
    "compressor.width": 0.0625,
    "super_resolution.features": 4,
    "super_resolution.blocks": 1,
    "peers.gated_conv.width": 4,
    "peers.partial_conv.width": 4,
    "peers.edge_connect.width": 4,
    "peers.context_encoder.width": 4,
    "judge.images_seen": 160,
    "judge.input_size": 32,
    "evaluate.resamples": 100,
}


def tiny_workspace(folder: Path, **changes) -> Workspace:
    """A workspace of the quick profile made small, its data and results in `folder`."""
    prepared = {"data.prepared": str(folder / "prepared")}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return open_workspace("quick", OVERRIDES | prepared | changes, folder / "results")
