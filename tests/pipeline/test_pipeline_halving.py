"""Halved steps: what is written down, how it is judged, and that it is so for the whole book."""

import json
import math

import pytest
from claims_samples import claim

from ncbook import files
from ncbook.claims import check, ledger, schema
from ncbook.claims.measured import summarise
from ncbook.files import BookError
from ncbook.pipeline import halving
from ncbook.pipeline.book import Book
from ncbook.progress import Progress

ROOT = files.root()


@pytest.fixture(scope="module")
def claims():
    """The claims of the book."""
    return schema.registry(ROOT)


@pytest.fixture(scope="module")
def rows(claims):
    """The ledger of the last build."""
    return ledger.from_json((ROOT / "_build" / "ledger.json").read_text(encoding="utf-8"), claims)


@pytest.mark.parametrize(
    ("changes", "value", "moved", "share"),
    [
        ({"expect": 2.0, "tolerance": 0.1}, 2.0, 0.05, 0.5),
        ({"expect": 2.0, "tolerance": 0.1, "relative": True}, 2.0, 0.1, 0.5),
        ({"expect": 2.0, "tolerance": 0.1}, 2.05, 0.0, 0.0),
        ({"expect": 2.0, "tolerance": 0.0}, 2.0, 0.0, 0.0),
        ({"expect": 2.0, "tolerance": 0.0}, 2.0, 0.1, math.inf),
        ({"expect": 2.0, "tolerance": 0.1}, 2.0, math.inf, math.inf),
        # Of a bound: how much nearer to it, or farther from it, on either side.
        ({"kind": "bound", "side": "max", "expect": 1.0, "tolerance": 0.0}, 0.6, 0.1, 0.25),
        ({"kind": "bound", "side": "min", "expect": 1.0, "tolerance": 0.5}, 1.5, 0.25, 0.25),
        ({"kind": "bound", "side": "min", "expect": 1.0, "tolerance": 0.0}, 0.2, 0.4, 0.5),
        ({"kind": "bound", "side": "max", "expect": 1.0, "tolerance": 0.0}, 1.0, 0.1, math.inf),
    ],
)
def test_how_far_a_value_moves_is_a_share_of_what_the_claim_allows(changes, value, moved, share):
    assert halving.share(claim(**changes), value, moved) == pytest.approx(share)


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"statistic": "median"}, 0.01),
        # The worst of the first is at 2.3, that of the second at 1.75; neither end moved so far.
        ({"statistic": "worst"}, 0.1),
        ({"statistic": "worst", "kind": "bound", "side": "max"}, 0.1),
        ({"statistic": "worst", "kind": "bound", "side": "min"}, 0.05),
    ],
)
def test_of_the_worst_value_the_end_that_is_judged_is_followed(changes, moved):
    one, halved = summarise([1.8, 2.0, 2.3]), summarise([1.75, 2.01, 2.2])
    assert halving.moved(claim(**changes), one, halved) == pytest.approx(moved)
    assert halving.moved(claim(**changes), one, summarise([1.0, math.nan])) == math.inf


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "results").mkdir()
    assert halving.read(tmp_path) == {}
    for text in ("[", '{"a/01-b": {}}', '{"a/01-b": {"claims": {"a": [1, 2]}}}', "[1]"):
        (tmp_path / halving.FILE).write_text(text)
        with pytest.raises(BookError, match=r"no table of halved steps .*ncbook halve"):
            halving.read(tmp_path)


def test_no_claim_of_the_book_depends_on_a_solver_s_step(rows, claims):
    shares = halving.shares(ROOT, claims)
    measured = [row.claim.id for row in rows if row.record is not None]
    assert [id for id in measured if id not in shares] == [], "make it anew: ncbook halve"
    too_far = {id: share for id, share in shares.items() if not share <= halving.MOST}
    assert too_far == {}


def test_the_table_is_of_the_book_as_it_is(rows):
    """A claim that measures something else by now was not checked."""
    table = halving.read(ROOT)
    stale = []
    for row in rows:
        if row.record is None or row.claim.id not in table:
            continue
        value, then = check.value(row.claim, row.record), table[row.claim.id][0]
        share = halving.share(row.claim, value, abs(value - then))
        if not share <= 0.05 and not math.isclose(value, then):
            stale.append((row.claim.id, value, then))
    assert stale == [], "make it anew: ncbook halve"


def test_a_chapter_run_anew_with_halved_steps_moves_as_the_table_says(claims):
    """The quick part of the command: one chapter of many methods' steps."""
    with Progress(terminal=False) as say:
        found = halving.halve(Book(ROOT, say), ["mixon-parshall-pi/03-on-the-subspace"], jobs=1)
    (chapter,) = found.values()
    table = halving.read(ROOT)
    moved = {}
    for id, (value, halved, by) in chapter["claims"].items():
        assert halving.share(claims[id], value, by) <= halving.MOST
        assert halved == pytest.approx(table[id][1], rel=1e-6, abs=1e-9)
        moved[id] = halved != value
    assert any(moved.values()), "halving reaches the methods"


def test_entries_are_written_beside_those_that_are_there(tmp_path, monkeypatch):
    chapters = [type("Chapter", (), {"id": id}) for id in ("a/01-b", "a/02-c")]
    book = type("Book", (), {"root": tmp_path, "chapters": chapters})
    (tmp_path / "results").mkdir()
    gone = {"commit": "0", "claims": {"z": [1.0, 1.0, 0.0]}}
    (tmp_path / halving.FILE).write_text(json.dumps({"a/01-b": gone, "a/09-gone": gone}))
    halving.write(book, {"a/02-c": {"commit": "1", "claims": {"y": (2.0, 2.5, 0.5)}}})
    assert halving.read(tmp_path) == {"z": (1.0, 1.0, 0.0), "y": (2.0, 2.5, 0.5)}
    assert "a/09-gone" not in json.loads((tmp_path / halving.FILE).read_text())
