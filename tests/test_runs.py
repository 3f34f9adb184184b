"""Labelled runs: names of dimensions, slopes, sweeps."""

import numpy as np
import pytest
import torch
import xarray as xr

from ncbook import runs
from ncbook.dynamics.trajectory import Trajectory


def test_numbers_get_the_names_of_their_axes():
    values = torch.arange(6.0).reshape(2, 3)
    found = runs.label(
        {"a": values, "whole": torch.arange(6).reshape(2, 3)}, eps=[1.0, 0.1], seed=range(3)
    )
    assert found["a"].dims == ("eps", "seed")
    assert found.sel(eps=0.1)["a"].values.tolist() == [3, 4, 5]
    assert found["a"].dtype == np.float64
    assert found["whole"].dtype.kind == "i"


def test_single_precision_is_widened_and_gradients_are_left_behind():
    one = torch.ones(2, dtype=torch.float32, requires_grad=True)
    assert runs.label({"a": one}, seed=range(2))["a"].dtype == np.float64


@pytest.mark.parametrize("axes", [{"seed": range(3)}, {"eps": [1.0], "seed": range(2)}, {}])
def test_axes_that_do_not_fit_are_refused(axes):
    with pytest.raises(ValueError, match=r"a has shape \(2,\); .*one axis for each dimension"):
        runs.label({"a": torch.zeros(2)}, **axes)


@pytest.mark.parametrize("power", [-2.0, 0.5, 6.0])
def test_a_power_law_has_its_slope(power):
    x = 10.0 ** -np.arange(1, 5)
    data = runs.label({"y": 3 * x[:, None] ** power * np.array([1.0, 7.0])}, x=x, seed=range(2))
    assert runs.slope(data, "x")["y"].values == pytest.approx([power] * 2)


def test_a_run_without_a_number_has_no_slope():
    x = np.array([1.0, 2.0, 4.0])
    data = runs.label({"y": np.stack([x, np.array([1.0, np.nan, 4.0])], 1)}, x=x, seed=range(2))
    assert np.isnan(runs.slope(data, "x")["y"].values).tolist() == [False, True]


@pytest.mark.parametrize("along", ["z", "seed"])
def test_a_slope_needs_two_values(along):
    data = runs.label({"y": np.ones((2, 1))}, x=[1.0, 2.0], seed=[0])
    with pytest.raises(ValueError, match="needs at least two of its values"):
        runs.slope(data, along)


def test_a_sweep_gathers_what_each_point_gives():
    sweep = runs.Sweep(kind=["b", "a"], n=[3, 1])
    seen = []
    for at in sweep:
        seen.append((at["kind"], at["n"]))
        sweep.add({"v": torch.full((2,), float(at["n"]))}, seed=range(2))
    assert seen == [("b", 3), ("b", 1), ("a", 3), ("a", 1)]
    found = sweep.dataset()
    assert found["v"].dims == ("kind", "n", "seed")
    assert found["kind"].values.tolist() == ["b", "a"]  # in the order that was asked for
    assert found.sel(kind="a", n=3)["v"].values.tolist() == [3, 3]


def test_a_sweep_takes_labelled_runs_as_they_are():
    sweep = runs.Sweep(n=[1, 2])
    for at in sweep:
        sweep.add(runs.label({"v": [0.0, at["n"]]}, seed=range(2)))
    assert sweep.dataset()["v"].sel(n=2).values.tolist() == [0, 2]


def test_a_point_without_a_result_is_not_passed_over():
    sweep = runs.Sweep(n=[1, 2])
    with pytest.raises(ValueError, match="0 results were added for 1 points"):
        for _ in sweep:
            pass
    with pytest.raises(ValueError, match="not come to its end"):
        sweep.dataset()


def test_a_trajectory_has_its_observables_and_status_by_name():
    path = Trajectory(
        times=torch.tensor([0.0, 1.0]),
        observables={"loss": torch.arange(4.0).reshape(2, 2)},
        final=torch.zeros(2, 5),
        status=np.array(["finished", "diverged"], dtype=object),
    )
    found = path.runs("t", seed=[7, 8])
    assert found["loss"].dims == ("seed", "t")
    assert found.sel(seed=8, t=1.0)["loss"] == 3
    assert found["status"].sel(seed=8) == "diverged"
    assert isinstance(found, xr.Dataset)


def test_what_the_runs_were_recorded_at_is_their_axis_and_no_variable():
    path = Trajectory(
        times=torch.tensor([1.0, 10.0]),
        observables={"R": torch.tensor([[1.0, 10.0]]), "loss": torch.ones(1, 2)},
        final=torch.zeros(1, 5),
        status=np.array(["finished"], dtype=object),
    )
    found = path.runs("R", seed=[0])
    assert found["R"].values.tolist() == [1, 10] and "R" not in found.data_vars


def test_labels_that_do_not_agree_are_refused():
    one, other = (runs.label({"a": [1.0, 2.0]}, eps=eps) for eps in ([0.3, 1.0], [0.1 * 3, 1.0]))
    with pytest.raises(ValueError, match="eps"):
        one / other
    sweep = runs.Sweep(k=[0, 1])
    for _, part in zip(sweep, (one, other), strict=False):
        sweep.add(part)
    with pytest.raises(ValueError, match="eps"):
        sweep.dataset()
