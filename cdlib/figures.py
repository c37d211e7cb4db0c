"""Rows and tensors -> pictures: one palette, one style, every figure saved as PNG and PDF."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from cdlib.runs import atomic_path

# One colour a method, everywhere; seaborn's colour-blind-safe palette, floors in greys.
_COLOURS = sns.color_palette("colorblind").as_hex()
PALETTE = {
    "Ours_STS": _COLOURS[0],
    "Ours_SRN": _COLOURS[1],
    "Ours_STS_oracle": _COLOURS[9],
    "Ours_bicubic": _COLOURS[8],
    "GatedConv": _COLOURS[2],
    "PartialConv": _COLOURS[3],
    "EdgeConnect": _COLOURS[4],
    "EdgeConnect_oracle": _COLOURS[6],
    "ContextEncoder": _COLOURS[5],
    "telea": "#3d3d3d",
    "navier_stokes": "#4f4f4f",
    "biharmonic": "#616161",
    "patchmatch": "#737373",
    "nearest_image": "#858585",
    "stretch": "#979797",
    "mean": "#a9a9a9",
    "masked": "#bbbbbb",
}
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
}
plt.rcParams.update(STYLE)


def save_figure(figure: Figure, folder: Path, name: str) -> Figure:
    """`name`.png (200 dpi) and `name`.pdf in `folder`. Returns the figure, for the notebook.

    Dates are left out of the PDF, so that the same figure is the same file.
    """
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        # In memory first: Matplotlib turns a full disk into an error of zlib's.
        drawn = BytesIO()
        figure.savefig(drawn, format=suffix[1:], metadata=metadata)
        with atomic_path(folder / f"{name}{suffix}") as temporary:
            temporary.write_bytes(drawn.getvalue())
    plt.close(figure)
    return figure


def image_grid(
    rows: Sequence[Sequence[Tensor]], columns: Sequence[str], title: str = "", cell: float = 1.2
) -> Figure:
    """Images (3,H,W) or (1,H,W) in [0,1], rows x columns, each column named (Figs 5, 6).

    `cell` is the width of an image in inches; its height follows from the image's shape.
    """
    height, width = rows[0][0].shape[-2:]
    size = cell * len(columns), cell * len(rows) * height / width
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        figsize=size,
        squeeze=False,
        gridspec_kw={"wspace": 0.04, "hspace": 0.04, "top": 1, "bottom": 0, "left": 0, "right": 1},
    )
    for line, row in zip(axes, rows, strict=True):
        for axis, image in zip(line, row, strict=True):
            pixels = image.detach().clamp(0, 1).permute(1, 2, 0).squeeze(-1).numpy()
            axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.axis("off")
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=8)
    if title:
        above = 1 + 0.25 / size[1] if any(columns) else 1 + 0.05 / size[1]
        figure.text(0.5, above, title, ha="center", va="bottom", fontsize=9)
    return figure


def coverage_histogram(coverage: dict[str, np.ndarray]) -> Figure:
    """Share of the frame that is missing, by kind of mask."""
    figure, axes = plt.subplots(1, len(coverage), figsize=(2.6 * len(coverage), 2.2), sharey=True)
    for axis, (kind, share) in zip(np.atleast_1d(axes), coverage.items(), strict=True):
        axis.hist(share, bins=np.linspace(0, 0.7, 36), color=_COLOURS[0])
        axis.set(title=f"{kind} (n = {len(share)})", xlabel="share of the frame missing")
    np.atleast_1d(axes)[0].set_ylabel("masks")
    figure.tight_layout()
    return figure


def training_curves(
    logs: dict[str, pd.DataFrame], measures: Sequence[str], title: str = ""
) -> Figure:
    """Training (thin) and validation (thick) of each measure against images seen, a line a log."""
    figure, axes = plt.subplots(1, len(measures), figsize=(3.6 * len(measures), 2.6), squeeze=False)
    for axis, measure in zip(axes[0], measures, strict=True):
        for (label, log), colour in zip(logs.items(), _COLOURS, strict=False):
            if measure in log:
                part = log.dropna(subset=[measure])
                axis.plot(part["images"], part[measure], color=colour, lw=0.8, alpha=0.5)
            held_out = f"validation_{measure}"
            if held_out in log:
                part = log.dropna(subset=[held_out])
                axis.plot(part["images"], part[held_out], color=colour, lw=2, label=label)
                best = part.loc[part[held_out].idxmin()]
                axis.plot(best["images"], best[held_out], "o", color=colour, ms=5)
        axis.xaxis.set_major_formatter(lambda images, _: f"{images / 1000:g}k")
        axis.set(xlabel="images seen", ylabel=measure)
        axis.legend(frameon=False, fontsize=7)
    key = "thin: training, thick: validation, dot: the checkpoint that is kept"
    figure.suptitle(f"{title}\n{key}" if title else key, fontsize=8)
    figure.tight_layout()
    return figure


def threshold_curves(sweeps: dict[str, pd.DataFrame]) -> Figure:
    """L1 on validation images against Eq. 3's threshold, raw and composed."""
    figure, axis = plt.subplots(figsize=(4.2, 2.6))
    for (dataset, sweep), colour in zip(sweeps.items(), _COLOURS, strict=False):
        n = int(sweep["n"].iloc[0])
        axis.plot(
            sweep["threshold"], sweep["l1_raw"], "o-", color=colour, label=f"{dataset}, n = {n}"
        )
        axis.plot(sweep["threshold"], sweep["l1_composed"], "o--", color=colour)
    handles, labels = axis.get_legend_handles_labels()
    handles += [Line2D([], [], color="k", ls="-"), Line2D([], [], color="k", ls="--")]
    axis.legend(handles, [*labels, "raw", "composed"], frameon=False, fontsize=7)
    axis.set(xlabel="threshold t of Eq. 3", ylabel="L1 on validation images")
    figure.tight_layout()
    return figure


