"""The claims of a build: judged, written down, and no book where one is broken."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncbook.claims import ledger, page, schema
from ncbook.files import BookError
from ncbook.pipeline import halving
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import Chapter


def settle(
    book: Book,
    chosen: list[Chapter],
    folders: Mapping[str, tuple[Path, str]],
    profile: str,
    kept: Mapping[str, Any],
    whole: bool,
) -> str:
    """Judge the claims of some chapters; return the ledger's summary.

    Parameters
    ----------
    folders : mapping
        Chapter -> the folder with its records, and its key.
    kept : mapping
        The kept paper-size runs, as ``Book.kept`` gives them.
    whole : bool
        Whether these are all chapters. If so, the ledger is written.

    Raises
    ------
    BookError
        A claim does not hold, or was not measured.
    """
    rows = judged(book, chosen, folders, profile, kept, whole)
    if not rows:
        return "No claims."
    if whole:
        table = ledger.to_json(rows)
        generated = book.pages / "_generated"
        book.owned.write(
            {
                generated / "ledger.md": ledger.to_markdown(rows),
                generated / "ledger.json": table,
                book.made / "ledger.json": table,
            }
        )
    summary = ledger.summary_line(rows)
    if broken := ledger.broken(rows):
        texts = [page.text(row) for row in broken]
        raise BookError("\n".join([*texts, "", summary, "The site is as it was."]))
    return summary


def judged(book, chosen, folders, profile, kept, whole=False) -> list[ledger.Row]:
    """Return the ledger's rows of some chapters, or of the whole book."""
    if whole:
        claims: dict[str, schema.Claim] = book.claims()
    else:
        claims = {id: claim for chapter in chosen for id, claim in book.claims(chapter).items()}
    moved = halving.shares(book.root, claims) if whole else {}
    return ledger.collect(claims, folders, profile, kept, moved)
