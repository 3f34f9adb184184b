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
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncbook.dynamics.ensemble import GOING, Ensemble, perhaps
from ncbook.dynamics.kinks import PIVOTS, Here, Kinks, root
from ncbook.dynamics.methods import Chebyshev, Embedded, Field, next_step
from ncbook.dynamics.trajectory import UNRESOLVED, Observe, Trajectory, checked_times
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import UnresolvedWarning, finer

FIRST_STEP = 1e-3  # of rescaled time, in which every start moves at rates of order one
SAVE_RTOL = 64  # in eps, and relative: how near to its level or time a state is saved
STAGNATION = 1 / 16  # in sqrt(eps): the part of its norm that a neuron moves at a standstill
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
    save_at = [float(level) for level in levels]
    rising = all(a < b for a, b in pairwise(save_at))
    if not save_at or not rising or not all(map(math.isfinite, save_at)):
        raise ValueError(f"The levels of R must be finite and increase; got {save_at[:8]}.")
    at_start = -model.log_loss(start)
    near = SAVE_RTOL * torch.finfo(start.dtype).eps * max(1.0, abs(save_at[0]))
    if bool((at_start > save_at[0] + near).any()):
        raise ValueError(
            f"The first level is R = {save_at[0]}, and a run starts at R = "
            f"{float(at_start.max())}; R only increases, so choose levels from there on."
        )
    flow = _Flow(model, start, save_at, "R", observe, rtol, max_steps)
    stiff = flow.advance(flow.ensemble.runs, RUNGE_KUTTA, STIFF)
    rows = torch.from_numpy(stiff).to(start.device)
    smooth = model.for_runs(start.shape[:-1], rows).separated(flow.ensemble.final[rows, :-1])
    smooth = smooth.cpu().numpy()
    flow.advance(stiff[smooth], Chebyshev)
    flow.advance(stiff[~smooth], RUNGE_KUTTA)
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
    flow.advance(flow.ensemble.runs, RUNGE_KUTTA)
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


class _Point(NamedTuple):
    """The states of R runs, and what is known there."""

    z: Tensor  # (R, P + 1): theta and q
    slope: Tensor  # its rate in rescaled time
    grad: Tensor  # as in Here
    R: Tensor
    pull: Tensor
    near: Tensor  # as Kinks.past returns it
    rate: Tensor

    @property
    def here(self) -> Here:
        return Here(self.grad, self.R, self.pull)

    @property
    def past(self) -> tuple[Tensor, Tensor]:
        return self.near, self.rate


class _State(NamedTuple):
    """What is known of R runs under way, ``(R,)`` each if nothing else is said."""

    at: _Point
    h: Tensor  # the next step
    cap: Tensor  # where the next event, or level or time to save at, is expected
    before: Tensor  # (R, n, h): the rate of Kinks.past at the start of the last step
    length: Tensor  # of that
    wrong: Tensor  # (R, n, h): the modes that are
    waits: Tensor  # for more stages than are allowed
    size: Tensor  # (R, h): norms of the neuron pairs
    clock: Tensor  # R or t, whichever it is saved at
    ticks: Tensor  # its rate in rescaled time


