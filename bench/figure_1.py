"""The 350 runs of Figure 1 of Mixon, Parshall, Pi: ours against other ways, side by side.

Gradient descent must give the same iterates as ``torch.optim.SGD`` with autograd. Gradient flows
are compared at equal accuracy against a reference in extended precision: of every group the
fastest setting that reaches the accuracy is timed again, in turn with ours.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench import methods
from bench.methods import Flow, Problem
from ncbook.metrics import strong_collapse
from ncbook.theory.ufm.spectra import spectrum_at_collapse

SAME = 1e-12  # largest relative difference of iterates that are the same
LEVELS = (1e-3, 1e-5)
SMALL = replace(Problem(), decades=3, seeds=2, iterations=40)


@dataclass
class Report:
    """What was measured: tables of plain values, and the sentences of what went wrong."""

    tables: dict[str, list[dict]]
    wrong: list[str]


def run(quick: bool = False, say: Callable[[str], None] = print) -> Report:
    """Measure all of it, print tables as they come, and return them.

    Parameters
    ----------
    quick : bool
        A smoke test: six short runs, one setting of each group. Its times mean nothing.
    say : callable
        Takes the lines of the output.
    """
    problem = SMALL if quick else Problem()
    sample = problem.decades * (1 if quick else 2)  # runs that stand for all, every size alike
    with one_thread():
        result = Report({}, [])
        start = problem.start()
        say(
            f"Figure 1: {len(start)} runs of P = {start.shape[1]} numbers (C = N = 3, p = 15; "
            f"{problem.decades} sizes eps = 1, 0.1, ... of {problem.seeds} seeds each),\nfloat64. "
            "Seconds are the processor's, on one thread: on an idle machine, those of the wall.\n"
        )
        result.tables["descent"] = descents(problem, start, quick, result.wrong, say)
        judge, result.tables["reference"] = reference(problem, start, quick, say)
        scanned = scan(problem, start, sample, judge, methods.flows(quick), say)
        result.tables["flow settings"] = [row for _, row in scanned]
        result.tables["flow"] = []
        for level in (1e-1,) if quick else LEVELS:
            result.tables["flow"] += compare(
                problem, start, sample, scanned, level, quick, result.wrong, say
            )
        result.tables["limit"] = limit(problem, start, result.tables, quick, say)
    result.tables["threads"] = threads(problem, start, sample, scanned, result.tables, quick, say)
    if quick:
        say("A smoke test: these times mean nothing.\n")
    elif result.tables["flow"]:
        summary(result.tables, say)
    return result


# --- Gradient descent ---------------------------------------------------------------------------


def descents(
    problem: Problem, start: Tensor, quick: bool, wrong: list[str], say: Callable
) -> list[dict]:
    """Time the loop of SGD over all runs, and ours again and again in between."""
    chunks = start.split(problem.decades * (1 if quick else 5))
    ours = Stopwatch(methods.descent_batch, problem, start)
    batch = Stopwatch(methods.descent_sgd_batch, problem, start)
    loop = Stopwatch(methods.descent_sgd, problem, chunks[0][:1])
    methods.descent_sgd_batch(problem, start[:1])  # the first call of autograd loads libraries
    finals, seconds = [], 0.0
    for chunk in chunks:
        ours.again()
        batch.again()
        finals.append(loop.again(problem, chunk))
        seconds += loop.seconds[-1]
    rows = [
        _descent_row("ncbook: one batch, gradients by hand", ours.median, ours, ours.result),
        _descent_row("torch.optim.SGD, autograd: one batch", batch.median, ours, batch.result),
        _descent_row("torch.optim.SGD, autograd: a loop over runs", seconds, ours, finals),
    ]
    say(f"Gradient descent, step {problem.step:g}, {problem.iterations} iterations")
    say(f"{'':<46}{'seconds':>9}{'ratio':>8}  largest relative difference of the states")
    for row in rows:
        say(f"{row['method']:<46}{row['seconds']:9.3f}{row['ratio']:8.1f}  {row['difference']:.1e}")
        if not row["difference"] <= SAME:
            wrong.append(
                f"{row['method']}: its iterates differ from ours by {row['difference']:.1e}, "
                f"relative; expected at most {SAME:g}."
            )
    say(
        f"Ours and the batch of autograd: the median of {len(chunks)} times, one before each of "
        f"{len(chunks)} parts of the loop; the loop: all {len(start)} runs, once.\n"
    )
    return rows


def _descent_row(method: str, seconds: float, ours: "Stopwatch", final) -> dict:
    final = torch.cat(final) if isinstance(final, list) else final
    return {
        "method": method,
        "seconds": seconds,
        "ratio": seconds / ours.median,
        "difference": difference(final, ours.result),
    }


def difference(states: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two states of a run over the run's largest number.

    Infinite where a number is not finite.
    """
    relative = (states - expected).abs().amax(-1) / expected.abs().amax(-1)
    return float(relative.nan_to_num(nan=torch.inf).max())


