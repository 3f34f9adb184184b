"""Gradient flow: the fixed step, the adaptive step, and how runs end."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch
from emulated_device import emulated
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from ncbook.dynamics import ensemble
from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import adaptive_flow, flow
from ncbook.dynamics.trajectory import log_grid
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, available_devices, generator, start
from ncbook.theory.ufm.linear_response import linear_response

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
PAIRS = ["RK23", "RK45", "DOP853"]


def decay(z):
    return -z


def square(z):
    """z' = z^2: from 1 the solution 1 / (1 - t) ends at t = 1; from -1 it goes on for good."""
    return z.square()


def scaled(*rates):
    column = torch.tensor(rates, dtype=torch.float64)[:, None]
    return lambda z: column * z


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def first(z):
    return {"z": z[..., 0]}


def risk_of(model):
    return lambda z: {"risk": model.risk(z)}


def fixed(field, z, record, observe=None):
    return flow(field, z, 0.01, record, observe)


# --- Work ---------------------------------------------------------------------------------------


def test_euler_is_descent():
    model = UnconstrainedFeatures(3, 2, 4)
    z = model.small_start(vector(1.0, 0.1), range(2), RUN)
    by_flow = flow(model.field, z, 0.05, [1.0], method="Euler").final
    by_descent = descent(model.field, z, 0.05, 20).final
    assert float((by_flow - by_descent).abs().max()) < 1e-14


def test_the_work_grows_with_the_accuracy():
    """As rtol^(-1/order)."""
    steps = [
        int(adaptive_flow(square, vector(-4.0)[None], [3.0], None, "RK23", rtol, 1e-30)
            .statistics["steps"][0])
        for rtol in (1e-6, 1e-8)
    ]  # fmt: skip
    assert math.log(steps[1] / steps[0]) / math.log(100) == pytest.approx(1 / 3, abs=0.05)


# --- Against other integrators ------------------------------------------------------------------


@pytest.mark.parametrize("method", PAIRS)
def test_adaptive_and_fixed_steps_agree(method):
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.small_start(vector(1.0, 1e-2), range(3), RUN)
    record = [0.0, 0.3, 1.0, 6.0]
    rtol = 1e-6 if method == "RK23" else 1e-10
    exact = flow(model.field, z, 0.02, record, risk_of(model), "DOP853")
    run = adaptive_flow(model.field, z, record, risk_of(model), method, rtol)
    assert run.status.tolist() == [["finished"] * 3] * 2
    assert float((run.final - exact.final).abs().max()) < 300 * rtol
    assert run.observables["risk"].shape == (2, 3, 4)
    assert torch.allclose(
        run.observables["risk"], exact.observables["risk"], 1e3 * rtol, 300 * rtol
    )


@pytest.mark.parametrize("method", PAIRS)
def test_a_run_is_as_scipy_has_it(method):
    """The same pair at the same tolerance, from the same first step: nearly the same work."""
    model = UnconstrainedFeatures(3, 2, 4)
    z = model.small_start(vector(0.5), [3], RUN)[0, 0]
    rtol = 1e-5 if method == "RK23" else 1e-8
    ours = adaptive_flow(model.field, z, [5.0], None, method, rtol, 1e-12)
    scipy = solve_ivp(
        lambda _, y: model.field(torch.from_numpy(y)[None])[0].numpy(),
        (0, 5.0),
        z.numpy(),
        method=method,
        rtol=rtol,
        atol=1e-12,
        first_step=1e-3,
    )
    assert float((ours.final - torch.from_numpy(scipy.y[:, -1])).abs().max()) < 1e3 * rtol
    accepted = int(ours.statistics["steps"] - ours.statistics["rejected"])
    assert accepted == pytest.approx(len(scipy.t) - 1, rel=0.15)


