"""How much of two workers' time goes into jobs, and what that gains over a plain loop."""

import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch

from ncbook.jobs import sweep

WORKERS = 2
SHARE = 0.9  # of the workers' time that must go into jobs of SECONDS
SECONDS = 20.0
JOBS = 8
HERE, CLUSTER = "processes of this machine", "workers of a Dask cluster"


def work(steps: int, seed: int) -> dict[str, float]:
    """Train a small network for some steps, on one thread: a job."""
    began, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randn(128, 256, generator=draw), torch.randn(128, 10, generator=draw)
    weights = [torch.randn(*size, generator=draw) / 16 for size in ((256, 256), (256, 10))]
    for _ in range(steps):
        for one in weights:
            one.requires_grad_(True).grad = None
        loss = ((x @ weights[0]).relu() @ weights[1] - y).square().mean()
        loss.backward()
        weights = [(one - 1e-3 * one.grad).detach() for one in weights]
    torch.set_num_threads(threads)
    return {"loss": loss.item(), "seconds": time.perf_counter() - began}


def run(quick: bool = False, say: Callable[[str], None] = print):
    """Measure both ways to run jobs; print a table, and return it.

    Parameters
    ----------
    quick : bool
        A smoke test: short jobs, of which the share means nothing.
    say : callable
        Takes the lines of the output.
    """
    from bench.figure_1 import Report  # with much that a job does not need

    count, seconds = (2, 0.2) if quick else (JOBS, SECONDS)
    steps = _steps(seconds)
    loop = count * work(steps, 0)["seconds"]
    say(
        f"{count} jobs of about {seconds:g} s on {WORKERS} workers; one after the other in a loop "
        f"they take {loop:.1f} s (one measured).\n"
    )
    say(f"{'':28}{'wall, s':>9}{'in jobs, s':>12}{'share':>8}{'gain':>7}")
    rows, wrong = [], []
    for method in (HERE, CLUSTER):
        with tempfile.TemporaryDirectory() as folder, _where(method) as where:
            began = time.perf_counter()
            seeds = {"seed": range(count)}
            done = sweep(work, seeds, steps=steps, folder=Path(folder), **where)
            wall = time.perf_counter() - began
        inside = float(done["seconds"].sum())
        row = {"method": method, "jobs": count, "wall": wall, "inside": inside,
               "share": inside / (WORKERS * wall), "gain": loop / wall}  # fmt: skip
        say(f"{method:28}{wall:9.1f}{inside:12.1f}{row['share']:8.1%}{row['gain']:7.2f}")
        rows.append(row)
        if not quick and row["share"] < SHARE:
            wrong.append(
                f"Sweep, {method}: {row['share']:.1%} of the workers' time went into jobs; "
                f"expected at least {SHARE:.0%}."
            )
    return Report({"sweep": rows}, wrong)


def _steps(seconds: float) -> int:
    """Return how many steps take so much of the processor's time, whoever else is at it."""
    steps, took = 100, 0.0
    while took < 0.5:
        steps *= 2
        began = time.process_time()
        work(steps, 0)
        took = time.process_time() - began
    return max(1, round(steps * seconds / took))


@contextmanager
def _where(method: str):
    """Yield how ``sweep`` is told where to run; a cluster is started before the clock is."""
    if method == HERE:
        yield {"workers": WORKERS}
        return
    import dask
    from distributed import LocalCluster

    # As book/reproduce.md says: with Dask's own setting these jobs take twice as long.
    unset = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}
    with (
        dask.config.set(unset),
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
        ) as cluster,
    ):
        yield {"scheduler": cluster.scheduler_address}