class _Flow:
    """A batch of runs under way; a run's state is (theta, q)."""

    def __init__(self, model, start, save_at, clock, observe, rtol, max_steps) -> None:
        eps = torch.finfo(start.dtype).eps
        rtol = max(1e-7, 64 * eps) if rtol is None else rtol
        if not (16 * eps <= rtol < 1 and max_steps >= 1):
            raise ValueError(
                f"rtol = {rtol}, max_steps = {max_steps}: expected a positive number of steps, and "
                f"a tolerance from {16 * eps:.1g}, what {start.dtype} can hold, to 1."
            )
        self.model, self.shape, self.save_at, self.clock = model, start.shape, save_at, clock
        self.rtol, self.max_steps, self.eps = max(finer(rtol), 16 * eps), max_steps, eps
        self.tiny, self.evaluations = torch.finfo(start.dtype).tiny, 0
        z = torch.cat([start, start.new_zeros(*start.shape[:-1], 1)], dim=-1)
        observe = self._observer(observe)
        self.ensemble = Ensemble(z, len(save_at), observe, ("events", "slides"))
        self.h = self.ensemble.final.new_full((len(self.ensemble.final),), FIRST_STEP)
        grid = z.new_tensor(save_at)
        # R is right to rounding of the outputs, which are of its size; t = q exp(R) to that of R.
        size = grid.abs().clamp_min(1) if clock == "R" else grid * grid.log().clamp_min(1)
        near = SAVE_RTOL * eps * size
        self.floor = grid - near
        # And no more after the last.
        self.target = torch.cat([grid, grid.new_tensor([torch.inf])])
        self.beyond = torch.cat([grid + near, grid.new_tensor([torch.inf])])

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
        """Return R or t, whichever the runs are saved at, and its rate in rescaled time."""
        if self.clock == "R":
            return here.R, here.slope.square().sum(-1)
        return z[:, -1] * here.R.exp(), here.R.exp()

    def at(self, kinks: Kinks, z: Tensor) -> _Point:
        """Return states and what is known there."""
        slope, here = self.field(kinks)(z)
        return _Point(z, slope, *here, *kinks.past(z[:, :-1], here))

    def advance(self, runs: np.ndarray, method: Callable, stop: float = math.inf) -> np.ndarray:
        """Integrate ``runs`` to the end, or hand on, in turn, those that came to R = ``stop``.

        A run with wrong modes is stuck: it stands still until the host changes them. So is one
        that needs more stages than are allowed.
        """
        z, rows = self.ensemble.take_up(runs), torch.from_numpy(runs).to(self.h.device)
        kinks = Kinks(self.model.for_runs(self.shape[:-1], rows), z[:, :-1], self.rtol)
        stepper, state = method(z), self.begin(kinks, z, self.h[rows])
        while len(self.ensemble.runs):
            stuck = state.wrong.flatten(1).any(-1)
            failed = torch.zeros_like(stuck)
            if self.ensemble.needs(stuck):
                state, failed = self.settle(kinks, state)
                stuck = torch.zeros_like(stuck)
            state = self.judge(state, stuck, failed, stop)
            now, asks = self.ensemble.runs, {"stuck": stuck | state.waits, **stepper.asks}
            stay = self.ensemble.look(state.at.z, partial(self.resting, kinks), **asks)
            if stay is not None:
                self.h[torch.from_numpy(now).to(stay.device)] = state.h
                if not len(stay):
                    break
                state, stuck = _mapped(lambda x, stay=stay: x[stay], state), stuck[stay]
                kinks = kinks.select(stay)
                stepper.select(stay)
            stepper.hear(self.ensemble.told or {})
            going = (self.ensemble.code == GOING) & ~stuck
            state = self.step(kinks, stepper, state, going)
        return np.array(self.ensemble.handed_on, dtype=int)

    def begin(self, kinks: Kinks, z: Tensor, h: Tensor) -> _State:
        """Return what is known of runs before their first step."""
        at, far, no = self.at(kinks, z), torch.full_like(h, torch.inf), torch.zeros_like(h)
        size = self.sizes(z)
        wrong = kinks.wrong(at.here, at.past, size)
        return _State(at, h, far, at.rate, torch.ones_like(h), wrong, no.bool(), size, no, no)

    def settle(self, kinks: Kinks, state: _State) -> tuple[_State, Tensor]:
        """Change modes until none is wrong, in the runs that have wrong ones.

        Returns
        -------
        tuple
            The runs, moved onto the kinks where they slide; and those for which no modes are
            right, boolean ``(R,)``.
        """
        at, wrong, count = state.at, state.wrong, self.ensemble.count
        concerned = wrong.flatten(1).any(-1)[:, None, None]
        for pivots in range(PIVOTS):
            if not bool(wrong.any()):
                break
            theta, events, slides = kinks.pivot(at.z[:, :-1], at.here, wrong, pivots == 0)
            at = self.at(kinks, torch.cat([theta, at.z[:, -1:]], dim=-1))
            wrong = kinks.wrong(at.here, at.past, self.sizes(at.z)) & concerned
            count["events"], count["slides"] = count["events"] + events, count["slides"] + slides
        none = torch.zeros_like(wrong)
        return state._replace(at=at, wrong=none), wrong.flatten(1).any(-1)

    def judge(self, state: _State, stuck: Tensor, failed: Tensor, stop: float) -> _State:
        """Save the states of runs that have come so far, and end those that go no further."""
        ensemble, at = self.ensemble, state.at
        clock, ticks = self.clocked(at.z, at.here)
        # No step ends beyond the next; but an event there moves the state in its window.
        passed = (clock[:, None] >= self.floor).sum(-1)
        upto = torch.where(stuck, ensemble.index, ensemble.index.maximum(passed))
        ensemble.save(upto, at.z)
        size = self.sizes(at.z)
        pace = (self.pairs(at.slope).abs().amax(-2) / size.clamp_min(self.tiny)).amax(-1)
        # The least step is one that changes nothing, q included.
        change = torch.maximum(pace, at.slope[:, -1].abs() / at.z[:, -1].abs().clamp_min(self.tiny))
        short = torch.minimum(state.h, state.cap) * change < self.eps
        ended = ensemble.index >= len(self.floor)
        lost = ~(at.slope.isfinite().all(-1) & at.R.isfinite())
        still = pace <= self.eps**0.5 * STAGNATION
        ensemble.end(
            among=~stuck,
            # An event, or a level or time, that no step comes to.
            unresolved=failed | (short & ~(ended | lost | still) & (state.cap < state.h)),
            finished=ended,
            diverged=lost,
            converged=still,
            step_underflow=short,
            out_of_steps=ensemble.count["steps"] >= self.max_steps,
            handed_on=~(stop > at.R),
        )
        return state._replace(size=size, clock=clock, ticks=ticks)

    def step(self, kinks: Kinks, stepper, state: _State, going: Tensor) -> _State:
        """Try a step of the runs that are ``going``."""
        at, h, count = state.at, state.h, self.ensemble.count
        ahead = kinks.ahead(at.past, (state.before, state.length), h, state.size)
        step = torch.minimum(h, torch.minimum(state.cap, ahead))
        if perhaps(~going):
            step = torch.where(going, step, 0)
        new, slope, end, (error,) = stepper.step(self.field(kinks), at.z, at.slope, step[:, None])
        taken = going & stepper.taken
        waits, going = going & ~taken, taken
        new = _Point(new, slope, *end, *kinks.past(new[:, :-1], end))
        size = torch.maximum(state.size, self.sizes(new.z))
        error = self.error(error, at.z, new.z, size)
        fine = error <= 1  # NaN compares false
        proposed = next_step(step, error, stepper.order)
        # A step beyond the next event, level or time is taken again, as long as expected.
        part, wrong = kinks.crossing((at.here, *at.past), (new.here, *new.past), step, size)
        part = self.part(part, state, new, step)
        accepted = fine & part.isinf() & going
        wrong &= accepted[:, None, None]
        cut = step < h  # says nothing against a longer one
        h = torch.where(cut & fine, torch.maximum(h, proposed), proposed)
        cap = torch.where(fine & part.isfinite(), part * step, torch.inf)
        if perhaps(~going):
            h, cap = torch.where(going, h, state.h), torch.where(going, cap, state.cap)
            wrong |= state.wrong  # of those that are stuck
        known = new, at.rate, step
        if perhaps(~accepted):
            kept = at, state.before, state.length
            known = _mapped(partial(_where, accepted), known, kept)
        count["steps"] = count["steps"] + going
        count["rejected"] = count["rejected"] + (going & ~accepted)
        return _State(known[0], h, cap, *known[1:], wrong, waits, *state[-3:])

    def error(self, error: Tensor, z: Tensor, new: Tensor, size: Tensor) -> Tensor:
        """Return the root mean square of the errors of a step, in what is allowed, ``(R,)``."""
        q = torch.maximum(z[:, -1].abs(), new[:, -1].abs())
        # Not zero, so that a neuron that stays at zero has no error.
        squares = (self.pairs(error) / (self.rtol * size).clamp_min(self.tiny)[:, None]).square()
        of_q = (error[:, -1] / (self.rtol * q).clamp_min(self.tiny)).square()
        return ((squares.sum((-2, -1)) + of_q) / z.shape[-1]).sqrt()

    def part(self, part: Tensor, state: _State, new: _Point, step: Tensor) -> Tensor:
        """Return the part of a step after which the next event, level or time is, ``(R,)``."""
        index, (clock, ticks) = self.ensemble.index, self.clocked(new.z, new.here)
        target, beyond = self.target[index], clock > self.beyond[index]
        if not perhaps(beyond):
            return part
        ends = target - state.clock, target - clock, -state.ticks * step, -ticks * step
        found = root((ends[0] / (ends[0] - ends[1])).clamp(0.01, 1), *ends)
        return torch.where(beyond, torch.minimum(part, found), part)

    def trajectory(self) -> Trajectory:
        """Return the recorded batch."""
        unresolved = int((self.ensemble.status == UNRESOLVED).sum())
        if unresolved:
            warnings.warn(
                f"{unresolved} of {len(self.ensemble.status)} runs are unresolved: at a kink, or "
                "where they are saved, no step led on. Perturb their starts, or ask for a smaller "
                "rtol.",
                UnresolvedWarning,
                stacklevel=3,
            )
        run = self.ensemble.trajectory(self.save_at, evaluations=self.evaluations)
        return replace(run, final=run.final[..., :-1].reshape(self.shape))


def _mapped(function: Callable, *trees):
    """Return nested tuples with a function done to their tensors."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    parts = [_mapped(function, *parts) for parts in zip(*trees, strict=True)]
    return tuple(parts) if type(trees[0]) is tuple else type(trees[0])(*parts)


def _where(runs: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return, for each run, its part of ``yes`` or of ``no``."""
    return torch.where(runs.view(-1, *[1] * (yes.ndim - 1)), yes, no)