@pytest.mark.parametrize("device", available_devices())
def test_every_device_runs_the_same_flow(device):
    run = start(device)
    exact = UnconstrainedFeatures(3, 3, 15)
    z = exact.small_start(vector(0.5), range(4), RUN)
    here = UnconstrainedFeatures(3, 3, 15, run.device, run.dtype)
    single = run.dtype == torch.float32
    tolerances = {"rtol": 1e-4, "atol": 1e-9} if single else {}
    within = 1e-3 if single else 1e-9
    reference = flow(exact.field, z, 0.05, [3.0], method="DOP853").final
    for moved in (
        flow(here.field, run.tensor(z), 0.05, [3.0], method="DOP853"),
        adaptive_flow(here.field, run.tensor(z), [3.0], **tolerances),
    ):
        assert (moved.status == "finished").all()
        assert moved.final.device.type == device
        assert float((moved.final.cpu().double() - reference).abs().max()) < within


def test_a_longest_step_is_kept():
    z = torch.ones(2, 1, dtype=torch.float64)
    run = adaptive_flow(decay, z, [3.0], None, "RK23", 1e-2, max_step=0.01)
    assert run.statistics["steps"].tolist() == [pytest.approx(300, abs=10)] * 2
    assert adaptive_flow(decay, z, [3.0], None, "RK23", 1e-2).statistics["steps"].max() < 30


def test_below_the_stable_step_a_small_distance_from_S_keeps_its_digits():
    """At a tolerance a thousand times the distance itself; without the cap nothing is left."""
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.small_start(vector(1e-6), range(5), RUN)
    H, W, _ = model.unpack(z[0] / 1e-6)
    expected = 1e-6 * linear_response(H, W).bias
    errors = {}
    for cap in (0.2, math.inf):
        run = adaptive_flow(model.field, z, [40.0], None, "RK45", 1e-3, 1e-18, max_step=cap)
        measured = (model.unpack(run.final)[2][0] - 1 / 3).norm(dim=-1)
        errors[cap] = float((measured / expected - 1).abs().max())
    assert errors[0.2] < 0.02
    assert errors[math.inf] > 1


# --- Records ------------------------------------------------------------------------------------

RECORD = [0.0, 1e-3, 0.1, 0.1000001, 0.7, 2.0, 2.5]


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
def test_records_are_at_exactly_their_times(integrate):
    """z' = 1 from 0 is a clock, and z' = -z from 1 is exp(-t)."""
    clock = integrate(torch.ones_like, torch.zeros(2, 3, dtype=torch.float64), RECORD, first)
    assert clock.times.tolist() == RECORD
    assert float((clock.observables["z"] - vector(*RECORD)).abs().max()) < 1e-13
    run = integrate(decay, torch.ones(2, 3, dtype=torch.float64), RECORD, first)
    exact = torch.exp(-vector(*RECORD))
    assert run.observables["z"].shape == (2, 7)
    assert float((run.observables["z"] - exact).abs().max()) < 1e-9
    assert float((run.final - exact[-1]).abs().max()) < 1e-9


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
def test_the_record_need_not_hold_the_start(integrate):
    run = integrate(decay, torch.ones(2, 1, dtype=torch.float64), [0.5], first)
    assert run.times.tolist() == [0.5]
    assert float((run.observables["z"] - math.exp(-0.5)).abs().max()) < 1e-9
    only_start = integrate(decay, torch.ones(2, 1, dtype=torch.float64), [0.0], first)
    assert only_start.observables["z"].tolist() == [[1], [1]]
    assert only_start.status.tolist() == ["finished"] * 2


def test_more_records_do_not_change_the_path():
    """A step cut short at a record leaves the step that was to be, and the accuracy."""
    model = UnconstrainedFeatures(3, 3, 5)
    z = model.small_start(vector(0.5), range(2), RUN)[0]
    few = adaptive_flow(model.field, z, [5.0])
    many = adaptive_flow(model.field, z, log_grid(5.0, 40, 1e-2))
    assert float((few.final - many.final).abs().max()) < 1e-9
    extra = many.statistics["steps"] - few.statistics["steps"]
    assert (extra <= 45).all(), "about one more step a record"
    # Records a billionth apart: the step behind them is the one before them.
    close = adaptive_flow(model.field, z, [1.0, 1 + 1e-9, 1 + 2e-9, 1 + 3e-9, 5.0])
    assert (close.statistics["steps"] <= few.statistics["steps"] + 5).all()


