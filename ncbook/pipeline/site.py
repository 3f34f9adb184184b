"""The site: Jupyter Book over the executed chapters, warnings as errors, swapped in whole.

Jupyter Book works in ``_build/work``, where it keeps the pages that it has read. What it made is
copied to ``_build/sites/<name>``, and the link ``_build/html`` is then turned to it in one step.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ncbook
from ncbook import lifeline, machine
from ncbook.files import BookError, digest
from ncbook.pipeline import status
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import NAME
from ncbook.pipeline.execution import Outcome
from ncbook.pipeline.owned import WORK, set_aside
from ncbook.pipeline.pages import BESIDE
from ncbook.pipeline.workers import environment
from ncbook.progress import Progress, plain

STAMP = "site.json"
SITES = "sites"
STATUS = "book/_generated/status.md"
RETAINED = 2  # sites: the one that stands and, for who still reads it, the one before
TASK = "the site"


def make(book: Book, outcome: Outcome, lock: int, of_commit: bool = False) -> Path:
    """Bring the site up to date; return its first page.

    Parameters
    ----------
    book : Book
    outcome : Outcome
        The results of all chapters.
    lock : int
        The build's lock, held by Jupyter Book's process too.
    of_commit : bool
        Make it anew also where its status page names another commit than is checked out now.

    Raises
    ------
    BookError
        Jupyter Book failed or warned; the message has its warnings.
    """
    index = book.made / "html" / "index.html"
    inputs = inputs_of(book)
    key = digest(json.dumps(inputs, sort_keys=True))
    if is_current(book, key) and (not of_commit or _names_commit(book)):
        book.say.say("The site is up to date: nothing that it is made of has changed.")
        return index
    book.owned.write({book.root / STATUS: status.page(book, outcome)})
    publish(book, run_jupyter_book(book, inputs, lock), key)
    return index


# ---------------------------------------------------------------- what the site is made of


def inputs_of(book: Book) -> dict[str, str]:
    """Return the hash of every file that the site is made of, the build's own time excepted."""
    root, package = book.root, Path(ncbook.__file__).resolve().parent
    files = [root / name for name in ("_config.yml", "_toc.yml", "requirements.txt")]
    files += [p for pattern in ("*.md", "*.cff", "*.toml", "*.bib") for p in root.glob(pattern)]
    for folder in ("notebooks", "results"):
        files += [p for p in (root / folder).rglob("*") if not p.name.startswith(".")]
    # Of executed chapters and their tables, those of the book: a reader's own are none of it.
    own = book.owned.below(book.pages)
    files += own
    files += [
        p
        for p in book.pages.rglob("*")
        if not p.name.startswith(".")
        and p.suffix != ".ipynb"
        and not {*BESIDE} & {*p.relative_to(book.pages).parts}
    ]
    found = {str(p.relative_to(root)): digest(p) for p in sorted({*files}) if p.is_file()}
    found.pop(STATUS, None)
    # The API's pages come from the docstrings.
    code = {f"{package.name}/{p.relative_to(package)}": digest(p) for p in package.rglob("*.py")}
    return found | code


