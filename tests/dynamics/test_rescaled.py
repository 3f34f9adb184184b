"""Gradient flow in rescaled time: small starts, kinks, losses of any smallness, and the paper."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, lsq_linear, nnls
from scipy.special import expi

from ncbook.dynamics import kinks, methods
from ncbook.dynamics import rescaled as module
from ncbook.dynamics.rescaled import rescaled_flow, rescaled_states, timed_flow
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import Runtime, UnresolvedWarning, available_devices, generator, start

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
DEEP = 12 * math.log(10)  # L = 1e-12


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def cones(K: int, D: int, n: int, radii=(0.7, 1.5), seed: int = 0) -> torch.Tensor:
    """n samples a class, each class in a cone around its direction of the simplex."""
    g = generator(seed)
    half = 0.9 * min(math.pi / 4, (math.acos(-1 / (K - 1)) - math.pi / 2) / 2)
    simplex = torch.eye(K, D, dtype=torch.float64)
    simplex[:, :K] -= 1 / K
    if D == K - 1:
        simplex = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    simplex = simplex / simplex.norm(dim=-1, keepdim=True)
    away = torch.randn(K, n, D, generator=g, dtype=torch.float64)
    away -= (away * simplex[:, None]).sum(-1, keepdim=True) * simplex[:, None]
    away = away / away.norm(dim=-1, keepdim=True).clamp_min(1e-300)
    angle = half * torch.rand(K, n, 1, generator=g, dtype=torch.float64)
    radius = radii[0] + (radii[1] - radii[0]) * torch.rand(
        K, n, 1, generator=g, dtype=torch.float64
    )
    return (radius * (angle.cos() * simplex[:, None] + angle.sin() * away)).flatten(0, 1)


def network(K: int, loss: str, width: int, D: int = 6, n: int = 10, **data) -> ShallowReLU:
    return ShallowReLU(cones(K, D, n, **data), torch.arange(K).repeat_interleave(n), K, width, loss)


def unit(theta: torch.Tensor) -> torch.Tensor:
    return theta / theta.norm(dim=-1, keepdim=True)


def pair_gap(model, theta) -> float:
    """Largest difference of the norms of a neuron pair."""
    W, V = model.unpack(theta)
    return float((W.norm(dim=-2) - V.norm(dim=-2)).abs().max())


def margin(X: np.ndarray) -> tuple[np.ndarray, float]:
    """Max-margin direction through the origin and its margin (Lawson and Hanson, chapter 23)."""
    E = np.vstack([X.T, np.ones(len(X))])
    f = np.eye(len(E))[-1]
    residual = E @ nnls(E, f)[0] - f
    w = -residual[:-1] / residual[-1]
    return w / np.linalg.norm(w), 1 / np.linalg.norm(w)


# --- Against closed forms and other integrators -------------------------------------------------


def two_points(a: float) -> tuple[ShallowReLU, torch.Tensor]:
    """Samples +1 and -1, one neuron each: m' = 2 m e^(-m) for the margin m = a^2 of both."""
    model = ShallowReLU(vector(1.0, -1.0)[:, None], [0, 1], 2, 2, "exponential")
    return model, model.pack(vector(a, -a)[None], vector(a, -a)[None])


def test_real_time_against_the_closed_form():
    """t = (Ei(m) - Ei(m_0)) / 2 and R = m - log 2; far out log Ei(m) = m - log m + log(1 + 1/m)."""
    model, theta = two_points(0.1)
    levels = [-0.5, 0.0, 3.0, 30.0, 600.0, 1e4]
    run = rescaled_flow(model, theta, levels)
    assert run.status == "finished"
    m = vector(*levels) + math.log(2)
    assert torch.allclose(model.unpack(run.final)[0].square(), m[-1], 1e-12)
    exact = [math.log((expi(x) - expi(0.01)) / 2) for x in m[:5].tolist()]
    far = m[5:] - torch.log(2 * m[5:]) + torch.log1p(1 / m[5:] + 2 / m[5:] ** 2)
    log_t = run.observables["log_t"]
    assert float((log_t - torch.cat([vector(*exact), far])).abs().max()) < 3e-6
    # The closed form of another start is found to be wrong.
    assert abs(float(log_t[0]) - math.log((expi(float(m[0])) - expi(0.04)) / 2)) > 0.1
    times = [0.0, 1e-9, *np.exp(exact[:3])]
    timed = timed_flow(model, theta, times)
    assert torch.allclose(timed.observables["R"][2:], vector(*levels[:3]), 1e-6, 1e-7)
    slow = 2 * 0.01 * math.exp(-0.01) * 1e-9  # m' at the start, for 1e-9
    gained = timed.observables["R"][1] - timed.observables["R"][0]
    assert float(gained) == pytest.approx(slow, abs=1e-15)


