"""Gradient flow over a batch of runs: a fixed-step and an adaptive Runge-Kutta integrator."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import integrate
from torch import Tensor

from ncbook.dynamics.trajectory import (
    CONVERGED,
    DIVERGED,
    FINISHED,
    OUT_OF_STEPS,
    Observe,
    Recorder,
    Trajectory,
    Waiting,
    checked_times,
)

Field = Callable[[Tensor], Tensor]

# Embedded pairs, with SciPy's coefficients.
PAIRS = {"RK23": integrate.RK23, "RK45": integrate.RK45, "DOP853": integrate.DOP853}

# Methods for a fixed step: (A, b), rows of A by stage. The last is DOP853's eighth-order step.
FIXED = {
    "Euler": ([[]], [1.0]),
    "RK4": ([[], [0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    "DOP853": (
        [integrate.DOP853.A[i, :i].tolist() for i in range(integrate.DOP853.n_stages)],
        integrate.DOP853.B.tolist(),
    ),
}


def flow(
    field: Field,
    start: Tensor,
    step: float,
    record: Sequence[float],
    observe: Observe | None = None,
    method: str = "RK4",
) -> Trajectory:
    """Integrate z' = field(z) with a fixed step.

    Parameters
    ----------
    field : callable
        ``(R, P)`` to ``(R, P)``, each row by itself.
    start : Tensor
        Shape ``(*batch, P)``, the state at time 0.
    step : float
        Longest step; each stretch between recorded times is divided evenly.
    record : sequence of float
        Times at which to observe, increasing, the last one being the end.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``.
    method : {"Euler", "RK4", "DOP853"}
        Of order 1, 4 and 8. Every Runge-Kutta step keeps the flow's linear invariant subspaces,
        so that with a fixed step below the stable one a small distance from such a subspace
        keeps its relative accuracy. Other small quantities, such as a distance from equilibria
        that fill no linear space, are right only to the roundoff of the state, which adds up over
        the steps.

    Returns
    -------
    Trajectory
        A run whose state ceases to be finite is reported as diverged and does not touch the
        others.

    Raises
    ------
    ValueError
        Step, times or method are not as described.
    """
    if method not in FIXED:
        raise ValueError(f"Unknown method {method!r}; known are {', '.join(FIXED)}.")
    if not 0 < step < np.inf:
        raise ValueError(f"The step is {step}; expected a positive number.")
    record = checked_times(record)
    A, b = FIXED[method]
    began, batch = time.perf_counter(), start.shape[:-1]
    z = start.reshape(-1, start.shape[-1]).clone()
    recorder = Recorder(observe, len(record))
    now, steps, recorded = 0.0, 0, 0
    for recorded, stop in enumerate(record, 1):
        count = int(np.ceil((stop - now) / step * (1 - 1e-12)))
        for _ in range(count):
            h = (stop - now) / count
            slopes: list[Tensor] = []
            for row in A:
                slopes.append(field(_advance(z.clone(), slopes, row, h)))
            _advance(z, slopes, b, h)
        now, steps = stop, steps + count
        recorder.record(recorded - 1, z.view(start.shape))
        if not z.isfinite().all(-1).any():
            break
    status = np.full(len(z), FINISHED, dtype=object)
    status[~z.isfinite().all(-1).cpu().numpy()] = DIVERGED
    return Trajectory(
        times=torch.tensor(record[:recorded], dtype=torch.float64),
        observables=recorder.truncated(recorded),
        final=z.view(start.shape),
        status=status.reshape(tuple(batch)),
        statistics={
            "steps": steps,
            "evaluations": steps * len(b),
            "seconds": time.perf_counter() - began,
            "device": str(z.device),
            "dtype": str(z.dtype).removeprefix("torch."),
        },
    )


def _advance(z: Tensor, slopes: list[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """Add h times the weighted sum of the slopes to ``z`` in place."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            z.add_(slope, alpha=h * weight)
    return z


