"""Jobs on a Dask cluster that is there, named by its scheduler."""

import contextlib
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ncbook.files import BookError
from ncbook.jobs import worker
from ncbook.jobs.worker import Event, Order
from ncbook.store import META, Store

WAIT = 30  # seconds for a scheduler to answer, and for it to have a worker
POLL = 2  # seconds between looks at who is there
LOST = (
    "The connection to the scheduler was lost. What was finished is stored: the same again, with a "
    "scheduler that runs, goes on from there."
)
GONE = (
    f"The scheduler has had no worker for {WAIT} seconds. What was finished is stored: start "
    "workers, and the same again goes on from there."
)


@contextmanager
def connected(scheduler: str):
    """Connect to a scheduler: its address, such as ``tcp://host:8786``, or its file.

    Raises
    ------
    BookError
        There is no package for it, no scheduler answers, or it has no worker.
    """
    try:
        import distributed
    except ImportError as error:
        raise BookError(
            f"Jobs on the cluster of {scheduler} need the package distributed: "
            "pip install ncbook[cluster]."
        ) from error
    is_file = Path(scheduler).is_file()
    named = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
    try:
        client = distributed.Client(**named, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise BookError(
            f"No scheduler answers at {scheduler!r} ({error}). Name one that runs by its address, "
            "such as tcp://host:8786, or by the file that dask scheduler --scheduler-file wrote."
        ) from error
    with _quiet(), client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError as error:
            raise BookError(
                f"The scheduler {scheduler} has no worker. Start some: dask worker {scheduler} "
                "--nthreads 1 for each core."
            ) from error
        yield client


@contextmanager
def _quiet():
    """Let what goes wrong with the connection be said by us alone."""
    loggers = [logging.getLogger(f"distributed.{name}") for name in ("client", "core", "utils")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


def where(client) -> dict[str, Any]:
    """Return what :func:`ncbook.jobs.worker.here` says at the workers.

    Raises
    ------
    BookError
        They have no ncbook, or do not say the same: their results would be of several kinds. Or
        one has several threads.
    """
    _workers(client)
    try:
        said = client.run(worker.here)
    except Exception as error:
        raise BookError(
            f"The workers of the scheduler cannot run ncbook: {error}. Install the version there "
            "that is here."
        ) from error
    (first, one), *others = said.items()
    for address, other in others:
        if differ := [name for name in one if one[name] != other[name]]:
            name = differ[0]
            raise BookError(
                f"The workers of the scheduler differ: {name} is {one[name]!r} at {first}, and "
                f"{other[name]!r} at {address}. Name a scheduler whose workers are of one kind."
            )
    return one


def run(orders: list[Order], client) -> Iterator[tuple[Order, Event]]:
    """Run orders of one store on a cluster; yield what :func:`ncbook.jobs.local.run` yields.

    A result goes straight into the store where a worker has the store's folder, too; otherwise it
    is sent here, and what a lost worker had so far is lost with it. No more jobs are handed out
    than there are workers: of one that kills its worker, no other waits at the same.

    Raises
    ------
    BookError
        The scheduler is gone, or all its workers are; or one has several threads.
    """
    events: SimpleQueue = SimpleQueue()
    topic = f"ncbook-{secrets.token_hex(8)}"
    folder = Path(orders[0]["folder"]) / worker.UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    (folder / topic).touch()  # whoever sees it has the folder
    client.subscribe_topic(topic, lambda event: events.put((event[1], None)))
    waiting, running, alone = deque(orders), {}, None
    try:
        while waiting or running:
            workers = _workers(client)
            alone = None if workers else alone or time.monotonic()
            if alone and time.monotonic() - alone > WAIT:
                raise BookError(GONE)
            while waiting and len(running) < workers:
                order = waiting.popleft()
                key = order["key"]
                future = client.submit(remote, order, topic, key=f"{topic}-{key}", pure=False)
                future.add_done_callback(lambda one, key=key: events.put((key, one)))
                running[key] = order, future
            with contextlib.suppress(Empty):
                key, future = events.get(timeout=POLL)
                if future is not None:
                    yield (order := running.pop(key)[0]), _event(future, order)
                elif key in running:  # its worker may say that it begins when it has ended
                    yield running[key][0], {"event": "begin"}
    finally:  # also the keyboard: what waits is not begun
        client.cancel([future for _, future in running.values()])
        (folder / topic).unlink(missing_ok=True)


def _workers(client) -> int:
    """Return how many workers there are, each of which runs one job at a time."""
    try:
        threads = client.nthreads()
    except Exception as error:  # of many kinds
        raise BookError(LOST) from error
    for address, number in threads.items():
        if number > 1:
            raise BookError(
                f"The worker {address} has {number} threads: jobs side by side in one process "
                "would share its random numbers and settings. Start workers with --nthreads 1, "
                "one for each core."
            )
    return len(threads)


def remote(order: Order, topic: str) -> Event:
    """Run one order on a worker; return its event, with the result's files where need be."""
    import distributed

    here = distributed.get_worker()
    here.log_event(topic, order["key"])
    if (Path(order["folder"]) / worker.UNFINISHED / topic).exists():
        return worker.perform(order)
    with tempfile.TemporaryDirectory(dir=here.local_directory) as folder:
        event = worker.perform(order | {"folder": folder})
        result = Path(folder) / order["key"]
        files = [path for path in result.rglob("*") if path.is_file()]
        sent = {path.relative_to(result).as_posix(): path.read_bytes() for path in files}
        return event | ({"files": sent} if sent else {})


def _arrives(folder: Path) -> bool:
    """Wait for a folder that another machine made: a network's file system shows it later."""
    deadline = time.monotonic() + WAIT
    while not folder.exists():
        if time.monotonic() > deadline:
            return False
        os.listdir(folder.parent)  # look again
        time.sleep(0.1)
    return True


def _event(future, order: Order) -> Event:
    """Return what became of an order; put into the store what was sent."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        event = future.result()
    except KilledWorker as error:
        said = f"{error.allowed_failures + 1} workers died while they ran it."
        return {"event": "lost", "said": f"{said} Often that means: out of memory."}
    except Exception as error:
        if future.status != "error" and isinstance(error, CancelledError | CommClosedError):
            raise BookError(LOST) from error
        return {"event": "error", "said": f"{type(error).__name__}: {error}"}
    stored = Path(order["folder"]) / order["key"]
    if event["event"] == "done" and "files" not in event and not _arrives(stored):
        said = f"its worker put the result into {stored}, and it is not seen here."
        return {"event": "lost", "said": said}
    if sent := event.pop("files", None):
        store = Store(Path(order["folder"]))
        filled = store.folder / worker.UNFINISHED / order["key"] / "result"
        shutil.rmtree(filled, ignore_errors=True)
        for name, content in sent.items():
            (filled / name).parent.mkdir(parents=True, exist_ok=True)
            (filled / name).write_bytes(content)
        meta = json.loads(sent[META])
        (filled / META).unlink()
        store.put(order["key"], filled, {k: v for k, v in meta.items() if k != "check"})
        shutil.rmtree(filled.parent)
    return event
