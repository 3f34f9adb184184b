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
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ncbook.metrics import ClassAccumulator, class_statistics, nc1_papyan

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
    table = []
    for dim in dims:
        features, labels = _features(samples, dim)
        # The textbook takes seconds: fewer repeats.
        methods = {
            "ours": (_ours, 20),
            "ours, one pass": (_one_pass, 5),
            "textbook, symmetric": (_textbook_symmetric, 3),
            "textbook": (_textbook, 3),
        }
        for name, (method, repeats) in methods.items():
            seconds, value = _least(method, repeats, features, labels)
            if name == "ours":
                reference = value, seconds
            error = abs(value - reference[0]) / reference[0]
            table.append(
                {
                    "benchmark": "nc1.papyan",
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
        f"NC1 of Papyan, Han and Donoho, n = {first['n']}, K = {first['K']}, float64, "
        f"{first['threads']} thread(s), torch {torch.__version__}.\n"
        "Seconds from features and labels to the number, the least of the repeats; "
        "ratio: seconds over ours; error: relative, against ours."
    )
    print(f"{'D':>6} {'method':<20} {'seconds':>10} {'repeats':>8} {'ratio':>9} {'error':>9}")
    for row in table:
        print(
            f"{row['D']:>6} {row['method']:<20} {row['seconds']:>10.4f} {row['repeats']:>8} "
            f"{row['ratio']:>9.1f} {row['error']:>9.1e}{'' if row['agrees'] else '  DIFFERS'}"
        )


def main() -> int:
    """Run the benchmark and print it; return 1 if the methods disagree, else 0."""
    table = rows()
    show(table)
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


def _least(
    method: Callable[[Tensor, Tensor], Tensor], repeats: int, features: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Return the least seconds of the repeats, and the value."""
    method(features[:1000, :64], labels[:1000])  # first calls load libraries
    least = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        value = float(method(features, labels))
        least = min(least, time.perf_counter() - start)
    return least, value


if __name__ == "__main__":
    sys.exit(main())