@dataclass(frozen=True)
class Pair:
    """An embedded Runge-Kutta pair whose last stage is the next step's first."""

    A: Tensor  # (stages + 1, stages): the last row holds the weights of the step
    errors: tuple[Tensor, ...]  # each (stages + 1,)
    order: int  # of the error estimate

    @classmethod
    def of(cls, solver, like: Tensor) -> "Pair":
        """Take the coefficients from SciPy's solver class."""
        stages = solver.n_stages
        A = np.zeros((stages + 1, stages))
        A[:stages, : solver.A.shape[1]] = solver.A[:stages]
        A[stages] = solver.B
        errors = [solver.E5, solver.E3] if hasattr(solver, "E5") else [solver.E]
        A, *errors = (torch.as_tensor(x).to(like.device, like.dtype) for x in (A, *errors))
        return cls(A, tuple(errors), solver.error_estimator_order)

    def error_norm(self, slopes: Tensor, h: Tensor, scale: Tensor) -> Tensor:
        """Return each run's root mean square error over ``scale``, shape ``(R,)``."""
        norms = [(torch.tensordot(e, slopes, 1) / scale).square().mean(-1) for e in self.errors]
        if len(norms) == 1:
            return h * norms[0].sqrt()
        # Hairer, Norsett, Wanner, II.10: the fifth-order estimate damped by the third-order one.
        tiny = torch.finfo(h.dtype).tiny
        return h * norms[0] / (norms[0] + 0.01 * norms[1]).sqrt().clamp_min(tiny)