# --- Gradient flow ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Knows the final errors of every run from the reference."""

    problem: Problem
    expected: Tensor  # (2, R): duality and bias

    @classmethod
    def of(cls, problem: Problem, states: Tensor) -> "Judge":
        """Take the errors of these states for the truth."""
        return cls(problem, final_errors(problem, states))

    def accuracy(self, states: Tensor) -> dict[str, float]:
        """Return the largest relative error over the runs, of each final error and of both.

        ``states`` are of the first runs or of all. Infinite where a number is not finite.
        """
        expected = self.expected[:, : len(states)]
        relative = ((final_errors(self.problem, states) - expected) / expected).abs()
        middle, right = relative.nan_to_num(nan=torch.inf).amax(-1).tolist()
        return {"middle": middle, "right": right, "accuracy": max(middle, right)}


def final_errors(problem: Problem, states: Tensor) -> Tensor:
    """Return the duality and the bias error of Figure 1, shape ``(2, R)``."""
    errors = strong_collapse(*problem.model.unpack(states))
    return torch.stack([errors.duality, errors.bias])


def reference(
    problem: Problem, start: Tensor, quick: bool, say: Callable
) -> tuple[Judge, list[dict]]:
    """Integrate the reference, and say how far others of high accuracy are from it."""
    judge = Judge.of(problem, methods.reference(problem))
    field, end = problem.model.field, [problem.end]
    tight = {"rtol": 1e-13, "atol": 1e-24}
    step = 0.1 if quick else 0.02
    others = {
        "the reference with steps twice as long": methods.reference(problem, 0.1, 0.4),
        f"ncbook, float64: DOP853, step {step:g}": methods.flow(
            field, start, step, end, method="DOP853"
        ).final,
        "ncbook, float64: adaptive DOP853, rtol 1e-13": methods.adaptive_flow(
            field, start, end, **tight
        ).final,
    }
    rows = [{"method": name} | judge.accuracy(states) for name, states in others.items()]
    say(
        f"Gradient flow to t = {problem.end:g}. Reference: DOP853 in NumPy's long double, step "
        "0.05 until t = 2, then 0.2."
    )
    say(f"{'Largest relative difference from it in the final':<50}{'middle':>9}{'right':>9}  error")
    for row in rows:
        say(f"{row['method']:<50}{row['middle']:9.1e}{row['right']:9.1e}")
    say(
        "The first line is the reference's own uncertainty. What float64 adds is roundoff: the "
        "bias error\nof the smallest start is 4e-8, so that no method below can be trusted to be "
        "better than about 1e-5.\n"
    )
    return judge, rows


def scan(
    problem: Problem,
    start: Tensor,
    sample: int,
    judge: Judge,
    flows: list[Flow],
    say: Callable,
) -> list[tuple[Flow, dict]]:
    """Run every setting; return it with its accuracy and cost."""
    say("Every setting; the least of three times where they are short. All have our gradient.")
    if len(start) > sample:
        say(
            f"Where the runs are integrated one by one, {sample} runs ({sample // problem.decades} "
            f"of each size) stand for all {len(start)}: their\nseconds are scaled, their accuracy "
            "is taken for that of all (in their favour). Evaluations: of the whole\nbatch, or of "
            "the average run."
        )
    say(f"{'':<34}{'':<38}{'seconds':>9}{'evals':>7}{'us/eval':>9}{'middle':>9}{'right':>9}")
    runs = [start[:sample] if method.one_by_one else start for method in flows]
    watches = [Stopwatch(m.solve, problem, some) for m, some in zip(flows, runs, strict=True)]
    for turn in range(3):  # in turn, so that a moment's disturbance does not choose the winner
        for watch in watches:
            if turn == 0 or watch.seconds[0] < 1:
                watch.again()
    scanned = []
    for method, some, watch in zip(flows, runs, watches, strict=True):
        final, evaluations = watch.result
        seconds = min(watch.seconds) * len(start) / len(some)
        calls = evaluations * (len(start) if method.one_by_one else 1)
        row = {
            "group": method.group,
            "setting": method.setting,
            "runs": len(some),
            "seconds": seconds,
            "evaluations": evaluations,
            "microseconds": seconds / calls * 1e6,
        } | judge.accuracy(final)
        scanned.append((method, row))
        say(
            f"{row['group']:<34}{row['setting']:<38}{seconds:9.3f}{evaluations:7.0f}"
            f"{row['microseconds']:9.1f}{row['middle']:9.1e}{row['right']:9.1e}"
        )
    say("")
    return scanned


