"""Minima of a risk from many starts, where it is the minima that count and not the way there."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ncbook.dynamics.trajectory import (
    CONVERGED,
    DIVERGED,
    OUT_OF_STEPS,
    Observe,
    Recorder,
    Trajectory,
    statistics,
)
from ncbook.runtime import finer, whole

HISTORY = 30  # pairs that L-BFGS keeps
LOOK = 50  # iterations from one look at the gradients to the next
PATIENCE = 4  # looks without progress


def minimise(
    risk: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int = 5000,
    tolerance: float | None = None,
    observe: Observe | None = None,
) -> Trajectory:
    """Go down from each start to a point where the gradient vanishes.

    ``torch.optim.LBFGS`` with its strong-Wolfe line search, applied to the sum of all risks: as
    fast as a batch can be. The length of a step is common to all starts, so to which of several
    minima a start leads can depend on its neighbours; what the minima are does not. Neither is
    what gradient descent would find: use it for minima and their levels, not for how often.

    Parameters
    ----------
    risk : callable
        ``(*batch, P)`` to ``batch``, each run by itself, differentiable.
    start : Tensor
        Shape ``(*batch, P)``.
    steps : int
        The most iterations.
    tolerance : float, optional
        Norm of the gradient at which a run has converged; the root of the dtype's eps without it,
        below which a risk of order one no longer tells two points apart.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.

    Returns
    -------
    Trajectory
        Recorded at the start and at the end. A run is converged or out of steps: its gradient is
        larger, be it that rounding lets nothing get lower. Where the risk of one run ceases to be a
        number all end, and those whose state is none are diverged. ``statistics`` has
        ``gradient``, the largest norm at the end.

    Raises
    ------
    ValueError
        ``steps`` or the tolerance is not positive, or the risk of a start is not finite.

    Examples
    --------
    >>> starts = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    >>> found = minimise(lambda z: (z.square() - 1).square().sum(-1), starts)
    >>> found.final.round(decimals=6)
    tensor([[ 1.],
            [-1.]], dtype=torch.float64)
    """
    steps = whole("steps", steps, 1)
    if tolerance is None:
        tolerance = torch.finfo(start.dtype).eps ** 0.5
    if not tolerance > 0:
        raise ValueError(f"tolerance = {tolerance}: expected a positive norm of the gradient.")
    tolerance = finer(tolerance)
    z = start.detach().clone().requires_grad_()
    if not bool(risk(z).isfinite().all()):
        raise ValueError(
            "The risk of a start is not finite: expected starts where it can be computed; start "
            "nearer to zero, or look for what is divided by zero."
        )
    began, recorder = time.perf_counter(), Recorder(observe, 2)
    recorder.record(0, start.detach())
    optimiser = torch.optim.LBFGS(
        [z], max_iter=LOOK, max_eval=10 * LOOK, history_size=HISTORY, tolerance_grad=0,
        tolerance_change=0, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def descend() -> Tensor:
        total = risk(z).sum()
        (z.grad,) = torch.autograd.grad(total, z)
        return total

    allowed, stale, lowest, flattest = 0, 0, float("inf"), float("inf")
    gradient = z.new_full(z.shape[:-1], torch.inf)
    while allowed < steps and stale < PATIENCE and not bool((gradient <= tolerance).all()):
        optimiser.param_groups[0]["max_iter"] = min(LOOK, steps - allowed)
        allowed += min(LOOK, steps - allowed)
        level = float(optimiser.step(descend).detach())
        gradient = torch.autograd.grad(risk(z).sum(), z)[0].norm(dim=-1)
        largest = float(gradient.max())
        if not math.isfinite(level) or not math.isfinite(largest):
            break  # one run has lost its way, and the common step is no number any more
        stale = stale + 1 if level >= lowest and largest > flattest / 2 else 0
        lowest, flattest = min(level, lowest), min(largest, flattest)
    final, done = z.detach(), optimiser.state[z]
    recorder.record(1, final)
    status = np.where((gradient <= tolerance).cpu().numpy(), CONVERGED, OUT_OF_STEPS)
    status = np.where(final.isfinite().all(-1).cpu().numpy(), status, DIVERGED)
    return Trajectory(
        times=torch.tensor([0, done["n_iter"]], device=z.device),
        observables=recorder.values,
        final=final,
        status=status.astype(object),
        statistics=statistics(final, began, steps=done["n_iter"], evaluations=done["func_evals"])
        | {"gradient": float(gradient.max())},
    )
