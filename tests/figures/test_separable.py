"""The figures of separable data: what they draw is what their tables hold."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import Scene, separable
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
    axis = torch.eye(3, dtype=torch.float64)[1]
    scene = Scene()
    separable.add_cone(scene, axis, 0.3, 2)
    places = scene.table[["x", "y", "z"]].dropna().to_numpy()
    rim = places[np.linalg.norm(places, axis=1) > 0]
    assert rim @ axis.numpy() == pytest.approx(np.full(len(rim), math.cos(0.3)))


def test_densities_of_cosines_have_the_area_one():
    rows = separable.cosine_rows(COUNTS, ["4", "9"], "raw")
    assert len(rows) == 3 * 4 and rows["cosine"].iloc[:4].tolist() == [-0.75, -0.25, 0.25, 0.75]
    for _, part in rows.groupby("pair"):
        assert part["density"].sum() * 0.5 == pytest.approx(1)
    assert set(rows[rows["digits"] == "same"]["pair"]) == {"4, 4", "9, 9"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fates_stand_below_their_data(layout):
    X, y = torch.tensor(circle(0, 20, 180, 190)), torch.tensor([0, 0, 1, 1])
    data = separable.plane_rows({"a": (X, y), "b": (X, y)}).assign(kind="data")
    course = pd.DataFrame({"panel": ["a", "a", "b"], "seed": [0, 1, 0], "R": 1.0,
                           "within": [3.0, 5.0, 0.0], "kind": "course"})  # fmt: skip
    fig = separable.fates(pd.concat([data, course]), layout)
    assert [ax.get_title() for ax in fig.axes] == ["a", "b", "", ""]
    assert [ax.lines[0].get_ydata().tolist() for ax in fig.axes[2:]] == [[4], [0]]
