"""What a chapter writes down and shows."""

import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import torch
from claims_samples import CHAPTER, book, entry, keep, write

from ncbook import files
from ncbook.claims import Chapter, ClaimsError, kept, ledger, record, registry
from ncbook.claims.measured import summarise
from ncbook.figures import Picture, figure, show, style

PROVENANCE = {"device": "cpu", "dtype": "float64", "torch": "2.13.0"}
ENTRIES = [
    entry(),
    entry(
        drop=("expect",), id="a.identity", kind="identity", statistic="worst",
        tolerance={"abs": 1e-12, "reason": "Rounding of $x < y$."},
    ),
    entry(id="a.gap", discrepancy="It is not; [see why](#why) or [there](a-paper/02-next#x)."),
    entry(id="a.large", profile="paper"),
    entry(id="a.other", chapter="a-paper/02-next"),
    entry(id="a.later", planned="It needs a [network](#why)."),
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    root = book(tmp_path / "book", a_paper=ENTRIES)
    monkeypatch.setenv("NCBOOK_ROOT", str(root))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "out"))
    return tmp_path / "out" / "claims"


@pytest.fixture
def chapter(place):
    return Chapter(CHAPTER, profile="quick", provenance=PROVENANCE)


@pytest.fixture
def shown(monkeypatch):
    """Return a function that shows a chapter and returns its bundle."""

    def show(chapter):
        bundles = []
        monkeypatch.setattr(
            "IPython.display.display", lambda bundle, **how: bundles.append((bundle, how))
        )
        chapter.show()
        [(bundle, how)] = bundles
        assert how == {"metadata": {"ncbook": {"claims": chapter.name}}, "raw": True}
        assert set(bundle) == {"text/html", "text/plain"}
        return bundle

    return show


def test_a_measurement_is_written_down(chapter, place):
    values = torch.tensor([[1.99, 2.01], [2.0, 2.03]], dtype=torch.float64, requires_grad=True)
    assert chapter.measure("a.number", values, parameters={"C": 3, "eps": (0.1, 1e-5)}) is None
    assert json.loads((place / "a.number.json").read_text()) == {
        "id": "a.number",
        "chapter": CHAPTER,
        "profile": "quick",
        "n": 4,
        "not_finite": 0,
        "min": 1.99,
        "median": 2.005,
        "max": 2.03,
        "parameters": {"C": 3, "eps": [0.1, 1e-5]},
        "provenance": PROVENANCE,
        "control": None,
    }
    assert [path.name for path in place.iterdir()] == ["a.number.json"]


def test_a_record_is_read_as_it_was_written(chapter, place):
    chapter.measure("a.identity", [1e-15, 0.1 + 0.2])
    one = chapter.claims["a.identity"]
    found = record.read(place / "a.identity.json", one, "quick")
    assert found == summarise([1e-15, 0.1 + 0.2], {}, PROVENANCE)


def test_a_control_is_written_down_and_due_where_claims_toml_names_one(tmp_path, monkeypatch):
    rate = {"what": "Another exponent", "expect": 1.0}
    entries = [entry(), entry(id="b", control={"what": "Half"}), entry(id="c", control=rate)]
    monkeypatch.chdir(book(tmp_path / "book", a_paper=entries))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "out"))
    chapter = record.Chapter(CHAPTER, "quick", PROVENANCE)
    chapter.measure("b", 2.0, control=torch.tensor([1.0, 3.0]))
    found = record.read(tmp_path / "out/claims/b.json", chapter.claims["b"], "quick")
    assert found == summarise(2.0, {}, PROVENANCE, [1.0, 3.0])
    assert (found.control.min, found.control.max, found.control.n) == (1.0, 3.0, 2)
    chapter.measure("c", 2.0)
    for id, control, said in (
        ("b", None, "measures no control; expected one"),
        ("a.number", 1.0, "measures a control; expected none"),
        ("c", 1.0, "measures a control; expected none"),
    ):
        with pytest.raises(ClaimsError, match=f"claim '{id}': {CHAPTER} {said}"):
            chapter.measure(id, 2.0, control=control)
    with pytest.raises(ClaimsError, match="no value was measured"):
        chapter.measure("b", 2.0, control=[])


