"""The scene of a plane that ReLUs open."""

import numpy as np
import pytest

from ncbook.figures import opened

POINTS = [[1.0, 0.0, 0.9], [0.0, 1.0, 0.9]]
UNITS = [[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]


def test_it_begins_in_a_plane_and_ends_in_space():
    scene = opened.opening(POINTS, UNITS)
    rows = scene.table
    means = rows[(rows["kind"] == "points")].set_index("frame")[list("xyz")]
    flat, open_ = (means.loc[frame].to_numpy() for frame in ("1.0", "0.0"))
    np.testing.assert_allclose(flat, np.array(POINTS).T @ np.array(UNITS).T)
    np.testing.assert_allclose(open_, np.maximum(flat, 0))
    assert (np.linalg.matrix_rank(flat), np.linalg.matrix_rank(open_)) == (2, 3)
    net = rows[(rows["name"] == "the quarter plane") & (rows["frame"] == "1.0")]
    assert net[list("xyz")].dropna().to_numpy().sum(axis=0)[2] > 0
    np.testing.assert_allclose(net["x"].dropna(), -net["y"].dropna(), atol=1e-12)


def test_the_still_is_drawn():
    assert opened.opening(POINTS, UNITS).still("slm").startswith("<svg")


@pytest.mark.parametrize(("points", "units"), [(np.ones((3, 3)), UNITS), (POINTS, np.ones((4, 2)))])
def test_other_shapes_are_refused(points, units):
    with pytest.raises(ValueError, match="expected \\(2, K\\)"):
        opened.opening(points, units)
