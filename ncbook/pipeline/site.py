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
from importlib.util import find_spec
from pathlib import Path

import ncbook
from ncbook.files import BookError, digest, write_atomic, write_changed
from ncbook.pipeline import lifeline, status
from ncbook.pipeline.chapters import NAME, Chapter
from ncbook.pipeline.progress import Progress, plain

STAMP = "site.json"
STATUS = "book/_generated/status.md"
KEPT = 2  # sites: the one that stands and, for who still reads it, the one before
TASK = "the site"


def make(root: Path, outcome, chapters: list[Chapter], say: Progress, lock: int):
    """Bring the site up to date.

    Parameters
    ----------
    root : Path
        The book's root.
    outcome : build.Outcome
        The results of the chapters.
    chapters : list of Chapter
        All chapters.
    say : Progress
        Told how it gets on.
    lock : int
        The build's lock, held by Jupyter Book's process too.

    Returns
    -------
    index, made
        The site's first page, and whether the site was made now.

    Raises
    ------
    BookError
        Jupyter Book failed or warned; the message has its warnings.
    """
    copy_plotly(root)
    inputs = digest(json.dumps(inputs_of(root), sort_keys=True))
    if is_current(root, inputs):
        say.say("The site is up to date: nothing that it is made of has changed.")
        return root / "_build" / "html" / "index.html", False
    page = status.page(root, chapters, outcome.results, outcome.executed)
    write_changed(root / STATUS, page)
    output = run_jupyter_book(root, say, lock)
    publish(root, output, inputs)
    return root / "_build" / "html" / "index.html", True


# ---------------------------------------------------------------- what the site is made of


def inputs_of(root: Path) -> dict[str, str]:
    """Return the hash of every file that the site is made of, the build's own time excepted."""
    package = Path(ncbook.__file__).resolve().parent
    files = [root / name for name in ("_config.yml", "_toc.yml", "requirements.txt")]
    files += [p for pattern in ("*.md", "*.cff", "*.toml", "*.bib") for p in root.glob(pattern)]
    for folder in ("book", "notebooks", "results"):
        files += [p for p in (root / folder).rglob("*") if not p.name.startswith(".")]
    found = {str(p.relative_to(root)): digest(p) for p in sorted(files) if p.is_file()}
    found.pop(STATUS, None)
    # The API's pages come from the docstrings.
    code = {f"{package.name}/{p.relative_to(package)}": digest(p) for p in package.rglob("*.py")}
    return found | code


def is_current(root: Path, inputs: str) -> bool:
    """Tell whether the site that stands was made of these inputs and is still whole."""
    try:
        stamp = json.loads((root / "_build" / STAMP).read_text())
        standing = (root / "_build" / "html").resolve(strict=True)
        return (
            stamp["inputs"] == inputs
            and stamp["site"] == standing.name
            and stamp["extent"] == _extent(standing)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _extent(folder: Path) -> list[int]:
    """Number and total size of a folder's files: cheap, and tells of what was lost or cut."""
    sizes = [p.stat().st_size for p in folder.rglob("*") if p.is_file()]
    return [len(sizes), sum(sizes)]


def structure_of(root: Path) -> str:
    """Return a hash of what makes Jupyter Book's memory of pages worthless when it changes."""
    inputs = inputs_of(root)
    outer = {name: d for name, d in inputs.items() if "/" not in name and not name.endswith(".md")}
    inner = {
        name: d
        for name, d in inputs.items()
        if name.startswith("book/")
        and not name.startswith(("book/_static/", "book/_generated/"))
        and not name.endswith((".md", ".ipynb", ".csv"))
    }
    modules = sorted(name for name in inputs if name.startswith(f"{ncbook.__name__}/"))
    return digest(json.dumps([outer, inner, modules, sys.version], sort_keys=True))


def copy_plotly(root: Path) -> None:
    """Copy plotly's script from its package to where the pages load it from."""
    spec = find_spec("plotly")
    script = spec and Path(spec.origin).parent / "package_data" / "plotly.min.js"
    if script and script.is_file():
        write_changed(root / "book" / "_static" / script.name, script.read_bytes())


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


def run_jupyter_book(root: Path, say: Progress, lock: int) -> Path:
    """Run Jupyter Book, warnings as errors; return the folder with its pages."""
    work = root / "_build" / "work"
    output = work / "_build" / "html"
    dirty = work / "dirty"
    structure = structure_of(root)
    # A page that was read once is not read again, so what it warned of would not be said again:
    # after a run that failed or was killed, everything is read anew.
    known = work / "structure"
    if dirty.exists() or not known.is_file() or known.read_text() != structure:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    dirty.touch()
    known.write_text(structure)
    # Every page is written, also those that are not read again: the navigation, numbers and
    # references on a page depend on the other pages.
    for old in output.rglob("*.html"):
        old.unlink()
    say.begin(TASK)
    errors = work / "warnings"
    log = work / "log"
    with errors.open("w") as warnings, log.open("w", buffering=1) as record:
        process = subprocess.Popen(
            [sys.executable, "-m", "ncbook.pipeline.site", str(root), str(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=warnings,
            text=True,
            errors="replace",
            cwd=root,
            env=os.environ
            | {
                "PYTHONHASHSEED": "0",
                "NCBOOK_ROOT": str(root),
                "MPLCONFIGDIR": str(root / "_build" / "cache" / "matplotlib"),
            },
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


def publish(root: Path, output: Path, inputs: str) -> None:
    """Copy the finished pages and let ``_build/html`` point to the copy, in one step."""
    build = root / "_build"
    sites = build / "sites"
    sites.mkdir(exist_ok=True)
    for left in sites.glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{inputs[:12]}"
    copy = sites / f".{name}"
    shutil.copytree(output, copy, ignore=shutil.ignore_patterns("*.pickle", ".buildinfo"))
    os.replace(copy, sites / name)

    link = build / "html"
    new = build / f".html-{os.getpid()}"
    new.unlink(missing_ok=True)
    new.symlink_to(Path("sites") / name, target_is_directory=True)
    if link.is_dir() and not link.is_symlink():
        os.replace(link, sites / f".{name}-replaced")  # somebody's own folder in the link's place
    os.replace(new, link)

    stamp = {"inputs": inputs, "site": name, "extent": _extent(sites / name)}
    write_atomic(build / STAMP, json.dumps(stamp) + "\n")
    old = sorted(p for p in sites.iterdir() if p.name != name)
    for folder in old[: max(0, len(old) - KEPT + 1)]:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run Jupyter Book here: the worker process of `run_jupyter_book`."""
    lifeline.hold()
    root, work = sys.argv[1:]
    from jupyter_book.cli.main import main as jupyter_book

    jupyter_book(
        ["build", root, "--path-output", work, "--warningiserror", "--nitpick", "--keep-going"]
    )


if __name__ == "__main__":
    main()
