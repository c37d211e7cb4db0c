"""Reproduction study of *Large Hole Image Inpainting With Compress-Decompression Network*.

The names below are the way in; everything else is imported from its own module. They are looked
up when first used, so that `import cdlib`, and with it the command line, does not load torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that holds it.
PUBLIC = {
    "edge_mask": "cdlib.masks",
    "rectangle_mask": "cdlib.masks",
    "irregular_mask": "cdlib.masks",
    "compose": "cdlib.masks",
    "CompressionNetwork": "cdlib.nets.compression",
    "similar_texture_selection": "cdlib.texture",
    "stretch_valid": "cdlib.texture",
    "finetune": "cdlib.texture",
    "similarity_ratio": "cdlib.metrics",
    "load_method": "cdlib.methods",
    "load_profile": "cdlib.settings",
}

__all__ = [*PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'cdlib' has no attribute {name!r}")
    return getattr(import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
