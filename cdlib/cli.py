"""The command line. Modules are imported by the commands, so that `cdlib --help` is quick."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from cdlib.cli_data import data, prepare_sets
from cdlib.cli_options import ProfileOption, SetOption, opened_run, resolve_profile
from cdlib.refusals import exit_codes, leave


class Commands(TyperGroup):
    """Turns what a user can cause into one line and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:
        with exit_codes():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    help="Reproduction study of Large Hole Image Inpainting With Compress-Decompression Network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")


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
    resolved = resolve_profile(profile, override)
    from cdlib.runs import resolve
    from cdlib.settings import parse_override
    from cdlib.study import StageError, run_study

    signal.signal(signal.SIGTERM, _terminate)
    overrides = dict(parse_override(text) for text in override)
    # Before the first notebook, so that what is wrong with the photographs is said at once.
    prepare_sets([dataset.name for dataset in resolved.datasets if dataset.root], resolved)
    try:
        run_study(profile, overrides, results or resolve("results"), only=only, fresh=fresh)
    except StageError as error:
        leave(f"failed: {error}", 1)


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


@app.command("export-inputs")
def export_inputs(
    folder: Annotated[Path, typer.Argument(help="New folder for images/, masks/, manifest.json.")],
    dataset: Annotated[str, typer.Option(help="By its name or role: scenes or faces.")] = "scenes",
    n: Annotated[int, typer.Option("--n", help="How many test images.")] = 500,
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
) -> None:
    """Write masked test images for a method that runs elsewhere."""
    resolved = resolve_profile(profile, override)
    from cdlib import external

    workspace = opened_run(resolved)
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
    resolved = resolve_profile(profile, override)
    from cdlib import external

    workspace = opened_run(resolved)
    table = external.evaluate(workspace, outputs, name, inputs or outputs.absolute().parent)
    print(table.to_markdown(index=False))


@app.command()
def train(
    net: Annotated[str, typer.Option(help="A net, e.g. gated_conv; cdn is the paper's two.")],
    dataset: Annotated[str, typer.Option(help="By its name or role: scenes or faces.")],
    profile: ProfileOption = "quick",
    override: SetOption = [],  # noqa: B006
    results: Annotated[
        Path | None, typer.Option(help="Folder of results.  [default: the checkout's results/]")
    ] = None,
) -> None:
    """Train a net, or go on with it; the notebooks take it when it is finished."""
    resolve_profile(profile, override)
    from cdlib.settings import parse_override
    from cdlib.train import run

    run(profile, dict(parse_override(text) for text in override), net, dataset, results)


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


@app.command()
def bench(
    size: Annotated[int, typer.Option(help="Side of the images, in pixels.")] = 64,
    width: Annotated[float, typer.Option(help="Of the compression network; Table 1 is 1.")] = 0.25,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images a step.  [default: 32; above 96 px 4]")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of each timing; medians are told.")] = 10,
    threads: Annotated[
        int | None, typer.Option(min=1, help="With 1, processor time is measured.")
    ] = None,
    only: Annotated[
        list[str], typer.Option(metavar="NAME", help="A net, a method or texture; repeatable.")
    ] = [],  # noqa: B006
    file: Annotated[Path | None, typer.Option("--json", help="Write everything here, too.")] = None,
) -> None:
    """Measure training steps, methods and texture selection on this machine."""
    from cdlib.bench import run
    from cdlib.bench.report import lines
    from cdlib.runs import write_json

    signal.signal(signal.SIGTERM, _terminate)
    content = run(size, width, batch, repeats, threads, only)
    if file:  # first, since whoever reads the print may close it early
        write_json(file, content)
    print(*lines(content), sep="\n\n")


def main() -> None:
    app(prog_name="cdlib")