def test_a_second_measurement_replaces_the_first(chapter, place):
    chapter.measure("a.number", 1.0)
    chapter.measure("a.number", 2.0)
    assert json.loads((place / "a.number.json").read_text())["median"] == 2.0


def test_what_is_not_finite_is_counted(chapter, place):
    chapter.measure("a.number", [2.0, math.nan])
    chapter.measure("a.gap", [-math.inf])
    found = json.loads((place / "a.number.json").read_text())
    assert [found[name] for name in ("n", "not_finite", "min", "median")] == [2, 1, 2.0, 2.0]
    found = json.loads((place / "a.gap.json").read_text())
    assert [found[name] for name in ("n", "not_finite", "min", "max")] == [1, 1, "nan", "nan"]
    again = record.read(place / "a.gap.json", chapter.claims["a.gap"], "quick")
    assert math.isnan(again.median)


@pytest.mark.parametrize("id", ["a.numbr", "a.other", "../a.number", ""])
def test_an_id_of_no_claim_of_this_chapter_is_refused(chapter, place, id):
    with pytest.raises(ClaimsError, match=r"its claims are a\.number, a\.identity, a\.gap") as e:
        chapter.measure(id, 2.0)
    assert repr(id) in str(e.value)
    assert not place.exists()


@pytest.mark.parametrize("values", [[], "2", None, True, 10**400])
def test_what_cannot_be_judged_is_refused(chapter, place, values):
    with pytest.raises(ClaimsError, match=r"claim 'a\.number': "):
        chapter.measure("a.number", values)
    assert not place.exists()


@pytest.mark.parametrize("parameters", [{"x": math.nan}, {"x": torch.ones(2)}, {(1, 2): 3}])
def test_parameters_are_plain_values(chapter, place, parameters):
    with pytest.raises(ClaimsError, match=r"parameters cannot be written as JSON"):
        chapter.measure("a.number", 2.0, parameters=parameters)
    assert not place.exists()


