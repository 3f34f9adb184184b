"""Gradient descent over a batch of runs."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ncbook.dynamics.trajectory import (
    CONVERGED,
    DIVERGED,
    FINISHED,
    OUT_OF_STEPS,
    Observe,
    Recorder,
    Trajectory,
)
from ncbook.runtime import whole


def descent(
    field: Callable[[Tensor], Tensor],
    start: Tensor,
    step: float,
    steps: int,
    observe: Observe | None = None,
    record: Sequence[int] | None = None,
    tolerance: float | None = None,
) -> Trajectory:
    """Iterate z <- z + step * field(z) for every run of a batch.

    Parameters
    ----------
    field : callable
        Minus the gradient: ``(R, P)`` to ``(R, P)``, each row by itself.
    start : Tensor
        Shape ``(*batch, P)``.
    step : float
        Step size, positive.
    steps : int
        Iterations.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    record : sequence of int, optional
        Iterations at which to observe, increasing; without it, the first and the last.
    tolerance : float, optional
        A run whose field has at most this norm at the end is converged, else out of steps. The
        end comes early, at a recorded iteration at which every run that has not diverged has
        converged. Without a tolerance a run is finished after ``steps``.

    Returns
    -------
    Trajectory
        ``times`` are iteration numbers, as far as the runs came. A run whose state ceases to be
        finite is reported as diverged and does not touch the others.

    Raises
    ------
    ValueError
        The step is not positive, or the recorded iterations are not increasing in 0..steps.
    """
    steps = whole("steps", steps)
    if not 0 < step < np.inf or steps < 1:
        raise ValueError(f"step = {step}, steps = {steps}: expected both to be positive.")
    record = [0, steps] if record is None else list(record)
    fits = record and all(i == int(i) for i in record) and record == sorted(set(record))
    if not fits or record[0] < 0 or record[-1] > steps:
        raise ValueError(
            "The recorded iterations must be whole numbers that increase within "
            f"0..{steps}; got {record[:8]}."
        )
    record = [int(i) for i in record]
    batch, began = start.shape[:-1], time.perf_counter()
    z = start.reshape(-1, start.shape[-1]).clone()
    recorder = Recorder(observe, len(record))
    iteration, recorded = 0, 0
    for recorded, stop in enumerate(record, 1):
        for _ in range(stop - iteration):
            z.add_(field(z), alpha=step)
        iteration = stop
        recorder.record(recorded - 1, z.view(start.shape))
        over = ~z.isfinite().all(-1)
        if tolerance is not None:
            over |= field(z).norm(dim=-1) <= tolerance
        if bool(over.all()):
            break
    else:
        for _ in range(steps - iteration):
            z.add_(field(z), alpha=step)
        iteration = steps
    status = np.full(len(z), FINISHED if tolerance is None else OUT_OF_STEPS, dtype=object)
    if tolerance is not None:
        status[(field(z).norm(dim=-1) <= tolerance).cpu().numpy()] = CONVERGED
    status[~z.isfinite().all(-1).cpu().numpy()] = DIVERGED
    return Trajectory(
        times=torch.tensor(record[:recorded]),
        observables=recorder.truncated(recorded),
        final=z.view(start.shape),
        status=status.reshape(tuple(batch)),
        statistics={
            "steps": iteration,
            "evaluations": iteration,
            "seconds": time.perf_counter() - began,
            "device": str(z.device),
            "dtype": str(z.dtype).removeprefix("torch."),
        },
    )
