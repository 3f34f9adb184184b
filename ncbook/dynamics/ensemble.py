"""The runs of an adaptive integration, which end and pass their times or levels one by one.

A device computes ahead of the host, until the host asks it for a number. So the integration asks
seldom: every ``STRIDE`` steps it brings home, in one copy, which runs have come where. Until then a
run that has ended stands still beside the others, the states to be saved are held, and what only
the host can do for a run is left.
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
HANDED_ON = "handed on"  # to another method, by which the run will be taken up
ENDS = ("", FINISHED, OUT_OF_STEPS, CONVERGED, UNDERFLOW, UNRESOLVED, DIVERGED, HANDED_ON)
GOING = 0


class Ensemble:
    """The runs of one integration, and who of them is under way.

    Parameters
    ----------
    start : Tensor
        Shape ``(*batch, P)``.
    saves : int
        At how many times or levels each run is to be observed.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    counts : sequence of str
        What is counted for each run.

    Attributes
    ----------
    runs : ndarray of int
        The numbers of the runs that are under way.
    code : Tensor
        Where each of them ended: a place in ``ENDS``.
    index : Tensor
        What is to be saved next of each: the number of a time or level.
    count : dict of Tensor
        For each of them.
    final : Tensor
        ``(R, P)``: the states of the runs that are not under way.
    handed_on : list of int
        The runs that were handed on to another method since the last were taken up.
    told : dict of ndarray or None
        What the last look brought home besides, as far as nobody has read it.
    """

    def __init__(self, start: Tensor, saves: int, observe: Observe | None, counts=()) -> None:
        self.began, self.shape = time.perf_counter(), start.shape
        self.final = start.reshape(-1, start.shape[-1]).clone()
        self.status = np.full(len(self.final), "", dtype=object)
        names = ("steps", "rejected", *counts)
        self.counted = {name: np.zeros(len(self.final), dtype=int) for name in names}
        self.saved = np.zeros(len(self.final), dtype=int)
        self.ahead = start.device.type != "cpu"  # of the host
        self.recorder = AsyncRecorder(Recorder(observe, saves), self.final, start.shape)
        self.handed_on: list[int] = []
        self.take_up(np.arange(len(self.final)))

    def take_up(self, runs: np.ndarray) -> Tensor:
        """Let these runs be under way; return their states."""
        self.runs, self.told, self.passed = runs, None, []
        self.stride, self.since = STRIDE if self.ahead else 1, 0
        self.index = _rows(self.saved[runs], self.final)
        self.code = torch.zeros_like(self.index)
        self.count = {name: _rows(n[runs], self.final) for name, n in self.counted.items()}
        self.handed_on = []
        return self.final[_rows(runs, self.final)]

    def end(self, among: Tensor | None = None, **reasons: Tensor) -> None:
        """End runs, by the names of ``ENDS`` with underscores; the first reason counts."""
        code = torch.zeros_like(self.code)
        for name, who in reversed(reasons.items()):
            code.masked_fill_(who, ENDS.index(name.replace("_", " ")))
        going = self.code == GOING if among is None else (self.code == GOING) & among
        self.code = torch.where(going, code, self.code)

    def save(self, upto: Tensor, z: Tensor) -> None:
        """Let these be the states at all that is to be saved below the number ``upto``, ``(R,)``.

        The tensors are held until the next look, and must not be changed in place.
        """
        if self.recorder.recorder.observe is not None:
            self.passed.append((self.index, upto, z))
        self.index = upto

    def needs(self, who: Tensor) -> bool:
        """Tell whether some run needs the host: of these now, or as the last look has told.

        So a device is not asked: it tells who is ``stuck`` with the look.
        """
        if not self.ahead:
            return bool(who.any())
        if self.told is None:
            self.told = {"stuck": who.any().cpu().numpy()}
        return bool(self.told.pop("stuck", np.False_).any())

    def look(self, z: Tensor, show=None, **tell: Tensor) -> Tensor | None:
        """Look after the runs, if it is time; return which rows go on, where some do not.

        Parameters
        ----------
        z : Tensor
            The states of the runs under way.
        show : callable, optional
            What makes of these, ``(R, P)``, the states that are observed and kept.
        **tell : Tensor
            What else is to be told of each run, as whole numbers ``(R,)``. Who is ``stuck`` stands
            still until the look: if these are many, the next one is sooner.
        """
        self.since += 1
        if self.since < self.stride:
            return None
        self.since = 0
        tell = tell if self.ahead else {}
        table = [self.code, self.index, *self.count.values(), *(x.long() for x in tell.values())]
        code, index, *rest = torch.stack(
            [*table, *(n for first, upto, _ in self.passed for n in (first, upto))]
        ).cpu().numpy()  # fmt: skip
        counts, rest = rest[: len(self.count)], rest[len(self.count) :]
        self.told, rest = dict(zip(tell, rest, strict=False)), rest[len(tell) :]
        self._record(rest[::2], rest[1::2], show)
        self._pace()
        if not code.any():
            return None
        gone, stay = code.nonzero()[0], (code == GOING).nonzero()[0]
        who, states = self.runs[gone], _shown(z, show)[_rows(gone, z)]
        self.final[_rows(who, z)] = states
        self.saved[who] = index[gone]
        for counted, now in zip(self.counted.values(), counts, strict=True):
            counted[who] = now[gone]
        over = code[gone] != ENDS.index(HANDED_ON)
        self.handed_on += who[~over].tolist()
        self.status[who[over]] = np.array(ENDS, dtype=object)[code[gone[over]]]
        if over.any():
            stands = torch.as_tensor(code[gone[over]] == ENDS.index(CONVERGED)).to(z.device)
            states = states[_rows(over.nonzero()[0], z)]
            self.recorder.retire(who[over], index[gone[over]], states, stands)
        rows = _rows(stay, z)
        self.runs, self.code, self.index = self.runs[stay], self.code[rows], self.index[rows]
        self.count = {name: now[rows] for name, now in self.count.items()}
        return rows

    def _record(self, first: list[np.ndarray], upto: list[np.ndarray], show) -> None:
        """Record the states that have been saved since the last look."""
        for low, high, (*_, z) in zip(first, upto, self.passed, strict=True):
            rows = (high > low).nonzero()[0]
            if len(rows):
                rows = rows.repeat((high - low)[rows])
                # Several that a run passed at once have one state.
                index = np.concatenate([np.arange(low[row], high[row]) for row in np.unique(rows)])
                self.recorder.record(index, self.runs[rows], _shown(z, show)[_rows(rows, z)])
        self.passed = []

    def _pace(self) -> None:
        """Choose when to look again.

        If a run gets stuck in a share e of its steps, looking every s steps costs s e / 2 of them,
        and a look at runs that are stuck is about as dear as a step: s is right at s^2 e about 2.
        """
        if "stuck" in self.told:
            lost = float(self.told["stuck"].mean()) * self.stride
            if lost > 3:
                self.stride = max(1, self.stride // 2)
            elif lost < 1:
                self.stride = min(STRIDE, 2 * self.stride)

    def trajectory(self, times: list[float], **more) -> Trajectory:
        """Return the batch of runs, with what they were saved at as times."""
        assert self.status.all(), "a run was handed on, and nobody took it up"
        batch = tuple(self.shape[:-1])
        counted = {name: counted.reshape(batch) for name, counted in self.counted.items()}
        return Trajectory(
            times=torch.tensor(times, dtype=torch.float64).to(self.final),
            observables=self.recorder.recorder.values,
            final=self.final.view(self.shape),
            status=self.status.reshape(batch),
            statistics=statistics(self.final, self.began, **counted, **more),
        )


class AsyncRecorder:
    """A recorder of runs that reach a time at different moments; it keeps few states at once.

    A time's states are held until the last run is there, observed as one batch, and dropped.
    """

    def __init__(self, recorder: Recorder, like: Tensor, shape: torch.Size) -> None:
        self.recorder, self.shape = recorder, shape
        self.left = torch.full_like(like, torch.nan)  # what the runs that left have from there on
        self.gone = 0
        self.states: dict[int, Tensor] = {}
        self.count: dict[int, int] = {}

    def record(self, index: np.ndarray, runs: np.ndarray, states: Tensor) -> None:
        """Take the states of ``runs`` at times number ``index``, one each."""
        if self.recorder.observe is None:
            return
        for i in np.unique(index).tolist():
            if i not in self.states:
                self.states[i], self.count[i] = self.left.clone(), self.gone
            self._enter(i, index == i, runs, states)

    def retire(self, runs: np.ndarray, index: np.ndarray, states: Tensor, keep: Tensor) -> None:
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


def perhaps(some: Tensor) -> bool:
    """Tell whether any is true; a device is not asked, and the answer is yes."""
    return not some.is_cpu or bool(some.any())


def _shown(z: Tensor, show) -> Tensor:
    return z if show is None else show(z)


def _rows(numbers: np.ndarray, like: Tensor) -> Tensor:
    """Return row numbers on the device of a tensor."""
    return torch.from_numpy(numbers).to(like.device)
