"""The exact limit of infinitely many particles, against sums over a grid and particles."""

import dataclasses
import math

import pytest
import torch
from theory_cases import RUN, normal
from torch.nn.functional import one_hot

from ncbook.models.mean_field import MeanField
from ncbook.theory.mean_field import limit as module
from ncbook.theory.mean_field.limit import (
    fixed_limit,
    integrated_moments,
    mixture_free_energy,
    stationary_limit,
)
from ncbook.theory.mean_field.particles import expected_loss

LABELS = torch.arange(3).repeat_interleave(2)
Y = one_hot(LABELS, 3).mT.double()
SETTING = {"activation": "sigmoid", "beta": 100.0, "gamma": 2.0, "decay": 0.02}


def plane() -> torch.Tensor:
    degrees = torch.tensor([5.0, 25, 130, 150, 240, 265], dtype=torch.float64)
    return torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], 1)


def weights(p: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.linalg.qr(normal(seed, p, 3))[0]


def test_a_law_on_a_grid_of_a_and_u_gives_every_number():
    """p = K = 1: the Gibbs density of Proposition 5.1 on a grid of three dimensions."""
    X = plane()[:3]
    target = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    W = torch.tensor([[0.8]], dtype=torch.float64)
    setting = {
        "activation": "tanh",
        "beta": 30.0,
        "gamma": 1.5,
        "decay": 0.05,
        "decay_W": 0.1,
        "reach": 14.0,
        "points": 121,
    }
    found = fixed_limit(X, target, W, **setting)
    beta, gamma, decay, n = 30.0, 1.5, 0.05, 3
    axis = torch.linspace(-10, 10, 91, dtype=torch.float64)
    a, u1, u2 = torch.meshgrid(axis, axis, axis, indexing="ij")
    s = torch.tanh(u1[..., None] * X[:, 0] + u2[..., None] * X[:, 1])
    theta2 = a**2 + u1**2 + u2**2

    def density(residual):
        exponent = -beta * (gamma / n * a * 0.8 * (s @ residual[0]) + decay / 2 * theta2)
        weight = (exponent - exponent.max()).exp()
        return weight / weight.sum()

    def free_energy(rho):
        H = (rho[..., None] * a[..., None] * s).sum((0, 1, 2))
        data = ((gamma * 0.8 * H - target[0]) ** 2).sum() / (2 * n)
        loss = data + decay / 2 * (rho * theta2).sum() + 0.1 / 2 * 0.8**2
        cell = float(axis[1] - axis[0]) ** 3
        return H, data, loss, loss + torch.special.xlogy(rho, rho / cell).sum() / beta

    rho = density(found.residual)
    H, data, loss, energy = free_energy(rho)
    assert torch.allclose(H, found.H[0], atol=1e-10)
    assert torch.allclose(gamma * 0.8 * H - target[0], found.residual[0], atol=1e-10)
    assert found.data_loss == pytest.approx(float(data), abs=1e-9)
    assert found.loss == pytest.approx(float(loss), abs=1e-9)
    assert found.free_energy == pytest.approx(float(energy), abs=1e-9)
    assert float(found.second_moment) == pytest.approx(float((rho * a**2).sum()), abs=1e-9)
    kernel = torch.einsum("abc,abci,abcj->ij", rho, s, s)
    assert torch.allclose(kernel, found.kernel, atol=1e-10)
    # It is the least: towards another law the free energy rises, and back it falls.
    other = density(found.residual + 0.05)
    rises = [float(free_energy(rho + t * (other - rho))[3] - energy) for t in (1e-3, 0.1, 1)]
    assert 0 < rises[0] < rises[1] < rises[2]
    assert float(free_energy(other + 0.1 * (rho - other))[3]) < float(free_energy(other)[3])
    # Mixtures with the minimum for other labels.
    second = fixed_limit(X, 1 - target, W, **setting)
    shares = [0.0, 0.3, 1.0]
    mixed = mixture_free_energy(X, target, found, second, shares, activation="tanh")
    rho_2 = density(second.residual)
    direct = [float(free_energy((1 - t) * rho + t * rho_2)[3]) for t in shares]
    assert mixed.tolist() == pytest.approx(direct, abs=1e-6)


def test_the_grid_is_refined_until_it_resolves_the_law_of_u():
    # Much data beside little temperature: the law has seven narrow hills. These digits are those
    # of 241 points and of 321 along each axis.
    turns = torch.tensor([5.0, 25, 40, 130, 150, 160, 240, 265, 280], dtype=torch.float64)
    circle = torch.stack([turns.deg2rad().cos(), turns.deg2rad().sin()], 1)
    labels = one_hot(torch.arange(3).repeat_interleave(3), 3).mT.double()
    setting = {"activation": "sigmoid", "beta": 1000.0, "gamma": 4.0, "decay": 1e-3}
    found = stationary_limit(
        circle, labels, torch.eye(3, dtype=torch.float64) / 2, **setting, reach=30
    )
    assert found.change < 1e-4
    assert found.data_loss == pytest.approx(6.0362e-4, rel=1e-5)
    assert float(2 * torch.linalg.svdvals(found.W)[0]) == pytest.approx(3.288155, rel=1e-6)
    # What the finest grid does not resolve is refused.
    with pytest.raises(
        RuntimeError, match=r"not resolved by a grid of \d{3} points .*smaller reach"
    ):
        fixed_limit(circle, labels, found.W, **setting, reach=300)


def test_the_grid_does_not_matter():
    X, W = plane(), weights()
    one, two = (fixed_limit(X, Y, W, **SETTING, points=points) for points in (81, 161))
    for name in ("loss", "data_loss", "free_energy"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-9)
    assert torch.allclose(one.kernel, two.kernel, atol=1e-9) and one.change < 1e-4
    wider = fixed_limit(X, Y, W, **SETTING, points=121, reach=15)
    assert wider.free_energy == pytest.approx(two.free_energy, rel=1e-9)
    # A grid that is too wide to begin with is refined.
    rough = fixed_limit(X, Y, W, **SETTING, points=11)
    assert rough.loss == pytest.approx(two.loss, rel=1e-6) and len(rough.law) > 30**2
    assert max(one.gap, two.gap, one.edge) < 1e-14
    assert float(one.law.sum()) == pytest.approx(1) and float(one.law.min()) >= 0


def test_the_residual_is_that_of_the_features():
    found = fixed_limit(plane(), Y, weights(), **SETTING)
    assert torch.allclose(found.residual, 2 * found.W.mT @ found.H - Y, atol=1e-12)
    # W turned: the features turn with it, and nothing else changes.
    turn = torch.linalg.qr(normal(7, 4, 4))[0]
    turned = fixed_limit(plane(), Y, turn @ weights(), **SETTING)
    assert torch.allclose(turned.H, turn @ found.H, atol=1e-12)
    assert turned.free_energy == pytest.approx(found.free_energy, rel=1e-12)


def test_the_free_energy_is_convex_along_mixtures():
    X, W = plane(), weights()
    found = fixed_limit(X, Y, W, **SETTING)
    other = fixed_limit(X, Y.flip(0), W, **SETTING)
    shares = [k / 8 for k in range(9)]
    mixed = mixture_free_energy(X, Y, found, other, shares, activation="sigmoid")
    assert float(mixed[0]) == pytest.approx(found.free_energy, abs=1e-9)
    assert bool((mixed[1:] > mixed[:-1]).all())
    assert float((mixed[2:] - 2 * mixed[1:-1] + mixed[:-2]).min()) > 1e-4
    # Control: for the other's labels the same mixtures fall.
    turned = mixture_free_energy(X, Y.flip(0), found, other, shares, activation="sigmoid")
    assert bool((turned[1:] < turned[:-1]).all())


def test_shares_of_the_law_below_a_value():
    found = fixed_limit(plane(), Y, weights(), **SETTING, points=201)
    for axis in (0, 1):
        u = found.u[:, axis]
        for value in (-1.0, 0.3, 2.0):
            share = found.share_below(torch.tensor([value], dtype=torch.float64), axis)
            direct = float(found.law[u < value - 1e-9].sum())
            assert float(share) == pytest.approx(direct, abs=0.02)
    ends = found.share_below(torch.tensor([-9.0, 9.0], dtype=torch.float64), 0)
    assert ends.tolist() == pytest.approx([0, 1], abs=1e-8)
    # A law that is Gaussian: W = 0.
    prior = fixed_limit(plane(), Y, 0 * weights(), **SETTING, points=201)
    values = torch.linspace(-2, 2, 9, dtype=torch.float64)
    expected = torch.special.ndtr(values * math.sqrt(2))
    assert torch.allclose(prior.share_below(values, 1), expected, atol=5e-4)


def test_the_gradient_in_W_is_that_of_the_free_energy():
    X, W, step = plane(), 0.7 * weights(), 1e-4
    setting = SETTING | {"decay_W": 0.05}
    gradient = fixed_limit(X, Y, W, **setting).gradient
    for seed in (2, 3):
        direction = normal(seed, 4, 3)
        up, down = (
            fixed_limit(X, Y, W + side * step * direction, **setting).free_energy
            for side in (1, -1)
        )
        assert (up - down) / (2 * step) == pytest.approx(float((gradient * direction).sum()), 1e-6)


@pytest.mark.parametrize(("beta", "gamma"), [(100.0, 4.0), (1e3, 2.0)])
def test_stationary_points_obey_lemma_4_5(beta, gamma):
    X, decay = plane(), 1 / beta
    found = stationary_limit(
        X, Y, weights(), activation="sigmoid", beta=beta, gamma=gamma, decay=decay, reach=20
    )
    W, I = found.W, torch.eye(4, dtype=torch.float64)
    identity = decay * found.second_moment - decay * W @ W.mT - I / beta
    assert float(identity.abs().max()) < 1e-7 * decay
    assert float(found.gradient.abs().max()) < 1e-8 * decay
    assert float(torch.linalg.svdvals(W).min()) > 0.3
    # Control: a fixed W gives no such identity.
    fixed = fixed_limit(
        X, Y, weights(), activation="sigmoid", beta=beta, gamma=gamma, decay=decay, reach=20
    )
    identity = decay * fixed.second_moment - decay * fixed.W @ fixed.W.mT - I / beta
    assert float(identity.abs().max()) > 0.1 * decay


def test_the_residual_at_a_stationary_point_bounds_the_loss_from_both_sides():
    X, beta, gamma = plane(), 1e3, 2.0
    setting = {"activation": "sigmoid", "beta": beta, "gamma": gamma, "decay": 1 / beta}
    found = stationary_limit(X, Y, weights(), reach=20, **setting)
    (K, n), I = Y.shape, torch.eye(len(Y), dtype=torch.float64)
    scale = (n / (gamma * beta)) ** 2
    product = found.residual @ found.kernel @ found.residual.mT / scale
    assert torch.allclose(product, I, atol=1e-6)
    values = torch.linalg.eigvalsh(found.kernel)
    least, most = (K * scale / (2 * n) / values[k].item() for k in (-1, 0))
    assert least < found.data_loss < most
    # Control: with W held there is no such identity.
    held = fixed_limit(X, Y, weights(), reach=20, **setting)
    product = held.residual @ held.kernel @ held.residual.mT / scale
    assert not torch.allclose(product, I, atol=0.1)


def test_a_sweep_may_start_where_the_last_one_ended():
    X = plane()
    setting = {"activation": "sigmoid", "gamma": 4.0, "reach": 20.0, "points": 81}
    first = stationary_limit(X, Y, weights(), beta=100.0, decay=1e-2, **setting)
    warm = stationary_limit(X, Y, weights(), beta=200.0, decay=5e-3, start=first, **setting)
    cold = stationary_limit(X, Y, weights(), beta=200.0, decay=5e-3, **setting)
    assert warm.loss == pytest.approx(cold.loss, rel=1e-9)
    assert torch.allclose(warm.W.mT @ warm.W, cold.W.mT @ cold.W, atol=1e-7)
    assert abs(warm.loss / first.loss - 1) > 0.1
    again = fixed_limit(X, Y, cold.W, beta=200.0, decay=5e-3, start=first, **setting)
    assert again.free_energy == pytest.approx(cold.free_energy, rel=1e-12)


def test_a_descent_that_stops_at_the_tolerance_is_accepted():
    """Twelve points, where the descent used to end at 0.99 of it and the check at 1.01."""
    degrees = (torch.tensor([10.0, 130, 250])[:, None] + torch.tensor([-24.0, -8, 8, 24])).double()
    angles = degrees.ravel().deg2rad()
    X, target = torch.stack([angles.cos(), angles.sin()], 1), Y.repeat_interleave(2, 1)
    setting = {"activation": "tanh", "gamma": 2.0, "points": 81, "reach": 20.0}
    found = None
    for beta in (300.0, 100.0):
        found = stationary_limit(
            X, target, torch.eye(6, 3).double(), beta=beta, decay=1 / beta, start=found, **setting
        )
        assert float(found.gradient.abs().max()) <= 1e-8 / beta


def test_particles_come_to_the_limit_and_its_fluctuations():
    """Langevin dynamics for a fixed W, averaged over times and runs, N = 50."""
    X, N, beta, decay, gamma = plane(), 50, 100.0, 0.02, 2.0
    model = MeanField(X, LABELS, 3, 4, N, "sigmoid", gamma=gamma, decay=decay)
    state = model.start(range(24), RUN)
    moved = torch.ones_like(state)
    model.unpack(moved)[0].zero_()
    W = model.unpack(state)[0].clone()
    step, total, count = 0.1, 0.0, 0
    noise = math.sqrt(2 * step / beta)
    draw = torch.Generator().manual_seed(5)
    for i in range(3000):
        kick = torch.randn(state.shape, generator=draw, dtype=state.dtype)
        state = state + moved * (noise * kick - step * model.gradient(state))
        if i >= 1500 and i % 10 == 0:
            total, count = total + model.data_loss(state), count + 1
    # W enters by W^T W alone, and it is I for each start.
    found = fixed_limit(X, Y, W[0], **SETTING)
    floor = expected_loss(found.kernel, W[0], Y, N=N, beta=beta, gamma=gamma, decay=decay)
    mean = float(total.mean() / count)
    assert float(floor.ridge) == pytest.approx(found.data_loss, rel=1e-10)
    assert mean == pytest.approx(float(floor.loss), rel=0.03)
    # Control: without the fluctuations the limit is missed.
    assert abs(mean / found.data_loss - 1) > 0.04


def test_what_does_not_fit_is_refused():
    X, W = plane(), weights()
    with pytest.raises(ValueError, match=r"shape \(6, 3\); the exact limit is for one data set in"):
        fixed_limit(torch.cat([X, X[:, :1]], 1), Y, W, **SETTING)
    with pytest.raises(ValueError, match=r"one-hot columns, \(K, 6\)"):
        fixed_limit(X, Y.mT, W, **SETTING)
    with pytest.raises(ValueError, match=r"W has shape \(2, 3\); expected one matrix \(p, 3\)"):
        fixed_limit(X, Y, W[:2], **SETTING)
    with pytest.raises(ValueError, match=r"activation 'relu'; it must be bounded: tanh, sigmoid"):
        fixed_limit(X, Y, W, **SETTING | {"activation": "relu"})
    with pytest.raises(ValueError, match=r"positive finite numbers .* got \{'decay': 0"):
        fixed_limit(X, Y, W, **SETTING | {"decay": 0.0})
    with pytest.raises(
        ValueError, match=r"mass .* at the edge of the grid; .* Give a larger reach"
    ):
        fixed_limit(X, Y, W, **SETTING, reach=3)
    deficient = W.clone()
    deficient[:, 2] = W[:, 0]
    with pytest.raises(ValueError, match=r"not full rank"):
        stationary_limit(X, Y, deficient, **SETTING)
    with pytest.raises(RuntimeError, match=r"The descent in W ended with a gradient of"):
        stationary_limit(X, Y, W, **SETTING, tolerance=0.0, points=41)
    pair = fixed_limit(X, Y, W, **SETTING), fixed_limit(X, Y, 2 * W, **SETTING)
    with pytest.raises(ValueError, match=r"two laws differ in W"):
        mixture_free_energy(X, Y, *pair, [0.5], activation="sigmoid")
    far = dataclasses.replace(fixed_limit(X, Y, W, **SETTING), residual=torch.full_like(Y, 1e4))
    # A useless guess does no harm: the method then begins at 0.
    assert fixed_limit(X, Y, W, **SETTING, start=far).gap < 1e-20


def test_a_method_that_does_not_converge_says_so(monkeypatch):
    monkeypatch.setattr(module._Problem, "newton", lambda self, S, R, law, kernel, miss: 0 * R)
    with pytest.raises(RuntimeError, match=r"Newton's method for R did not converge: after 100"):
        fixed_limit(plane(), Y, weights(), **SETTING, points=21)


def test_integrated_moments_are_those_of_the_closed_forms():
    found = fixed_limit(plane(), Y, weights(), **SETTING)
    moments = integrated_moments(found, plane(), "sigmoid")
    for name in ("H", "kernel", "second_moment"):
        assert torch.allclose(getattr(moments, name), getattr(found, name), atol=1e-8), name
    # They are of the density, whatever the limit says of itself.
    other = dataclasses.replace(found, residual=1.1 * found.residual, H=0 * found.H)
    assert not torch.allclose(integrated_moments(other, plane(), "sigmoid").H, found.H, atol=1e-4)
