"""Which change executes which chapter again: the build with chapters that only pretend to run."""

import importlib.metadata
import json
import os
import textwrap
from types import SimpleNamespace

import pytest
import torch

from ncbook import build as builder
from ncbook import machine, store
from ncbook.codegraph import fingerprint
from ncbook.files import BookError
from ncbook.pipeline import keys, settling
from ncbook.pipeline.book import Book
from ncbook.pipeline.workers import Workers

CLAIMS = """\
paper = "A paper"
citation = "nobody2025"
part = "Part I"
[[claim]]
id = "a"
place = "Figure 1"
origin = "paper"
kind = "number"
sentence = "It is two."
chapter = "paper/02-two"
statistic = "median"
expect = 2.0
tolerance = {abs = 0.1, reason = "a test"}
"""

ONE, TWO = "paper/01-one (quick)", "paper/02-two (quick)"

PACKAGE = {
    "__init__.py": "",
    "shared.py": "",
    "one.py": "from fake import shared",
    "two.py": "def later():\n    from fake.deep import inner",
    "deep/__init__.py": "",
    "deep/inner.py": "",
    "deep/settings.txt": "1",
    "unused.py": "",
}


@pytest.fixture
def book(empty, tmp_path, monkeypatch):
    """A book of two chapters that import from a package of ours; building it is instant."""
    package = tmp_path / "code" / "fake"
    for name, text in PACKAGE.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    empty.chapter("01-one", "from fake.one import x\nprint(seeds)")
    empty.chapter("02-two", "from fake import two\nprint(seeds)")
    empty.contents()
    (empty.root / "requirements.txt").write_text("torch==2.13.0\n")
    executed = []

    def run(self, jobs, done):
        for job in jobs:
            executed.append(job.label)
            table = job.result / "tables" / job.chapter.name / "t.csv"
            table.parent.mkdir(parents=True)
            table.write_text("1")
            said = {"output_type": "stream", "name": "stdout", "text": json.dumps(job.values)}
            cells = [{"cell_type": "code", "outputs": [said]}]
            (job.result / store.NOTEBOOK).write_text(json.dumps({"cells": cells}))
            done(job, 1.0)
        return [], []

    monkeypatch.setattr(keys, "PACKAGE", package)
    monkeypatch.setattr(Workers, "run", run)
    monkeypatch.setattr(settling, "settle", lambda *a, **k: "No claims.")

    def build(**options):
        executed.clear()
        builder.build(Book(empty.root), make_site=lambda *a: None, **options)
        return sorted(executed)

    build()
    return SimpleNamespace(root=empty.root, package=package, build=build, scratch=empty)


def test_nothing_changed_nothing_runs(book):
    assert book.build() == []


def test_a_changed_chapter_runs_alone(book):
    book.scratch.chapter("02-two", "from fake import two\nprint(rate)")
    assert book.build() == [TWO]
    assert book.build() == []


def test_a_chapter_changed_back_does_not_run(book):
    path = book.root / "notebooks/paper/02-two.md"
    before = path.read_text()
    path.write_text(before.replace("print(seeds)", "print(seeds + 1)"))
    assert book.build() == [TWO]
    path.write_text(before)
    assert book.build() == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# The chapter 02-two", "# Another title"),
        ("from fake import two", "\n# A comment.\nfrom fake import two  # and why"),
        ("seeds = 5  # runs", "seeds = 5   # how many runs there are"),
        ("    paper: {seeds: 200}", "    paper: {seeds: 300}"),
        ("```\n", "```\n\nMore words.\n"),
    ],
)
def test_a_corrected_sentence_executes_nothing_and_is_shown(book, old, new):
    path = book.root / "notebooks/paper/02-two.md"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    assert book.build() == []
    page = json.loads(book.scratch.page("02-two").read_text())
    shown = "".join("".join(cell["source"]) for cell in page["cells"])
    assert new.strip("`\n ").split("\n")[-1] in shown or "paper:" in new
    outputs = [cell["outputs"] for cell in page["cells"] if cell["cell_type"] == "code"]
    assert '"seeds": 5' in outputs[0][0]["text"][0]


