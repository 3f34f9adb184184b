"""The rank-one flow of one class: exact on its set, near the full flow, right far out."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.special import expi

from ncbook.dynamics import rank_one as module
from ncbook.dynamics.rank_one import class_flow, class_paths, class_weights
from ncbook.dynamics.rescaled import rescaled_flow
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
CASES = [(2, "exponential"), (2, "logistic"), (3, "cross-entropy"), (4, "cross-entropy")]


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def unit(w: torch.Tensor) -> torch.Tensor:
    return w / w.norm(dim=-1, keepdim=True)


def network(K: int, loss: str, n: int = 6, D: int = 5, width: int = 8, seed: int = 0):
    """Narrow cones around the directions of the simplex, with unequal radii."""
    g = generator(seed)
    centre = torch.eye(K, D, dtype=torch.float64)
    centre[:, :K] -= 1 / K
    noise = torch.randn(K, n, D, generator=g, dtype=torch.float64)
    radius = 0.7 + torch.rand(K, n, 1, generator=g, dtype=torch.float64)
    X = radius * unit(unit(centre)[:, None] + 0.1 * noise)
    return ShallowReLU(X.flatten(0, 1), torch.arange(K).repeat_interleave(n), K, width, loss)


def margin(X: np.ndarray) -> tuple[np.ndarray, float]:
    """Max-margin direction through the origin and its margin (Lawson and Hanson, chapter 23)."""
    E = np.vstack([X.T, np.ones(len(X))])
    f = np.eye(len(E))[-1]
    residual = E @ nnls(E, f)[0] - f
    w = -residual[:-1] / residual[-1]
    return w / np.linalg.norm(w), 1 / np.linalg.norm(w)


def one_class(model: ShallowReLU, k: int) -> ShallowReLU:
    own = model.y == k
    return ShallowReLU(model.X[own], model.y[own], model.K, model.width, model.loss)


def lifted(model: ShallowReLU, k: int, w: torch.Tensor) -> torch.Tensor:
    """The full state w_j = a_j w, v_j = a_j ||w|| e~_k with unequal a_j, sum a_j^2 = 1."""
    a = unit(torch.arange(1.0, model.width + 1, dtype=torch.float64))
    return model.pack(w[:, None] * a, w.norm() * model.pseudo_labels[:, k, None] * a)


def flow_of(model: ShallowReLU, k: int):
    others = 1 if model.outputs_size == 1 else model.K - 1
    return module._ClassFlow(model.X[model.y == k].numpy(), model.label_scale, model.loss, others)


# --- On the rank-one set ------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "loss"), CASES)
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_it_is_the_full_flow_on_the_rank_one_set(K, loss, size):
    model = network(K, loss)
    k = K - 1
    alone = one_class(model, k)
    w = size * unit(alone.X.mean(0) + 0.1 * alone.X[0])
    theta = lifted(alone, k, w)
    log_L, ascent = alone.log_loss_and_rescaled_field(theta)
    along_R = ascent / ascent.square().sum()
    flow = flow_of(model, k)
    margins = flow.margins(w.numpy())
    R, p = flow.level(margins), 0.3
    assert pytest.approx(-float(log_L), abs=1e-12) == R
    rate = torch.from_numpy(flow.field(R, np.concatenate([w.numpy(), margins - R, [p]])))
    dw = rate[: model.D]
    a = unit(torch.arange(1.0, model.width + 1, dtype=torch.float64))
    r, dr = w.norm(), w @ dw / w.norm()
    expected = alone.pack(dw[:, None] * a, dr * alone.pseudo_labels[:, k, None] * a)
    assert float((along_R - expected).norm() / along_R.norm()) < 1e-12
    # The excess margins by the chain rule.
    of_margins = model.label_scale * (dr * (alone.X @ w) + r * (alone.X @ dw)) - 1
    assert torch.allclose(rate[model.D : -1], of_margins, 1e-10, 1e-12)
    # Time: q' = 1 / ||grad R||^2 - q for q = p / (c r)^2.
    q = p / (model.label_scale * r) ** 2
    dq = rate[-1] / (model.label_scale * r) ** 2 - 2 * q * dr / r
    assert float(dq) == pytest.approx(float(1 / ascent.square().sum() - q), rel=1e-10)
    # Off the set it is not: an unbalanced state moves otherwise.
    W, V = alone.unpack(theta)
    off = alone.rescaled_field(alone.pack(1.3 * W, V / 1.3))
    assert float((off / off.square().sum() - along_R).norm() / along_R.norm()) > 1e-2


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_the_jacobian_is_the_derivative(K, loss):
    model = network(K, loss)
    flow = flow_of(model, 0)
    w = 1.5 * unit(model.X[0] + model.X[1]).numpy()
    margins = flow.margins(w)
    R = flow.level(margins)
    state = np.concatenate([w, margins - R, [0.4]])
    steps = 1e-5 * np.eye(len(state))
    differences = np.array(
        [(flow.field(R, state + d) - flow.field(R, state - d)) / 2e-5 for d in steps]
    ).T
    J = flow.jacobian(R, state)
    assert np.abs(J - differences).max() < 1e-8 * np.abs(J).max()
    elsewhere = flow.jacobian(R, state + 0.1)
    assert np.abs(elsewhere - differences).max() > 1e-3 * np.abs(J).max()


def test_a_level_that_is_the_start_has_the_time_zero_and_its_observables():
    """Two samples of a class, so that R at the start is no round number."""
    X = vector(1.0, 0.2, 0.7, 0.5, -1.0, 0.1).view(3, 2)
    model = ShallowReLU(X, [0, 0, 1], 2, 2, "logistic")
    w = vector(0.4, 0.3)
    R = float(
        -model.class_log_losses(model.on_rays(torch.stack([w, -w]), torch.eye(2).double()))[0]
    )
    for level in (R, math.nextafter(R, -1), math.nextafter(R, 1)):
        run = class_flow(model, 0, w, [level, R + 1], lambda w: {"w": w[..., 0]})
        assert run.observables["w"][0] == pytest.approx(0.4, abs=1e-8)
        assert float(run.observables["log_t"][0]) < -30
        assert run.observables["log_t"][1].isfinite()


def test_one_sample_against_the_closed_form():
    """m = w^2, m' = 2 m e^(-m): R = m and t = (Ei(m) - Ei(m_0)) / 2."""
    model = ShallowReLU(vector(1.0, -1.0)[:, None], [0, 1], 2, 2, "exponential")
    levels = [0.01, 0.5, 3.0, 30.0, 600.0, 1e4, 1e8]
    run = class_flow(model, 0, vector(0.1), levels, lambda w: {"w": w[..., 0]})
    assert run.status == "finished"
    assert torch.allclose(run.observables["w"].square(), vector(*levels), 1e-7)
    exact = vector(*(math.log((expi(m) - expi(0.01)) / 2) for m in levels[1:5]))
    assert torch.allclose(run.observables["log_t"][1:5], exact, atol=1e-7)
    beside = class_flow(model, 0, vector(0.1), [0.01 + 1e-6], lambda w: {"w": w[..., 0]})
    assert beside.observables["log_t"] == pytest.approx(math.log(1e-6 / 0.02), abs=1e-2)
    m = vector(*levels[5:])
    far = m - torch.log(2 * m) + torch.log1p(1 / m + 2 / m**2)
    assert float((run.observables["log_t"][5:] - far).abs().max()) < 1e-6
    later = class_flow(model, 0, vector(0.1), [0.5], log_t=vector(0.0).squeeze())
    assert float(later.observables["log_t"].exp()) == pytest.approx(1 + float(exact[0].exp()))


