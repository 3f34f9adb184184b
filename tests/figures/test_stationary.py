"""The figures of nearly stationary points: what they draw is what their tables hold."""

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
