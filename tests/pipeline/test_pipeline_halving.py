"""Halved steps: what is written down, and how it is judged."""

import json
import math

import pytest
from claims_samples import claim

from ncbook.files import BookError
from ncbook.pipeline import halving


@pytest.mark.parametrize(
    ("changes", "pair", "share"),
    [
        ({"expect": 2.0, "tolerance": 0.1}, (2.0, 2.05), 0.5),
        ({"expect": 2.0, "tolerance": 0.1, "relative": True}, (2.0, 1.9), 0.5),
        ({"expect": 2.0, "tolerance": 0.1}, (2.05, 2.05), 0.0),
        ({"expect": 2.0, "tolerance": 0.0}, (2.0, 2.0), 0.0),
        ({"expect": 2.0, "tolerance": 0.0}, (2.0, 2.1), math.inf),
        ({"expect": 2.0, "tolerance": 0.1}, (2.0, math.nan), math.inf),
        # Of a bound: how much nearer to breaking it, or farther from it.
        ({"kind": "bound", "side": "max", "expect": 1.0, "tolerance": 0.0}, (0.6, 0.7), 0.25),
        ({"kind": "bound", "side": "min", "expect": 1.0, "tolerance": 0.5}, (1.5, 1.25), 0.25),
        ({"kind": "bound", "side": "max", "expect": 1.0, "tolerance": 0.0}, (1.0, 1.1), math.inf),
    ],
)
def test_how_far_a_value_moves_is_a_share_of_what_the_claim_allows(changes, pair, share):
    assert halving.share(claim(**changes), *pair) == pytest.approx(share)


def test_a_table_that_is_none_is_refused(tmp_path):
    (tmp_path / "results").mkdir()
    assert halving.read(tmp_path) == {}
    for text in ("[", '{"a/01-b": {}}', '{"a/01-b": {"claims": {"a": [1]}}}', "[1]"):
        (tmp_path / halving.FILE).write_text(text)
        with pytest.raises(BookError, match=r"no table of halved steps .*ncbook halve"):
            halving.read(tmp_path)


def test_entries_are_written_beside_those_that_are_there(tmp_path, monkeypatch):
    chapters = [type("Chapter", (), {"id": id}) for id in ("a/01-b", "a/02-c")]
    book = type("Book", (), {"root": tmp_path, "chapters": chapters})
    (tmp_path / "results").mkdir()
    gone = {"commit": "0", "claims": {"z": [1.0, 1.0]}}
    (tmp_path / halving.FILE).write_text(json.dumps({"a/01-b": gone, "a/09-gone": gone}))
    halving.write(book, {"a/02-c": {"commit": "1", "claims": {"y": (2.0, 2.5)}}})
    assert halving.read(tmp_path) == {"z": (1.0, 1.0), "y": (2.0, 2.5)}
    assert "a/09-gone" not in json.loads((tmp_path / halving.FILE).read_text())
