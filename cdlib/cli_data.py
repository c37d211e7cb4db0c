"""`cdlib data`: fetch the images, prepare them, cut them into shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdlib.cli_options import ProfileOption, SetOption, opened_run, resolve_profile

if TYPE_CHECKING:
    from cdlib.settings import Profile

data = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Fetch and prepare the images."
)


def prepare_sets(names: list[str], resolved: "Profile") -> None:
    """Open these data sets, which prepares what is not yet there, and say what they hold."""
    if not names:
        return
    workspace = opened_run(resolved)
    for name in names:
        arrays = workspace.arrays(name)
        counts = [len(split) for split in (arrays.train, arrays.validation, arrays.test)]
        print("{}: {:,} training, {:,} validation, {:,} test images".format(name, *counts))


@data.command()
def prepare(profile: ProfileOption = "quick", override: SetOption = []) -> None:  # noqa: B006
    """Decode a profile's images into arrays that training reads; done ones are left as they are."""
    resolved = resolve_profile(profile, override)
    prepare_sets([dataset.name for dataset in resolved.datasets], resolved)


@data.command()
def download(profile: ProfileOption, override: SetOption = []) -> None:  # noqa: B006
    """Fetch a profile's public data sets (Places365, CelebA) into their folders."""
    resolved = resolve_profile(profile, override)
    from cdlib.data.download import ensure_celeba, ensure_places365
    from cdlib.runs import resolve

    for dataset in resolved.datasets:
        match dataset.source:
            case "places365":
                ensure_places365(resolve(dataset.root), "train", download=True)
                ensure_places365(resolve(dataset.root), "test", download=True)
            case "celeba":
                ensure_celeba(resolve(dataset.root), "train", download=True)
            case source:
                print(f"{dataset.name}: source {source}, nothing to download")


@data.command()
def shard(
    folder: Annotated[Path, typer.Argument(help="For these shards alone.")],
    dataset: Annotated[str, typer.Option(help="By its name or role: scenes or faces.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    per_shard: Annotated[
        int, typer.Option(min=1, help="Images a shard; 10,000 of 256 px are about 1.2 GB.")
    ] = 10_000,
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
) -> None:
    """Write a prepared split as WebDataset shards; interrupted, the same command goes on."""
    resolved = resolve_profile(profile, override)
    from cdlib.data.shards import write_shards
    from cdlib.data.splits import prepared_split

    if split not in ("train", "validation", "test"):
        raise ValueError(f"--split {split}: one of train, validation, test")
    write_shards(prepared_split(resolved, dataset, split), folder, per_shard)
    if split == "train":
        role = "scenes" if resolved.dataset(dataset) == resolved.data.scenes else "faces"
        print(f"to train from them: --set data.{role}.shards={folder.absolute()}")
