"""Figures of the chapter on many classes: what they draw is what their tables say."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import many_classes
from ncbook.figures.style import LAYOUTS

LEVELS = [-2.0, 1.0, 10.0, 30.0, 100.0, 1000.0]


def grid(columns, **axes) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)
    for name in columns:
        table[name] = np.exp(rng.normal(size=len(table)))
    return table


@pytest.fixture(scope="module")
def measures() -> pd.DataFrame:
    names = ["nc1", "nc3", "nc3_printed"]
    table = grid(names + [f"{name}_limit" for name in names], K=[3, 5], seed=range(4), R=LEVELS)
    return table.assign(floor=table["K"].map({3: 0.22, 5: 0.12}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_along_draws_medians_limits_and_floors(measures, layout):
    fig = many_classes.along(measures, layout)
    for ax, name in zip(fig.axes, ["nc1", "nc3", "nc3_printed"], strict=True):
        curves = [line for line in ax.lines if line.get_label().startswith("K = ")]
        marks = [x for x in ax.lines if x.get_marker() == "<" and len(x.get_xdata())]
        for K, curve, mark in zip([3, 5], curves, marks, strict=True):
            part = measures[(measures["K"] == K) & (measures["R"] >= 1)]
            np.testing.assert_allclose(curve.get_ydata(), part.groupby("R")[name].median())
            assert mark.get_ydata()[0] == pytest.approx(part[f"{name}_limit"].median())
    floors = [x.get_ydata()[0] for x in fig.axes[2].lines if x.get_linestyle() == ":"]
    assert set(floors) >= {0.22, 0.12}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_limits_draws_each_run_at_its_prediction(measures, layout):
    last = measures[measures["R"] == 1000]
    fig = many_classes.limits(last, layout)
    for ax, name in zip(fig.axes, ["nc1", "nc3", "nc3_printed"], strict=True):
        diagonal, *points = ax.lines
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        for K, drawn in zip([3, 5], points, strict=True):
            part = last[last["K"] == K]
            np.testing.assert_array_equal(drawn.get_xdata(), part[f"{name}_limit"])
            np.testing.assert_array_equal(drawn.get_ydata(), part[name])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_separating_marks_the_first_separated_level_of_each_run(layout):
    table = grid(["nc2"], K=[3, 4], seed=range(3), t=[0.01, 0.1, 1.0])
    table["separated"] = (table["t"] >= 0.1 * 10.0 ** table["seed"]).astype(float)  # 2: never
    fig = many_classes.separating(table, layout)
    for ax, (_, part) in zip(fig.axes, table.groupby("K"), strict=True):
        marks = [x for x in ax.lines if x.get_marker() == "o" and len(x.get_xdata())]
        assert [x.get_xdata()[0] for x in marks] == [0.1, 1.0]
        expected = part[(part["seed"] == 0) & (part["t"] == 0.1)]["nc2"].item()
        assert marks[0].get_ydata()[0] == expected
        assert ax.get_ylim()[1] > table["nc2"].max()  # nothing is cut off


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scalings_draws_limits_above_zero_alone(layout):
    table = grid(["nc3", "simplex"], scaling=["as drawn", "equal"], seed=range(3), R=LEVELS)
    table["nc3_limit"] = np.where(table["scaling"] == "equal", 0.0, 0.3)
    table["simplex_limit"] = np.where(table["scaling"] == "equal", 0.1, 1e-17)
    left, right = many_classes.scalings(table, layout).axes
    for ax, limit in ((left, 0.3), (right, 0.1)):
        assert {
            x.get_ydata()[0] for x in ax.lines if x.get_linestyle() == ":" and len(x.get_xdata())
        } == {limit}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_normalised_draws_medians_and_the_slope(layout):
    kinds = list(many_classes.NORMALISATIONS)
    table = grid(["nc1", "nc2"], normalisation=kinds, seed=range(3), R=LEVELS)
    left, right = many_classes.normalised(table, layout).axes
    for ax, name in ((left, "nc1"), (right, "nc2")):
        for kind, line in zip(kinds, ax.lines, strict=False):
            part = table[(table["normalisation"] == kind) & (table["R"] >= 1)]
            np.testing.assert_allclose(line.get_ydata(), part.groupby("R")[name].median())
            assert line.get_label() == many_classes.NORMALISATIONS[kind]
    x, y = left.lines[-1].get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layer_norm_has_a_panel_a_start(layout):
    table = grid(["predicted", "cosine"], start=["Semi-local", "Random"], K=[3, 4], pair=range(6))
    fig = many_classes.layer_norm(table, layout)
    assert [ax.get_title() for ax in fig.axes] == ["Semi-local starts", "Random starts"]
    for ax, (_, part) in zip(fig.axes, table.groupby("start", sort=False), strict=True):
        for line, (_, rows) in zip(ax.lines[1:], part.groupby("K"), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), rows["cosine"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_growth_draws_sizes_and_errors_of_time(layout):
    names = ["log_t", "size", "log_t_predicted"]
    table = grid(names, K=[3, 5], seed=range(3), R=LEVELS)
    left, right = many_classes.growth(table, layout).axes
    for index, (_, part) in enumerate(table[table["R"] >= 1].groupby("K")):
        line = left.lines[1 + index]
        np.testing.assert_allclose(line.get_xdata(), part.groupby("R")["log_t"].median())
        np.testing.assert_allclose(line.get_ydata(), part.groupby("R")["size"].median())
        error = (part["log_t"] - part["log_t_predicted"]).abs().groupby(part["R"]).median()
        np.testing.assert_allclose(right.lines[index].get_ydata(), error)
    x, y = right.lines[-1].get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-1)