def adaptive_flow(
    field: Field,
    start: Tensor,
    record: Sequence[float],
    observe: Observe | None = None,
    method: str = "DOP853",
    rtol: float = 1e-10,
    atol: float = 1e-18,
    first_step: float = 1e-3,
    max_steps: int = 10_000,
    tolerance: float | None = None,
    max_step: float = np.inf,
) -> Trajectory:
    """Integrate z' = field(z) with an embedded pair, each run of the batch with its own step.

    A run's steps depend on that run alone, so that its neighbours change no more of its result than
    the rounding of a batch's sums, far below the tolerance.
    Steps end on the recorded times; no interpolation enters a recorded number.

    Parameters
    ----------
    field : callable
        ``(R, P)`` to ``(R, P)``, each row by itself.
    start : Tensor
        Shape ``(*batch, P)``, the state at time 0.
    record : sequence of float
        Times at which to observe, increasing, the last one being the end.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``. It sees the
        whole batch at one time.
    method : {"RK23", "RK45", "DOP853"}
        Embedded pair, with SciPy's coefficients (Bogacki and Shampine; Dormand and Prince; Hairer,
        Norsett and Wanner).
    rtol, atol : float
        A step is accepted when the root mean square over components of error over
        ``atol + rtol |z|`` is at most one. Quantities of size s need atol far below s: the errors
        of a small start scale as its square.
    first_step : float
        First trial step.
    max_steps : int
        Trial steps of a run before it is out of steps.
    tolerance : float, optional
        A run whose field has at most this norm has converged: it stands still from there.
    max_step : float
        Longest step. Near an equilibrium the error allows ever longer steps, until one is unstable
        and stirs the fast modes up to the size of the tolerance. Below that bound a small distance
        from a linear invariant subspace keeps its relative accuracy, at tolerances far above the
        distance itself.

    Returns
    -------
    Trajectory
        Observables are NaN from where a run diverged (no finite step could be made, or its state
        ceased to be finite) or ran out of steps. ``statistics`` has ``steps`` and ``rejected``,
        arrays of shape ``batch``, and ``evaluations``, the calls of ``field`` on a batch.

    Raises
    ------
    ValueError
        Times, method or tolerances are not as described.
    """
    if method not in PAIRS:
        raise ValueError(f"Unknown method {method!r}; known are {', '.join(PAIRS)}.")
    if not (rtol > 0 and atol >= 0 and first_step > 0 and max_steps >= 1 and max_step > 0):
        raise ValueError(
            f"rtol = {rtol}, atol = {atol}, first_step = {first_step}, max_steps = {max_steps}, "
            f"max_step = {max_step}: expected positive numbers (atol may be 0)."
        )
    record = checked_times(record)
    began, batch = time.perf_counter(), start.shape[:-1]
    everyone = start.reshape(-1, start.shape[-1]).clone()
    pair = Pair.of(PAIRS[method], everyone)
    runs, stages = len(everyone), pair.A.shape[1]
    grid = torch.tensor(record, dtype=everyone.dtype, device=everyone.device)
    waiting = Waiting(Recorder(observe, len(record)), everyone, start.shape)

    status = np.full(runs, FINISHED, dtype=object)
    steps, rejected = np.zeros(runs, dtype=int), np.zeros(runs, dtype=int)
    active = torch.arange(runs, device=everyone.device)
    z = everyone.clone()
    t, h = z.new_zeros(runs), z.new_full((runs,), first_step)
    index = torch.zeros(runs, dtype=torch.long, device=z.device)  # next time to record
    slope, slopes = field(z), z.new_empty(stages + 1, *z.shape)
    evaluations, floor, tiny = 1, torch.finfo(z.dtype).eps, torch.finfo(z.dtype).tiny
    hit = grid[index] <= t
    while len(active):
        if bool(hit.any()):
            waiting.put(index[hit], active[hit], z[hit])
            index = index + hit
        norm = slope.norm(dim=-1)
        ended = index >= len(grid)
        lost = ~(norm.isfinite() & (h > floor * t.clamp_min(first_step)))
        spent = torch.as_tensor(steps >= max_steps, device=z.device)[active]
        still = norm <= tolerance if tolerance is not None else torch.zeros_like(ended)
        leave = ended | lost | spent | still
        if bool(leave.any()):
            who = active[leave]
            everyone[who] = z[leave]
            reasons = ((spent & ~ended, OUT_OF_STEPS), (still, CONVERGED), (lost, DIVERGED))
            for reason, name in reasons:
                status[active[reason].cpu().numpy()] = name
            waiting.leave(who, index[leave], z[leave], keep=(still & ~lost)[leave])
            stay = ~leave
            active, z, t, h, index, slope = (x[stay] for x in (active, z, t, h, index, slope))
            if not len(active):
                break
            slopes = z.new_empty(stages + 1, *z.shape)
        target = grid[index]
        h = h.clamp_max(max_step)
        last = h >= target - t
        step = torch.where(last, target - t, h)[:, None]
        slopes[0] = slope
        for stage in range(1, stages + 1):
            move = torch.tensordot(pair.A[stage, :stage], slopes[:stage], 1)
            new = torch.addcmul(z, step, move)
            slopes[stage] = field(new)
        evaluations += stages
        # Not zero, so that a component that stays at zero has no error where atol is 0.
        scale = (atol + rtol * torch.maximum(z.abs(), new.abs())).clamp_min(tiny)
        error = pair.error_norm(slopes, step[:, 0], scale)
        accepted = error <= 1  # NaN compares false
        factor = (0.9 * error.clamp_min(1e-10) ** (-1 / (pair.order + 1))).clamp(0.2, 10)
        factor = torch.where(error.isfinite(), factor, 0.2)
        # A step cut short to meet a recorded time says nothing against the longer one.
        proposed = step[:, 0] * factor
        hit = accepted & last
        h = torch.where(hit, torch.maximum(h, proposed), proposed)
        t = torch.where(hit, target, torch.where(accepted, t + step[:, 0], t))
        z = torch.where(accepted[:, None], new, z)
        slope = torch.where(accepted[:, None], slopes[stages], slope)
        who = active.cpu().numpy()
        steps[who] += 1
        rejected[who] += (~accepted).cpu().numpy()
    return Trajectory(
        times=torch.tensor(record, dtype=torch.float64),
        observables=waiting.recorder.values,
        final=everyone.view(start.shape),
        status=status.reshape(tuple(batch)),
        statistics={
            "steps": steps.reshape(tuple(batch)),
            "rejected": rejected.reshape(tuple(batch)),
            "evaluations": evaluations,
            "seconds": time.perf_counter() - began,
            "device": str(start.device),
            "dtype": str(start.dtype).removeprefix("torch."),
        },
    )
