"""Finite numbers of particles: against a Hessian by autograd, sums over bases, a second order."""

import math

import pytest
import torch
from theory_cases import normal
from torch.nn.functional import one_hot

from ncbook.theory.mean_field.limit import fixed_limit, stationary_limit
from ncbook.theory.mean_field.particles import (
    critical_gamma,
    expected_loss,
    expected_nc1,
    nc1_floor,
    null_space_variance,
)

LABELS = torch.arange(3).repeat_interleave(2)
Y = one_hot(LABELS, 3).mT.double()


@pytest.mark.parametrize("N", [3, 20])
def test_the_expected_loss_is_that_of_the_gaussian_of_A(N):
    """exp(-beta N L) in A: its mean and covariance from derivatives, with less and more than n."""
    beta, gamma, decay, p, n = 50.0, 1.7, 0.03, 4, 6
    S, W = torch.sigmoid(normal(1, n, N)), normal(2, p, 3)

    def data_loss(flat):
        H = flat.reshape(p, N) @ S.mT / N
        return (gamma * W.mT @ H - Y).square().sum() / (2 * n)

    zero = torch.zeros(p * N, dtype=torch.float64, requires_grad=True)
    data = torch.autograd.functional.hessian(data_loss, zero)
    whole = data + decay / N * torch.eye(p * N, dtype=torch.float64)
    slope = torch.autograd.grad(data_loss(zero), zero)[0]
    mean = torch.linalg.solve(whole, -slope)
    spread = (data @ torch.linalg.inv(whole)).trace() / (2 * beta * N)
    found = expected_loss(S @ S.mT / N, W, Y, N=N, beta=beta, gamma=gamma, decay=decay)
    assert float(found.ridge) == pytest.approx(float(data_loss(mean)), rel=1e-10)
    assert float(found.loss) == pytest.approx(float(data_loss(mean) + spread), rel=1e-10)
    assert 0 < float(found.freedom) <= 3 * min(n, N)
    # Control: the fluctuations count.
    assert float(found.loss) > 1.05 * float(found.ridge)
    limit = expected_loss(S @ S.mT / N, W, Y, N=N, beta=math.inf, gamma=gamma, decay=decay)
    assert float(limit.loss) == float(limit.ridge)


@pytest.mark.parametrize("N", [3, 20])
def test_the_expected_nc1_is_that_of_the_gaussian_of_A(N):
    """The scatters are quadratic in A: their means from its mean and covariance."""
    beta, gamma, decay, p, n = 50.0, 1.7, 0.03, 5, 6
    S, W = torch.sigmoid(normal(1, n, N)), normal(2, p, 3)

    def scatters(flat):
        H = flat.reshape(p, N) @ S.mT / N
        means = H @ Y.mT / 2
        return (H - means @ Y).square().sum(), (H - H.mean(1, keepdim=True)).square().sum()

    def loss(flat):
        H = flat.reshape(p, N) @ S.mT / N
        data = (gamma * W.mT @ H - Y).square().sum() / (2 * n)
        return data + decay * flat.square().sum() / (2 * N)

    zero = torch.zeros(p * N, dtype=torch.float64, requires_grad=True)
    whole = torch.autograd.functional.hessian(loss, zero)
    mean = torch.linalg.solve(whole, -torch.autograd.grad(loss(zero), zero)[0])
    covariance = torch.linalg.inv(whole) / (beta * N)
    at_mean, noisy = [], []
    for i in range(2):
        bend = torch.autograd.functional.hessian(lambda flat, i=i: scatters(flat)[i], zero)
        at_mean.append(float(scatters(mean)[i]))
        noisy.append(at_mean[i] + float((bend @ covariance).trace()) / 2)
    setting = {"gamma": gamma, "decay": decay}
    found = expected_nc1(S @ S.mT / N, W, LABELS, N=N, beta=beta, **setting)
    assert float(found) == pytest.approx(noisy[0] / noisy[1], rel=1e-9)
    # Control: the fluctuations count.
    ridge = expected_nc1(S @ S.mT / N, W, LABELS, N=math.inf, beta=beta, **setting)
    assert float(ridge) == pytest.approx(at_mean[0] / at_mean[1], rel=1e-9)
    assert float(found) > 1.05 * float(ridge)


def test_settings_are_a_batch():
    S, W = torch.sigmoid(normal(1, 6, 9)), normal(2, 4, 3)
    betas = torch.tensor([10.0, 100.0], dtype=torch.float64)
    found = expected_loss(S @ S.mT / 9, W, Y, N=9, beta=betas, gamma=2.0, decay=1 / betas)
    for i, beta in enumerate(betas.tolist()):
        one = expected_loss(S @ S.mT / 9, W, Y, N=9, beta=beta, gamma=2.0, decay=1 / beta)
        assert float(found.loss[i]) == pytest.approx(float(one.loss), rel=1e-12)
    pair = torch.stack([S, torch.sigmoid(normal(3, 6, 9))])
    kernels, weights = pair @ pair.mT / 9, torch.stack([W, normal(4, 4, 3)])
    found = expected_nc1(kernels, weights, LABELS, N=9, beta=betas, decay=1 / betas)
    for i, beta in enumerate(betas.tolist()):
        one = expected_nc1(kernels[i], weights[i], LABELS, N=9, beta=beta, decay=1 / beta)
        assert float(found[i]) == pytest.approx(float(one), rel=1e-12)


