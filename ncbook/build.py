"""Sources -> executed chapters -> ledger -> site.

Every chapter's result has a key: the hash of all that it depends on. What the store has under
its key is used, the rest is executed. The site is made again when anything it is made of
changed, and it replaces the one that stood before in one step.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncbook import machine
from ncbook.claims import ledger
from ncbook.files import BookError, check_writable
from ncbook.jobs.run import site as site_of_jobs
from ncbook.jobs.worker import UNFINISHED
from ncbook.pipeline import numbers, pages, settling, site
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.pipeline.execution import Outcome, execute
from ncbook.pipeline.tasks import Elsewhere
from ncbook.pipeline.workers import Workers
from ncbook.store import Store


@dataclass
class Built:
    """What a build did."""

    outcome: Outcome
    ledger: str
    site: Path | None = None  # its first page


def build(
    book: Book,
    profile: str = QUICK,
    jobs: int | None = None,
    only: Sequence[str] = (),
    make_site=site.make,
    scheduler: str | None = None,
) -> Built:
    """Build a book.

    Parameters
    ----------
    book : Book
    profile : str
        The profile of every chapter.
    jobs : int, optional
        Most chapters at once; the number of cores without it.
    only : sequence of str
        Execute only these chapters, and leave the site as it is.
    make_site : function
        The site's builder; a test puts another here.
    scheduler : str, optional
        Of a Dask cluster that executes the chapters: see :func:`ncbook.jobs.cluster.connected`.

    Raises
    ------
    BookError
        Something is wrong with what was asked, with a source, with a folder, with a chapter that
        raised, with a claim that does not hold, or with the site. The message says what.
    """
    for folder in (book.made, book.pages):
        check_writable(folder)
    with lock(book) as held:
        book.owned.clean_up()
        chosen = [book.find(name) for name in only] if only else book.chapters
        if not chosen:
            raise BookError(
                f"There is no chapter: {book.root / 'notebooks'} has no <paper>/NN-name.md."
            )
        for paper in sorted({chapter.paper for chapter in chosen}):
            check_writable(book.pages / paper)
        if not only:
            site.check_toc(book.root, [chapter.id for chapter in book.chapters])
            check_writable(book.pages / "_generated")
            book.check_kept()
        kept = book.kept(chosen, profile)
        with _workers(book, jobs, scheduler, held) as workers:
            outcome = execute(book, chosen, profile, workers)
        publish(book, chosen, outcome, kept, whole=not only)
        folders = {id: (result.folder, result.key) for id, result in outcome.results.items()}
        built = Built(
            outcome, settling.settle(book, chosen, folders, profile, kept, whole=not only)
        )
        if not only:
            built.site = make_site(book, outcome, held)
    return built


@contextmanager
def _workers(book: Book, jobs: int | None, scheduler: str | None, held: int):
    """Have who executes chapters: processes of this machine, or a cluster."""
    if scheduler is None:
        yield Workers(book.root, jobs or machine.cores(), book.say, book.fonts, (held,))
        return
    with site_of_jobs(jobs, scheduler) as (where, run):
        yield Elsewhere(book, where, run)


def publish(
    book: Book, chosen: list[Chapter], outcome: Outcome, kept: Mapping[str, Any], whole: bool
) -> None:
    """Put results where the site reads them, and take away what is of no chapter any more."""
    contents: dict[Path, str | bytes] = {}
    gone = set()
    for chapter in chosen:
        result, folder = outcome.results[chapter.id], book.pages / chapter.paper
        for kind in pages.BESIDE:
            for name, path in result.files(kind).items():
                contents[folder / kind / name] = path.read_bytes()
            gone |= book.owned.below(folder / kind / chapter.name)
        # The notebook comes last: where it is new, all that it refers to is there.
        contents[folder / f"{chapter.name}.ipynb"] = pages.composed(
            chapter,
            outcome.values[chapter.id],
            result.notebook,
            lambda chapter=chapter, result=result: ledger.shown(
                book.root, chapter.id, result.meta["profile"], result.folder, kept.get(chapter.id)
            ),
            numbers.of_run(result.folder, book.claims(chapter), result.meta["profile"]),
        )
    if whole:
        gone |= {
            path
            for path in book.owned.below(book.pages)
            if path.suffix == ".ipynb" or {*pages.BESIDE} & {*path.relative_to(book.pages).parts}
        }
    book.owned.write(contents)
    book.owned.remove(gone - contents.keys())


@contextmanager
def lock(book: Book):
    """Hold the lock of the build; wait, and say so, while another build holds it."""
    with (book.made / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            book.say.say(
                f"Another build of this book runs ({holder}); waiting for it to finish ..."
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        now = time.strftime("%H:%M:%S")
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}, since {now}\n")
        file.flush()
        yield file.fileno()


def clean(book: Book, everything: bool = False) -> None:
    """Remove what the build made; the stored results of chapters only if `everything` is to go."""
    check_writable(book.made)
    with lock(book):
        book.owned.clean_up()
        site.withdraw(book)
        book.owned.clean(spare=() if everything else ("_build/cache",))
        if everything:
            jobs = Store(book.made / "jobs")
            shutil.rmtree(jobs.folder / UNFINISHED, ignore_errors=True)
            for aside in [*book.store.clear(), *jobs.clear()]:
                book.say.warn(f"Left alone, since it is not as it was stored: {aside}.")
