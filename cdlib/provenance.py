"""`run.json`: from what code, settings, data and machine a study's numbers came.

Neither host names nor absolute paths are in it.
"""

import multiprocessing
import os
import platform
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import cdlib
from cdlib.settings import Profile

DISTRIBUTION = "cdlib-inpainting"
_SOURCES = ("cdlib", "notebooks", "pyproject.toml", "requirements.lock")


def provenance(
    profile: Profile,
    root: Path,
    stages: dict[str, dict[str, Any]],
    manifests: dict[str, dict[str, Any]],
    device: dict[str, Any],
) -> dict[str, Any]:
    """The content of `run.json`.

    Args:
        stages: stage -> what is to be said of it (its seconds, its throughput).
        manifests: of the prepared data, `<data set>/<split>-<size>` -> manifest.
        device: from `describe_device`.
    """
    return {
        "cdlib": cdlib.__version__,
        **_commit(root),
        "seed": profile.seed,
        "profile": _without_paths(profile.model_dump(mode="json")),
        "versions": _versions(),
        "device": device,
        "data": {
            name: {"images": m["count"], "skipped": len(m["skipped"]), "sha256": m["sha256"]}
            for name, m in manifests.items()
        },
        "stages": stages,
    }


def _commit(root: Path) -> dict[str, Any]:
    """The commit, and whether code or notebooks differ from it; None where git has no answer."""
    commit = _output("git", "rev-parse", "--verify", "HEAD", cwd=root)
    # Without locks: a study that is killed meanwhile would leave one in the user's repository.
    status = ("git", "--no-optional-locks", "status", "--porcelain", "--", *_SOURCES)
    changes = _output(*status, cwd=root)
    return {"commit": commit, "dirty": None if commit is None else bool(changes)}


def _output(*command: str, cwd: Path) -> str | None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _without_paths(value: Any) -> Any:
    """Absolute paths keep their last part."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, str) and os.path.isabs(value):
        return f".../{Path(value).name}"
    return value


def _versions() -> dict[str, str]:
    """Of Python and of everything that the package requires by name."""
    required = [re.split(r"[^\w.-]", line)[0] for line in metadata.requires(DISTRIBUTION) or []]
    versions = {"python": platform.python_version()}
    for name in sorted(required):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # of an extra that is not installed
    return versions


def describe_device() -> dict[str, Any]:
    """Processor, cores, threads and GPU; asked in a short-lived process, since torch is large."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_device).result()


def _device() -> dict[str, Any]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": gpus,
    }


def _processor() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return found[1] if found else platform.machine()
