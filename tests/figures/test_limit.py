"""The figures of the limit: what they draw is what their tables hold."""

import math

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import limit
from ncbook.figures.style import LAYOUTS, svg


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def paths() -> pd.DataFrame:
    index = pd.MultiIndex.from_product([["hot", "cold"], range(3), [0.0, 1.0, 10.0]])
    table = index.to_frame(index=False, name=["beta", "seed", "t"])
    table["loss"] = (1 + table["seed"]) / (1 + table["t"])
    table["other"] = 2 * table["loss"]
    return table.assign(loss_limit=np.where(table["beta"] == "hot", 0.3, 0.1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_over_time_draws_medians_and_the_levels_where_there_are_some(layout):
    options = {"x": "t", "group": "beta", "xlabel": "t", "marks": {"here": 5.0}}
    panels = {"loss": "the loss", "other": "another"}
    fig = limit.over_time(paths(), layout, panels=panels, **options)
    first, second = fig.axes
    assert [first.get_title(), second.get_title()] == ["the loss", "another"]
    # Without t = 0, which the logarithm would refuse.
    assert first.lines[0].get_xdata() == pytest.approx([1, 10])
    assert first.lines[0].get_ydata() == pytest.approx([2 / 2, 2 / 11])
    levels = [line.get_ydata()[0] for line in first.lines if list(line.get_xdata()) == [0, 1]]
    assert levels == [0.3, 0.1]
    assert "the limit's level" in labels(first) and "the limit's level" not in labels(second)
    assert [line.get_xdata()[0] for line in second.lines if line.get_label() == "here"] == [5.0]
    linear = limit.over_time(paths(), layout, panels=panels, xscale="linear", **options)
    assert linear.axes[0].lines[0].get_xdata() == pytest.approx([0, 1, 10])
    svg(fig, prefix="f", alt="a b c", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_floors_draw_the_limit_as_a_line_and_particles_as_marks(layout):
    table = pd.DataFrame(
        {
            "kind": ["limit"] * 2 + ["9 particles"] * 2,
            "temperature": [1e-4, 1e-2, 1e-2, 1e-2],
            "loss": [1e-8, 1e-4, 2e-4, 3e-4],
        }
    )
    fig = limit.floors(table, layout, panels={"loss": "L"}, slopes={"loss": [1, 2]})
    (ax,) = fig.axes
    line, marks, one, two = ax.lines
    assert line.get_ydata() == pytest.approx([1e-8, 1e-4]) and line.get_marker() == "None"
    assert marks.get_linestyle() == "None" and marks.get_ydata() == pytest.approx([2e-4, 3e-4])
    for guide, slope in ((one, 1), (two, 2)):
        (x0, x1), (y0, y1) = guide.get_data()
        assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(slope)
        assert y0 == pytest.approx(1e-8 / 4)
    assert labels(ax) == ["limit", "9 particles", "slope 1", "slope 2"]
    assert one._dash_pattern != two._dash_pattern


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threshold_and_spectrum(layout):
    table = pd.DataFrame(
        {"kind": ["tanh"] * 2 + ["particles"], "share": [0.5, 2.0, 2.0], "norm": [0.0, 1.0, 1.1]}
    )
    (ax,) = limit.threshold(table, layout, panels={"norm": "W"}).axes
    assert ax.lines[0].get_ydata() == pytest.approx([0, 1])
    assert ax.lines[1].get_linestyle() == "None" and ax.lines[2].get_xdata()[0] == 1
    index = pd.MultiIndex.from_product([["tanh", "relu"], [2, 20], [6, 12], range(3)])
    table = index.to_frame(index=False, name=["activation", "d", "n", "seed"])
    table["smallest"] = 1e-3 / table["n"] * (1 + table["seed"])
    table.loc[(table["n"] == 12) & (table["d"] == 2), "smallest"] = -1e-17
    axes = limit.spectrum(table, layout).axes
    assert [ax.get_title() for ax in axes] == ["tanh", "relu"]
    small, large = axes[0].lines
    assert small.get_xdata().tolist() == [6] and large.get_xdata().tolist() == [6, 12]
    assert large.get_ydata() == pytest.approx([2e-3 / 6, 2e-3 / 12])
