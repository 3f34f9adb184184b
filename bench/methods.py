"""The runs of Figure 1 by ncbook and by other libraries: what is timed, nothing else.

Every method goes from the same starts to the same end. The flows count their evaluations of the
field, so that cost can be told apart into how many and how dear.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import integrate
from torch import Tensor

from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import adaptive_flow, flow
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime

ATOL = 1e-14  # far below the errors of the smallest start, which are 4e-8


@dataclass(frozen=True)
class Problem:
    """Figure 1 of Mixon, Parshall, Pi: starts of several sizes, several seeds of each."""

    decades: int = 7
    seeds: int = 50
    step: float = 0.1
    iterations: int = 400

    @property
    def model(self) -> UnconstrainedFeatures:
        """C = N = 3, p = 15."""
        return UnconstrainedFeatures(3, 3, 15)

    @property
    def end(self) -> float:
        """Time of the flows' end: that of the descent."""
        return self.step * self.iterations

    def start(self) -> Tensor:
        """Return the starts, shape ``(seeds * decades, P)``, all sizes of one seed together."""
        run = Runtime(torch.device("cpu"), torch.float64, torch.get_num_threads())
        eps = 10.0 ** -torch.arange(self.decades, dtype=torch.float64)
        return self.model.small_start(eps, range(self.seeds), run).transpose(0, 1).flatten(0, 1)


# --- Gradient descent ---------------------------------------------------------------------------


def descent_batch(problem: Problem, start: Tensor) -> Tensor:
    """Descend with ncbook: all runs in one batch, the gradient by hand."""
    return descent(problem.model.field, start, problem.step, problem.iterations).final


def descent_sgd(problem: Problem, start: Tensor) -> Tensor:
    """Descend with torch.optim.SGD and autograd, one run after the other."""
    return torch.stack([_sgd(problem, z) for z in start])


def descent_sgd_batch(problem: Problem, start: Tensor) -> Tensor:
    """Descend with torch.optim.SGD and autograd, all runs in one batch: the risks add up."""
    return _sgd(problem, start)


def _sgd(problem: Problem, z: Tensor) -> Tensor:
    model = problem.model
    H, W, b = (part.clone().requires_grad_() for part in model.unpack(z))
    optimiser = torch.optim.SGD([H, W, b], lr=problem.step)
    for _ in range(problem.iterations):
        optimiser.zero_grad()
        risk = (W @ H + b.unsqueeze(-1) - model.Y).square().sum() / 2
        risk.backward()
        optimiser.step()
    return model.pack(H, W, b).detach()


# --- Gradient flow ------------------------------------------------------------------------------

Field = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Flow:
    """One way to integrate the flow, at one setting.

    Attributes
    ----------
    group : str
        Whose it is and how it takes the runs; one winner is found in each group.
    setting : str
        The method's name and its steps or tolerances.
    solve : callable
        Problem and starts ``(R, P)`` to the states at the end and the evaluations of the field: of
        the whole batch, or by the average run where runs are integrated one by one.
    """

    group: str
    setting: str
    solve: Callable[[Problem, Tensor], tuple[Tensor, float]]

    @property
    def one_by_one(self) -> bool:
        """Whether the runs are integrated one after the other, so that some stand for all."""
        return self.group.endswith("run by run")


OURS = "ncbook"
TORCHDIFFEQ = "torchdiffeq, batch"
TORCHDIFFEQ_OUR_STEPS = "torchdiffeq, batch, our two steps"
TORCHDIFFEQ_RUNS = "torchdiffeq, run by run"
SCIPY = "scipy, batch as one system"
SCIPY_RUNS = "scipy, run by run"

# The bias relaxes in the first unit of time, at rate CN = 9, and mixes modes that the errors then
# keep: only there does the length of the step decide the accuracy. From there on its bound is
# stability, at rate CN + sqrt(N) = 10.7 (theory.ufm.spectra.spectrum_at_collapse).
TWO_STEPS = [  # (method, step, its end, method, step)
    ("RK4", 0.07, 1.0, "RK4", 0.21),
    ("RK4", 0.05, 1.0, "RK4", 0.2),
    ("RK4", 0.025, 2.0, "RK4", 0.2),
    ("RK4", 0.02, 2.0, "RK4", 0.15),
    ("DOP853", 0.25, 1.0, "RK4", 0.2),
    ("DOP853", 0.2, 2.0, "RK4", 0.2),
    ("DOP853", 0.2, 1.0, "DOP853", 0.5),
]


