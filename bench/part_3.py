"""Gradient flow of the ReLU network to a given loss: one batch of runs against run by run.

Three classes of orthogonally separable data, cross-entropy, a small semi-local start, down to
L = e^-R. No neuron switches on the way: what is compared is smooth. Everybody integrates the same
field, theta' = -grad L / L, which takes no more time the smaller the loss. Ours finds by itself
where R is reached. The others are handed, for each run, the rescaled time at which the reference
reaches it: in their favour. Methods are compared at equal error of the final direction
theta / |theta|, the largest over the runs; of each group the fastest setting that reaches the
level counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import integrate
from torch import Tensor

from bench.figure_1 import Stopwatch
from ncbook.data.synthetic import orthogonally_separable
from ncbook.dynamics.rescaled import rescaled_flow
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import Runtime

OURS = "ncbook, one batch"
RK45, LSODA = "scipy RK45, run by run", "scipy LSODA, run by run"
RK45_TORCH = "scipy RK45, run by run, our field in torch"
LSODA_TORCH = "scipy LSODA, run by run, our field in torch"
TORCHDIFFEQ = "torchdiffeq dopri5, run by run"
TORCHDIFFEQ_BATCH = "torchdiffeq dopri5, one batch"
GROUPS = (OURS, RK45, LSODA, RK45_TORCH, LSODA_TORCH, TORCHDIFFEQ, TORCHDIFFEQ_BATCH)
MOST = 100_000  # evaluations of a run, or of a batch, after which a method is given up


@dataclass(frozen=True)
class Problem:
    """Runs on data of their own, to a level of R = log(1/L)."""

    R: float = 12 * math.log(10)
    level: float = 1e-5  # the error of the direction that all must reach
    runs: int = 50
    sample: int = 10  # where runs are integrated one by one, so many stand for all
    K: int = 3
    D: int = 6
    per_class: int = 10
    width: int = 18
    eps: float = 1e-3

    @property
    def name(self) -> str:
        """What is integrated, in words."""
        return f"to log L = -{self.R:.4g}"

    def model(self, runs: slice = slice(None)) -> ShallowReLU:
        """Return the network on the data of some of the runs."""
        run = Runtime(torch.device("cpu"), torch.float64, 1)
        data = orthogonally_separable(
            run, range(self.runs)[runs], self.K, self.D, self.per_class, norms=(0.7, 1.5)
        )
        return ShallowReLU(data.X, data.y, self.K, self.width, "cross-entropy")

    def start(self, runs: slice = slice(None)) -> Tensor:
        """Return the starts of some of the runs, ``(R, P)``."""
        run = Runtime(torch.device("cpu"), torch.float64, 1)
        eps = run.tensor([self.eps])
        return self.model(runs).semi_local_start(eps, range(self.runs)[runs], run)[0]


PROBLEMS = (Problem(), Problem(R=1e3, sample=5), Problem(R=1e4, sample=2))
SMALL = Problem(R=5.0, runs=3, sample=2)


HEAD = (
    "Part III: 50 runs of three classes (D = 6, 30 samples, 18 neurons, eps = 1e-3) as one batch "
    "and run by run.\nSeconds are the processor's, on one thread, for all runs; ratio: over ours; "
    f"error: of the final direction.\n{'':<48}{'setting':<18}{'seconds':>9}{'ratio':>8}"
    f"{'error':>9}"
)


def numpy_field(model: ShallowReLU, number: int, most: int = MOST) -> Callable:
    """Return the rescaled field of one run for NumPy, (t, ``(P,)``) to ``(P,)``.

    After ``most`` evaluations it raises StopIteration.
    """
    X, y = model.X[number].numpy(), model.y.numpy()
    D, h, K, rows = model.D, model.width, model.K, np.arange(len(model.y))
    left = iter(range(most))

    def field(_, theta: np.ndarray) -> np.ndarray:
        next(left)
        W, V = theta[: D * h].reshape(D, h), theta[D * h :].reshape(K, h)
        Z = X @ W
        features = np.maximum(Z, 0)
        f = features @ V.T
        apart = f - f[rows, y][:, None]
        apart[rows, y] = -np.inf
        top = apart.max(1)
        odds = np.exp(apart - top[:, None])
        total = odds.sum(1)
        M = top + np.log(total)
        soft = np.logaddexp(0, M)
        log_loss = np.where(M < -37, M, np.log(np.maximum(soft, 1e-300)))
        peak = log_loss.max()
        log_L = peak + np.log(np.exp(log_loss - peak).sum())
        G = -odds / total[:, None]
        G[rows, y] = 1
        G *= np.exp(M - soft - log_L)[:, None]
        out = np.empty_like(theta)
        out[: D * h] = (X.T @ ((G @ V) * (Z > 0))).ravel()
        out[D * h :] = (G.T @ features).ravel()
        return out

    return field


def torch_field(model: ShallowReLU, number: int, most: int = MOST) -> Callable:
    """Return the model's own rescaled field of one run, for NumPy; see numpy_field."""
    one, left = _one(model, number), iter(range(most))

    def field(_, theta: np.ndarray) -> np.ndarray:
        next(left)
        return one.rescaled_field(torch.from_numpy(theta)).numpy()

    return field


