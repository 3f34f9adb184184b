"""The limit of Theorem 1: its closed forms against the metrics of its own network."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from relu_cases import cone_data, one_class_flow
from theory_cases import few, normal, seeds

from ncbook.metrics.collapse import nc1_min_zhu_vidal, nc2_min_zhu_vidal, nc3_min_zhu_vidal
from ncbook.metrics.statistics import class_statistics
from ncbook.theory.relu import rays
from ncbook.theory.relu.late_training import class_vectors
from ncbook.theory.relu.one_class_svm import one_class_svm


def axes(seed: int, K: int, h: int) -> torch.Tensor:
    """Orthonormal rows without negative entries: each neuron belongs to one row."""
    rows = normal(seed, h).abs() * (torch.arange(h) % K == torch.arange(K)[:, None])
    return rows / rows.norm(dim=1, keepdim=True)


def limit(seed: int, K: int, outputs: int, radii=None):
    X, y = cone_data(seed, K, 4, radii=radii)
    found, phi = one_class_svm(X, y), axes(seed + 9, K, 3 * K)
    W, V = rays.limit_network(found, phi, outputs)
    return X, y, found, phi, W, V


def both(V: torch.Tensor) -> torch.Tensor:
    return torch.cat([V, -V]) if len(V) == 1 else V


@few
@given(st.integers(2, 5), seeds, st.booleans())
def test_the_limit_is_the_three_items_of_the_theorem(K, seed, scalar):
    outputs = 1 if scalar and K == 2 else K
    X, y, found, phi, W, V = limit(seed, K, outputs)
    scales = rays.limit_scales(found.margins)
    assert float(W.square().sum() + V.square().sum()) == pytest.approx(1)
    assert torch.allclose(scales.square() * found.margins, scales[0].square() * found.margins[0])
    # Rays: the ReLU is linear on each class and silent on the others.
    features = (X @ W).clamp_min(0)
    expected = (scales[y] * rays.ray_positions(X, y, found))[:, None] * phi[y]
    assert float((features - expected).abs().max()) < 1e-12
    # Balance, neuron by neuron.
    assert torch.allclose(W.norm(dim=0), V.norm(dim=0))
    # Projected duality: the rows of V are the phi_k s_k less their mean.
    if outputs == K:
        ends = scales[:, None] * phi
        assert torch.allclose(V, math.sqrt(K / (K - 1)) * (ends - ends.mean(0)), atol=1e-12)
    w, directions = class_vectors(W, X, y)
    assert torch.allclose(directions, phi) and torch.allclose(w, scales[:, None] * found.directions)


@few
@given(st.integers(2, 5), seeds, st.booleans())
def test_the_metrics_of_the_limit(K, seed, scalar):
    """NC1, NC2, NC3 and the Gram matrix, as measured on the network of the limit itself."""
    X, y, found, _, W, V = limit(seed, K, 1 if scalar and K == 2 else K)
    features = (X @ W).clamp_min(0)
    statistics = class_statistics(features, y, num_classes=K)
    gram = statistics.means @ statistics.means.mT
    assert float((gram - rays.mean_gram(X, y, found)).abs().max()) < 1e-12
    assert float(nc2_min_zhu_vidal(statistics)) < 1e-7
    nc1 = float(rays.nc1_limit(X, y, found))
    assert nc1 == pytest.approx(float(nc1_min_zhu_vidal(statistics)), rel=1e-10) and nc1 > 1e-4
    ratios = 1 / rays.mean_positions(X, y, found)
    for printed in (False, True):
        measured = float(nc3_min_zhu_vidal(statistics, both(V), printed=printed))
        assert measured == pytest.approx(float(rays.nc3_of_ratios(ratios, printed)), abs=1e-7)
    swapped = float(rays.nc3_of_ratios(1 / ratios))  # for two classes the same
    assert K == 2 or abs(swapped - float(rays.nc3_of_ratios(ratios))) > 1e-6
    # Normalised features are points, and the ratios the scales.
    points = class_statistics(features / features.norm(dim=1, keepdim=True), y, num_classes=K)
    assert float(nc1_min_zhu_vidal(points)) < 1e-14
    measured = float(nc3_min_zhu_vidal(points, both(V)))
    expected = float(rays.nc3_of_ratios(rays.limit_scales(found.margins)))
    assert measured == pytest.approx(expected, abs=1e-7)


def test_the_limit_of_nc3_where_norms_differ():
    X, y, found, _, W, V = limit(3, 3, 3, radii=[1.0, 1.5, 0.7])
    statistics = class_statistics((X @ W).clamp_min(0), y, num_classes=3)
    predicted = float(rays.nc3_of_ratios(1 / rays.mean_positions(X, y, found)))
    assert float(nc3_min_zhu_vidal(statistics, V)) == pytest.approx(predicted, abs=1e-12)
    # By the radii alone, as 1/1, 1/1.5, 1/0.7: the spread within the cones changes little.
    alone = rays.nc3_of_ratios(1 / torch.tensor([1.0, 1.5, 0.7], dtype=torch.float64))
    assert float(alone) == pytest.approx(0.2924, abs=1e-4)
    assert predicted == pytest.approx(float(alone), abs=0.03) and predicted > 0.2


def test_the_floor_of_nc3_as_printed():
    assert rays.nc3_floor(3) == pytest.approx(0.2247, abs=1e-4)
    for K in (2, 3, 10):
        equal = torch.full((K,), 0.3, dtype=torch.float64)
        assert float(rays.nc3_of_ratios(equal)) < 1e-15
        assert float(rays.nc3_of_ratios(equal, True)) == pytest.approx(rays.nc3_floor(K))
        equal[0] *= 1.01
        assert float(rays.nc3_of_ratios(equal)) > 1e-3
        assert float(rays.nc3_of_ratios(equal, True)) > rays.nc3_floor(K) + 1e-6


def test_when_the_classifier_is_a_simplex():
    _, _, found, _, _, V = limit(5, 4, 4)
    Pi = torch.eye(4, dtype=torch.float64) - 1 / 4
    gram = V @ V.mT
    measured = float((gram / gram.norm() - Pi / Pi.norm()).norm())
    assert float(rays.distance_from_simplex(found.margins)) == pytest.approx(measured, rel=1e-10)
    assert measured > 1e-3
    assert float(rays.distance_from_simplex(torch.full((5, 4), 0.7).double()).max()) < 1e-14
    # For two classes the complement of 1 has one dimension, and V is always a simplex.
    assert float(rays.distance_from_simplex(torch.tensor([0.2, 3.0]).double())) < 1e-14


def test_training_comes_to_the_limit():
    """Each class's own flow to R = 1e6, put together; R_k differ by less than what counts."""
    K, c = 3, math.sqrt(1.5)
    X, y = cone_data(11, K, 5, radii=[1.0, 1.5, 0.7])
    found, phi = one_class_svm(X, y), axes(2, K, 9)
    vectors, norms = [], []
    for k, (u, gamma) in enumerate(zip(found.directions, found.margins.tolist(), strict=True)):
        rho = math.sqrt(1e6 / (c * gamma))
        start = X[y == k].mean(0)
        across, norm, _ = one_class_flow(X[y == k], u, start, K - 1.0, c, [rho])
        vectors.append(rho * u + across[0])
        norms.append(norm[0])
    W = torch.stack(vectors, dim=1) @ phi
    E = math.sqrt(K / (K - 1)) * (torch.eye(K, dtype=torch.float64) - 1 / K)
    V = E @ (torch.stack(norms)[:, None] * phi)
    size = (W.square().sum() + V.square().sum()).sqrt()
    limit_W, limit_V = rays.limit_network(found, phi, K)
    assert float((W / size - limit_W).norm() + (V / size - limit_V).norm()) < 1e-3
    statistics = class_statistics((X @ W).clamp_min(0), y, num_classes=K)
    nc3 = float(rays.nc3_of_ratios(1 / rays.mean_positions(X, y, found)))
    assert float(nc3_min_zhu_vidal(statistics, V)) == pytest.approx(nc3, abs=1e-3) and nc3 > 0.2
    nc1 = float(rays.nc1_limit(X, y, found))
    assert float(nc1_min_zhu_vidal(statistics)) == pytest.approx(nc1, rel=1e-2)