def is_current(book: Book, key: str) -> bool:
    """Tell whether the site that stands was made of these inputs and is still whole."""
    try:
        stamp = json.loads((book.made / STAMP).read_text())
        standing = (book.made / "html").resolve(strict=True)
        return (
            stamp["inputs"] == key
            and stamp["site"] == standing.name
            and stamp["extent"] == _extent(standing)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _names_commit(book: Book) -> bool:
    """Tell whether the status page names the commit that is checked out, and no changes to it."""
    page = book.root / STATUS
    return page.is_file() and f"| Commit | {machine.checkout(book.root)} |" in page.read_text()


def _extent(folder: Path) -> list[int]:
    """Number and total size of a folder's files: cheap, and tells of what was lost or cut."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return [len(sizes), sum(sizes)]


def structure_of(inputs: dict[str, str]) -> str:
    """Return a hash of what makes Jupyter Book's memory of pages worthless when it changes."""
    outer = {name: d for name, d in inputs.items() if "/" not in name and not name.endswith(".md")}
    inner = {
        name: d
        for name, d in inputs.items()
        if name.startswith("book/")
        and not name.startswith(("book/_static/", "book/_generated/"))
        and not {*BESIDE} & {*name.split("/")}
        and not name.endswith((".md", ".ipynb"))
    }
    modules = sorted(name for name in inputs if name.startswith(f"{ncbook.__name__}/"))
    return digest(json.dumps([outer, inner, modules, sys.version], sort_keys=True))


def pages_of(root: Path) -> list[str]:
    """Return the pages of the table of contents, in order, as they are named in the site."""
    import yaml

    table = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [name.removesuffix(".ipynb").removesuffix(".md") for name in _pages(table)]


def check_toc(root: Path, chapters: list[str]) -> None:
    """Make sure that the table of contents lists exactly the chapters that exist.

    Raises
    ------
    BookError
        It lists others, or not all.
    """
    import yaml

    path = root / "_toc.yml"
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BookError(f"Cannot read {path}: {error}") from error
    listed = [name.removesuffix(".ipynb").removesuffix(".md") for name in _pages(table)]
    of_book = [name.removeprefix("book/") for name in listed if name.startswith("book/")]
    folders = {name.split("/")[0] for name in chapters}
    in_toc = {
        name
        for name in of_book
        if name.count("/") == 1
        and (name.split("/")[0] in folders or NAME.fullmatch(name.split("/")[1]))
        and not (root / "book" / f"{name}.md").is_file()
    }
    if missing := sorted(set(chapters) - in_toc):
        raise BookError(
            f"{path.name} does not list {_named(missing)}. "
            f"Add a line '- file: book/{missing[0]}' to it."
        )
    if strange := sorted(in_toc - set(chapters)):
        raise BookError(
            f"{path.name} lists {_named(strange)}, and notebooks/ has no such source. "
            "Remove the line, or add the chapter."
        )
    if twice := sorted({name for name in of_book if of_book.count(name) > 1}):
        raise BookError(f"{path.name} lists {_named(twice)} more than once.")


def _pages(node) -> list[str]:
    """Every page that a table of contents names, in order."""
    if isinstance(node, dict):
        own = [node[key] for key in ("root", "file") if isinstance(node.get(key), str)]
        return own + [page for value in node.values() for page in _pages(value)]
    if isinstance(node, list):
        return [page for value in node for page in _pages(value)]
    return []


def _named(names: list[str]) -> str:
    return ("the chapter " if len(names) == 1 else "the chapters ") + ", ".join(names)


# ---------------------------------------------------------------- Jupyter Book


def run_jupyter_book(book: Book, inputs: dict[str, str], lock: int) -> Path:
    """Run Jupyter Book, warnings as errors; return the folder with its pages."""
    work = book.made / "work"
    output = work / "_build" / "html"
    dirty = work / "dirty"
    structure = structure_of(inputs)
    # A page that was read once is not read again, so what it warned of would not be said again:
    # after a run that failed or was killed, everything is read anew.
    known = work / "structure"
    if dirty.exists() or not known.is_file() or known.read_text() != structure:
        book.owned.drop(work)
    book.owned.take(work)
    dirty.touch()
    known.write_text(structure)
    # Every page is written, also those that are not read again: the navigation, numbers and
    # references on a page depend on the other pages.
    for old in output.rglob("*.html"):
        old.unlink()
    say = book.say
    say.begin(TASK)
    errors = work / "warnings"
    log = work / "log"
    with errors.open("w") as warnings, log.open("w", buffering=1) as record:
        process = subprocess.Popen(
            [sys.executable, "-m", "ncbook.pipeline.site", str(book.root), str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=warnings,
            text=True,
            errors="replace",
            cwd=book.root,
            env=environment(book.root, work, "", work, book.fonts),
            pass_fds=(lock,),
            start_new_session=True,
        )
        try:
            _follow(process, record, say)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdin.close()
            process.stdout.close()
    if process.returncode or not (output / "index.html").is_file():
        say.end(TASK, "FAILED")
        shown = _complaints(errors.read_text(errors="replace"))
        raise BookError(
            f"{shown}\n\nJupyter Book warned or failed (its whole output: {log}). "
            "The site is as it was."
        )
    say.end(TASK, "made")
    dirty.unlink()
    book.owned.adopt(work)
    return output


def _follow(process: subprocess.Popen, record, say: Progress) -> None:
    # Reading is most of the work, writing the rest.
    stages = {"reading sources": (0.05, 0.6), "writing output": (0.65, 0.3)}
    for line in process.stdout:
        text = plain(line)
        record.write(text)
        if found := re.match(r"(reading sources|writing output)\.\.\. \[ *(\d+)%\]", text):
            start, share = stages[found[1]]
            say.step(TASK, start + share * int(found[2]) / 100, 1)
    process.wait()


def _complaints(text: str) -> str:
    """The warnings and errors in what Jupyter Book said, each once, without its traceback."""
    lines = [line.rstrip() for line in plain(text).split("\n")]
    if any(re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line) for line in lines):
        cut = next((n for n, line in enumerate(lines) if line.startswith("Traceback")), None)
        lines = lines[:cut]
    lines = [line for line in lines if line and not set(line) <= set("=-")]
    return "\n".join(dict.fromkeys(lines[-60:])) or "It said nothing."


def publish(book: Book, output: Path, key: str) -> None:
    """Copy the finished pages and let ``_build/html`` point to the copy, in one step."""
    sites = book.made / SITES
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{key[:12]}"
    copy = book.owned.take(book.root / WORK / name)
    hidden = shutil.ignore_patterns("*.pickle", ".buildinfo")
    shutil.copytree(output, copy, ignore=hidden, dirs_exist_ok=True)
    book.owned.adopt(copy, becomes=sites / name)
    sites.mkdir(exist_ok=True)
    os.replace(copy, sites / name)
    book.owned.drop(copy)

    link = book.made / "html"
    new = book.made / f".html-{os.getpid()}"
    new.unlink(missing_ok=True)
    new.symlink_to(Path(SITES) / name, target_is_directory=True)
    if os.path.lexists(link) and not _is_ours(link):
        set_aside(link, book.root, book.say)
    os.replace(new, link)

    stamp = {"inputs": key, "site": name, "extent": _extent(sites / name)}
    book.owned.write({book.made / STAMP: json.dumps(stamp) + "\n"})
    earlier = {p.relative_to(sites).parts[0] for p in book.owned.below(sites)} - {name}
    for old in sorted(earlier)[: max(0, len(earlier) - RETAINED + 1)]:
        book.owned.drop(sites / old)


def withdraw(book: Book) -> None:
    """Remove the link to the site."""
    link = book.made / "html"
    if _is_ours(link):
        link.unlink()


def _is_ours(link: Path) -> bool:
    return link.is_symlink() and Path(os.readlink(link)).parts[:1] == (SITES,)


def main() -> None:
    """Run Jupyter Book here: the worker process of `run_jupyter_book`."""
    lifeline.orders()
    root, work = sys.argv[1:]
    from jupyter_book.cli.main import main as jupyter_book

    jupyter_book(
        ["build", root, "--path-output", work, "--warningiserror", "--nitpick", "--keep-going"]
    )


if __name__ == "__main__":
    main()
