"""The figure of a chapter over a grid: what it draws is what its table holds."""

import math

import pandas as pd
import pytest

from ncbook.figures import Picture, over_grid, show
from ncbook.figures.style import LAYOUTS

ROWS = [
    {"eps": eps, "seeds": seeds, "name": name, "value": value * seeds, "min": value,
     "max": 3 * value * seeds, "low": low, "high": high}
    for name, low, high in (("a", 0.0, 2.0), ("b", -math.inf, 1e-5))
    for seeds in (1, 2)
    for eps, value in ((1e-1, 1.0), (1e-4, 1e-4))
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_claim_has_its_values_over_the_first_parameter(layout):
    table = pd.DataFrame(ROWS)
    fig = over_grid.measured(table, layout, axes=["eps", "seeds"])
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]
    for ax in fig.axes:
        assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "eps")
        drawn = {one.get_label(): one.lines[0] for one in ax.containers}
        assert list(drawn) == ["seeds = 1", "seeds = 2"]
        assert drawn["seeds = 2"].get_xdata().tolist() == [1e-4, 1e-1]
        assert drawn["seeds = 2"].get_ydata().tolist() == [2e-4, 2.0]
    (band,) = fig.axes[0].patches  # from where the axis begins to where the claim ends
    assert band.get_y() + band.get_height() == pytest.approx(2.0)
    assert fig.legends


def test_texts_are_an_axis_too_and_one_parameter_needs_no_legend():
    rows = [row | {"eps": f"set {row['eps']}"} for row in ROWS if row["seeds"] == 1]
    fig = over_grid.measured(pd.DataFrame(rows), "wide", axes=["eps"])
    assert not fig.legends
    assert len(fig.axes[0].containers) == 1
    assert [text.get_text() for text in fig.axes[0].get_xticklabels()] == ["set 0.1", "set 0.0001"]
    assert (
        show.alone(Picture(over_grid.measured, pd.DataFrame(rows), axes=["eps"]), "f")[:4] == "<svg"
    )
