"""Exercises that are to be run: how they are read, and how what came out is judged."""

from pathlib import Path

import pytest
from claims_samples import claim

from ncbook.claims import schema
from ncbook.claims.measured import summarise
from ncbook.files import BookError
from ncbook.pipeline import chapters, exercises, workers
from ncbook.pipeline.book import Book
from ncbook.pipeline.workers import Workers
from ncbook.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# Title

```{code-cell}
:tags: [parameters]
profile = "quick"
seeds = 5  # seeds >= 1: runs
rates = [0.1, 0.2]
```

"""
CLAIMS = {id: claim(id=id) for id in ("a.one", "a.two", "a.lost")}


def parsed(body, tmp_path):
    return exercises.of_chapter(chapters.parse("paper/01-one", HEAD + body, tmp_path), CLAIMS)


def test_an_exercise_says_with_what_it_runs_and_what_happens(tmp_path):
    body = (
        ":::{exercise} Fewer\n:label: ex-fewer\n:run: seeds=1 rates=[0.3]\n:fails: a.one\n"
        ":gives: a.two 0.5 2\n\nWhat happens?\n:::\n\n"
        ":::{exercise} Think\n:label: ex-think\n\nWhy?\n:::\n"
    )
    (one,) = parsed(body, tmp_path)
    assert one.label == "ex-fewer"
    assert one.values == {"profile": "quick", "seeds": 1, "rates": [0.3]}
    assert (one.fails, one.holds, one.gives) == (("a.one",), (), {"a.two": (0.5, 2.0)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (":run: seeds", "'seeds' is not NAME=VALUE"),
        (":run: seeds=1", "names no claim"),
        (":run: seeds=1\n:fails: a.three", "names a.three"),
        (":run: seeds=1\n:gives: a.one 1", "expected a claim and two numbers"),
        (":run: seeds=0\n:fails: a.one", "seeds"),
        (":run: lot=0\n:fails: a.one", "no parameter 'lot'"),
    ],
)
def test_what_cannot_be_run_or_judged_is_refused(options, said, tmp_path):
    with pytest.raises(BookError, match=said):
        parsed(f":::{{exercise}} A\n:label: ex-a\n{options}\n\nWhy?\n:::\n", tmp_path)


def test_what_comes_out_otherwise_is_said(tmp_path, monkeypatch):
    expect = {"expect": 2.0, "tolerance": 0.1, "control": None}
    known = {id: claim(id=id, **expect) for id in ("a.one", "a.two", "a.lost")}
    found = {"a.one": summarise([2.0]), "a.two": summarise([3.0])}
    found["a.lost"] = summarise([float("nan")])
    monkeypatch.setattr(exercises.record, "read", lambda path, one, profile: found[one.id])
    body = ":::{{exercise}} A\n:label: ex-a\n:run: seeds=1\n{}\n\nWhy?\n:::\n"
    for options, said in (
        (":holds: a.one\n:fails: a.two", []),
        (":fails: a.one", ["a.one holds (2), and the exercise says that it fails"]),
        (":holds: a.two", ["a.two fails (3), and the exercise says that it holds"]),
        (":gives: a.two 2.9 3.1", []),
        (":gives: a.two 1 2", ["a.two is 3, and the exercise says from 1 to 2"]),
        (":fails: a.lost", []),
    ):
        (one,) = parsed(body.format(options), tmp_path)
        assert exercises.outcome(one, tmp_path, known) == said


# One chapter of each part; `make exercises` runs all.
QUICKEST = (
    "mixon-parshall-pi/05-figure-2", "wu-mondelli/03-not-balanced",
    "min-zhu-vidal/01-rays-not-points", "dang-et-al/01-lost-classes",
)  # fmt: skip


def repeats(name: str):
    """Return the case of a chapter, with what the outcome of its exercises depends on."""
    source = ROOT / "notebooks" / f"{name}.md"
    read = (Path(module.__file__) for module in (exercises, chapters, workers))
    mark = pytest.mark.repeats(name, {}, source, source.with_name(schema.FILE), *read)
    return pytest.param(name, marks=mark)


@pytest.mark.parametrize("name", [repeats(name) for name in QUICKEST])
def test_exercises_of_the_book_come_out_as_they_say(name, root, tmp_path):
    with Progress(terminal=False) as say:
        book = Book(root, say)
        chapter = book.find(name)
        chosen = exercises.of_chapter(chapter, book.claims(chapter))
        found = exercises.run(book, chosen, Workers(root, 1, say, book.fonts), tmp_path)
    assert found and found == {one.label: [] for one in chosen}


def test_every_exercise_that_is_to_be_run_can_be(root):
    with Progress(terminal=False) as say:
        book = Book(root, say)
        for chapter in book.chapters:
            assert exercises.of_chapter(chapter, book.claims(chapter)), chapter.id