def winners(scanned: list[tuple[Flow, dict]], level: float) -> dict[str, tuple[Flow, dict] | None]:
    """Return of each group the fastest setting that reaches the accuracy, or None."""
    best: dict[str, tuple[Flow, dict] | None] = {}
    for method, row in scanned:
        best.setdefault(row["group"], None)
        rival = best[row["group"]]
        if row["accuracy"] <= level and (rival is None or row["seconds"] < rival[1]["seconds"]):
            best[row["group"]] = method, row
    return best


def compare(
    problem: Problem,
    start: Tensor,
    sample: int,
    scanned: list[tuple[Flow, dict]],
    level: float,
    quick: bool,
    wrong: list[str],
    say: Callable,
) -> list[dict]:
    """Time the winners in turn, and return one row each."""
    best = winners(scanned, level)
    if best[methods.OURS] is None:
        wrong.append(f"No setting of ours reaches an accuracy of {level:g}.")
        return []
    watches = {
        group: Stopwatch(method.solve, problem, start[:sample] if method.one_by_one else start)
        for group, (method, _) in ((g, b) for g, b in best.items() if b)
    }
    for turn in range(1 if quick else 5):
        for watch in watches.values():
            if turn < 2 or watch.median < 2:  # twice is enough for the slow ones
                watch.again()
    ours = watches[methods.OURS]
    say(f"The fastest of each group that is at least as accurate as {level:g}, timed in turn")
    say(f"{'':<34}{'':<38}{'seconds':>9}{'ratio':>7}{'from':>7}{'to':>7}{'evals':>7}{'us/eval':>9}")
    rows = []
    for group, winner in best.items():
        if winner is None:
            say(f"{group:<34}no setting above reaches it")
            continue
        _, row = winner
        watch = watches[group]
        scale = len(start) / row["runs"]
        ratios = [
            theirs * scale / mine for theirs, mine in zip(watch.seconds, ours.seconds, strict=False)
        ]
        row = row | {
            "level": level,
            "seconds": watch.median * scale,
            "ratio": watch.median * scale / ours.median,
            "ratios": ratios,
            "microseconds": row["microseconds"] * watch.median * scale / row["seconds"],
        }
        rows.append(row)
        say(
            f"{group:<34}{row['setting']:<38}{row['seconds']:9.3f}{row['ratio']:7.1f}"
            f"{min(ratios):7.1f}{max(ratios):7.1f}{row['evaluations']:7.0f}"
            f"{row['microseconds']:9.1f}"
        )
    say("")
    return rows


# --- What limits --------------------------------------------------------------------------------


def limit(
    problem: Problem, start: Tensor, tables: dict[str, list[dict]], quick: bool, say: Callable
) -> list[dict]:
    """Take our cost apart: evaluations of the field, and what is in one."""
    model, repeats = problem.model, 3 if quick else 300
    H, W, _ = model.unpack(start)
    E, plain = model.residual(start), start.numpy()
    in_numpy = methods.numpy_field(model)
    square = torch.ones(512, 512, dtype=torch.float64)
    parts = {
        "the field": lambda: model.field(start),
        "- its products W H, W^T E, E H^T": lambda: (W @ H, W.mT @ E, E @ H.mT),
        "- as much arithmetic in one large product": lambda: square @ square,
        "the same field in NumPy": lambda: in_numpy(plain),
        "reading and writing the states once": lambda: start.clone(),
        "one call that computes nothing": lambda: start.view(-1),
    }
    micro = {name: _microseconds(part, repeats) for name, part in parts.items()}
    micro["- as much arithmetic in one large product"] *= (
        3 * model.C * model.p * model.n * len(start) / len(square) ** 3
    )
    fastest = max(value for value, _ in spectrum_at_collapse(model.C, model.N, model.p))
    steps = problem.end * fastest / 2.785  # RK4 is stable on the real axis down to -2.785
    rows = [{"what": name, "microseconds": value} for name, value in micro.items()]
    say(f"What limits us: one evaluation for {len(start)} runs, in microseconds")
    for row in rows:
        say(f"{row['what']:<60}{row['microseconds']:9.1f}")
    least = 4 * steps
    rows.append({"what": "evaluations of RK4 at its stability bound", "evaluations": least})
    loop = tables["descent"][-1]["seconds"] / problem.iterations * 1e6
    say(
        f"One iteration of the loop of SGD takes {loop / len(start):.0f} us a run. A descent 300 "
        f"times faster would have {loop / 300:.0f} us for one\niteration of the batch; the "
        f"{3 * len(start)} small products of the field alone take "
        f"{micro['- its products W H, W^T E, E H^T']:.0f} us, far more\nthan their arithmetic."
    )
    say(
        f"The fastest rate at the end is CN + sqrt(N) = {fastest:.1f}: RK4 is stable with at least "
        f"{steps:.0f} steps, {least:.0f} evaluations,\n"
        f"{least * micro['the field'] / 1e6:.3f} s of evaluating. Whoever is handed the same "
        "batched field pays the same for it; the rest of the ratio is\n"
        "the number of evaluations and what is done between them:"
    )
    for row in tables["flow"]:
        share = micro["the field"] / row["microseconds"]
        if row["group"] in (methods.OURS, methods.TORCHDIFFEQ, methods.TORCHDIFFEQ_OUR_STEPS):
            say(
                f"  {row['level']:g}: {row['group']:<34}{row['evaluations']:6.0f} evaluations, "
                f"{100 * share:3.0f} % of the time in the field"
            )
    say("")
    return rows


