"""Train a method's nets on a data set, in one process or in several; the notebooks find them.

    python -m cdlib.train --profile gpu --method cdn --dataset scenes
    torchrun --nproc-per-node 4 -m cdlib.train --profile paper --method cdn --dataset places365
    fabric run --devices 4 cdlib/train.py --profile paper --method cdn --dataset places365

A training goes on where it was, also with another number of processes. `scripts/slurm.sh` is an
example for a cluster.
"""

import argparse
from pathlib import Path
from typing import Any

from cdlib.launch import launch
from cdlib.methods import RECIPES, compressor, ours_srn
from cdlib.refusals import exit_codes
from cdlib.runs import resolve
from cdlib.settings import load_profile, parse_override
from cdlib.synchronised import is_first_process
from cdlib.training import train
from cdlib.workspace import Workspace, open_workspace

PAPER = "cdn"  # the paper's method: compression, then decompression by super-resolution


def nets_of(method: str) -> tuple[str, ...]:
    """The nets to train, in order: a method is one of them by its name, or `cdn`.

    Raises:
        ValueError: no such method.
    """
    if method == PAPER:
        return compressor.NAME, ours_srn.NAME
    if method not in RECIPES:
        raise ValueError(f"method {method!r}: one of {', '.join([PAPER, *RECIPES])}")
    return (method,)


def train_method(workspace: Workspace, method: str, dataset: str) -> list[Path]:
    """Train a method's nets, or go on with them; the paths of the finished nets.

    Args:
        method: `cdn`, or a key of `cdlib.methods.RECIPES`.
        dataset: its name in the tables, or its role, `scenes` or `faces`.

    Raises:
        ValueError: an unknown name, or a setting that does not fit the processes.
        FileNotFoundError: the images are not there.
    """
    nets, context = nets_of(method), workspace.context(dataset)
    with launch(workspace.profile).rank_zero_first():
        arrays = workspace.arrays(dataset)
    return [
        train(
            RECIPES[net](context),
            workspace.profile,
            workspace.run,
            context.dataset,
            arrays.train,
            arrays.validation,
        )
        for net in nets
    ]


def run(
    profile: str, overrides: dict[str, Any], method: str, dataset: str, results: Path | None
) -> None:
    """The command: a profile's method is trained under `results`, and its nets are named."""
    nets_of(method)
    load_profile(profile, overrides).dataset(dataset)  # a wrong name leaves no folder behind
    workspace = open_workspace(profile, overrides, results or resolve("results"))
    for path in train_method(workspace, method, dataset):
        if is_first_process():
            print(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="cdlib.train", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", "-p", default="quick", help="its name, or a YAML file")
    parser.add_argument("--method", required=True, help=f"one of {', '.join([PAPER, *RECIPES])}")
    parser.add_argument("--dataset", required=True, help="its name or role: scenes or faces")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="override")
    parser.add_argument("--results", type=Path, help="default: the checkout's results/")
    given = parser.parse_args()
    with exit_codes():
        overrides = dict(parse_override(text) for text in given.override)
        run(given.profile, overrides, given.method, given.dataset, given.results)


if __name__ == "__main__":
    main()
