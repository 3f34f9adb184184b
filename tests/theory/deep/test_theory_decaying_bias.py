"""The minimum with a decaying bias against a search over all biases, and the cone of features."""

import pytest
import torch

from ncbook.frames import centring
from ncbook.models.deep_ufm import DeepUnconstrainedFeatures
from ncbook.theory.deep import decaying_bias, relu_layer, scalar
from ncbook.theory.deep.classes import ClassProblem


def risk_of_biases(c, bias_decay, M, r, zeta):
    """The least risk for a bias with the part 1 - r along 1 and zeta across it, up to a constant.

    For a fixed bias the risk is that of the singular values of the targets less the bias; all but
    two are 1, and those have the product r and the squares' sum 1 + r^2 + zeta^2.
    """
    total = 1 + r**2 + zeta**2
    large = ((total + (total**2 - 4 * r**2).clamp(min=0).sqrt()) / 2).sqrt()
    small = r / large
    parts = [mu**2 * scalar.least(c * mu ** (-2 * M / (M + 1)), M) for mu in (large, small)]
    return sum(parts) + bias_decay / 2 * ((1 - r) ** 2 + zeta**2)


@pytest.mark.parametrize("M", [1, 2, 3])
@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.95, 1.05, 4.0])
def test_no_bias_does_better(M, share, ratio):
    c = share * scalar.threshold(M)
    bias_decay = ratio * decaying_bias.transition(c, M)
    r = torch.linspace(1e-3, 1.3, 400, dtype=torch.float64)[:, None]
    zeta = torch.linspace(0, 1, 101, dtype=torch.float64)
    searched = risk_of_biases(c, bias_decay, M, r, zeta).min()
    K = 2
    found = K * decaying_bias.least_risk(c, bias_decay, M, K)
    assert found <= float(searched) + 1e-12
    assert found == pytest.approx(float(searched), abs=1e-4)
    s_1 = decaying_bias.mean_output(c, bias_decay, M)
    assert (s_1 > 0) == (ratio > 1)


def test_one_layer_in_closed_form():
    c, K = 0.3, 4
    assert decaying_bias.transition(c, 1) == pytest.approx(c / (1 - c))
    for bias_decay in (0.0, 0.2, 0.4285):
        s_1 = decaying_bias.mean_output(c, bias_decay, 1)
        assert s_1 == 0
        assert decaying_bias.cosine(c, s_1, 1, K) == pytest.approx(-1 / (K - 1))
        assert decaying_bias.bias(c, bias_decay, 1, K) == pytest.approx(1 / (K * (1 + bias_decay)))
    for bias_decay in (0.5, 2.0, 50.0):
        x = c / bias_decay
        s_1 = decaying_bias.mean_output(c, bias_decay, 1)
        assert s_1 == pytest.approx(1 - c - x)
        assert decaying_bias.cosine(c, s_1, 1, K) == pytest.approx(-x / (K * (1 - c) - x))
        assert decaying_bias.bias(c, bias_decay, 1, K) == pytest.approx(x / K)


@pytest.mark.parametrize("M", [1, 2, 3])
def test_the_minimum_has_no_gradient(M):
    K, n, lam = 3, 5, 0.02
    problem = ClassProblem([n] * K, [lam] * (M + 1))
    c = float(problem.cost[0])
    bias_decay = 2 * decaying_bias.transition(c, M)
    q, s_1 = float(problem.output()[0]), decaying_bias.mean_output(c, bias_decay, M)
    root = 1 / (M + 1)

    def part(output):  # of each factor's singular values
        return (lam ** (M + 1) * n * output**2) ** (root / 2) / lam**0.5

    Pi = centring(K)
    factor = part(q) * Pi + part(s_1) / K
    model = DeepUnconstrainedFeatures([n] * K, [K] * M, [lam] * (M + 1), bias_decay=bias_decay)
    b = torch.full((K,), decaying_bias.bias(c, bias_decay, M, K), dtype=torch.float64)
    z = model.pack(factor / n**0.5, [factor] * M, b)
    assert float(model.field(z).abs().max()) < 1e-12
    assert float(model.risk(z)) == pytest.approx(
        decaying_bias.least_risk(c, bias_decay, M, K), rel=1e-9
    )
    H = model.unpack(z)[0]
    gram = H.T @ H
    assert float(gram[0, 1] / gram[0, 0]) == pytest.approx(
        decaying_bias.cosine(c, s_1, M, K), rel=1e-9
    )
    assert torch.allclose(gram, decaying_bias.gram(problem, bias_decay), rtol=1e-9)
    law = decaying_bias.law(problem, [bias_decay, 0.0])
    assert float(law["b"][0]) == pytest.approx(float(b[0]), rel=1e-12)
    assert float(law["mean"][0]) == s_1
    assert float(law["cosine"][1]) == pytest.approx(-1 / (K - 1))
    apart = decaying_bias.gram(problem, float("inf"))
    assert torch.allclose(apart, problem.features(problem.output()).diag(), rtol=1e-12)


def test_the_gram_matrix_is_of_classes_of_one_size():
    with pytest.raises(ValueError, match="one size"):
        decaying_bias.gram(ClassProblem([3, 2], [0.1, 0.1]), 1.0)


def test_a_cost_beyond_the_threshold_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        decaying_bias.transition(0.4, 2)


# --- The layer before a ReLU ----------------------------------------------------------------------


def test_every_pre_activation_of_the_cone_has_the_least_risk():
    K = 5
    problem = ClassProblem([7] * K, [0.01, 0.02, 0.03])
    model = DeepUnconstrainedFeatures([7] * K, [K, K], problem.decays, relu=True)
    simplex = K / (K - 1) * centring(K)
    P = torch.stack([torch.eye(K).double(), simplex, relu_layer.crossed(K)])
    z = model.pack(*relu_layer.state(P, problem))
    assert torch.allclose(model.risk(z), problem.least_risk(), rtol=1e-13)
    assert torch.linalg.matrix_rank(P).tolist() == [5, 4, 3]
    H, Z, _ = model.layers_of(z)
    assert torch.allclose(Z / Z[..., :1, :1], P, atol=1e-12)
    gram = H.mT @ H
    assert torch.allclose(gram / gram[..., :1, :1], P, atol=1e-12)
    # Outside of the cone a positive entry is an output of the wrong class.
    mixed = 0.9 * torch.eye(K).double() + 0.1
    assert float(model.risk(model.pack(*relu_layer.state(mixed, problem)))) > float(
        problem.least_risk() * 1.001
    )


def test_the_state_is_for_equal_classes_and_two_layers():
    for sizes, layers, K in (([3, 2], 2, 2), ([3, 3], 3, 2), ([3, 3], 2, 3)):
        with pytest.raises(ValueError, match="two layers"):
            relu_layer.state(torch.eye(K).double(), ClassProblem(sizes, [0.1] * (layers + 1)))
