"""How far each claim's value moves when every step and tolerance of the methods is halved.

A claim is about the mathematics, not about the solver. The same chapter runs in the same profile
with :func:`ncbook.runtime.finer` on; ``results/halving.json`` has both values of each claim, and
how far what is judged moved.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncbook import machine
from ncbook.claims import check, record
from ncbook.claims.measured import Record
from ncbook.claims.schema import Claim
from ncbook.files import BookError, write_atomic
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK
from ncbook.pipeline.execution import execute
from ncbook.pipeline.owned import WORK
from ncbook.pipeline.workers import Job, Workers

FILE = "results/halving.json"
MOST = 0.5  # of what is allowed: see share


def moved(claim: Claim, one: Record, halved: Record) -> float:
    """Return how far the judged value moved: the median, or the ends that the worst may be at.

    Of several values another may be the worst in each run, on the other side.
    """
    ends = {"max": ["max"], "min": ["min"], None: ["min", "max"]}[claim.side]
    ends = ends if claim.statistic == "worst" else ["median"]
    if one.not_finite or halved.not_finite:
        return math.inf
    return max(abs(getattr(halved, end) - getattr(one, end)) for end in ends)


def share(claim: Claim, value: float, moved: float) -> float:
    """Return how far a value moved, as a share of what the claim allows it.

    That is the tolerance; of a bound how far the value is from it.
    """
    low, high = claim.interval
    allowed = claim.slack if claim.side is None else min(abs(value - low), abs(high - value))
    if not math.isfinite(moved):
        return math.inf
    return 0.0 if moved == 0 else moved / allowed if allowed > 0 else math.inf


def read(root: Path) -> dict[str, tuple[float, float, float]]:
    """Return what the file has: claim -> its value as it is, with all halved, and how far it moved.

    Raises
    ------
    BookError
        The file is not as :func:`halve` writes it.
    """
    path = root / FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {
            id: (float(value), float(halved), float(moved))
            for chapter in table.values()
            for id, (value, halved, moved) in chapter["claims"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BookError(
            f"{path} is no table of halved steps ({error}). Take it from version control, or make "
            "it anew: python -m ncbook halve."
        ) from error


def shares(root: Path, claims: Mapping[str, Claim]) -> dict[str, float]:
    """Return :func:`share` of each claim that the file has, and that is still registered."""
    return {
        id: share(claims[id], value, moved)
        for id, (value, _, moved) in read(root).items()
        if id in claims
    }


def compared(book: Book, job: Job, folder: Path) -> dict[str, tuple[float, float, float]]:
    """Return of each claim its value in a folder, its value in the job's, and how far it moved."""
    found = {}
    for id, claim in book.claims(job.chapter).items():
        one, halved = (
            record.read(place / "claims" / f"{id}.json", claim, job.values["profile"])
            for place in (folder, job.result)
        )
        if one is not None and halved is None:  # as far as can be
            found[id] = (check.value(claim, one), math.nan, math.inf)
        elif one is not None:
            values = check.value(claim, one), check.value(claim, halved)
            found[id] = (*values, moved(claim, one, halved))
    return found


def halve(book: Book, named: Sequence[str] = (), jobs: int | None = None) -> dict[str, Any]:
    """Execute chapters in the quick profile, as they are and with all steps halved.

    Returns
    -------
    dict
        What the file has for them: chapter -> commit, and claim -> (value, with all halved, moved).

    Raises
    ------
    BookError
        There is no such chapter, or one raised.
    """
    chosen = [book.find(name) for name in named] if named else book.chapters
    workers = Workers(book.root, jobs or machine.cores(), book.say, book.fonts)
    outcome = execute(book, chosen, QUICK, workers)
    work = book.owned.take(book.root / WORK / "halved")
    todo = [
        Job(c, outcome.values[c.id], work / c.id.replace("/", "--"), halved=True) for c in chosen
    ]
    commit = machine.checkout(book.root).commit
    found: dict[str, Any] = {}

    def done(job: Job, took: float) -> None:
        id = job.chapter.id
        pairs = compared(book, job, outcome.results[id].folder)
        found[id] = {"commit": commit, "claims": pairs}

    try:
        failures, _ = workers.run(todo, done)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if failures:
        raise BookError("\n\n".join(failure.text for failure in failures))
    return found


def write(book: Book, found: Mapping[str, Any]) -> Path:
    """Enter chapters into the file, beside those that it has, and return where it is."""
    path = book.root / FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        table = {}
    there = {chapter.id for chapter in book.chapters}
    table = {id: one for id, one in sorted({**table, **found}.items()) if id in there}
    text = json.dumps(table, indent=1, ensure_ascii=False)
    return write_atomic(path, text + "\n")