def test_batches():
    X, y = cone_data(1, 3, 4)
    X = torch.stack([X, 2 * X])
    found, phi = one_class_svm(X, y), axes(3, 3, 7).expand(2, 3, 7)
    W, V = rays.limit_network(found, phi, 3)
    assert W.shape == (2, X.shape[-1], 7) and V.shape == (2, 3, 7)
    assert torch.allclose(W[0], W[1]) and torch.allclose(V[0], V[1])
    assert torch.allclose(
        2 * rays.ray_positions(X, y, found)[0], rays.ray_positions(X, y, found)[1]
    )
    assert rays.mean_gram(X, y, found).shape == (2, 3, 3)
    assert rays.nc1_limit(X, y, found).shape == (2,)


@pytest.mark.parametrize("change", ["negative", "not orthogonal", "not unit", "too few"])
def test_axes_that_the_theorem_does_not_allow_are_refused(change):
    X, y = cone_data(1, 3, 4)
    phi = axes(3, 3, 7)
    phi = {
        "negative": -phi,
        "not orthogonal": (phi + 0.1) / (phi + 0.1).norm(dim=1, keepdim=True),
        "not unit": 1.1 * phi,
        "too few": phi[:2],
    }[change]
    with pytest.raises(ValueError, match="expected 3 orthonormal rows that are not negative"):
        rays.limit_network(one_class_svm(X, y), phi, 3)
