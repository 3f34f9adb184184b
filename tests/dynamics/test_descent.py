"""Gradient descent: its iterates, its endings, its records."""

import gc
import weakref

import numpy as np
import pytest
import torch

from ncbook.dynamics.descent import descent
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def decay(z):
    return -z


def scaled(rates):
    """A field of a rate for each run: z' = rate z."""
    column = torch.tensor(rates, dtype=torch.float64)[:, None]
    return lambda z: column * z


def first(z):
    return {"z": z[:, 0]}


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.float64)


# --- Iterates -----------------------------------------------------------------------------------


def test_the_iterates_are_those_of_torch_optim():
    model = UnconstrainedFeatures(3, [1, 3, 2], 4)
    start = torch.randn(model.size, generator=generator(1), dtype=torch.float64)
    ours = descent(model.field, start, 0.1, 50).final
    parameter = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.SGD([parameter], lr=0.1)
    for _ in range(50):
        optimiser.zero_grad()
        model.risk(parameter).backward()
        optimiser.step()
    assert float((ours - parameter.detach()).abs().max()) < 1e-13
    other = descent(model.field, start, 0.11, 50).final
    assert float((ours - other).abs().max()) > 1e-3


def test_a_batch_is_a_loop():
    model = UnconstrainedFeatures(3, 3, 5)
    eps = torch.tensor([1.0, 1e-3], dtype=torch.float64)
    start = model.small_start(eps, range(3), RUN)
    together = descent(model.field, start, 0.1, 100, lambda z: {"risk": model.risk(z)})
    assert together.final.shape == start.shape
    assert together.observables["risk"].shape == (2, 3, 2)
    assert together.status.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            single = descent(model.field, start[i, j], 0.1, 100, lambda z: {"r": model.risk(z)})
            assert single.status.shape == ()
            assert float((together.final[i, j] - single.final).abs().max()) < 1e-14


def test_the_start_is_not_changed():
    start = ones(3, 2)
    shared = ones(1, 2).expand(3, 2)
    for z in (start, shared, start.T.contiguous().T):
        descent(decay, z, 0.1, 10)
        assert torch.equal(z, ones(3, 2))


# --- Records ------------------------------------------------------------------------------------


def test_observables_are_those_of_the_recorded_iterations():
    record = [0, 1, 2, 7, 20]
    run = descent(decay, ones(2, 3), 0.25, 20, first, record)
    assert run.times.tolist() == record
    exact = torch.tensor([0.75**i for i in record], dtype=torch.float64)
    assert float((run.observables["z"] / exact - 1).abs().max()) < 1e-14
    assert float((run.final - exact[-1]).abs().max()) < 1e-15


def test_without_a_list_the_first_and_the_last_are_recorded():
    run = descent(decay, ones(1, 1), 0.5, 3, first)
    assert run.times.tolist() == [0, 3]
    assert run.observables["z"].tolist() == [[1, 0.125]]


def test_the_run_goes_on_behind_the_last_record():
    run = descent(decay, ones(1, 1), 0.5, 4, first, [1])
    assert run.times.tolist() == [1]
    assert run.final.item() == 0.5**4
    assert run.statistics["steps"] == 4


def test_nothing_need_be_observed():
    run = descent(decay, ones(2, 1), 0.5, 4)
    assert run.observables == {}
    assert dict(run.runs(seed=[0, 1]).sizes) == {"seed": 2, "t": 2}


def test_no_recorded_state_is_kept():
    seen = []

    def observe(z):
        copy = z.clone()
        seen.append(weakref.ref(copy))
        return {"first": copy[:, 0]}

    run = descent(decay, ones(2, 50), 0.1, 30, observe, range(31))
    gc.collect()
    assert len(seen) == 31 and all(state() is None for state in seen)
    assert run.observables["first"].shape == (2, 31)


# --- Endings ------------------------------------------------------------------------------------


def test_without_a_tolerance_a_run_is_finished():
    assert descent(decay, ones(2, 1), 0.5, 3).status.tolist() == ["finished"] * 2


def test_with_a_tolerance_a_run_has_converged_or_is_out_of_steps():
    run = descent(scaled([-1.0, -0.01]), ones(2, 1), 0.5, 100, tolerance=1e-6)
    assert run.status.tolist() == ["converged", "out of steps"]
    # A run that stands still has converged at a tolerance of zero.
    assert descent(lambda z: 0 * z, ones(1, 2), 0.5, 3, tolerance=0).status == "converged"


