"""Files of weights: finished nets as safetensors, running trainings as tensors only.

Nothing is ever unpickled into code: safetensors for nets, `weights_only` for the state of a
training. The state is written beside and renamed, and the one before it is kept. Finished nets
keep their kernels in half precision: half the size, and what is scored is what the file holds.
"""

import json
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from cdlib.runs import atomic_path


class CheckpointError(ValueError):
    """A file of weights that is missing, broken or of another net; the message names it."""


def save_net(path: Path, weights: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Weights and a JSON-like description, in one safetensors file.

    Float tensors of two axes or more are rounded to half precision.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: _stored(tensor.detach().cpu()) for name, tensor in weights.items()}
    content = serialise(tensors, metadata={"about": json.dumps(about, sort_keys=True)})
    with atomic_path(path) as temporary:
        # safetensors' own `save_file` leaves a file of another name where it is killed.
        temporary.write_bytes(content)


def read_about(path: Path) -> dict[str, Any]:
    """The description in a file of `save_net`.

    Raises:
        CheckpointError: no such file, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
        if not isinstance(about, dict):
            raise ValueError("its description is none")
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint {path}: train it first (cdlib study)") from None
    except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
        raise CheckpointError(
            f"checkpoint {path} is damaged or not of cdlib ({error}); delete it to train it anew"
        ) from None
    return about


def load_net(path: Path, net: torch.nn.Module, prefix: str) -> None:
    """Fill `net` from the tensors of `path` whose names start with `prefix.`, all of them.

    Raises:
        CheckpointError: no such file, or names, shapes or types that are not this net's.
    """
    read_about(path)
    wanted = net.state_dict()
    with safe_open(path, framework="pt") as file:
        stored = {
            key.removeprefix(f"{prefix}."): file.get_tensor(key)
            for key in file.keys()  # noqa: SIM118 - safe_open is not a mapping
            if key.startswith(f"{prefix}.")
        }
    for key, tensor in wanted.items():
        if key not in stored:
            raise CheckpointError(f"checkpoint {path}: {prefix}.{key} is missing; another method?")
        if stored[key].shape != tensor.shape:
            raise CheckpointError(
                f"checkpoint {path}: {prefix}.{key} has shape {tuple(stored[key].shape)}, the "
                f"profile's net needs {tuple(tensor.shape)}; another width?"
            )
        halved = _is_kernel(tensor) and stored[key].dtype == torch.half
        if stored[key].dtype != tensor.dtype and not halved:
            raise CheckpointError(
                f"checkpoint {path}: {prefix}.{key} is of {stored[key].dtype}, not {tensor.dtype}"
            )
    if unknown := sorted(stored.keys() - wanted.keys()):
        raise CheckpointError(
            f"checkpoint {path}: {prefix}.{unknown[0]} is nothing that the profile's net has; "
            "another depth?"
        )
    net.load_state_dict(stored)


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.ndim >= 2 and tensor.is_floating_point()


def _stored(tensor: Tensor) -> Tensor:
    """As a file holds it: biases, statistics and what half precision cannot reach stay exact."""
    half = tensor.half() if _is_kernel(tensor) else tensor
    return (half if half.isfinite().all() else tensor).contiguous()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """The state of a running training; the state before it stays as `.previous`.

    Raises:
        OSError: it cannot be written; the states before it stay.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # which names neither the file nor what is wrong with it
            reason = " ".join(str(error).split())
            raise OSError(f"{path}: cannot be written, is the disk full? ({reason})") from error
        if path.exists():
            os.replace(path, _previous(path))


def load_state(path: Path) -> dict[str, Any] | None:
    """The newest state that can be read, or None. A damaged file is passed over, and said."""
    for candidate in (path, _previous(path)):
        if not candidate.exists():
            continue
        try:
            with ZipFile(candidate) as archive:  # torch compares no checksums
                if archive.testzip() is not None:
                    raise ValueError("a checksum is off")
            return torch.load(candidate, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a truncated file
            print(f"{candidate.name} cannot be read ({type(error).__name__}); going back one state")
    return None


def _previous(path: Path) -> Path:
    return path.with_name(path.name.replace(".resume.pt", ".previous.resume.pt"))
