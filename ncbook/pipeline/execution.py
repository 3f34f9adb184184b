"""Chapters brought into the store: what is there under its key is used, the rest is executed."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncbook import machine
from ncbook.files import BookError
from ncbook.pipeline import pages
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import Chapter
from ncbook.pipeline.owned import WORK
from ncbook.pipeline.workers import Failure, Job, Workers
from ncbook.store import NOTEBOOK, DamagedError, Result

TRIES = 3  # for a chapter whose code is edited while it runs


@dataclass
class Outcome:
    """What was done: the results of chapters, and which of them were executed for it."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)


def execute(book: Book, chosen: list[Chapter], profile: str, workers: Workers) -> Outcome:
    """Bring every chosen chapter's result into the store.

    Raises
    ------
    BookError
        A chapter raised, or its code did not stand still.
    """
    for aside in book.store.tidy():
        book.say.warn(f"A stored result was edited. What is not as it was stored is in {aside}.")
    book.owned.remove(book.owned.below(book.made / "failed"))
    outcome = Outcome({chapter.id: chapter.values(profile) for chapter in chosen})
    edited = "The code was edited while it ran, so it is of no use: "
    for attempt in range(TRIES + 1):
        keys = book.keys(workers.where)
        wanted = {c.id: keys.of(c, outcome.values[c.id]) for c in chosen}
        missing = []
        for chapter in chosen:
            if found := _stored(book, wanted[chapter.id], chapter):
                outcome.results[chapter.id] = found
            else:
                missing.append(chapter)
        if not missing:
            break
        # A result made while its code was edited is of neither version, and is not stored.
        if attempt == TRIES:
            raise BookError(f"{edited}{_named(missing)}. Build again when the edits are done.")
        if attempt:
            book.say.say(f"{edited}{_named(missing)}. Executing again.")
        draws = any("matplotlib" in keys.external(chapter) for chapter in missing)
        if draws and not any(book.fonts.glob("fontlist*")):
            book.owned.take(book.fonts)
            workers.prepare_fonts()
            book.owned.adopt(book.fonts)
        _execute(book, missing, wanted, workers, outcome)
    if unchanged := len(chosen) - len(outcome.executed):
        book.say.say(f"{_chapters(unchanged)} unchanged since last executed: reused.")
    return outcome


def _execute(book: Book, missing, wanted, workers: Workers, outcome: Outcome) -> None:
    seconds = book.store.seconds()
    # The longest first, so that none is left alone at the end; those not known before any other.
    missing = sorted(
        missing,
        key=lambda c: -seconds.get((c.id, outcome.values[c.id]["profile"]), float("inf")),
    )
    jobs = [
        Job(c, outcome.values[c.id], book.owned.take(book.root / WORK / c.id.replace("/", "--")))
        for c in missing
    ]

    def done(job: Job, took: float, made_on: dict[str, str] | None = None) -> None:
        key = wanted[job.chapter.id]
        if book.keys(workers.where).of(job.chapter, job.values) == key:
            book.store.put(key, job.result, result_meta(book.root, job, took, made_on))
            outcome.executed.append(job.chapter.id)

    try:
        failures, skipped = workers.run(jobs, done)
        if failures:
            raise BookError(_failed(book, failures, skipped, len(missing)))
    finally:
        for job in jobs:
            shutil.rmtree(job.folder, ignore_errors=True)


def _failed(book: Book, failures: list[Failure], skipped: list[Job], asked: int) -> str:
    said = []
    for failure in failures:
        job, partial = failure.job, failure.job.result / NOTEBOOK
        said.append(failure.text)
        if partial.is_file():
            place = book.made / "failed" / f"{job.chapter.id.replace('/', '--')}.ipynb"
            book.owned.write({place: pages.composed(job.chapter, job.values, partial)})
            said[-1] += f"\nAs far as it came: {place}"
    finished = asked - len(failures) - len(skipped)
    said.append(
        f"{_chapters(len(failures))} could not be executed. {_chapters(finished)} executed and "
        f"stored, {_chapters(len(skipped))} not started. The site is as it was."
    )
    return "\n\n".join(said)


def _stored(book: Book, key: str, chapter: Chapter) -> Result | None:
    """Return the stored result under a key; say and remove it where it is damaged."""
    try:
        found = book.store.get(key)
    except DamagedError as error:
        book.say.warn(
            f"The stored result of {chapter.id} is damaged: {error}. "
            "It is removed, and the chapter is executed again."
        )
        for aside in book.store.remove(key):
            book.say.warn(f"What was not as it was stored is in {aside}.")
        return None
    if found is not None:
        book.store.touch(found)
    return found


def result_meta(
    root: Path, job: Job, seconds: float, made_on: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return what is recorded beside a result, which was made on this machine or on another."""
    return {
        "chapter": job.chapter.id,
        "title": job.chapter.title,
        "profile": job.values["profile"],
        "parameters": job.values,
        "seconds": seconds,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": made_on or machine.machine(),
        "versions": machine.versions(root),
    }


def _named(chosen: list[Chapter]) -> str:
    return ", ".join(chapter.id for chapter in chosen)


def _chapters(number: int) -> str:
    return f"{number} chapter" + ("" if number == 1 else "s")
