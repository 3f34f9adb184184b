"""Declared figures: what stands in a panel, and what a reader can tell apart."""

import numpy as np
import pandas as pd
import pytest

from ncbook import runs
from ncbook.figures import Panels
from ncbook.figures.style import COLOURS, INK, LAYOUTS, settings


@pytest.fixture
def data():
    eps = 10.0 ** -np.arange(3)
    t = np.arange(5.0)
    values = eps[:, None, None] * np.array([1.0, 2.0, 9.0])[:, None] * (1 + t)
    return runs.label({"a": values, "b": values**2}, eps=eps, seed=range(3), t=t)


def drawn(picture, layout="wide"):
    with settings():
        return picture.draw(layout).axes


def curves(ax):
    """The lines that are not references, as arrays."""
    return [
        line.get_xydata() for line in ax.lines if line.get_color() != INK and len(line.get_xdata())
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_panel_shows_the_median_of_the_runs_and_its_band(data, layout):
    picture = Panels(data, {"a": "first", "b": "second"}, x="t", hue="eps").median((0.0, 1.0))
    one, other = drawn(picture, layout)
    assert [ax.get_title() for ax in (one, other)] == ["first", "second"]
    # The medians by hand: the middle of the three seeds has the factor 2.
    for curve, eps in zip(curves(one), data.eps.values, strict=True):
        assert curve[:, 1] == pytest.approx(2 * eps * (1 + curve[:, 0]))
    for curve, eps in zip(curves(other), data.eps.values, strict=True):
        assert curve[:, 1] == pytest.approx((2 * eps * (1 + curve[:, 0])) ** 2)
    low, high = (one.collections[0].get_datalim(one.transData).get_points())[:, 1]
    assert (low, high) == pytest.approx((1.0, 45.0))


def test_groups_differ_by_more_than_their_colour(data):
    (ax,) = drawn(Panels(data, {"a": ""}, x="t", hue="eps").median())
    lines = [line for line in ax.lines if len(line.get_xdata())]
    assert len({line.get_color() for line in lines}) == 3
    assert len({str(line._dash_pattern) for line in lines}) == 3


def test_the_legend_names_each_group_and_each_reference_once(data):
    picture = (
        Panels(data, {"a": "", "b": ""}, x="t", hue="eps", legend="size").median().level(1.0, "one")
    )
    with settings():
        fig = picture.draw("wide")
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1", "0.1", "$10^{-2}$", "one"]
    assert legend.get_title().get_text() == "size"


def test_a_slope_passes_through_the_median_at_the_least_x(data):
    end = data.isel(t=-1, drop=True)
    axes = {"xscale": "log", "yscale": "log"}
    one, other = drawn(
        Panels(end, {"a": "", "b": ""}, x="eps", **axes).points().slope({"a": 1, "b": 2})
    )
    for ax, power in ((one, 1), (other, 2)):
        (line,) = [line for line in ax.lines if line.get_color() == INK]
        x, y = line.get_data()
        assert x.tolist() == [0.01, 1.0]
        assert y == pytest.approx([(0.01 * 2 * 5) ** power, (2 * 5) ** power])
        assert [text.get_text() for text in ax.texts] == [f"slope {power}"]


def test_panels_may_be_the_values_of_a_label(data):
    picture = Panels(data, {1.0: "large", 0.1: "small"}, x="t", y="a", by="eps").median(None)
    large, small = drawn(picture)
    assert curves(large)[0][:, 1] == pytest.approx(10 * curves(small)[0][:, 1])


def test_lines_draw_each_run_and_points_each_row(data):
    (ax,) = drawn(Panels(data.sel(eps=1.0), {"a": ""}, x="t").lines("seed"))
    assert len(curves(ax)) == 3
    (ax,) = drawn(Panels(data.sel(eps=1.0), {"a": ""}, x="t").points())
    assert len(ax.collections[0].get_offsets()) == 15


def test_a_reference_may_stand_in_one_panel_alone(data):
    picture = Panels(data, {"a": "", "b": ""}, x="t").median().level({"b": 3.0}).at(2.0)
    one, other = drawn(picture)
    count = [sum(line.get_color() == INK for line in ax.lines) for ax in (one, other)]
    assert count == [1, 2]


def test_what_is_not_finite_is_not_drawn(data):
    table = data.to_dataframe().reset_index()
    table.loc[0, "a"] = np.inf
    (ax,) = drawn(Panels(table, {"a": ""}, x="t").points())
    assert np.isfinite(ax.collections[0].get_offsets()).all()


def test_settings_of_an_axis_may_differ_by_panel(data):
    axes = {"ylabel": {"a": "left"}, "yscale": {"b": "log"}}
    one, other = drawn(Panels(data, {"a": "", "b": ""}, x="t", **axes).median())
    assert (one.get_ylabel(), other.get_ylabel()) == ("left", "")
    assert (one.get_yscale(), other.get_yscale()) == ("linear", "log")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"panels": {"c": ""}, "x": "t"}, "asks for c; the table has"),
        ({"panels": {"a": ""}, "x": "nothing"}, "asks for nothing"),
        ({"panels": {5.0: ""}, "x": "t", "y": "a", "by": "eps"}, "No row has eps = 5.0"),
        ({"panels": {"a": ""}, "x": "t", "by": "eps"}, "need both: by and y"),
    ],
)
def test_what_is_not_in_the_data_is_refused(data, options, said):
    with pytest.raises(ValueError, match=said):
        Panels(data, **options)