@pytest.mark.parametrize("method", PAIRS)
def test_no_step_leads_beyond_the_record(method):
    """A clock that notes the latest time it was asked for."""
    latest = []

    def field(z):
        latest.append(float(z.max()))
        return torch.ones_like(z)

    z = torch.zeros(1, 1, dtype=torch.float64)
    for end in (0.05, 0.08, 0.7, 2.0):
        latest.clear()
        adaptive_flow(field, z, [end], None, method, 1e-3, 1e-3)
        assert max(latest) == pytest.approx(end, abs=1e-12)


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_the_batch_keeps_its_shape(integrate, batch):
    z = torch.ones(*batch, 2, dtype=torch.float64)
    run = integrate(decay, z, [0.1, 0.2], first)
    assert run.final.shape == (*batch, 2)
    assert run.observables["z"].shape == (*batch, 2)
    assert run.status.shape == batch
    runs = run.runs(**{f"axis {k}": range(n) for k, n in enumerate(batch)})
    assert runs["z"].size == 2 * z[..., 0].numel()
    assert torch.equal(z, torch.ones(*batch, 2)), "the start must not be changed"


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
def test_an_empty_batch_ends(integrate):
    run = integrate(decay, torch.ones(0, 2, dtype=torch.float64), [0.1, 0.2])
    assert run.final.shape == (0, 2) and run.status.shape == (0,)


# --- Memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
def test_observed_states_are_dropped(integrate):
    seen, alive = [], []

    def observe(z):
        copy = z.clone()
        if integrate is adaptive_flow:
            # Here the state is the recorder's own; under a fixed step it is the running one.
            seen.append(weakref.ref(z._base if z._base is not None else z))
        seen.append(weakref.ref(copy))
        alive.append(sum(state() is not None for state in seen))
        return {"z": copy[:, 0]}

    z = torch.ones(3, 50, dtype=torch.float64)
    run = integrate(decay, z, np.linspace(0, 2, 60), observe)
    gc.collect()
    assert run.observables["z"].shape == (3, 60)
    assert all(state() is None for state in seen)
    assert max(alive) <= 3, "while one state is observed, at most the one before it is still there"


def test_few_states_wait_for_the_last_run(monkeypatch):
    waiting = []

    class Counting(ensemble.AsyncRecorder):
        def record(self, *arguments):
            super().record(*arguments)
            waiting.append(len(self.states))

    monkeypatch.setattr(ensemble, "AsyncRecorder", Counting)
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.small_start(vector(1.0, 1e-2, 1e-4), range(3), RUN)
    adaptive_flow(model.field, z, log_grid(40.0, 60, 1e-2), risk_of(model))
    assert waiting[-1] == 0
    assert max(waiting) <= 15, "of the 61 that storing every state would keep"


def test_a_run_that_leaves_early_makes_no_states_wait(monkeypatch):
    held = []

    class Counting(ensemble.AsyncRecorder):
        def record(self, *arguments):
            super().record(*arguments)
            held.append(len(self.states))

    monkeypatch.setattr(ensemble, "AsyncRecorder", Counting)
    z = torch.tensor([[1e-9], [1.0], [1.0]], dtype=torch.float64)
    times = np.linspace(0, 4, 101).tolist()
    run = adaptive_flow(decay, z, times, lambda z: {"z": z[:, 0]}, tolerance=1e-8)
    assert run.status.tolist() == ["converged", "finished", "finished"]
    assert torch.equal(run.observables["z"][0], z[0].expand(101))
    assert torch.allclose(run.observables["z"][1], torch.exp(-run.times), 1e-8)
    assert max(held) <= 2, "of the 101 that storing every state would hold"
    # All leave early: what is left is recorded all the same.
    early = adaptive_flow(decay, z, times, lambda z: {"z": z[:, 0]}, tolerance=0.5)
    assert (early.status == "converged").all()
    assert early.observables["z"].isfinite().all()


# --- Endings ------------------------------------------------------------------------------------


def spiral(z):
    """Components x, y, decay, frequency: x + i y turns and shrinks; the last two stand still."""
    x, y, shrink, turn = z.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([-shrink * x - turn * y, turn * x - shrink * y, zero, zero], -1)


