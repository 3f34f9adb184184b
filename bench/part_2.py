"""Figure 1 (a) of Wu, Mondelli: four runs as one batch against plain loops, and fewer steps.

All train the same network from the same starts, on the same mini-batches in the same order, so that
final states must agree to rounding. A plain loop is one run after the other: ``torch.nn``,
autograd, ``torch.optim.SGD`` with the rates of the particles' parameters N times that of the mean
field. A step is timed as the difference between a longer and a shorter training, which leaves out
all that is done once; an epoch is so many steps. The matrix products of a step, alone, in the same
process, say what the machine could do: their time over that of a step is its share of that rate.

The second comparison is of steps: the paper's rates, .001 and then .01, against a constant rate
with the same sum. Both must end at the same loss, NC1 and NB, within the spread over the runs.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.figure_1 import Stopwatch
from ncbook import metrics
from ncbook.data import images, mnist_files
from ncbook.dynamics.minibatch import FeatureTrajectory, minibatch_sgd, paper_rates
from ncbook.dynamics.training import example_orders, mini_batches
from ncbook.metrics.imbalance import imbalance
from ncbook.models.mean_field import MeanField
from ncbook.runtime import Runtime

OURS = "ncbook: one batch"
LOOP, FUSED = "a loop over runs, SGD", "a loop over runs, SGD(fused=True)"
WARM = 3  # steps that the timed ones come after
AIM = 0.75  # of the rate of the matrix products alone
# How far states of float32 and float64 may differ after so few steps, of the largest entry.
SAME = {torch.float32: 1e-4, torch.float64: 1e-11}
JUDGED = ("loss", "nc1", "nb")
SPREADS = 1.0  # how many standard deviations over the runs two ends may be apart


@dataclass(frozen=True)
class Problem:
    """The paper's settings, on all images or on the sample."""

    source: str
    per_class: int
    N: int
    runs: int = 4
    pairs: int = 1  # of these runs, so many also follow the paper's rates
    epochs: int = 40  # of the paper's rates
    rate: float = 0.04
    steps: int = 20  # that are timed
    p: int = 16
    batch: int = 64
    decay: float = 1e-4

    @classmethod
    def at_hand(cls, quick: bool = False) -> "Problem":
        """Return the paper's size where the full set is at hand, else the sample's."""
        if quick:
            return cls("sample", 100, N=50, runs=3, pairs=2, epochs=20, steps=3)
        if mnist_files.folder() is None:
            return cls("sample", 1000, N=1000, pairs=4)
        return cls("full", 10_000, N=6272)

    @property
    def epoch(self) -> int:
        """Steps in an epoch."""
        return -(-3 * self.per_class // self.batch)

    def data(self, dtype: torch.dtype) -> images.Images:
        """Return the images, with labels modulo 3."""
        run = Runtime(torch.device("cpu"), dtype, 1)
        return images.mnist_modulo(run, 3, self.per_class, source=self.source)

    def model(self, data: images.Images) -> MeanField:
        """Return the network on these images."""
        return MeanField(data.train, data.train_labels, 3, self.p, self.N, decay=self.decay)

    def start(self, data: images.Images) -> Tensor:
        """Return a start for each run, the same numbers in each dtype."""
        run = Runtime(torch.device("cpu"), data.train.dtype, 1)
        return self.model(data).start(range(self.runs), run, W="normal")


# --- A step -------------------------------------------------------------------------------------


def ours(problem: Problem, data: images.Images, start: Tensor, steps: int) -> Tensor:
    """Train all runs as one batch; return their final states."""
    rates = torch.full((steps,), problem.rate, dtype=torch.float64)
    seeds = range(len(start))
    model = problem.model(data)
    return minibatch_sgd(model, start, rates, seeds=seeds, batch=problem.batch, record=[]).final


class Network(nn.Module):
    """f(x) = W^T (A tanh(U^T x) / N), with W as it is."""

    def __init__(self, W: Tensor, A: Tensor, U: Tensor) -> None:
        super().__init__()
        (d, N), p = U.shape, len(A)
        self.hidden = nn.Linear(d, N, bias=False, dtype=U.dtype)
        self.features = nn.Linear(N, p, bias=False, dtype=U.dtype)
        self.hidden.weight.data, self.features.weight.data = U.T.contiguous(), A.clone()
        self.register_buffer("W", W.clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, ``(b, K)``."""
        return self.features(torch.tanh(self.hidden(x))) @ self.W / self.hidden.out_features


def loop(
    problem: Problem, data: images.Images, start: Tensor, steps: int, fused: bool = False
) -> Tensor:
    """Train one run after the other with torch.nn and torch.optim; return their final states."""
    model = problem.model(data)
    targets = nn.functional.one_hot(data.train_labels, 3).to(start.dtype)
    finals = []
    for seed, state in enumerate(start):
        network = Network(*model.unpack(state))
        optimiser = torch.optim.SGD(
            network.parameters(),
            lr=problem.N * problem.rate,
            weight_decay=problem.decay / problem.N,
            fused=fused,
        )
        orders, batches = example_orders([seed]), iter(())
        for _ in range(steps):
            if (examples := next(batches, None)) is None:
                batches = mini_batches(data.train, targets, problem.batch, orders)
                examples = next(batches)
            x, y = examples
            optimiser.zero_grad()
            ((network(x) - y).square().sum() / (2 * len(x))).backward()
            optimiser.step()
        hidden, features = network.hidden.weight.data, network.features.weight.data
        finals.append(model.pack(network.W, features, hidden.T))
    return torch.stack(finals)


def products(problem: Problem, data: images.Images, start: Tensor) -> Callable[[], None]:
    """Return a function that does the matrix products of one step of all runs, and nothing else.

    Their shapes are those of our step, without the pixels that are never non-zero.
    """
    model = problem.model(data)
    used = (data.train != 0).any(0)
    x = data.train[: problem.batch, used].contiguous()
    G = torch.randn(problem.p, problem.batch, dtype=x.dtype)
    every = []
    for state in start:
        _, A, U = model.unpack(state)
        A, U = A.clone(), U[used]
        S = torch.empty(problem.batch, problem.N, dtype=x.dtype)
        every.append((A, U, S, torch.empty_like(S), torch.empty_like(A), torch.empty_like(U)))

    def once() -> None:
        for A, U, S, pull, A_out, U_out in every:
            torch.mm(x, U, out=S)
            A @ S.T
            torch.mm(G.T, A, out=pull)
            torch.mm(G, S, out=A_out)
            torch.mm(x.T, pull, out=U_out)

    return once


def flops(problem: Problem, data: images.Images) -> float:
    """Return the floating-point operations of a step's matrix products, of one run."""
    used = int((data.train != 0).any(0).sum())
    return 2.0 * problem.batch * problem.N * (2 * used + 3 * problem.p)


def difference(states: Tensor, reference: Tensor) -> float:
    """Return the largest difference, of the reference's largest entry; infinite if not finite."""
    apart = (states - reference).abs().max() / reference.abs().max()
    return float(apart.nan_to_num(nan=torch.inf))


def rows(
    problem: Problem, repeats: int = 5, say: Callable[[str], None] = print
) -> list[dict[str, object]]:
    """Time a step of every method in either dtype, on one thread, by the processor's clock.

    Methods and products take turns, so that what else the machine does falls on all alike; the
    median of the repeats counts.

    Returns
    -------
    list of dict
        One for each method and dtype: ``method``, ``dtype``, ``N``, ``steps`` (timed), ``step``
        (milliseconds, of one run), ``epoch`` (seconds, of one run), ``ratio`` (over ours in the
        same dtype), ``share`` (of the rate of the products alone), ``rate`` (that rate, in GF/s),
        ``apart`` (see :func:`difference`, from ours) and ``agrees``.
    """
    methods = {
        OURS: ours,
        LOOP: loop,
        FUSED: lambda *args: loop(*args, fused=True),
    }
    table = []
    for dtype in (torch.float32, torch.float64):
        data = problem.data(dtype)
        start = problem.start(data)
        alone = Stopwatch(products(problem, data, start))
        alone.again()
        alone.seconds.clear()
        took, finals = {name: [] for name in methods}, {}
        for _ in range(repeats):
            for name, method in methods.items():
                watch = Stopwatch(method, problem, data, start)
                for steps in (WARM, WARM + problem.steps):
                    finals[name] = watch.again(problem, data, start, steps)
                short, long = watch.seconds
                took[name].append((long - short) / (problem.steps * problem.runs))
            for _ in range(problem.steps):
                alone.again()
        seconds = {name: max(statistics.median(values), 1e-9) for name, values in took.items()}
        best = alone.median / problem.runs
        for name in methods:
            apart = difference(finals[name], finals[OURS])
            table.append(
                {
                    "method": name,
                    "dtype": str(dtype).removeprefix("torch."),
                    "N": problem.N,
                    "steps": problem.steps,
                    "step": 1e3 * seconds[name],
                    "epoch": problem.epoch * seconds[name],
                    "ratio": seconds[name] / seconds[OURS],
                    "share": best / seconds[name],
                    "rate": flops(problem, data) / best / 1e9,
                    "apart": apart,
                    "agrees": apart <= SAME[dtype],
                }
            )
            say(_line(table[-1]))
    return table


def head(problem: Problem) -> str:
    """Return what is compared, and the heads of the columns."""
    return (
        f"Figure 1 (a) of Wu, Mondelli: {problem.runs} runs, MNIST modulo 3 ({problem.source}, "
        f"{3 * problem.per_class} images), N = {problem.N}.\nOne run's step and epoch of "
        f"{problem.epoch} steps, from {problem.steps} steps, by the processor's clock on one "
        "thread;\nratio: over ours in the same dtype; share: of the rate of the same matrix "
        f"products alone.\n{'':<36}{'dtype':>9}{'ms/step':>9}{'s/epoch':>9}{'ratio':>7}"
        f"{'share':>7}{'GF/s':>7}"
    )


def _line(row: dict) -> str:
    return (
        f"{row['method']:<36}{row['dtype']:>9}{row['step']:9.2f}{row['epoch']:9.2f}"
        f"{row['ratio']:7.2f}{row['share']:7.2f}{row['rate']:7.1f}"
        f"{'' if row['agrees'] else '  DIFFERS'}"
    )


# --- Steps --------------------------------------------------------------------------------------


def measured(course: FeatureTrajectory, labels: Tensor) -> dict[str, Tensor]:
    """Return loss, NC1 and NB at the end of every run, each of shape (runs,)."""
    classes = metrics.class_statistics(course.features[:, -1].mT, labels, scatter=False)
    return {
        "loss": course.observables["loss"][:, -1],
        "nc1": metrics.nc1_wu_mondelli(classes),
        "nb": imbalance(course.second_moment[:, -1], course.W[:, -1]),
    }


def distance(found: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """Return how far runs are from the same runs of a reference: in means of the differences.

    In standard deviations over all runs of the reference, of the judged number that differs most;
    infinite where one is not finite.
    """
    apart = [
        (found[name] - reference[name][: len(found[name])]).mean().abs() / reference[name].std()
        for name in JUDGED
    ]
    return float(torch.stack(apart).nan_to_num(nan=torch.inf).max())


def schedules(problem: Problem, say: Callable[[str], None] = print) -> list[dict[str, object]]:
    """Train to the same end by the paper's rates and by a constant rate, in float32.

    Returns
    -------
    list of dict
        Two: ``schedule``, ``runs``, ``steps``, ``time`` (the sum of the rates), ``seconds`` (of
        one run), ``ratio`` (over the constant rate), ``apart`` (see :func:`distance`), ``agrees``,
        and the means of what :func:`measured` returns.
    """
    data = problem.data(torch.float32)
    model, start = problem.model(data), problem.start(data)
    paper = paper_rates(problem.epochs, problem.epoch)
    constant = paper.new_full((round(float(paper.sum()) / problem.rate),), problem.rate)
    table, reference, own = [], None, None
    for name, rates, runs in (
        (f"constant rate {problem.rate:g}", constant, problem.runs),
        (f"the paper's, {problem.epochs} epochs", paper, problem.pairs),
    ):
        began = time.process_time()
        course = minibatch_sgd(
            model, start[:runs], rates, seeds=range(runs), batch=problem.batch, record=[len(rates)]
        )
        seconds = (time.process_time() - began) / runs
        found = measured(course, model.y)
        reference, own = reference or found, own or seconds
        apart = distance(found, reference)
        table.append(
            {
                "schedule": name,
                "runs": runs,
                "steps": len(rates),
                "time": float(rates.sum()),
                "seconds": seconds,
                "ratio": seconds / own,
                "apart": apart,
                "agrees": apart <= SPREADS,
                **{key: float(value[: problem.pairs].mean()) for key, value in found.items()},
            }
        )
        say(_schedule_line(table[-1]))
    return table


def schedules_head(problem: Problem) -> str:
    """Return what is compared, and the heads of the columns."""
    return (
        f"The same end with fewer steps (N = {problem.N}, {3 * problem.per_class} images). Apart: "
        f"in standard deviations over {problem.runs} runs; means over {problem.pairs}.\n"
        f"{'':<28}{'steps':>7}{'t':>7}{'seconds':>9}{'ratio':>7}{'loss':>8}{'NC1':>7}{'NB':>7}"
        f"{'apart':>7}"
    )


def _schedule_line(row: dict) -> str:
    return (
        f"{row['schedule']:<28}{row['steps']:7d}{row['time']:7.1f}{row['seconds']:9.1f}"
        f"{row['ratio']:7.1f}{row['loss']:8.4f}{row['nc1']:7.3f}{row['nb']:7.3f}"
        f"{row['apart']:7.2f}{'' if row['agrees'] else '  DIFFERS'}"
    )
