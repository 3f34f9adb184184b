"""A function over a grid of its arguments, each point a job that runs in a process of its own."""

import contextlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import xarray as xr

from ncbook import files, lifeline, machine
from ncbook.files import BookError
from ncbook.jobs import identity, results, worker
from ncbook.runs import Sweep
from ncbook.store import DamagedError, Store

TRIES = 2  # of a job whose process dies
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from ncbook.jobs import worker; worker.main()"
)
Order = dict[str, Any]
Event = dict[str, Any]


class JobsError(BookError):
    """Jobs could not be run; the message says which, and why."""


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Sequence],
    *,
    workers: int | None = None,
    folder: Path | None = None,
    report: Callable[[str], None] | None = None,
    **fixed: Any,
) -> xr.Dataset:
    """Run a function at every point of a grid; return all results as labelled runs. ::

        runs = sweep(lab.train, {"norm": ["none", "rms"], "seed": range(5)}, epochs=50)
        runs["nc1"].mean("seed").sel(norm="rms")

    A result is stored as soon as its job is finished, under a hash of the function's name, its
    arguments, the code that it reaches, the versions of packages and the kind of device: what is
    there is not run again, and a sweep that was stopped goes on where it was.

    Parameters
    ----------
    function : callable
        A function of a module that can be imported: of ncbook, or one of your own. It takes what
        is given by keyword and returns a Dataset, or a dict of numbers. If it has a parameter
        ``checkpoint=None``, it is given a folder of its own, in which it finds what an earlier
        try of the same job left there.
    grid : mapping
        Of some of its arguments the values: numbers, texts or truth values, which become the
        labels of the result's dimensions. The last runs fastest.
    workers : int, optional
        Processes of this machine, each of which computes with one thread. Without it as many as
        there are cores; one, where a run would choose another device than the CPU. 0 runs all
        jobs in this very process, for a debugger, and stores nothing.
    folder : Path, optional
        Of the stored results: ``NCBOOK_JOBS``, or ``_build/jobs`` of the book, without it.
    report : callable, optional
        Told a line for each job that is finished; ``print``, for example.
    **fixed
        Arguments that are the same for all: plain values, as JSON can hold them.

    Returns
    -------
    Dataset
        The dimensions of the grid come first, then those of a job's own result.

    Raises
    ------
    JobsError
        The function cannot be run as a job; or jobs failed, while all others were finished.
    """
    grid = {name: [_plain(one) for one in values] for name, values in grid.items()}
    name = _name(function)
    _check(function, name, grid, fixed)
    points = _points(grid)
    try:
        arguments = [json.loads(json.dumps({**fixed, **at}, default=_plain, allow_nan=False))
                     for at in points]  # fmt: skip
    except (TypeError, ValueError) as error:
        raise JobsError(
            f"{name}: an argument is no plain value ({error}). Give finite numbers, texts, truth "
            "values, and lists and dicts of them."
        ) from error
    if workers == 0:
        given = {"checkpoint": None} if worker.takes_checkpoint(function) else {}
        found = [results.dataset(function(**each, **given)) for each in arguments]
    else:
        store = Store(Path(folder) if folder else _folder())
        orders = _orders(name, arguments, points, store)
        _run(store, orders, workers, report or (lambda text: None))
        found = [results.read(store.folder / one["key"] / results.FILE) for one in orders]
    return _combined(grid, found)


def _run(store: Store, orders: list[Order], workers: int | None, report) -> None:
    """Bring the result of each order into the store."""
    missing = {one["key"]: one for one in orders if not _is_stored(store, one["key"])}
    if len(missing) < len(orders):
        report(f"{len(orders) - len(missing)} of {len(orders)} jobs are there already.")
    wrong = []
    for number, (order, event) in enumerate(processes([*missing.values()], workers), 1):
        if event["event"] == "done":
            said = f"done after {event['seconds']:.1f} s"
        else:
            said = "FAILED"
            wrong.append(f"{order['label']}: {event['said']}")
        report(f"{order['label']}: {said} ({number} of {len(missing)})")
    if wrong:
        raise JobsError(
            f"{len(wrong)} of {len(orders)} jobs failed; the results of the others are stored.\n\n"
            + "\n\n".join(wrong)
        )


def processes(orders: list[Order], workers: int | None) -> Iterator[tuple[Order, Event]]:
    """Run orders in processes of this machine; yield each with what became of it."""
    if workers is None:
        workers = machine.cores() if machine.device() == "cpu" else 1
    waiting: SimpleQueue = SimpleQueue()
    finished: SimpleQueue = SimpleQueue()
    for order in orders:
        waiting.put(order)
    pool = [_Process() for _ in range(min(workers, len(orders)))]
    for process in pool:
        threading.Thread(target=process.work, args=(waiting, finished), daemon=True).start()
    try:
        for _ in orders:
            order, event = finished.get()
            if isinstance(event, BaseException):
                raise event
            yield order, event
    finally:  # also the keyboard: nothing runs on
        for process in pool:
            process.stop()


