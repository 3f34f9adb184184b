"""How close the limit comes to strong collapse: exponents and first-order constants."""

import math

import pytest
import torch
from scipy.integrate import solve_ivp
from theory_cases import (
    GRID,
    RUN,
    centred_identity,
    collapse_errors,
    normal,
    random_parts,
    relative_distance_from_S,
)

from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import flow
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.theory.ufm import spectra, subspace
from ncbook.theory.ufm.linear_response import drop_decaying_modes, linear_response, mean_transfer

POWERS = (2, 1, 1, 1)  # of eps, in the frame, duality and bias errors and the distance from S


def limits(model: UnconstrainedFeatures, eps: list[float], seeds: range) -> list[torch.Tensor]:
    """The errors over their power of eps at the end of the flow, each (A, S)."""
    scale = torch.tensor(eps, dtype=torch.float64)
    z = model.small_start(scale, seeds, RUN)
    step = 2 / (model.C * model.N) if model.C * model.N > 15 else 0.1
    end = flow(model.field, z, step, [60 / math.sqrt(model.N)], method="DOP853").final
    errors = (*collapse_errors(model, end), relative_distance_from_S(model, end))
    return [e / scale[:, None] ** power for e, power in zip(errors, POWERS, strict=True)]


def predictions(model: UnconstrainedFeatures, seeds: range, beta0: float = 0.0):
    H, W, _ = model.unpack(model.small_start(torch.ones(1, dtype=torch.float64), seeds, RUN)[0])
    constants = linear_response(H, W, beta0)
    return constants.frame, constants.duality, constants.bias, constants.distance


# --- The exponents ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("C", "N", "p", "share", "within"),
    [(3, 3, 15, 0.54, 0.05), (4, 5, 6, 0.1, 0.12), (2, 7, 3, 0.1, 0.12)],
)
def test_the_exponents_of_the_final_errors_under_descent(C, N, p, share, within):
    """``share`` of the largest stable step: 0.54 is the step 0.1 at the paper's sizes.

    A long step bends the frame error of single seeds: the part of W^T W - H H^T between the growing
    and the decaying mode shrinks by 1 - step^2 N an iteration instead of being conserved.
    """
    model = UnconstrainedFeatures(C, N, p)
    eps = 10.0 ** -torch.arange(1, 6, dtype=torch.float64)
    step = share * spectra.largest_stable_step(C, N)
    z = model.small_start(eps, range(20), RUN)
    end = descent(model.field, z, step, round(60 / math.sqrt(N) / step)).final
    x = torch.log10(eps) - torch.log10(eps).mean()
    frame, duality, bias = (
        (x[:, None] * torch.log10(errors)).sum(0) / x.square().sum()
        for errors in collapse_errors(model, end)
    )
    # Since the orders differ by one and are met to 0.05, each is a control of the others.
    assert float(frame.median()) == pytest.approx(2, abs=0.05)
    assert float(duality.median()) == pytest.approx(1, abs=0.01)
    assert float(bias.median()) == pytest.approx(1, abs=0.01)
    assert float((frame - 2).abs().max()) < within
    assert float((duality - 1).abs().max()) < 0.02


# --- The constants ------------------------------------------------------------------------------


def test_the_constants_of_each_seed_at_the_papers_sizes():
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.small_start(torch.tensor([1e-3], dtype=torch.float64), range(50), RUN)[0]
    end = flow(model.field, z, 0.05, [40.0]).final
    errors = (*collapse_errors(model, end), relative_distance_from_S(model, end))
    for measured, power, predicted in zip(
        errors, POWERS, predictions(model, range(50)), strict=True
    ):
        scaled = measured / 1e-3**power
        assert float((scaled / predicted - 1).abs().max()) < 1e-4
        # Control: the constants of other seeds, which are as large, do not fit.
        other = predicted.roll(1)
        assert float((scaled / other - 1).abs().median()) > 1e-2


@pytest.mark.parametrize(("C", "N", "p"), [*GRID, (3, 2, 2), (3, 3, 2)])
def test_what_the_constants_miss_falls_with_eps(C, N, p):
    """The relative error of each prediction is of the order eps^2."""
    model = UnconstrainedFeatures(C, N, p)
    seeds = range(12)
    measured = limits(model, [10**-1.5, 10**-2.5], seeds)
    for scaled, predicted in zip(measured, predictions(model, seeds), strict=True):
        coarse, fine = ((scaled - predicted) / predicted.median()).square().mean(-1).sqrt()
        assert float(fine) < 5e-4
        assert float(torch.log10(coarse / fine)) == pytest.approx(2, abs=0.2)
        # Control: about a constant that is 1% off, the error stays.
        coarse, fine = ((scaled - 1.01 * predicted) / predicted.median()).square().mean(-1).sqrt()
        assert float(torch.log10(coarse / fine)) < 1


