"""Figure 3 of Min, Zhu, Vidal for five seeds: one batch against plain torch loops, side by side.

All train the same network from the same starts by SGD on centred digits 0, 1, 2. The plain loops
take one run after the other: ``torch.nn``, ``torch.optim.SGD``, and either a ``DataLoader``, as
most would write it, or the rows of a permutation, the fastest plain way. Orders of the images
differ, so the final states do; what is measured of them must agree within the seeds' spread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from ncbook.data import images, mnist_files
from ncbook.dynamics.training import sgd_momentum
from ncbook.metrics import class_statistics, nc1_min_zhu_vidal, rank_error
from ncbook.models.deep import scores
from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import Runtime, generator

OURS, SHARED = "ncbook: one batch", "ncbook: one batch, one order of images"
LOADER, ROWS = "a loop over runs, DataLoader", "a loop over runs, rows of a permutation"
JUDGED = ("loss", "nc1", "features_error")  # the test error can be the same for all seeds
SPREADS = 3.0  # how many standard deviations over seeds the means of two methods may be apart


@dataclass(frozen=True)
class Problem:
    """The paper's settings, on all images or on the sample."""

    source: str
    batch: int
    epochs: int = 50
    seeds: int = 5
    width: int = 50
    sigma: float = 1e-3
    rate: float = 0.1

    @classmethod
    def at_hand(cls, quick: bool = False) -> "Problem":
        """Return the paper's size where the full set is at hand, else the sample's."""
        if quick:
            return cls("sample", 167, epochs=8, seeds=3)
        return cls("sample", 167) if mnist_files.folder() is None else cls("full", 1000)

    def data(self, dtype: torch.dtype) -> images.Images:
        """Return the digits, centred by the mean of the training images."""
        digits = images.mnist(Runtime(torch.device("cpu"), dtype, 1), (0, 1, 2), self.source)
        mean = digits.train.mean(0)
        digits.train.sub_(mean)
        digits.test.sub_(mean)
        return digits

    def model(self, digits: images.Images) -> ShallowReLU:
        """Return the network on these digits."""
        return ShallowReLU(digits.train, digits.train_labels, 3, self.width, "cross-entropy")

    def start(self, digits: images.Images) -> Tensor:
        """Return a start for each seed, the same numbers in each dtype."""
        run = Runtime(torch.device("cpu"), digits.train.dtype, 1)
        return self.model(digits).random_start(run.tensor([self.sigma]), range(self.seeds), run)[0]


def ours(problem: Problem, digits: images.Images, start: Tensor, shared: bool = False) -> Tensor:
    """Train all runs as one batch; return their final states.

    A pixel that is the same in all training images is 0 once they are centred, and its weights
    stay what they are: such pixels, a sixth or so, are left out of the training.
    """
    model, varies = problem.model(digits), (digits.train != 0).any(0)
    W, V = model.unpack(start)
    small = replace(digits, train=digits.train[:, varies])
    part = problem.model(small)
    final = sgd_momentum(
        part.loss_gradient,
        part.pack(W[:, varies], V),
        small.train,
        small.train_labels,
        epochs=problem.epochs,
        rate=problem.rate,
        batch=problem.batch,
        seeds=[0] * len(start) if shared else range(len(start)),
        momentum=0.0,
        decay=0.0,
        drops=(),
    ).final
    W = W.clone()
    W[:, varies], V = part.unpack(final)
    return model.pack(W, V)


def loop(problem: Problem, digits: images.Images, start: Tensor, loader: bool) -> Tensor:
    """Train one run after the other with torch.nn and torch.optim; return their final states."""
    model = problem.model(digits)
    finals = []
    for seed, state in enumerate(start):
        W, V = model.unpack(state)
        first = nn.Linear(model.D, model.width, bias=False, dtype=start.dtype)
        last = nn.Linear(model.width, model.K, bias=False, dtype=start.dtype)
        first.weight.data, last.weight.data = W.T.clone(), V.clone()
        network = nn.Sequential(first, nn.ReLU(), last)
        optimiser = torch.optim.SGD(network.parameters(), lr=problem.rate)
        draw = generator(seed)
        batches = DataLoader(
            TensorDataset(digits.train, digits.train_labels),
            batch_size=problem.batch,
            shuffle=True,
            generator=draw,
        )
        for _ in range(problem.epochs):
            for x, labels in batches if loader else _rows(digits, problem.batch, draw):
                optimiser.zero_grad()
                cross_entropy(network(x), labels).backward()
                optimiser.step()
        finals.append(model.pack(first.weight.data.T, last.weight.data))
    return torch.stack(finals)


