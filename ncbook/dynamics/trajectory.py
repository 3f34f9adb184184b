"""What a run of any of the dynamics returns: times, observables, status, statistics."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ncbook import runs

FINISHED = "finished"
CONVERGED = "converged"
OUT_OF_STEPS = "out of steps"
DIVERGED = "diverged"
UNDERFLOW = "step underflow"
UNRESOLVED = "unresolved"

Observe = Callable[[Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Trajectory:
    """A batch of runs, recorded.

    Attributes
    ----------
    times : Tensor
        Shape ``(T,)``: times of a flow, or iteration numbers of a descent.
    observables : dict of Tensor
        Each of shape ``(*batch, T)``. NaN after a run that neither finished nor converged.
    final : Tensor
        Shape ``(*batch, P)``: the last state of each run.
    status : ndarray of str
        Shape ``batch``: ``"finished"`` (came to the end that was asked for), ``"converged"``
        (the field's norm fell to the tolerance that was asked for), ``"out of steps"``,
        ``"diverged"`` (the state or the field ceased to be finite), ``"step underflow"`` (the
        tolerance would have a step too short to move the state or the time) or ``"unresolved"``
        (at a kink, or where the run is to be saved, no step led on).
    statistics : dict
        Steps, evaluations of the field, seconds, device and dtype of the whole batch.
    states : Tensor or None
        Shape ``(*batch, T, P)``: the recorded states, where they were asked for.
    """

    times: Tensor
    observables: dict[str, Tensor]
    final: Tensor
    status: np.ndarray
    statistics: dict = field(default_factory=dict)
    states: Tensor | None = None

    def runs(self, time: str = "t", **axes: Sequence) -> xr.Dataset:
        """Return the observables with named dimensions, and each run's ``status``.

        An observable of the name of the last dimension is what the runs were recorded at, and is
        not repeated.

        Parameters
        ----------
        time : str
            Name of the last dimension, whose labels are the recorded times.
        **axes : sequence
            For each batch dimension, in order, its name and its labels.

        Raises
        ------
        ValueError
            The axes do not fit the batch dimensions.
        """
        status = runs.label({"status": self.status}, **axes)
        seen = {name: values for name, values in self.observables.items() if name != time}
        return runs.label(seen, **axes, **{time: self.times}).merge(status)


def log_grid(end: float, points: int, first: float) -> list[float]:
    """Return 0 and ``points`` times from ``first`` to ``end``, evenly spaced in the logarithm.

    Raises
    ------
    ValueError
        Unless 0 < first < end and points >= 2.
    """
    if not 0 < first < end or points < 2:
        raise ValueError(
            f"A log grid needs 0 < first < end and at least 2 points; "
            f"got first = {first}, end = {end}, points = {points}."
        )
    return [0.0, *np.geomspace(first, end, points).tolist()]


def log_steps(steps: int, points: int) -> list[int]:
    """Return 0 and about ``points`` iteration numbers up to ``steps``, evenly spaced in the log.

    Small numbers, which rounding would repeat, come once.

    Raises
    ------
    ValueError
        Unless steps >= 1 and points >= 2.
    """
    if steps < 1 or points < 2:
        raise ValueError(
            f"A log grid of iterations needs steps >= 1 and points >= 2; "
            f"got steps = {steps}, points = {points}."
        )
    return sorted({0, *np.rint(np.geomspace(1, steps, points)).astype(int).tolist()})


def first_index(mask: Tensor) -> Tensor:
    """Return the index of the first true entry along the last dimension, ``(..., T)`` to ``(...)``.

    Where none is true it is T.
    """
    # A last entry, so that there is one to find, and torch takes an empty row.
    last = mask.new_ones((*mask.shape[:-1], 1))
    return torch.cat([mask, last], dim=-1).int().argmax(-1)


def first_time(times: Tensor, mask: Tensor) -> Tensor:
    """Return the time, of ``(T,)``, of the first true entry of ``(..., T)``, or infinity.

    Whole times come back in single precision, exact up to 2^24.
    """
    times = times if times.is_floating_point() else times.float()
    endless = torch.cat([times, times.new_full((1,), torch.inf)])
    return endless[first_index(mask)]


def statistics(state: Tensor, began: float, **counts) -> dict:
    """Return what a trajectory says of its batch: the counts, the seconds since, and where."""
    return {
        **counts,
        "seconds": time.perf_counter() - began,
        "device": str(state.device),
        "dtype": str(state.dtype).removeprefix("torch."),
    }


class Recorder:
    """Collects observables at chosen times, and states only where they are to be saved."""

    def __init__(self, observe: Observe | None, count: int, save_states: bool = False) -> None:
        self.observe = observe
        self.count = count
        self.save_states = save_states
        self.values: dict[str, Tensor] = {}
        self.states: Tensor | None = None

    def record(self, index: int, state: Tensor) -> None:
        """Evaluate the observables on ``state``, shape ``(*batch, P)``, as entry ``index``.

        A run whose state is not finite gets NaN, whatever the observable would make of it; the
        observable sees zeros in its place, so that a decomposition does not refuse the batch.
        """
        if self.save_states:
            if self.states is None:
                shape = (*state.shape[:-1], self.count, state.shape[-1])
                self.states = state.new_full(shape, torch.nan)
            self.states[..., index, :] = state
        if self.observe is None:
            return
        finite = state.isfinite().all(-1)
        state = torch.where(finite.unsqueeze(-1), state, 0)
        for name, value in self.observe(state).items():
            if value.shape != state.shape[:-1]:
                raise ValueError(
                    f"Observable {name!r} has shape {tuple(value.shape)}; expected one number a "
                    f"run, shape {tuple(state.shape[:-1])}."
                )
            value = value.detach() if value.is_floating_point() else value.to(state.dtype)
            if name not in self.values:
                self.values[name] = value.new_full((*value.shape, self.count), torch.nan)
            self.values[name][..., index] = torch.where(finite, value, torch.nan)

    def repeat(self, index: int) -> None:
        """Take entry ``index`` for all that follow: of runs that move no more, or are lost."""
        saved = [] if self.states is None else [self.states.movedim(-2, -1)]
        for values in (*self.values.values(), *saved):
            values[..., index + 1 :] = values[..., index : index + 1].clone()


def checked_times(record: Sequence[float]) -> list[float]:
    """Return the recorded times as numbers.

    Raises
    ------
    ValueError
        They are not finite, or do not increase from 0 on.
    """
    times = [float(t) for t in record]
    rising = all(a < b for a, b in pairwise(times))
    if not times or not times[0] >= 0 or not times[-1] < np.inf or not rising:
        raise ValueError(
            "The recorded times must be finite and increase from 0 on; "
            f"got {times[:8]} ({len(times)} times)."
        )
    return times
