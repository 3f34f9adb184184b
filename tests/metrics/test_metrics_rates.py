"""Slopes: exact on lines, blind to no point, clear about too few."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncbook.metrics.rates import slope


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(2, 9))
def test_a_line_has_its_slope(a, b, points):
    x = torch.linspace(-1, 2, points, dtype=torch.float64)
    assert slope(x, a * x + b) == pytest.approx(a, abs=1e-12)


def test_it_is_the_least_squares_slope_of_each_row():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, generator=generator, dtype=torch.float64)
    y = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    design = torch.stack([x, torch.ones_like(x)], -1)
    expected = torch.linalg.lstsq(design, y.T).solution[0]
    assert torch.allclose(slope(x, y), expected, rtol=0, atol=1e-12)


def test_a_bent_line_is_seen():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert abs(float(slope(x, x + 0.2 * x**2)) - 1) > 0.1


def test_nan_is_passed_on_and_too_few_points_are_refused():
    x = torch.tensor([0.0, 1.0])
    assert slope(x, torch.tensor([0.0, torch.nan])).isnan()
    with pytest.raises(ValueError, match="at least 2 points; got 1"):
        slope(x[:1], x[:1])
