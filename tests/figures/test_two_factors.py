"""The landscape of two factors: its curves lie on the surface at their level."""

import numpy as np
import pytest

from ncbook.figures.two_factors import STRETCH, landscape


def test_its_curves_lie_on_the_surface():
    scene = landscape([0.1, 0.5, 0.8], [[2.0, 0.5], [0.0, 0.0], [-1.0, -1.0]])
    table = scene.table.dropna()
    height = STRETCH * (table.x * table.y - 1) ** 2 / 2
    assert np.allclose(table.z, height)
    for frame, names in {"0.1": ["one component", "another"], "0.8": ["joined"]}.items():
        rows = table[table.frame == frame]
        assert sorted(rows.name.unique()) == sorted(names)
        assert np.allclose(rows.z, STRETCH * float(frame))
    one, other = (
        table[(table.frame == "0.1") & (table.name == name)]
        for name in ("one component", "another")
    )
    assert (one.x > 0).all() and (other.x < 0).all()
    assert scene.still("two").startswith("<svg")


def test_a_level_above_the_top_is_an_error():
    with pytest.raises(ValueError, match="between 0 and top"):
        landscape([0.1, 2.0], [[0.0, 0.0]])
