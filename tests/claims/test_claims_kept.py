"""Kept results of paper-size runs: what is written, what is refused, what makes them stale."""

import json
import re

import pandas as pd
import pytest
import torch
from claims_samples import CHAPTER, book, entry, keep

from ncbook.claims import Chapter, ClaimsError, kept, ledger, registry
from ncbook.claims.measured import summarise

SOURCE = """\
---
ncbook:
  profiles:
    paper: {seeds: 400}
---

# A chapter

Prose.

```{code-cell} ipython3
:tags: [parameters]
seeds = 3  # runs
```

More prose.

```{code-cell} ipython3
from scratch.figures import plot
from scratch.metrics import frames

frames.spread(seeds)
```
"""
FRAMES = '''\
"""How far."""

from scratch.theory import constants


def spread(n):
    return 3 * n
'''
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
    package = root / "scratch"
    for name, text in {
        "__init__.py": "",
        "theory/__init__.py": "",
        "theory/constants.py": "C = 3\n",
        "metrics/__init__.py": "",
        "metrics/frames.py": FRAMES,
        "metrics/other.py": "D = 4\n",
        "figures/__init__.py": "",
        "figures/plot.py": "SIZE = 4\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(kept, "_PACKAGE", package)
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
    assert found.measured["a.number"] == summarise(VALUES["a.number"], {"N": 9}, {"device": "cuda"})
    assert found.measured["a.large"].not_finite == 1
    text = path.read_text()
    kept.write(root, found)
    assert path.read_text() == text
    # The verdict is none of it: it follows from the claims as they are registered.
    assert not re.search("holds|fails|expect|toleranc", text)


def test_a_table_that_a_run_leaves_is_given_back(root, tmp_path):
    # Its own run has no kept one, in either profile.
    run = Chapter(CHAPTER, profile="paper")
    table = pd.DataFrame({"t": [0, 1], "loss": [0.5, 1 / 3]})
    run.keep("course", table)
    left = tmp_path / "out" / "kept" / "course.csv"
    assert left.read_text() == "t,loss\n0,0.5\n1,0.333333\n"
    assert run.kept_table("course") is None is Chapter(CHAPTER).kept_table("course")
    # Kept, the quick run has it, to six digits; stale, it has it still.
    path = keep(root, VALUES, tables={"course": left.read_text().splitlines()})
    text = path.read_text()
    for source in (SOURCE, SOURCE.replace("spread(seeds)", "spread(seeds + 1)")):
        (root / "notebooks" / f"{CHAPTER}.md").write_text(source)
        assert read(root).stale is (source != SOURCE)
        assert Chapter(CHAPTER).kept_table("course") == {"t": [0, 1], "loss": [0.5, 0.333333]}
        assert Chapter(CHAPTER).kept_table("other") is None
        assert Chapter(CHAPTER, profile="paper").kept_table("course") is None
    kept.write(root, read(root))
    assert path.read_text() == text
    # A mapping of tensors is a table too.
    run.keep("course", {"t": torch.tensor([0, 1]), "loss": torch.tensor([0.5, 1 / 3])})
    assert left.read_text() == "t,loss\n0,0.5\n1,0.333333\n"


NO_TABLES = [
    ("course", {}, "0 rows below the names"),
    ("course", {"t": []}, "0 rows below the names ['t']"),
    ("course", {"t": [1], "loss": [1, 2]}, "shorter"),
    ("course", {"t,loss": [1]}, "1 rows below the names ['t', 'loss']"),
    ("course", {"t": ["late"]}, "could not convert"),
    ("course", {"t": range(kept.ROWS + 1)}, f"expected 1 to {kept.ROWS} rows"),
    ("../course", {"t": [1]}, "its name has other signs"),
]


@pytest.mark.parametrize(("name", "table", "said"), NO_TABLES)
def test_what_is_no_small_table_of_numbers_is_not_left(root, tmp_path, name, table, said):
    with pytest.raises(ClaimsError) as error:
        Chapter(CHAPTER).keep(name, table)
    assert str(error.value).startswith(f"{CHAPTER} cannot keep the table {name!r}: ")
    assert said in str(error.value).replace("longer", "shorter")
    assert not (tmp_path / "out").exists()


CONFIRMED = {"commit": "1" * 7, "made": "2", "why": "3", "code": {}}
DAMAGE = [
    ({"format": 1}, "'format' is 1; expected 2"),
    ({"chapter": "a-paper/02-next"}, "'a-paper/02-next'; expected 'a-paper/01-first'"),
    ({"extra": 1}, "'extra' is 1; expected no such field"),
    ({"changed": []}, "'changed' is []; expected null"),
    ({"measured": {}}, "'measured' is {}; expected no such field"),
    ({"made": 3}, "'made' is 3; expected a time"),
    ({"made": ""}, "'made' is ''; expected a time"),
    ({"seconds": True}, "'seconds' is true; expected how long the run took"),
    ({"machine": "fast"}, "'machine' is 'fast'; expected a JSON object of texts"),
    ({"code": None}, "'code' is null; expected a JSON object of texts"),
    ({"commit": ""}, "'commit' is ''; expected the hash of a clean commit"),
    ({"commit": "0123456 and uncommitted changes"}, "expected the hash of a clean commit"),
    ({"confirmed": {"commit": "1" * 7}}, "'confirmed.made' is missing; expected a time"),
    ({"confirmed": CONFIRMED | {"commit": ""}}, "'confirmed.commit' is ''; expected the hash"),
    ({"confirmed": CONFIRMED | {"why": ""}}, "'confirmed.why' is ''; expected a sentence"),
    ({"confirmed": CONFIRMED | {"code": 4}}, "'confirmed.code' is 4; expected a JSON object"),
    ({"claims": {}}, "'claims' is {}; expected at least one measurement"),
    ({"claims": [3]}, "'claims' is [3]; expected at least one measurement"),
    ({"claims": {"a.number": 3}}, "'claims.a.number' is 3; expected an object"),
    ({"tables": 3}, "'tables' is 3; expected null, or lists of lines of CSV"),
    ({"tables": {"course": ["t,loss", "0,1", "2"]}}, "2 rows below the names ['t', 'loss']"),
]
MEASURED = [
    ({"n": 0}, "'claims.a.number.n' is 0; expected a count of at least 1"),
    ({"median": 7.0}, "claims.a.number: field 'median' is 7.0; expected a number from 2.0 to 2.05"),
    ({"max": "many"}, "'claims.a.number.max' is 'many'; expected a finite number"),
    ({"verdict": "holds"}, "'claims.a.number.verdict' is 'holds'; expected no such field"),
    ({"provenance": 3}, "'claims.a.number.provenance' is 3; expected a JSON object"),
]


def refused(root, table, said):
    path = kept.path(root, CHAPTER)
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    with pytest.raises(ClaimsError) as error:
        read(root)
    assert said in str(error.value).replace('"', "'")
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
        refused(root, part, "; expected an object")
    kept.path(root, CHAPTER).write_bytes(b"\xff")
    with pytest.raises(ClaimsError, match=r"01-first\.json holds no kept results"):
        read(root)


@pytest.mark.parametrize("id", ["a.numbr", "a.other", ""])
def test_a_measurement_of_an_unknown_claim_is_named(root, id):
    table = json.loads(keep(root, VALUES).read_text())
    table["claims"][id] = table["claims"].pop("a.number")
    refused(root, table, f"it has a measurement of {id!r}, and {CHAPTER} has no such claim")


def test_a_file_of_the_earlier_format_is_refused(root):
    table = json.loads(keep(root, VALUES).read_text())
    del table["confirmed"]
    refused(root, table | {"format": 1, "changed": []}, "field 'format' is 1; expected 2")


def test_the_code_that_measures_is_known_by_its_fingerprint(root):
    found = kept.code(root, CHAPTER)
    # Neither what draws nor what is not imported; but the packages above, which importing runs.
    assert list(found) == [
        f"notebooks/{CHAPTER}.md",
        "scratch/metrics/__init__.py",
        "scratch/metrics/frames.py",
        "scratch/theory/__init__.py",
        "scratch/theory/constants.py",
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", one) for one in found.values())


def edit(root, file, old, new):
    path = root / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


MD = f"notebooks/{CHAPTER}.md"
FRAME = "scratch/metrics/frames.py"


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (MD, "Prose.", "Better prose.", False),
        (MD, "# A chapter", "# Chapter", False),
        (MD, "  # runs", "  # how many runs", False),
        (MD, ":tags: [parameters]", ":tags: [parameters, hide-input]", False),
        (MD, "seeds = 3", "seeds = 4", True),
        (MD, "spread(seeds)", "spread(seeds + 1)", True),
        (FRAME, "How far.", "How far it is.", False),
        (FRAME, "    return", "    # Thrice.\n\n    return", False),
        (FRAME, "3 * n", "4 * n", True),
        ("scratch/theory/constants.py", "3", "4", True),
        ("scratch/theory/__init__.py", "", "C = 1", True),
        ("scratch/metrics/other.py", "4", "5", False),
        ("scratch/figures/plot.py", "4", "5", False),
    ],
)
def test_a_change_of_what_measures_makes_stale_and_no_other(root, file, old, new, told):
    keep(root, VALUES)
    assert not read(root).stale
    edit(root, file, old, new)
    found = read(root)
    assert (found.stale, found.changed) == (told, (file,) if told else ())
    assert ("stale" in str(found)) == told
    # Stale or not, what was measured can be seen.
    assert found.measured["a.number"].median == 2.02


