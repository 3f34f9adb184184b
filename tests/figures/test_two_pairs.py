"""The scene of four class means: they have the cosines that it was given."""

import numpy as np
import pytest

from ncbook.figures.contrast import two_pairs


def test_the_ends_have_the_cosines():
    cosines = np.array([[-1 / 3, -1 / 3], [-0.8, 0.5], [-1.0, 1.0]])
    scene = two_pairs({"hot": cosines, "cold": cosines[::-1]}, [1, 5, 1000], "large / small", 1)
    for layers, expected in zip(scene.layers, (cosines, cosines[::-1]), strict=True):
        large, small = (one.places for one in layers if one.kind == "points")
        ends = np.concatenate([large, small], 1)
        gram = ends @ ends.transpose(0, 2, 1)
        assert np.allclose(np.diagonal(gram, axis1=1, axis2=2), 1)
        assert np.allclose(gram[:, 0, 1], expected[:, 0])
        assert np.allclose(gram[:, 2, 3], expected[:, 1])
        across = -np.sqrt((1 + expected).prod(1)) / 2
        assert np.allclose(gram[:, :2, 2:], across[:, None, None])
    # A regular tetrahedron first.
    assert np.allclose(gram[2], np.eye(4) * 4 / 3 - 1 / 3)


def test_what_is_refused():
    with pytest.raises(ValueError, match="expected two a ratio"):
        two_pairs({"": np.zeros((2, 3))}, [1, 2], "")
