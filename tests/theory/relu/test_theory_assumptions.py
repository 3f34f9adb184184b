"""The assumptions of Part III: starts and data that satisfy them, and some that just do not."""

import math

import pytest
import torch
from relu_cases import cone_data, random_start, unit
from theory_cases import normal

from ncbook.theory.relu.alignment import alignment_points, direction_flow, pseudo_labels
from ncbook.theory.relu.assumptions import (
    balanced,
    non_degenerate,
    orthogonally_separable,
    semi_local,
    separation_condition,
)


def test_orthogonal_separability_with_given_margins():
    X, y = cone_data(4, 3, 5)
    rows = unit(X.mT).mT
    cosines, same = rows @ rows.mT, y[:, None] == y
    mu_s, mu_d = float(cosines[same].min()), -float(cosines[~same].max())
    batch = torch.stack([X, X + 0.5, 7 * X])
    assert orthogonally_separable(batch, y, mu_s, mu_d).tolist() == [True, False, True]
    assert not orthogonally_separable(X, y, mu_s + 1e-9, mu_d)
    assert not orthogonally_separable(X, y, mu_s, mu_d + 1e-9)
    with pytest.raises(ValueError, match="has positive margins"):
        orthogonally_separable(X, y, mu_s, 0.0)


def test_balance():
    W, V = random_start(1, 4, 6, 3)
    scale = torch.linspace(1e-6, 2, 6)
    assert bool(balanced(W * scale, V * scale))
    off = V * scale
    off[:, 0] *= 1 + 1e-9
    assert balanced(torch.stack([W * scale] * 2), torch.stack([V * scale, off])).tolist() == [
        True,
        False,
    ]


# --- Assumption 3 -------------------------------------------------------------------------------


def starts_of_two_classes():
    X, y = cone_data(6, 2, 4)
    means = alignment_points(X, y, 1)[0]
    W = torch.cat([means, normal(3, X.shape[1], 2)], dim=1)
    return X, y, means, W, torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)


def holds(*args) -> dict[str, bool]:
    return {name: bool(value) for name, value in non_degenerate(*args).items()}


def test_a_start_that_is_not_degenerate():
    X, y, _, W, V = starts_of_two_classes()
    assert all(holds(W, V, X, y).values())
    batch = non_degenerate(torch.stack([W, W]), torch.stack([V, V.abs()]), X, y)
    assert batch["signs"].tolist() == batch["all"].tolist() == [True, False]
    with pytest.raises(ValueError, match="for a scalar output"):
        non_degenerate(W, torch.cat([V, V]), X, y)


def test_a_neuron_at_the_other_class_s_mean_never_turns():
    X, y, means, W, V = starts_of_two_classes()
    W = W.clone()
    W[:, 2] = 3 * means[:, 1]
    assert holds(W, V, X, y) == {"signs": True, "repelled": False, "alive": True, "all": False}
    assert float((direction_flow(W, V, X, y, [1.0]).W[0, :, 2] - means[:, 1]).norm()) < 1e-12
    # Against its own class's mean it is not at rest, so that is nothing to exclude.
    W[:, 2] = -means[:, 0]
    assert holds(W, V, X, y)["repelled"]
    assert float((direction_flow(W, V, X, y, [0.1]).W[0, :, 2] + means[:, 0]).norm()) > 1e-3
    W[:, 2] = means[:, 1] + 1e-4 * normal(1, len(W))
    assert holds(W, V, X, y)["repelled"]


def test_a_sign_without_a_living_neuron():
    """In the plane, with classes about 15 and 165 degrees, and nothing active at 270."""

    def at(*degrees: float) -> torch.Tensor:
        angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
        return torch.stack([angles.cos(), angles.sin()])

    X, y = at(10, 20, 160, 170).mT, [0, 0, 1, 1]
    V = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    parts = {"signs": True, "repelled": True}
    assert holds(at(200, 165), V, X, y) == parts | {"alive": False, "all": False}
    assert holds(at(105, 165), V, X, y) == parts | {"alive": True, "all": True}
    # The first dies; the condition is not necessary, for one on the other side comes alive.
    assert holds(at(120, 165), V, X, y) == parts | {"alive": False, "all": False}
    ends = direction_flow(at(200, 120), V.abs(), X, [0, 0, 1, 1], [20.0]).W[0]
    assert float((X @ ends)[:, 0].max()) < 1e-6
    assert float(ends[:, 1] @ at(15)[:, 0]) > 1 - 1e-9


