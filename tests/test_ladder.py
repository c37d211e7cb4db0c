"""The sanity ladder on photographs: the committed nets beat the mean colour and the stretch.

Held-out test photographs, composed outputs, as the committed tables have them; `cdlib verify` makes
these tables anew from the nets.
"""

import pandas as pd
import pytest

from cdlib.methods import METHODS
from cdlib.runs import project_root

TABLES = project_root() / "results" / "cpu" / "tables"


def l1(dataset):
    rows = pd.read_csv(TABLES / f"table2_{dataset}_intervals.csv")
    return rows[(rows["variant"] == "composed") & (rows["metric"] == "l1")].set_index("method")


@pytest.mark.parametrize("dataset", ["scenes", "celeba"])
@pytest.mark.parametrize("floor", ["mean", "stretch"])
def test_every_trained_network_beats_the_floors(dataset, floor):
    rows = l1(dataset)
    trained = [m for m in rows.index if METHODS[m].nets and not METHODS[m].oracle]
    assert len(trained) >= 3
    assert (rows.loc[trained, "high"] < rows.loc[floor, "low"]).all()