@pytest.mark.parametrize(("K", "loss"), [(2, "exponential"), (2, "logistic"), (3, "cross-entropy")])
def test_against_scipy_in_real_time(K, loss):
    """From a semi-local start no neuron switches, and the plain flow is smooth."""
    model = network(K, loss, 6, n=4)
    theta = model.semi_local_start(vector(0.3), [1], RUN)[0, 0]
    times = [0.1, 0.5, 2.0, 30.0]
    plain = solve_ivp(
        lambda _, y: model.field(torch.from_numpy(y)).numpy(),
        (0, times[-1]),
        theta.numpy(),
        "DOP853",
        times,
        rtol=1e-11,
        atol=1e-13,
    )
    exact = torch.from_numpy(plain.y.T)
    seen = timed_flow(model, theta, times, lambda z: {f"{i}": z[..., i] for i in range(5)})
    assert float((seen.final - exact[-1]).abs().max()) < 1e-6
    for i in range(5):
        assert torch.allclose(seen.observables[f"{i}"], exact[:, i], atol=1e-6)
    levels = (-model.log_loss(exact)).tolist()
    by_level = rescaled_flow(model, theta, levels)
    assert torch.allclose(by_level.observables["log_t"], vector(*times).log(), atol=1e-6)
    assert float((by_level.final - exact[-1]).abs().max()) < 1e-6
    assert not torch.allclose(exact[-2], exact[-1], atol=1e-2)


def test_the_error_follows_the_tolerance():
    model = network(3, "cross-entropy", 6)
    theta = model.semi_local_start(vector(1e-3), [0], RUN)[0]
    exact = rescaled_flow(model, theta, [DEEP], rtol=1e-11).final
    errors = []
    for rtol in (1e-4, 1e-6, 1e-8):
        run = rescaled_flow(model, theta, [DEEP], rtol=rtol)
        errors.append(float((unit(run.final) - unit(exact)).norm()))
        assert errors[-1] < rtol
    assert errors[0] > 30 * errors[1] > 900 * errors[2]


# --- The stabilised method ----------------------------------------------------------------------


@pytest.mark.parametrize("stages", [2, 3, 5, 20, 100])
def test_chebyshev_steps_are_stable_and_of_second_order(stages):
    """The step of z' = lam z is P(h lam): exp(x) to second order, below one on [-0.65 m^2, 0)."""
    method = methods.Chebyshev(vector(0.0))
    first, rows = methods.chebyshev_weights(stages)

    def growth(x):
        before, here = torch.zeros_like(x), first * x
        for mu, nu, mu_field, of_start in rows:
            push = mu_field * (1 + here) + of_start
            before, here = here, mu * here + nu * before + x * push
        return 1 + here

    x = -torch.linspace(1e-3, 0.65 * (stages**2 - 1), 4001, dtype=torch.float64)
    assert float(growth(x).abs().max()) < 1
    assert float(growth(-vector(0.75 * stages**2)).abs()) > 1
    small = vector(-1e-2, -5e-3)
    errors = (growth(small) - small.exp()).abs()
    assert float((errors[0] / errors[1]).log2()) == pytest.approx(3, abs=0.05)
    assert method.order == 3
    # A step is that polynomial to rounding, at the stages that the rate asks for.
    rate = (0.5 * stages**2) / 1.2
    z, h = vector(1.0, -2.0)[:, None], vector(1.0, 1.0)[:, None]
    method.direction = torch.full_like(z, rate)
    asked = 2 + math.ceil(math.sqrt(1 + 1.54 * 1.1 * rate)) - 1
    new = method.step(lambda z: (-rate * z, None), z, -rate * z, h)[0]
    first, rows = methods.chebyshev_weights(max(2, asked))
    torch.testing.assert_close(new / z, growth(vector(-rate)).expand(2, 1), rtol=1e-12, atol=1e-13)


def test_the_stabilised_method_agrees_with_the_other(monkeypatch):
    model = network(3, "cross-entropy", 6)
    theta = model.semi_local_start(vector(1e-3), [0, 1], RUN)[0]
    stable = rescaled_flow(model, theta, [10.0, 150.0])
    monkeypatch.setattr(module, "STIFF", math.inf)
    other = rescaled_flow(model, theta, [10.0, 150.0], rtol=1e-8)
    assert float((unit(stable.final) - unit(other.final)).norm(dim=-1).max()) < 1e-7
    difference = stable.observables["log_t"] - other.observables["log_t"]
    assert float(difference.abs().max()) < 1e-5


