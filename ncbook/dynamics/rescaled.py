"""Gradient flow of the shallow ReLU network in rescaled time, to losses of any smallness.

Gradient flow needs a time exponential in R = log(1/L). In the rescaled time s with ds = L dt it is

    theta' = -grad L / L = grad R,    R' = ||grad R||^2,

whose right-hand side is of the size of theta at any L. Real time is followed by q = t L, for which
q' = 1 - q ||grad R||^2, so that log t = log q + R without overflow.

Three things make this flow hard, and each has its remedy here.

- Small starts: errors are measured against each neuron's own norm, so that no absolute tolerance
  has to be far below the start's scale.
- Kinks: where a neuron switches on or off the field jumps, and a neuron can slide along the
  boundary between both. A step on which a neuron switches is accepted once it is as short as
  ``kink_step``, whatever its error; the method is of first order there, and only there.
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
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from ncbook.dynamics.flow import PAIRS, Pair
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
from ncbook.models.shallow_relu import ShallowReLU

FIRST_STEP = 1e-3  # of rescaled time, in which every start moves at rates of order one
STILL = 1e-9  # a run whose every neuron moves at most at this rate stands still
LANDING = 1e-11  # how near to its mark a state is recorded, relative to the mark
STIFF = 40.0  # the R from which separated runs take the stabilised method
MOST_STAGES = 250


def rescaled_flow(
    model: ShallowReLU,
    start: Tensor,
    levels: Sequence[float],
    observe: Observe | None = None,
    rtol: float = 1e-7,
    kink_step: float = 0.03,
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
        each to 1e-11, relative to the larger of 1 and the level.
    observe : callable, optional
        State ``(*batch, P)`` to a dict of numbers a run, each of shape ``batch``. ``"R"`` and
        ``"log_t"``, the logarithm of real time, are observed in any case.
    rtol : float
        Error allowed on a step, relative to each neuron's norm: the root mean square over all
        weights.
    kink_step : float
        Length, in rescaled time, to which a step on which a neuron switches is cut down at most.
    max_steps : int
        Trial steps of a run before it is out of steps.

    Returns
    -------
    Trajectory
        ``times`` are the levels. A run is ``"converged"`` if every neuron has come to a
        standstill below the last level, as where no neuron is left for some class; from there on
        its observables are those of where it stands. ``statistics`` has ``steps``, ``rejected``
        and ``kinked`` (steps accepted for a switching neuron's sake), arrays of shape ``batch``.

    Raises
    ------
    ValueError
        The levels do not increase, or the first lies below R at a start; or a number that must be
        positive is not.
    """
    marks = [float(level) for level in levels]
    rising = all(a < b for a, b in pairwise(marks))
    if not marks or not rising or not all(map(math.isfinite, marks)):
        raise ValueError(f"The levels of R must be finite and increase; got {marks[:8]}.")
    at_start = -model.log_loss(start)
    if bool((at_start > marks[0] + LANDING * max(1.0, abs(marks[0]))).any()):
        raise ValueError(
            f"The first level is R = {marks[0]}, and a run starts at R = {float(at_start.max())}; "
            "R only increases, so choose levels from there on."
        )
    flow = _Flow(model, start, marks, "R", observe, rtol, kink_step, max_steps)
    handed_on = flow.advance(torch.arange(len(flow.z), device=start.device), _RungeKutta, STIFF)
    smooth = model.for_runs(start.shape[:-1], handed_on).separated(flow.z[handed_on, :-1])
    flow.advance(handed_on[smooth], _Chebyshev)
    flow.advance(handed_on[~smooth], _RungeKutta)
    return flow.trajectory()


def timed_flow(
    model: ShallowReLU,
    start: Tensor,
    times: Sequence[float],
    observe: Observe | None = None,
    rtol: float = 1e-7,
    kink_step: float = 0.03,
    max_steps: int = 100_000,
) -> Trajectory:
    """Integrate gradient flow up to given real times t, each run with its own steps.

    The integration of rescaled_flow, recorded at times instead of losses: for the alignment phase,
    in which the loss hardly moves.

    Parameters
    ----------
    model, start, observe, rtol, kink_step, max_steps
        As in rescaled_flow; ``"R"`` is observed in any case.
    times : sequence of float
        Times at which to observe, increasing from 0 on, the last one being the end. A run lands
        on each to 1e-11, relative to the time.

    Returns
    -------
    Trajectory
        As from rescaled_flow, its ``times`` being real times.

    Raises
    ------
    ValueError
        The times do not increase from 0 on, or a number that must be positive is not.
    """
    flow = _Flow(model, start, checked_times(times), "t", observe, rtol, kink_step, max_steps)
    flow.advance(torch.arange(len(flow.z), device=start.device), _RungeKutta)
    return flow.trajectory()