# --- Assumption 4 -------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [3, 4, 5])
def test_starts_drawn_from_the_data_are_semi_local(K):
    X, y = cone_data(8, K, 4)
    draw = torch.arange(len(y))
    W, V = unit(X[draw].mT), pseudo_labels(K, K)[:, y[draw]]
    found = semi_local(W, V, X, y)
    assert bool(found.holds) and torch.equal(found.group, y[draw])
    assert torch.allclose(found.cosine, torch.ones(len(y)).double())
    assert float(found.others.max()) == 0 and found.threshold == 1 - 1 / (2 * (K - 1) ** 2)
    # Controls: the least cosine, a class without a group, a neuron that sees two classes.
    E = pseudo_labels(K, K)
    across = unit(E[:, [1]] - E[:, [0]] * (E[:, 0] @ E[:, 1]))
    for cosine, fine in ((found.threshold + 1e-9, True), (found.threshold - 1e-9, False)):
        near = V.clone()
        near[:, :1] = cosine * E[:, :1] + math.sqrt(1 - cosine**2) * across
        assert bool(semi_local(W, near, X, y).holds) is fine
    rest = y[draw] > 0
    assert not semi_local(W[:, rest], V[:, rest], X, y).holds
    # In a dimension of its own the neuron sees none: A = 0 is not more than 2 * 0.
    wide = torch.cat([X, torch.zeros(len(y), 1)], dim=1)
    off = torch.cat([W, torch.zeros(1, len(y))])
    assert bool(semi_local(off, V, wide, y).holds)
    off[:, 0] = torch.eye(len(off))[-1]
    assert not semi_local(off, V, wide, y).holds
    batch = semi_local(torch.stack([W, -W]), V, X, y)
    assert batch.holds.tolist() == [True, False]


def test_the_sums_of_assumption_4_by_hand():
    X = torch.tensor([[2.0, 0], [1, 1], [-1, 2], [0, -3]], dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 2])
    W = torch.tensor([[3.0], [4.0]], dtype=torch.float64)
    found = semi_local(W, pseudo_labels(3, 3)[:, [0]], X, y)
    assert float(found.own) == pytest.approx(1.2 + 1.4)
    assert float(found.others) == pytest.approx(1.0)


@pytest.mark.parametrize("K", [3, 4])
def test_semi_local_neurons_end_at_their_own_class(K):
    """The worst of many random neurons that satisfy the inequalities, each close to equality."""
    X, y = cone_data(7, K, 5)
    W, V = random_start(100, X.shape[1], 3000, K)
    E, k = pseudo_labels(K, K), torch.arange(3000) % K
    across = unit(V - V.mean(0) - E[:, k] * (E[:, k] * V).sum(0))
    least = 1 - 1 / (2 * (K - 1) ** 2)
    cosine = least + 0.1 * (1 - least)
    V = cosine * E[:, k] + math.sqrt(1 - cosine**2) * across
    found = semi_local(W, V, X, y)
    met = (found.group == k) & (found.own > 2 * found.others)
    worst = torch.where(met, found.own / found.others, torch.inf).argsort()[:8]
    assert bool(met[worst].all()) and float((found.own / found.others)[worst].max()) < 4
    means, labels, rates = alignment_points(X, y, K)
    flow = direction_flow(W[:, worst], V[:, worst], X, y, [40 / float(rates.min())])
    own = k[worst]
    assert float((flow.W[0] * means[:, own]).sum(0).min()) > 1 - 1e-9
    assert float((flow.V[0] * labels[:, own]).sum(0).min()) > 1 - 1e-9
    # Control: neurons that see mostly other classes; not all of them end there.
    wrong = ((found.group == k) & (found.own < found.others / 4)).nonzero().squeeze(1)[:8]
    flow = direction_flow(W[:, wrong], V[:, wrong], X, y, [40 / float(rates.min())])
    assert float((flow.W[0] * means[:, k[wrong]]).sum(0).min()) < 0.9


# --- Proposition 1 ------------------------------------------------------------------------------


def test_the_condition_of_separation():
    X = torch.tensor([[[3.0, 4.0], [0, 2]], [[1, 0], [0, 1]]], dtype=torch.float64)
    left, right = separation_condition(X, 5, 0.5, 0.1)
    assert left.tolist() == pytest.approx([6.25 * 0.4, 0.4]) and right == 1
    assert separation_condition(X, 3, 0.5, 0.1)[1] == math.inf
    # At equal norms all data with mu_s^2 > (K - 3)/(2 (K - 1)) satisfy it, and others need not.
    for K in (4, 6, 9):
        edge = math.sqrt((K - 3) / (2 * (K - 1)))
        for mu_s, fine in ((edge + 1e-6, True), (edge - 1e-6, False)):
            left, right = separation_condition(X[1], K, mu_s, 1 / (K - 1))
            assert bool(left < right) is fine