def flows(quick: bool = False) -> list[Flow]:
    """Return the methods and settings that compete, or one or two of each group."""
    every = [
        *(_ours_two_steps(*steps) for steps in TWO_STEPS),
        *(_ours_fixed("RK4", step) for step in (0.1, 0.05)),
        _ours_fixed("DOP853", 0.2),
        *(_ours_adaptive("DOP853", rtol, 0.5) for rtol in (1e-2, 1e-3, 1e-4)),
        *(_ours_adaptive("RK45", rtol, 0.25) for rtol in (1e-3, 1e-4, 1e-5)),
        *(_torchdiffeq_fixed("rk4", step) for step in (0.1, 0.05, 0.03, 0.02)),
        *(_torchdiffeq_adaptive(TORCHDIFFEQ, "dopri5", rtol) for rtol in (1e-4, 1e-6)),
        _torchdiffeq_adaptive(TORCHDIFFEQ, "dopri5", 1e-4, 0.25),
        _torchdiffeq_adaptive(TORCHDIFFEQ, "dopri8", 1e-4, 0.5),
        *(_torchdiffeq_two_steps(*steps) for steps in TWO_STEPS if steps[0] == "RK4"),
        *(_torchdiffeq_runs_fixed("rk4", step) for step in (0.05, 0.02)),
        *(_torchdiffeq_adaptive(TORCHDIFFEQ_RUNS, "dopri5", rtol, 0.25) for rtol in (1e-3, 1e-5)),
        *(_scipy_batch("DOP853", rtol, 0.5) for rtol in (1e-2, 1e-3, 1e-4)),
        *(_scipy_batch("RK45", rtol, 0.25) for rtol in (1e-3, 1e-4, 1e-5)),
        *(_scipy_runs("DOP853", rtol, 0.5) for rtol in (1e-2, 1e-4, 1e-5)),
        _scipy_runs("DOP853", 1e-10),
        *(_scipy_runs("RK45", rtol, 0.25) for rtol in (1e-3, 1e-4, 1e-5)),
        *(_scipy_runs("LSODA", rtol) for rtol in (1e-3, 1e-4, 1e-6)),
    ]
    if not quick:
        return every
    groups = dict.fromkeys(method.group for method in every)
    return [m for g in groups for m in [m for m in every if m.group == g][-1:]]


def _counted(field: Callable) -> tuple[Callable, list[int]]:
    count = [0]

    def counting(*args):
        count[0] += 1
        return field(args[-1])

    return counting, count


