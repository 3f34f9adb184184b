"""A book of a few tiny chapters, made in a temporary folder, and how to build it."""

import ctypes
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

CONFIG = """\
title: Scratch
author: Nobody
copyright: "2025"
only_build_toc_files: true
exclude_patterns: [_build, notebooks, runs]
execute:
  execute_notebooks: "off"
sphinx:
  config:
    intersphinx_mapping: {}
"""

CHAPTER = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
ncbook:
  profiles:
    paper: {seeds: 200}
---

# The chapter TITLE

```{code-cell}
:tags: [parameters]
profile = "quick"
seeds = 5  # runs
rate = 1e-3  # step size
sizes = [1.0, 2.5]
```

```{code-cell}
CODE
```
"""

CODE = """\
from ncbook import files
table = files.output_dir() / "tables" / "NAME" / "numbers.csv"
_ = files.write_atomic(table, f"seeds,rate\\n{seeds},{rate}\\n")
print(seeds, rate, sizes)
"""


class Book:
    """A scratch book in `root`, built by the command line in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def chapter(self, name: str, code: str = CODE, title: str = "", paper: str = "paper") -> Path:
        """Write a chapter's source."""
        path = self.root / "notebooks" / paper / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        code = textwrap.dedent(code).strip().replace("NAME", name)
        path.write_text(CHAPTER.replace("TITLE", title or name).replace("CODE", code))
        return path

    def contents(self) -> None:
        """Let the table of contents list the chapters that there are."""
        names = sorted(
            str(p.relative_to(self.root / "notebooks").with_suffix(""))
            for p in (self.root / "notebooks").glob("*/*.md")
        )
        lines = ["format: jb-book", "root: book/index", "chapters:"]
        lines += [f"- file: book/{name}" for name in names]
        (self.root / "_toc.yml").write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str, variables=None, **options) -> subprocess.Popen:
        """Start ``python -m ncbook`` with these arguments, and more variables."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_")}
        environment |= variables or {}
        return subprocess.Popen(
            [sys.executable, "-m", "ncbook", *arguments],
            cwd=self.root,
            env=environment | {"NCBOOK_ROOT": str(self.root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As a terminal would: a shell that runs the tests in the background lets its children
            # ignore Ctrl-C, and theirs inherit that.
            **{"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | options,
        )

    def do(self, *arguments: str, expect: int = 0, **options) -> str:
        """Run ``python -m ncbook``, check its exit status and return what it said."""
        process = self.start(*arguments, **options)
        said, _ = process.communicate(timeout=240)
        assert process.returncode == expect, said
        assert "Traceback (most recent call last):\n  File" not in said, said
        return said

    def page(self, name: str, paper: str = "paper") -> Path:
        """An executed chapter, as the site reads it."""
        return self.root / "book" / paper / f"{name}.ipynb"

    @property
    def site(self) -> Path | None:
        """The site that stands: the folder that the link leads to."""
        link = self.root / "_build" / "html"
        return link.resolve() if link.exists() else None

    def stored(self) -> dict[str, Path]:
        """The stored results: key -> folder."""
        return {p.name: p for p in (self.root / "_build" / "store").glob("[0-9a-f]*")}

    def commit(self) -> str:
        """Commit all that git should know of the book; return the commit's short name."""
        (self.root / ".gitignore").write_text("_build/\nbook/\nruns/\n")
        git = ["git", "-C", str(self.root), "-c", "user.name=n", "-c", "user.email=e"]
        if not (self.root / ".git").is_dir():
            subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "A state", "--allow-empty"], check=True)
        head = [*git, "rev-parse", "--short=10", "HEAD"]
        return subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()

    def copy(self, to: Path) -> "Book":
        """The same book with all that was built, elsewhere."""
        shutil.copytree(self.root, to, symlinks=True)
        return Book(to)


def snapshot(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file in a folder."""
    return {
        str(p.relative_to(folder)): (
            hashlib.sha256(p.read_bytes()).hexdigest(),
            p.stat().st_mtime_ns,
        )
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def kill(process: subprocess.Popen) -> str:
    """Kill a process as nothing can prepare for; return what it had said."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def obey_permissions() -> None:
    """In a new process of root: give up the right to write where permissions say no (Linux)."""
    drop_from_bounding_set, override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)


def set_writable(paths: list[Path], writable: bool) -> None:
    """Let files and folders be written, or not."""
    for path in paths:
        if path.exists() and not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | stat.S_IWUSR if writable else mode & ~0o222)
