"""Gradient descent over a batch of runs."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ncbook.dynamics.iterate import checked_record, iterate
from ncbook.dynamics.trajectory import Observe, Trajectory
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
        ``times`` are iteration numbers. A run whose state ceases to be finite is reported as
        diverged and does not touch the others.

    Raises
    ------
    ValueError
        The step is not positive, or the recorded iterations are not increasing in 0..steps.

    Examples
    --------
    >>> starts = torch.tensor([[1.0], [8.0]])
    >>> ran = descent(lambda z: -z, starts, step=0.5, steps=3)
    >>> ran.final
    tensor([[0.1250],
            [1.0000]])
    >>> ran.status.tolist()
    ['finished', 'finished']
    """
    steps = whole("steps", steps)
    if not 0 < step < math.inf or steps < 1:
        raise ValueError(f"step = {step}, steps = {steps}: expected both to be positive.")
    record = checked_record("iterations", record, steps)
    z = start.clone(memory_format=torch.contiguous_format)
    flat = z.view(-1, z.shape[-1])

    def advance(first: int, last: int) -> int:
        for _ in range(last - first):
            flat.add_(field(flat), alpha=step)
        return last - first

    def still() -> Tensor:
        return (field(flat).norm(dim=-1) <= tolerance).view(z.shape[:-1])

    times = torch.tensor(record, device=z.device)
    stops = None if tolerance is None else still
    return iterate(z, advance, record, steps, times, observe, still=stops)
