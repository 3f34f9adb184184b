"""The Gibbs form of Proposition 5.1 against its definition, by derivatives and by integrals."""

import math

import pytest
import torch
from theory_cases import normal

from ncbook.theory.mean_field.gibbs import Gibbs

BETA, GAMMA, DECAY, n = 40.0, 1.5, 0.05, 5


def case(p: int = 4, K: int = 3, d: int = 2, N: int = 7):
    X, W, R = normal(1, n, d), normal(2, p, K), normal(3, K, n)
    A, U = normal(4, p, N), normal(5, d, N)
    return Gibbs(W, R, BETA, GAMMA, DECAY), A, U, torch.sigmoid(X @ U), X


def exponent(gibbs, A, U, hidden, decay=DECAY):
    """As the proposition has it, one particle at a time."""
    values = []
    for j in range(A.shape[1]):
        a, u, s = A[:, j], U[:, j], hidden[:, j]
        fit = BETA * GAMMA / n * a @ gibbs.W @ gibbs.residual @ s
        values.append(-fit - BETA * decay / 2 * (a @ a + u @ u))
    return torch.stack(values)


def test_the_density_is_that_of_the_proposition_up_to_a_constant():
    gibbs, A, U, hidden, _ = case()
    apart = gibbs.log_density(A, U, hidden) - exponent(gibbs, A, U, hidden)
    assert float(apart.std()) < 1e-12 * float(apart.abs().max() + 1)
    # Control: with beta/2 in place of beta lambda/2 it is another density.
    wrong = gibbs.log_density(A, U, hidden) - exponent(gibbs, A, U, hidden, decay=1.0)
    assert float(wrong.std()) > 1


def test_mean_and_variance_are_those_of_the_exponent():
    gibbs, A, U, hidden, _ = case()
    mean = gibbs.mean(hidden).requires_grad_()
    gradient = torch.autograd.grad(exponent(gibbs, mean, U, hidden).sum(), mean)[0]
    assert float(gradient.abs().max()) < 1e-12
    one = torch.autograd.functional.hessian(
        lambda a: exponent(gibbs, a.unsqueeze(1), U[:, :1], hidden[:, :1]).sum(), A[:, 0]
    )
    covariance = torch.linalg.inv(-one)
    assert torch.allclose(covariance, torch.eye(4).double() * gibbs.variance, atol=1e-14)
    assert float(gibbs.variance) == pytest.approx(1 / (BETA * DECAY))
    white = gibbs.whitened(A, hidden)
    assert torch.allclose(white * gibbs.variance.sqrt() + mean, A)


def test_the_marginal_is_the_integral_over_a():
    """p = 1, by a sum over a grid of a; a given u has the integral one."""
    gibbs, _, U, hidden, _ = case(p=1, K=2)
    axis = torch.linspace(-60, 60, 24001, dtype=torch.float64)
    cell = float(axis[1] - axis[0])
    for j in range(U.shape[1]):
        u, s = U[:, [j]].expand(-1, len(axis)), hidden[:, [j]].expand(-1, len(axis))
        joint = gibbs.log_density(axis.unsqueeze(0), u, s)
        marginal = gibbs.log_marginal(U[:, [j]], hidden[:, [j]])
        total = float(joint.logsumexp(0)) + math.log(cell)
        assert total == pytest.approx(float(marginal), abs=1e-9)


def test_a_batch_is_its_members_and_samples_whiten():
    gibbs, A, U, hidden, _ = case()
    betas = torch.tensor([40.0, 80.0], dtype=torch.float64)
    both = Gibbs(gibbs.W.expand(2, -1, -1), gibbs.residual.expand(2, -1, -1), betas, GAMMA, DECAY)
    for name in ("log_density", "log_marginal", "whitened"):
        arguments = {"whitened": (A, hidden), "log_marginal": (U, hidden)}.get(name, (A, U, hidden))
        values = getattr(both, name)(*arguments)
        assert torch.allclose(values[0], getattr(gibbs, name)(*arguments))
        assert not torch.allclose(values[1], values[0])
    many = hidden[:, :1].expand(-1, 20000)
    drawn = gibbs.mean(many) + gibbs.variance.sqrt() * normal(9, 4, 20000)
    white = gibbs.whitened(drawn, many)
    assert float(white.mean(1).abs().max()) < 0.03
    assert torch.allclose(torch.cov(white), torch.eye(4).double(), atol=0.04)