@pytest.mark.parametrize(("C", "N", "p"), [(3, 3, 15), (4, 5, 6), (2, 7, 3)])
def test_descent_forgets_the_decaying_part_of_the_start(C, N, p):
    """Its frame error is the flow's from a start whose decaying mode is that much smaller.

    While growing modes gain 1 + h sqrt(N) an iteration, decaying ones keep 1 - h sqrt(N); their
    product, which the flow conserves, shrinks by 1 - h^2 N until the growing mode is of size 1.
    """
    model = UnconstrainedFeatures(C, N, p)
    eps, seeds = 1e-4, range(12)
    step = 0.25 * spectra.largest_stable_step(C, N)
    z = model.small_start(torch.tensor([eps], dtype=torch.float64), seeds, RUN)[0]
    end = descent(model.field, z, step, round(60 / math.sqrt(N) / step)).final
    measured = collapse_errors(model, end)[0] / eps**2

    H, W, _ = model.unpack(z / eps)
    predicted = linear_response(*drop_decaying_modes(H, W, step, eps)).frame
    assert float((measured / predicted - 1).abs().max()) < 0.04
    # Control: the constant of the flow from the start itself is far off.
    assert float((measured / linear_response(H, W).frame - 1).abs().max()) > 0.2


def test_no_start_remembers_what_an_unstable_step_does():
    model = UnconstrainedFeatures(3, 3, 5)
    z = model.small_start(torch.tensor([1.0], dtype=torch.float64), range(2), RUN)[0]
    H, W, _ = model.unpack(z)
    H, W = drop_decaying_modes(H, W, 1e3, 1e-3)
    assert all(bool(x.isnan().all()) for x in vars(linear_response(H, W)).values())
    H[0], W[0], _ = (x[0] for x in model.unpack(z))
    frame = linear_response(H, W).frame
    assert bool(frame[0].isfinite()) and bool(frame[1].isnan())


@pytest.mark.parametrize(("C", "N", "p"), [(3, 3, 15), (4, 5, 6), (3, 2, 4)])
def test_the_plateau_is_left_over_times_of_order_eps_to_the_minus_two(C, N, p):
    """After t = 100/eps^2 the errors have settled at the other constants."""
    model = UnconstrainedFeatures(C, N, p)
    eps = 0.12
    z = model.small_start(torch.tensor([eps], dtype=torch.float64), range(8), RUN)[0]
    H, W, _ = model.unpack(z / eps)
    step = 0.8 * spectra.largest_stable_step(C, N)
    plateau = flow(model.field, z, step / 4, [30.0]).final
    # What is left to do is slow: descent follows the flow.
    end = descent(model.field, plateau, step, round(100 / eps**2 / step)).final
    frame, duality, _ = collapse_errors(model, end)
    settled = linear_response(H, W, limit_in_time=True)
    assert float((frame / eps**2 / settled.frame - 1).abs().max()) < 0.03
    assert float((duality / eps / settled.duality - 1).abs().max()) < 0.01
    # Control: the plateau's constants are not these.
    assert float((duality / eps / linear_response(H, W).duality - 1).abs().max()) > 0.02


@pytest.mark.parametrize("beta0", [-0.5, 0.8])
def test_the_constants_know_where_b_starts(beta0):
    model = UnconstrainedFeatures(3, 3, 5)
    eps = 1e-3
    z = model.small_start(torch.tensor([eps], dtype=torch.float64), range(10), RUN)[0]
    H, W, b = model.unpack(z)
    end = flow(model.field, model.pack(H, W, b + beta0), 0.1, [40.0], method="DOP853").final
    measured = collapse_errors(model, end)
    told = predictions(model, range(10), beta0)
    untold = predictions(model, range(10))
    for k in (1, 2):
        assert float((measured[k] / eps / told[k] - 1).abs().max()) < 1e-3
        assert float((measured[k] / eps / untold[k] - 1).abs().median()) > 3e-3
    assert float((measured[0] / eps**2 / told[0] - 1).abs().max()) < 1e-3