def _microseconds(call: Callable, repeats: int) -> float:
    """Return the least time of a call."""
    call()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times) * 1e6


def threads(
    problem: Problem,
    start: Tensor,
    sample: int,
    scanned: list[tuple[Flow, dict]],
    tables: dict[str, list[dict]],
    quick: bool,
    say: Callable,
) -> list[dict]:
    """Time one thread against torch's default: ours, the loop of SGD, torchdiffeq on the batch."""
    if not tables["flow"]:
        return []
    by_setting = {(row["group"], row["setting"]): method.solve for method, row in scanned}
    level = tables["flow"][-1]["level"]
    calls = {
        "descent, ncbook": (methods.descent_batch, start),
        f"descent, loop of SGD ({sample} runs, scaled)": (methods.descent_sgd, start[:sample]),
    }
    for row in tables["flow"]:
        if row["level"] == level and row["group"] in (methods.OURS, methods.TORCHDIFFEQ):
            solve = by_setting[row["group"], row["setting"]]
            calls[f"flow to {level:g}, {row['group']}"] = solve, start
    many, wall = torch.get_num_threads(), time.perf_counter
    say(f"{'Threads: seconds on the wall':<40}{'one':>9}{f'default, {many}':>12}")
    rows = []
    for name, (solve, runs) in calls.items():
        one, default = (Stopwatch(solve, problem, runs, clock=wall) for _ in range(2))
        for _ in range(1 if quick else 2):
            with one_thread():
                one.again()
            default.again()
        scale = len(start) / len(runs)
        row = {"one": one.median * scale, "default": default.median * scale, "threads": many}
        rows.append({"what": name} | row)
        say(f"{name:<40}{row['one']:9.3f}{row['default']:12.3f}")
    say("")
    return rows


def summary(tables: dict[str, list[dict]], say: Callable) -> None:
    """Say the ratios that matter, with what they do not say."""
    _, batch, loop = tables["descent"]
    ours, theirs = tables["threads"][:2]
    say("In short")
    say(
        f"- The same iterates as a loop of torch.optim.SGD: {loop['ratio']:.0f} times faster, both "
        f"on one thread; {theirs['default'] / ours['default']:.0f} times\n  with the "
        f"{ours['threads']} that torch takes by itself. The batch gives nearly all of it: autograd "
        f"in one batch takes\n  {batch['ratio']:.1f} times as long as ours."
    )
    for level in dict.fromkeys(row["level"] for row in tables["flow"]):
        rows = {row["group"]: row for row in tables["flow"] if row["level"] == level}
        parts = []
        for kind, groups in {
            "of one run at a time": (methods.SCIPY_RUNS, methods.TORCHDIFFEQ_RUNS),
            "of torchdiffeq on our batch, one step": (methods.TORCHDIFFEQ,),
            "of those handed our batch and our choice of steps": (
                methods.SCIPY,
                methods.TORCHDIFFEQ_OUR_STEPS,
            ),
        }.items():
            there = [rows[group]["ratio"] for group in groups if group in rows]
            if there:
                parts.append(f"{min(there):.1f} (the best {kind})")
        say(f"- The flow to {level:g}, seconds over ours: " + ";\n  ".join(parts) + ".")
    say("")


# --- Clocks -------------------------------------------------------------------------------------


class Stopwatch:
    """Times a call, as often as it is asked to, by the processor's clock if no other is given.

    On one thread that is what a clock on the wall of an idle machine shows; what else runs on a
    busy one falsifies it least.
    """

    def __init__(self, call: Callable, *args, clock: Callable = time.process_time) -> None:
        self.call, self.args, self.clock = call, args, clock
        self.seconds: list[float] = []
        self.result = None

    def again(self, *args):
        """Call once more, with other arguments where they are given; return the result."""
        began = self.clock()
        self.result = self.call(*(args or self.args))
        self.seconds.append(self.clock() - began)
        return self.result

    @property
    def median(self) -> float:
        """The median time, in seconds."""
        return statistics.median(self.seconds)


@contextmanager
def one_thread():
    """Keep torch, and the BLAS of NumPy and SciPy, to one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
