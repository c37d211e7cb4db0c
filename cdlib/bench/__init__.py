"""How fast it is, all in one run on one machine: steps, ceiling, inference, texture selection.

Every comparison is between forms that were timed in turn (`measuring`): `ceiling` is what the
machine can do at most, `steps` the training of each network in its plain and its fast form,
`inference` every method, `selection` texture selection beside its classical rivals; `sizes` says
how large the nets are, `report` prints. What was measured so stands in docs/performance.md.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from cdlib.bench import ceiling, inference, selection, sizes, steps
from cdlib.bench.measuring import Options, in_own_process
from cdlib.methods import METHODS, RECIPES
from cdlib.provenance import describe_device

SELECTION = "texture"
NOTES = (
    "The plain form: plain layers, contiguous memory, default Adam. The critics' passes are the "
    "recipe's in both forms.",
    "Freed memory is kept (cdlib.fast.memory) in both forms, so the ratios do not count what it "
    "gives.",
    "Ratios are medians of pairs that were timed one after the other, so they may differ a "
    "little from the ratio of the two medians.",
    "A share of the ceiling counts the operations of direct convolution: a form that needs fewer "
    "may pass 1.",
    "Peak memory is of a process that does this alone, libraries included.",
)


def run(
    size: int = 64,
    width: float = 0.25,
    batch: int | None = None,
    repeats: int = 10,
    threads: int | None = None,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure; the content of the JSON file, and what `report.lines` prints.

    Args:
        size: of the images, in pixels.
        width: of the compression network; the rivals' follow (`sizes`).
        batch: images a training step; None: 32 up to 96 px, 4 above.
        repeats: of each timing; the medians are told.
        threads: None: as many as torch takes by itself. With one the clock is processor time.
        only: nets, methods, or `texture`; empty takes everything.

    Raises:
        ValueError: an unknown name in `only`, or a size or width that no profile takes.
        ChildProcessError: a measurement that died, of too little memory, say.
    """
    known = [*RECIPES, *METHODS, SELECTION]
    for name in only:
        if name not in known:
            raise ValueError(f"--only {name}: one of {', '.join(known)}")
    chosen = [name for name in known if not only or name in only]
    options = Options(
        size=size,
        width=width,
        batch=batch or (32 if size <= 96 else 4),
        repeats=repeats,
        threads=threads or torch.get_num_threads(),
    )
    with tempfile.TemporaryDirectory(prefix="cdlib-bench-") as folder:
        sizes.open_bench(options, Path(folder)).arrays("scenes")  # drawn once, for all processes
        return _measured(options, Path(folder), chosen)


def _measured(options: Options, folder: Path, chosen: list[str]) -> dict[str, Any]:
    nets = [name for name in RECIPES if name in chosen]
    methods = [name for name in METHODS if name in chosen]
    bar = tqdm(total=1 + len(nets) + bool(methods) + (SELECTION in chosen), unit="part")

    def part(title: str, function: Callable[..., Any], *arguments: Any) -> Any:
        bar.set_description(title)
        result = function(*arguments)
        bar.update()
        return result

    with bar:
        peak = part("ceiling", _alone, options, ceiling.measure)
        content = {
            "machine": describe_device() | ceiling.instructions(options),
            "options": options.as_dict(),
            "notes": NOTES,
            "ceiling": peak,
            "training": {
                name: part(name, _training, options, folder, name, peak["gflops"]) for name in nets
            },
        }
        if methods:
            content["inference"] = part(
                "inference", _alone, options, inference.measure, folder, methods
            )
        if SELECTION in chosen:
            content["texture"] = part(SELECTION, _alone, options, selection.measure)
    return content


def _alone(options: Options, function: Callable[..., dict], *arguments: Any) -> dict[str, Any]:
    result, memory = in_own_process(options, function, *arguments)
    return result | {"peak_memory_mb": memory}


def _training(options: Options, folder: Path, name: str, peak: float) -> dict[str, Any]:
    timed, _ = in_own_process(options, steps.measure, folder, name)
    told = timed | steps.summary(timed["phases"], options.batch, peak)
    for form in steps.FORMS:
        _, memory = in_own_process(options, steps.take_steps, folder, name, form)
        told[form]["peak_memory_mb"] = memory
    return told
