"""NC1 of Papyan, Han and Donoho: ours against the textbook's D x D pseudo-inverse, side by side.

Run as ``python -m bench.metrics`` from the project's folder, or ``python bench/metrics.py``. All
methods start from the same features and labels and end with the number. It ends with an error if
the numbers differ by more than 1e-10, relative.

- ours: class means, thin SVD of the K x D centred means, the features seen through it.
- ours, one pass: the same through a ClassAccumulator in mini-batches of 256, which must keep a
  square root of the scatter because the class means are not known yet (compressed by QR from
  max(2 D, 1024) rows on: here at D = 512).
- textbook: the D x D covariances, and ``Tr(Sigma_W torch.linalg.pinv(Sigma_B)) / K``.
- textbook, symmetric: the same with ``pinv(..., hermitian=True)``, the best of its kind.

And for a network with a loader: ``collapse_of``, which ends with every measure, against what public
codes do for this one: a first pass that keeps all features in a list, for the class means, a second
one for the D x D covariance, and the pseudo-inverse.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ncbook.metrics import ClassAccumulator, class_statistics, nc1_papyan
from ncbook.metrics.network import collapse_of

TOLERANCE = 1e-10
CLASSES = 10


def rows(dims: tuple[int, ...] = (512, 2048), samples: int = 2000) -> list[dict]:
    """Time every method at every feature dimension.

    Parameters
    ----------
    dims
        The feature dimensions D.
    samples
        The number of samples n, a multiple of 10.

    Returns
    -------
    list of dict
        One for each dimension and method: ``benchmark``, ``D``, ``n``, ``K``, ``method``,
        ``seconds`` (the least of ``repeats`` runs), ``repeats``, ``value``, ``error`` (relative,
        against ours), ``ratio`` (seconds over ours), ``agrees`` (error at most 1e-10) and
        ``threads``.
    """
    # The textbook takes seconds: fewer repeats.
    methods = {
        "ours": (_ours, 20),
        "ours, one pass": (_one_pass, 5),
        "textbook, symmetric": (_textbook_symmetric, 3),
        "textbook": (_textbook, 3),
    }
    return _table("nc1.papyan", methods, _features, tuple((dim, samples) for dim in dims))


def network_rows(
    sizes: tuple[tuple[int, int], ...] = ((512, 2000), (2048, 2000), (512, 20000)),
) -> list[dict]:
    """Time the measures of a network's features, from network and loader to the numbers.

    The sizes are (D, n), the columns those of :func:`rows`, with NC1 of Papyan, Han and Donoho as
    the value. The loader's mini-batches have 128 samples. With many samples the square root of
    the scatter, which keeps the digits, costs more than the covariance, which squares them.
    """
    methods = {"ours, every measure": (_collapse_of, 5), "public codes, NC1": (_two_passes, 3)}
    return _table("network", methods, _network, sizes)


def _table(
    benchmark: str, methods: dict[str, tuple], case: Callable, sizes: tuple[tuple[int, int], ...]
) -> list[dict]:
    """Return a row for each size (D, n) and method, of which the first is ours."""
    table = []
    for dim, samples in sizes:
        given, reference = case(samples, dim), None
        for name, (method, repeats) in methods.items():
            method(*case(100, 16))  # first calls load libraries
            seconds, value = _least(method, repeats, *given)
            reference = reference or (value, seconds)
            error = abs(value - reference[0]) / reference[0]
            table.append(
                {
                    "benchmark": benchmark,
                    "D": dim,
                    "n": samples,
                    "K": CLASSES,
                    "method": name,
                    "seconds": seconds,
                    "repeats": repeats,
                    "value": value,
                    "error": error,
                    "ratio": seconds / reference[1],
                    "agrees": error <= TOLERANCE,
                    "threads": torch.get_num_threads(),
                }
            )
    return table


def show(table: list[dict]) -> None:
    """Print the table, with what was timed."""
    first = table[0]
    print(
        f"{first['benchmark']}: NC1 of Papyan, Han and Donoho, K = {first['K']}, float64, "
        f"{first['threads']} thread(s), torch {torch.__version__}.\n"
        "Seconds from what is given to the number, the least of the repeats; "
        "ratio: seconds over ours; error: relative, against ours."
    )
    print(
        f"{'D':>6} {'n':>6} {'method':<20} {'seconds':>10} {'repeats':>8} {'ratio':>9} {'error':>9}"
    )
    for row in table:
        print(
            f"{row['D']:>6} {row['n']:>6} {row['method']:<20} {row['seconds']:>10.4f} "
            f"{row['repeats']:>8} {row['ratio']:>9.1f} {row['error']:>9.1e}"
            f"{'' if row['agrees'] else '  DIFFERS'}"
        )


def main() -> int:
    """Run the benchmark and print it; return 1 if the methods disagree, else 0."""
    tables = rows(), network_rows()
    for table in tables:
        show(table)
    table = [row for table in tables for row in table]
    wrong = [f"{row['method']} at D = {row['D']}" for row in table if not row["agrees"]]
    if wrong:
        print(f"Not equal to {TOLERANCE:g}: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


def _features(samples: int, dim: int) -> tuple[Tensor, Tensor]:
    """Return ten Gaussian classes behind a ReLU, as a last layer has them."""
    generator = torch.Generator().manual_seed(dim)
    draw = {"generator": generator, "dtype": torch.float64}
    labels = torch.arange(samples) % CLASSES
    means = torch.randn(CLASSES, dim, **draw)
    features = means[labels] + 0.5 * torch.randn(samples, dim, **draw)
    return features.relu(), labels


def _ours(features: Tensor, labels: Tensor) -> Tensor:
    return nc1_papyan(class_statistics(features, labels))


def _one_pass(features: Tensor, labels: Tensor) -> Tensor:
    accumulator = ClassAccumulator(CLASSES)
    for part, classes in zip(features.split(256), labels.split(256), strict=True):
        accumulator.update(part, classes)
    return nc1_papyan(accumulator.statistics())


def _textbook(features: Tensor, labels: Tensor, hermitian: bool = False) -> Tensor:
    means = torch.stack([features[labels == k].mean(0) for k in range(CLASSES)])
    within = features - means[labels]
    between = means - means.mean(0)
    sigma_w = within.T @ within / len(features)
    sigma_b = between.T @ between / CLASSES
    return torch.trace(sigma_w @ torch.linalg.pinv(sigma_b, hermitian=hermitian)) / CLASSES


def _textbook_symmetric(features: Tensor, labels: Tensor) -> Tensor:
    return _textbook(features, labels, hermitian=True)


def _network(samples: int, dim: int) -> tuple[nn.Module, list]:
    """Return a network whose classifier is given the features, and a loader."""
    features, labels = _features(samples, dim)
    network = nn.Sequential()
    network.body, network.fc = nn.Identity(), nn.Linear(dim, CLASSES).double()
    return network, list(zip(features.split(128), labels.split(128), strict=True))


def _collapse_of(network: nn.Module, loader: list) -> Tensor:
    return collapse_of(network, "fc", loader, CLASSES).measures["nc1.papyan"]


@torch.no_grad()
def _two_passes(network: nn.Module, loader: list) -> Tensor:
    given, classes = [], []
    handle = network.fc.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    for x, labels in loader:
        network(x)
        classes.append(labels)
    features, labels = torch.cat(given), torch.cat(classes)
    means = torch.stack([features[labels == k].mean(0) for k in range(CLASSES)])
    sigma_w = torch.zeros(features.shape[1], features.shape[1], dtype=features.dtype)
    for x, labels in loader:
        given.clear()
        network(x)
        within = given[0] - means[labels]
        sigma_w += within.T @ within / len(features)
    handle.remove()
    between = means - means.mean(0)
    sigma_b = between.T @ between / CLASSES
    return torch.trace(sigma_w @ torch.linalg.pinv(sigma_b)) / CLASSES


def _least(method: Callable[..., Tensor], repeats: int, *given) -> tuple[float, float]:
    """Return the least seconds of the repeats, and the value."""
    least = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        value = float(method(*given))
        least = min(least, time.perf_counter() - start)
    return least, value


if __name__ == "__main__":
    sys.exit(main())
