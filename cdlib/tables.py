"""Scores -> the tables of the report, each as CSV, Markdown and LaTeX.

The CSV holds plain numbers; the Markdown and LaTeX forms show each with its interval, which also
stand in `<name>_intervals.csv` (method, variant, metric, value, low, high, n).
"""

from pathlib import Path

import pandas as pd

from cdlib.runs import write_text
from cdlib.scores import MEASURES, SIMILARITIES
from cdlib.settings import EvaluateSettings
from cdlib.stats import interval

TABLE2 = ["dataset", "method", "variant", "mask", "n", "l1", "l2", "similarity", "similarity5"]
TABLE2 += ["psnr", "ssim", "similarity_1k", "similarity5_1k"]
TABLE2 += ["similarity_hole", "similarity_hole_1k"]

# The methods of the paper's Table 2, and what it has of each. The printed figures were not at hand:
# one that is typed in here, e.g. {"Ours_STS": {"l1": ...}}, stands in the table beside ours.
PAPER_METHODS = ["GatedConv", "PartialConv", "EdgeConnect", "Ours_SRN", "Ours_STS"]
PAPER_METRICS = ["l1", "l2", "similarity", "similarity5"]
PAPER_TABLE2: dict[str, dict[str, float]] = {}


def mean_with_interval(
    rows: pd.DataFrame,
    by: list[str],
    metrics: list[str],
    settings: EvaluateSettings,
    seed: int,
) -> pd.DataFrame:
    """Mean and interval of each metric in each group: `*by, metric, value, low, high, n`.

    The bootstrap draws images (column `image`), not rows: the sides of one image are not
    independent. A metric that a group does not have is left out.
    """
    out = []
    for key, group in rows.groupby(by, sort=False):
        clusters = group["image"].to_numpy()
        for metric in metrics:
            if group[metric].isna().all():
                continue
            values = group[metric].to_numpy(dtype=float)
            bounds = interval(values, clusters, settings.level, settings.resamples, seed)
            out.append((*key, metric, *bounds, len(values)))
    return pd.DataFrame(out, columns=[*by, "metric", "value", "low", "high", "n"])


def intervals(scores: pd.DataFrame, settings: EvaluateSettings, seed: int) -> pd.DataFrame:
    """Mean and interval of every metric of `cdlib.scores`, over all sides."""
    by = ["dataset", "method", "variant", "mask"]
    rows = scores.assign(mask="edge")
    return mean_with_interval(rows, by, MEASURES + SIMILARITIES, settings, seed)


def table2(measured: pd.DataFrame) -> pd.DataFrame:
    """The paper's Table 2 from `intervals`: a row a method and variant, in the order given.

    `n` counts outputs: images times sides. Empty where a data set has no classes.
    """
    index = ["dataset", "method", "variant", "mask", "n"]
    wide = measured.pivot_table(index=index, columns="metric", values="value", sort=False)
    return wide.reset_index().rename_axis(columns=None).reindex(columns=TABLE2)


def paper_table2(measured: pd.DataFrame) -> pd.DataFrame:
    """The paper's printed Table 2 beside ours on composed outputs; empty where it is not known.

    Columns `method, l1, l2, similarity, similarity5`, then the same of the paper, with `_paper`.
    """
    ours = table2(measured[measured["variant"] == "composed"]).set_index("method")
    methods = [method for method in PAPER_METHODS if method in ours.index]
    paper = pd.DataFrame.from_dict(PAPER_TABLE2, orient="index", dtype=float)
    paper = paper.reindex(index=methods, columns=PAPER_METRICS)
    return ours.loc[methods, PAPER_METRICS].join(paper.add_suffix("_paper")).reset_index()


def without_near_duplicates(scores: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The scores of test images that have no twin among the training images.

    `folder` holds the table `near_duplicates` that the first notebook wrote; `scores` has the
    columns `dataset` and `image`.
    """
    twins = pd.read_csv(folder / "near_duplicates.csv", dtype=str)
    twins = pd.MultiIndex.from_frame(twins[["dataset", "test"]])
    return scores[~pd.MultiIndex.from_frame(scores[["dataset", "image"]]).isin(twins)]


def table2_shown(measured: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Table 2 for reading: `value ± half the interval's width`."""
    half = (measured["high"] - measured["low"]) / 2
    shown = measured.assign(
        text=[
            f"{v:.{_digits(m, digits)}f} ± {h:.{_digits(m, digits)}f}"
            for v, h, m in zip(measured["value"], half, measured["metric"], strict=True)
        ]
    )
    index = ["dataset", "method", "variant", "mask", "n"]
    wide = shown.pivot_table(
        index=index, columns="metric", values="text", aggfunc="first", sort=False
    )
    wide = wide.reset_index().rename_axis(columns=None).reindex(columns=TABLE2)
    return wide.astype(object).fillna("")


def by_side(scores: pd.DataFrame, metrics: list[str]) -> pd.DataFrame:
    """Means by side of the hole, with n: columns `dataset, method, variant, side, n, ...`."""
    groups = scores.groupby(["dataset", "method", "variant", "side"], sort=False)
    return groups[metrics].mean().assign(n=groups.size()).reset_index()


def side_by_side(measured: pd.DataFrame, metrics: list[str], variant: str) -> pd.DataFrame:
    """Both data sets beside each other: a row a method and metric, a column a data set."""
    rows = measured[(measured["variant"] == variant) & measured["metric"].isin(metrics)]
    texts = [f"{v:.3f} [{a:.3f}, {b:.3f}]" for v, a, b in rows[["value", "low", "high"]].to_numpy()]
    wide = rows.assign(text=texts).pivot_table(
        index=["metric", "method"], columns="dataset", values="text", aggfunc="first", sort=False
    )
    return wide.reset_index().rename_axis(columns=None)


def save_table(
    frame: pd.DataFrame,
    folder: Path,
    name: str,
    caption: str,
    shown: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Write `name`.csv, .md and .tex into `folder`; `shown` is the form for reading. Returns it."""
    shown = frame if shown is None else shown
    save_csv(frame, folder, name)
    filled = shown.astype(object).where(shown.notna(), None)
    markdown = filled.to_markdown(index=False, floatfmt=".4g", missingval="")
    write_text(folder / f"{name}.md", f"{caption}\n\n{markdown}\n")
    latex = shown.style.hide(axis="index").format(precision=4, na_rep="", escape="latex")
    latex.format_index(escape="latex", axis=1)
    text = latex.to_latex(hrules=True, caption=caption.replace("%", r"\%").replace("_", r"\_"))
    write_text(folder / f"{name}.tex", text.replace("±", r"$\pm$"))
    return shown


def save_csv(frame: pd.DataFrame, folder: Path, name: str) -> pd.DataFrame:
    """Write `name`.csv alone, for what is too long to read. Returns it."""
    write_text(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    return frame


def _digits(metric: str, digits: int) -> int:
    return 1 if metric == "psnr" else digits + 1 if metric in ("l1", "l2") else digits
