import numpy as np
import pandas as pd
import pytest

from cdlib import tables


@pytest.fixture
def measured():
    """Two methods of the paper's and one that it does not have, composed and raw."""
    rows = [
        ("scenes", method, variant, "edge", metric, value + shift, 0.0, 1.0, 8)
        for method, value in (("mean", 0.1), ("Ours_STS", 0.2), ("GatedConv", 0.3))
        for variant, shift in (("raw", 0.5), ("composed", 0.0))
        for metric in ("l1", "l2", "similarity", "psnr")
    ]
    columns = ["dataset", "method", "variant", "mask", "metric", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def test_the_papers_table_has_its_methods_and_leaves_empty_what_is_not_known(measured):
    table = tables.paper_table2(measured)
    metrics = ["l1", "l2", "similarity", "similarity5"]
    assert list(table.columns) == ["method", *metrics, *(f"{m}_paper" for m in metrics)]
    assert list(table["method"]) == ["GatedConv", "Ours_STS"]  # in the order of the paper's
    assert list(table["l1"]) == [0.3, 0.2]  # composed
    assert table[["similarity5", "l1_paper", "similarity_paper"]].isna().all(axis=None)


def test_a_known_figure_of_the_paper_stands_beside_ours(measured, monkeypatch):
    monkeypatch.setattr(tables, "PAPER_TABLE2", {"Ours_STS": {"l1": 0.07}})
    table = tables.paper_table2(measured).set_index("method")
    assert table.loc["Ours_STS", "l1_paper"] == 0.07
    assert np.isnan(table.loc["GatedConv", "l1_paper"])


def test_images_with_a_twin_are_left_out_of_their_own_set_alone(tmp_path):
    scores = pd.DataFrame(
        {"dataset": ["a", "a", "b"], "image": ["1", "2", "1"], "l1": [0.1, 0.2, 0.3]}
    )
    twins = pd.DataFrame({"dataset": ["a"], "test": ["1"], "train": ["7"], "bits": [2]})
    tables.save_csv(twins, tmp_path, "near_duplicates")
    kept = tables.without_near_duplicates(scores, tmp_path)
    assert list(kept["l1"]) == [0.2, 0.3]
    tables.save_csv(twins.iloc[:0], tmp_path, "near_duplicates")
    assert len(tables.without_near_duplicates(scores, tmp_path)) == 3
