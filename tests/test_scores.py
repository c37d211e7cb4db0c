import numpy as np
import pandas as pd
import pytest
import torch
from tiny import tiny_workspace
from untrained import save_untrained

from cdlib import metrics, scores, tables
from cdlib.judge import Judge, imagenet_judge
from cdlib.methods import METHODS, Method
from cdlib.settings import SIDES
from cdlib.stats import interval


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = tiny_workspace(tmp_path_factory.mktemp("scores"))
    save_untrained(workspace, "scenes")
    return workspace


@pytest.fixture
def perfect(monkeypatch):
    """A method that returns the truth."""
    method = Method("none", lambda _: lambda image, mask, truth: truth, oracle=True)
    monkeypatch.setitem(METHODS, "perfect", method)


@pytest.fixture(scope="module")
def judges(workspace):
    classes = workspace.arrays("scenes").test.classes
    torch.manual_seed(0)
    small = Judge("small", len(classes), 32, pretrained=False).eval()
    return scores.Judges(small, imagenet_judge(workspace.profile))


def test_the_truth_itself_scores_perfectly(workspace, judges, perfect):
    test = workspace.arrays("scenes").test
    rows = scores.score_method("perfect", workspace.context("scenes"), test, judges)
    assert len(rows) == len(test) * len(SIDES) * 2
    assert list(rows.columns) == scores.KEY + scores.MEASURES + scores.SIMILARITIES
    assert not rows.duplicated(["image", "side", "variant"]).any()
    assert (rows[["l1", "l2"]] == 0).all(axis=None)
    assert rows[scores.SIMILARITIES].astype(bool).all(axis=None)


def test_rows_agree_with_the_metrics_taken_one_by_one(workspace, judges):
    test = workspace.arrays("scenes").test
    rows = scores.score_method("mean", workspace.context("scenes"), test, judges)
    row = rows[(rows["image"] == test.names[3]) & (rows["side"] == "left")]
    truth = test.tensor([3])
    mask = torch.ones(1, 1, 32, 32)  # made anew, from its definition
    mask[..., : round(0.3 * 32)] = 0
    colour = truth[0][:, mask[0, 0] > 0].mean(1).view(1, 3, 1, 1)
    output = torch.where(mask > 0, truth, colour)
    for variant in ("raw", "composed"):
        got = row[row["variant"] == variant]["l1"].item()
        assert got == pytest.approx(metrics.l1(output, truth).item(), abs=1e-6)


def test_scores_are_kept_until_a_net_changes(workspace, judges, monkeypatch):
    context, test = workspace.context("scenes"), workspace.arrays("scenes").test
    first = scores.score_methods(["Ours_bicubic"], context, test, judges)
    monkeypatch.setattr(scores, "score_method", lambda *_: pytest.fail("scored again"))
    again = scores.score_methods(["Ours_bicubic"], context, test, judges)
    pd.testing.assert_frame_equal(first, again)
    (workspace.run.checkpoints("synthetic-scenes") / "threshold.json").write_text("{}")
    with pytest.raises(pytest.fail.Exception, match="scored again"):
        scores.score_methods(["Ours_bicubic"], context, test, judges)


def test_scores_that_cannot_be_read_are_taken_anew(workspace, judges, monkeypatch, capsys):
    context, test = workspace.context("scenes"), workspace.arrays("scenes").test
    made = []
    monkeypatch.setattr(scores, "score_method", lambda *_: made.append(1) or made_scores())
    path = workspace.run.scores / "synthetic-scenes" / "masked.parquet"
    for content in (None, b"", b"PAR1", lambda whole: whole[:-40], lambda whole: whole[:500]):
        if content is not None:
            path.write_bytes(content(path.read_bytes()) if callable(content) else content)
        before = len(made)
        scores.score_methods(["masked"], context, test, judges)
        assert len(made) == before + 1
        assert (content is not None) == (f"{path}: damaged" in capsys.readouterr().out)
        scores.score_methods(["masked"], context, test, judges)
        assert len(made) == before + 1


def made_scores() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        [
            ("set", f"{i}.jpg", side, method, variant)
            for method in ("B", "A")
            for i in range(6)
            for side in SIDES
            for variant in ("raw", "composed")
        ],
        columns=scores.KEY,
    )
    for name in scores.MEASURES:
        frame[name] = generator.random(len(frame))
    for name in scores.SIMILARITIES:
        frame[name] = generator.random(len(frame)) > 0.5
    return frame.assign(similarity=np.nan, similarity5=np.nan)


def test_table_2_is_the_mean_of_its_rows(workspace):
    rows = made_scores()
    measured = tables.intervals(rows, workspace.profile.evaluate, seed=0)
    table = tables.table2(measured)
    assert list(table.columns) == tables.TABLE2
    assert table["method"].tolist() == ["B", "B", "A", "A"]  # in the order given
    assert table["n"].tolist() == [24] * 4
    assert table["similarity"].isna().all()
    part = rows[(rows["method"] == "A") & (rows["variant"] == "raw")]
    line = table[(table["method"] == "A") & (table["variant"] == "raw")]
    assert line["l1"].item() == pytest.approx(part["l1"].mean())
    assert line["similarity_1k"].item() == pytest.approx(part["similarity_1k"].mean())
    known = measured[
        (measured["method"] == "A") & (measured["variant"] == "raw") & (measured["metric"] == "l1")
    ]
    expected = interval(part["l1"], part["image"], 0.95, 100, 0)
    assert known[["value", "low", "high"]].to_numpy().ravel() == pytest.approx(expected)


def test_saved_tables_say_the_same_in_three_forms(tmp_path, workspace):
    measured = tables.intervals(made_scores(), workspace.profile.evaluate, seed=0)
    table, shown = tables.table2(measured), tables.table2_shown(measured)
    tables.save_table(table, tmp_path, "table2_set", "A caption of 100 %.", shown=shown)
    read = pd.read_csv(tmp_path / "table2_set.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    markdown = (tmp_path / "table2_set.md").read_text()
    latex = (tmp_path / "table2_set.tex").read_text()
    assert markdown.startswith("A caption of 100 %.")
    assert r"100 \%" in latex
    assert f"{table['l1'][0]:.4f} ±" in markdown
    assert rf"{table['l1'][0]:.4f} $\pm$" in latex
    assert r"similarity\_1k" in latex
