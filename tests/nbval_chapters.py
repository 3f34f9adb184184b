"""How nbval runs the book's executed chapters: as the build did, and not those that it need not.

``results/repeated.json`` has, by chapter, the key of a result whose cells ran a second time and
gave the same outputs. The key knows the code, the parameters, the packages and the system, though
not the processor. Where it is that of the chapter as it is now, long chapters are passed over;
short ones run in each test, so that nbval itself is tried, and each processor on them. Tests that
run chapters otherwise are in the file too, by their own keys: those with the mark ``repeats``.
``make repeat`` runs what is not in the file, and writes it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import pytest

from ncbook.files import digest, write_atomic
from ncbook.pipeline.book import Book
from ncbook.pipeline.chapters import QUICK, Chapter
from ncbook.pipeline.workers import environment

FILE = "results/repeated.json"
SHORT = 8  # seconds that a chapter may take to be run each time


class Chapters:
    """Let nbval run the chapters, each in the environment that the build gave it.

    This is a plugin, not hooks of conftest.py: such hooks do not see the notebooks in book/.
    """

    def __init__(self, root: Path, renew: bool) -> None:
        self.root, self.renew = root, renew
        self.folder = Path(tempfile.mkdtemp(prefix="ncbook-nbval-"))
        self.passed: dict[str, bool] = {}
        self.tests: dict[str, str] = {}  # the keys of the tests with the mark that ran
        if renew:
            _ = self.keys  # of the code that is about to run

    @cached_property
    def book(self) -> Book:
        """The book as it is now."""
        return Book(self.root)

    @cached_property
    def of(self) -> Callable[[Chapter, dict], str]:
        """What gives the key of a chapter's result with these values of its parameters."""
        return self.book.keys().of

    @cached_property
    def keys(self) -> dict[str, str]:
        """The key of each chapter, as it is now."""
        return {one.id: self.of(one, one.values(QUICK)) for one in self.book.chapters}

    @cached_property
    def known(self) -> dict[str, str]:
        """What the file has."""
        path = self.root / FILE
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def short(self) -> set[str]:
        """The chapters that run each time."""
        took = Book(self.root).store.seconds()
        return {one for one in self.keys if took.get((one, QUICK), 0) <= SHORT}

    def pytest_ignore_collect(self, collection_path):
        """Pass over what a reader has put beside the chapters, and what is known to repeat."""
        if collection_path.suffix != ".ipynb" or self.root not in collection_path.parents:
            return None
        name = self._chapter(collection_path.relative_to(self.root).as_posix())
        if name not in self.keys:
            return True
        repeated = self.known.get(name) == self.keys[name]
        return True if repeated and (self.renew or name not in self.short) else None

    def pytest_collection_modifyitems(self, config, items):
        """Pass over tests with the mark that are known to pass; to renew, over all without it."""
        left, out = [], []
        for item in items:
            mark = item.get_closest_marker("repeats")
            if mark is not None:
                key = self.key(item, *mark.args)
                item.user_properties.append(("key", key))  # so its reports have it
                known = self.known.get(item.nodeid) == key
            else:
                known = self.renew and item.path.suffix != ".ipynb"
            (out if known else left).append(item)
        items[:] = left
        if out:
            config.hook.pytest_deselected(items=out)

    def key(self, item, chapter: str, values: dict, *more: Path) -> str:
        """The key of a test that runs a chapter with these values, and reads these other files."""
        read = [one.read_text(encoding="utf-8") for one in (item.path, *more)]
        found = self.book.find(chapter)
        result = self.of(found, found.values(given=values))
        return digest(json.dumps([result, *read]))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        """Set it while a notebook's kernel starts, which is in the setup of its first cell."""
        if item.path.suffix != ".ipynb":
            return (yield)
        name = item.path.stem
        out, runtime = self.folder / item.path.parent.name / name, self.folder / "runtime"
        for folder in (out, runtime):
            folder.mkdir(parents=True, exist_ok=True)
        fonts = self.root / "_build" / "cache" / "matplotlib"
        before, given = dict(os.environ), environment(self.root, out, name, runtime, fonts)
        os.environ.clear()
        os.environ.update(given)
        try:
            return (yield)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def pytest_runtest_logreport(self, report):
        """Note which chapters gave the same outputs again, whichever process ran them."""
        file = report.location[0]  # a node's id has no file's name in some versions of nbval
        name = self._chapter(file) if file.endswith(".ipynb") else report.nodeid
        self.passed[name] = self.passed.get(name, True) and report.passed
        if "key" in (said := dict(report.user_properties)):
            self.tests[name] = said["key"]

    def pytest_sessionfinish(self, session, exitstatus):
        """Write the file where that is asked for, and this process has reports of whole runs."""
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        whole = ended and not session.shouldfail and not session.shouldstop
        if self.renew and whole and not hasattr(session.config, "workerinput"):
            keys = self.keys | self.tests
            again = {name: keys[name] for name, good in self.passed.items() if good}
            of_chapters = (name for name in self.known if any(one in name for one in self.keys))
            kept = {name: self.known[name] for name in of_chapters}
            text = json.dumps(dict(sorted({**kept, **again}.items())), indent=1)
            write_atomic(self.root / FILE, text + "\n")

    def pytest_unconfigure(self):
        """Remove what the chapters wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _chapter(file: str) -> str:
        return file.removeprefix("book/").removesuffix(".ipynb")