# --- Beside the full flow -----------------------------------------------------------------------


@pytest.mark.parametrize(("K", "loss"), CASES[:3])
def test_beside_the_full_flow(K, loss):
    """From R = 10 to 250: the distance is of the order of eps^2, whatever the loss."""
    model = network(K, loss)
    distance = {}
    for eps in (0.1, 0.01):
        theta = model.semi_local_start(vector(eps), [0], RUN)[0, 0]
        near = rescaled_flow(model, theta, [10.0], rtol=1e-8)
        far = rescaled_flow(model, near.final, [250.0], rtol=1e-7)
        assert model.separated(near.final)
        exact, level = class_weights(model, far.final), -model.class_log_losses(far.final)
        log_t = near.observables["log_t"][-1]
        worst = 0.0
        for k in range(K):
            start = class_weights(model, near.final)[k]
            run = class_flow(model, k, start, [float(level[k])], log_t=log_t)
            worst = max(worst, float((run.final - exact[k]).norm() / exact[k].norm()))
            # The full flow's clock starts anew at R = 10.
            later = np.logaddexp(float(far.observables["log_t"][-1]), float(log_t))
            assert float(run.observables["log_t"][0]) == pytest.approx(later, abs=1e-4)
        distance[eps] = worst
        # Another class ends elsewhere.
        assert float((unit(exact[0]) - unit(exact[1])).norm()) > 0.1
    assert distance[0.01] < 1e-7
    assert distance[0.1] < 1e-2 and distance[0.1] > 10 * distance[0.01]


