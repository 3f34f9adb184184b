"""The figures of separable data: what they draw is what their tables hold."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import separable
from ncbook.figures.style import LAYOUTS, svg

COUNTS = torch.tensor([[[1, 3, 4, 0], [0, 2, 1, 1]], [[0, 2, 1, 1], [5, 0, 0, 5]]])


def drawn(fig, ax, label):
    """The data of the line of that name."""
    (line,) = [one for one in fig.axes[ax].lines if one.get_label() == label]
    return line.get_data()


def circle(*degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], 1)


@pytest.mark.parametrize(
    ("degrees", "want"),
    [
        ((10, 50, 30), (10, 40)),
        ((-170, 170), (170, 20)),  # across the cut
        ((90,), (90, 0)),
        ((0, 100, 200), (0, 200)),
    ],
)
def test_the_sector_that_points_span(degrees, want):
    begin, width = separable.spanned(circle(*degrees))
    assert begin % 360 == pytest.approx(want[0] % 360) and width == pytest.approx(want[1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_plane_has_each_point_and_each_cone(layout):
    X, y = torch.tensor(circle(0, 20, 180, 190)), torch.tensor([0, 0, 1, 1])
    rows = separable.plane_rows({"one": (X, y), "two": (2 * X, y)})
    assert len(rows) == 8 and list(rows["panel"].unique()) == ["one", "two"]
    fig = separable.plane(rows, layout)
    for ax in fig.axes:
        assert sorted(patch.theta2 - patch.theta1 for patch in ax.patches) == pytest.approx(
            [10, 20]
        )
    x, _ = drawn(fig, 1, "class 1")
    assert x == pytest.approx(2 * X[2:, 0].numpy())
    assert svg(fig, prefix="p", alt="points in the plane", layout=layout).startswith("<svg")


def test_rims_lie_at_the_half_angle():
    axes = torch.eye(3, dtype=torch.float64)[:2]
    X, y = 2 * axes, torch.arange(2)
    rows = separable.space_rows(X, y, axes, 0.3)
    rim = rows[(rows["part"] == "rim") & (rows["class"] == 1)]
    cosines = rim[["x", "y", "z"]].to_numpy() @ axes[1].numpy() / 2
    assert cosines == pytest.approx(np.full(len(rim), math.cos(0.3)))
    fig = separable.space(rows)
    points = [trace for trace in fig.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in points] == [[2], [0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_opposed_shows_quantiles(layout):
    values = torch.linspace(-1, 0.9, 11)
    rows = separable.opposed_rows({(2, "a"): values, (3, "a"): values, (2, "b"): values / 2})
    assert rows["least"][0] == -1 and rows["greatest"][0] == pytest.approx(0.9)
    assert rows["draws"].tolist() == [11, 11, 11]
    _, y = drawn(separable.opposed(rows, layout), 0, "a")
    assert y == pytest.approx([float(values.median())] * 2)


def test_coupling_separates_bounds_from_data():
    table = pd.DataFrame(
        [(2, "bound", "b", 0.0, 0.1), (2, "bound", "b", 1.0, 1.0), (2, "data", "d", 0.3, 0.9)],
        columns=["K", "kind", "name", "mu_d", "mu_s"],
    )
    fig = separable.coupling(table, "wide")
    assert drawn(fig, 0, "b")[1] == pytest.approx([0.1, 1.0])
    assert drawn(fig, 0, "d")[1] == pytest.approx([0.9])


def test_densities_of_cosines_have_the_area_one():
    rows = separable.cosine_rows(COUNTS, ["4", "9"], "raw")
    assert len(rows) == 3 * 4 and rows["cosine"].iloc[:4].tolist() == [-0.75, -0.25, 0.25, 0.75]
    for _, part in rows.groupby("pair"):
        assert part["density"].sum() * 0.5 == pytest.approx(1)
    assert set(rows[rows["digits"] == "same"]["pair"]) == {"4, 4", "9, 9"}
    _, y = drawn(separable.cosines(rows, "narrow"), 0, "9, 9")
    assert y == pytest.approx([1, 0, 0, 1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_matrix_says_its_numbers(layout):
    rows = separable.matrix_rows(torch.tensor([[0.5, -0.001], [-0.25, 1.0]]), ["a", "b"])
    assert rows["value"].tolist() == pytest.approx([0.5, -0.001, -0.25, 1.0])
    fig = separable.matrix(rows, layout, label="cosine")
    assert [text.get_text() for text in fig.axes[0].texts] == [".50", ".00", "-.25", "1.00"]


def test_triples_name_those_asked_for():
    table = pd.DataFrame({"triple": ["0, 1, 2", "3, 4, 5"], "positive": [0.8, 0.6],
                          "negative": [0.7, 0.5]})  # fmt: skip
    (ax,) = separable.triples(table, "wide", marked=["3, 4, 5"]).axes
    assert [text.get_text() for text in ax.texts] == ["3, 4, 5"]
    assert ax.lines[1].get_data() == (pytest.approx([0.6]), pytest.approx([0.5]))


def test_angles_show_what_class_means_lack_of_90_degrees():
    table = pd.DataFrame({"data": "a", "seed": [0, 1], "level": 1.0, "within": [3.0, 5.0],
                          "between": [80.0, 90.0]})  # fmt: skip
    fig = separable.angles(table, "wide")
    assert drawn(fig, 0, "a")[1] == pytest.approx([4])
    assert fig.axes[1].lines[0].get_ydata() == pytest.approx([5])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sliding_draws_a_line_a_neuron_and_the_edges(layout):
    table = pd.DataFrame({"neuron": ["0", "0", "1", "1"], "log_t": np.log([1, 10, 1, 10]),
                          "angle": [40.0, 70.0, 50.0, 70.0]})  # fmt: skip
    fig = separable.sliding(table, layout, edges=[60, 70])
    edges, lines = fig.axes[0].lines[:2], fig.axes[0].lines[2:]
    assert [line.get_ydata()[0] for line in edges] == [60, 70]
    assert [line.get_ydata().tolist() for line in lines] == [[40, 70], [50, 70]]
    assert lines[0].get_xdata() == pytest.approx([0, 1])