@pytest.mark.parametrize(
    ("module", "runs"),
    [
        ("one.py", [ONE]),
        ("shared.py", [ONE]),
        ("two.py", [TWO]),
        ("deep/inner.py", [TWO]),
        ("deep/__init__.py", [TWO]),
        ("deep/settings.txt", [TWO]),
        ("__init__.py", [ONE, TWO]),
        ("unused.py", []),
    ],
)
def test_a_changed_module_runs_what_imports_it(book, module, runs):
    path = book.package / module
    path.write_text(path.read_text() + "\nchanged = 1\n")
    assert book.build() == runs


@pytest.mark.parametrize("module", ["one.py", "two.py", "deep/__init__.py"])
def test_comments_docstrings_and_layout_execute_nothing(book, module):
    path = book.package / module
    code = path.read_text()
    path.write_text(f'"""What this is for."""\n\n# Why.\n\n\n{code}\n')
    assert book.build() == []


def test_a_docstring_alone_is_no_code():
    one = "def f(x):\n    return x\n"
    other = 'def f(x):  # why\n    """What."""\n    return (x)\n'
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(one.replace("return x", "return -x"))
    assert fingerprint('x = "a"') != fingerprint('x = "b"')
    assert fingerprint("%time f()") != fingerprint("%time g()")


def test_changed_claims_execute_nothing(book):
    path = book.root / "notebooks/paper/claims.toml"
    for text in (CLAIMS, CLAIMS.replace("It is", "It was"), CLAIMS.replace("2.0", "2.5")):
        path.write_text(text)
        assert book.build() == []


def test_another_environment_of_the_run_runs_everything(book, monkeypatch):
    monkeypatch.setitem(keys.SETTINGS, "OMP_NUM_THREADS", "2")
    assert book.build() == [ONE, TWO]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MATPLOTLIBRC", "LC_ALL", "PYTHONPATH"])
def test_settings_of_the_person_who_builds_run_nothing(book, monkeypatch, name):
    monkeypatch.setenv(name, "7")
    assert book.build() == []


def test_other_packages_run_everything(book, monkeypatch):
    there = machine.packages(book.root)
    assert there["torch"].split("+")[0] == torch.__version__.split("+")[0]
    # What ncbook needs, what that needs, and what executes; no tool for tests.
    assert {"matplotlib", "pyzmq", "sympy", "nbclient"} <= there.keys()
    assert not {"pytest", "playwright", "sphinx"} & there.keys()
    (book.root / "requirements.txt").write_text("pytest==9.2.1\n")
    assert book.build() == []
    monkeypatch.setattr(machine, "packages", lambda root: there | {"pyzmq": "1"})
    assert book.build() == [ONE, TWO]


def test_packages_are_found_where_ncbook_is_not_installed(root, monkeypatch):
    there = machine.packages.__wrapped__(root)
    needed = importlib.metadata.requires

    def requires(name):
        if name == "ncbook":
            raise importlib.metadata.PackageNotFoundError
        return needed(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert machine.packages.__wrapped__(root) == there


def test_another_device_runs_everything(book, monkeypatch):
    monkeypatch.setenv("NCBOOK_DEVICE", "cuda:1")
    assert machine.device() == "cuda:1"
    assert book.build() == [ONE, TWO]


def test_kept_results_execute_nothing(book, monkeypatch):
    monkeypatch.setattr(Book, "kept", lambda *a: {})
    path = book.root / "results" / "paper" / "02-two.json"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    assert book.build() == []


def test_kept_results_without_a_chapter_are_named(book):
    path = book.root / "results" / "paper" / "07-gone.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(
        BookError, match=r"07-gone\.json holds kept results of a chapter that there"
    ):
        book.build()
    path.rename(path.with_name("figures.json"))
    book.build()


def test_profiles_stand_side_by_side(book):
    assert book.build(profile="paper") == ["paper/01-one (paper)", "paper/02-two (paper)"]
    assert r"\"seeds\": 200" in book.scratch.page("01-one").read_text()
    assert book.build() == []
    assert r"\"seeds\": 5" in book.scratch.page("01-one").read_text()
    assert book.build(profile="paper") == []


def test_one_chapter_alone(book):
    for name in ("01-one", "02-two"):
        book.scratch.chapter(name, "print(3)")
    assert book.build(only=["02-two"]) == [TWO]
    assert book.build() == [ONE]