def test_class_weights_keep_the_outputs():
    model = network(3, "cross-entropy")
    theta = rescaled_flow(model, model.semi_local_start(vector(1e-2), range(2), RUN), [5.0]).final
    w = class_weights(model, theta)
    assert w.shape == (1, 2, 3, 5)
    f = model.outputs(theta) @ model.pseudo_labels  # along each e~_k
    for k in range(3):
        own = model.y == k
        of_class = w[..., k, :].norm(dim=-1, keepdim=True) * (w[..., k, :] @ model.X[own].T)
        assert torch.allclose(of_class, f[..., own, k], 1e-12)
    # Only the neurons that serve the class count: the dead do not.
    W, V = model.unpack(theta.clone())
    W[..., 0], V[..., 0] = -W[..., 0], 100 * V[..., 0]
    changed = class_weights(model, model.pack(W, V))
    group = model.groups(theta)[0, 0, 0]
    assert not torch.allclose(changed[0, 0, group], w[0, 0, group], 1e-3)
    only = class_weights(model, model.pack(W, torch.zeros_like(V)))
    assert float(only.abs().max()) == 0 and only.isfinite().all()


# --- Far out ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("K", "loss"), CASES)
def test_proposition_2_to_R_of_1e8(K, loss):
    """Scale, direction and time, with the constant A of the direction's error A / sqrt(R)."""
    model = network(K, loss, seed=K)
    X = model.X[model.y == 0]
    u, gamma = margin(X.numpy())
    u, c = torch.from_numpy(u), model.label_scale
    supports = X[(X @ u < gamma * (1 + 1e-9))]
    beyond = torch.eye(model.D) - torch.linalg.pinv(supports) @ supports
    assert 0 < len(supports) < model.D

    def seen(w):
        direction = unit(w)
        return {
            "perp": (w @ beyond).norm(dim=-1),
            "angle": (direction - (direction @ u).unsqueeze(-1) * u).norm(dim=-1),
            "scale": c * w.square().sum(-1) * gamma,
        }

    w = 2 * unit(X.mean(0))
    levels = [1e5, 1e6, 1e8]
    run = class_flow(model, 0, w, levels, seen)
    assert run.status == "finished"
    R, see = run.times, run.observables
    assert torch.allclose(see["scale"] / R, torch.ones(3, dtype=torch.float64), atol=1e-4)
    assert abs(float(see["scale"][-1] / R[-1]) - 1) < 1e-6
    A = see["perp"][-1] * math.sqrt(c * gamma)
    assert float(see["perp"][-1] / see["perp"][0]) == pytest.approx(1, abs=1e-6)
    assert float(see["angle"][-1] * 1e4 / A) == pytest.approx(1, abs=1e-3)
    # R' = ||grad R||^2 = 2 c gamma R far out, so t is 1 / (2 c gamma R L).
    late = R - torch.log(2 * c * gamma * R)
    assert float((see["log_t"] - late)[-1].abs()) < 1e-6
    # The class mean is another direction: the angle from it does not vanish.
    mean = unit(X.mean(0))
    assert float((unit(run.final) - mean).norm()) > 1e-2
    assert run.statistics["evaluations"] < 30_000