def reference(problem: Problem) -> tuple[Tensor, list[float]]:
    """Return the final states of all runs, and the rescaled times that they take.

    SciPy's RK45 at tight tolerances, with an event at R.
    """
    model, starts = problem.model(), problem.start()[: problem.sample]
    finals, times = [], []
    for number, start in enumerate(starts):
        one = _one(model, number)

        def short(_, theta, one=one):
            return -float(one.log_loss(torch.from_numpy(theta))) - problem.R

        short.terminal = True
        solved = integrate.solve_ivp(
            numpy_field(model, number, 20 * MOST),
            (0, 1e3),
            start.numpy(),
            "RK45",
            events=short,
            rtol=1e-9,
            atol=1e-13,
        )
        finals.append(torch.from_numpy(solved.y_events[0][0]))
        times.append(float(solved.t_events[0][0]))
    return torch.stack(finals), times


def _one(model: ShallowReLU, number: int) -> ShallowReLU:
    """Return the network on the data of one run."""
    return ShallowReLU(model.X[number], model.y, model.K, model.width, model.loss)


def direction_error(states: Tensor, expected: Tensor) -> float:
    """Return the largest distance of two directions over the runs; infinite if not finite."""
    apart = states / states.norm(dim=-1, keepdim=True) - expected / expected.norm(
        dim=-1, keepdim=True
    )
    return float(apart.norm(dim=-1).nan_to_num(nan=torch.inf).max())


# --- The methods: (model, starts, R, times) to final states ---------------------------------------


def ours(rtol: float) -> Callable:
    """Integrate all runs as one batch, to R."""

    def solve(model: ShallowReLU, starts: Tensor, R: float, _times) -> Tensor:
        return rescaled_flow(model, starts, [R], rtol=rtol).final

    return solve


def scipy_runs(method: str, rtol: float, eps: float, field_of: Callable = numpy_field) -> Callable:
    """Integrate one run after the other with SciPy, to the times given."""

    def solve(model: ShallowReLU, starts: Tensor, _R, times: list[float]) -> Tensor:
        finals = []
        for number, (start, end) in enumerate(zip(starts.numpy(), times, strict=True)):
            field = field_of(model, number)
            try:
                solved = integrate.solve_ivp(
                    field, (0, end), start, method, [end], rtol=rtol, atol=eps * rtol
                )
                final = solved.y[:, -1] if solved.success else np.full_like(start, np.nan)
            except StopIteration:
                final = np.full_like(start, np.nan)
            finals.append(torch.from_numpy(final.copy()))
        return torch.stack(finals)

    return solve