def test_far_out_the_stabilised_method_is_cheaper(monkeypatch):
    """From R = 1e3 to 2e3: an ordinary method takes a step for every few units of R."""
    model = network(3, "cross-entropy", 6)
    theta = model.semi_local_start(vector(1e-3), [0], RUN)[0]
    near = rescaled_flow(model, theta, [1e3], rtol=1e-5).final
    stable = rescaled_flow(model, near, [1e3, 2e3], rtol=1e-5)
    monkeypatch.setattr(module, "STIFF", math.inf)
    other = rescaled_flow(model, near, [1e3, 2e3], rtol=1e-5)
    assert other.statistics["evaluations"] > 3 * stable.statistics["evaluations"]
    assert float((unit(stable.final) - unit(other.final)).norm()) < 1e-6


# --- Kinks --------------------------------------------------------------------------------------


def heun(model, theta, step: float, level: float) -> torch.Tensor:
    """Tiny steps of Heun's method until R = level, the last one shortened to it linearly."""
    R = -model.log_loss(theta)
    while True:
        slope = model.rescaled_field(theta)
        new = theta + step / 2 * (slope + model.rescaled_field(theta + step * slope))
        R_new = -model.log_loss(new)
        if float(R_new) >= level:
            return theta + (new - theta) * ((level - R) / (R_new - R))
        theta, R = new, R_new