# --- Batches, ends and wrong arguments ----------------------------------------------------------


def test_a_batch_is_its_runs():
    shared = network(3, "cross-entropy")
    X = torch.stack([network(3, "cross-entropy", seed=s).X for s in range(3)])
    per_run = ShallowReLU(X, shared.y, 3, 8, shared.loss)
    levels = [5.0, 100.0]
    for model, batch in ((shared, (2, 3)), (per_run, (2, 3))):
        start = unit(per_run.X[:, :6].mean(-2)) * vector(1.0, 2.0)[:, None, None]
        run = class_flow(model, 0, start, levels, lambda w: {"size": w.norm(dim=-1)})
        assert run.final.shape == (*batch, 5) and run.status.shape == batch
        assert run.observables["log_t"].shape == (*batch, 2)
        assert run.times.tolist() == levels
        one = model.for_runs(batch, torch.tensor([4]))
        alone = class_flow(one, 0, start[1, 1][None], levels)
        assert torch.allclose(alone.final[0], run.final[1, 1], 1e-12)
        assert run.observables["size"][1, 1, 1] == run.final[1, 1].norm()
        assert not torch.allclose(run.final[1, 1], run.final[1, 2], 1e-3)


def test_paths_are_the_flows_of_all_classes():
    model, levels = network(3, "cross-entropy"), [5.0, 50.0, 100.0]
    means = torch.stack([model.X[model.y == k].mean(0) for k in range(3)])
    w = unit(means) * vector(1.0, 2.0)[:, None, None]  # two runs
    paths = class_paths(model, w, levels)
    assert paths.shape == (3, 2, 3, 5)
    for k in range(3):
        assert torch.equal(paths[-1, :, k], class_flow(model, k, w[:, k], levels).final)
        assert torch.allclose(paths[0, :, k], class_flow(model, k, w[:, k], [5.0]).final, 1e-8)
        # Each vector grows, like the root of R, and no class is another's.
        assert (paths[:, :, k].norm(dim=-1).diff(dim=0) > 0).all()
        assert float((unit(paths[-1, :, k]) - unit(paths[-1, :, k - 1])).norm()) > 0.1


def test_a_run_that_the_solver_gives_up_is_reported(monkeypatch):
    model = network(3, "cross-entropy")

    def give_up(*arguments, **options):
        solved = solve(*arguments, **options)
        solved.success, solved.y = False, solved.y[:, :1]
        return solved

    solve = module.solve_ivp
    monkeypatch.setattr(module, "solve_ivp", give_up)
    run = class_flow(model, 0, model.X[:6].mean(0), [5.0, 6.0])
    assert run.status == "diverged"
    assert run.observables["log_t"].isnan().tolist() == [False, True]
    assert run.final.isnan().all()


@pytest.mark.parametrize(
    ("k", "start", "levels", "words"),
    [
        (0, 1.0, [], "increase"),
        (0, 1.0, [5.0, 5.0], "increase"),
        (0, 1.0, [math.inf], "finite"),
        (0, 1.0, [-9.0], "levels from its R on"),
        (0, -1.0, [5.0], "positive on every sample"),
        (0, math.nan, [5.0], "positive on every sample"),
        (3, 1.0, [5.0], "no samples"),
    ],
)
def test_wrong_arguments_are_named(k, start, levels, words):
    model = network(3, "cross-entropy")
    with pytest.raises(ValueError, match=words):
        class_flow(model, k, start * model.X[:6].mean(0), levels)
