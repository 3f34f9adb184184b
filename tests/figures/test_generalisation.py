"""The figures of collapse and generalisation: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import generalisation
from ncbook.figures.style import LAYOUTS, svg

LAWS = ["separable", "wrong labels"]
SIZES = [15, 60]


def samples():
    """Class means at the corners of a triangle of the first and third coordinate, turned."""
    y = torch.arange(3).repeat_interleave(4)
    angle = torch.tensor([90.0, 210.0, 330.0]).deg2rad()
    centres = torch.stack([angle.cos(), torch.zeros(3), angle.sin()], 1)
    shifts = torch.tensor([[0.1, 1, 0], [-0.1, -1, 0], [0, 1, 0.1], [0, -1, -0.1]])
    return {LAWS[0]: (centres[y] + shifts.repeat(3, 1), y), LAWS[1]: (centres[y], y)}


def test_plane_rows_lie_in_the_plane_of_the_means():
    table = generalisation.plane_rows(samples())
    assert len(table) == 24 and set(table["law"]) == set(LAWS)
    means = table.groupby(["law", "class"])[["x", "y"]].mean()
    for law in LAWS:
        x, y = means.loc[law].to_numpy().T
        assert np.allclose(x, [1, -0.5, -0.5], atol=1e-6)
        assert np.allclose(y, [0, 3**0.5 / 2, -(3**0.5) / 2], atol=1e-6)
    # What lies outside the plane is gone, what lies in it is kept.
    first = table[(table["law"] == LAWS[0]) & (table["class"] == 0)]
    assert np.hypot(first["x"] - 1, first["y"]).to_numpy() == pytest.approx([0.1] * 4, abs=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plane_has_a_panel_for_each_law_and_a_marker_for_each_class(layout):
    table = generalisation.plane_rows(samples())
    fig = generalisation.plane(table, layout)
    assert [ax.get_title() for ax in fig.axes] == LAWS
    for ax, law in zip(fig.axes, LAWS, strict=True):
        assert len({line.get_marker() for line in ax.lines}) == 3
        for k, line in enumerate(ax.lines):
            rows = table[(table["law"] == law) & (table["class"] == k)]
            assert line.get_xydata() == pytest.approx(rows[["x", "y"]].to_numpy())
    svg(fig, prefix="f", alt="a b c", layout=layout)


def runs() -> pd.DataFrame:
    rows = [
        {
            "law": law,
            "n": n,
            "seed": s,
            "error": (s + 1) / n,
            "nc1": n * 1e-4 * (s + 1),
            "sample": x,
        }
        for law in LAWS
        for n in SIZES
        for s in range(3)
        for x in ("training", "test")
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_against_n_draws_medians_and_floors(layout):
    table = runs()
    fig = generalisation.against_n(table, layout, floors={LAWS[1]: 0.2})
    left, right = fig.axes
    lines = {line.get_label(): line for line in left.lines}
    assert lines[LAWS[0]].get_ydata() == pytest.approx([100 * 2 / 15, 100 * 2 / 60])
    assert right.lines[0].get_ydata() == pytest.approx([2e-4 * 15, 2e-4 * 60])
    floor = [line for line in left.lines if line.get_ydata() == pytest.approx([20, 20])]
    assert len(floor) == 1
    assert floor[0].get_color() == lines[LAWS[1]].get_color() != lines[LAWS[0]].get_color()
    assert right.get_yscale() == "log" and left.get_ylim()[0] == 0
    assert [tick for tick in left.get_xticks()] == SIZES
    svg(fig, prefix="f", alt="a b c", layout=layout)


def test_against_n_without_floors_has_no_such_entry():
    fig = generalisation.against_n(runs(), "wide")
    assert [text.get_text() for text in fig.legends[0].get_texts()] == LAWS
    fig = generalisation.against_n(runs(), "wide", floors={LAWS[1]: 0.2})
    assert len(fig.legends[0].get_texts()) == 3  # control


@pytest.mark.parametrize("layout", LAYOUTS)
def test_meeting_has_both_samples(layout):
    table = runs()
    table.loc[table["sample"] == "test", "nc1"] = 0.5
    fig = generalisation.meeting(table, layout)
    assert [ax.get_title() for ax in fig.axes] == LAWS
    for ax in fig.axes:
        training, test = ax.lines
        assert training.get_ydata() == pytest.approx([2e-4 * 15, 2e-4 * 60])
        assert test.get_ydata() == pytest.approx([0.5, 0.5])
        assert training.get_linestyle() != test.get_linestyle()
    svg(fig, prefix="f", alt="a b c", layout=layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_stages_draws_three_panels_the_change_and_the_expected_level(layout):
    rows = [
        {"law": law, "seed": s, "time": t, "loss": 0.4 / (1 + t), "nc1": (s + 1) / (1 + t),
         "error": 0.1 * s}
        for law in LAWS
        for s in range(3)
        for t in (0.0, 1.0, 2.0)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    fig = generalisation.stages(table, layout, change=1.0, levels={LAWS[1]: 0.5})
    assert [ax.get_title() for ax in fig.axes] == list(generalisation.STAGES.values())
    assert [ax.get_yscale() for ax in fig.axes] == ["log", "log", "linear"]
    loss, nc1, error = (ax.lines for ax in fig.axes)
    assert loss[0].get_ydata() == pytest.approx([0.4, 0.2, 0.4 / 3])
    assert nc1[1].get_xydata() == pytest.approx(np.array([[0, 2], [1, 1], [2, 2 / 3]]))
    assert error[0].get_ydata() == pytest.approx([10, 10, 10])
    assert nc1[0].get_linestyle() != nc1[1].get_linestyle()
    assert all(list(lines[2].get_xdata()) == [1.0, 1.0] for lines in (loss, nc1, error))
    assert nc1[3].get_xydata() == pytest.approx(np.array([[1.5, 0.5], [2, 0.5]]))
    assert nc1[3].get_color() == nc1[1].get_color() != nc1[0].get_color()
    texts = [text.get_text() for text in fig.legends[0].get_texts()]
    assert texts == [*LAWS, "stage 2 begins", "expected at the end"]
    svg(fig, prefix="f", alt="a b c", layout=layout)
    plain = generalisation.stages(table, layout, change=1.0)
    assert len(plain.axes[1].lines) == 3 and len(plain.legends[0].get_texts()) == 3