def test_a_measuring_module_that_is_gone_makes_stale(root):
    keep(root, VALUES)
    (root / FRAME).unlink()
    assert read(root).changed == (FRAME,)


def test_a_stale_result_can_be_confirmed_until_the_next_change(root):
    keep(root, VALUES)
    edit(root, FRAME, "3 * n", "n * 3")
    # What the chapter imports from now on counts too.
    edit(root, MD, "import frames\n", "import frames, other\n")
    why = "Factors were put in another order,\n\nand a name was imported"
    confirmed = kept.confirm(root, read(root), "abcdef0", "2026-02-03T00:00:00Z", why)
    assert not confirmed.stale
    kept.write(root, confirmed)
    found = read(root)
    assert repr(found) == repr(confirmed)
    assert not found.stale
    assert str(found).endswith(
        "commit 0123456789. Confirmed on 2026-02-03 for the code of commit abcdef0: Factors were "
        "put in another order, and a name was imported."
    )
    for file, old, new in ((FRAME, "n * 3", "3 * n"), ("scratch/metrics/other.py", "4", "5")):
        edit(root, file, old, new)
        assert read(root).changed == (file,)
        edit(root, file, new, old)
        assert not read(root).stale


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("commit", ("", "2026-02-03", "So.")),
        ("commit", ("abcdef0 and uncommitted changes", "2026-02-03", "So.")),
        ("why", ("abcdef0", "2026-02-03", " \n")),
    ],
)
def test_a_confirmation_says_for_what_and_why(root, name, values):
    keep(root, VALUES)
    with pytest.raises(
        ClaimsError, match=f"{CHAPTER} cannot be confirmed: field 'confirmed.{name}' is \""
    ):
        kept.confirm(root, read(root), *values)


