"""Concept factorisation: its objective, its updates, its constraint."""

import pytest
import torch

from ncbook.models.concept_factorisation import ConceptFactorisation
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
LABELS = [0, 1, 1, 0, 2]


def uniform(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def ring(N: int) -> torch.Tensor:
    """Each sample with its two neighbours: the adjacency has negative eigenvalues."""
    eye = torch.eye(N, dtype=torch.float64)
    return eye.roll(1, 0) + eye.roll(-1, 0)


def test_the_objective_is_its_definition():
    X, S = uniform(1, 9, 4), ring(9)
    model = ConceptFactorisation(X, 3, LABELS, S, 0.3)
    z = model.random_start([2], RUN)[0]
    U, Z = model.unpack(z)
    A = torch.zeros(9, 7, dtype=torch.float64)
    for i, row in enumerate([*LABELS, 3, 4, 5, 6]):
        A[i, row] = 1
    V = A @ Z
    torch.testing.assert_close(model.coordinates(z), V)
    fit = (X.T - X.T @ U @ V.T).square().sum()
    bend = sum((V[i] - V[j]).square().sum() for i in range(9) for j in range(i) if S[i, j])
    assert float(model.objective(z)) == pytest.approx(float(fit + 0.3 * bend), rel=1e-12)


@pytest.mark.parametrize("labels", [None, LABELS, LABELS[::-1]])
@pytest.mark.parametrize("weight", [0.0, 0.5, 50.0])
def test_updates_do_not_raise_it_and_stay_positive(labels, weight):
    X = uniform(3, 4, 9, 6)
    model = ConceptFactorisation(X, 3, labels, ring(9) if weight else None, weight)
    z = model.random_start(range(4), RUN)
    level = model.objective(z)
    for _ in range(60):
        z = model.update(z)
        new = model.objective(z)
        assert (new <= level * (1 + 1e-13)).all() and (z >= 0).all()
        level = new
    # Control: steps of four times the length do raise it.
    far = [model.objective(one + 4 * model.field(one)) for one in model.random_start([5, 6], RUN)]
    assert max(float(one.max()) for one in far) > float(level.max())


def test_where_updates_rest_the_gradient_vanishes():
    model = ConceptFactorisation(uniform(4, 8, 5), 2, [0, 0, 1, 1], ring(8), 0.2)
    z = model.random_start([1], RUN)
    for _ in range(20_000):
        z = model.update(z)
    z = z.requires_grad_()
    (gradient,) = torch.autograd.grad(model.objective(z).sum(), z)
    # An entry is zero, or its derivative is.
    slack = torch.minimum(z.detach(), gradient)
    assert float(slack.abs().max()) < 1e-3


def test_the_constraint_holds_for_any_labels_and_alone():
    X = uniform(5, 9, 6)
    for labels in (LABELS, [0, 1, 2, 0, 1]):
        V = ConceptFactorisation(X, 3, labels).coordinates(
            ConceptFactorisation(X, 3, labels).random_start([1], RUN)
        )[0]
        for i, one in enumerate(labels):
            for j, other in enumerate(labels):
                assert bool((V[i] == V[j]).all()) == (one == other)
        assert not bool((V[5] == V[6]).any())


def test_what_nothing_sees_stays():
    X = uniform(6, 5, 3)
    X[2] = 0
    model = ConceptFactorisation(X, 2)
    z = model.random_start([1], RUN)
    assert model.update(z).isfinite().all()


def test_what_is_refused():
    X = uniform(7, 5, 3)
    for labels in ([0, 2], [[0, 1]], [0, -1], [0.5], [0] * 6):
        with pytest.raises(ValueError, match=r"whole numbers? from 0 to [CK] - 1"):
            ConceptFactorisation(X, 2, labels)
    with pytest.raises(ValueError, match="not negative"):
        ConceptFactorisation(-X, 2)
    with pytest.raises(ValueError, match="with the graph whose weight"):
        ConceptFactorisation(X, 2, weight=1.0)
    with pytest.raises(ValueError, match="at least 1"):
        ConceptFactorisation(X, 0)
