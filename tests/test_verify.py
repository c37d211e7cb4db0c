import numpy as np
import pandas as pd
import pytest

from cdlib.verify import _compare, compare_tables, verify


def table(**changes) -> pd.DataFrame:
    columns = {
        "method": ["Ours_STS", "mean"],
        "l1": [0.05, 0.06],
        "similarity": [0.8, np.nan],
        "n": [4, 4],
    }
    return pd.DataFrame(columns | changes)


def found(made: pd.DataFrame) -> list[str]:
    return [finding.where for finding in compare_tables("table2", table(), made)]


def test_equal_tables_and_rounding_pass():
    assert found(table()) == []
    assert found(table(l1=[0.05 + 5e-5, 0.06])) == []


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"l1": [0.0503, 0.06]}, "row 1 (Ours_STS), l1"),
        ({"similarity": [0.79, np.nan]}, "row 1 (Ours_STS), similarity"),
        ({"similarity": [0.8, 0.5]}, "row 2 (mean), similarity"),
        ({"n": [4, 5]}, "row 2 (mean), n"),
        ({"method": ["Ours_STS", "masked"]}, "row 2 (mean), method"),
    ],
)
def test_a_number_that_is_off_is_named(changes, where):
    assert found(table(**changes)) == [where]


def test_another_shape_is_one_finding():
    assert found(table().drop(columns="n")) == ["whole table"]
    assert found(table().iloc[:1]) == ["whole table"]


def test_long_tables_take_the_tolerance_of_their_metric():
    known = pd.DataFrame({"metric": ["psnr", "l1"], "value": [20.0, 0.05]})
    made = pd.DataFrame({"metric": ["psnr", "l1"], "value": [20.005, 0.055]})
    assert [f.where for f in compare_tables("t", known, made)] == ["row 2 (l1), value"]


def test_a_table_that_cannot_be_read_is_one_finding(tmp_path):
    for folder in ("known", "made"):
        (tmp_path / folder).mkdir()
        table().to_csv(tmp_path / folder / "table2.csv", index=False)
    (tmp_path / "known" / "table2.csv").write_bytes(b"")
    [finding] = _compare(tmp_path / "known", tmp_path / "made", "")
    assert finding.checked
    assert (finding.table, finding.where) == ("table2", "whole table")
    assert finding.reason.startswith("cannot be read: No columns")


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished study"):
        verify(tmp_path, "quick")
