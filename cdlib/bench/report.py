"""What `run` measured, for reading."""

from collections.abc import Iterator
from typing import Any

import pandas as pd


def lines(content: dict[str, Any]) -> Iterator[str]:
    """Markdown, a paragraph or a table at a time."""
    yield _machine(content)
    yield _table(_ceilings(content["ceiling"]))
    if content["training"]:
        yield "Training, whole steps"
        yield _table(_steps(content["training"]))
    if "inference" in content:
        times = content["inference"]["ms_per_image"]
        yield f"Inference, untrained nets, {content['inference']['images']} images a call"
        yield _table([{"method": name, "ms/image": ms} for name, ms in times.items()])
    if "texture" in content:
        yield "Texture selection alone: the whole frame; the others: the hole"
        yield _table([{"size": s} | row for s, row in content["texture"]["sizes"].items()])
        yield _selection(content["texture"])
    yield "\n".join(f"- {note}" for note in content["notes"])


def _machine(content: dict[str, Any]) -> str:
    machine, options = content["machine"], content["options"]
    return (
        f"{machine['cpu']}, {machine['instruction_set']}, {machine['cores']} cores, "
        f"threads {machine['threads']}; {options['size']} px, width {options['width']}, "
        f"batch {options['batch']}; medians of {options['repeats']}, {options['clock']}"
    )


def _ceilings(ceiling: dict[str, Any]) -> list[dict[str, Any]]:
    best, side = ceiling["best_convolution"], ceiling["matmul"]["side"]
    return [
        {"ceiling": f"product of {side}x{side} matrices", "GFLOP/s": ceiling["matmul"]["gflops"]},
        {"ceiling": f"{best['layer']}, {best['layout']}", "GFLOP/s": best["gflops"]},
    ]


def _steps(training: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "net": name,
            "plain, images/s": net["plain"]["images_per_s"],
            "fast, images/s": net["fast"]["images_per_s"],
            "ratio": net["ratio"],
            "plain, of ceiling": f"{net['plain']['share_of_ceiling']:.0%}",
            "fast, of ceiling": f"{net['fast']['share_of_ceiling']:.0%}",
            "data, of fast step": f"{net['data']['share_of_fast_step']:.1%}",
            "data, images/s": net["data"]["images_per_s"],
            "plain, peak MB": net["plain"]["peak_memory_mb"],
            "fast, peak MB": net["fast"]["peak_memory_mb"],
        }
        for name, net in training.items()
    ]


def _selection(texture: dict[str, Any]) -> str:
    memory, linear = texture["memory"], texture["linearity"]
    few, many = linear["ms_per_image"]
    return (
        f"{memory['images']} images of {memory['size']} px in one call take "
        f"{memory['extra_mb']:.0f} MB beyond the input; an image among {many} takes "
        f"{linear['ratio']:.2f} of its time among {few}."
    )


def _table(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_markdown(index=False, floatfmt=".4g")
