"""The one loop of all methods whose steps are given: go on, look where it is asked for, and end."""

import time
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from ncbook.dynamics.trajectory import (
    CONVERGED,
    DIVERGED,
    FINISHED,
    OUT_OF_STEPS,
    Observe,
    Recorder,
    Trajectory,
    statistics,
)
from ncbook.runtime import whole


def iterate(
    z: Tensor,
    advance: Callable[[float, float], int],
    record: Sequence[float],
    end: float,
    times: Tensor,
    observe: Observe | None = None,
    save_states: bool = False,
    still: Callable[[], Tensor] | None = None,
    stages: int = 1,
) -> Trajectory:
    """Advance a batch of states in place, from 0 to each place of the record and to the end.

    Parameters
    ----------
    z : Tensor
        Shape ``(*batch, P)``: the states, which ``advance`` changes.
    advance : callable
        From one place to the next one, numbers of iterations or times; returns how many steps it
        took.
    record : sequence of float
        Places at which to observe, increasing from 0 on.
    end : float
        The last place.
    times : Tensor
        Of the trajectory: those of the record.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    save_states : bool
        Save the states at the places of the record.
    still : callable, optional
        Which runs have converged, ``batch``: all ends where each has, or has diverged. At the end
        the others are out of steps.
    stages : int
        Evaluations of the field in a step.

    Returns
    -------
    Trajectory
        Where all ended early, a converged run's last observation is repeated.
    """
    began, recorder = time.perf_counter(), Recorder(observe, len(record), save_states)
    steps, looks, here = 0, 0, 0
    for index, place in enumerate(record):
        steps, here = steps + advance(here, place), place
        recorder.record(index, z)
        over = ~z.isfinite().all(-1)
        if still is not None:
            over, looks = over | still(), looks + 1
        if bool(over.all()):
            recorder.repeat(index)
            break
    else:
        steps += advance(here, end)
    status = np.full(tuple(z.shape[:-1]), FINISHED if still is None else OUT_OF_STEPS, dtype=object)
    if still is not None:
        status[still().cpu().numpy()], looks = CONVERGED, looks + 1
    status[~z.isfinite().all(-1).cpu().numpy()] = DIVERGED
    return Trajectory(
        times=times,
        observables=recorder.values,
        final=z,
        status=status,
        statistics=statistics(z, began, steps=steps, evaluations=steps * stages + looks),
        states=recorder.states,
    )


def checked_record(what: str, record: Sequence[int] | None, end: int) -> list[int]:
    """Return the recorded iterations, steps or epochs; without them the first and the last.

    Raises
    ------
    ValueError
        They are none, or are not whole numbers that increase within 0..end.
    """
    numbers = [0, end] if record is None else list(record)
    try:
        found = [whole(what, int(one) if one == int(one) else one) for one in numbers]
    except (TypeError, ValueError, OverflowError):
        found = []
    if not found or found != sorted(set(found)) or found[0] < 0 or found[-1] > end:
        raise ValueError(
            f"The recorded {what} must be whole numbers that increase within 0..{end}; got "
            f"{numbers[:8]}."
        )
    return found