@pytest.mark.parametrize("method", PAIRS)
def test_every_ending_in_one_batch(method):
    """Finished, converged, out of steps and diverged, side by side."""
    z = torch.tensor(
        [[1.0, 0, 0, 0.2], [1.0, 0, 3, 0], [1.0, 0, 0, 1e5], [1.0, 0, math.nan, 0]],
        dtype=torch.float64,
    )
    record = [0.0, 0.001, 4.0, 5.0, 6.0]
    run = adaptive_flow(spiral, z, record, first, method, rtol=1e-5, max_steps=500, tolerance=1e-3)
    assert run.status.tolist() == ["finished", "converged", "out of steps", "diverged"]
    values = run.observables["z"]
    assert float((values[0] - torch.cos(0.2 * vector(*record))).abs().max()) < 1e-3
    # The converged run stands still from where it converged.
    assert values[1].isfinite().all()
    assert values[1, 2] == values[1, 3] == values[1, 4] == run.final[1, 0]
    assert 0 < float(spiral(run.final)[1].norm()) <= 1e-3
    # What the others did not reach is NaN; the final state is the last one that they had.
    assert values[2, 0] == 1 and values[2, 4].isnan()
    assert values[2].isnan().tolist() == sorted(values[2].isnan().tolist())
    assert run.final[2].isfinite().all() and run.final[2, 0] != 1
    assert values[3].isnan().all()
    assert run.statistics["steps"][2] == 500
    assert run.statistics["steps"][3] == 0


@pytest.mark.parametrize("method", PAIRS)
def test_a_solution_that_ends_in_finite_time_is_reported(method):
    """It is not said to have diverged: the last state is finite, and no step leads on."""
    z = vector(1.0, -1.0)[:, None]
    record = [0.5, 0.9, 1.1, 2.0]
    run = adaptive_flow(square, z, record, first, method, rtol=1e-7, max_steps=100_000)
    assert run.status.tolist() == ["step underflow", "finished"]
    assert run.observables["z"][0].isnan().tolist() == [False, False, True, True]
    assert run.observables["z"][0, :2].tolist() == pytest.approx([2, 10], rel=1e-4)
    exact = -1 / (1 + vector(*record))
    assert float((run.observables["z"][1] - exact).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("field", "begin", "end"),
    [
        (lambda z: -z.exp(), 50.0, lambda t: -math.log(t + math.exp(-50))),
        (lambda z: -1e6 * z**3, 1e9, lambda t: (2e6 * t + 1e-18) ** -0.5),
        (lambda z: -1e30 * z, 1.0, lambda t: 0.0),
    ],
)
def test_a_first_step_may_be_far_too_long(field, begin, end):
    """Near time 0 far smaller steps can be taken than at the times asked for."""
    for first_step in (1e-3, 1.0, 1e-26):
        run = adaptive_flow(
            field, vector(begin)[:, None], [0.5, 1.0], first, first_step=first_step,
            max_steps=2000, method="RK45", rtol=1e-8, atol=1e-12,
        )  # fmt: skip
        if begin == 1.0:  # stiff: 1e30 times the longest stable step
            assert run.status.tolist() == ["out of steps"]
            continue
        assert run.status.tolist() == ["finished"]
        exact = [end(t) for t in (0.5, 1.0)]
        assert run.observables["z"][0].tolist() == pytest.approx(exact, rel=1e-5, abs=1e-7)


def test_a_step_that_does_not_move_the_time_is_no_divergence():
    z = vector(0.5, -1.0)[:, None]
    run = adaptive_flow(lambda z: -z.sign(), z, [2.0], first)
    assert run.status.tolist() == ["step underflow", "step underflow"]
    assert float(run.final.abs().max()) < 1e-9, "where the field jumps"