def block_origins(
    image: Tensor, output: Tensor, chosen: Tensor, mask: Tensor, block: int
) -> Figure:
    """Fig. 3 redrawn: where the blocks of one completed image came from.

    `image`, `output` (3,H,W); `chosen` (h*w,) row-major indices; `mask` (1,H,W). A block of the
    output has the colour of the place that it was copied from; lines join some of the pairs.
    """
    height, width = (side // block for side in image.shape[-2:])
    rows, columns = np.divmod(chosen.numpy(), width)
    place = np.stack(
        np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    )
    colours = np.stack([place[0], 1 - place[0], place[1]], axis=-1)  # (h,w,3)
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.6))
    pictures = {
        "masked input": (image * mask).permute(1, 2, 0).numpy(),
        "output (raw)": output.clamp(0, 1).permute(1, 2, 0).numpy(),
        "colour of each place": colours,
        "place that each block came from": colours[rows, columns].reshape(height, width, 3),
    }
    for axis, (title, pixels) in zip(axes, pictures.items(), strict=True):
        axis.imshow(pixels, interpolation="nearest", extent=(0, width, height, 0))
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    missing = (mask[0, block // 2 :: block, block // 2 :: block] == 0).flatten().nonzero().flatten()
    for index in missing[:: max(1, len(missing) // 12)].tolist():
        y, x = divmod(index, width)
        axes[1].plot([x + 0.5, columns[index] + 0.5], [y + 0.5, rows[index] + 0.5], "w-", lw=0.7)
        axes[1].plot(columns[index] + 0.5, rows[index] + 0.5, "wo", ms=2)
    figure.tight_layout()
    return figure


def metric_bars(measured: pd.DataFrame, metrics: Sequence[str], variant: str) -> Figure:
    """Methods side by side with their intervals, an axis a metric; rows of `tables.intervals`."""
    part = measured[(measured["variant"] == variant) & measured["metric"].isin(metrics)]
    metrics = [m for m in metrics if (part["metric"] == m).any()]
    methods = list(dict.fromkeys(part["method"]))[::-1]
    size = (2.2 * len(metrics) + 1, 0.2 * len(methods) + 1)  # a line of text a method
    figure, axes = plt.subplots(1, len(metrics), figsize=size, squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        rows = part[part["metric"] == metric].set_index("method").reindex(methods)
        y = np.arange(len(methods))
        error = [rows["value"] - rows["low"], rows["high"] - rows["value"]]
        colours = [PALETTE[m] for m in methods]
        axis.barh(y, rows["value"], xerr=error, color=colours, error_kw={"lw": 1})
        axis.set_yticks(y, methods if axis is axes[0][0] else [""] * len(methods))
        axis.set_xlabel(metric)
    n = ", ".join(f"{d} n = {g['n'].iloc[0]}" for d, g in part.groupby("dataset", sort=False))
    figure.suptitle(f"{n} ({variant})", fontsize=8)
    figure.tight_layout()
    return figure


def confusion_matrix(confusion: pd.DataFrame, title: str) -> Figure:
    """Counts by true class (rows) and predicted class (columns)."""
    side = 0.45 * len(confusion) + 1.5
    figure, axis = plt.subplots(figsize=(side, side))
    sns.heatmap(
        confusion, annot=True, fmt="d", cmap="Blues", cbar=False, ax=axis, annot_kws={"size": 7}
    )
    axis.set(xlabel="predicted", ylabel="true", title=title)
    figure.tight_layout()
    return figure


def conflict_curves(curves: dict[str, pd.DataFrame]) -> Figure:
    """Unlikeness of the holes against unlikeness of the contexts; 1 is the mean of all pairs."""
    figure, axis = plt.subplots(figsize=(4.6, 3))
    for (label, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        x, y = curve["context_distance"], curve["content_distance"]
        axis.plot(x, y, "o-", color=colour, ms=4, label=label)
    axis.axhline(1, color="k", lw=0.8, ls=":")
    axis.set(
        xlabel="squared distance of the contexts (1: all pairs)",
        ylabel="squared distance of the holes\n(1: all pairs)",
        ylim=(0, None),
    )
    axis.legend(frameon=False, fontsize=7)
    figure.tight_layout()
    return figure