def test_an_unwritable_folder_is_named(chapter, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot write .*a\.number\.json"):
        chapter.measure("a.number", 2.0)


def test_a_chapter_must_have_claims_and_a_profile(place):
    with pytest.raises(ClaimsError, match="has claims of a-paper/01-first, a-paper/02-next"):
        Chapter("a-paper/01-frist")
    with pytest.raises(ClaimsError, match="known profiles are quick, paper"):
        Chapter(CHAPTER, profile="huge")
    with pytest.raises(ClaimsError, match=r"b-paper/claims\.toml: cannot be read"):
        Chapter("b-paper/01-first")
    with pytest.raises(ClaimsError, match="provenance cannot be written"):
        Chapter(CHAPTER, provenance={"device": torch.device("cpu")})


def test_the_text_is_stable(chapter, shown):
    chapter.measure("a.number", [2.0, 2.0049, 2.01])
    chapter.measure("a.identity", [1e-16, 3e-15])
    chapter.measure("a.gap", 3.0)
    assert shown(chapter)["text/plain"] == (
        "Claims of a-paper/01-first, quick profile\n"
        "✓ holds: a.number (Figure 1; the paper says it; number)\n"
        "  The value is $2$.\n"
        "  expected 2 ± 0.05; measured 2.00 (median of 3 values, 2.00 to 2.01)\n"
        "✓ holds: a.identity (Figure 1; the paper says it; identity)\n"
        "  The value is $2$.\n"
        "  expected 0 ± 1e-12; measured ≤ 1e-14 (worst of 2 values, all ≤ 1e-14)\n"
        "△ known discrepancy: a.gap (Figure 1; the paper says it; number)\n"
        "  The value is $2$.\n"
        "  expected 2 ± 0.05; measured 3.00\n"
        "  known discrepancy: It is not; see why or there.\n"
        "○ not measured: a.large (Figure 1; the paper says it; number)\n"
        "  The value is $2$.\n"
        "  expected 2 ± 0.05; measured nothing\n"
        "  No paper-size result of it is kept. Make one with python -m ncbook build --profile "
        "paper --chapter a-paper/01-first, then python -m ncbook keep a-paper/01-first; or "
        "register the claim as planned.\n"
        "◇ planned: a.later (Figure 1; the paper says it; number)\n"
        "  The value is $2$.\n"
        "  expected 2 ± 0.05; measured nothing\n"
        "  planned: It needs a network."
    )


def test_the_page_does_not_depend_on_machine_or_rounding(place, shown):
    pages = []
    for provenance, tiny in ((PROVENANCE, 2e-16), ({"device": "cuda"}, 4e-15)):
        one = Chapter(CHAPTER, provenance=provenance)
        one.measure("a.number", 2 + tiny)
        one.measure("a.identity", [tiny, -tiny])
        pages.append(shown(one))
    assert pages[0] == pages[1]


class Rows(HTMLParser):
    """The rows of a table: id, roles and text; and that every element is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open, self.roles, self.links = {}, [], [], []
        self.unfolded, self.summaries = {}, 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open.append(tag)
        if "role" in attrs:
            self.roles.append((tag, attrs["role"]))
        if tag == "tr" and "id" in attrs:
            self.rows[attrs["id"]] = self.unfolded[attrs["id"]] = ""
        self.summaries += tag == "summary"
        if tag == "a":
            self.links.append(attrs["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.rows and "tbody" in self.open:
            self.rows[list(self.rows)[-1]] += data
            if "details" not in self.open or "summary" in self.open:
                self.unfolded[list(self.rows)[-1]] += data


def test_the_table_is_accessible_and_whole(chapter, shown):
    chapter.measure("a.number", [2.0, 2.01])
    chapter.measure("a.gap", 3.0)
    page = shown(chapter)["text/html"]
    found = Rows(page)
    assert list(found.rows) == [
        "claim-a-number", "claim-a-identity", "claim-a-gap", "claim-a-large", "claim-a-later",
    ]  # fmt: skip
    # Words and a symbol, not colour alone; what was not measured is said too.
    for row, words in {
        "claim-a-number": ["✓ holds", "2 ± 0.05", "2.00", "median of 2 values", "the paper says"],
        "claim-a-identity": ["○ not measured", "nothing", "Rounding of", "0 ± 10"],
        "claim-a-gap": ["△ known discrepancy", "It is not"],
        "claim-a-large": ["○ not measured", "No paper-size result of it is kept."],
        "claim-a-later": ["◇ planned", "nothing", "Planned: It needs a network."],
    }.items():
        for part in words:
            assert part in found.rows[row], (row, part)
    assert ("table", "table") in found.roles
    assert found.roles.count(("th", "columnheader")) == 4
    assert found.roles.count(("th", "rowheader")) == 5
    assert found.roles.count(("td", "cell")) == 15
    assert found.links == ["#why", "../a-paper/02-next.html#x", "#why"]
    assert "\\(x &lt; y\\)" in page
    assert "$" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    assert "tex2jax_process" in page


def test_a_claim_is_one_row_and_the_rest_is_folded(chapter, shown):
    chapter.measure("a.number", [2.0, 2.01])
    chapter.measure("a.gap", 3.0)
    page = shown(chapter)["text/html"]
    found = Rows(page)
    assert found.summaries == len(found.rows)
    assert " open" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    said = {id: " ".join(text.split()) for id, text in found.unfolded.items()}
    assert said["claim-a-number"] == r"✓ holds The value is \(2\). 2.00 2 ± 0.05"
    # Why a claim does not hold is not folded.
    assert "Known discrepancy: It is not; see why or there." in said["claim-a-gap"]
    assert "Planned: It needs a network." in said["claim-a-later"]
    assert "No paper-size result of it is kept." in said["claim-a-large"]
    assert '<p class="tally">1 of 5 claims hold · △ 1 known discrepancy · ○ 2 not measured' in page


def test_the_row_says_what_the_control_gives(tmp_path, monkeypatch, shown):
    measured = entry(control={"what": "Half of $x$"})
    rival = entry(id="a.rate", control={"what": "The other exponent", "expect": 1.0})
    monkeypatch.setenv("NCBOOK_ROOT", str(book(tmp_path / "held", a_paper=[measured, rival])))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "out"))
    one = Chapter(CHAPTER)
    one.measure("a.number", 2.0, control=[1.0, 1.1])
    one.measure("a.rate", 2.0)
    found = Rows(shown(one)["text/html"]).unfolded
    assert [" ".join(text.split()) for text in found.values()] == [
        rf"✓ holds The value is \(2\). {control}, fails. 2.00 2 ± 0.05"
        for control in (r"Half of \(x\): 1.05", "The other exponent: expected 1 ± 0.05")
    ]


def test_what_opens_a_claim_holds_no_link(tmp_path, monkeypatch, shown):
    one = entry(sentence="It is [two](#two).", control={"what": "As [before](#before)"})
    monkeypatch.setenv("NCBOOK_ROOT", str(book(tmp_path / "linked", a_paper=[one])))
    monkeypatch.setenv("NCBOOK_OUT", str(tmp_path / "out"))
    chapter = Chapter(CHAPTER)
    chapter.measure("a.number", 2.0, control=1.0)
    page = shown(chapter)["text/html"]
    [summary] = re.findall("<summary>.*?</summary>", page, flags=re.S)
    assert "It is two." in summary and "As before: <span" in summary
    assert "<a " not in summary
    # The links stand in what it opens.
    assert Rows(page).links == ["#two", "#before"]


def test_a_planned_claim_must_not_be_measured(chapter, place):
    with pytest.raises(ClaimsError, match="registered as planned, and a-paper/01-first measures"):
        chapter.measure("a.later", 2.0)
    assert not place.exists()


def test_a_failing_claim_is_shown_as_failing(chapter, shown):
    chapter.measure("a.number", 2.1)
    chapter.measure("a.gap", 2.0)
    page = shown(chapter)
    assert "✗ fails: a.number" in page["text/plain"]
    assert "Measured 2.10, expected 2 ± 0.05." in page["text/html"]
    assert "The known discrepancy is gone" in page["text/html"]


def test_the_room_is_light_to_import():
    code = (
        "import sys, ncbook.claims\n"
        "heavy = {'numpy', 'torch', 'pandas', 'IPython', 'matplotlib', 'pydantic', 'jinja2'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_chapters_of_plain_sessions_have_a_folder_each(place, monkeypatch):
    monkeypatch.delenv("NCBOOK_OUT")
    monkeypatch.delenv("NCBOOK_CHAPTER", raising=False)
    monkeypatch.setattr(files, "_running", "")
    monkeypatch.setattr(show, "display", lambda *args, **options: None)
    other = "a-paper/02-next"
    for name, id in ((CHAPTER, "a.number"), (other, "a.other")):
        Chapter(name).measure(id, 2.0)
        table = pd.DataFrame({"chapter": [name]})
        figure("figure", Picture(lambda *_: style.new_figure("wide")[0], table))
    made = Path(os.environ["NCBOOK_ROOT"]) / "_build" / "interactive"
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == {
        f"{CHAPTER}/claims/a.number.json",
        *(f"{CHAPTER}/figures/01-first/figure-{layout}.svg" for layout in style.LAYOUTS),
        f"{CHAPTER}/tables/01-first/figure.csv",
        f"{other}/claims/a.other.json",
        *(f"{other}/figures/02-next/figure-{layout}.svg" for layout in style.LAYOUTS),
        f"{other}/tables/02-next/figure.csv",
    }


def test_the_pipelines_folder_is_for_one_chapter(place, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_running", "")
    Chapter(CHAPTER)
    assert files.output_dir() == tmp_path / "out"
    monkeypatch.setenv("NCBOOK_CHAPTER", "09-another")
    assert files.chapter_name() == "09-another"


DAMAGE = [
    ({"id": "a.other"}, 'field \'id\' is "a.other"; expected "a.number"'),
    ({"chapter": "a-paper/02-next"}, 'expected "a-paper/01-first"'),
    ({"profile": "paper"}, 'field \'profile\' is "paper"; expected "quick"'),
    ({"median": "x"}, "field 'median' is \"x\"; expected a finite number"),
    ({"extra": 1}, "field 'extra' is 1; expected no such field"),
]


@pytest.mark.parametrize(("change", "said"), DAMAGE)
def test_a_damaged_record_is_refused(chapter, place, change, said):
    chapter.measure("a.number", [2.01, 2.02])
    path = place / "a.number.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=re.escape(said)):
        record.read(path, chapter.claims["a.number"], "quick")


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '{"id": "a.number"}'])
def test_what_is_no_record_is_refused(chapter, tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"x\.json is no record of the claim"):
        record.read(path, chapter.claims["a.number"], "quick")


def test_a_record_serves_whatever_the_claim_says_now(chapter, place):
    chapter.measure("a.number", [2.0, 2.0, 2.5])
    folders = {CHAPTER: (place.parent, "")}
    notebooks = place.parents[1] / "book" / "notebooks"
    for changes, verdict in (
        ({}, "holds"),
        ({"sentence": "It is two."}, "holds"),
        ({"statistic": "worst"}, "fails"),
        ({"statistic": "worst", "tolerance": {"abs": 0.5, "reason": "Wide."}}, "holds"),
        ({"expect": 2.5}, "fails"),
        ({"kind": "bound", "expect": {"max": 2.2}, "statistic": "worst"}, "fails"),
        ({"planned": "Later."}, "fails"),
    ):
        write(notebooks / "a-paper", entry(**changes), *ENTRIES[1:])
        claims = {"a.number": registry(notebooks.parent)["a.number"]}
        [row] = ledger.collect(claims, folders)
        assert row.verdict.name == verdict, changes


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_the_build_shows_the_very_bytes_of_the_kernel(place, shown, profile):
    root = place.parents[1] / "book"
    keep(root, {"a.number": [2.0, 2.01], "a.large": 3.0})
    chapter = Chapter(CHAPTER, profile, PROVENANCE)
    stored = kept.read(root, CHAPTER, ["a.number", "a.large"]) if profile == "quick" else None
    assert ledger.shown(root, CHAPTER, profile, place.parent, stored) == shown(chapter)
    chapter.measure("a.number", torch.tensor([2.0, 2.0 + 1e-15, math.nan]) / 3 * 3)
    chapter.measure("a.identity", [1e-13, 0.1 + 0.2], parameters={"eps": 0.1})
    chapter.measure("a.gap", 3.0)
    found = ledger.shown(root, CHAPTER, profile, place.parent, stored)
    assert found == shown(chapter)
    assert ("at paper size" in found["text/plain"]) == (profile == "quick")
    # A claim that is edited shows as it is now, without the chapter.
    write(root / "notebooks" / "a-paper", entry(sentence="It is two."), *ENTRIES[1:])
    assert "It is two." in ledger.shown(root, CHAPTER, profile, place.parent)["text/html"]


def test_the_build_can_find_the_table_in_an_executed_notebook(place, tmp_path):
    import nbclient
    import nbformat

    code = f"from ncbook.claims import Chapter\nChapter({CHAPTER!r}).show()"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.execute(notebook, cwd=Path(record.__file__).parents[2], kernel_name="python3")
    [output] = nbformat.reads(nbformat.writes(notebook), 4).cells[0].outputs
    assert output.metadata == {"ncbook": {"claims": CHAPTER}}
    root = place.parents[1] / "book"
    assert output.data == ledger.shown(root, CHAPTER, "quick", place.parent)


def test_the_registry_and_the_chapter_agree(chapter):
    from ncbook import files

    known = registry(files.root())
    assert all(known[id] == one for id, one in chapter.claims.items())