@pytest.mark.parametrize("method", PAIRS)
def test_single_precision_finishes_at_what_it_can_hold(method):
    model = UnconstrainedFeatures(3, 4, 5)
    z = model.small_start(vector(1e-1, 1.0), range(4), RUN)
    exact = adaptive_flow(model.field, z, [1.0, 5.0], rtol=1e-10)
    model = UnconstrainedFeatures(3, 4, 5, dtype=torch.float32)
    for rtol in (None, 1e-3, 1e-5):
        run = adaptive_flow(model.field, z.float(), [1.0, 5.0], None, method, rtol)
        assert (run.status == "finished").all()
        assert float((run.final - exact.final).abs().max()) < 20 * (rtol or 1e-5)
    with pytest.raises(ValueError, match=r"expected a relative tolerance from 2e-06 on"):
        adaptive_flow(model.field, z.float(), [1.0], rtol=1e-7)


@pytest.mark.parametrize("observed", [True, False])
def test_a_device_that_is_asked_seldom_gives_the_same(observed):
    """Runs that have ended stand still until the next look; each step counts as it did."""
    model = UnconstrainedFeatures(3, 3, 5)
    z = model.small_start(vector(1.0, 1e-2), range(3), RUN)
    z[0, 1] = torch.nan

    def run(place: str):
        here = UnconstrainedFeatures(3, 3, 5, place)
        observe = risk_of(here) if observed else None
        record = [0.0, 0.5, 0.51, 3.0]
        return adaptive_flow(here.field, z.to(place), record, observe, tolerance=0.3, max_steps=30)

    often = run("cpu")
    with emulated("cuda"):
        seldom = run("cuda")
    assert (often.status == seldom.status).all() and len(set(often.status.flatten())) >= 3
    assert torch.equal(often.final.nan_to_num(), seldom.final.cpu().nan_to_num())
    for name in ("steps", "rejected"):
        assert (often.statistics[name] == seldom.statistics[name]).all()
    for name, values in often.observables.items():
        assert torch.equal(values.nan_to_num(-1), seldom.observables[name].cpu().nan_to_num(-1))


def test_a_fixed_step_reports_what_it_cannot_follow():
    z = vector(1.0, -1.0)[:, None]

    def observe(z):
        return {"z": z[:, 0], "bounded": z[:, 0].clamp(-2, 2)}

    run = flow(square, z, 0.01, [0.5, 1.5, 2.0], observe)
    assert run.status.tolist() == ["diverged", "finished"]
    for values in run.observables.values():
        assert values[0].isnan().tolist() == [False, True, True]
        assert values[1].isfinite().all()
    everyone = flow(square, z[:1], 0.01, [0.5, 1.5, 2.0, 3.0], observe)
    assert everyone.status.tolist() == ["diverged"]
    assert everyone.statistics["steps"] == 150, "nothing is left to integrate"
    assert everyone.observables["z"].shape == (1, 4)
    assert everyone.observables["z"][0, 1:].isnan().all()


def test_a_run_that_diverges_does_not_touch_the_others():
    model = UnconstrainedFeatures(3, 3, 5)
    z = model.small_start(vector(1.0), range(5), RUN)[0]
    z[2] *= 1e3  # too stiff for the step
    mixed = flow(model.field, z, 0.1, [1.0, 2.0], risk_of(model))
    assert mixed.status.tolist() == ["finished", "finished", "diverged", "finished", "finished"]
    z[2] = 0
    clean = flow(model.field, z, 0.1, [1.0, 2.0], risk_of(model))
    others = [0, 1, 3, 4]
    assert torch.equal(mixed.final[others], clean.final[others])
    assert torch.equal(mixed.observables["risk"][others], clean.observables["risk"][others])


def test_a_run_that_ends_at_its_last_step_is_finished():
    z = torch.ones(1, 1, dtype=torch.float64)
    needed = int(adaptive_flow(decay, z, [1.0, 3.0]).statistics["steps"][0])
    assert adaptive_flow(decay, z, [1.0, 3.0], max_steps=needed).status == "finished"
    short = adaptive_flow(decay, z, [1.0, 3.0], first, max_steps=needed - 1)
    assert short.status == "out of steps"
    assert short.observables["z"].isnan().tolist() == [[False, True]]
    assert math.exp(-3) < short.final.item() < 1


