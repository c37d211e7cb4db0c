"""The command line. Modules are imported by the commands, so that `cdlib --help` is quick.

Exit codes: 1 a notebook failed, 2 something given is wrong or missing, 130 interrupted.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from cdlib.settings import Profile
    from cdlib.workspace import Workspace


class Commands(TyperGroup):
    """Turns what a user can cause into one line and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:
        with _exit_codes():
            return super().invoke(ctx)


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        _exit(f"error: {_one_line(error)}", 2)
    except KeyboardInterrupt:
        _exit("interrupted; the same command goes on from here", 130)


def _exit(message: str, code: int) -> NoReturn:
    print(f"cdlib: {message}", file=sys.stderr)
    raise typer.Exit(code)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


app = typer.Typer(
    cls=Commands,
    help="Reproduction study of Large Hole Image Inpainting With Compress-Decompression Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data", help="Fetch and prepare the images.")

ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="A profile's name, or the path of a YAML file.")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, e.g. train.images_seen=20000."
    ),
]


@app.command()
def study(
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006 - typer reads it, and never changes it
    only: Annotated[
        list[str],
        typer.Option(metavar="NN", help="Run this notebook alone, changed or not; repeatable."),
    ] = [],  # noqa: B006
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of results.  [default: the checkout's results/]"),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh/--resume", help="Run and train everything anew, or go on."),
    ] = False,
) -> None:
    """Run the notebooks of the study whose inputs have changed."""
    resolved = _resolved(profile, override)
    from cdlib.runs import resolve
    from cdlib.settings import parse_override
    from cdlib.study import StageError, run_study

    signal.signal(signal.SIGTERM, _terminate)
    overrides = dict(parse_override(text) for text in override)
    # Before the first notebook, so that what is wrong with the photographs is said at once.
    _prepare([dataset.name for dataset in resolved.datasets if dataset.root], resolved)
    try:
        run_study(profile, overrides, results or resolve("results"), only=only, fresh=fresh)
    except StageError as error:
        _exit(f"failed: {error}", 1)


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)  # by way of the `finally` that ends the kernels


@app.command()
def profiles() -> None:
    """List the built-in profiles."""
    from importlib import resources

    from cdlib.settings import profile_names

    for name in profile_names():
        text = (resources.files("cdlib") / "profiles" / f"{name}.yaml").read_text("utf-8")
        print(f"{name:8}{text.splitlines()[0].lstrip('# ')}")


def _workspace(resolved: "Profile") -> "Workspace":
    """A run of the checkout's results, opened without writing to it."""
    from cdlib.runs import Run, resolve
    from cdlib.workspace import Workspace

    return Workspace(resolved, Run(resolve("results") / resolved.name))


@app.command("export-inputs")
def export_inputs(
    folder: Annotated[Path, typer.Argument(help="New folder for images/, masks/, manifest.json.")],
    dataset: Annotated[str, typer.Option(help="By its name or role: scenes or faces.")] = "scenes",
    n: Annotated[int, typer.Option("--n", help="How many test images.")] = 500,
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
) -> None:
    """Write masked test images for a method that runs elsewhere."""
    resolved = _resolved(profile, override)
    from cdlib import external

    workspace = _workspace(resolved)
    test = workspace.arrays(dataset).test
    external.export_inputs(workspace.context(dataset), test, n, folder)
    print(f"{folder}: {n} images and masks (white is valid); keep the file names of the outputs")


@app.command()
def evaluate(
    outputs: Annotated[Path, typer.Option(help="Folder of images, named as their inputs.")],
    name: Annotated[str, typer.Option(help="The method's name in the tables, e.g. LaMa.")],
    inputs: Annotated[
        Path | None,
        typer.Option(help="What export-inputs wrote.  [default: the folder around --outputs]"),
    ] = None,
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
) -> None:
    """Score the outputs of a method that ran elsewhere."""
    resolved = _resolved(profile, override)
    from cdlib import external

    workspace = _workspace(resolved)
    table = external.evaluate(workspace, outputs, name, inputs or outputs.absolute().parent)
    print(table.to_markdown(index=False))


def _prepare(names: list[str], resolved: "Profile") -> None:
    if not names:
        return
    workspace = _workspace(resolved)
    for name in names:
        arrays = workspace.arrays(name)
        counts = [len(split) for split in (arrays.train, arrays.validation, arrays.test)]
        print("{}: {:,} training, {:,} validation, {:,} test images".format(name, *counts))


@data.command()
def prepare(profile: ProfileOption = "quick", override: SetOption = []) -> None:  # noqa: B006
    """Decode a profile's images into arrays that training reads; done ones are left as they are."""
    resolved = _resolved(profile, override)
    _prepare([dataset.name for dataset in resolved.datasets], resolved)


@data.command()
def download(profile: ProfileOption, override: SetOption = []) -> None:  # noqa: B006
    """Fetch a profile's public data sets (Places365, CelebA) into their folders."""
    resolved = _resolved(profile, override)
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


def _resolved(profile: str, override: list[str]) -> "Profile":
    """Before the heavy imports, so that a refusal comes at once."""
    from cdlib.settings import load_profile, parse_override

    return load_profile(profile, dict(parse_override(text) for text in override))


@app.command()
def train(
    net: Annotated[str, typer.Option(help="What to train, e.g. compressor or gated_conv.")],
    dataset: Annotated[str, typer.Option(help="By its name or role: scenes or faces.")],
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
    results: Annotated[
        Path | None, typer.Option(help="Folder of results.  [default: the checkout's results/]")
    ] = None,
) -> None:
    """Train one net, or go on with it; the notebooks take it when it is finished."""
    from cdlib.methods import RECIPES
    from cdlib.runs import resolve
    from cdlib.settings import parse_override
    from cdlib.train import train as run_training
    from cdlib.workspace import open_workspace

    if net not in RECIPES:
        raise ValueError(f"--net {net}: one of {', '.join(RECIPES)}")
    overrides = dict(parse_override(text) for text in override)
    workspace = open_workspace(profile, overrides, results or resolve("results"))
    context, arrays = workspace.context(dataset), workspace.arrays(dataset)
    recipe = RECIPES[net](context)
    print(
        run_training(
            recipe,
            workspace.profile,
            workspace.run,
            context.dataset,
            arrays.train,
            arrays.validation,
        )
    )


@app.command()
def verify(
    profile: ProfileOption = "cpu",
    results: Annotated[
        Path | None, typer.Option(help="Folder of results.  [default: the checkout's results/]")
    ] = None,
) -> None:
    """Make a study's tables anew from its nets, and hold them against the ones that are there."""
    from cdlib.runs import resolve
    from cdlib.verify import verify as find

    signal.signal(signal.SIGTERM, _terminate)
    findings = find(results or resolve("results"), profile)
    for finding in findings:
        state = "off" if finding.checked else "not checked"
        print(f"{state}: {finding.table}: {finding.where}: {finding.reason}")
    off = sum(finding.checked for finding in findings)
    print(f"{off} numbers off, {len(findings) - off} tables not checked")
    if off:
        raise typer.Exit(1)


def main() -> None:
    app(prog_name="cdlib")