class _Process:
    """A process that runs jobs, started anew if it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def work(self, waiting: SimpleQueue, finished: SimpleQueue) -> None:
        """Run the orders that wait, until there are none."""
        with contextlib.suppress(Empty):
            while True:
                order = waiting.get_nowait()
                try:
                    finished.put((order, self._run(order)))
                except Exception as error:  # told to who waits for it
                    finished.put((order, error))

    def stop(self) -> None:
        """End the process and what it runs; start no other."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()  # its lifeline
                try:
                    self._process.wait(5)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                self._process.wait()

    def _run(self, order: Order) -> Event:
        for _ in range(TRIES):
            with self._lock:
                if self._stopped:
                    return {"event": "stopped"}
                if self._process is None or self._process.poll() is not None:
                    self._start()
            with contextlib.suppress(OSError):  # it is dead, and says so by its silence
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
            if answer := self._process.stdout.readline():
                return json.loads(answer)
            ended = lifeline.ending(self._process.wait())
        self._log.seek(0)
        said = lifeline.last_words(self._log.read())
        return {"event": "lost", "said": f"its process {ended}, {TRIES} times.{said}"}

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | machine.ONE_THREAD,
            start_new_session=True,  # Ctrl-C goes to who waits, who then ends it
        )


def _name(function: Callable) -> str:
    """Return ``module:name`` of a function that another process can import."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        if module != "__main__" and pkgutil.resolve_name(f"{module}:{name}") is function:
            return f"{module}:{name}"
    except (ValueError, ImportError, AttributeError):
        pass
    raise JobsError(
        f"{function!r} cannot be run as a job, because no other process can import it. Give a "
        "function of a module, not one of a notebook, of a script, or inside another function."
    )


def _check(function: Callable, name: str, grid: Mapping, fixed: Mapping) -> None:
    """Make sure that the grid is one, and that the function takes what it is given."""
    if twice := sorted(grid.keys() & fixed.keys()):
        raise JobsError(f"{name}: {twice[0]} is given in the grid and for all; give it once.")
    for axis, values in grid.items():
        if not values or len({*map(repr, values)}) < len(values):
            raise JobsError(f"{name}: {axis} is {values}; expected values, each of them once.")
        if wrong := [one for one in values if not isinstance(one, int | float | str)]:
            raise JobsError(
                f"{name}: {axis} has the value {wrong[0]!r}; expected numbers, texts or truth "
                "values, which can be labels. What is the same for all may be a list or a dict."
            )
    try:
        inspect.signature(function).bind(**{**grid, **fixed})
    except (TypeError, ValueError) as error:
        taken = ", ".join(inspect.signature(function).parameters)
        raise JobsError(f"{name}: {error}. It takes {taken}.") from error


def _points(grid: Mapping[str, Sequence]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays, and tensors, as Python has them."""
    return value.tolist() if hasattr(value, "tolist") else value


def _orders(
    name: str, arguments: list[dict[str, Any]], points: list[dict[str, Any]], store: Store
) -> list[Order]:
    parts, short = identity.parts(name, {}, identity.here()), name.rpartition(":")[2]
    orders = []
    for each, at in zip(arguments, points, strict=True):
        own = parts | {"arguments": each}
        said = " ".join(f"{axis}={value}" for axis, value in at.items())
        orders.append(
            {
                "function": name,
                "parts": own,
                "key": identity.key(own),
                "folder": str(store.folder.resolve()),
                "label": f"{short} {said}".rstrip(),
            }
        )
    return orders


def _folder() -> Path:
    if named := os.environ.get("NCBOOK_JOBS"):
        return Path(named)
    try:
        return files.root() / "_build" / "jobs"
    except FileNotFoundError as error:
        raise JobsError(
            "There is no checkout of the book here, whose _build/jobs would have the results. Name "
            "a folder=..., or set NCBOOK_JOBS to one."
        ) from error


def _is_stored(store: Store, key: str) -> bool:
    """Whether a result is there; one that is damaged is removed."""
    try:
        return store.get(key) is not None
    except DamagedError:
        store.remove(key)
        return False


def _combined(grid: Mapping[str, Sequence], found: list[xr.Dataset]) -> xr.Dataset:
    runs = Sweep(**grid)
    for one in zip(runs, found, strict=True):
        runs.add(one[1])
    return runs.dataset()