def test_all_converged_runs_end_early_at_a_recorded_iteration():
    record = [0, 10, 20, 40, 80, 160]
    run = descent(decay, ones(3, 1), 0.5, 160, first, record, tolerance=1e-9)
    assert run.statistics["steps"] == 40, "0.5^30 is the first power below 1e-9"
    assert run.times.tolist() == record
    z = run.observables["z"]
    assert z.shape == (3, 6) and torch.equal(z[:, 4:], z[:, 3:4].expand(3, 2))
    assert run.statistics["evaluations"] == 40 + 4 + 1, "to see whether they have, too"
    assert run.status.tolist() == ["converged"] * 3
    # A diverged run among them does not keep them from ending.
    mixed = descent(scaled([-1.0, 1e100]), ones(2, 1), 0.5, 160, first, record, tolerance=1e-9)
    assert mixed.statistics["steps"] == 40
    assert mixed.status.tolist() == ["converged", "diverged"]


def test_a_run_that_diverges_does_not_touch_the_others():
    model = UnconstrainedFeatures(3, 3, 5)
    start = model.small_start(ones(1), range(5), RUN)[0]
    start[2] *= 100
    record = [0, 3, 5, 50, 200]

    def observe(z):
        return {"risk": model.risk(z), "b": model.unpack(z)[2].norm(dim=-1)}

    mixed = descent(model.field, start, 0.1, 200, observe, record)
    assert mixed.status.tolist() == ["finished", "finished", "diverged", "finished", "finished"]
    lost = mixed.observables["risk"][2].isnan()
    assert not lost[0] and lost[-1]
    assert lost.tolist() == mixed.observables["b"][2].isnan().tolist()
    assert lost.tolist() == sorted(lost.tolist()), "once lost, lost for good"
    start[2] = 0
    clean = descent(model.field, start, 0.1, 200, observe, record)
    others = [0, 1, 3, 4]
    assert torch.equal(mixed.final[others], clean.final[others])
    for name, values in clean.observables.items():
        assert torch.equal(mixed.observables[name][others], values[others])


def test_a_run_is_diverged_even_where_a_tolerance_is_infinite():
    run = descent(scaled([1e200, -1.0]), ones(2, 1), 0.5, 5, record=[5], tolerance=np.inf)
    assert run.status.tolist() == ["diverged", "converged"]


def test_the_run_ends_where_all_have_diverged():
    record = [0, 1, 10, 1000]
    run = descent(scaled([1e200, 1e250]), ones(2, 1), 1.0, 1000, first, record)
    assert run.status.tolist() == ["diverged"] * 2
    assert run.statistics["steps"] == 10
    assert run.times.tolist() == record
    assert run.observables["z"][:, -2:].isnan().all()


def test_the_statistics_name_the_work_and_the_machine():
    run = descent(decay, ones(2, 1).float(), 0.5, 7)
    assert run.statistics.keys() == {"steps", "evaluations", "seconds", "device", "dtype"}
    assert run.statistics["steps"] == run.statistics["evaluations"] == 7
    assert run.statistics["seconds"] > 0
    assert (run.statistics["device"], run.statistics["dtype"]) == ("cpu", "float32")


# --- Bad arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "steps"), [(0.0, 5), (-0.1, 5), (float("nan"), 5), (float("inf"), 5), (0.1, 0)]
)
def test_a_step_or_a_number_of_steps_that_is_not_positive_is_named(step, steps):
    with pytest.raises(ValueError, match="expected both to be positive") as error:
        descent(decay, ones(1, 1), step, steps)
    assert f"step = {step}, steps = {steps}" in str(error.value)


def test_a_number_of_steps_is_an_integer_of_any_library():
    with pytest.raises(ValueError, match=r"steps is 5.0: expected an integer"):
        descent(decay, ones(1, 1), 0.1, 5.0)
    expected = descent(decay, ones(1, 1), 0.1, 5)
    assert torch.equal(descent(decay, ones(1, 1), 0.1, torch.tensor(5)).final, expected.final)


@pytest.mark.parametrize("record", [[], [3, 2], [1, 1], [-1, 2], [0, 11], [0.5, 3]])
def test_recorded_iterations_that_do_not_fit_are_named(record):
    with pytest.raises(ValueError, match=r"whole numbers that increase within 0..10") as error:
        descent(decay, ones(1, 1), 0.1, 10, record=record)
    assert str(record) in str(error.value)


def test_recorded_iterations_may_be_an_array():
    run = descent(decay, ones(1, 1), 0.5, 10, first, np.array([0, 2, 10]))
    assert run.times.tolist() == [0, 2, 10]
