"""The figures of the limit: what they draw is what their tables hold."""

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
def test_the_law_given_u_and_its_shares(layout):
    table = pd.DataFrame(
        {
            "component": ["one"] * 2 + ["two"] * 2,
            "degrees": [45.0, 135.0] * 2,
            "mean": [1.0, 2.0, 3.0, 4.0],
            "error": 0.1,
            "predicted": [1.1, 2.1, 3.1, 4.1],
            "variance": [0.4, 0.5, 0.6, 0.5],
        }
    )
    left, right = limit.conditional(table, layout, variance=0.5).axes
    assert left.containers[1].lines[0].get_ydata() == pytest.approx([3, 4])
    assert [line.get_ydata()[0] for line in left.lines if line.get_label() == "two"] == [3.1]
    assert right.containers[0].lines[0].get_ydata() == pytest.approx([0.4, 0.5])
    assert right.get_ylim() == (0, 0.8)
    rows = {"law": [0.2, 0.6], "particles": [0.25, 0.5], "start": "wide"}
    table = pd.concat([pd.DataFrame(rows | {"what": what}) for what in ("a", "u")])
    axes = limit.quantiles(table, layout, panels={"a": "A", "u": "U"}).axes
    assert axes[1].lines[1].get_ydata() == pytest.approx([0.05, -0.1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mixtures_have_a_chord_each(layout):
    t = np.linspace(0, 1, 5)
    tables = [pd.DataFrame({"pair": k, "share": t, "above": k * t**2}) for k in (1, 2)]
    (ax,) = limit.mixtures(pd.concat(tables), layout).axes
    curve, chord = ax.lines[2:4]
    assert curve.get_ydata() == pytest.approx(2 * t**2)
    assert chord.get_xdata().tolist() == [0, 1] and chord.get_ydata().tolist() == [0, 2]
