"""Gradient flow over a batch of runs: a fixed-step and an adaptive Runge-Kutta integrator."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ncbook.dynamics.ensemble import GOING, Ensemble
from ncbook.dynamics.iterate import iterate
from ncbook.dynamics.methods import FIXED, PAIRS, Embedded, fixed_step, next_step
from ncbook.dynamics.trajectory import Observe, Trajectory, checked_times
from ncbook.runtime import finer

Field = Callable[[Tensor], Tensor]


def flow(
    field: Field,
    start: Tensor,
    step: float,
    record: Sequence[float],
    observe: Observe | None = None,
    method: str = "RK4",
    save_states: bool = False,
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
    save_states : bool
        Keep the states at the recorded times, too.

    Returns
    -------
    Trajectory
        A run whose state ceases to be finite is reported as diverged and does not touch the
        others.

    Raises
    ------
    ValueError
        Step, times or method are not as described.

    Examples
    --------
    z' = -z from two starts, which are the batch:

    >>> import torch
    >>> starts = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    >>> observe = lambda z: {"z": z[..., 0]}
    >>> ran = flow(lambda z: -z, starts, step=0.01, record=[0.0, 1.0], observe=observe)
    >>> ran.observables["z"]
    tensor([[1.0000, 0.3679],
            [2.0000, 0.7358]], dtype=torch.float64)
    >>> ran.runs("t", start=[1.0, 2.0])["z"].sel(start=2.0, t=1.0).round(4).item()
    0.7358
    """
    if method not in FIXED:
        raise ValueError(f"Unknown method {method!r}; known are {', '.join(FIXED)}.")
    if not 0 < step < math.inf:
        raise ValueError(f"The step is {step}; expected a positive number.")
    record, step = checked_times(record), finer(step)
    A, b = FIXED[method]
    z = start.clone(memory_format=torch.contiguous_format)
    flat = z.view(-1, z.shape[-1])

    def advance(now: float, stop: float) -> int:
        count = math.ceil((stop - now) / step * (1 - 1e-12))
        for _ in range(count):
            h = (stop - now) / count
            fixed_step(field, flat, h, A, b)
        return count

    times = torch.tensor(record, dtype=torch.float64).to(z)
    return iterate(z, advance, record, record[-1], times, observe, save_states, stages=len(b))


def adaptive_flow(
    field: Field,
    start: Tensor,
    record: Sequence[float],
    observe: Observe | None = None,
    method: str = "DOP853",
    rtol: float | None = None,
    atol: float = 1e-18,
    first_step: float = 1e-3,
    max_steps: int = 10_000,
    tolerance: float | None = None,
    max_step: float = math.inf,
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
        of a small start scale as its square. Without rtol it is 1e-10, or 64 eps where that is
        more, as in single precision.
    first_step : float
        First trial step; it may be far too long.
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
        Observables are NaN from where a run diverged, ran out of steps, or would have needed a
        step that does not move the time. ``statistics`` has ``steps`` and ``rejected``,
        arrays of shape ``batch``, and ``evaluations``, the calls of ``field`` on a batch.

    Raises
    ------
    ValueError
        Times, method or tolerances are not as described.
    """
    if method not in PAIRS:
        raise ValueError(f"Unknown method {method!r}; known are {', '.join(PAIRS)}.")
    eps, tiny = torch.finfo(start.dtype).eps, torch.finfo(start.dtype).tiny
    rtol = max(1e-10, 64 * eps) if rtol is None else rtol
    if not (16 * eps <= rtol < math.inf and atol >= 0):
        raise ValueError(
            f"rtol = {rtol}, atol = {atol}: expected a relative tolerance from {16 * eps:.1g} on, "
            f"which is what {start.dtype} can hold, and an absolute one of at least 0."
        )
    if not (first_step > 0 and max_steps >= 1 and max_step > 0):
        raise ValueError(
            f"first_step = {first_step}, max_steps = {max_steps}, max_step = {max_step}: expected "
            "positive numbers."
        )
    record, rtol, atol = checked_times(record), max(finer(rtol), 16 * eps), finer(atol)
    ensemble = Ensemble(start, len(record), observe)
    z = ensemble.final.clone()
    pair, evaluations = Embedded(method, z), 1
    grid = torch.tensor([*record, math.inf], dtype=torch.float64).to(z)
    t, h = z.new_zeros(len(z)), z.new_full((len(z),), first_step)
    slope, hit = field(z), grid[ensemble.index] <= t
    while len(ensemble.runs):
        ensemble.save(ensemble.index + hit, z)
        norm = slope.norm(dim=-1)
        ensemble.end(
            diverged=~norm.isfinite(),
            **({} if tolerance is None else {"converged": norm <= tolerance}),
            finished=ensemble.index >= len(record),
            step_underflow=t + h == t,
            out_of_steps=ensemble.count["steps"] >= max_steps,
        )
        rows = ensemble.look(z)
        if rows is not None:
            if not len(rows):
                break
            z, t, h, slope = (x[rows] for x in (z, t, h, slope))
        going = ensemble.code == GOING
        target = grid[ensemble.index]
        h = h.clamp_max(max_step)
        last = h >= target - t
        step = torch.where(last, target - t, h)
        new, slope_new, _, errors = pair.step(
            lambda z: (field(z), None), z, slope, torch.where(going, step, 0)[:, None]
        )
        evaluations += pair.stages
        # Not zero, so that a component that stays at zero has no error where atol is 0.
        scale = (atol + rtol * torch.maximum(z.abs(), new.abs())).clamp_min(tiny)
        error = _norm(errors, scale)
        accepted = (error <= 1) & going  # NaN compares false
        # A step cut short to meet a recorded time says nothing against the longer one.
        proposed = next_step(step, error, pair.order)
        hit = accepted & last
        h = torch.where(hit, torch.maximum(h, proposed), torch.where(going, proposed, h))
        t = torch.where(hit, target, torch.where(accepted, t + step, t))
        z = torch.where(accepted[:, None], new, z)
        slope = torch.where(accepted[:, None], slope_new, slope)
        ensemble.count["steps"] += going
        ensemble.count["rejected"] += going & ~accepted
    return ensemble.trajectory(record, evaluations=evaluations)


def _norm(errors: Sequence[Tensor], scale: Tensor) -> Tensor:
    """Return each run's root mean square error over ``scale``, shape ``(R,)``."""
    squares = [(error / scale).square().mean(-1) for error in errors]
    if len(squares) == 1:
        return squares[0].sqrt()
    # Hairer, Norsett, Wanner, II.10: the fifth-order estimate damped by the third-order one.
    tiny = torch.finfo(scale.dtype).tiny
    return squares[0] / (squares[0] + 0.01 * squares[1]).sqrt().clamp_min(tiny)