def _rows(digits: images.Images, batch: int, draw: torch.Generator):
    for part in torch.randperm(len(digits.train), generator=draw).split(batch):
        yield digits.train[part], digits.train_labels[part]


def measured(problem: Problem, digits: images.Images, states: Tensor) -> dict[str, Tensor]:
    """Return what Figure 3 is about, of every run, in float64: each of shape (seeds,)."""
    model, states = problem.model(digits), states.double()
    features = model.features(states)
    _, V = model.unpack(states)
    statistics = class_statistics(features, digits.train_labels, scatter=False)
    test = scores(model.outputs(states, digits.test), digits.test_labels)
    return {
        "loss": scores(features @ V.mT, digits.train_labels)["loss"],
        "test_error": test["error"],
        "nc1": nc1_min_zhu_vidal(statistics),
        "features_error": rank_error(features, 3),
    }


def distance(found: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """Return how many standard deviations over seeds the means are apart: the largest.

    Infinite where a number is not finite.
    """
    apart = [
        (found[name].mean() - reference[name].mean()).abs() / reference[name].std()
        for name in JUDGED
    ]
    return float(torch.stack(apart).nan_to_num(nan=torch.inf).max())


def rows(problem: Problem, say: Callable[[str], None] = print) -> list[dict]:
    """Time every method in either dtype, on one thread, by the processor's clock.

    Returns
    -------
    list of dict
        One for each method and dtype: ``method``, ``dtype``, ``images``, ``runs``, ``seconds``,
        ``ratio`` (seconds over ours in the same dtype), ``apart`` (see :func:`distance`, from ours
        in float64), ``agrees``, and the means over seeds of what :func:`measured` returns.
    """
    methods = {
        OURS: lambda *args: ours(*args),
        SHARED: lambda *args: ours(*args, shared=True),
        ROWS: lambda *args: loop(*args, loader=False),
        LOADER: lambda *args: loop(*args, loader=True),
    }
    judge = problem.data(torch.float64)
    table, reference = [], None
    for dtype in (torch.float64, torch.float32):
        digits = problem.data(dtype)
        start = problem.start(digits)
        for name, method in methods.items():
            began = time.process_time()
            states = method(problem, digits, start)
            seconds = time.process_time() - began
            found = measured(problem, judge, states)
            reference = reference or found
            if name == OURS:
                own = seconds
            apart = distance(found, reference)
            table.append(
                {
                    "method": name,
                    "dtype": str(dtype).removeprefix("torch."),
                    "images": len(digits.train),
                    "runs": problem.seeds,
                    "seconds": seconds,
                    "ratio": seconds / own,
                    "apart": apart,
                    "agrees": apart <= SPREADS,
                    **{key: float(value.mean()) for key, value in found.items()},
                }
            )
            say(_line(table[-1]))
    return table


def head(problem: Problem) -> str:
    """Return what is compared, and the heads of the columns."""
    return (
        f"Figure 3 of Min, Zhu, Vidal: {problem.seeds} runs of {problem.epochs} epochs, MNIST 0, "
        f"1, 2 ({problem.source}), batches of {problem.batch}.\nSeconds are the processor's, on "
        "one thread; ratio: over ours in the same dtype;\napart: means of loss, NC1 and the "
        "features' error from ours, in standard deviations over seeds.\n"
        f"{'':<42}{'dtype':>9}{'seconds':>9}{'ratio':>7}{'apart':>7}"
    )


def _line(row: dict) -> str:
    return (
        f"{row['method']:<42}{row['dtype']:>9}{row['seconds']:9.2f}{row['ratio']:7.2f}"
        f"{row['apart']:7.2f}{'' if row['agrees'] else '  DIFFERS'}"
    )