def test_a_run_at_rest_converges_at_once_or_finishes():
    for dtype in (torch.float32, torch.float64):
        z = torch.ones(2, 3, dtype=dtype)
        run = adaptive_flow(torch.zeros_like, z, [1.0, 2.0], first)
        assert run.status.tolist() == ["finished"] * 2
        assert run.observables["z"].tolist() == [[1, 1], [1, 1]]
        run = adaptive_flow(torch.zeros_like, z, [1.0, 2.0], first, tolerance=0)
        assert run.status.tolist() == ["converged"] * 2
        assert run.statistics["steps"].tolist() == [0, 0]
        assert run.observables["z"].tolist() == [[1, 1], [1, 1]]


def test_a_smaller_tolerance_goes_on_for_longer():
    z = torch.ones(1, 1, dtype=torch.float64)
    ends = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        run = adaptive_flow(decay, z, [5.0 * k for k in range(1, 7)], first, tolerance=tolerance)
        assert run.status == "converged"
        assert run.final.item() <= tolerance
        ends.append(int(run.statistics["steps"][0]))
    assert ends[0] < ends[1] < ends[2]


@pytest.mark.parametrize("method", PAIRS)
def test_zero_components_need_no_absolute_tolerance(method):
    z = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    run = adaptive_flow(decay, z, [1.0], None, method, rtol=1e-6, atol=0)
    assert run.status.tolist() == ["finished"] * 2
    assert run.final[0].tolist() == [pytest.approx(math.exp(-1), rel=1e-5), 0]
    assert run.final[1].tolist() == [0, 0]


@pytest.mark.parametrize("method", PAIRS)
def test_single_precision_ends_too(method):
    z = torch.ones(2, 3)
    run = adaptive_flow(decay, z, [0.5, 20.0], first, method, rtol=1e-4, atol=1e-9)
    assert run.status.tolist() == ["finished"] * 2
    assert run.final.dtype == torch.float32
    assert run.observables["z"][:, 0].tolist() == pytest.approx([math.exp(-0.5)] * 2, rel=1e-3)


# --- Neighbours ---------------------------------------------------------------------------------


@settings(max_examples=10)
@given(st.sampled_from(PAIRS), st.integers(0, 2**32), st.integers(2, 6))
def test_a_result_does_not_depend_on_its_neighbours(method, seed, runs):
    """The steps are the same, and the result up to the rounding of a batch's sums."""
    rates = torch.rand(runs, 1, generator=generator(seed), dtype=torch.float64) * 3
    z = torch.rand(runs, 4, generator=generator(seed + 1), dtype=torch.float64)
    z = torch.cat([z, rates], -1)

    def field(z):  # the rate is a component that stands still
        return torch.cat([-z[:, -1:] * z[:, :-1].square(), torch.zeros_like(z[:, -1:])], -1)

    arguments = ([0.5, 3.0], first, method, 1e-7, 1e-12)
    together = adaptive_flow(field, z, *arguments)
    for k in range(runs):
        alone = adaptive_flow(field, z[k], *arguments)
        assert int(alone.statistics["steps"]) == int(together.statistics["steps"][k])
        assert int(alone.statistics["rejected"]) == int(together.statistics["rejected"][k])
        assert float((alone.final - together.final[k]).abs().max()) < 1e-14
        assert float((alone.observables["z"] - together.observables["z"][k]).abs().max()) < 1e-14


def test_a_model_does_not_depend_on_the_neighbours_of_its_run():
    """Small and large starts side by side, one of them lost: far below the tolerance 1e-10."""
    model = UnconstrainedFeatures(3, 3, 15)
    z = model.small_start(vector(1.0, 1e-3), range(3), RUN).reshape(6, -1)
    crowd = torch.cat([z, torch.full_like(z[:1], math.nan), 5 * z])
    alone = adaptive_flow(model.field, z[:1], [0.5, 5.0])
    together = adaptive_flow(model.field, crowd, [0.5, 5.0])
    assert together.status.tolist() == ["finished"] * 6 + ["diverged"] + ["finished"] * 6
    assert float((alone.final[0] - together.final[0]).abs().max()) < 1e-12
    # Control: another tolerance moves the result by more than that.
    other = adaptive_flow(model.field, z[:1], [0.5, 5.0], rtol=1e-8)
    assert float((alone.final[0] - other.final[0]).abs().max()) > 1e-12