def arcs(low: float, high: float, n: int = 16) -> torch.Tensor:
    """n/2 unit vectors a class, at angles of +-[low, high] degrees."""
    angle = torch.deg2rad(torch.linspace(low, high, n // 2, dtype=torch.float64))
    angle = torch.cat([angle, -angle])
    return torch.stack([angle.cos(), angle.sin()], -1)


def not_apart(width: int = 40) -> ShallowReLU:
    return ShallowReLU(arcs(20, 60), [0] * 8 + [1] * 8, 2, width, "logistic")


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest relative distance of the states of runs."""
    return float(((one - other).norm(dim=-1) / one.norm(dim=-1)).max())


def test_the_error_follows_the_tolerance_where_neurons_slide():
    """At three levels; tiny steps of another method come nearer to it at first order."""
    model = not_apart()
    theta = model.semi_local_start(vector(1e-3), range(3), RUN)[0]
    levels = [5.0, 20.0, 50.0]
    exact = rescaled_states(model, theta, levels, rtol=1e-9)
    for rtol in (1e-5, 1e-7):
        found = rescaled_states(model, theta, levels, rtol=rtol)
        assert max(map(gap, exact, found)) < 10 * rtol
    coarse, fine = (heun(model, theta[0], step, 5.0) for step in (8e-3, 2e-3))
    assert gap(exact[0][0], fine) < 8e-5
    assert gap(exact[0][0], coarse) > 2 * gap(exact[0][0], fine)


def test_on_opposed_classes_features_end_on_a_ray_by_sliding():
    """Each neuron comes to the hyperplane of the nearest sample of the other class and stays."""
    model = not_apart()
    theta = model.semi_local_start(vector(1e-3), range(3), RUN)[0]
    run = rescaled_flow(model, theta, [50.0])
    assert (run.status == "finished").all()
    assert (run.statistics["slides"] >= model.width).all()
    W, _ = model.unpack(run.final)
    assert torch.allclose(torch.atan2(W[:, 1], W[:, 0]).abs(), vector(math.radians(70)), 0, 1e-12)
    features = model.features(run.final).unflatten(-2, (2, 8))
    # Proportional to one another, and orthogonal to the other class's.
    assert float(torch.linalg.svdvals(unit(features))[..., 1].max()) < 1e-12
    assert float((features[:, 0] @ features[:, 1].mT).abs().max()) < 1e-12


def test_a_slide_that_ends_in_closed_form():
    """Two balanced neurons on two samples at 60 degrees; df/dt = 2 m f exp(-f) while both slide.

    Neuron 0 leaves, alpha = 1, when ``|f_1| - f_0 = log(|x_1|^2 / <x_0, x_1>) = log 2.4``.
    """
    turn = math.radians(60)
    X = torch.stack([vector(1.0, 0.0), 1.2 * vector(math.cos(turn), math.sin(turn))])
    model = ShallowReLU(X, [0, 1], 2, 2, "exponential")
    directions = torch.stack([vector(math.sin(turn), -math.cos(turn)), vector(0.0, 1.0)], -1)
    f, m = vector(0.002, 0.2), vector(math.sin(turn), 1.2 * math.sin(turn))
    size = (f / m).sqrt()
    theta = model.pack(directions * size, (size * vector(1.0, -1.0))[None])

    def both(t: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 2 * m.numpy() * y * np.exp(-y)

    plain = solve_ivp(
        both, (0, 9), f.numpy(), "DOP853", rtol=1e-12, atol=1e-14, events=leaves, dense_output=True
    )
    f_end = plain.y_events[0][0]
    R_end = -math.log(np.exp(-f_end).sum())
    assert (f_end[0], R_end) == pytest.approx((0.0148095838, -0.3334971105), abs=1e-9)
    before, after = R_end - 1e-6, R_end + 1e-4
    last = plain.t_events[0][0]
    then = brentq(lambda t: math.log(np.exp(-plain.sol(t)).sum()) + before, last - 1, last)
    for rtol in (1e-6, 1e-9):
        run = rescaled_flow(model, theta, [before], rtol=rtol)
        assert run.statistics["slides"] == 2 and run.statistics["events"] == 2
        margins = (model.outputs(run.final).squeeze(-1) * vector(1.0, -1.0)).numpy()
        assert margins == pytest.approx(plain.sol(then), abs=max(rtol, 1e-8))
        assert rescaled_flow(model, theta, [after], rtol=rtol).statistics["events"] == 3


def leaves(t: float, y: np.ndarray) -> float:
    return y[1] - y[0] - math.log(2.4)


leaves.terminal = True


@pytest.mark.parametrize(
    ("K", "D", "n", "width", "level", "loss"),
    [(2, 6, 16, 20, 5.0, "logistic"), (3, 3, 12, 12, -1.6, "cross-entropy")],
)
def test_plain_gaussian_data(K, D, n, width, level, loss):
    """Hundreds of events a run, several slides on a neuron: the tolerance holds all the same."""
    X = torch.randn(3, n, D, generator=generator(5), dtype=torch.float64)
    model = ShallowReLU(X, torch.arange(n) % K, K, width, loss)
    theta = model.balanced_start(vector(1e-2), range(3), RUN)[0]
    exact = rescaled_flow(model, theta, [level], rtol=1e-8)
    run = rescaled_flow(model, theta, [level], rtol=1e-6)
    done = run.status == "finished"  # the others stand still where they do not fit all samples
    assert done.sum() >= 2 and set(run.status) <= {"finished", "converged"}
    assert (run.statistics["slides"] > 10).all()
    assert gap(exact.final[done], run.final[done]) < 2e-5
    W, V = model.unpack(run.final)
    sizes = W.square().sum(-2), V.square().sum(-2)
    assert float(((sizes[0] - sizes[1]).abs() / sizes[0]).max()) < 1e-5, "balance is kept"


def test_samples_on_one_line_share_a_kink():
    """x, 2 x and -y, y: they switch together, and tiny steps of another method agree."""
    X = torch.tensor([[1.0, 0.2], [2.0, 0.4], [-0.3, 1.0], [0.3, -1.0], [0.5, 0.9]]).double()
    model = ShallowReLU(X, [0, 0, 1, 0, 1], 2, 10, "logistic")
    theta = model.balanced_start(vector(1e-1), range(3), RUN)[0]
    run = rescaled_flow(model, theta, [0.0], rtol=1e-8)
    assert (run.status == "finished").all() and int(run.statistics["slides"].sum()) > 0
    coarse, fine = (heun(model, theta[0], step, 0.0) for step in (4e-3, 1e-3))
    assert gap(run.final[0], fine) < 1e-4
    assert gap(run.final[0], coarse) > 2 * gap(run.final[0], fine)


def test_the_pivots_solve_the_least_norm_problem():
    """Of one neuron at a point where k kinks meet, against SciPy's bounded least squares."""
    D, k = 6, 4
    for seed in range(20):
        g = generator(seed)
        X = torch.randn(k + 6, D, generator=g, dtype=torch.float64)
        w = torch.randn(D, generator=g, dtype=torch.float64)
        across, _ = torch.linalg.qr(X[:k].T)
        w = w - across @ (across.T @ w)
        # The samples on kinks repel (they are of the other class); some of the others pull.
        model = ShallowReLU(X, [1] * k + [0] * 6, 2, 1, "exponential")
        theta = model.pack(w[:, None], vector(1.0)[:, None])
        start = theta.unsqueeze(0)
        modes = module.Kinks(model, start, 1e-7)
        size = start.norm(dim=-1, keepdim=True)
        here = modes.here(start)
        for count in range(module.PIVOTS):
            wrong = modes.wrong(here, modes.past(start, here), size)
            if not bool(wrong.any()):
                break
            start, *_ = modes.pivot(start, here, wrong, count == 0)
            here = modes.here(start)
        pull = here.pull[0, :, 0]
        on = (X @ w > 1e-9).double()
        fixed = X.T @ (pull * on)
        best = lsq_linear(
            (X[:k] * pull[:k, None]).T.numpy(), -fixed.numpy(), (0, 1), "bvls", tol=1e-14
        )
        found = model.unpack(here.slope)[0][0, :, 0].numpy()
        residual = fixed.numpy() + (X[:k] * pull[:k, None]).T.numpy() @ best.x
        assert found == pytest.approx(residual, abs=1e-12)


@pytest.mark.parametrize("k", [3, 4, 5])
def test_pivots_end_at_a_start_on_several_kinks(k):
    """Among so many, going from side to side at once would cycle in some."""
    g, runs = generator(k), 3000
    U = torch.randn(runs, k, k, generator=g, dtype=torch.float64)
    U += 2 * torch.rand(runs, 1, 1, generator=g) * torch.randn(runs, 1, k, generator=g)
    U /= U.norm(dim=-1, keepdim=True)
    size = torch.randn(runs, k, 1, generator=g, dtype=torch.float64).exp()
    share = 1.4 * torch.rand(runs, k, 1, generator=g, dtype=torch.float64) - 0.2
    X = torch.zeros(runs, k + 1, k + 1, dtype=torch.float64)
    X[:, :k, :k], X[:, k, :k] = size * U, (share * size * U).sum(-2)
    X[:, k, k] = 1
    model = ShallowReLU(X, [1] * k + [0], 2, 1, "exponential")
    theta = torch.zeros(runs, k + 2, dtype=torch.float64)
    theta[:, k], theta[:, k + 1] = 1e-6, 1.0
    level = float(-model.log_loss(theta).min()) + 1e-6
    run = rescaled_flow(model, theta, [level], rtol=1e-5)
    assert set(run.status) <= {"finished", "converged"}


def test_a_slide_ends_where_the_output_weight_passes_zero():
    """The jump, its share and what counts as past it all vanish there."""
    X = torch.tensor([[1.0, 0.0], [-0.5, 1.0], [0.0, -1.0]], dtype=torch.float64)
    model = ShallowReLU(X, [1, 1, 0], 2, 1, "logistic")
    theta = model.pack(vector(0.0, 1.0)[:, None], vector(0.1)[:, None])
    times = [0.05, 0.5, 2.0]
    run = timed_flow(model, theta, times, rtol=1e-7, max_steps=2000)
    assert run.status == "finished"
    fine = timed_flow(model, theta, times, rtol=1e-10, max_steps=4000)
    assert gap(fine.final, run.final) < 1e-5


def test_a_neuron_that_comes_and_goes_within_a_step_is_seen():
    """g = (x - 1/2)^2 - 0.02 is below zero between 0.36 and 0.64 alone."""
    ends = (vector(0.23), vector(0.23), vector(-1.0), vector(1.0))
    lowest = kinks._lowest(*ends)
    assert float(lowest) == pytest.approx(0.5)
    assert float(kinks._first_root(*ends, lowest)) == pytest.approx(0.5 - 0.02**0.5, abs=1e-4)


def test_marks_within_what_an_event_adds_to_R(monkeypatch):
    """An event moves the state in its window: two marks that R passes so are both recorded."""
    model = network(3, "cross-entropy", 9, n=4)
    theta = model.balanced_start(vector(0.5), [4], RUN)[0]
    jumps, pivot = [], kinks.Kinks.pivot

    def seen(self, theta, here, *rest):
        moved, *counts = pivot(self, theta, here, *rest)
        jumps.append((float(here.R), float(-model.log_loss(moved))))
        return moved, *counts

    monkeypatch.setattr(kinks, "WINDOW", 10.0)
    monkeypatch.setattr(kinks.Kinks, "pivot", seen)
    rescaled_flow(model, theta, [3.0], rtol=1e-3)
    low, high = max(jumps, key=lambda jump: jump[1] - jump[0])
    assert high - low > 1e-6
    levels = [low + (high - low) / 3, low + (high - low) / 2, 3.0]
    run = rescaled_flow(model, theta, levels, rtol=1e-3)
    assert run.status == "finished"
    assert torch.allclose(run.observables["R"], vector(*levels), 0, high - low)


def test_a_time_far_below_all_others_is_no_underflow():
    model, theta = two_points(0.1)
    assert timed_flow(model, theta, [0.0, 1e-20, 1e-3]).status == "finished"


def test_a_smooth_path_has_no_events():
    model = network(3, "cross-entropy", 6)
    theta = model.semi_local_start(vector(1e-3), [0, 1], RUN)[0]
    assert rescaled_flow(model, theta, [3.0]).statistics["events"].max() == 0


def test_a_kink_without_a_way_on_is_said(monkeypatch):
    monkeypatch.setattr(module, "PIVOTS", 0)
    model = not_apart(4)
    theta = model.semi_local_start(vector(1e-3), [0], RUN)[0]
    with pytest.warns(UnresolvedWarning, match="1 of 1"):
        run = rescaled_flow(model, theta, [20.0])
    assert run.status.tolist() == ["unresolved"]
    assert run.observables["R"].isnan().any()


# --- Records and batches ------------------------------------------------------------------------


def test_records_are_at_their_levels():
    model = network(3, "cross-entropy", 6)
    theta = model.semi_local_start(vector(1e-1, 1e-6), [0, 1], RUN)
    levels = [-3.35, -3.0, -1.0, -1.0 + 1e-9, 0.0, 0.1, 39.99, 40.0, 41.0, 300.0]
    run = rescaled_flow(model, theta, levels)
    assert run.times.tolist() == levels
    assert run.final.shape == theta.shape and run.status.shape == (2, 2)
    assert (run.status == "finished").all()
    assert run.observables["log_t"].shape == (2, 2, 10)
    error = (run.observables["R"] - vector(*levels)).abs() / vector(*levels).abs().clamp_min(1)
    assert float(error.max()) < 2e-11
    assert (run.observables["log_t"].diff() > 0).all()
    # The first level may be the start itself.
    again = rescaled_flow(model, run.final, [float(-model.log_loss(run.final).max()), 310.0])
    assert (again.status == "finished").all()
    few = rescaled_flow(model, theta, levels[-1:])
    assert float((unit(few.final) - unit(run.final)).norm(dim=-1).max()) < 1e-6


def test_a_landing_at_the_edge_of_what_counts_is_one(monkeypatch):
    """Where a few units in the last place count, whether one does is rounding."""
    monkeypatch.setattr(module, "SAVE_RTOL", 1.5)
    model, theta = two_points(0.1)
    levels = np.linspace(0.1, 60, 200).tolist()
    run = rescaled_flow(model, theta, levels, rtol=1e-3)
    assert run.status == "finished"
    assert torch.allclose(run.observables["R"], vector(*levels), 1e-14, 1e-14)


def test_states_are_kept_at_their_levels():
    model, levels = network(3, "cross-entropy", 6), [0.0, 3.0, 20.0]
    theta = model.semi_local_start(vector(1e-2), [0, 1], RUN)
    states = rescaled_states(model, theta, levels)
    assert states.shape == (3, 1, 2, model.size)
    for level, state in zip(levels, states, strict=True):
        assert torch.allclose(-model.log_loss(state), vector(level), 0, 1e-10)
        whole = rescaled_flow(model, theta, [level]).final
        assert float((unit(state) - unit(whole)).norm(dim=-1).max()) < 1e-6
    assert float((unit(states[1]) - unit(states[2])).norm(dim=-1).min()) > 1e-3
    with pytest.raises(ValueError, match="at least one"):
        rescaled_states(model, theta, [])


def test_the_start_is_recorded_at_time_zero():
    model, theta = two_points(0.1)
    before = theta.clone()
    run = timed_flow(model, theta, [0.0], lambda z: {"w": z[..., 0]})
    assert run.observables["w"].tolist() == [0.1]
    assert torch.equal(run.final, before) and torch.equal(theta, before)


def test_a_run_does_not_depend_on_its_neighbours():
    model = network(3, "cross-entropy", 6)
    theta = model.balanced_start(vector(1e-3), range(5), RUN)[0]
    together = rescaled_flow(model, theta, [0.0, 20.0])
    for r in (0, 4):
        alone = rescaled_flow(model, theta[r], [0.0, 20.0])
        assert float((alone.final - together.final[r]).abs().max()) < 1e-8
        assert alone.statistics["steps"] == together.statistics["steps"][r]


def test_one_data_set_a_run():
    X = torch.stack([cones(3, 6, 4, seed=s) for s in range(3)])
    labels = torch.arange(3).repeat_interleave(4)
    model = ShallowReLU(X, labels, 3, 6, "cross-entropy")
    theta = model.balanced_start(vector(1e-2, 1e-4), range(3), RUN)
    together = rescaled_flow(model, theta, [0.0, 100.0])
    for s in range(3):
        alone = ShallowReLU(X[s], labels, 3, 6, "cross-entropy")
        run = rescaled_flow(alone, theta[:, s], [0.0, 100.0])
        assert run.status.tolist() == together.status[:, s].tolist()
        assert float((unit(run.final) - unit(together.final[:, s])).norm(dim=-1).max()) < 1e-6
    assert float((unit(together.final[0, 0]) - unit(together.final[0, 1])).norm()) > 0.1


@pytest.mark.parametrize("device", available_devices())
def test_every_device_runs_the_same_flow(device):
    run = start(device)
    exact = network(3, "cross-entropy", 6)
    here = ShallowReLU(run.tensor(exact.X), exact.y, 3, 6, exact.loss)
    theta = exact.semi_local_start(vector(1e-3), [0, 1], RUN)
    moved = rescaled_flow(here, run.tensor(theta), [0.0, 100.0])
    reference = rescaled_flow(exact, theta, [0.0, 100.0])
    assert moved.final.device.type == device
    near = 1e-7 if run.dtype == torch.float64 else 1e-4
    assert gap(unit(reference.final), unit(moved.final.cpu().double())) < near


@pytest.fixture(scope="module")
def in_double():
    """A network, its starts, and where the flow takes them."""
    exact = network(3, "cross-entropy", 18)
    theta = exact.balanced_start(vector(1e-2), range(4), RUN)[0]
    return exact, theta, rescaled_flow(exact, theta, [200.0]).final


@pytest.mark.parametrize("rtol", [None, 1e-3, 3e-6])
def test_single_precision(rtol, in_double):
    """Every run ends, at its level, and as in double precision to the tolerance."""
    exact, theta, reference = in_double
    model = ShallowReLU(exact.X.float(), exact.y, 3, 18, exact.loss)
    run = rescaled_flow(model, theta.float(), [1.0, 30.0, 200.0], rtol=rtol)
    assert (run.status == "finished").all() and run.final.dtype == torch.float32
    assert (run.statistics["events"] > 0).all()
    level = run.observables["R"][:, -1].double()
    assert torch.allclose(level, vector(200.0), 2e-5)
    assert gap(reference, run.final.double()) < (100 * rtol if rtol else 1e-3)
    with pytest.raises(ValueError, match="float32 can hold"):
        rescaled_flow(model, theta.float(), [1.0], rtol=1e-7)


def test_every_ending_in_one_batch():
    """Finished, converged where a class has no neuron, diverged, and out of steps."""
    model, good = two_points(0.1)
    one_sided = model.pack(vector(0.1, 0.1)[None], vector(0.1, 0.1)[None])
    theta = torch.stack([good, one_sided, torch.full_like(good, torch.nan)])
    run = rescaled_flow(model, theta, [-0.5, -1e-3, 5.0], lambda z: {"w": z[..., 0]})
    assert run.status.tolist() == ["finished", "converged", "diverged"]
    # The sample at -1 keeps its loss of 1, so R cannot pass 0.
    assert -1e-3 < run.observables["R"][1, 2] <= 0
    assert run.observables["w"][1, 2] == run.final[1, 0]
    assert run.observables["R"][2].isnan().all()
    assert run.observables["R"][0].isfinite().all()
    spent = rescaled_flow(model, good, [-0.5, 5.0], max_steps=10)
    assert spent.status == "out of steps" and spent.observables["R"][1].isnan()
    assert rescaled_flow(model, theta[:0], [5.0]).status.shape == (0,)


@pytest.mark.parametrize(
    ("levels", "options", "words"),
    [
        ([], {}, "increase"),
        ([1.0, 1.0], {}, "increase"),
        ([1.0, math.inf], {}, "finite"),
        ([-5.0, 1.0], {}, "R only increases"),
        ([1.0], {"rtol": 0.0}, "positive"),
        ([1.0], {"rtol": 1e-16}, "float64 can hold"),
        ([1.0], {"max_steps": 0}, "positive"),
    ],
)
def test_wrong_arguments_are_named(levels, options, words):
    with pytest.raises(ValueError, match=words):
        rescaled_flow(*two_points(0.1), levels, **options)


def test_wrong_times_are_named():
    with pytest.raises(ValueError, match="increase from 0"):
        timed_flow(*two_points(0.1), [-1.0])


# --- What the paper says of it ------------------------------------------------------------------


@pytest.fixture(scope="module")
def deep():
    """K = 3, D = 6, h = 18, eps = 1e-3, to L = 1e-12 and on to R = 1000."""
    model = network(3, "cross-entropy", 18)
    theta = model.semi_local_start(vector(1e-3), range(3), RUN)[0]
    return model, theta, rescaled_flow(model, theta, [DEEP]).final


def test_balancedness_is_kept(deep):
    model, theta, final = deep
    assert pair_gap(model, theta) < 1e-15
    assert pair_gap(model, final) < 1e-11
    tilted = model.random_start(vector(1e-3), [0], RUN)[0]
    assert pair_gap(model, rescaled_flow(model, tilted, [3.0]).final) > 1e-6


def test_features_of_different_classes_are_orthogonal_to_the_last_bit(deep):
    model, _, final = deep
    assert model.separated(final).all() and model.covered(final).all()

    def products(state):
        means = model.features(state).unflatten(-2, (3, -1)).mean(-2)
        return (means @ means.mT)[:, ~torch.eye(3, dtype=torch.bool)]

    assert float(products(final).abs().max()) == 0
    crossing = model.balanced_start(vector(1e-3), [0], RUN)[0]
    assert float(products(crossing).abs().max()) > 0


def test_dead_neurons_never_move():
    """Bit for bit, through both methods, while the others do."""
    X = torch.tensor([[1.0, 0.2], [0.7, 0.5], [-1.0, 0.1], [-1.2, 0.4]], dtype=torch.float64)
    model = ShallowReLU(X, [0, 0, 1, 1], 2, 40, "exponential")
    theta = model.balanced_start(vector(1e-4), [0], RUN)[0]
    dead = model.dead(theta)[0]
    assert 0 < int(dead.sum()) < 40
    final = rescaled_flow(model, theta, [0.0, 200.0]).final
    before, after = model.unpack(theta)[0][0], model.unpack(final)[0][0]
    assert torch.equal(before[:, dead], after[:, dead])
    assert torch.equal(model.unpack(theta)[1][0][:, dead], model.unpack(final)[1][0][:, dead])
    assert (before[:, ~dead] != after[:, ~dead]).all()


def within_class_angle(model, theta) -> torch.Tensor:
    """Largest sine of the angle between a sample's feature and its class mean."""
    features = model.features(theta).unflatten(-2, (model.K, -1))
    means = features.mean(-2, keepdim=True)
    means = means / means.norm(dim=-1, keepdim=True)
    off = features - (features * means).sum(-1, keepdim=True) * means
    return (off.norm(dim=-1) / features.norm(dim=-1)).flatten(-2).max(-1).values


def test_the_within_class_angle_is_proportional_to_the_start():
    model = network(3, "cross-entropy", 18)
    eps = vector(1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
    theta = model.semi_local_start(eps, [0], RUN)
    angle = within_class_angle(model, rescaled_flow(model, theta, [DEEP]).final)[:, 0]
    slopes = angle.log10().diff() / eps.log10().diff()
    assert float((slopes - 1).abs().max()) < 0.02
    assert float(angle[2]) > 1e-6, "the features are no ray yet"


def test_scales_of_the_classes(deep):
    """c s_k^2 gamma_k / R -> 1, where s_k^2 = sum of the ||w_j|| ||v_j|| of the class."""
    model, _, final = deep
    far = rescaled_flow(model, final, [1e3], rtol=1e-5).final
    W, V = model.unpack(far)
    groups = model.groups(far)
    size = W.norm(dim=-2) * V.norm(dim=-2)
    for k in range(3):
        u, gamma = margin(model.X[model.y == k].numpy())
        s_squared = (size * (groups == k)).sum(-1)
        ratio = model.label_scale * s_squared * gamma / 1e3
        assert float((ratio - 1).abs().max()) < 0.01
        w = unit((W * (groups == k).unsqueeze(-2) * V.norm(dim=-2, keepdim=True)).sum(-1))
        assert float((w @ torch.from_numpy(u)).min()) > 0.99
        # Another class's margin does not fit.
        other = margin(model.X[model.y == (k + 1) % 3].numpy())[1]
        assert float((ratio * other / gamma - 1).abs().min()) > 0.02


@pytest.mark.parametrize("eps", [1e-4, 1e-8])
def test_the_alignment_window_of_tiny_starts(eps):
    """Over Lemma 2's window norms keep within its bound, and the loss hardly moves."""
    model = network(2, "exponential", 10, D=2, n=4)
    n, h, X_max = 8, 10, float(model.X.norm(dim=-1).max())
    T = math.log(1 / (math.sqrt(h) * eps)) / (4 * n * X_max)

    def seen(z):
        W, _ = model.unpack(z)
        f = model.outputs(z).abs().amax(dim=(-2, -1))
        return {"w": W.square().sum(-2).max(-1).values, "f": f}

    theta = model.balanced_start(vector(eps), range(4), RUN)[0]
    run = timed_flow(model, theta, np.linspace(0, T, 5), seen)
    assert (run.status == "finished").all()
    assert (run.observables["w"] <= 2 * eps / math.sqrt(h)).all()
    assert (run.observables["f"] <= 2 * eps * X_max * math.sqrt(h)).all()
    assert (run.observables["w"][:, -1] > 2 * run.observables["w"][:, 0]).all()
    # The same flow scaled: while outputs are negligible it is linear in (w, v).
    half = timed_flow(model, theta / 2, np.linspace(0, T, 5)).final
    assert torch.allclose(2 * half, run.final, 1e-3, 1e-3 * eps)
    much_later = timed_flow(model, theta, [100 * T], seen)
    assert (much_later.observables["w"] > 2 * eps / math.sqrt(h)).all()
