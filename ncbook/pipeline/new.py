"""A new chapter: a source that builds at once, its claim, and its line in the table of contents."""

import re
from pathlib import Path

from ncbook.claims.schema import FILE
from ncbook.files import UsageError, write_atomic
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import NAME

TEMPLATES = Path(__file__).with_name("templates")
HEAD = 'paper = "{paper}"\ncitation = "{citation}"\npart = "{part}"\n'
FOLDER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def new(book: Book, id: str, title: str | None = None, citation: str | None = None) -> list[Path]:
    """Write a chapter from the template; return what was written or changed.

    Parameters
    ----------
    book : Book
    id : str
        ``<paper's folder>/<NN-name>``.
    title : str, optional
        The chapter's title; made of its name without it.
    citation : str, optional
        The paper's key in ``book/references.bib``: needed where its folder has no claims yet.

    Raises
    ------
    UsageError
        The id is none, there is such a chapter already, or the paper is new and its citation is
        missing or unknown.
    """
    paper, _, name = id.partition("/")
    if not (FOLDER.fullmatch(paper) and NAME.fullmatch(name)):
        raise UsageError(
            f"{id!r} names no chapter: expected PAPER/NN-name, such as tirer-bruna/01-bias."
        )
    source = book.root / "notebooks" / paper / f"{name}.md"
    if source.exists():
        raise UsageError(f"There is a chapter {id} already: {source}.")
    registry = source.parent / FILE
    toc, listed = _toc(book.root / "_toc.yml", paper, id)
    short = f"{paper.split('-')[0]}-{name[:2]}"
    words = {"CHAPTER": id, "ID": short, "TITLE": title or name[3:].replace("-", " ").capitalize()}
    claims = (
        registry.read_text(encoding="utf-8") if registry.is_file() else _head(book, paper, citation)
    )
    return [
        write_atomic(source, _filled("chapter.md", words)),
        write_atomic(registry, claims + _filled("claim.toml", words)),
        write_atomic(toc, listed),
    ]


def _filled(template: str, words: dict[str, str]) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for mark, value in words.items():
        text = re.sub(rf"\b{mark}\b", lambda _, value=value: value, text)
    return text


def _head(book: Book, paper: str, citation: str | None) -> str:
    """Return the head of a new paper's claims."""
    known = (book.pages / "references.bib").read_text(encoding="utf-8")
    keys = re.findall(r"@\w+\{\s*([^,\s]+)\s*,", known)
    if citation not in keys:
        raise UsageError(
            f"The paper {paper} is new: name it with --citation, a key of book/references.bib, "
            f"which has {', '.join(keys)}. Add it there first."
        )
    title = paper.replace("-", ", ").title()
    return HEAD.format(paper=title, citation=citation, part="Part IV")


def _toc(path: Path, paper: str, id: str) -> tuple[Path, str]:
    """Return the table of contents with the chapter behind the last of its paper, or of all."""
    lines = path.read_text(encoding="utf-8").split("\n")
    same = [n for n, line in enumerate(lines) if f"file: book/{paper}/" in line]
    every = [n for n, line in enumerate(lines) if re.search(r"file: book/[a-z0-9-]+/\d\d-", line)]
    if not every:
        raise UsageError(
            f"{path} lists no chapter yet; add the line '- file: book/{id}' by hand first."
        )
    before = (same or every)[-1]
    indent = re.match(r"\s*", lines[before])[0]
    lines.insert(before + 1, f"{indent}- file: book/{id}")
    return path, "\n".join(lines)
