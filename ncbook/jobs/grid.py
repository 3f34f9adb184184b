"""A function over a grid of its arguments, each point a job that runs in a process of its own."""

import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncbook.files import BookError
from ncbook.jobs import identity, run
from ncbook.jobs.worker import Order
from ncbook.progress import Progress
from ncbook.store import Store

if TYPE_CHECKING:
    import xarray


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Sequence],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    folder: Path | None = None,
    report: Callable[[str], None] | None = None,
    **fixed: Any,
) -> "xarray.Dataset":
    """Run a function at every point of a grid; return all results as labelled runs. ::

        runs = sweep(lab.train, {"norm": ["none", "rms"], "seed": range(5)}, epochs=50)
        runs["nc1"].mean("seed").sel(norm="rms")

    A result is stored as soon as its job is finished, under a hash of the function's name, its
    arguments, the code that it reaches, the versions of packages and the kind of device: what is
    there is not run again, and a sweep that was stopped goes on where it was. What a job reads
    from files is not in the hash: give what tells it from other content, such as a checksum, as
    an argument. The data sets of this book are compared with published checksums, all but a
    folder of pictures; where one of those changes, remove the stored results.

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
    scheduler : str, optional
        Of a Dask cluster whose workers run the jobs instead: its address, such as
        ``tcp://host:8786``, or the file that it wrote.
    folder : Path, optional
        Of the stored results: ``NCBOOK_JOBS``, or ``_build/jobs`` of the book, without it.
    report : callable, optional
        Told a line when a job begins and when it ends; ``print``, for example.
    **fixed
        Arguments that are the same for all: plain values, as JSON can hold them.

    Returns
    -------
    Dataset
        The dimensions of the grid come first, then those of a job's own result.

    Raises
    ------
    BookError
        The function cannot be run as a job; the cluster is not there; or jobs failed, while all
        others were finished. The message says which, and why.
    """
    from ncbook.jobs import results  # slow to import, and not needed by who runs chapters
    from ncbook.runs import Sweep

    grid = {name: [_plain(one) for one in values] for name, values in grid.items()}
    name = _name(function)
    _check(function, name, grid, fixed)
    points = _points(grid)
    try:
        arguments = [json.loads(json.dumps({**fixed, **at}, default=_plain, allow_nan=False))
                     for at in points]  # fmt: skip
    except (TypeError, ValueError) as error:
        raise BookError(
            f"{name}: an argument is no plain value ({error}). Give finite numbers, texts, truth "
            "values, and lists and dicts of them."
        ) from error
    if workers == 0:
        given = {"checkpoint": None} if identity.takes_checkpoint(function) else {}
        found = [results.dataset(function(**each, **given)) for each in arguments]
    else:
        store = Store(Path(folder) if folder else run.folder())
        with run.site(workers, scheduler) as (where, here):
            orders = _orders(identity.parts(name, {}, where), arguments, points, store)
            run.bring(store, orders, here, Progress(report=report or (lambda line: None)))
        found = [results.read(store.folder / one["key"] / results.FILE) for one in orders]
    for one in found:
        if twice := sorted({*grid} & {*one.variables}):
            raise BookError(
                f"{name} returned a variable {twice[0]}, which is an axis of the grid already. Let "
                "it return it under another name, or not at all."
            )
    runs = Sweep(**grid)
    for _, one in zip(runs, found, strict=True):
        runs.add(one)
    return runs.dataset()


def _name(function: Callable) -> str:
    """Return ``module:name`` of a function that another process can import."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        if module != "__main__" and pkgutil.resolve_name(f"{module}:{name}") is function:
            return f"{module}:{name}"
    except (ValueError, ImportError, AttributeError):
        pass
    raise BookError(
        f"{function!r} cannot be run as a job, because no other process can import it. Give a "
        "function of a module, not one of a notebook, of a script, or inside another function."
    )


def _check(function: Callable, name: str, grid: Mapping, fixed: Mapping) -> None:
    """Make sure that the grid is one, and that the function takes what it is given."""
    if twice := sorted(grid.keys() & fixed.keys()):
        raise BookError(f"{name}: {twice[0]} is given in the grid and for all; give it once.")
    if "checkpoint" in {*grid, *fixed}:
        raise BookError(f"{name}: checkpoint is a folder that each job is given; give none.")
    for axis, values in grid.items():
        if wrong := [one for one in values if not isinstance(one, int | float | str)]:
            raise BookError(
                f"{name}: {axis} has the value {wrong[0]!r}; expected numbers, texts or truth "
                "values, which can be labels. What is the same for all may be a list or a dict."
            )
        if not values or len({*values}) < len(values):  # 1, 1.0 and True are one label
            raise BookError(f"{name}: {axis} is {values}; expected values, each of them once.")
    try:
        inspect.signature(function).bind(**{**grid, **fixed})
    except (TypeError, ValueError) as error:
        taken = ", ".join(inspect.signature(function).parameters)
        raise BookError(f"{name}: {error}. It takes {taken}.") from error


def _points(grid: Mapping[str, Sequence]) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays, and tensors, as Python has them."""
    return value.tolist() if hasattr(value, "tolist") else value


def _orders(
    parts: dict[str, Any], arguments: Sequence[dict], points: Sequence[dict], store: Store
) -> list[Order]:
    short, orders = parts["function"].rpartition(":")[2], []
    for each, at in zip(arguments, points, strict=True):
        own = parts | {"arguments": each}
        orders.append(
            {
                "fill": "ncbook.jobs.worker:call",
                "folder": str(store.folder.resolve()),
                "key": identity.key(own),
                "label": " ".join([short, *(f"{axis}={value}" for axis, value in at.items())]),
                "parts": own,
            }
        )
    return orders