# --- Statistics ---------------------------------------------------------------------------------


def test_the_statistics_of_a_fixed_step():
    calls = []

    def field(z):
        calls.append(len(z))
        return -z

    for method, stages in (("Euler", 1), ("RK4", 4), ("DOP853", 12)):
        calls.clear()
        run = flow(field, torch.ones(3, 1, dtype=torch.float64), 0.1, [0.25, 1.0], None, method)
        assert run.statistics["steps"] == 3 + 8, "each stretch is divided evenly"
        assert run.statistics["evaluations"] == stages * 11 == len(calls)
        assert run.statistics.keys() == {"steps", "evaluations", "seconds", "device", "dtype"}
        assert run.statistics["seconds"] > 0


@pytest.mark.parametrize("step", [0.1, 0.25, 1 / 3, 0.7, 1.0, 5.0])
def test_a_fixed_step_is_the_longest_and_no_shorter_than_it_must_be(step):
    run = flow(decay, torch.ones(1, 1, dtype=torch.float64), step, [1.0])
    assert run.statistics["steps"] == math.ceil(1 / step - 1e-9)


def test_the_statistics_of_an_adaptive_step():
    calls = []

    def field(z):
        calls.append(len(z))
        return scaled(-1.0, -50.0)(z) if len(z) == 2 else -50.0 * z

    for method, stages in (("RK23", 3), ("RK45", 6), ("DOP853", 12)):
        calls.clear()
        z = torch.ones(2, 1, dtype=torch.float64)
        run = adaptive_flow(field, z, [1.0], None, method, 1e-6)
        steps, rejected = run.statistics["steps"], run.statistics["rejected"]
        assert steps.shape == rejected.shape == (2,)
        assert steps[1] > steps[0] and (rejected < steps).all()
        assert run.statistics["evaluations"] == len(calls) == 1 + stages * steps.max()
        assert calls[-1] == 1, "a run that has ended costs nothing more"
    assert (run.statistics["device"], run.statistics["dtype"]) == ("cpu", "float64")


# --- Bad arguments ------------------------------------------------------------------------------

TIMES = [[], [1.0, 1.0], [2.0, 1.0], [-1.0, 2.0], [math.nan], [1.0, math.inf], [1.0, math.nan]]


@pytest.mark.parametrize("integrate", [fixed, adaptive_flow])
@pytest.mark.parametrize("times", TIMES)
def test_times_that_do_not_increase_are_named(integrate, times):
    with pytest.raises(ValueError, match="must be finite and increase from 0 on") as error:
        integrate(decay, torch.ones(1, 1), times)
    assert f"got {times} ({len(times)} times)" in str(error.value)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf])
def test_a_step_that_is_not_positive_is_named(step):
    with pytest.raises(ValueError, match=f"The step is {step}; expected a positive number"):
        flow(decay, torch.ones(1, 1), step, [1.0])


def test_an_unknown_method_is_named_beside_the_known():
    with pytest.raises(ValueError, match="'RK45'; known are Euler, RK4, DOP853"):
        flow(decay, torch.ones(1, 1), 0.1, [1.0], method="RK45")
    with pytest.raises(ValueError, match="'RK4'; known are RK23, RK45, DOP853"):
        adaptive_flow(decay, torch.ones(1, 1), [1.0], method="RK4")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rtol": 0.0},
        {"rtol": math.nan},
        {"atol": -1e-9},
        {"first_step": 0.0},
        {"max_steps": 0},
        {"max_step": 0.0},
        {"max_step": math.nan},
    ],
)
def test_settings_of_the_adaptive_step_are_named(wrong):
    said = "expected (positive numbers|a relative tolerance from)"
    with pytest.raises(ValueError, match=said) as error:
        adaptive_flow(decay, torch.ones(1, 1), [1.0], **wrong)
    ((name, value),) = wrong.items()
    assert f"{name} = {value}" in str(error.value)