def _ours_fixed(method: str, step: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        run = flow(problem.model.field, start, step, [problem.end], method=method)
        return run.final, run.statistics["evaluations"]

    return Flow(OURS, f"{method} {step:g}", solve)


def _ours_two_steps(method: str, first: float, until: float, later: str, second: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        field, rest = problem.model.field, problem.end - until
        early = flow(field, start, first, [until], method=method)
        late = flow(field, early.final, second, [rest], method=later)
        return late.final, early.statistics["evaluations"] + late.statistics["evaluations"]

    return Flow(OURS, f"{method} {first:g} to t = {until:g}, then {later} {second:g}", solve)


def _ours_adaptive(method: str, rtol: float, longest: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        run = adaptive_flow(
            problem.model.field,
            start,
            [problem.end],
            method=method,
            rtol=rtol,
            atol=ATOL,
            max_step=longest,
        )
        return run.final, run.statistics["evaluations"]

    return Flow(OURS, f"adaptive {method}, rtol {rtol:.0e}, step <= {longest:g}", solve)


def _odeint(field: Callable, start: Tensor, end: float, **options) -> Tensor:
    from torchdiffeq import odeint  # only a benchmark needs it

    with torch.no_grad():
        return odeint(field, start, torch.tensor([0.0, end], dtype=start.dtype), **options)[-1]


def _torchdiffeq_fixed(method: str, step: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        field, count = _counted(problem.model.field)
        options = {"step_size": step}
        return _odeint(field, start, problem.end, method=method, options=options), count[0]

    return Flow(TORCHDIFFEQ, f"{method} {step:g}", solve)


def _torchdiffeq_runs_fixed(method: str, step: float) -> Flow:
    batch = _torchdiffeq_fixed(method, step)
    return Flow(TORCHDIFFEQ_RUNS, batch.setting, _run_by_run(batch.solve))


def _torchdiffeq_two_steps(_: str, first: float, until: float, __: str, second: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        field, count = _counted(problem.model.field)
        early = _odeint(field, start, until, method="rk4", options={"step_size": first})
        rest = problem.end - until
        return _odeint(field, early, rest, method="rk4", options={"step_size": second}), count[0]

    setting = f"rk4 {first:g} to t = {until:g}, then rk4 {second:g}"
    return Flow(TORCHDIFFEQ_OUR_STEPS, setting, solve)


def _torchdiffeq_adaptive(
    group: str, method: str, rtol: float, longest: float | None = None
) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        field, count = _counted(problem.model.field)
        options = {} if longest is None else {"max_step": longest}
        final = _odeint(
            field, start, problem.end, method=method, rtol=rtol, atol=ATOL, options=options
        )
        return final, count[0]

    one_by_one = group == TORCHDIFFEQ_RUNS
    return Flow(
        group, _tolerances(method, rtol, longest), _run_by_run(solve) if one_by_one else solve
    )


def _run_by_run(solve: Callable) -> Callable:
    def each(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        finals, counts = zip(*(solve(problem, z) for z in start), strict=True)
        return torch.stack(finals), sum(counts) / len(counts)

    return each


def _scipy_batch(method: str, rtol: float, longest: float) -> Flow:
    def solve(problem: Problem, start: Tensor) -> tuple[Tensor, float]:
        field = numpy_field(problem.model)
        y, count = _solve_ivp(
            lambda t, y: field(y.reshape(start.shape)).reshape(-1),
            start.numpy().reshape(-1),
            problem.end,
            method=method,
            rtol=rtol,
            max_step=longest,
        )
        return torch.from_numpy(y).view(start.shape), count

    return Flow(SCIPY, _tolerances(method, rtol, longest), solve)


def _scipy_runs(method: str, rtol: float, longest: float | None = None) -> Flow:
    def solve(problem: Problem, z: Tensor) -> tuple[Tensor, float]:
        field = numpy_field(problem.model)
        options = {} if longest is None else {"max_step": longest}
        y, count = _solve_ivp(
            lambda t, y: field(y), z.numpy(), problem.end, method=method, rtol=rtol, **options
        )
        return torch.from_numpy(y), count

    return Flow(SCIPY_RUNS, _tolerances(method, rtol, longest), _run_by_run(solve))


def _solve_ivp(field: Callable, start: np.ndarray, end: float, **options):
    solution = integrate.solve_ivp(field, (0, end), start, t_eval=[end], atol=ATOL, **options)
    y = solution.y[:, -1] if solution.success else np.full_like(start, np.nan)
    return np.ascontiguousarray(y), solution.nfev


def _tolerances(method: str, rtol: float, longest: float | None) -> str:
    return f"{method}, rtol {rtol:.0e}" + ("" if longest is None else f", step <= {longest:g}")


def numpy_field(model: UnconstrainedFeatures) -> Callable[[np.ndarray], np.ndarray]:
    """Return the field for NumPy, for states of shape ``(*batch, P)`` of any real dtype."""
    p, n, C = model.p, model.n, model.C
    Y, h, w = model.Y.numpy(), model.p * model.n, model.p * model.n + model.C * model.p

    def field(z: np.ndarray) -> np.ndarray:
        batch = z.shape[:-1]
        H = z[..., :h].reshape(*batch, p, n)
        W = z[..., h:w].reshape(*batch, C, p)
        minus_E = Y - W @ H - z[..., w:, None]
        out = np.empty_like(z)
        out[..., :h] = (W.swapaxes(-1, -2) @ minus_E).reshape(*batch, h)
        out[..., h:w] = (minus_E @ H.swapaxes(-1, -2)).reshape(*batch, w - h)
        minus_E.sum(-1, out=out[..., w:])
        return out

    return field


# --- The reference ------------------------------------------------------------------------------


def reference(problem: Problem, first: float = 0.05, second: float = 0.2) -> Tensor:
    """Return the states at the end, by an eighth-order method in NumPy's longest real numbers.

    The step is ``first`` until t = 2, then ``second``. The bias error of the smallest starts is
    4e-8, and the roundoff of float64 in it is of relative size 1e-6 to 1e-5: a reference in
    float64 could not judge the methods. Where the platform's long double is float64 (on ARM, for
    one) the reference has the same roundoff.
    """
    field = numpy_field(problem.model)
    A, b = integrate.DOP853.A, integrate.DOP853.B
    z = problem.start().numpy().astype(np.longdouble)
    change = min(2.0, problem.end / 2)
    for length, step in ((change, first), (problem.end - change, second)):
        count = int(np.ceil(length / step - 1e-9))
        h = np.longdouble(length) / count
        for _ in range(count):
            slopes: list[np.ndarray] = []
            for i in range(len(b)):
                moved = sum((a * k for a, k in zip(A[i], slopes, strict=False) if a), 0 * z)
                slopes.append(field(z + h * moved))
            z = z + h * sum(weight * k for weight, k in zip(b, slopes, strict=True) if weight)
    return torch.from_numpy(z.astype(np.float64))