def test_the_null_space_variance_solves_its_equation():
    """v' = -2 lambda v + 2/beta, from s^2 to 1/(beta lambda)."""
    s, decay, beta, step = 1.3, 0.2, 7.0, 1e-5
    at = [float(null_space_variance(s, decay, t, 1 / beta)) for t in (2.0, 2.0 + step)]
    assert (at[1] - at[0]) / step == pytest.approx(-2 * decay * at[0] + 2 / beta, rel=1e-4)
    assert float(null_space_variance(s, decay, 0.0, 1 / beta)) == pytest.approx(s**2)
    assert float(null_space_variance(s, decay, 1e4, 1 / beta)) == pytest.approx(1 / (beta * decay))
    assert float(null_space_variance(s, decay, 3.0)) == pytest.approx(s**2 * math.exp(-1.2))


def test_the_floor_is_a_mean_over_the_entries_of_a():
    """H is linear in A: the mean of a square is the sum over a basis."""
    N, nullity, variance = 8, 2, 0.7
    S, H = torch.tanh(normal(1, 6, N)), normal(2, 5, 6)
    total = 0.0
    for j in range(N):
        column = S[:, j] / N  # the feature that a_j = 1 makes, in one direction
        for k in range(3):
            own = column[2 * k : 2 * k + 2]
            total += nullity * variance * float((own - own.mean()).square().sum())
    spread = float((H - H.mean(1, keepdim=True)).square().sum())
    found = nc1_floor(S @ S.mT / N, H, LABELS, nullity=nullity, variance=variance, N=N)
    assert float(found) == pytest.approx(total / spread, rel=1e-12)
    # Control: points that agree within classes have none.
    same = S[[0, 0, 2, 2, 4, 4]]
    none = nc1_floor(same @ same.mT / N, H, LABELS, nullity=nullity, variance=variance, N=N)
    assert abs(float(none)) < 1e-15 < float(found)
    pair = torch.stack([S, same])
    both = nc1_floor(pair @ pair.mT / N, H, LABELS, nullity=nullity, variance=variance, N=N)
    assert both.tolist() == pytest.approx([float(found), float(none)])


def at_zero(beta, decay, decay_W):
    degrees = torch.tensor([5.0, 25, 130, 150, 240, 265], dtype=torch.float64)
    X = torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], 1)
    setting = {"activation": "tanh", "beta": beta, "decay": decay, "decay_W": decay_W}
    kernel = fixed_limit(X, Y, torch.zeros(3, 3).double(), **setting).kernel
    return X, setting, float(critical_gamma(kernel, Y, decay=decay, decay_W=decay_W)), kernel


def test_the_critical_gamma_is_where_the_second_order_at_zero_vanishes():
    X, setting, gamma, kernel = at_zero(20.0, 0.1, 0.3)
    vectors = torch.linalg.eigh(Y @ kernel @ Y.mT)[1]
    small = 1e-2 * torch.outer(torch.eye(3).double()[0], vectors[:, -1])

    def second_order(gamma, W):
        zero = fixed_limit(X, Y, 0 * W, **setting, gamma=gamma).free_energy
        return (fixed_limit(X, Y, W, **setting, gamma=gamma).free_energy - zero) / 1e-4

    assert second_order(gamma, small) == pytest.approx(0, abs=1e-4)
    assert second_order(0.9 * gamma, small) > 0.01 > -0.01 > second_order(1.1 * gamma, small)
    # In another direction 0 is stable still.
    other = 1e-2 * torch.outer(torch.eye(3).double()[0], vectors[:, 0])
    assert second_order(gamma, other) > 0.01


def test_the_classifier_vanishes_below_the_critical_gamma():
    X, setting, gamma, _ = at_zero(50.0, 1 / 50, 1 / 50)
    W = torch.eye(3, dtype=torch.float64)
    below, above = (
        stationary_limit(X, Y, W, **setting, gamma=share * gamma, tolerance=1e-6, points=61)
        for share in (0.9, 1.1)
    )
    assert float(below.W.norm()) < 1e-4 and float(above.W.norm()) > 0.2
    # Where lambda_rho = lambda_W = 1/beta it is n / (beta sqrt(lambda_1)).
    kernel = below.kernel
    largest = torch.linalg.eigvalsh(Y @ kernel @ Y.mT)[-1]
    assert gamma == pytest.approx(6 / (50 * float(largest.sqrt())), rel=1e-4)
