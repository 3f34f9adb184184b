"""The linear program of collapse: its two solvers, the least risk, and the network that has it."""

import math

import pytest
import torch
from relu_cases import simplex_rows
from theory_cases import normal

from ncbook.models.penalised_relu import PenalisedReLU
from ncbook.theory.relu import collapse_program as module
from ncbook.theory.relu.collapse_program import (
    collapse_program,
    collapsed_network,
    least_risk,
    shrinkage,
    smallest_weights,
)

K, n = 3, 5
N = K * n
y = torch.arange(K).repeat_interleave(n)
SOLVERS = collapse_program, smallest_weights


def holds(X, beta, k, slack=1e-9):
    heights = X @ beta
    own = y == k
    return (heights[own] - 1).abs().max() < slack and heights[~own].max() < slack


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("d", [8, 10, N, 20])
def test_a_solution_solves_and_what_has_none_says_so(solve, d):
    X = normal(d, 4, N, d) * torch.linspace(0.1, 7, N, dtype=torch.float64)[:, None]
    found = solve(X, y)
    assert found.feasible.shape == (4, K) and found.weights.shape == (4, K, d)
    for b in range(4):
        for k in range(K):
            if found.feasible[b, k]:
                assert holds(X[b], found.weights[b, k], k)
            else:
                assert found.weights[b, k].isnan().all()
    assert d < N or bool(found.feasible.all())


def test_two_ways_agree_near_the_line():
    X = normal(1, 40, N, 10)
    one, other = (solve(X, y).feasible for solve in SOLVERS)
    assert torch.equal(one, other) and 0.1 < float(one.double().mean()) < 0.9


def test_the_smallest_is_smallest():
    X = normal(2, 12, N, 12)
    some, least = (solve(X, y) for solve in SOLVERS)
    short, long = (found.weights[some.feasible].norm(dim=-1) for found in (least, some))
    assert (short <= long + 1e-9).all() and float(long.sum()) > 1.05 * float(short.sum())


def test_fewer_dimensions_than_samples_of_a_class_never_do():
    assert not collapse_program(normal(3, 6, N, n - 1), y).feasible.any()
    ones = torch.ones(6, N, 1, dtype=torch.float64)
    assert not smallest_weights(torch.cat([normal(3, 6, N, n - 1), ones], -1), y).feasible.any()


def test_a_sample_at_zero_counts_against_its_own_class_alone():
    X = normal(4, N, N)
    X[0] = 0
    assert smallest_weights(X, y).feasible.tolist() == [False, True, True]


def test_some_classes_of_all():
    X = normal(5, 3, N, 10)
    every = smallest_weights(X, y)
    two = smallest_weights(X, y, classes=[2, 0])
    assert torch.equal(two.feasible, every.feasible[:, [2, 0]])


@pytest.mark.parametrize(("decay", "feature_decay"), [(0.01, 0.01), (0.1, 0.003), (0.02, 0.4)])
def test_the_network_of_the_solutions_has_the_least_risk(decay, feature_decay):
    X = normal(6, 2, N, N)
    network = PenalisedReLU(X, y, K, decay, feature_decay)
    z = network.pack(*collapsed_network(smallest_weights(X, y).weights, decay, feature_decay))
    lowest = least_risk(K, decay, feature_decay)
    assert network.risk(z).tolist() == pytest.approx([lowest] * 2, rel=1e-12)
    assert network.field(z).norm(dim=-1).max() < 1e-12
    s = shrinkage(K, decay, feature_decay)
    torch.testing.assert_close(network.outputs(z), (s * network.Y).expand(2, N, K))
    # Control: scaled a little it has more.
    assert (network.risk(1.01 * z) > lowest * (1 + 1e-6)).all()


def test_no_network_is_below():
    X = normal(7, N, N)
    for seed in range(5):
        network = PenalisedReLU(X, y, 4 + seed, 0.05, 0.02)
        assert network.risk(0.3 * normal(seed, 50, network.size)).min() > least_risk(K, 0.05, 0.02)


def test_where_decay_is_large_the_best_network_is_zero():
    assert shrinkage(2, 1.0, 1.0) == 0 and least_risk(2, 1.0, 1.0) == 0.5
    assert least_risk(2, 0.01, 0.01) == pytest.approx(
        0.5 * 2e-4 + (1 - math.sqrt(2) / 100) * math.sqrt(2) / 100
    )
    with pytest.raises(ValueError, match="the best network is zero"):
        collapsed_network(simplex_rows(2), 1.0, 1.0)


def test_what_is_refused(monkeypatch):
    X = normal(8, N, 4)
    with pytest.raises(ValueError, match="at least two classes"):
        collapse_program(X, [0] * N)
    with pytest.raises(ValueError, match=r"classes = \[3\] of 3"):
        smallest_weights(X, y, classes=[3])
    with pytest.raises(ValueError, match="not finite"):
        smallest_weights(X.log(), y)
    with pytest.raises(ValueError, match="expected K >= 2 and positive"):
        least_risk(3, 0.0, 1.0)
    with pytest.raises(ValueError, match="convert it"):
        collapse_program(X.numpy(), y)

    class Failed:
        status, message = 4, "numbers"

    monkeypatch.setattr(module, "linprog", lambda *given, **options: Failed)
    with pytest.raises(RuntimeError, match="was not solved: numbers"):
        collapse_program(X, y)
