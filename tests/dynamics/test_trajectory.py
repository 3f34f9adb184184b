"""What a run returns: its table, its grids of times, its recorder."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch

from ncbook.dynamics.trajectory import (
    FINISHED,
    Recorder,
    Trajectory,
    first_index,
    first_time,
    log_grid,
    log_steps,
)


def trajectory(*batch: int, T: int = 4) -> Trajectory:
    values = torch.arange(int(np.prod(batch, dtype=int)) * T, dtype=torch.float64)
    return Trajectory(
        times=torch.arange(T) / 2,
        observables={"a": values.reshape(*batch, T), "b": -values.reshape(*batch, T)},
        final=torch.zeros(*batch, 5),
        status=np.full(batch, FINISHED, dtype=object),
    )


# --- The labelled runs --------------------------------------------------------------------------


def test_runs_have_named_dimensions_and_the_recorded_times():
    runs = trajectory(2, 3).runs("step", eps=[0.1, 0.01], seed=[7, 8, 9])
    assert runs.a.dims == ("eps", "seed", "step") and runs.status.dims == ("eps", "seed")
    assert runs.step.values.tolist() == [0, 0.5, 1, 1.5]
    for i, eps in enumerate([0.1, 0.01]):
        for j, seed in enumerate([7, 8, 9]):
            mine = runs.sel(eps=eps, seed=seed)
            assert mine.a.values.tolist() == [4 * (3 * i + j) + k for k in range(4)]
            assert mine.b.values.tolist() == (-mine.a).values.tolist()


def test_one_run_needs_no_axis():
    runs = trajectory().runs()
    assert runs.a.dims == ("t",) and runs.a.values.tolist() == [0, 1, 2, 3]
    assert runs.status.item() == FINISHED


@pytest.mark.parametrize("make", [torch.tensor, np.array, tuple])
def test_the_labels_may_be_tensors_and_arrays(make):
    runs = trajectory(2).runs(eps=make([0.5, 0.25]))
    assert runs.eps.dtype == float and runs.eps.values.tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    "axes",
    [{}, {"eps": [1]}, {"eps": [1, 2]}, {"seed": [1, 2, 3], "eps": [1, 2]},
     {"eps": [1, 2], "seed": [1, 2]}],
)  # fmt: skip
def test_axes_that_do_not_fit_are_refused(axes):
    with pytest.raises(ValueError, match=r"shape \(2, 3.*Give one axis for each dimension"):
        trajectory(2, 3).runs(**axes)


# --- Grids --------------------------------------------------------------------------------------


def test_a_log_grid_is_even_in_the_logarithm_and_exact_at_its_ends():
    grid = log_grid(40.0, 6, 0.04)
    assert (grid[0], grid[1], grid[-1]) == (0.0, 0.04, 40.0)
    ratios = np.diff(np.log(grid[1:]))
    assert len(grid) == 7
    assert np.ptp(ratios) < 1e-12
    assert all(type(t) is float for t in grid)


@pytest.mark.parametrize(
    ("end", "points", "first"),
    [(1.0, 5, 1.0), (1.0, 5, 2.0), (1.0, 5, 0.0), (1.0, 5, -1.0), (1.0, 1, 0.1)],
)
def test_a_log_grid_that_cannot_be_is_refused(end, points, first):
    with pytest.raises(ValueError, match="0 < first < end and at least 2 points") as error:
        log_grid(end, points, first)
    assert f"first = {first}, end = {end}, points = {points}" in str(error.value)


def test_log_steps_are_whole_numbers_that_come_once():
    steps = log_steps(400, 30)
    assert steps[0] == 0 and steps[1] == 1 and steps[-1] == 400
    assert steps == sorted(set(steps)) and all(type(i) is int for i in steps)
    assert 20 < len(steps) <= 31
    assert log_steps(1, 5) == [0, 1]
    # Beyond the rounding of small numbers they are even in the logarithm.
    ratios = np.diff(np.log([i for i in steps if i > 50]))
    assert np.ptp(ratios) < 0.03


@pytest.mark.parametrize(("steps", "points"), [(0, 5), (-3, 5), (10, 1)])
def test_log_steps_that_cannot_be_are_refused(steps, points):
    with pytest.raises(ValueError, match="steps >= 1 and points >= 2") as error:
        log_steps(steps, points)
    assert f"steps = {steps}, points = {points}" in str(error.value)


# --- The recorder -------------------------------------------------------------------------------


def test_the_recorder_keeps_numbers_and_no_states():
    states = []

    def observe(z):
        states.append(weakref.ref(z))
        return {"first": z[..., 0]}

    recorder = Recorder(observe, 3)
    for index in range(2):
        recorder.record(index, torch.full((2, 1000), float(index)))
    gc.collect()
    assert [state() for state in states] == [None, None]
    values = recorder.values["first"]
    assert values.shape == (2, 3)
    assert values[:, :2].tolist() == [[0, 1], [0, 1]] and values[:, 2].isnan().all()


def test_a_state_that_is_not_finite_is_recorded_as_nan():
    """Also where the observable itself would be finite, and where it would refuse the batch."""
    z = torch.ones(4, 3, dtype=torch.float64)
    z[1, 2], z[3, 0] = torch.inf, torch.nan
    before = z.clone()
    recorder = Recorder(
        lambda z: {"last but one": z[:, 1], "s": torch.linalg.svdvals(z[:, None])[:, 0]}, 1
    )
    recorder.record(0, z)
    for values in recorder.values.values():
        assert values[:, 0].isnan().tolist() == [False, True, False, True]
        assert values[[0, 2], 0].isfinite().all()
    assert torch.equal(z.isnan(), before.isnan()) and z[1, 2] == torch.inf


def test_an_observable_may_count():
    recorder = Recorder(lambda z: {"positive": (z > 0).sum(-1), "any": (z > 0).any(-1)}, 1)
    recorder.record(0, torch.tensor([[1.0, -1.0], [2.0, 3.0]]))
    assert recorder.values["positive"].tolist() == [[1], [2]]
    assert recorder.values["any"].tolist() == [[1], [1]]


def test_an_observable_is_one_number_a_run():
    recorder = Recorder(lambda z: {"fine": z[..., 0], "whole": z}, 1)
    with pytest.raises(ValueError, match=r"'whole' has shape \(2, 3, 5\)") as error:
        recorder.record(0, torch.zeros(2, 3, 5))
    assert "expected one number a run, shape (2, 3)" in str(error.value)


def test_an_observable_leaves_no_graph_behind():
    weight = torch.ones(2, requires_grad=True)
    recorder = Recorder(lambda z: {"a": z @ weight}, 2)
    recorder.record(0, torch.ones(3, 2))
    assert not recorder.values["a"].requires_grad


# --- The first time of something ----------------------------------------------------------------


def test_never_is_no_index_and_no_time():
    mask = torch.tensor([[False, True, True], [True, False, False], [False, False, False]])
    assert first_index(mask).tolist() == [1, 0, 3]
    times = torch.tensor([0.0, 0.5, 2.0])
    assert first_time(times, mask).tolist() == [0.5, 0.0, math.inf]
    assert first_time(torch.arange(3), mask).tolist() == [1.0, 0.0, math.inf]
    with pytest.raises(IndexError):
        times[first_index(mask)]
    assert first_index(mask[:, :0]).tolist() == [0, 0, 0]
