"""The figures of late training: what they draw is what their tables hold."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import late
from ncbook.figures.style import LAYOUTS, svg

KINDS = ["1", "as drawn"]


def plane(levels=(10.0, 1e3, 1e8)) -> pd.DataFrame:
    X = torch.tensor([[3.0, 4.0], [3.0, -4.0], [-2.0, 1.0], [-2.0, -1.0]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 1])
    shares = torch.tensor([[0.9, 0.1, 0.5, 0.5]], dtype=torch.float64).expand(len(levels), -1)
    neurons = torch.tensor([[6.0, -5.0], [8.0, 0.0]], dtype=torch.float64)
    u = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    return late.plane_rows(
        levels,
        X,
        y,
        shares,
        neurons.expand(len(levels), 2, 2),
        torch.tensor([0, 1]),
        u,
        torch.tensor([3.0, 2.0]),
    )


def test_plane_rows_hold_samples_and_unit_directions():
    table = plane()
    counts = table.groupby(["R", "kind"]).size().unstack()
    assert counts.to_dict("list") == {
        "margin": [2] * 3,
        "mean": [2] * 3,
        "neuron": [2] * 3,
        "sample": [4] * 3,
    }
    one = table[table["R"] == 1e3].set_index(["kind", "class"])
    assert one.loc[("neuron", 0), ["x", "y"]].to_numpy().ravel() == pytest.approx([0.6, 0.8])
    assert one.loc[("mean", 1), ["x", "y"]].to_numpy().ravel() == pytest.approx([-1, 0])
    assert one.loc[("margin", 0), "share"].item() == 3.0
    directions = table[table["kind"] != "sample"]
    assert np.hypot(directions["x"], directions["y"]).to_numpy() == pytest.approx(1)
    samples = one.loc["sample"]
    assert samples["x"].tolist() == [3, 3, -2, -2]
    assert samples["share"].tolist() == [0.9, 0.1, 0.5, 0.5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_figure_2d_shows_neurons_margins_and_shares(layout):
    fig = late.figure_2d(plane(), layout, levels=[10.0, 1e8])
    assert [ax.get_title() for ax in fig.axes] == ["$R = 10$", "$R = 10^{8}$"]
    lines = {line.get_label(): line.get_xydata() for line in fig.axes[0].lines}
    assert lines["neurons of class 0"] == pytest.approx(late.NEURON * np.array([[0.6, 0.8]]))
    assert lines["max-margin direction"][1] == pytest.approx([late.RAY, 0])
    # The margin stands at right angles on u at the distance gamma.
    assert lines["its margin"][:, 0] == pytest.approx([3, 3])
    first = fig.axes[0].collections[0]
    assert first.get_offsets().tolist() == [[3, 4], [3, -4]]
    small, large = sorted(first.get_sizes())
    assert (large - 6) / (small - 6) == pytest.approx(9)
    svg(fig, prefix="f", alt="a b c", layout=layout)


def test_the_slider_moves_neurons_and_shares_and_nothing_else():
    table = plane()
    moved = (table["kind"] == "neuron") & (table["R"] == 1e8) & (table["class"] == 0)
    table.loc[moved, ["x", "y"]] = [1.0, 0.0]
    table.loc[(table["kind"] == "sample") & (table["R"] == 1e8), "share"] = [0.5, 0.5, 1.0, 0.0]
    fig = late.turning(table)
    steps = fig.layout.sliders[0].steps
    assert [step.label for step in steps] == ["R = 10", "R = 1e+03", "R = 1e+08"]
    values, traces = steps[-1].args
    assert [fig.data[i].name for i in traces] == [
        "neurons of class 0",
        "samples of class 0",
        "neurons of class 1",
        "samples of class 1",
    ]
    assert values["x"][0] == [0.0, late.NEURON, None]
    assert values["x"][1] == [3.0, 3.0]
    assert values["marker.size"][3] == [33.0, 5.0]
    assert values["text"][1][0] == "50 % of the class's loss"
    # The first picture is the first step.
    first = steps[0].args[0]
    for place, number in enumerate(traces):
        for axis in "xy":
            assert list(fig.data[number][axis]) == list(first[axis][place])


def test_approach_rows_pick_the_class_of_the_data_set():
    R = torch.arange(12.0).reshape(3, 2, 2)  # levels, data sets, classes
    table = late.approach_rows({"b": (1, 0), "a": (0, 1)}, R, -R, 2 * R)
    assert table["class"].tolist() == ["b"] * 3 + ["a"] * 3
    assert table["R"].tolist() == [2, 6, 10, 1, 5, 9]
    assert (table["degrees"] == -table["R"]).all() and (table["predicted"] == 2 * table["R"]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_approach_is_drawn_signed_and_in_size(layout):
    R = np.geomspace(1, 1e4, 20)
    table = pd.concat(
        pd.DataFrame({"class": name, "R": R, "degrees": sign / R, "predicted": 2 / R})
        for name, sign in (("first", -1.0), ("second", 1.0))
    )
    left, right = late.approach(table, layout, levels=[10.0]).axes
    assert left.lines[0].get_ydata() == pytest.approx(-1 / R)
    assert right.lines[0].get_ydata() == pytest.approx(1 / R)
    marks = [line for line in right.lines if line.get_label() == "predicted"]
    assert len(marks) == 2 and marks[0].get_xdata().min() >= 30
    assert marks[0].get_ydata() == pytest.approx(2 / marks[0].get_xdata())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_along_the_way_has_a_median_for_each_kind_and_the_slope(layout):
    R = [1.0, 10.0, 100.0, 1e4]
    index = pd.MultiIndex.from_product([R, KINDS, range(3)], names=["R", "samples", "seed"])
    table = index.to_frame(index=False)
    table["a"] = (1 + table["seed"]) / np.sqrt(table["R"])
    fig = late.along_the_way(table, layout, panels={"a": "of a"})
    (ax,) = fig.axes
    assert ax.get_title() == "of a" and len(ax.lines) == 3
    assert ax.lines[0].get_ydata() == pytest.approx(2 / np.sqrt(R))
    (x0, x1), (y0, y1) = ax.lines[2].get_data()
    assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(-0.5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_against_the_start_the_line_has_slope_one(layout):
    table = pd.DataFrame({"eps": [1e-4, 1e-2, 1e-4, 1e-2], "a": [1e-5, 1e-3, 2e-5, 2e-3]})
    fig = late.against_start(table.assign(b=table["a"]), layout, panels={"a": "A", "b": "B"})
    assert [ax.get_title() for ax in fig.axes] == ["A", "B"]
    (x0, x1), (y0, y1) = fig.axes[0].lines[-1].get_data()
    assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rates_draw_measured_lines_and_predicted_marks(layout):
    R = [10.0, 100.0, 1e3]
    index = pd.MultiIndex.from_product([KINDS, range(2), R], names=["samples", "class", "R"])
    table = index.to_frame(index=False)
    table["angle"] = 1 / table["R"]
    table["predicted"] = 3 / table["R"]
    axes = late.rates(table, layout).axes
    assert [ax.get_title() for ax in axes] == ["1 on the margin", "as drawn"]
    measured, predicted = axes[1].lines[:2]
    assert measured.get_ydata() == pytest.approx([0.1, 0.01, 0.001])
    assert predicted.get_linestyle() == "None"
    assert predicted.get_ydata() == pytest.approx([0.3, 0.003])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_needed_has_a_point_a_class_and_counts_digits(layout):
    index = pd.MultiIndex.from_product([["1°", "0.1°"], KINDS, [5.0, 50.0]])
    table = index.to_frame(index=False, name=["within", "samples", "R"])
    fig = late.needed(table, layout, marks={"here": 27.6})
    ax = fig.axes[0]
    points = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() != ""]
    points = [line for line in points if line.get_linestyle() == "None"]
    assert len(points) == 4
    assert all(line.get_xdata().tolist() == [5.0, 50.0] for line in points)
    assert [text.get_text() for text in ax.get_yticklabels()] == KINDS
    (mark,) = [line for line in ax.lines if line.get_label() == "here"]
    assert mark.get_xdata()[0] == 27.6
    (above,) = ax.child_axes
    assert above._functions[0](np.log(10) * 42) == pytest.approx(42)
    assert above._functions[1](above._functions[0](7.0)) == pytest.approx(7)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scales_mark_a_limit_only_where_there_is_one(layout):
    index = pd.MultiIndex.from_product([["equal", "unequal"], [1.0, 10.0], range(3)])
    table = index.to_frame(index=False, name=["margins", "R", "seed"])
    table["scale"], table["distance"] = 1 / table["R"], 0.2
    fig = late.scales(table, layout, limits={"equal": 2e-16, "unequal": 0.21})
    labels = fig.axes[1].get_legend_handles_labels()[1]
    assert labels == ["equal margins", "unequal margins", "limit, unequal margins"]
    assert fig.axes[0].lines[0].get_ydata() == pytest.approx([1, 0.1])
