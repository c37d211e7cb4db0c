"""What the commands share: the options that make a profile, and a run that is only read."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cdlib.settings import Profile
    from cdlib.workspace import Workspace

ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="A profile's name, or the path of a YAML file.")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, e.g. train.images_seen=20000."
    ),
]


def resolve_profile(profile: str, override: list[str]) -> "Profile":
    """Before the heavy imports, so that a refusal comes at once."""
    from cdlib.settings import load_profile, parse_override

    return load_profile(profile, dict(parse_override(text) for text in override))


def opened_run(profile: "Profile") -> "Workspace":
    """A run of the checkout's results, opened without writing to it."""
    from cdlib.runs import Run, resolve
    from cdlib.workspace import Workspace

    return Workspace(profile, Run(resolve("results") / profile.name))