def rescaled_states(
    model: ShallowReLU, start: Tensor, levels: Sequence[float], rtol: float = 1e-7
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


# --- The methods --------------------------------------------------------------------------------

Field = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


class _RungeKutta:
    """The pair of Dormand and Prince, for steps that the accuracy limits."""

    order = 5

    def __init__(self, like: Tensor) -> None:
        self.pair = Pair.of(PAIRS["RK45"], like)

    def step(self, field: Field, z: Tensor, slope: Tensor, h: Tensor):
        """Return the new state, its field, the estimated error and the states in between."""
        A, (errors,) = self.pair.A, self.pair.errors
        slopes, states = slope.new_empty(len(A), *z.shape), []
        slopes[0] = slope
        for stage in range(1, len(A)):
            move = torch.tensordot(A[stage, :stage], slopes[:stage], 1)
            states.append(torch.addcmul(z, h, move))
            end = field(states[-1])
            slopes[stage] = end[0]
        return states[-1], end, h * torch.tensordot(errors, slopes, 1), states

    def keep(self, stay: Tensor) -> None:
        """Drop what is known of the runs that leave."""


class _Chebyshev:
    """The stabilised method RKC of second order, for steps that stability would limit.

    With m stages it is stable on [-0.65 m^2, 0], where an ordinary method of m stages comes to
    about -0.5 m. The fastest rate of each run is followed by one step of a power iteration a step.
    """

    order = 3

    def __init__(self, like: Tensor) -> None:
        self.direction: Tensor | None = None

    def keep(self, stay: Tensor) -> None:
        """Drop what is known of the runs that leave."""
        if self.direction is not None:
            self.direction = self.direction[stay]

    def fastest(self, field: Field, z: Tensor, slope: Tensor) -> Tensor:
        """Return an estimate of each run's fastest rate, shape ``(R, 1)``."""
        rounds = 1
        if self.direction is None:
            rounds, self.direction = 20, slope.clone()
        size = torch.finfo(z.dtype).eps ** 0.5 * z.norm(dim=-1, keepdim=True)
        for _ in range(rounds):
            self.direction = self.direction / self.direction.norm(dim=-1, keepdim=True)
            self.direction = (field(z + size * self.direction)[0] - slope) / size
        return 1.1 * self.direction.norm(dim=-1, keepdim=True)

    def step(self, field: Field, z: Tensor, slope: Tensor, h: Tensor):
        """Return the new state, its field, the estimated error and the states in between."""
        rate = float((h * self.fastest(field, z, slope)).max())
        stages = 2 if not math.isfinite(rate) else 1 + math.ceil(math.sqrt(1 + 1.54 * rate))
        stages = min(max(stages, 2), MOST_STAGES)
        first, rows = _chebyshev_weights(stages)
        # Displacements from z, so that a neuron that stands still keeps its last bit.
        before, here = torch.zeros_like(z), first * h * slope
        for mu, nu, mu_field, of_start in rows:
            push = mu_field * field(z + here)[0] + of_start * slope
            before, here = here, mu * here + nu * before + h * push
        new = z + here
        end = field(new)
        return new, end, 0.4 * h * (slope + end[0]) - 0.8 * here, [new]


@cache
def _chebyshev_weights(stages: int) -> tuple[float, list[tuple[float, float, float, float]]]:
    """Return the first step's weight, and each further stage's four, of RKC with damping 2/13."""
    w0 = 1 + (2 / 13) / stages**2
    values = [np.eye(stages + 1)[j] for j in range(stages + 1)]
    T, dT, ddT = (
        np.array([chebyshev.chebval(w0, chebyshev.chebder(c, order)) for c in values])
        for order in range(3)
    )
    w1 = dT[-1] / ddT[-1]
    b = np.empty(stages + 1)
    b[2:] = ddT[2:] / dT[2:] ** 2
    b[0], b[1] = b[2], 1 / w0
    a = 1 - b * T
    rows = []
    for j in range(2, stages + 1):
        mu_field = 2 * b[j] * w1 / b[j - 1]
        row = (2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], mu_field, -a[j - 1] * mu_field)
        rows.append(tuple(map(float, row)))
    return float(b[1] * w1), rows