def test_numbers_without_names_are_refused():
    with pytest.raises(TypeError, match="give an xarray Dataset"):
        Panels([1, 2], {"a": ""}, x="t")


def test_the_table_behind_is_the_whole_data(data):
    picture = Panels(data, {"a": ""}, x="t", hue="eps").median()
    pd.testing.assert_frame_equal(picture.table, data.to_dataframe().reset_index())
    assert len(COLOURS) >= len(picture.hues)


def test_a_shade_stands_in_every_panel_and_once_in_the_legend(data):
    picture = Panels(data, {"a": "", "b": ""}, x="t").median().shade(1.0, 2.0, "nothing")
    for ax in drawn(picture):
        (shade,) = ax.patches
        corners = shade.get_extents().transformed(ax.transData.inverted())
        assert (corners.x0, corners.x1) == pytest.approx((1.0, 2.0))
    with settings():
        (legend,) = picture.draw("narrow").legends
    assert [text.get_text() for text in legend.get_texts()] == ["nothing"]


def test_points_of_one_panel_alone_leave_the_other_empty(data):
    other = data.assign(b=data["b"] * np.nan)
    picture = Panels(data, {"a": "", "b": ""}, x="t", hue="eps").points(data=other)
    one, two = drawn(picture)
    assert len(one.collections) and not len(two.collections)


@pytest.mark.parametrize(("high", "plain"), [(3.0, True), (900.0, False)])
def test_a_short_logarithmic_axis_has_plain_ticks(high, plain):
    x = np.geomspace(0.2, high, 5)
    table = pd.DataFrame({"x": x, "y": np.geomspace(1e-9, 1e-8, 5)})
    (ax,) = drawn(Panels(table, {"y": ""}, x="x", xscale="log", yscale="log").lines())
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert ("0.5" in ticks) is plain and ("2" in ticks) is plain
    # Numbers that are written as powers of ten stay so.
    assert not any(text.get_text() == "2e-09" for text in ax.get_yticklabels())


def test_ticks_that_are_asked_for_stay():
    table = pd.DataFrame({"x": [15, 30, 60], "y": [1.0, 2.0, 3.0]})
    options = {"xscale": "log", "xticks": [15, 60], "xticklabels": [15, 60]}
    (ax,) = drawn(Panels(table, {"y": ""}, x="x", **options).lines())
    assert [text.get_text() for text in ax.get_xticklabels()] == ["15", "60"]


