"""One chapter over a grid of its parameters, each point a job; in the end one table, one figure."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from ncbook.claims import check, record
from ncbook.files import BookError, UsageError, digest
from ncbook.jobs import run as jobs
from ncbook.pipeline import by_hand, numbers, tasks
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.store import Store

TABLE, PARQUET, FIGURE = "table.csv", "table.parquet", "figure.svg"


def sweep(
    book: Book,
    named: str,
    given: Mapping[str, str],
    profile: str = QUICK,
    output: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Execute one chapter at every point of a grid.

    Parameters
    ----------
    book : Book
    named : str
        The chapter: its id or its name.
    given : dict
        Parameters by name, of each its values as one text: ``"1e-2,1e-3"``.
    profile : str
        The profile that the other parameters take their values from.
    output : Path, optional
        The folder for the table; ``runs/<NN-name>-sweep-<hash>`` without it.
    workers, scheduler : optional
        Where: see :func:`ncbook.jobs.run.site`.

    Returns
    -------
    folder, rows
        Where the table is, and its rows: see :func:`rows_of`.

    Raises
    ------
    BookError
        There is no such chapter, profile or parameter; the folder or the cluster cannot be used;
        or some of the runs failed: then the folder has the table of the others.
    """
    chapter = book.find(named)
    points = grid(chapter, given)
    every = [chapter.values(profile, point) for point in points]
    name = f"{chapter.name}-sweep-{digest(json.dumps([chapter.id, every]))[:8]}"
    folder = by_hand.result_folder(book, output, name)
    store, failed = Store(jobs.folder().resolve()), ""
    with jobs.site(workers, scheduler) as (where, here):
        keys = book.keys(None if scheduler is None else where)
        orders = [
            tasks.order(keys, chapter, values, store.folder, _label(chapter, point))
            for point, values in zip(points, every, strict=True)
        ]
        try:
            jobs.bring(store, orders, here, book.say)
        except BookError as error:
            failed = str(error)
    claims = book.claims(chapter)
    rows = [
        {**point, **row}
        for point, order in zip(points, orders, strict=True)
        if (store.folder / order["key"]).is_dir()
        for row in rows_of(store.folder / order["key"], claims, profile)
    ]
    if rows:
        _write(book, folder, rows, [one for one in points[0] if len({*_of(points, one)}) > 1])
    if failed:
        where = f"\n\nThe table of the others: {folder}" if rows else ""
        raise BookError(failed + where)
    return folder, rows


def grid(chapter: Chapter, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the points of a grid: a value of each parameter that is given.

    Raises
    ------
    UsageError
        Nothing is given, or a parameter has one value twice.
    """
    axes = {}
    for name, text in given.items():
        axes[name] = [chapter.parsed(name, one) for one in _split(text)]
        if len({*map(repr, axes[name])}) < len(axes[name]):
            raise UsageError(f"-p {name}={text} names a value twice. Name each once.")
    if not axes:
        raise UsageError("A sweep needs parameters with several values, such as -p seeds=10,20.")
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _split(text: str) -> list[str]:
    """Split ``1,2`` or ``[1,2],[3]`` at the commas that are in no bracket."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[(") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def rows_of(folder: Path, claims: Mapping[str, Any], profile: str) -> list[dict[str, Any]]:
    """Return what a run measured, a row each: its claims, and the numbers of its text.

    A claim has the ``value`` that is judged, of ``n`` runs the least, the median and the greatest
    value, ``low`` and ``high`` between which it holds, the control's value and the verdict.
    """
    rows = []
    for id, claim in claims.items():
        if (one := record.read(folder / "claims" / f"{id}.json", claim, profile)) is None:
            continue
        low, high = claim.interval
        rows.append(
            {
                "quantity": "claim",
                "name": id,
                "value": check.value(claim, one),
                "n": one.n,
                "min": one.min,
                "median": one.median,
                "max": one.max,
                "low": low,
                "high": high,
                "control": math.nan if one.control is None else check.value(claim, one.control),
                "verdict": check.judge(claim, one, profile).name,
            }
        )
    for name, value in numbers.of_run(folder, {}, profile).items():
        if not isinstance(value, str):
            rows.append({"quantity": "number", "name": name, "value": value, "n": 1})
    return rows


def _write(book: Book, folder: Path, rows: Sequence[Mapping], axes: Sequence[str]) -> None:
    """Put the table and the figure into their folder."""
    import pandas as pd

    from ncbook.figures import Picture, over_grid, show

    table = pd.DataFrame(rows).astype({"n": "Int64"})
    for name in table.columns:  # lists as parameters
        if table[name].map(lambda one: isinstance(one, list)).any():
            table[name] = table[name].map(json.dumps)
    with by_hand.working(folder) as work:
        made = work / "result"
        made.mkdir()
        table.to_csv(made / TABLE, index=False, lineterminator="\n")
        if find_spec("pyarrow"):
            table.to_parquet(made / PARQUET, index=False)
        claims = table[table["quantity"] == "claim"]
        if len(claims) and axes:
            picture = Picture(over_grid.measured, claims, axes=axes)
            (made / FIGURE).write_text(show.alone(picture, "figure") + "\n", encoding="utf-8")
        by_hand.place(book, made, folder, {"sweep": axes})


def _of(points: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    return [repr(point[name]) for point in points]


def _label(chapter: Chapter, point: Mapping[str, Any]) -> str:
    return " ".join([chapter.name, *(f"{name}={value}" for name, value in point.items())])