# --- The integration ----------------------------------------------------------------------------


class _Flow:
    """A batch of runs under way; a run's state is (theta, q)."""

    def __init__(self, model, start, marks, clock, observe, rtol, kink_step, max_steps) -> None:
        if not (rtol > 0 and kink_step > 0 and max_steps >= 1):
            raise ValueError(
                f"rtol = {rtol}, kink_step = {kink_step}, max_steps = {max_steps}: expected "
                "positive numbers."
            )
        self.began = time.perf_counter()
        self.model, self.start, self.marks, self.clock = model, start, marks, clock
        self.rtol, self.kink_step, self.max_steps = rtol, kink_step, max_steps
        z = start.reshape(-1, start.shape[-1])
        self.z = torch.cat([z, z.new_zeros(len(z), 1)], dim=-1)
        self.h = z.new_full((len(z),), FIRST_STEP)
        self.index = torch.zeros(len(z), dtype=torch.long, device=z.device)
        self.status = np.full(len(z), FINISHED, dtype=object)
        self.counts = {k: np.zeros(len(z), dtype=int) for k in ("steps", "rejected", "kinked")}
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

    def _neuron_norms(self, z: Tensor) -> Tensor:
        """Return the norms of the neuron pairs, each repeated for each weight, and |q|."""
        pairs = z[:, :-1].unflatten(-1, (-1, self.model.width))  # rows of W, then of V
        norms = pairs.norm(dim=-2, keepdim=True).expand_as(pairs).flatten(-2)
        return torch.cat([norms, z[:, -1:].abs()], dim=-1)

    def _clock(self, z: Tensor, R: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        """Return R or t, whichever the marks are of, and its rate in rescaled time."""
        return (R, speed) if self.clock == "R" else (z[:, -1] * R.exp(), R.exp())

    def advance(self, runs: Tensor, method: type, stop: float = math.inf) -> Tensor:
        """Integrate ``runs`` to the last mark, or hand on those that came to R = ``stop``."""
        batch, grid = self.start.shape[:-1], self.z.new_tensor(self.marks)
        near = LANDING * (grid.abs().clamp_min(1) if self.clock == "R" else grid.abs())
        z, h, index = self.z[runs], self.h[runs], self.index[runs]
        cap = torch.full_like(h, torch.inf)  # where the next mark is expected
        model, stepper, handed_on = self.model.for_runs(batch, runs), method(z), []

        def field(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Return the rate of (theta, q), R and its rate."""
            log_L, ascent = model.log_loss_and_rescaled_field(z[:, :-1])
            speed = ascent.square().sum(-1)
            self.evaluations += 1
            return torch.cat([ascent, (1 - z[:, -1] * speed)[:, None]], dim=-1), -log_L, speed

        if len(runs):
            slope, R, speed = field(z)
        while len(runs):
            value, rate = self._clock(z, R, speed)
            hit = (value - grid[index]).abs() <= near[index]
            if bool(hit.any()):
                self.waiting.put(index[hit], runs[hit], z[hit])
                index = index + hit
            ended = index >= len(grid)
            lost = ~(speed.isfinite() & (h > 1e-15)) & ~ended
            spent = torch.as_tensor(self.counts["steps"] >= self.max_steps, device=z.device)[runs]
            moving = slope[:, :-1].abs() > STILL * self._neuron_norms(z)[:, :-1]
            still = ~moving.any(-1) & ~ended & ~lost
            over = ~(stop > R)
            leave = ended | lost | spent | still | over
            if bool(leave.any()):
                for reason, name in (
                    (spent & ~ended, OUT_OF_STEPS),
                    (still, CONVERGED),
                    (lost, DIVERGED),
                ):
                    self.status[runs[reason].cpu().numpy()] = name
                who = runs[leave]
                self.z[who], self.h[who], self.index[who] = z[leave], h[leave], index[leave]
                on = over & ~(ended | lost | spent | still)
                handed_on.append(runs[on])
                gone = leave & ~on
                if bool(gone.any()):
                    self.waiting.leave(runs[gone], index[gone], z[gone], keep=still[gone])
                stay = ~leave
                runs, z, h, index, cap, slope, R, speed, value, rate = (
                    x[stay] for x in (runs, z, h, index, cap, slope, R, speed, value, rate)
                )
                if not len(runs):
                    break
                model = self.model.for_runs(batch, runs)
                stepper.keep(stay)
            step = torch.minimum(h, cap)
            new, (slope_new, R_new, speed_new), error, states = stepper.step(
                field, z, slope, step[:, None]
            )
            # Not zero, so that a neuron that stays at zero has no error.
            scale = torch.maximum(self._neuron_norms(z), self._neuron_norms(new)) * self.rtol
            error = (error / scale.clamp_min(torch.finfo(z.dtype).tiny)).square().mean(-1).sqrt()
            fine = error <= 1  # NaN compares false
            factor = (0.9 * error.clamp_min(1e-10) ** (-1 / stepper.order)).clamp(0.2, 10)
            proposed = step * torch.where(error.isfinite(), factor, 0.2)
            if not bool(fine.all()):
                kinked = self._switched(runs, z, states, ~fine)
                proposed = torch.where(kinked, proposed.clamp_min(self.kink_step), proposed)
                kinked = kinked & (step <= self.kink_step) & new.isfinite().all(-1)
                fine = fine | kinked
                self.counts["kinked"][runs[kinked].cpu().numpy()] += 1
            # A step beyond the next mark is taken again, as long as the mark is expected to be.
            mark = grid[index]
            value_new, rate_new = self._clock(new, R_new, speed_new)
            beyond = fine & (value_new > mark + near[index])
            accepted = fine & ~beyond
            cut = step < h  # says nothing against a longer one
            h = torch.where(cut & fine, torch.maximum(h, proposed), proposed)
            cap = torch.where(accepted, torch.inf, cap)
            if bool(beyond.any()):
                part = _crossing(value - mark, value_new - mark, rate * step, rate_new * step)
                cap = torch.where(beyond, part * step, cap)
            z = torch.where(accepted[:, None], new, z)
            slope = torch.where(accepted[:, None], slope_new, slope)
            R, speed = torch.where(accepted, R_new, R), torch.where(accepted, speed_new, speed)
            who = runs.cpu().numpy()
            self.counts["steps"][who] += 1
            self.counts["rejected"][who] += (~accepted).cpu().numpy()
        return torch.cat(handed_on) if handed_on else runs

    def _switched(self, runs: Tensor, z: Tensor, states: list[Tensor], which: Tensor) -> Tensor:
        """Return which of the runs ``which`` saw a neuron switch between the states."""
        model = self.model.for_runs(self.start.shape[:-1], runs[which])
        before = model.active(z[which, :-1])
        switched = torch.zeros_like(which)
        for state in states:
            switched[which] |= (model.active(state[which, :-1]) != before).flatten(1).any(-1)
        return switched

    def trajectory(self) -> Trajectory:
        """Return the recorded batch."""
        batch = tuple(self.start.shape[:-1])
        return Trajectory(
            times=torch.tensor(self.marks, dtype=torch.float64),
            observables=self.waiting.recorder.values,
            final=self.z[:, :-1].reshape(self.start.shape),
            status=self.status.reshape(batch),
            statistics={
                **{name: count.reshape(batch) for name, count in self.counts.items()},
                "evaluations": self.evaluations,
                "seconds": time.perf_counter() - self.began,
                "device": str(self.start.device),
                "dtype": str(self.start.dtype).removeprefix("torch."),
            },
        )


def _crossing(a: Tensor, b: Tensor, da: Tensor, db: Tensor) -> Tensor:
    """Return the x in (0, 1) at which the cubic with these ends and end slopes is zero, a < 0 < b.

    To rounding where x is near 1; elsewhere it need only be near, since the step is taken again.
    """
    x = (a / (a - b)).clamp(0.01, 1)
    for _ in range(4):
        y = 1 - x
        value = y * y * ((1 + 2 * x) * a + x * da) + x * x * ((1 + 2 * y) * b - y * db)
        slope = 6 * x * y * (b - a) + y * (1 - 3 * x) * da + x * (1 - 3 * y) * db
        new = x - value / slope
        x = torch.where((new > 0) & (new < 1), new, x)
    return x
