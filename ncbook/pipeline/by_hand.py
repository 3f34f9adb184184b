"""One chapter with chosen parameters, outside the book: it writes its output and nothing else."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from ncbook.claims import ledger, page
from ncbook.claims.kept import Kept
from ncbook.files import PART, BookError, UsageError, check_writable, write_atomic
from ncbook.pipeline import numbers, pages, settling
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK
from ncbook.pipeline.execution import result_meta
from ncbook.pipeline.workers import Job, Workers
from ncbook.store import NOTEBOOK, DamagedError, checked, seal, unseal

RUN = "run.json"  # beside the result: what was run, and the hash of each file
OURS = ".ncbook-run"  # in the folder that a run works in


def run(
    book: Book, named: str, given: dict[str, str], profile: str = QUICK, output: Path | None = None
) -> tuple[Path, list[str]]:
    """Execute one chapter with chosen values.

    Parameters
    ----------
    book : Book
    named : str
        The chapter: its id or its name.
    given : dict
        Parameters by name, their values as text.
    profile : str
        The profile that the other parameters take their values from.
    output : Path, optional
        The folder for the result; ``runs/<NN-name>-<key>`` without it.

    Returns
    -------
    folder, claims
        Where the result is, and the verdict on each of the chapter's claims in words.

    Raises
    ------
    BookError
        There is no such chapter, profile or parameter; the folder cannot be used; a cell raised:
        then the folder has the notebook as far as it came.
    """
    chapter = book.find(named)
    values = chapter.values(profile, {k: chapter.parsed(k, v) for k, v in given.items()})
    kept = book.kept([chapter], profile)
    keys = book.keys()
    key = keys.of(chapter, values)
    folder = result_folder(book, output, f"{chapter.name}-{key[:8]}")
    seconds = 0.0

    def done(job: Job, took: float) -> None:
        nonlocal seconds
        seconds = took

    with working(folder) as work:
        job = Job(chapter, values, work)
        workers = Workers(book.root, 1, book.say, work / "fonts")
        if "matplotlib" in keys.external(chapter):
            workers.prepare_fonts()
        failures, _ = workers.run([job], done)
        if failures:  # what was there stays
            folder = _free(folder.with_name(f"{folder.name}-failed"))
        shown = (job.result / NOTEBOOK).is_file()
        if shown:
            meta = result_meta(book.root, job, seconds) | {"key": key, "whole": not failures}
            _bring(book, job, meta, folder, kept.get(chapter.id))
    if failures:
        where = f"\nAs far as it came: {folder / f'{chapter.name}.ipynb'}" if shown else ""
        raise BookError(failures[0].text + where)
    rows = settling.judged(book, [chapter], {chapter.id: (folder, key)}, profile, kept)
    return folder, [page.text(row) for row in rows]


def _bring(book: Book, job: Job, meta: dict, folder: Path, kept: Kept | None) -> None:
    """Put the result of a run into its folder."""
    executed = job.result / NOTEBOOK
    own = numbers.of_run(job.result, book.claims(job.chapter), job.values["profile"])
    text = pages.composed(
        job.chapter,
        job.values,
        executed,
        lambda: ledger.shown(book.root, job.chapter.id, job.values["profile"], job.result, kept),
        numbers.with_gaps(own | job.values, job.chapter.text) if meta["whole"] else None,
    )
    executed.unlink()
    write_atomic(job.result / f"{job.chapter.name}.ipynb", text)
    place(book, job.result, folder, meta)


def place(book: Book, made: Path, folder: Path, meta: dict) -> None:
    """Put a result that was made in a working folder where it goes, with what is known about it.

    What an earlier run left there goes, if it is as it was.
    """
    seal(made, meta, RUN)
    old = made.parent / "old"
    if os.path.lexists(folder):
        os.replace(folder, old)
    os.replace(made, folder)
    if old.is_dir() and any(old.iterdir()):
        unseal(old, RUN)
    if old.is_dir() and any(old.iterdir()):  # somebody's, who came while it ran
        aside = _free(folder.with_name(f"{folder.name}-yours"))
        os.replace(old, aside)
        book.say.warn(f"{folder} had files that no run made. They are kept in {aside}.")


@contextmanager
def working(folder: Path):
    """Have a folder to work in, beside the one for the result."""
    work = folder.parent / f".{folder.name}-{os.getpid()}{PART}"
    try:
        work.mkdir()
        (work / OURS).touch()
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def result_folder(book: Book, output: Path | None, name: str) -> Path:
    """Return where the result goes: a folder that is empty, or an earlier run as it was."""
    folder = (Path(output) if output else book.root / "runs" / name).resolve()
    for own in ("book", "notebooks", "ncbook", "_build"):
        if folder.is_relative_to(book.root / own):
            raise UsageError(
                f"{folder} lies in the book's own {own}/. Choose a folder outside it, or none: "
                "then runs/ is used."
            )
    check_writable(folder.parent)
    _tidy(folder.parent)
    if output is None:
        if not (folder.parent / ".gitignore").exists():
            write_atomic(folder.parent / ".gitignore", "# results of runs by hand\n*\n")
        taken, folder = folder, _free(folder)
        if folder != taken:
            book.say.say(f"{taken} is not as its run left it, and stays. The result: {folder}")
    elif _free(folder) != folder:
        raise UsageError(
            f"{folder} is not empty and no earlier run as it was left. Choose another --output."
        )
    return folder


def _free(folder: Path) -> Path:
    """Return a folder, or one with a number behind its name, that a result may take."""
    number, free = 1, folder
    while _is_somebodys(free):
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _is_somebodys(folder: Path) -> bool:
    if not folder.is_dir() or folder.is_symlink():
        return os.path.lexists(folder)
    if not any(folder.iterdir()):
        return False
    try:
        checked(folder, RUN)
    except DamagedError:
        return True
    return False


def _tidy(runs: Path) -> None:
    """Remove what killed runs left in a folder."""
    for mark in runs.glob(f".*{PART}/{OURS}"):
        # The folder's name ends with the number of its process. Of ours there is none yet.
        process = int(mark.parent.name.removesuffix(PART).rpartition("-")[2])
        if process == os.getpid() or not _alive(process):
            shutil.rmtree(mark.parent)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