def torchdiffeq_batch(rtol: float, eps: float) -> Callable:
    """Integrate all runs as one system with torchdiffeq, each in its own unit of time."""

    def solve(model: ShallowReLU, starts: Tensor, _R, times: list[float]) -> Tensor:
        from torchdiffeq import odeint  # only a benchmark needs it

        units = torch.tensor(times, dtype=starts.dtype).unsqueeze(-1)
        left = iter(range(MOST))

        def field(_, theta: Tensor) -> Tensor:
            next(left)
            return units * model.rescaled_field(theta)

        ends = torch.tensor([0.0, 1.0], dtype=starts.dtype)
        options = {"method": "dopri5", "rtol": rtol, "atol": eps * rtol}
        try:
            with torch.no_grad():
                return odeint(field, starts, ends, **options)[-1]
        except (StopIteration, AssertionError):  # the latter where a step is too short for it
            return torch.full_like(starts, torch.nan)

    return solve


def torchdiffeq_runs(rtol: float, eps: float) -> Callable:
    """Integrate one run after the other with torchdiffeq."""
    batch = torchdiffeq_batch(rtol, eps)

    def solve(model: ShallowReLU, starts: Tensor, R, times: list[float]) -> Tensor:
        finals = []
        for number, time in enumerate(times):
            one = _one(model, number)
            finals.append(batch(one, starts[number : number + 1], R, [time]))
        return torch.cat(finals)

    return solve


def settings(problem: Problem, quick: bool) -> list[tuple[str, str, Callable]]:
    """Return the settings that compete: group, setting in words, method."""
    eps = problem.eps
    every = []
    for rtol in (1e-4, 1e-5, 1e-6, 1e-7):
        tolerance = f"rtol {rtol:.0e}"
        every.append((OURS, tolerance, ours(rtol)))
        every.append((RK45_TORCH, tolerance, scipy_runs("RK45", rtol, eps, torch_field)))
        every.append((LSODA_TORCH, tolerance, scipy_runs("LSODA", rtol, eps, torch_field)))
        every.append((RK45, tolerance, scipy_runs("RK45", rtol, eps)))
        every.append((LSODA, tolerance, scipy_runs("LSODA", rtol, eps)))
        every.append((TORCHDIFFEQ, tolerance, torchdiffeq_runs(rtol, eps)))
        every.append((TORCHDIFFEQ_BATCH, tolerance, torchdiffeq_batch(rtol, eps)))
    if quick:
        return [[entry for entry in every if entry[0] == group][-1] for group in GROUPS]
    return every


def rows(problem: Problem, quick: bool = False, say: Callable[[str], None] = print) -> list[dict]:
    """Time every method, by the processor's clock; return the fastest accurate one of each group.

    Returns
    -------
    list of dict
        One for each group of which a setting reaches the level: ``problem``, ``group``,
        ``setting``, ``seconds`` (for all runs; of a sample, scaled, where runs are integrated one
        by one), ``ratio`` (over ours), ``error`` and ``level``.
    """
    say(f"{problem.name}: {problem.runs} runs; error of the direction at most {problem.level:g}")
    expected, times = reference(problem)
    model, starts = problem.model(), problem.start()
    some = slice(problem.sample)
    # A batch needs the times of all runs; for those that nobody judges, about right is enough.
    every_time = times + [sum(times) / len(times)] * (problem.runs - len(times))
    best: dict[str, dict] = {}
    for group, setting, solve in settings(problem, quick):
        if group in best:
            continue  # settings come from the fastest on
        whole = group in (OURS, TORCHDIFFEQ_BATCH)
        watch = Stopwatch(solve, model, starts, problem.R, every_time)
        if not whole:
            watch = Stopwatch(solve, model, starts[some], problem.R, times)
        error = direction_error(watch.again()[some], expected)
        if not error <= problem.level:
            continue
        while watch.seconds[0] < 5 and len(watch.seconds) < (1 if quick else 3):
            watch.again()
        seconds = watch.median * (1 if whole else problem.runs / problem.sample)
        best[group] = {"setting": setting, "seconds": seconds, "error": error}
    table = []
    for group in GROUPS:
        if group not in best:
            say(f"  {group:<46}no setting reaches it")
            continue
        ratio = best[group]["seconds"] / best[OURS]["seconds"] if OURS in best else math.nan
        row = {"problem": problem.name, "group": group, "level": problem.level, "ratio": ratio}
        table.append(row | best[group])
        say("  {group:<46}{setting:<18}{seconds:9.2f}{ratio:8.1f}{error:9.1e}".format(**table[-1]))
    return table
