"""The flow on S in closed form, what the flow conserves, and where it ends."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import (
    GRID,
    RUN,
    centred_identity,
    collapse_errors,
    distance,
    few,
    normal,
    seeds,
    sizes,
    start_on_S,
)

from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import adaptive_flow, flow
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.theory.ufm import spectra, subspace


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# --- The logistic curve -------------------------------------------------------------------------


@few
@given(st.floats(1e-6, 10), st.integers(1, 9), st.floats(0, 3))
def test_the_logistic_curve_solves_its_equation(u0, N, t):
    start = times(u0)
    time = times(t).requires_grad_()
    u = subspace.logistic(start, N, time)
    (slope,) = torch.autograd.grad(u.sum(), time)
    u = u.detach()
    expected = 2 * math.sqrt(N) * u - 2 * u.square()
    assert float((slope - expected).abs()) < 1e-12 * max(1, u0**2)
    assert float(subspace.logistic(start, N, times(0))) == pytest.approx(u0, rel=1e-12)
    assert float(subspace.logistic(start, N, times(50))) == pytest.approx(math.sqrt(N), rel=1e-12)
    # Control: the curve with half the rate does not solve it.
    slow = subspace.logistic(start, N, time / 2)
    (slope,) = torch.autograd.grad(slow.sum(), time)
    slow = slow.detach()
    wrong = 2 * math.sqrt(N) * slow - 2 * slow.square()
    assert abs(float(slope - wrong)) > 0.4 * abs(float(wrong))


@pytest.mark.parametrize("t", [0.0, 1.0, 25.0, 1e3, 1e6])
def test_zero_stays_zero_at_any_time(t):
    assert subspace.logistic(times(0, 1e-300), 3, times(t))[0] == 0


# --- The flow on S ------------------------------------------------------------------------------


@pytest.mark.parametrize(("C", "N", "p"), GRID)
def test_the_closed_form_is_the_flow(C, N, p):
    model = UnconstrainedFeatures(C, N, p)
    grid = [0.0, 0.1, 0.5, 1.0, 3.0, 10.0]
    passed = []
    H0, W0, b0 = start_on_S(C, N, p, seed=4, beta=-0.4)

    def note(z):
        passed.append(z.clone())
        return {}

    adaptive_flow(model.field, model.pack(H0, W0, b0), grid, note, rtol=1e-12, atol=1e-18)
    W, b = subspace.flow_on_S(W0, b0, N, times(*grid))
    states = model.pack(subspace.lift(W, N), W, b)
    assert float((torch.stack(passed) - states).abs().max()) < 1e-9
    W, _ = subspace.flow_on_S(1.01 * W0, b0, N, times(*grid))
    wrong = model.pack(subspace.lift(W, N), W, b)
    assert float((torch.stack(passed) - wrong).abs().max()) > 1e-3
    # The singular vectors stand still: U^T W V stays diagonal along the integrator's own path.
    U, _, Vh = torch.linalg.svd(W0, full_matrices=False)
    for z in passed:
        core = U.T @ model.unpack(z)[1] @ Vh.T
        assert float((core - core.diag().diag()).abs().max()) < 1e-12


@few
@given(sizes(), seeds, st.floats(-1, 1))
def test_the_closed_form_begins_at_the_start(case, seed, beta):
    C, N, p = case
    _, W0, b0 = start_on_S(C, N, p, seed, beta=beta)
    W, b = subspace.flow_on_S(W0, b0, N, times(0, 0.3))
    assert W.shape == (2, C, p) and b.shape == (2, C)
    assert distance((W[0], b[0]), (W0, b0)) < 1e-12


def test_a_start_off_S_is_refused():
    _, W0, b0 = start_on_S(3, 3, 5, seed=1)
    with pytest.raises(ValueError, match="not on S") as error:
        subspace.flow_on_S(W0 + 1e-6, b0, 3, times(1))
    assert "project_onto_S" in str(error.value)
    with pytest.raises(ValueError, match="not on S"):
        subspace.flow_on_S(W0, b0 + times(0, 1e-6, 0), 3, times(1))
    subspace.flow_on_S(1e-9 * W0, b0, 3, times(1))


# --- When W has lost rank -----------------------------------------------------------------------


@pytest.mark.parametrize(("C", "N", "p", "rank"), [(3, 3, 15, 1), (4, 5, 6, 1), (5, 1, 5, 3)])
def test_a_lost_rank_ends_at_a_saddle(C, N, p, rank):
    missing = C - 1 - rank
    expected = N / 2 * missing
    assert subspace.saddle_risk(missing, N) == expected
    _, W0, b0 = start_on_S(C, N, p, seed=2, rank=rank)
    ends = times(10, 25, 200)
    W, b = subspace.flow_on_S(W0, b0, N, ends)
    of_W, of_b = subspace.risk_on_S(W, b, N)
    assert float((of_W + of_b - expected).abs().max()) < 1e-6
    # A saddle indeed: the field is zero there, and a push along a lost direction grows.
    model = UnconstrainedFeatures(C, N, p)
    z = model.pack(subspace.lift(W[-1], N), W[-1], b[-1])
    assert float(model.field(z[None]).abs().max()) < 1e-12
    _, pushed, _ = start_on_S(C, N, p, seed=9, norm=1e-3)
    away = model.pack(subspace.lift(W[-1] + pushed, N), W[-1] + pushed, b[-1])
    end = flow(model.field, away, 0.5 / (C * N), [30 / math.sqrt(N)]).final
    assert float(model.risk(end)) < 1e-6
    # Full rank ends at zero risk.
    whole = subspace.flow_on_S(start_on_S(C, N, p, seed=2)[1], b0, N, ends[-1:])
    assert float(sum(subspace.risk_on_S(*whole, N))) < 1e-12


def test_floating_point_stays_at_the_saddle_and_then_escapes():
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.pack(*start_on_S(3, 3, 15, seed=2, rank=1))
    risks = flow(model.field, z, 0.05, [5.0, 10.0, 60.0], lambda s: {"risk": model.risk(s)})
    at_5, at_10, at_60 = risks.observables["risk"].tolist()
    assert at_5 == pytest.approx(1.5, abs=1e-3)
    assert at_10 == pytest.approx(1.5, abs=1e-9)
    assert at_60 < 1e-6, "rounding grows at rate sqrt(N) and leads away from the saddle"


def test_exact_zeros_never_escape():
    """Where the lost direction is zero by structure, no rounding error can enter it."""
    model = UnconstrainedFeatures(3, 3, 4)
    W = torch.zeros(3, 4, dtype=torch.float64)
    W[:, 0] = times(0.25, -0.5, 0.25)
    z = model.pack(subspace.lift(W, 3), W, torch.zeros(3, dtype=torch.float64))
    end = flow(model.field, z, 0.05, [60.0]).final
    H, W, _ = model.unpack(end)
    assert not W[:, 1:].any() and not H[1:].any()
    assert float(model.risk(end)) == pytest.approx(1.5, abs=1e-9)


# --- What is conserved --------------------------------------------------------------------------


def balance(model: UnconstrainedFeatures, z: torch.Tensor) -> torch.Tensor:
    H, W, _ = model.unpack(z)
    return W.mT @ W - H @ H.mT


@pytest.mark.parametrize(("C", "N", "p"), [*GRID, (3, [1, 4, 2], 5)])
def test_the_flow_conserves_the_balance(C, N, p):
    """W^T W - H H^T, from anywhere and for classes of any sizes."""
    model = UnconstrainedFeatures(C, N, p)
    z = 0.4 * normal(3, 4, model.size)
    end = adaptive_flow(model.field, z, [20.0], rtol=1e-12, atol=1e-18).final
    assert float((balance(model, end) - balance(model, z)).abs().max()) < 1e-12
    assert float((end - z).abs().max()) > 0.1
    H, W, _ = model.unpack(torch.stack([z, end]))
    wrong = W.mT @ W + H @ H.mT
    assert float((wrong[1] - wrong[0]).abs().max()) > 0.1


@pytest.mark.parametrize(("C", "N", "p"), GRID)
def test_descent_drifts_from_the_balance_by_the_order_of_its_step(C, N, p):
    model = UnconstrainedFeatures(C, N, p)
    z = model.small_start(times(0.5), range(3), RUN)[0]
    steps = spectra.largest_stable_step(C, N) / 2 ** np.arange(3, 6)
    drift = torch.stack(
        [
            torch.linalg.matrix_norm(
                balance(model, descent(model.field, z, h, round(10 / h)).final) - balance(model, z)
            )
            for h in steps
        ]
    )
    ratio = drift[:-1] / drift[1:]
    assert float((ratio - 2).abs().max()) < 0.1
    assert float(drift.min()) > 1e-4, "the drift is no rounding error"


# --- The limit from a small start ---------------------------------------------------------------


@pytest.mark.parametrize(("C", "N", "p"), [(4, 2, 2), (5, 3, 2), (5, 1, 1), (3, 4, 1)])
def test_each_missing_dimension_leaves_sqrt_N(C, N, p):
    """p < C - 1: W W^T lacks C - 1 - p eigenvalues sqrt(N), each for itself."""
    model = UnconstrainedFeatures(C, N, p)
    z = model.small_start(times(1e-4), range(4), RUN)[0]
    end = flow(model.field, z, 0.5 / (C * N), [40 / math.sqrt(N)]).final
    left, _, _ = collapse_errors(model, end)
    missing = C - 1 - p
    assert float((left - math.sqrt(N * missing)).abs().max()) < 1e-6
    assert float((model.risk(end) - subspace.saddle_risk(missing, N)).abs().max()) < 1e-6
    # With room the same start leaves next to nothing.
    roomy = UnconstrainedFeatures(C, N, C - 1)
    z = roomy.small_start(times(1e-4), range(4), RUN)[0]
    end = flow(roomy.field, z, 0.5 / (C * N), [60 / math.sqrt(N)]).final
    assert float(collapse_errors(roomy, end)[0].max()) < 1e-6


@pytest.mark.parametrize("sizes", [[1, 2, 4], [5, 1, 1, 3], [2, 7]])
def test_the_limit_for_classes_of_different_sizes(sizes):
    C = len(sizes)
    model = UnconstrainedFeatures(C, sizes, C + 1)
    gram = subspace.collapsed_gram(sizes)
    eps = times(1e-2, 1e-3)
    z = model.small_start(eps, range(4), RUN)
    end = flow(model.field, z, 1 / sum(sizes), [60.0]).final
    _, W, b = model.unpack(end)
    errors = torch.linalg.matrix_norm(W @ W.mT - gram).median(-1).values
    assert float(errors[1]) < 1e-5
    assert float(torch.log10(errors[0] / errors[1])) == pytest.approx(2, abs=0.12)
    frequencies = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    assert float((b[1] - frequencies).abs().max()) < 1e-3
    # Control: the balanced limit with the mean size is not it.
    wrong = math.sqrt(sum(sizes) / C) * centred_identity(C)
    assert float(torch.linalg.matrix_norm(gram - wrong)) > 0.1


@few
@given(sizes())
def test_the_limit_for_equal_sizes_is_strong_collapse(case):
    C, N, _ = case
    expected = math.sqrt(N) * centred_identity(C)
    # The square root of an eigenvalue that should be 0 and is 1e-16 is 1e-8.
    assert float((subspace.collapsed_gram([N] * C) - expected).abs().max()) < 1e-13


# --- The stability of the step ------------------------------------------------------------------


@pytest.mark.parametrize(("C", "N", "p"), GRID)
def test_descent_is_stable_below_the_bound_and_not_above(C, N, p):
    model = UnconstrainedFeatures(C, N, p)
    collapse = model.pack(*subspace.strong_collapse(normal(1, C, p), N))
    z = collapse + 1e-8 * normal(2, 3, model.size)
    bound = spectra.largest_stable_step(C, N)
    away = {}
    for factor in (0.98, 1.02):
        end = descent(model.field, z, factor * bound, 3000)
        assert end.final.isfinite().all()
        away[factor] = (end.final - collapse).norm(dim=-1)
    assert float(away[0.98].max()) < 1e-6
    assert float(away[1.02].min()) > 1e-2


def test_just_above_the_bound_the_risk_vanishes_without_collapse():
    model = UnconstrainedFeatures(3, 3, 15)
    assert spectra.largest_stable_step(3, 3) == pytest.approx(0.1864, abs=1e-4)
    z = model.small_start(times(1e-3), range(10), RUN)[0]
    for step, collapses in ((0.18, True), (0.2, False)):
        end = descent(model.field, z, step, 4000).final
        assert float(model.risk(end).max()) < 1e-9
        left, _, _ = collapse_errors(model, end)
        if collapses:
            assert float(left.max()) < 1e-5
        else:
            assert float(left.min()) > 0.1
