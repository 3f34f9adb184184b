"""Paper-size results for the repository: kept from a clean commit, confirmed for a later one."""

import time
from pathlib import Path

from ncbook.claims import kept, page
from ncbook.files import BookError
from ncbook.pipeline import settling
from ncbook.pipeline.book import Book
from ncbook.pipeline.owned import set_aside
from ncbook.store import DamagedError


def keep(book: Book, named: str) -> tuple[Path, list[str]]:
    """Keep a chapter's paper-size results in ``results/``, as the last such build measured them.

    They are kept as they came out, whether or not a claim holds.

    Parameters
    ----------
    book : Book
    named : str
        The chapter: its id or its name.

    Returns
    -------
    path, claims
        The file, and the verdict on each of the chapter's claims in words.

    Raises
    ------
    BookError
        There is no such chapter, it has no paper profile, the checkout is no clean commit, or
        there is no result of the paper profile that was made by the code as it is now.
    """
    chapter = book.find(named)
    values = chapter.values("paper")
    commit = _clean_commit(book)
    key = book.keys().of(chapter, values)
    again = f"Make one: python -m ncbook build --profile paper --chapter {chapter.id}"
    try:
        result = book.store.get(key)
    except DamagedError as error:
        raise BookError(
            f"The paper-size result of {chapter.id} is damaged: {error}. {again}"
        ) from error
    if result is None:
        raise BookError(
            f"There is no paper-size result of {chapter.id} by the code as it is now. {again}"
        )
    rows = settling.judged(book, [chapter], {chapter.id: (result.folder, key)}, "paper", {})
    measured = {row.claim.id: row.record for row in rows if row.record}
    if not measured:
        raise BookError(f"The paper-size run of {chapter.id} measured no claim: nothing to keep.")
    path = kept.path(book.root, chapter.id)
    try:
        kept.read(book.root, chapter.id, [row.claim.id for row in rows])
    except BookError:
        set_aside(path, book.root, book.say)  # not what this command writes
    tables = sorted((result.folder / kept.TABLES).glob("*.csv"))
    path = kept.write(
        book.root,
        kept.Kept(
            chapter=chapter.id,
            commit=commit,
            parameters=values,
            code=kept.code(book.root, chapter.id),
            confirmed=None,
            measured=measured,
            tables={one.stem: one.read_text().splitlines() for one in tables} or None,
            **{name: result.meta[name] for name in ("made", "seconds", "machine", "versions")},
        ),
    )
    return path, [page.text(row) for row in rows]


def confirm(book: Book, named: str, why: str) -> Path:
    """Confirm a chapter's stale kept results for the code of the clean commit that is here.

    Parameters
    ----------
    book : Book
    named : str
        The chapter: its id or its name.
    why : str
        Why the change does not alter what is measured; the book shows it.

    Raises
    ------
    BookError
        There is nothing to confirm, no reason was given, the run had other values than the paper
        profile has, or the checkout is no clean commit.
    """
    chapter = book.find(named)
    if len(why.split()) < 3:
        raise BookError(
            f"The reason is {why!r}. Say in a sentence why the change does not alter what "
            f"{chapter.id} measures."
        )
    found = book.kept([chapter], "quick").get(chapter.id)
    if found is None or not found.stale:
        state = "There are no kept results" if found is None else "The kept results are current"
        raise BookError(f"{state} of {chapter.id}: there is nothing to confirm.")
    if kept.PROFILE in found.changed:
        raise BookError(
            f"The kept results of {chapter.id} are of other values than its paper profile has now: "
            f"renew them. python -m ncbook build --profile paper --chapter {chapter.id}"
        )
    commit = _clean_commit(book)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return kept.write(book.root, kept.confirm(book.root, found, commit, made, why))


def _clean_commit(book: Book) -> str:
    """Return the commit; what was kept before may differ, for many are kept from one commit."""
    own = [path.relative_to(book.root).as_posix() for path in book.kept_files()]
    return book.clean_commit("Results are kept", but_for=own)
