"""Arrows have the inner products of their Gram matrix, and orthogonal ones are the axes."""

import numpy as np
import pytest

from ncbook.figures.arrows import arrows


def test_the_arrows_have_the_gram_matrix():
    simplex = 1.5 * np.eye(3) - 0.5
    scene = arrows([[4 * np.eye(3), simplex]], ["one layer"], [1, 2])
    tips = scene.table.query("kind == 'points'").set_index(["frame", "name"])[["x", "y", "z"]]
    first, second = tips.loc[1].to_numpy(), tips.loc[2].to_numpy()
    assert np.allclose(first, np.eye(3))
    assert np.allclose(second @ second.T, simplex, atol=1e-12)
    assert not np.allclose(second @ second.T, np.eye(3), atol=0.1)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="Gram"):
        arrows(np.eye(3)[None], ["one layer"], [1])
