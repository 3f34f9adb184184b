"""Kept results of paper-size runs: what is written, what is refused, what has changed since."""

import json
import re

import pytest
from claims_samples import CHAPTER, book, entry, keep

from ncbook import files
from ncbook.claims import Chapter, ClaimsError, kept, registry

SOURCE = """\
---
ncbook:
  profiles:
    paper: {seeds: 400}
---

# A chapter

Prose.

```{code-cell} ipython3
print(seeds)
```
"""
VALUES = {"a.number": [2.0, 2.02, 2.05], "a.large": float("inf")}


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = book(
        tmp_path / "book",
        a_paper=[
            entry(),
            entry(id="a.large", profile="paper"),
            entry(id="a.other", chapter="a-paper/02-next"),
        ],
    )  # fmt: skip
    (root / "notebooks" / f"{CHAPTER}.md").write_text(SOURCE)
    monkeypatch.setenv("NCBOOK_ROOT", str(root))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "out"))
    return root


def read(root):
    claims = {id: one for id, one in registry(root).items() if one.chapter == CHAPTER}
    return kept.read(root, CHAPTER, claims)


def test_what_is_kept_is_read_as_it_was_written(root):
    assert read(root) is None
    path = keep(root, VALUES)
    assert path == root / "results" / "a-paper" / "01-first.json"
    assert [p.name for p in path.parent.iterdir()] == ["01-first.json"]
    found = read(root)
    one = found.measured["a.number"]
    assert (one.summary.n, one.summary.min, one.summary.median, one.summary.max) == (
        3,
        2,
        2.02,
        2.05,
    )
    assert (one.parameters, one.provenance) == ({"N": 9}, {"device": "cuda"})
    assert found.summary("a.large").max == float("inf")
    assert found.summary("a.other") is None
    text = path.read_text()
    kept.write(root, found)
    assert path.read_text() == text
    # The verdict is none of it: it follows from the claims as they are registered.
    assert not re.search("holds|fails|expect|toleranc", text)


DAMAGE = [
    ({"format": 2}, "its format is 2, expected 1"),
    (
        {"chapter": "a-paper/02-next"},
        "its chapter is 'a-paper/02-next', expected 'a-paper/01-first'",
    ),
    ({"extra": 1}, "expected format, chapter, made"),
    ({"made": 3}, "its made is 3"),
    ({"seconds": True}, "its seconds is True"),
    ({"machine": "fast"}, "its machine is 'fast'"),
    ({"code": None}, "its code is None"),
    ({"claims": {}}, "it has no measurement"),
    ({"claims": [3]}, "it has no measurement"),
    ({"claims": {"a.number": 3}}, "the measurement of a.number: it is 3"),
]
MEASURED = [
    ({"n": 0}, "the measurement of a.number: n is 0"),
    ({"median": 7.0}, "does not lie between"),
    ({"max": "many"}, "'many' is no number"),
    ({"verdict": "holds"}, "expected the fields n, min"),
    ({"provenance": 3}, "its provenance is 3"),
]


def refused(root, table, said):
    path = kept.path(root, CHAPTER)
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    with pytest.raises(ClaimsError, match=re.escape(said)) as error:
        read(root)
    assert str(error.value).startswith(f"{path} holds no kept results of {CHAPTER}: ")
    assert f"python -m ncbook keep {CHAPTER}" in str(error.value)
    # The chapter itself refuses it too; its paper-size run, which mends it, does not read it.
    with pytest.raises(ClaimsError, match="holds no kept results"):
        Chapter(CHAPTER)
    Chapter(CHAPTER, profile="paper")


@pytest.mark.parametrize(("change", "said"), DAMAGE)
def test_a_malformed_file_is_named(root, change, said):
    refused(root, json.loads(keep(root, VALUES).read_text()) | change, said)


@pytest.mark.parametrize(("change", "said"), MEASURED)
def test_a_malformed_measurement_is_named(root, change, said):
    table = json.loads(keep(root, VALUES).read_text())
    table["claims"]["a.number"] |= change
    refused(root, table, said)


def test_a_truncated_file_is_named(root):
    text = keep(root, VALUES).read_text()
    for part in (text[: len(text) // 2], text[:1], ""):
        refused(root, part, "line 1" if len(part) < 2 else "line ")
    for part in ("[]", "null"):
        refused(root, part, "it holds no JSON object")
    kept.path(root, CHAPTER).write_bytes(b"\xff")
    with pytest.raises(ClaimsError, match=r"01-first\.json holds no kept results"):
        read(root)


@pytest.mark.parametrize("id", ["a.numbr", "a.other", ""])
def test_a_measurement_of_an_unknown_claim_is_named(root, id):
    table = json.loads(keep(root, VALUES).read_text())
    table["claims"][id] = table["claims"].pop("a.number")
    refused(root, table, f"it has a measurement of {id!r}, and {CHAPTER} has no such claim")


def test_a_change_of_the_code_is_told_and_one_of_the_prose_is_not(root):
    source = root / "notebooks" / f"{CHAPTER}.md"
    real = files.digest(kept._PACKAGE / "claims" / "page.py")
    modules = {"claims/page.py": real, "claims/words.py": real, "gone.py": real}
    keep(root, VALUES, code=kept.code(root, CHAPTER, modules))
    wrong = ("ncbook/claims/words.py", "ncbook/gone.py")
    assert read(root).changed == wrong
    for old, new, told in (
        ("Prose.", "Better prose.", ()),
        ("# A chapter", "# Chapter", ()),
        ("print(seeds)", "print(seeds + 1)", (f"notebooks/{CHAPTER}.md",)),
        ("seeds: 400", "seeds: 40", (f"notebooks/{CHAPTER}.md",)),
    ):
        source.write_text(SOURCE.replace(old, new))
        assert read(root).changed == told + wrong, old


@pytest.fixture
def shown(monkeypatch):
    def show(chapter):
        bundles = []
        monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append(bundle))
        chapter.show()
        return bundles[0]

    return show


def test_a_chapter_shows_what_is_kept_beside_what_it_measures(root, shown):
    keep(root, {"a.number": [2.02, 2.03], "a.large": 2.0})
    chapter = Chapter(CHAPTER)
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    assert (
        "✓ holds: a.number (Figure 1; the paper says it; number)\n"
        "  The value is $2$.\n"
        "  expected 2 ± 0.05; measured 2.00\n"
        "  at paper size, holds: 2.02 (median of 2 values, 2.02 to 2.03)\n"
        "✓ holds: a.large"
    ) in page["text/plain"]
    assert page["text/plain"].endswith("The code that it ran has not changed since.")
    assert page["text/html"].count('<span class="kept">') == 2
    assert page["text/html"].count('<p class="run">The paper-size results are kept ones') == 1
    assert "nothing" not in page["text/html"]


def test_a_chapter_shows_a_kept_result_that_fails(root, shown):
    keep(root, {"a.number": 2.1, "a.large": 2.1})
    chapter = Chapter(CHAPTER)
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    assert "✗ fails: a.number" in page["text/plain"]
    assert "at paper size, fails: 2.10" in page["text/plain"]
    assert page["text/html"].count('id="claim-a-') == 2
    assert len(re.findall('id="claim-a-.*" data-verdict="fails"', page["text/html"])) == 2


def test_a_paper_size_run_does_not_show_an_earlier_one(root, shown):
    keep(root, {"a.number": 2.1})
    chapter = Chapter(CHAPTER, profile="paper")
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    assert "✓ holds: a.number" in page["text/plain"]
    assert "paper size" not in page["text/plain"] + page["text/html"].partition("</style>")[2]
