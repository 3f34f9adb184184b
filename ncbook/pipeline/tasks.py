"""A chapter as a job, which runs wherever jobs run: see :func:`ncbook.jobs.worker.perform`."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncbook import files
from ncbook.files import BookError, UsageError
from ncbook.jobs import identity, worker
from ncbook.jobs import run as jobs
from ncbook.jobs.worker import Order
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import Chapter
from ncbook.pipeline.keys import Keys
from ncbook.pipeline.workers import Failure, Job, Workers
from ncbook.progress import Progress
from ncbook.store import META, Store


def order(
    keys: Keys, chapter: Chapter, values: Mapping[str, Any], folder: Path, label: str
) -> Order:
    """Return the order of a chapter's run with these values of its parameters."""
    parts = keys.parts(chapter, values)
    return {
        "fill": "ncbook.pipeline.tasks:fill",
        "folder": str(folder),
        "key": keys.of(chapter, values),
        "label": label,
        "parts": json.loads(json.dumps(parts)),
        "where": keys.where,
        "chapter": chapter.id,
    }


def fill(order: Order, sofar: Path, filled: Path) -> None:
    """Fill a folder with the result of a chapter that was executed here.

    Raises
    ------
    BookError
        There is no checkout of the book here, or it is another version; or a cell raised.
    """
    try:
        book = Book(files.root(), Progress(report=lambda line: None))
        chapter = book.find(order["chapter"])
    except (FileNotFoundError, UsageError) as error:
        raise BookError(f"The chapter is not where the job is to run: {error}") from error
    _check(book, chapter, order)
    folder = sofar / "run"
    shutil.rmtree(folder, ignore_errors=True)
    job = Job(chapter, order["parts"]["values"], folder)
    workers = Workers(book.root, 1, book.say, Path(order["folder"]) / worker.UNFINISHED / "fonts")
    if not any(workers.fonts.glob("fontlist*")):
        workers.prepare_fonts()
    failures, _ = workers.run([job], lambda job, took: None)
    if failures:
        raise BookError(failures[0].text)
    _check(book, chapter, order)  # nobody edited it meanwhile
    filled.rmdir()
    os.replace(job.result, filled)


class Elsewhere(Workers):
    """What :class:`Workers` does, by the workers of a cluster.

    Parameters
    ----------
    book : Book
    where, run
        From :func:`ncbook.jobs.run.site`.
    """

    def __init__(self, book: Book, where: dict[str, Any], run: jobs.Run) -> None:
        super().__init__(book.root, 1, book.say, book.fonts)
        self.where, self._run, self._book = where, run, book

    def prepare_fonts(self) -> None:
        """Leave it to the workers."""

    def run(self, todo: list[Job], done) -> tuple[list[Failure], list[Job]]:
        """Execute jobs; what is finished is in the store of jobs until it is all that can be.

        Raises
        ------
        BookError
            A chapter raised, or the cluster is gone; what was finished was told to ``done``.
        """
        keys, store = self._book.keys(self.where), Store(jobs.folder().resolve())
        orders = [order(keys, job.chapter, job.values, store.folder, job.label) for job in todo]
        failed = None
        try:
            jobs.bring(store, orders, self._run, self.say)
        except BookError as error:
            failed = error
        failures = []
        for job, one in zip(todo, orders, strict=True):
            if (found := store.get(one["key"])) is None:
                continue
            (found.folder / META).unlink()
            shutil.move(found.folder, job.result)
            if said := done(job, found.seconds, found.meta["machine"]):
                failures.append(Failure(job, said))
        if failed:
            raise failed
        return failures, []


def _check(book: Book, chapter: Chapter, order: Order) -> None:
    where = order["where"]
    if where is not None:
        worker.check_same(where, identity.here())
    own = Keys(book.root, where).parts(chapter, order["parts"]["values"])
    worker.check_same(order["parts"], json.loads(json.dumps(own)))
