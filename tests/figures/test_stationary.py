"""The figures of nearly stationary points: what they draw is what their tables hold."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import stationary
from ncbook.figures.style import LAYOUTS, svg


def grid(**axes) -> pd.DataFrame:
    return pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)


def plane(times=(0.0, 1e3)) -> pd.DataFrame:
    Y = torch.eye(3, dtype=torch.float64).repeat_interleave(2, dim=1)
    y = torch.arange(3).repeat_interleave(2)
    some = torch.stack([0.5 * Y, Y])
    return stationary.plane_rows(
        times, y, measured=some, first_form=0.9 * some, second_form=Y.expand(2, 3, 6)
    )


def test_labels_are_the_corners_of_a_triangle():
    table = plane()
    assert set(table["kind"]) == {"measured", "first form", "second form"}
    corners = table[(table["kind"] == "second form") & (table["t"] == 0)]
    assert np.hypot(corners["x"], corners["y"]).to_numpy() == pytest.approx(1)
    points = corners.drop_duplicates("class")[["x", "y"]].to_numpy()
    assert points @ points.T == pytest.approx(1.5 * np.eye(3) - 0.5)
    half = table[(table["kind"] == "measured") & (table["t"] == 0)]
    assert half[["x", "y"]].to_numpy() == pytest.approx(corners[["x", "y"]].to_numpy() / 2)
    # A common shift of all outputs is not seen.
    shifted = stationary.plane_rows([0.0], torch.zeros(1), it=torch.full((1, 3, 1), 4.0))
    assert shifted[["x", "y"]].to_numpy() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forms_have_a_panel_a_time_and_a_cross_a_class(layout):
    fig = stationary.forms(plane(), layout)
    assert [ax.get_title() for ax in fig.axes] == ["$t=0$", "$t=1,000$"]
    ax = fig.axes[1]
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [1, 1, 1]
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["class 0", "class 1", "class 2", "first form", "second form"]
    assert "<svg" in svg(fig, prefix="x", alt="x", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_errors_leave_out_the_start_and_keep_each_line_apart(layout):
    table = grid(error=["a", "b"], line=["measured", "bound"], t=[0.0, 1.0, 10.0], seed=range(3))
    table["value"] = np.where(table["line"] == "bound", 100.0, 1.0) * (1 + table["seed"])
    fig = stationary.errors(table, layout, titles={"a": "A", "b": "B"})
    assert [ax.get_title() for ax in fig.axes] == ["A", "B"]
    for ax in fig.axes:
        measured, bound = ax.lines
        assert measured.get_xdata().tolist() == [1.0, 10.0]
        assert measured.get_ydata().tolist() == [2.0, 2.0]
        assert bound.get_ydata().tolist() == [200.0, 200.0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_quotients_have_a_line_at_one_and_every_gamma(layout):
    table = grid(bound=["as printed", "derived"], gamma=[1.0, 4.0, 16.0], seed=range(2))
    table["quotient"] = np.where(table["bound"] == "derived", 1.2, 30 / table["gamma"] ** 2)
    (ax,) = stationary.quotients(table, layout).axes
    assert ax.lines[-1].get_ydata() == [1, 1]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "4", "16"]
    assert ax.lines[0].get_ydata() == pytest.approx([30, 30 / 16, 30 / 256])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_terms_draw_every_point_and_the_diagonal(layout):
    table = grid(runs=["one", "two"], seed=range(4))
    table["NC1"], table["x"], table["y"] = 0.01 * (1 + table["seed"]), 0.1, np.inf
    fig = stationary.terms(table, layout, panels={"x": "X", "y": "Y"})
    assert [ax.get_xlabel() for ax in fig.axes] == ["X", "Y"]
    one, two, diagonal, most = fig.axes[0].lines
    assert len(one.get_xdata()) == len(two.get_xdata()) == 4
    assert one.get_marker() != two.get_marker()
    assert diagonal.get_xdata().tolist() == diagonal.get_ydata().tolist() == [0.01, 1.0]
    assert most.get_xdata() == [1, 1]
    assert "<svg" in svg(fig, prefix="x", alt="x", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shares_have_a_curve_a_data_set_and_the_limit(layout):
    table = grid(d=[5, 40], seed=range(3), decay=[0.1, 0.01])
    table["loss"], table["quotient"] = table["decay"], 2.0
    (ax,) = stationary.shares(table, layout, limit=3.0).axes
    assert len(ax.lines) == 7
    assert ax.lines[-1].get_ydata() == [3.0, 3.0]
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["inputs in dimension 5", "inputs in dimension 40", "$2q/(q-1)$"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_singular_values_have_a_panel_a_gamma(layout):
    table = grid(gamma=[4.0, 16.0], beta=[10, 100])
    table["least"], table["largest"], table["bound"] = 1.07, 2.0, 0.05
    fig = stationary.singular_values(table, layout, limit=1.0746)
    assert [ax.get_title() for ax in fig.axes] == [r"$\gamma=4$", r"$\gamma=16$"]
    values = [line.get_ydata()[0] for line in fig.axes[0].lines]
    assert values == pytest.approx([2.0, 1.07, 0.05, 1.0746])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_against_particles_the_line_has_slope_minus_one(layout):
    table = grid(N=[50, 200], seed=range(2))
    table["error"] = 1 / table["N"]
    table["expected error"] = 1.1 / table["N"]
    (ax,) = stationary.against_particles(table, layout, panels={"error": "E"}).axes
    (line,) = [line for line in ax.lines if line.get_label() == "slope -1"]
    (x0, x1), (y0, y1) = line.get_data()
    assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(-1)
    (crosses,) = [line for line in ax.lines if line.get_label() == "expected"]
    assert crosses.get_ydata() == pytest.approx([1.1 / 50, 1.1 / 200])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["50", "200"]
