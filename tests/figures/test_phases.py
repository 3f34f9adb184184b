"""The phase diagram's cells."""

import pandas as pd
import pytest

from ncbook.figures import phases


@pytest.fixture
def table():
    cells = [(2, 2, 2, 1.0), (2, 3, 2, 1.0), (3, 2, 3, 1.0), (3, 3, 2, 0.8)]
    return pd.DataFrame(cells, columns=["classes", "layers", "rank", "kappa"])


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_a_cell_says_its_rank_or_that_it_is_collapse(table, layout):
    ax = phases.ranks(table, layout).axes[0]
    said = {text.get_position(): text.get_text() for text in ax.texts}
    assert said == {(2, 2): "NC", (2, 3): "NC", (3, 2): "NC", (3, 3): "2"}
    grounds = [patch.get_facecolor()[3] for patch in ax.patches]
    assert grounds == [0, 0, 0, 1]


def test_all_collapse_can_be_drawn(table):
    phases.ranks(table[table["layers"] == 2], "wide")


def test_an_unknown_layout_is_refused(table):
    with pytest.raises(ValueError, match="layout"):
        phases.ranks(table, "tall")
