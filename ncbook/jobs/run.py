"""Where jobs run, and how their results come into the store."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from ncbook import files, machine
from ncbook.files import BookError
from ncbook.jobs import cluster, identity, local
from ncbook.jobs.worker import Event, Order
from ncbook.progress import Progress
from ncbook.store import DamagedError, Store

Run = Callable[[list[Order]], Iterator[tuple[Order, Event]]]


def folder() -> Path:
    """Return the folder of stored results: ``NCBOOK_JOBS``, or ``_build/jobs`` of the book.

    Raises
    ------
    BookError
        There is neither.
    """
    if named := os.environ.get("NCBOOK_JOBS"):
        return Path(named)
    try:
        return files.root() / "_build" / "jobs"
    except FileNotFoundError as error:
        raise BookError(
            "There is no checkout of the book here, whose _build/jobs would have the results. "
            "Set NCBOOK_JOBS to a folder for them, or name one."
        ) from error


@contextmanager
def site(workers: int | None = None, scheduler: str | None = None):
    """Enter where jobs are to run.

    Parameters
    ----------
    workers : int, optional
        Processes of this machine; without it as many as there are cores, or one where a run would
        choose another device than the CPU.
    scheduler : str, optional
        Of a Dask cluster: see :func:`ncbook.jobs.cluster.connected`.

    Yields
    ------
    where : dict
        What :func:`ncbook.jobs.identity.here` says there.
    run : callable
        Takes orders, and yields each as it begins and with what became of it.

    Raises
    ------
    BookError
        Both are named, or the cluster cannot be used.
    """
    if scheduler is None:
        if workers is None:
            workers = machine.cores() if machine.device() == "cpu" else 1
        yield identity.here(), partial(local.run, workers=workers)
        return
    if workers is not None:
        raise BookError(
            f"{workers} workers of this machine and the scheduler {scheduler} are named. Name one "
            "of both: a cluster has the workers that it has."
        )
    with cluster.connected(scheduler) as client:
        yield cluster.where(client), partial(cluster.run, client=client)


def bring(store: Store, orders: list[Order], run: Run, say: Progress) -> None:
    """Bring the result of each order into the store: what is there is not run again.

    Raises
    ------
    BookError
        Some failed. All others were finished, and are stored.
    """
    missing = {one["key"]: one for one in orders if not _is_stored(store, one["key"])}
    if there := len(orders) - len(missing):
        say.say(f"{there} of {len(orders)} jobs are there already.")
    if not missing:
        return
    wrong, begun, ended = [], set(), 0
    with closing(run([*missing.values()])) as events:
        for order, event in events:
            label = order["label"]
            if label not in begun:
                begun.add(label)
                say.begin(label)
            if event["event"] == "begin":
                continue
            ended += 1
            if event["event"] != "done":
                wrong.append(f"{label}: {event['said']}")
            note = "done" if event["event"] == "done" else "FAILED"
            say.end(label, f"{note} ({ended} of {len(missing)})")
    if wrong:
        raise BookError(
            f"{len(wrong)} of {len(orders)} jobs failed; the results of the others are stored.\n\n"
            + "\n\n".join(wrong)
        )


def _is_stored(store: Store, key: str) -> bool:
    """Whether a result is there; one that is damaged is removed."""
    try:
        return store.get(key) is not None
    except DamagedError:
        store.remove(key)
        return False
