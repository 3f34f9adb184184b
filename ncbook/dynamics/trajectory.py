"""What a run of any of the dynamics returns: times, observables, status, statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor

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
        ``"diverged"`` (the state or the field ceased to be finite; from adaptive_flow also that no
        step was short enough), ``"step underflow"`` (the tolerance would have a step too short to
        move the state) or ``"unresolved"`` (at a kink, or before a mark, no step led on).
    statistics : dict
        Steps, evaluations of the field, seconds, device and dtype of the whole batch.
    """

    times: Tensor
    observables: dict[str, Tensor]
    final: Tensor
    status: np.ndarray
    statistics: dict = field(default_factory=dict)

    def table(self, time: str = "t", **axes: Sequence) -> pd.DataFrame:
        """Return one tidy table: a row a run and a recorded time.

        Parameters
        ----------
        time : str
            Name of the time column.
        **axes : sequence
            For each batch dimension, in order, its name and its labels.

        Raises
        ------
        ValueError
            The axes do not fit the batch dimensions.
        """
        batch = self.status.shape
        given = tuple(len(labels) for labels in axes.values())
        if given != batch:
            named = ", ".join(f"{name} ({len(labels)})" for name, labels in axes.items()) or "none"
            raise ValueError(
                f"The batch of runs has shape {batch}; the axes given are {named}. "
                "Give one axis for each batch dimension, in order, with one label an entry."
            )
        plain = (x.tolist() if isinstance(x, Tensor | np.ndarray) else x for x in axes.values())
        labels = [*plain, self.times.tolist()]
        index = pd.MultiIndex.from_product(labels, names=[*axes, time])
        columns = {
            name: values.detach().cpu().double().numpy().reshape(-1)
            for name, values in self.observables.items()
        }
        return pd.DataFrame(columns, index=index).reset_index()


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


class Recorder:
    """Collects observables at chosen times, keeping no states."""

    def __init__(self, observe: Observe | None, count: int) -> None:
        self.observe = observe
        self.count = count
        self.values: dict[str, Tensor] = {}

    def record(self, index: int, state: Tensor) -> None:
        """Evaluate the observables on ``state``, shape ``(*batch, P)``, as entry ``index``.

        A run whose state is not finite gets NaN, whatever the observable would make of it; the
        observable sees zeros in its place, so that a decomposition does not refuse the batch.
        """
        if self.observe is None:
            return
        finite = state.isfinite().all(-1)
        if not bool(finite.all()):
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

    def truncated(self, count: int) -> dict[str, Tensor]:
        """Return the first ``count`` entries of every observable."""
        return {name: values[..., :count] for name, values in self.values.items()}


class Waiting:
    """States at recorded times that only some runs have reached; few at once.

    Runs reach a time at different moments. A time's states are held until the last run is
    there, observed as one batch, and dropped.
    """

    def __init__(self, recorder: Recorder, like: Tensor, shape: torch.Size) -> None:
        self.recorder, self.shape = recorder, shape
        self.left = torch.full_like(like, torch.nan)  # what the runs that left have from there on
        self.gone = 0
        self.states: dict[int, Tensor] = {}
        self.count: dict[int, int] = {}

    def put(self, index: Tensor, runs: Tensor, states: Tensor) -> None:
        """Take the states of ``runs`` at times number ``index``, one each."""
        if self.recorder.observe is None:
            return
        for i in index.unique().tolist():
            if i not in self.states:
                self.states[i], self.count[i] = self.left.clone(), self.gone
            mine = index == i
            self._enter(i, runs[mine], states[mine])

    def leave(self, runs: Tensor, index: Tensor, states: Tensor, keep: Tensor) -> None:
        """Fill what ``runs`` will not reach: with their state where ``keep``, else with NaN.

        ``index`` is the number of each run's next time.
        """
        if self.recorder.observe is None:
            return
        states = torch.where(keep[:, None], states, torch.nan)
        self.left[runs], self.gone = states, self.gone + len(runs)
        for i in list(self.states):
            mine = index <= i
            self._enter(i, runs[mine], states[mine])
        if self.gone == len(self.left):
            for i in range(int(index.max()), self.recorder.count):
                if i not in self.count:
                    self.recorder.record(i, self.left.view(self.shape))

    def _enter(self, i: int, runs: Tensor, states: Tensor) -> None:
        self.states[i][runs] = states
        self.count[i] += len(runs)
        if self.count[i] == len(self.left):
            self.recorder.record(i, self.states.pop(i).view(self.shape))


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
