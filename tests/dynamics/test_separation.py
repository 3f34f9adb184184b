"""The time of separation: closed forms, other integrators, and what must not pass for separated."""

import math

import pytest
import torch

from ncbook.dynamics.flow import flow
from ncbook.dynamics.separation import separation_times
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
ONE = torch.ones(1, dtype=torch.float64)


def network(K: int = 3, n: int = 3, width: int = 9, seeds: int = 0) -> ShallowReLU:
    """n samples a class around the corners of a simplex, for each seed its own."""
    labels = torch.arange(K).repeat_interleave(n)
    corners = (torch.eye(K, 6, dtype=torch.float64) - torch.eye(6)[:K].sum(0) / K)[labels]
    noise = [torch.randn(K * n, 6, generator=generator(s), dtype=torch.float64) for s in range(9)]
    X = corners + 0.05 * torch.stack(noise[:seeds] if seeds else noise[:1])
    loss = "exponential" if K == 2 else "cross-entropy"
    return ShallowReLU(X if seeds else X[0], labels, K, width, loss)


def turning(angle: float) -> tuple[ShallowReLU, torch.Tensor]:
    """One sample a class, at 0 and at 135 degrees, and a neuron of class 0 at ``angle``.

    Above 45 degrees it is active on both samples, until it has turned to 45.
    """
    X = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    model = ShallowReLU(X, [0, 1], 2, 2, "exponential")
    W = torch.tensor([[math.cos(angle), -1.0], [math.sin(angle), 1.0]], dtype=torch.float64)
    V = torch.tensor([[1.0, -(2**0.5)]], dtype=torch.float64)
    return model, 1e-8 * model.pack(W, V)


def test_the_time_of_one_neuron_is_known():
    """At f = 0: w' = v (x_0 - x_1) = v (2, -1), v' = <w, x_0 - x_1> = <w, (2, -1)>.

    So p = <w, (2, -1)> obeys p' = 5 v, v' = p, and <w, x_1> = -w_0 + w_1 falls at the rate 3 v:
    it is b - 3 (p - p_0)/5 with its start b. It is zero where p = p_0 + 5 b/3.
    """
    angle = math.radians(55)
    model, start = turning(angle)
    p_0, b = 2 * math.cos(angle) - math.sin(angle), math.sin(angle) - math.cos(angle)
    # p = p_0 cosh(r t) + r sinh(r t) with r^2 = 5 and v_0 = 1, inverted by bisection.
    low, high, r = 0.0, 5.0, 5**0.5
    for _ in range(60):
        middle = (low + high) / 2
        p = p_0 * math.cosh(r * middle) + r * math.sinh(r * middle)
        low, high = (middle, high) if p < p_0 + 5 * b / 3 else (low, middle)
    fine = separation_times(model, start, ONE[0], 1e-3, 2.0)
    assert fine.shape == ()
    assert 0 <= float(fine) - low < 1.001e-3
    coarse = separation_times(model, start, ONE[0], 0.1, 2.0)
    assert 0 <= float(coarse) - low < 0.1001
    # In units of 1/rate: twice the rate, twice the number.
    assert float(separation_times(model, start, 2 * ONE[0], 2e-3, 4.0)) == 2 * float(fine)
    # Negative control: with the neuron beyond the repelling side it takes longer.
    assert float(separation_times(*turning(math.radians(70)), ONE[0], 1e-3, 2.0)) > low + 0.05


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("seeds", [0, 4])
def test_runs_are_looked_at_until_the_end_of_a_full_flow(K, seeds):
    """The same from a flow of all runs that goes on after they have separated."""
    model = network(K, seeds=seeds)
    eps = torch.tensor([1e-1, 1e-6], dtype=torch.float64)
    start = model.balanced_start(eps, range(4), RUN)
    rate = 1 + torch.arange(4, dtype=torch.float64) / 10
    every = model.for_runs((2, 4), torch.arange(8))
    record = [0.05 * i for i in range(81)]
    course = flow(
        lambda z: every.field(z) / rate.repeat(2)[:, None],
        start,
        0.05,
        record,
        lambda z: {"apart": model.separated(z), "grouped": model.groups(z).double().sum(-1)},
    )
    apart = course.observables["apart"] > 0
    first = course.times[apart.int().argmax(-1)].where(apart.any(-1), torch.nan)
    found = separation_times(model, start, rate, 0.05, 4.0)
    assert torch.allclose(found, first, 0, 1e-12, equal_nan=True)
    assert found.isfinite().any() and len(found.unique()) > 2
    # Separation is for good.
    assert (apart.int().diff(dim=-1) >= 0).all()
    # Half the time: who needs longer is not seen.
    half = separation_times(model, start, rate, 0.05, 2.0)
    assert torch.equal(half.isnan(), ~(found <= 2.0))


def test_other_groups_do_not_count():
    model = network()
    start = model.semi_local_start(1e-3 * ONE, range(3), RUN)[0]
    groups = model.groups(start)
    rate = torch.ones(3, dtype=torch.float64)
    assert separation_times(model, start, rate, 0.1, 1.0).tolist() == [0.0] * 3
    assert separation_times(model, start, rate, 0.1, 1.0, groups).tolist() == [0.0] * 3
    groups = groups.clone()
    groups[1, 4] = (groups[1, 4] + 1) % 3
    times = separation_times(model, start, rate, 0.1, 1.0, groups)
    assert times.isnan().tolist() == [False, True, False]


def test_a_run_that_is_lost_has_not_separated():
    model = network()
    start = model.balanced_start(1e-3 * ONE, range(3), RUN)[0]
    rate = torch.ones(3, dtype=torch.float64)
    fine = separation_times(model, start, rate, 0.05, 20.0)
    assert fine.isfinite().all()
    start[1] = torch.nan
    lost = separation_times(model, start, rate, 0.05, 20.0)
    assert lost.isnan().tolist() == [False, True, False]
    assert torch.equal(lost[[0, 2]], fine[[0, 2]])


@pytest.mark.parametrize(
    ("rate", "step", "end"), [(0.0, 0.1, 1.0), (1.0, -0.1, 1.0), (1.0, 0.1, 0)]
)
def test_wrong_arguments_are_named(rate, step, end):
    model = network()
    start = model.balanced_start(ONE, [0], RUN)[0]
    with pytest.raises(ValueError, match="expected positive numbers"):
        separation_times(model, start, rate * ONE, step, end)
