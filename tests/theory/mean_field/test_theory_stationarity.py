"""Theorem 4.2, Corollary 4.4 and Lemma 4.3 against Kronecker products, particles and extremes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import RUN, few, normal, seeds
from torch import Tensor

from ncbook import metrics
from ncbook.models.mean_field import MeanField
from ncbook.theory.mean_field import stationarity as theory

Q, M, P, D = 3, 4, 5, 2
n = Q * M
y = torch.arange(Q).repeat_interleave(M)
Y = torch.nn.functional.one_hot(y).T.double()
SETTINGS = {"gamma": 1.7, "decay": 0.03}


def kernel_of(seed: int, *batch: int, N: int = 40) -> Tensor:
    S = torch.tanh(normal(seed, *batch, n, D) @ normal(seed + 1, *batch, D, N))
    return S @ S.mT / N


def vec(A: Tensor) -> Tensor:
    return A.T.reshape(-1)


def unvec(v: Tensor, rows: int) -> Tensor:
    return v.reshape(-1, rows).T


def kronecker(K: Tensor, W: Tensor, gamma: float, decay: float) -> Tensor:
    """The first form as the paper writes it."""
    q = W.shape[1]
    Y = torch.eye(q, dtype=W.dtype).repeat_interleave(len(K) // q, dim=1)
    system = gamma**2 * torch.kron(K / len(K), W.T @ W)
    system += decay * torch.eye(len(system), dtype=K.dtype)
    h = gamma * torch.kron(K / len(K), W) @ torch.linalg.solve(system, vec(Y))
    return unvec(h, len(W))


def nc1(H: Tensor) -> Tensor:
    return metrics.nc1_wu_mondelli(metrics.class_statistics(H.mT, y, Q, scatter=False))


def squares(A: Tensor) -> Tensor:
    return A.square().sum((-2, -1))


@pytest.fixture(scope="module")
def trained() -> tuple[MeanField, Tensor]:
    """Particles along a descent without noise, runs of several gamma, to a loss of 0.02 to 0.04."""
    angle = 2.1 * y + 0.3 * normal(0, n)
    X = torch.stack([angle.cos(), angle.sin()], dim=1)
    gamma = torch.tensor([1.0, 4.0, 16.0], dtype=torch.float64)
    model = MeanField(X, y, Q, P, 60, "tanh", gamma=gamma, decay=0.003)
    states = [model.start([0, 1, 2], RUN)]
    for steps in (100, 300):
        state = states[-1]
        for _ in range(steps):
            state = state - 0.5 / gamma[:, None] * model.gradient(state)
        states.append(state)
    return model, torch.stack(states)


def parts_of(model: MeanField, states: Tensor):
    W = model.unpack(states)[0]
    settings = {"gamma": model.gamma, "decay": model.decay}
    return W, model.features(states), model.kernel(states), settings


def with_null_space_part(model: MeanField, state: Tensor) -> Tensor:
    """Add to the particles a part in the null space of W^T."""
    W, A, U = model.unpack(state)
    basis = torch.linalg.qr(W).Q
    extra = 100 * normal(30, *A.shape)
    return model.pack(W, A + extra - basis @ (basis.mT @ extra), U)


def eps_of(model: MeanField, states: Tensor) -> Tensor:
    return theory.stationarity(*model.unpack(model.gradient(states))[1:])


# --- Theorem 4.2 --------------------------------------------------------------------------------


@few
@given(seed=seeds, q=st.integers(2, 4), extra=st.integers(0, 3))
def test_the_first_form_is_the_papers(seed, q, extra):
    size = q * M
    S = normal(seed, size, 30).tanh()
    K, W = S @ S.T / 30, normal(seed + 1, q + extra, q)
    labels = torch.eye(q, dtype=torch.float64).repeat_interleave(M, dim=1)
    naive = kronecker(K, W, **SETTINGS)
    H = theory.stationary_features(K, W, labels, **SETTINGS)
    assert torch.allclose(H, naive, rtol=1e-9, atol=1e-11)
    # Control: another weight decay, or another gamma, is seen.
    for wrong in ({"gamma": 1.7, "decay": 0.031}, {"gamma": 1.6, "decay": 0.03}):
        other = theory.stationary_features(K, W, labels, **wrong)
        assert not torch.allclose(other, naive, rtol=1e-4, atol=1e-6)


def test_what_the_theorem_leaves_is_exactly_e_1():
    H, K, W = normal(2, P, n), kernel_of(3), normal(4, P, Q)
    delta = theory.drift(H, K, W, Y, **SETTINGS)
    E_1 = theory.first_error(delta, K, W, **SETTINGS)
    predicted = theory.stationary_features(K, W, Y, **SETTINGS)
    assert torch.allclose(predicted + E_1, H, rtol=0, atol=1e-11)
    gamma, decay = SETTINGS["gamma"], SETTINGS["decay"]
    system = gamma**2 / n * torch.kron(K, W @ W.T) + decay * torch.eye(n * P, dtype=K.dtype)
    naive = unvec(torch.linalg.solve(system, vec(delta)), P)
    assert torch.allclose(E_1, naive, rtol=0, atol=1e-11)
    assert torch.linalg.matrix_norm(E_1) <= torch.linalg.matrix_norm(delta) / decay
    # Control: what is not T^-1 Delta leaves a gap.
    wrong = theory.first_error(1.001 * delta, K, W, **SETTINGS)
    assert not torch.allclose(predicted + wrong, H, rtol=0, atol=1e-4)


def test_stationary_features_have_no_drift():
    K, W = kernel_of(5), normal(6, P, Q)
    H = theory.stationary_features(K, W, Y, **SETTINGS)
    assert float(theory.drift(H, K, W, Y, **SETTINGS).abs().max()) < 1e-14
    wrong = theory.drift(H, K, W, Y, gamma=1.7, decay=0.04)
    assert float(wrong.abs().max()) > 1e-3


def test_the_drift_is_the_mean_of_the_particles_gradients(trained):
    model, states = trained
    W, H, K, settings = parts_of(model, states)
    gradient_A = model.unpack(model.gradient(states))[1]
    mean = gradient_A @ model.hidden(states).mT / model.N
    delta = theory.drift(H, K, W, Y, **settings)
    assert torch.allclose(delta, mean, rtol=0, atol=1e-12)
    assert not torch.allclose(delta, gradient_A @ model.hidden(states).mT, atol=1e-3)
    assert bool((theory.stationarity_floor(delta, K) <= eps_of(model, states)).all())


def test_the_noise_drops_out_of_the_drift():
    """a given u is N(mu(u), I/(beta lambda)): the score adds nothing to Delta.

    For such a law g_a = (gamma/n) W R s + lambda a - lambda (a - mu(u)), so Delta is what it is
    with a replaced by its conditional mean, and the noise in a leaves H as it is.
    """
    K_parts = normal(7, n, D) @ normal(8, D, 200)
    S, mu = K_parts.tanh(), normal(9, P, 200)
    K, H = S @ S.T / 200, mu @ S.T / 200
    W, decay = normal(10, P, Q), SETTINGS["decay"]
    g = SETTINGS["gamma"] / n * W @ (SETTINGS["gamma"] * W.T @ H - Y) @ S + decay * mu
    delta = theory.drift(H, K, W, Y, **SETTINGS)
    assert torch.allclose(delta, g @ S.T / 200, rtol=0, atol=1e-13)


def test_both_forms_bound_the_measured_errors(trained):
    model, states = trained
    W, H, K, settings = parts_of(model, states)
    eps, loss = eps_of(model, states), model.data_loss(states)
    E_1 = H - theory.stationary_features(K, W, Y, **settings)
    E_2 = H - theory.collapsed_features(W, Y, gamma=model.gamma)
    first = theory.first_error_bounds(K, W, eps, **settings)
    second = theory.second_error_bounds(K, W, eps, loss, **settings)
    for error, bounds in ((squares(E_1), first), (squares(E_2), second)):
        assert bool((error <= bounds.derived).all())
        assert bool((bounds.derived <= bounds.paper).all())
    # Control: the bound of E_2 needs the loss's part where nothing moves ...
    still = theory.stationary_features(K, W, Y, **settings)
    error = squares(still - theory.collapsed_features(W, Y, gamma=model.gamma))
    loss = squares(model.gamma[:, None, None] * W.mT @ still - Y) / (2 * n)
    bound = theory.second_error_bounds(K, W, 0.0, loss, **settings).derived
    assert bool((error <= bound * (1 + 1e-12)).all())
    assert bool((error > 1e-3).all())
    # ... and the gradient's where features grow that W does not see, as they leave the loss alone.
    hidden = with_null_space_part(model, states[-1])
    H, moved = model.features(hidden), W[-1]
    assert torch.allclose(model.data_loss(hidden), model.data_loss(states[-1]))
    error = squares(H - theory.collapsed_features(moved, Y, gamma=model.gamma))
    for eps, holds in ((eps_of(model, hidden), True), (0.0, False)):
        bound = theory.second_error_bounds(
            K[-1], moved, eps, model.data_loss(hidden), **settings
        ).derived
        assert bool((error <= bound).all()) == holds


def test_the_bound_of_e_1_by_the_drift_is_attained():
    K, W, decay = kernel_of(20), normal(21, P, Q), SETTINGS["decay"]
    basis = torch.linalg.qr(W).Q
    for in_null_space in (True, False):
        delta = normal(22, P, n)
        delta = delta - basis @ (basis.T @ delta) if in_null_space else W @ normal(23, Q, n)
        ratio = decay**2 * squares(theory.first_error(delta, K, W, **SETTINGS)) / squares(delta)
        assert float(ratio) == pytest.approx(1, abs=1e-12) if in_null_space else ratio < 0.9


def test_e_2_is_what_w_sees_and_what_it_does_not(trained):
    model, states = trained
    W, H, K, settings = parts_of(model, states)
    E_2 = squares(H - theory.collapsed_features(W, Y, gamma=model.gamma))
    parts = theory.second_error_parts(H, W, Y, gamma=model.gamma)
    assert torch.allclose(parts.sum(-1), E_2, rtol=1e-10)
    delta = theory.drift(H, K, W, Y, **settings)
    Qs = torch.linalg.qr(W).Q
    null_space = squares(delta - Qs @ (Qs.mT @ delta)) / model.decay**2
    assert torch.allclose(parts[..., 1], null_space, rtol=1e-9)
    assert not torch.allclose(theory.second_error_parts(H, W, Y).sum(-1), E_2, rtol=1e-2)


def test_the_second_form_is_collapsed_and_fits():
    W = normal(11, 4, P, Q)
    H = theory.collapsed_features(W, Y, gamma=2.5)
    assert torch.allclose(2.5 * W.mT @ H, Y.expand(4, Q, n), atol=1e-11)
    assert float(nc1(H).max()) < 1e-25
    assert not bool(theory.collapsed_features(W[..., [0, 1, 1]], Y).isfinite().all()) or bool(
        (theory.collapsed_features(W[..., [0, 1, 1]], Y).abs() > 1e10).any()
    )


def test_what_the_noise_adds_for_n_particles():
    """A drawn from its Gaussian density, a precision matrix of all its entries."""
    N, beta = 8, 3.0
    S = normal(40, n, D) @ normal(41, D, N)
    S, W = S.tanh(), normal(42, P, Q)
    K = S @ S.T / N
    gamma, decay = SETTINGS["gamma"], SETTINGS["decay"]
    # beta N times the Hessian of L in vec(A), A (P, N); its mean is where the gradient is zero.
    precision = beta * gamma**2 / (n * N) * torch.kron(S.T @ S, W @ W.T)
    precision += beta * decay * torch.eye(N * P, dtype=K.dtype)
    mean = torch.linalg.solve(precision, beta * gamma / n * vec(W @ Y @ S))
    draws = torch.linalg.solve_triangular(
        torch.linalg.cholesky(precision).T, normal(43, N * P, 20_000), upper=True
    )
    A = (mean[:, None] + draws).T.reshape(-1, N, P).mT
    H = A @ S.T / N
    delta = theory.drift(H, K, W, Y, **SETTINGS)
    error = H - theory.stationary_features(K, W, Y, **SETTINGS)
    expected = theory.fluctuations(K, W, N=N, beta=beta, **SETTINGS)
    for measured, value in ((delta, expected.drift), (error, expected.error)):
        spread = squares(measured)
        deviation = (spread.mean() - value) / spread.std() * len(spread) ** 0.5
        assert abs(float(deviation)) < 4
        assert abs(float((spread.mean() - 1.1 * value) / spread.std() * len(spread) ** 0.5)) > 5
    null_space = (P - Q) * K.trace() / (beta * N * decay)
    assert null_space < expected.error < 1.5 * null_space


# --- Corollary 4.4 ------------------------------------------------------------------------------


@few
@given(seed=seeds, gamma=st.sampled_from([1.0, 4.0, 16.0]), size=st.floats(0.01, 3.0))
def test_nc1_is_bounded_by_e_2_without_a_condition(seed, gamma, size):
    W = normal(seed, P, Q)
    S = theory.collapsed_features(W, Y, gamma=gamma)
    E = normal(seed + 1, P, n)
    E = E * size * S.norm() / E.norm()
    paper, derived = theory.nc1_bounds(squares(E), W, n, gamma=gamma)
    assert nc1(S + E) <= derived + 1e-12
    assert derived <= paper


def test_the_bound_of_nc1_is_attained():
    """The worst error makes a right angle with H: E_2 = within part + a loss of signal."""
    W = torch.eye(P, Q, dtype=torch.float64)
    S = theory.collapsed_features(W, Y)
    S_c = S - S.mean(1, keepdim=True)
    within = torch.zeros(P, n, dtype=torch.float64)
    within[-1] = torch.tensor([1.0, -1.0]).repeat(n // 2)
    angle = 0.4
    within = within / within.norm() * S_c.norm() * math.sin(angle) * math.cos(angle)
    E = within - S_c * math.sin(angle) ** 2
    assert float(squares(S_c)) == pytest.approx(float(theory.signal(W, n)))
    bounds = theory.nc1_bounds(squares(E), W, n)
    assert float(nc1(S + E)) == pytest.approx(math.sin(angle) ** 2)
    assert float(bounds.derived) == pytest.approx(math.sin(angle) ** 2)
    # Control: less than |E_2| would not do.
    assert float(nc1(S + E)) > float(theory.nc1_bounds(0.9 * squares(E), W, n).derived)


def test_the_corollary_without_gamma_in_the_signal_is_wrong():
    """As it is printed for gamma = 1, the bound fails for gamma = 16, and holds with gamma."""
    gamma, W = 16.0, torch.eye(P, Q, dtype=torch.float64)
    E = normal(12, P, n)
    S = theory.collapsed_features(W, Y, gamma=gamma)
    E = E * 0.2 * S.norm() / E.norm()
    value = nc1(S + E)
    printed = theory.nc1_bounds(squares(E), W, n).paper
    assert printed < value / 5
    right = theory.nc1_bounds(squares(E), W, n, gamma=gamma)
    assert value < right.derived < right.paper < math.inf
    # The corollary is silent where its premise fails.
    far = theory.nc1_bounds(100 * squares(E), W, n, gamma=gamma)
    assert float(far.paper) == math.inf and far.derived.isfinite()


def test_small_loss_and_small_gradient_bound_nc1(trained):
    model, states = trained
    W, H, K, settings = parts_of(model, states)
    eps, loss = eps_of(model, states), model.data_loss(states)
    terms = theory.nc1_parts(K, W, eps, loss, **settings)
    values = nc1(H)
    assert bool((values <= terms.sum(-1)).all())
    # One and the same with the bound of E_2 and the least signal.
    widest = torch.linalg.svdvals(W)[..., 0]
    second = theory.second_error_bounds(K, W, eps, loss, **settings).derived
    least = (Q - 1) * n / (Q * (model.gamma * widest) ** 2)
    assert torch.allclose(terms.sum(-1), second / least, rtol=1e-10)
    exact = theory.nc1_bounds(second, W, n, gamma=model.gamma).derived
    assert bool((exact <= second / least * (1 + 1e-12)).all())
    # Control: neither term alone bounds NC1. These features fit the labels exactly ...
    unfelt = model.features(with_null_space_part(model, states))
    unfelt = unfelt + theory.collapsed_features(W, Y, gamma=model.gamma)
    basis = torch.linalg.qr(W).Q
    unfelt = unfelt - basis @ (basis.mT @ H)
    assert float((model.gamma[:, None, None] * W.mT @ unfelt - Y).abs().max()) < 1e-9
    assert bool((nc1(unfelt) > 0.005).all())
    # ... and at these nothing moves.
    still = theory.stationary_features(K, W, Y, **settings)
    assert bool((nc1(still) > theory.nc1_parts(K, W, 0.0, loss, **settings)[..., 1]).all())


def test_at_a_stationary_point_nc1_is_three_times_the_loss():
    """Three classes, W orthonormal, eps_S = 0: NC1 -> 2q/(q-1) L from below.

    It needs a residual with hardly any part that is constant on classes, as kernels of smooth
    activations have it, whose eigenvalues fall fast; with K = I all of the residual is constant.
    """
    X = torch.linspace(0.2, 2.8, n, dtype=torch.float64)
    X = torch.stack([X.cos(), X.sin()], dim=1)
    S = torch.tanh(X @ normal(13, 2, 4000))
    W = torch.linalg.qr(normal(14, P, Q)).Q
    for K, low, high in ((S @ S.T / 4000, 2.8, 3.0), (torch.eye(n).double(), 0.0, 1e-9)):
        H = theory.stationary_features(K, W, Y, decay=1e-7)
        loss = squares(W.T @ H - Y) / (2 * n)
        assert float(loss) < 0.02
        assert low <= float(nc1(H) / loss) <= high


# --- Lemma 4.3 ----------------------------------------------------------------------------------


def test_the_losses_bound_the_least_singular_value(trained):
    model, states = trained
    loss, W = model.data_loss(states), model.unpack(states)[0]
    least = torch.linalg.svdvals(W)[..., -1]
    settings = {"gamma": model.gamma, "decay": model.decay}
    bound = theory.least_singular_value(loss, model.loss(states), Q, **settings)
    assert bool((bound <= least).all()) and bool((bound[1:] > 0).all())
    # A class that W does not see has a loss of at least 1/(2q), where the bound is 0 or less.
    state = states[-1].clone()
    model.unpack(state)[0][..., 0] = 0
    again = theory.least_singular_value(model.data_loss(state), model.loss(state), Q, **settings)
    assert bool((again <= 0).all())
    # Control: with losses of another state the bound would say something of this W, which is wrong.
    wrong = theory.least_singular_value(loss[-1], model.loss(states[-1]), Q, **settings)
    assert bool((wrong > torch.linalg.svdvals(model.unpack(state)[0])[..., -1] + 0.005).all())


# --- Shapes and errors --------------------------------------------------------------------------


def test_a_batch_is_its_parts():
    K, W, H = kernel_of(15, 2, 3), normal(16, 2, 3, P, Q), normal(17, 2, 3, P, n)
    gamma = torch.tensor([[1.0], [4.0]], dtype=torch.float64)
    settings = {"gamma": gamma, "decay": torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)}
    one = {"gamma": 4.0, "decay": 0.3}
    whole = theory.stationary_features(K, W, Y, **settings)
    part = theory.stationary_features(K[1, 2], W[1, 2], Y, **one)
    assert torch.allclose(whole[1, 2], part, rtol=1e-11)
    delta = theory.drift(H, K, W, Y, **settings)
    assert torch.allclose(delta[1, 2], theory.drift(H[1, 2], K[1, 2], W[1, 2], Y, **one))
    error = theory.first_error(delta, K, W, **settings)
    assert torch.allclose(whole + error, H, rtol=0, atol=1e-10)
    loss = torch.tensor(0.1, dtype=torch.float64)
    for bounds in (
        theory.first_error_bounds(K, W, 0.2, **settings),
        theory.second_error_bounds(K, W, 0.2, loss, **settings),
        theory.nc1_bounds(squares(delta), W, n, gamma=gamma),
    ):
        assert bounds.paper.shape == bounds.derived.shape == (2, 3)
    assert theory.nc1_parts(K, W, 0.2, loss, **settings).shape == (2, 3, 2)
    assert theory.second_error_parts(H, W, Y, gamma=gamma).shape == (2, 3, 2)


def test_without_weight_decay_there_is_no_theorem():
    with pytest.raises(ValueError, match="positive weight decay"):
        theory.stationary_features(kernel_of(18), normal(19, P, Q), Y, decay=0.0)