@pytest.mark.parametrize("commit", ["", "0123456 and uncommitted changes", None])
def test_nothing_is_kept_but_of_a_clean_commit(root, commit):
    with pytest.raises(ValueError, match="field 'commit' is "):
        keep(root, VALUES, commit=commit)
    assert not kept.path(root, CHAPTER).exists()


@pytest.fixture
def shown(monkeypatch):
    def show(chapter):
        bundles = []
        monkeypatch.setattr("IPython.display.display", lambda found, **_: bundles.append(found))
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
    assert page["text/plain"].endswith("seeds = 400; commit 0123456789.")
    assert page["text/html"].count('<span class="kept">') == 2
    assert page["text/html"].count('<p class="run">The paper-size results are kept ones') == 1
    assert "nothing" not in page["text/html"]


def test_a_chapter_has_what_is_kept_for_a_claim(root, shown):
    assert Chapter(CHAPTER).at_paper_size("a.number") is None
    keep(root, {"a.number": [2.02, 2.03], "a.large": 2.0})
    found = Chapter(CHAPTER).at_paper_size("a.number")
    assert (found.min, found.max) == (2.02, 2.03)
    own = Chapter(CHAPTER, profile="paper")
    assert own.at_paper_size("a.number") is None
    own.measure("a.number", 2.0)
    assert own.at_paper_size("a.number").median == 2


def test_a_chapter_shows_a_kept_result_that_fails(root, shown):
    keep(root, {"a.number": 2.1, "a.large": 2.1})
    chapter = Chapter(CHAPTER)
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    assert "✗ fails: a.number" in page["text/plain"]
    assert "at paper size, fails: 2.10" in page["text/plain"]
    assert page["text/html"].count('id="claim-a-') == 2
    assert len(re.findall('id="claim-a-.*" data-verdict="fails"', page["text/html"])) == 2


def test_a_stale_result_is_shown_and_decides_nothing(root, shown, tmp_path):
    keep(root, {"a.number": 2.1, "a.large": 2.0})
    edit(root, FRAME, "3 * n", "4 * n")
    chapter = Chapter(CHAPTER)
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    # What the quick run measures holds, though the kept value would fail; the paper-size claim
    # is not measured, though the kept value would hold.
    assert "✓ holds: a.number" in page["text/plain"]
    assert "at paper size, stale, not judged: 2.10" in page["text/plain"]
    assert "○ not measured: a.large" in page["text/plain"]
    assert "ncbook confirm a-paper/01-first" in page["text/plain"]
    at = '<span class="about">at paper size, stale, not judged:</span> <span class="value">'
    assert f"{at}2.10" in page["text/html"] and f"{at}2.00" in page["text/html"]
    assert page["text/html"].count(f"has changed since: {FRAME}.</p>") == 1
    claims = registry(root)
    folders = {CHAPTER: (tmp_path / "out", "k"), "a-paper/02-next": (tmp_path / "none", "k")}
    rows = ledger.collect(claims, folders, "quick", {CHAPTER: read(root)})
    assert {row.claim.id for row in ledger.broken(rows)} == {"a.large", "a.other"}
    assert ledger.to_markdown(rows).count(at) == 2
    table = json.loads(ledger.to_json(rows))
    assert table["kept"][CHAPTER]["changed"] == [FRAME]
    again = ledger.from_json(ledger.to_json(rows), claims)
    assert [row.verdict for row in again] == [row.verdict for row in rows]


def test_a_paper_size_run_does_not_show_an_earlier_one(root, shown):
    keep(root, {"a.number": 2.1})
    chapter = Chapter(CHAPTER, profile="paper")
    chapter.measure("a.number", 2.0)
    page = shown(chapter)
    assert "✓ holds: a.number" in page["text/plain"]
    assert "paper size" not in page["text/plain"] + page["text/html"].partition("</style>")[2]