def test_the_identity_behind_the_left_constant():
    """(W W^T)^2 = N Pi + C N db db^T + W D W^T at any minimum, D = W^T W - H H^T."""
    C, N, p = 4, 3, 6
    model = UnconstrainedFeatures(C, N, p)
    end = descent(model.field, 0.5 * normal(1, model.size)[None], 0.1, 6_000).final[0]
    assert float(model.risk(end)) < 1e-25
    H, W, b = model.unpack(end)
    db = b - 1 / C
    D = W.T @ W - H @ H.T
    gram = W @ W.T
    right = N * centred_identity(C) + C * N * torch.outer(db, db) + W @ D @ W.T
    assert float((gram @ gram - right).abs().max()) < 1e-11
    assert float((gram @ gram - right + W @ D @ W.T).abs().max()) > 0.1


def test_the_distance_from_S_is_that_of_the_projection():
    """The two ways to write it agree: the parts orthogonal to S, and Z less its projection."""
    model = UnconstrainedFeatures(4, 3, 5)
    z = model.pack(*random_parts(4, 3, 5, 1, 6))
    away = z - model.pack(*subspace.project_onto_S(*model.unpack(z)))
    by_projection = away.norm(dim=-1) / z.norm(dim=-1)
    assert float((relative_distance_from_S(model, z) - by_projection).abs().max()) < 1e-14


def test_a_batch_of_constants_is_a_loop():
    H, W = normal(1, 2, 3, 5, 12), normal(2, 2, 3, 4, 5)
    together = linear_response(H, W)
    single = linear_response(H[1, 2], W[1, 2])
    for name in ("frame", "duality", "bias", "distance"):
        values = getattr(together, name)
        assert values.shape == (2, 3)
        assert float(values[1, 2]) == pytest.approx(float(getattr(single, name)), rel=1e-10)


def test_no_constants_without_room():
    with pytest.raises(ValueError, match="p = 2 < C - 1 = 3: the simplex does not fit"):
        linear_response(normal(1, 2, 8), normal(2, 4, 2))


# --- The transfer of the features' mean ---------------------------------------------------------


def integrated_transfer(C: int, N: int, coupling: float = 1.0) -> tuple[float, float]:
    """The same end by another way: s as a third unknown, an implicit method, from s = 1e-7."""
    rate = math.sqrt(N)

    def field(_, state):
        s, y, d = state
        flux = s * y + coupling * C * N * d
        return [rate * s - s**3, -s * flux, -flux]

    solution = solve_ivp(
        field, (0, 40 / rate), [1e-7, 1.0, 0.0], method="Radau", rtol=1e-9, atol=1e-12
    )
    return solution.y[1, -1], solution.y[2, -1]


@pytest.mark.parametrize(("C", "N"), [(3, 3), (4, 5), (2, 7), (5, 1), (2, 1), (10, 50)])
def test_the_transfer_against_another_integration(C, N):
    expected = integrated_transfer(C, N)
    assert mean_transfer(C, N) == pytest.approx(expected, abs=1e-7)
    wrong = integrated_transfer(C, N, coupling=0.9)
    assert mean_transfer(C, N) != pytest.approx(wrong, abs=1e-4)


def test_the_transfer_at_the_papers_sizes():
    assert mean_transfer(3, 3) == pytest.approx((0.90878, -0.13289), abs=1e-5)


@pytest.mark.parametrize(("C", "N", "p"), GRID)
def test_the_transfer_is_the_models_own_response(C, N, p):
    """Push the features' mean along the limit's frame, and see what is left of it."""
    model = UnconstrainedFeatures(C, N, p)
    W0 = 1e-4 * centred_identity(C) @ normal(1, C, p)
    b0 = torch.full((C,), 1 / C, dtype=torch.float64)
    H0 = subspace.lift(W0, N)
    U, _, Vh = torch.linalg.svd(W0, full_matrices=False)
    U, Vh = U[:, : C - 1], Vh[: C - 1]
    push = 1e-7 * Vh.T @ normal(2, C - 1)
    pair = torch.stack([model.pack(H0, W0, b0), model.pack(H0 + push[:, None], W0, b0)])
    ends = flow(model.field, pair, min(0.1, 2 / (C * N)), [30 / math.sqrt(N)], method="DOP853")
    H, _, b = model.unpack(ends.final)
    y = C * N * push  # sqrt(CN) h, h = H 1 / sqrt(CN)
    left = (H[1] - H[0]).sum(-1)
    y_f, d_f = mean_transfer(C, N)
    size = float(y.norm())
    assert float((left - y_f * y).norm()) < 1e-5 * size
    assert float((b[1] - b[0] - d_f * (U @ (Vh @ y))).norm()) < 1e-5 * size
    assert float((b[1] - b[0] + d_f * (U @ (Vh @ y))).norm()) > 1e-3 * size
