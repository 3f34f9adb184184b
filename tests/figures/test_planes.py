"""Classes in a plane: points at one size, and a line to each mean."""

import numpy as np
import pytest

from ncbook.figures.planes import class_planes


def test_every_frame_has_one_size_and_a_line_to_each_mean():
    first = np.array([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    scene = class_planes({"a": np.stack([first, first / 10])}, [0, 0, 1, 1], [0, 1], "time")
    points = [one.places for one in scene.layers[0] if one.kind == "points"]
    assert np.allclose(points[0], first[:2] / 10**0.5)  # in both frames
    ends = [one.places[:, 1] for one in scene.layers[0] if one.kind == "strokes"]
    assert np.allclose(ends, np.array([[[3, 0]], [[-3, 0]]]) / 10**0.5)


def test_what_is_refused():
    with pytest.raises(ValueError, match="a frame, a label"):
        class_planes({"a": np.zeros((2, 4, 2))}, [0, 0, 1], [0, 1], "time")
