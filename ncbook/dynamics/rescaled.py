"""Gradient flow of the shallow ReLU network in rescaled time, to losses of any smallness.

Gradient flow needs a time exponential in R = log(1/L). In the rescaled time s with ds = L dt it is

    theta' = -grad L / L = grad R,    R' = ||grad R||^2,

whose right-hand side is of the size of theta at any L. Real time is followed by q = t L, for which
q' = 1 - q ||grad R||^2, so that log t = log q + R without overflow.

Three things make this flow hard, and each has its remedy here.

- Small starts: errors are measured against each neuron's own norm, so that no absolute tolerance
  has to be far below the start's scale.
- Kinks: where a neuron switches on or off the field jumps, and a neuron can slide along the
  boundary between both. Steps are taken with frozen modes, end on the events at which a mode
  changes, and so keep their order; see :mod:`ncbook.dynamics.kinks`. Neurons that shrink to zero
  come close to a saddle, which magnifies errors.
- Stiffness: the field is a gradient, so its fast modes decay without turning, at rates that grow
  with R. Runs whose classes are separated go on with a stabilised Runge-Kutta-Chebyshev method,
  whose stable step grows with the square of its stages.

References
----------
Min, Zhu and Vidal, Neural collapse under gradient flow on shallow ReLU networks for orthogonally
separable data, NeurIPS 2025. Sommeijer, Shampine and Verwer, RKC: an explicit solver for parabolic
PDEs, J. Comput. Appl. Math. 88, 1998.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ncbook.dynamics.kinks import PIVOTS, Here, Kinks, root
from ncbook.dynamics.methods import Chebyshev, Embedded, Field, next_step
from ncbook.dynamics.roll import Waiting
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
    checked_times,
    statistics,
)
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import UnresolvedWarning, finer

FIRST_STEP = 1e-3  # of rescaled time, in which every start moves at rates of order one
LANDING = 64  # how near to its mark a state is recorded, in eps, relative to the mark
STIFF = 40.0  # the R from which separated runs take the stabilised method
RUNGE_KUTTA = partial(Embedded, "RK45")  # for steps that the accuracy limits


def rescaled_flow(
    model: ShallowReLU,
    start: Tensor,
    levels: Sequence[float],
    observe: Observe | None = None,
    rtol: float | None = None,
    max_steps: int = 100_000,
) -> Trajectory:
    """Integrate gradient flow up to given levels of R = log(1/L), each run with its own steps.

    Parameters
    ----------
    model : ShallowReLU
        The network on its data.
    start : Tensor
        Shape ``(*batch, P)``.
    levels : sequence of float
        Levels of R at which to observe, increasing, the last one being the end. A run lands on
        each to 64 eps, relative to the larger of 1 and the level.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``. ``"R"`` and
        ``"log_t"``, the logarithm of real time, are observed in any case.
    rtol : float, optional
        Error allowed on a step, relative to each neuron's norm: the root mean square over all
        weights. Without it 1e-7, or 64 eps where that is more, as in single precision.
    max_steps : int
        Trial steps of a run before it is out of steps.

    Returns
    -------
    Trajectory
        ``times`` are the levels. A run is ``"converged"`` if every neuron has come to a
        standstill (none moves by more than sqrt(eps)/16 of its norm in a unit of rescaled time)
        below the last level, as where no neuron is left for some class; from there on
        its observables are those of where it stands. If some are ``"unresolved"``, an
        UnresolvedWarning says so, which is an error in a chapter. ``statistics`` has ``steps``,
        ``rejected``, ``events`` (changes of a neuron's mode at a kink) and ``slides`` (those that
        begin a slide along one), arrays of shape ``batch``.

    Raises
    ------
    ValueError
        The levels do not increase, or the first lies below R at a start; rtol is not from 16 eps
        to 1; or max_steps is not positive.
    """
    marks = [float(level) for level in levels]
    rising = all(a < b for a, b in pairwise(marks))
    if not marks or not rising or not all(map(math.isfinite, marks)):
        raise ValueError(f"The levels of R must be finite and increase; got {marks[:8]}.")
    at_start = -model.log_loss(start)
    near = LANDING * torch.finfo(start.dtype).eps * max(1.0, abs(marks[0]))
    if bool((at_start > marks[0] + near).any()):
        raise ValueError(
            f"The first level is R = {marks[0]}, and a run starts at R = {float(at_start.max())}; "
            "R only increases, so choose levels from there on."
        )
    flow = _Flow(model, start, marks, "R", observe, rtol, max_steps)
    handed_on = flow.advance(torch.arange(len(flow.z), device=start.device), RUNGE_KUTTA, STIFF)
    smooth = model.for_runs(start.shape[:-1], handed_on).separated(flow.z[handed_on, :-1])
    flow.advance(handed_on[smooth], Chebyshev)
    flow.advance(handed_on[~smooth], RUNGE_KUTTA)
    return flow.trajectory()


def timed_flow(
    model: ShallowReLU,
    start: Tensor,
    times: Sequence[float],
    observe: Observe | None = None,
    rtol: float | None = None,
    max_steps: int = 100_000,
) -> Trajectory:
    """Integrate gradient flow up to given real times t, each run with its own steps.

    The integration of rescaled_flow, recorded at times instead of losses: for the alignment phase,
    in which the loss hardly moves.

    Parameters
    ----------
    model, start, observe, rtol, max_steps
        As in rescaled_flow; ``"R"`` is observed in any case.
    times : sequence of float
        Times at which to observe, increasing from 0 on, the last one being the end. A run lands
        on each to 64 eps, relative to the time.

    Returns
    -------
    Trajectory
        As from rescaled_flow, its ``times`` being real times.

    Raises
    ------
    ValueError
        The times do not increase from 0 on, or a number that must be positive is not.
    """
    flow = _Flow(model, start, checked_times(times), "t", observe, rtol, max_steps)
    flow.advance(torch.arange(len(flow.z), device=start.device), RUNGE_KUTTA)
    return flow.trajectory()


def rescaled_states(
    model: ShallowReLU, start: Tensor, levels: Sequence[float], rtol: float | None = None
) -> Tensor:
    """Return the states of a batch of runs at given levels of R = log(1/L).

    A rescaled_flow for each level, from where the one before ended.

    Parameters
    ----------
    model, start, rtol
        As in rescaled_flow.
    levels : sequence of float
        T levels of R, increasing.

    Returns
    -------
    Tensor
        Shape ``(T, *batch, P)``. A run that stands still before it comes to a level has the state
        in which it stands.

    Raises
    ------
    ValueError
        As in rescaled_flow; or the levels are none.
    """
    if not len(levels):
        raise ValueError("There are no levels of R; give at least one.")
    states = []
    for level in levels:
        start = rescaled_flow(model, start, [level], rtol=rtol).final
        states.append(start)
    return torch.stack(states)


# --- The integration ----------------------------------------------------------------------------


class _Flow:
    """A batch of runs under way; a run's state is (theta, q)."""

    def __init__(self, model, start, marks, clock, observe, rtol, max_steps) -> None:
        eps = torch.finfo(start.dtype).eps
        rtol = max(1e-7, 64 * eps) if rtol is None else rtol
        if not (16 * eps <= rtol < 1 and max_steps >= 1):
            raise ValueError(
                f"rtol = {rtol}, max_steps = {max_steps}: expected a positive number of steps, and "
                f"a tolerance from {16 * eps:.1g}, what {start.dtype} can hold, to 1."
            )
        self.began = time.perf_counter()
        self.model, self.start, self.marks, self.clock = model, start, marks, clock
        self.rtol, self.max_steps, self.eps = max(finer(rtol), 16 * eps), max_steps, eps
        z = start.reshape(-1, start.shape[-1])
        self.z = torch.cat([z, z.new_zeros(len(z), 1)], dim=-1)
        self.h = z.new_full((len(z),), FIRST_STEP)
        self.index = torch.zeros(len(z), dtype=torch.long, device=z.device)
        self.status = np.full(len(z), FINISHED, dtype=object)
        names = ("steps", "rejected", "events", "slides")
        self.counts = {name: torch.zeros_like(self.index) for name in names}
        self.evaluations = 0
        shape = torch.Size([*start.shape[:-1], start.shape[-1] + 1])
        recorder = Recorder(self._observer(observe), len(marks))
        self.waiting = Waiting(recorder, self.z, shape)

    def _observer(self, observe: Observe | None) -> Observe:
        def look(z: Tensor) -> dict[str, Tensor]:
            theta, q = z[..., :-1], z[..., -1]
            R = -self.model.log_loss(theta)
            own = {"R": R} if self.clock == "t" else {"R": R, "log_t": q.log() + R}
            return own | (observe(theta) if observe is not None else {})

        return look

    def sizes(self, z: Tensor) -> Tensor:
        """Return the norms of the neuron pairs, ``(R, h)``."""
        return self.pairs(z).square().sum(-2).sqrt()

    def pairs(self, z: Tensor) -> Tensor:
        """Return the weights of a state by neuron, ``(R, D + d_y, h)``, without q."""
        return z[:, :-1].unflatten(-1, (-1, self.model.width))

    def resting(self, kinks: Kinks, z: Tensor) -> Tensor:
        """Return the states as they are shown and handed on."""
        return torch.cat([kinks.resting(z[:, :-1]), z[:, -1:]], dim=-1)

    def field(self, kinks: Kinks) -> Field:
        """Return the field of (theta, q) with the modes of ``kinks``."""

        def field(z: Tensor) -> tuple[Tensor, Here]:
            here = kinks.here(z[:, :-1])
            speed = here.slope.square().sum(-1)
            self.evaluations += 1
            return torch.cat([here.slope, (1 - z[:, -1] * speed)[:, None]], dim=-1), here

        return field

    def clocked(self, z: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        """Return R or t, whichever the marks are of, and its rate in rescaled time."""
        if self.clock == "R":
            return here.R, here.slope.square().sum(-1)
        return z[:, -1] * here.R.exp(), here.R.exp()

    def settle(self, kinks: Kinks, z: Tensor, slope: Tensor, here: Here, past, wrong, runs):
        """Change modes until none is wrong, in the runs that have wrong ones.

        Returns
        -------
        tuple
            The states, moved onto the kinks where they slide; the field there, what goes with it
            and what ``past`` says; and the runs for which no modes are right, boolean ``(R,)``.
        """
        concerned = wrong.flatten(1).any(-1)[:, None, None]
        for count in range(PIVOTS):
            if not bool(wrong.any()):
                break
            theta, events, slides = kinks.pivot(z[:, :-1], here, wrong, count == 0)
            z = torch.cat([theta, z[:, -1:]], dim=-1)
            slope, here = self.field(kinks)(z)
            past = kinks.past(theta, here)
            wrong = kinks.wrong(here, past, self.sizes(z)) & concerned
            self.counts["events"][runs] += events
            self.counts["slides"][runs] += slides
        return z, slope, here, past, wrong.flatten(1).any(-1)

    def advance(self, runs: Tensor, method: Callable, stop: float = math.inf) -> Tensor:
        """Integrate ``runs`` to the last mark, or hand on those that came to R = ``stop``."""
        grid, tiny = self.z.new_tensor(self.marks), torch.finfo(self.z.dtype).tiny
        # R is right to rounding of the outputs, which are of its size; t = q exp(R) to that of R.
        size = grid.abs().clamp_min(1) if self.clock == "R" else grid * grid.log().clamp_min(1)
        near = LANDING * self.eps * size
        floor = torch.cat([grid - near, grid.new_tensor([torch.inf])])
        z, h, index = self.z[runs], self.h[runs], self.index[runs]
        kinks = Kinks(self.model.for_runs(self.start.shape[:-1], runs), z[:, :-1], self.rtol)
        cap = torch.full_like(h, torch.inf)  # where the next mark or event is expected
        stepper, handed_on, (slope, here) = method(z), [], self.field(kinks)(z)
        past = kinks.past(z[:, :-1], here)
        before, length = past[1], torch.ones_like(h)  # the rate that was, and how long ago
        wrong = kinks.wrong(here, past, self.sizes(z))
        while len(runs):
            z, slope, here, past, failed = self.settle(kinks, z, slope, here, past, wrong, runs)
            value, rate = self.clocked(z, here)
            # No step ends beyond a mark; but an event at the mark moves the state in its window.
            while bool((hit := value >= floor[index]).any()):
                at = index[hit].cpu().numpy(), runs[hit].cpu().numpy()
                self.waiting.put(*at, self.resting(kinks, z)[hit])
                index = index + hit
            size = self.sizes(z)
            pace = (self.pairs(slope).abs().amax(-2) / size.clamp_min(tiny)).amax(-1)
            ended = index >= len(grid)
            lost = ~(slope.isfinite().all(-1) & here.R.isfinite()) & ~ended
            still = (pace <= self.eps**0.5 / 16) & ~(ended | lost)
            # The least step is one that changes nothing, q included.
            change = torch.maximum(pace, slope[:, -1].abs() / z[:, -1].abs().clamp_min(tiny))
            short = (torch.minimum(h, cap) * change < self.eps) & ~(ended | lost | still)
            spent = (self.counts["steps"][runs] >= self.max_steps) & ~ended
            over = ~(stop > here.R)
            leave = ended | lost | still | short | failed | spent
            if bool((leave | over).any()):
                for reason, name in (
                    (spent, OUT_OF_STEPS),
                    (still, CONVERGED),
                    (lost, DIVERGED),
                    (short, UNDERFLOW),
                    # An event or a mark that no step comes to.
                    (failed | (short & (cap < h)), UNRESOLVED),
                ):
                    self.status[runs[reason].cpu().numpy()] = name
                who, resting = leave | over, self.resting(kinks, z)
                self.z[runs[who]], self.h[runs[who]] = resting[who], h[who]
                self.index[runs[who]] = index[who]
                handed_on.append(runs[over & ~leave])
                if bool(leave.any()):
                    at = runs[leave].cpu().numpy(), index[leave].cpu().numpy()
                    self.waiting.leave(*at, resting[leave], still[leave])
                stay = (~who).nonzero().squeeze(-1)
                runs, z, h, index, cap, slope, value, rate, size, before, length = (
                    x[stay]
                    for x in (runs, z, h, index, cap, slope, value, rate, size, before, length)
                )
                past = tuple(x[stay] for x in past)
                here = Here(*(x[stay] for x in here))
                kinks = kinks.select(stay)
                stepper.select(stay)
                if not len(runs):
                    break
            cap = torch.minimum(cap, kinks.ahead(past, (before, length), h, size))
            step = torch.minimum(h, cap)
            new, slope_new, end, (error,) = stepper.step(self.field(kinks), z, slope, step[:, None])
            size = torch.maximum(size, self.sizes(new))
            q = torch.maximum(z[:, -1].abs(), new[:, -1].abs())
            # Not zero, so that a neuron that stays at zero has no error.
            squares = (self.pairs(error) / (self.rtol * size).clamp_min(tiny)[:, None]).square()
            of_q = (error[:, -1] / (self.rtol * q).clamp_min(tiny)).square()
            error = ((squares.sum((-2, -1)) + of_q) / z.shape[-1]).sqrt()
            fine = error <= 1  # NaN compares false
            proposed = next_step(step, error, stepper.order)
            # A step beyond the next mark or event is taken again, as long as expected.
            past_new = kinks.past(new[:, :-1], end)
            part, wrong = kinks.crossing((here, *past), (end, *past_new), step, size)
            mark, (value_new, rate_new) = grid[index], self.clocked(new, end)
            ends = mark - value, mark - value_new, -rate * step, -rate_new * step
            beyond = value_new > mark + near[index]
            if bool(beyond.any()):
                at_mark = root((ends[0] / (ends[0] - ends[1])).clamp(0.01, 1), *ends)
                part = torch.where(beyond, torch.minimum(part, at_mark), part)
            accepted = fine & part.isinf()
            wrong &= accepted[:, None, None]
            cut = step < h  # says nothing against a longer one
            h = torch.where(cut & fine, torch.maximum(h, proposed), proposed)
            cap = torch.where(fine & part.isfinite(), part * step, torch.inf)
            states = (new, slope_new, *end, *past_new, past[1], step)
            if not bool(accepted.all()):
                old = (z, slope, *here, *past, before, length)
                states = [_where(accepted, *pair) for pair in zip(states, old, strict=True)]
            z, slope, *known, before, length = states
            here, past = Here(*known[:3]), tuple(known[3:])
            self.counts["steps"][runs] += 1
            self.counts["rejected"][runs] += ~accepted
        return torch.cat(handed_on) if handed_on else runs

    def trajectory(self) -> Trajectory:
        """Return the recorded batch."""
        batch = tuple(self.start.shape[:-1])
        unresolved = int((self.status == UNRESOLVED).sum())
        if unresolved:
            warnings.warn(
                f"{unresolved} of {len(self.status)} runs are unresolved: at a kink, or before a "
                "mark, no step led on. Perturb their starts, or ask for a smaller rtol.",
                UnresolvedWarning,
                stacklevel=3,
            )
        return Trajectory(
            times=torch.tensor(self.marks, dtype=torch.float64).to(self.z),
            observables=self.waiting.recorder.values,
            final=self.z[:, :-1].reshape(self.start.shape),
            status=self.status.reshape(batch),
            statistics=statistics(
                self.z,
                self.began,
                **{name: n.cpu().numpy().reshape(batch) for name, n in self.counts.items()},
                evaluations=self.evaluations,
            ),
        )


def _where(runs: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return, for each run, its part of ``yes`` or of ``no``."""
    return torch.where(runs.view(-1, *[1] * (yes.ndim - 1)), yes, no)
