"""Theorem 4.2's right-hand side: ours against the n q x n q Kronecker system, side by side.

Run as ``python -m bench.stationarity`` from the project's folder. All methods start from the same
kernel K (n x n), weights W (p x q) and labels, and end with the features of the first form,

    vec(H) = gamma (K/n x W) (gamma^2 K/n x W^T W + lambda I)^-1 vec(Y).

- ours: the eigenvalues of W^T W, and one Cholesky factor of size n for each.
- eigenvectors: the eigenvectors of K and of W^T W, which make the system diagonal.
- Kronecker, Cholesky: the system of size n q as a matrix, with its symmetry used.
- Kronecker, LU: the same as one would write it down, with ``torch.linalg.solve``.

In the last two's favour the product with K/n x W is made without that matrix. Memory is the peak
of a process of its own, inputs included, libraries not; the largest n in 4 GiB follows from it, as
all needs grow with n^2.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ncbook.runtime import generator
from ncbook.theory.mean_field.stationarity import stationary_features

OURS, EIGEN = "ours", "eigenvectors"
CHOLESKY, LU = "Kronecker, Cholesky", "Kronecker, LU"
TOLERANCE = 1e-8
ROOM = 4 * 2**30
GAMMA, DECAY = 1.0, 1e-3
# Classes, features, sizes n. The naive methods stop where they would take minutes.
PROBLEMS = ((3, 16, (300, 900, 2700)), (10, 16, (300, 900)))
SMALL = ((3, 5, (30, 60)),)


def stationarity_rows(quick: bool, say: Callable[[str], None]) -> list[dict]:
    """Time every method at every size, and measure the memory that it takes.

    Parameters
    ----------
    quick
        Small sizes: its times mean nothing.
    say
        Called with each line to print.

    Returns
    -------
    list of dict
        One for each size and method: ``benchmark``, ``q``, ``p``, ``n``, ``method``, ``seconds``
        (the least of ``repeats``), ``ratio`` (over ours), ``error`` (the largest difference from
        ours, over the largest entry), ``agrees`` (error at most 1e-8), ``bytes`` (peak memory),
        ``largest`` (n in 4 GiB) and ``threads``.
    """
    say(
        "Theorem 4.2's first form, float64, "
        f"{torch.get_num_threads()} thread(s), torch {torch.__version__}. Ratio: over ours.\n"
        f"{'q':>3}{'n':>7} {'method':<21}{'seconds':>10}{'ratio':>9}{'error':>9}{'MiB':>8}"
        f"{'n in 4 GiB':>12}"
    )
    table = []
    for q, p, sizes in SMALL if quick else PROBLEMS:
        for n in sizes:
            inputs = _inputs(n, q, p)
            for name, method in METHODS.items():
                repeats = 3 if n <= 900 else 1
                seconds, value = _least(method, repeats, inputs)
                if name == OURS:
                    reference = value, seconds
                error = float((value - reference[0]).abs().max() / reference[0].abs().max())
                memory = _peak(name, n, q, p)
                row = {
                    "benchmark": "stationarity.first-form",
                    "q": q,
                    "p": p,
                    "n": n,
                    "method": name,
                    "seconds": seconds,
                    "repeats": repeats,
                    "ratio": seconds / reference[1],
                    "error": error,
                    "agrees": error <= TOLERANCE,
                    "bytes": memory,
                    "largest": int((ROOM / memory) ** 0.5 * n),
                    "threads": torch.get_num_threads(),
                }
                table.append(row)
                say(
                    f"{q:>3}{n:>7} {name:<21}{seconds:>10.4f}{row['ratio']:>9.1f}{error:>9.0e}"
                    f"{memory / 2**20:>8.0f}{row['largest']:>12}"
                    f"{'' if row['agrees'] else '  DIFFERS'}"
                )
    return table


def main() -> int:
    """Run the benchmark and print it; return 1 if the methods disagree, else 0."""
    torch.set_num_threads(1)
    table = stationarity_rows("--quick" in sys.argv[1:], print)
    wrong = [f"{row['method']} at n = {row['n']}" for row in table if not row["agrees"]]
    if wrong:
        print(f"Not equal to {TOLERANCE:g}: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


def _inputs(n: int, q: int, p: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the kernel of 100 random tanh particles and a little ridge, W, and labels."""
    draw = {"generator": generator(n), "dtype": torch.float64}
    S = torch.tanh(torch.randn(n, 20, **draw) @ torch.randn(20, 100, **draw) / 4)
    kernel = S @ S.T / 100
    labels = torch.arange(n) * q // n
    return kernel, torch.randn(p, q, **draw), torch.eye(q, dtype=torch.float64)[:, labels]


def _ours(kernel: Tensor, W: Tensor, Y: Tensor) -> Tensor:
    return stationary_features(kernel, W, Y, gamma=GAMMA, decay=DECAY)


def _eigenvectors(kernel: Tensor, W: Tensor, Y: Tensor) -> Tensor:
    k, right = torch.linalg.eigh(kernel)
    s, left = torch.linalg.eigh(W.T @ W)
    k = k.clamp_min(0) / len(kernel)
    Z = (left.T @ Y @ right) * (GAMMA * k) / (GAMMA**2 * torch.outer(s, k) + DECAY)
    return W @ left @ Z @ right.T


def _system(kernel: Tensor, W: Tensor) -> Tensor:
    system = torch.kron(kernel, W.T @ W).mul_(GAMMA**2 / len(kernel))
    system.diagonal().add_(DECAY)
    return system


def _finish(z: Tensor, kernel: Tensor, W: Tensor) -> Tensor:
    return GAMMA / len(kernel) * W @ z.reshape(len(kernel), -1).T @ kernel


def _kronecker_cholesky(kernel: Tensor, W: Tensor, Y: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(_system(kernel, W))
    return _finish(torch.cholesky_solve(Y.T.reshape(-1, 1), factor), kernel, W)


def _kronecker_lu(kernel: Tensor, W: Tensor, Y: Tensor) -> Tensor:
    return _finish(torch.linalg.solve(_system(kernel, W), Y.T.reshape(-1)), kernel, W)


METHODS = {
    OURS: _ours,
    EIGEN: _eigenvectors,
    CHOLESKY: _kronecker_cholesky,
    LU: _kronecker_lu,
}


def _least(method: Callable, repeats: int, inputs: tuple) -> tuple[float, Tensor]:
    """Return the least processor seconds of the repeats, and the value."""
    method(*_inputs(30, inputs[2].shape[0], len(inputs[1])))  # first calls load libraries
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        value = method(*inputs)
        least = min(least, time.process_time() - start)
    return least, value


def _peak(name: str, n: int, q: int, p: int) -> int:
    """Return the peak memory of one run in a process of its own, in bytes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (name, n, q, p))


def _measured(name: str, n: int, q: int, p: int) -> int:
    torch.set_num_threads(1)
    METHODS[name](*_inputs(30, q, p))
    before = _held("VmRSS")
    METHODS[name](*_inputs(n, q, p))
    # Below what was held in starting, the peak cannot be seen; the kernel there is at least.
    return max(_held("VmHWM") - before, 8 * n * n)


def _held(which: str) -> int:
    """Return the memory that this process holds, VmRSS, or the most that it has held, VmHWM.

    In bytes. Where the system does not tell, both are the most, which includes the parent's.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
    (line,) = (line for line in status.splitlines() if line.startswith(which))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    sys.exit(main())
