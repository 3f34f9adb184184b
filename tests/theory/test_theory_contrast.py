"""The contrastive loss's minima: against searches over Gram matrices, in limits, at ends."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from ncbook.theory import contrast


def class_loss(gram, counts, temperature):
    """The loss of collapsed classes with the Gram matrix of their means, from its definition."""
    total, N = 0.0, sum(counts)
    for k, own in enumerate(counts):
        terms = sum(
            (n - (j == k)) * math.exp((gram[k][j] - gram[k][k]) / temperature)
            for j, n in enumerate(counts)
        )
        total += own / N * math.log(terms)
    return total


def step_gram(p, q, a, m, x):
    large = np.full((p, p), a) + (1 - a) * np.eye(p)
    small = np.full((q, q), m) + (1 - m) * np.eye(q)
    return np.block([[large, np.full((p, q), x)], [np.full((q, p), x), small]])


@pytest.mark.parametrize(("K", "n", "temperature"), [(2, 2, 0.5), (4, 5, 1.0), (7, 3, 0.2)])
def test_the_simplex(K, n, temperature):
    cosine = -1 / (K - 1)
    gram = np.full((K, K), cosine) + (1 - cosine) * np.eye(K)
    level = contrast.simplex_level(K, n, temperature)
    assert level == pytest.approx(class_loss(gram, [n] * K, temperature), rel=1e-13)
    wider = np.full((K, K), cosine + 1e-3) + (1 - cosine - 1e-3) * np.eye(K)
    assert class_loss(wider, [n] * K, temperature) > level


@pytest.mark.parametrize("decay", [0.1, 0.5, 1.0])
def test_the_length_under_decay(decay):
    K, n, temperature = 4, 5, 0.8

    def risk(rho):
        exponent = math.exp(-rho * K / ((K - 1) * temperature))
        return math.log(n - 1 + n * (K - 1) * exponent) + decay * rho / 2

    best = contrast.simplex_length(K, n, temperature, decay)
    assert risk(best) < min(risk(best - 1e-4), risk(best + 1e-4))
    last = 2 * n * K / (temperature * (n * K - 1))
    assert contrast.simplex_length(K, n, temperature, last) == 0
    assert 0 < contrast.simplex_length(K, n, temperature, 0.999 * last) < 0.01


@pytest.mark.parametrize(("k", "m"), [(2, 2), (2, 4), (3, 3), (3, 5)])
def test_two_simplices(k, m):
    K = k + m
    gram = np.zeros((K, K))
    gram[:k, :k], gram[k:, k:] = -1 / (k - 1), -1 / (m - 1)
    np.fill_diagonal(gram, 1)
    assert np.linalg.matrix_rank(gram) == K - 2
    level = contrast.split_level(k, m, 3, 0.7)
    assert level == pytest.approx(class_loss(gram, [3] * K, 0.7), rel=1e-13)
    assert level > contrast.simplex_level(K, 3, 0.7)


@pytest.mark.parametrize(
    ("p", "q", "n", "ratio", "temperature"),
    [(2, 2, 4, 2, 1.0), (2, 3, 5, 5, 0.3), (5, 2, 2, 30, 0.5), (3, 3, 6, 0.5, 2.0)],
)
def test_the_three_cosines_against_a_search(p, q, n, ratio, temperature):
    found = contrast.step(p, q, n, ratio, temperature)
    counts = [ratio * n] * p + [n] * q
    gram = step_gram(p, q, *found[:3])
    assert np.linalg.eigvalsh(gram)[0] > -1e-12
    assert found.level == pytest.approx(class_loss(gram, counts, temperature), rel=1e-13)

    def loss(rows):
        rows = rows.reshape(p + q, -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return class_loss(rows @ rows.T, counts, temperature)

    draw = np.random.default_rng(0).standard_normal((p + q) ** 2)
    searched = minimize(loss, draw, method="BFGS", options={"gtol": 1e-7})
    assert searched.fun == pytest.approx(found.level, abs=1e-8)
    rows = searched.x.reshape(p + q, -1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.abs(rows @ rows.T - gram).max() < 2e-3
    if ratio != 1:
        assert np.abs(gram - step_gram(p, q, *[-1 / (p + q - 1)] * 3)).max() > 0.02


def test_a_given_cosine_costs_loss():
    best = contrast.step(3, 4, 5, 20, 0.5)
    held = contrast.step(3, 4, 5, 20, 0.5, small=best.small)
    assert held == pytest.approx(best, rel=1e-12)
    for off in (-0.01, 0.01):
        other = contrast.step(3, 4, 5, 20, 0.5, small=best.small + off)
        assert best.level + 1e-7 < other.level < best.level + 1e-2
    with pytest.raises(ValueError, match="expected a cosine"):
        contrast.step(3, 4, 5, 20, 0.5, small=-0.4)


def test_equal_classes_are_a_simplex():
    found = contrast.step(2, 3, 5, 1, 0.6)
    assert found[:3] == pytest.approx([-0.25] * 3, abs=1e-12)
    assert found.level == pytest.approx(contrast.simplex_level(5, 5, 0.6), rel=1e-13)


@pytest.mark.parametrize("p", [2, 3, 5])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_the_limit_of_large_ratios(p, temperature):
    limit = contrast.small_limit(p, temperature)
    assert limit >= 1 / (p - 1) - 1e-12
    for q, n in ((2, 2), (4, 7)):
        far = contrast.step(p, q, n, 1e7, temperature)
        assert far.small == pytest.approx(limit, abs=1e-5)
        assert far.large == pytest.approx(-1 / (p - 1), abs=1e-6)
        assert abs(far.across) < 1e-4
        if limit < 1:
            assert contrast.step(p, q, n, 30, temperature).small != pytest.approx(limit, abs=1e-3)


def test_where_small_classes_merge():
    ratio = contrast.merging_ratio(2, 2, 5, 1.0)
    assert ratio == pytest.approx(142.37, abs=0.01)
    assert contrast.step(2, 2, 5, 1.01 * ratio, 1.0).small == 1
    assert contrast.step(2, 2, 5, 0.99 * ratio, 1.0).small < 0.9999
    edge = contrast.merging_temperature(3)
    assert contrast.small_limit(3, 0.999 * edge) == 1
    assert contrast.small_limit(3, 1.001 * edge) < 1
    assert contrast.merging_ratio(3, 4, 5, 1.001 * edge) == math.inf
    assert contrast.merging_ratio(3, 4, 5, 0.95 * edge) < 1e6
    assert contrast.merging_temperature(2) == math.inf
    for p in (4, 10, 100):
        assert contrast.small_limit(p, contrast.merging_temperature(p)) == pytest.approx(1)


def test_what_is_refused():
    with pytest.raises(ValueError, match="K is 1"):
        contrast.simplex_level(1, 5, 1.0)
    with pytest.raises(ValueError, match="at least 2 samples"):
        contrast.step(2, 2, 1, 3, 1.0)
    with pytest.raises(ValueError, match="positive temperature"):
        contrast.split_level(2, 2, 3, 0.0)
    with pytest.raises(ValueError, match="ratio of class sizes"):
        contrast.step(2, 2, 3, 0, 1.0)
    with pytest.raises(ValueError, match="decay = 0"):
        contrast.simplex_length(3, 3, 1.0, 0)
    with pytest.raises(ValueError, match="p is 1"):
        contrast.merging_temperature(1)
