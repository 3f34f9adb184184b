"""The max-margin direction of each class, by the certificate that weak duality gives."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import few, normal, seeds

from ncbook.theory.relu.one_class_svm import one_class_svm


def one_sided(seed: int, n: int, D: int, *batch: int) -> torch.Tensor:
    """Points whose first coordinate is positive: some direction separates them."""
    X = normal(seed, *batch, n, D)
    X[..., 0] = X[..., 0].abs() + 0.1
    return X


def certificate(X, u, gamma, alpha) -> float:
    """0 if u attains the margin gamma and a point of the hull has length gamma: both are best."""
    primal = (gamma - (X @ u).min()).abs() + (u.norm() - 1).abs()
    weights = alpha * gamma**2
    dual = (weights.sum() - 1).abs() + ((weights @ X).norm() - gamma).abs()
    return float(primal + dual + (-weights.min()).clamp_min(0))


@few
@given(st.integers(1, 20), st.integers(1, 8), seeds, st.integers(-6, 6))
def test_the_direction_has_the_largest_margin(n, D, seed, power):
    X = one_sided(seed, n, D)
    found = one_class_svm(10.0**power * X, torch.zeros(n))
    u, gamma = found.directions[0], found.margins[0] / 10.0**power
    alpha = found.duals * 10.0 ** (2 * power)
    assert certificate(X, u, gamma, alpha) < 1e-12
    assert float(found.residual) < 1e-12
    assert bool((found.support() <= found.on_margin).all())
    assert torch.allclose(X[found.on_margin] @ u, gamma.expand(int(found.on_margin.sum())))
    # Controls: another direction, the dual weights of another point of the hull.
    turned = torch.nn.functional.normalize(u + 1e-3 * normal(seed + 1, D), dim=0)
    assert float((X @ turned).min()) < gamma or D == 1
    assert D == 1 or certificate(X, turned, gamma, alpha) > 1e-9
    assert certificate(X, u, gamma, alpha + 1e-3 / n) > 1e-6


@few
@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.05, 1.5))
def test_two_points_in_the_plane(a, b, angle):
    """The height of a triangle over its third side, or the shorter point itself."""
    X = torch.tensor([[a, 0.0], [b * math.cos(angle), b * math.sin(angle)]], dtype=torch.float64)
    found = one_class_svm(X, [0, 0])
    side = (X[0] - X[1]).norm()
    if min(a, b) > max(a, b) * math.cos(angle):
        assert float(found.margins) == pytest.approx(float(a * b * math.sin(angle) / side))
        assert found.support().tolist() == [True, True]
    else:
        assert float(found.margins) == pytest.approx(min(a, b))
        assert found.support().tolist() == [a < b, b < a]


def test_classes_and_data_sets_do_not_touch_each_other():
    X = torch.cat([one_sided(1, 5, 4, 2, 3), -one_sided(2, 7, 4, 2, 3)], dim=-2)
    y = torch.tensor([0] * 5 + [1] * 7)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    found = one_class_svm(X[..., order, :], y[order])
    assert found.directions.shape == (2, 3, 2, 4) and found.margins.shape == (2, 3, 2)
    assert found.duals.shape == found.on_margin.shape == (2, 3, 12)
    assert float(found.residual.max()) < 1e-13
    alone = one_class_svm(X[1, 2, :5], [0] * 5)
    assert torch.allclose(found.directions[1, 2, 0], alone.directions[0], atol=1e-13)
    assert torch.allclose(found.duals[1, 2, order.argsort()][:5], alone.duals, atol=1e-12)
    assert not torch.allclose(found.directions[1, 1, 0], alone.directions[0], atol=1e-3)


def test_points_given_twice_are_all_on_the_margin():
    X = torch.tensor([[1.0, 1], [1, -1], [1, -1], [1, 1], [3, 0]], dtype=torch.float64)
    found = one_class_svm(X, [0] * 5)
    assert torch.allclose(found.directions[0], torch.tensor([1.0, 0], dtype=torch.float64))
    assert found.on_margin.tolist() == [True, True, True, True, False]
    assert float(found.duals.sum()) == pytest.approx(1 / float(found.margins) ** 2)


@pytest.mark.parametrize(
    "points",
    [[[1, 0], [-1, 0]], [[1, 0], [-1, 1], [-1, -1]], [[0, 0], [1, 1]], [[0, 0]], [[math.nan, 1]]],
)
def test_a_class_without_a_margin_is_refused(points):
    fine = torch.tensor([[1.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    X = torch.cat([fine, torch.tensor(points, dtype=torch.float64)])
    y = torch.tensor([0, 0] + [1] * len(points))
    with pytest.raises(ValueError, match=r"^Class 1: .*no direction"):
        one_class_svm(X, y)
    batch = torch.stack([X[[0, 1, 0, 1]], torch.cat([fine, -fine])])
    with pytest.raises(ValueError, match=r"^Class 0 of data set 1: no direction"):
        one_class_svm(batch, [0, 0, 0, 0])


@pytest.mark.parametrize("y", [[0, 0], [0, 2, 2], [1, 1, 1], [0.0, 0.5, 1], []])
def test_labels_that_do_not_fit_are_refused(y):
    with pytest.raises(ValueError, match="expected one label for each sample"):
        one_class_svm(one_sided(1, 3, 2), y)
