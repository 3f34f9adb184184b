"""The least curvature apart from symmetries, where the Hessian is known."""

import pytest
import torch
from theory_cases import normal

from ncbook.theory.linear import least_curvature


def quadratic(*curvatures: float):
    """Minus the gradient of a quadratic with these curvatures along turned axes."""
    turn = torch.linalg.qr(normal(0, len(curvatures), len(curvatures))).Q
    hessian = turn @ torch.diag(torch.tensor(curvatures, dtype=torch.float64)) @ turn.T
    return lambda z: -z @ hessian


def test_zeros_of_a_symmetry_are_left_out():
    z = normal(1, 4)
    assert float(least_curvature(quadratic(2, 0, 3, 0), z, 2)) == pytest.approx(2)
    assert float(least_curvature(quadratic(2, 0, 3, 0), z)) == pytest.approx(0, abs=1e-12)
    assert float(least_curvature(quadratic(2, 0, -3, 0), z, 2)) == pytest.approx(-3)
    assert float(least_curvature(quadratic(1, 2, 3, 4), z)) == pytest.approx(1)
