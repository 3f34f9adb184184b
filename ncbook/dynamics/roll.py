"""Who is under way in an adaptive integration, whose runs end and pass their marks one by one.

A device computes ahead of the host, until the host asks it for a number. So the integration asks
seldom: every ``STRIDE`` steps it brings home, in one copy, which runs have come where. Until then a
run that has ended stands still beside the others, and the states at marks wait.
"""

import time

import numpy as np
import torch
from torch import Tensor

from ncbook.dynamics.trajectory import (
    CONVERGED,
    DIVERGED,
    FINISHED,
    OUT_OF_STEPS,
    UNDERFLOW,
    UNRESOLVED,
    Observe,
    Recorder,
    Trajectory,
    statistics,
)

STRIDE = 16  # steps between two looks, on a device that computes ahead
ENDS = ("", FINISHED, OUT_OF_STEPS, CONVERGED, UNDERFLOW, UNRESOLVED, DIVERGED)
GOING = 0


class Roll:
    """The runs of one integration.

    Parameters
    ----------
    start : Tensor
        Shape ``(*batch, P)``.
    marks : int
        How many places of each run are to be observed.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    counts : sequence of str
        What is counted for each run.

    Attributes
    ----------
    runs : ndarray of int
        The runs that are under way.
    code : Tensor
        Where each of them ended: a place in ``ENDS``.
    index : Tensor
        The mark that is next for each.
    count : dict of Tensor
        For each of them.
    """

    def __init__(self, start: Tensor, marks: int, observe: Observe | None, counts=()) -> None:
        self.began, self.shape = time.perf_counter(), start.shape
        self.final = start.reshape(-1, start.shape[-1]).clone()
        self.runs = np.arange(len(self.final))
        self.status = np.full(len(self.runs), FINISHED, dtype=object)
        self.code = torch.zeros(len(self.runs), dtype=torch.long, device=start.device)
        self.index = self.code.clone()
        self.count = {name: self.code.clone() for name in ("steps", "rejected", *counts)}
        self.counted = {name: np.zeros(len(self.runs), dtype=int) for name in self.count}
        self.marks, self.passed, self.asked = marks, [], 0
        self.stride = 1 if start.device.type == "cpu" else STRIDE
        self.waiting = Waiting(Recorder(observe, marks), self.final, start.shape)

    def end(self, **reasons: Tensor) -> None:
        """End runs, by the names of ``ENDS`` with underscores; the first reason counts."""
        for name, who in reasons.items():
            code = ENDS.index(name.replace("_", " "))
            self.code = torch.where(who & (self.code == GOING), code, self.code)

    def mark(self, hit: Tensor, z: Tensor) -> None:
        """Take the states of runs that are at their next mark."""
        if self.waiting.recorder.observe is not None:
            self.passed.append((torch.where(hit, self.index, -1), z))
        self.index = self.index + hit

    def look(self, z: Tensor) -> Tensor | None:
        """Look after the runs, if it is time; return which rows go on, where some do not."""
        self.asked += 1
        if self.asked % self.stride:
            return None
        table = [self.code, self.index, *self.count.values(), *(at for at, _ in self.passed)]
        code, index, *rest = torch.stack(table).cpu().numpy()
        for at, (_, states) in zip(rest[len(self.count) :], self.passed, strict=True):
            rows = (at >= 0).nonzero()[0]
            if len(rows):
                self.waiting.put(at[rows], self.runs[rows], states[_rows(rows, z)])
        self.passed = []
        if not code.any():
            return None
        gone, stay = code.nonzero()[0], (code == GOING).nonzero()[0]
        who, states = self.runs[gone], z[_rows(gone, z)]
        self.final[_rows(who, z)] = states
        self.status[who] = np.array(ENDS, dtype=object)[code[gone]]
        for counted, now in zip(self.counted.values(), rest, strict=False):
            counted[who] = now[gone]
        stands = code[gone] == ENDS.index(CONVERGED)
        self.waiting.leave(who, index[gone], states, torch.as_tensor(stands).to(z.device))
        rows = _rows(stay, z)
        self.runs, self.code, self.index = self.runs[stay], self.code[rows], self.index[rows]
        self.count = {name: now[rows] for name, now in self.count.items()}
        return rows

    def trajectory(self, marks: list[float], **more) -> Trajectory:
        """Return the batch of runs, with its marks as times."""
        batch = tuple(self.shape[:-1])
        counted = {name: counted.reshape(batch) for name, counted in self.counted.items()}
        return Trajectory(
            times=torch.tensor(marks, dtype=torch.float64).to(self.final),
            observables=self.waiting.recorder.values,
            final=self.final.view(self.shape),
            status=self.status.reshape(batch),
            statistics=statistics(self.final, self.began, **counted, **more),
        )


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

    def put(self, index: np.ndarray, runs: np.ndarray, states: Tensor) -> None:
        """Take the states of ``runs`` at times number ``index``, one each."""
        if self.recorder.observe is None:
            return
        for i in np.unique(index).tolist():
            if i not in self.states:
                self.states[i], self.count[i] = self.left.clone(), self.gone
            self._enter(i, index == i, runs, states)

    def leave(self, runs: np.ndarray, index: np.ndarray, states: Tensor, keep: Tensor) -> None:
        """Fill what ``runs`` will not reach: with their state where ``keep``, else with NaN.

        ``index`` is the number of each run's next time.
        """
        if self.recorder.observe is None:
            return
        states = torch.where(keep[:, None], states, torch.nan)
        self.left[_rows(runs, states)], self.gone = states, self.gone + len(runs)
        for i in list(self.states):
            self._enter(i, index <= i, runs, states)
        if self.gone == len(self.left):
            for i in range(int(index.max()), self.recorder.count):
                if i not in self.count:
                    self.recorder.record(i, self.left.view(self.shape))

    def _enter(self, i: int, mine: np.ndarray, runs: np.ndarray, states: Tensor) -> None:
        rows = mine.nonzero()[0]
        self.states[i][_rows(runs[rows], states)] = states[_rows(rows, states)]
        self.count[i] += len(rows)
        if self.count[i] == len(self.left):
            self.recorder.record(i, self.states.pop(i).view(self.shape))


def _rows(numbers: np.ndarray, like: Tensor) -> Tensor:
    """Return row numbers on the device of a tensor."""
    return torch.from_numpy(numbers).to(like.device)