def test_the_longest_chapter_starts_first(book, monkeypatch):
    monkeypatch.setattr(
        store.Store, "seconds", lambda self: {("paper/01-one", "quick"): 1.0} | SECOND
    )
    order = []
    monkeypatch.setattr(
        Workers,
        "run",
        lambda self, jobs, done: (order.extend(j.chapter.name for j in jobs), ([], []))[1],
    )
    for name in ("01-one", "02-two", "03-new"):
        book.scratch.chapter(name, "print(4)")
    with pytest.raises(BookError):  # it pretends to execute, and leaves nothing
        book.build(only=["01-one", "02-two", "03-new"])
    assert order[:3] == ["03-new", "02-two", "01-one"]


SECOND = {("paper/02-two", "quick"): 9.0}


def test_a_result_of_code_that_was_edited_meanwhile_is_not_kept(book, monkeypatch):
    run = Workers.run
    edits = iter(["once = 1\n"])

    def edit_and_run(self, jobs, done):
        for text in edits:
            (book.package / "one.py").write_text(text)
        return run(self, jobs, done)

    monkeypatch.setattr(Workers, "run", edit_and_run)
    book.scratch.chapter("01-one", "import fake.one\nprint(5)")
    assert book.build() == [ONE, ONE]
    assert book.build() == []


def test_code_that_is_edited_all_the_time_stops_the_build(book, monkeypatch):
    run = Workers.run

    def edit_and_run(self, jobs, done):
        path = book.package / "one.py"
        path.write_text(path.read_text() + "again = 1\n")
        return run(self, jobs, done)

    monkeypatch.setattr(Workers, "run", edit_and_run)
    book.scratch.chapter("01-one", "import fake.one\nprint(5)")
    with pytest.raises(BookError, match=r"edited while it ran.*paper/01-one"):
        book.build()


def test_a_chapter_that_is_gone_leaves_the_book(book):
    table = book.root / "book/paper/tables/02-two/t.csv"
    assert table.read_text() == "1"
    hand_written = book.root / "book/paper/notes.md"
    hand_written.write_text("kept")
    (book.root / "notebooks/paper/02-two.md").unlink()
    book.scratch.contents()
    book.build()
    assert not book.scratch.page("02-two").exists()
    assert not table.parent.exists()
    assert book.scratch.page("01-one").exists()
    assert hand_written.exists()


def test_what_a_kill_left_half_written_is_removed(book):
    left = [
        book.root / "book/paper/.01-one.ipynb.abc.part",
        book.root / "_build/.site.json.xyz.part",
        book.root / "_build/tmp/paper--01-one/result/notebook.ipynb",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    book.build()
    assert [path.exists() for path in left] == [False] * 3


def test_a_page_that_is_as_it_was_is_not_written_again(book):
    page = book.scratch.page("01-one")
    os.utime(page, (1, 1))
    book.build()
    assert page.stat().st_mtime == 1


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("- file: book/paper/01-one", "does not list the chapter paper/02-two"),
        (
            "- file: book/paper/01-one\n- file: book/paper/02-two\n- file: book/paper/03-three",
            "lists the chapter paper/03-three, and notebooks/ has no such source",
        ),
        (
            "- file: book/paper/01-one\n- file: book/paper/02-two\n- file: book/paper/02-two.ipynb",
            "more than once",
        ),
        ("- file: [", "Cannot read"),
    ],
)
def test_the_table_of_contents_must_list_the_chapters(book, contents, message):
    text = textwrap.dedent("format: jb-book\nroot: book/index\nchapters:\n") + contents + "\n"
    (book.root / "_toc.yml").write_text(text)
    with pytest.raises(BookError, match=message):
        book.build()


def test_a_table_of_contents_in_parts(book):
    (book.root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n- caption: A\n  chapters:\n"
        "  - file: book/paper/01-one\n    sections:\n    - file: book/paper/02-two.md\n"
        "- caption: B\n  chapters:\n  - file: book/api/metrics\n  - file: book/ledger\n"
    )
    book.build()


def test_a_book_without_chapters_says_so(empty):
    with pytest.raises(BookError, match="There is no chapter"):
        builder.build(Book(empty.root))