def test_intervals_are_marks_with_bars_that_stand_side_by_side():
    table = pd.DataFrame({"K": [2, 2, 3, 3], "h": [1.0, 4, 1, 4], "share": [0.2, 0.5, 0.4, 1.0],
                          "low": [0.1, 0.4, 0.2, 0.9], "high": [0.4, 0.6, 0.6, 1.0]})  # fmt: skip
    picture = Panels(table, {"share": ""}, x="h", hue="K", xscale="log")
    (ax,) = drawn(picture.intervals("low", "high"))
    ends = [bar.get_segments() for bar in ax.collections]
    found = [end[:, 1].tolist() for bars in ends for end in bars]
    assert np.allclose(found, table[["low", "high"]])
    at = [bars[0][0, 0] for bars in ends]
    assert at[0] < 1 < at[1]
    with pytest.raises(ValueError, match="asks for lowest"):
        picture.intervals("lowest", "high")


def test_chosen_ticks_of_a_logarithmic_axis_are_the_only_ones_with_a_number(data):
    (ax,) = drawn(Panels(data, {"a": ""}, x="eps", xscale="log", xticks=[0.01, 1.0]).points())
    ax.figure.canvas.draw()
    assert {label.get_text() for label in ax.get_xticklabels(minor=True)} <= {""}


@pytest.mark.parametrize("layer", ["points", "median", "lines", "predicted"])
def test_another_table_may_lack_a_panel(layer):
    data = runs.label({"a": np.ones((2, 3))}, k=[0, 1], x=[1.0, 2.0, 3.0])
    panels = Panels(data, {0: "zero", 1: "one"}, x="x", y="a", by="k").lines()
    part = data.sel(k=[0])
    drawn = panels.predicted(part) if layer == "predicted" else getattr(panels, layer)(data=part)
    with settings():
        assert len(drawn.draw("wide").axes) == 2


@pytest.mark.parametrize("layer", ["median", "lines"])
def test_a_line_ends_where_it_has_a_gap(layer):
    values = np.array([[1.0, 2.0, np.nan, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0]])
    data = runs.label({"a": values}, k=[0, 1], x=np.arange(5.0))
    panels = Panels(data, {"a": "a"}, x="x", hue="k")
    with settings():
        (ax,) = getattr(panels, layer)().draw("wide").axes
    drawn = sorted(tuple(line.get_ydata()) for line in ax.lines if len(line.get_ydata()))
    assert drawn == [(1.0, 2.0), (2.0, 3.0, 4.0, 5.0, 6.0), (4.0, 5.0)]


@pytest.mark.parametrize("names", [{0: "a"}, {0: "a", 1: "a"}])
def test_groups_without_a_name_of_their_own_are_refused(names):
    data = runs.label({"a": np.ones((2, 2))}, k=[0, 1], x=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"groups \[0, 1\] of k are called"):
        Panels(data, {"a": "a"}, x="x", hue="k", names=names)


@pytest.mark.parametrize(
    "kinds", [[False, True], np.array([0.1, 0.2], "float32"), [None, 1.5], [0, 1]]
)
def test_every_group_is_drawn_by_its_name(kinds):
    """Names are given to values as Python has them, in the legend and in the rows alike."""
    table = pd.DataFrame({"k": [kinds[0], kinds[0], kinds[1], kinds[1]]}, dtype=object)
    if isinstance(kinds, np.ndarray):
        table = table.astype("float32")
    table = table.assign(x=[0.0, 1.0, 0.0, 1.0], a=[1.0, 2.0, 3.0, 4.0])
    (ax,) = drawn(Panels(table, {"a": "a"}, x="x", hue="k", names=repr).lines())
    assert [list(line.get_ydata()) for line in ax.lines if len(line.get_ydata())] == [
        [1, 2],
        [3, 4],
    ]
