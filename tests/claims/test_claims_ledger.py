"""The ledger: every claim beside its measurement, and what breaks a book."""

import dataclasses
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from claims_samples import book, entry, keep, write

from ncbook.claims import Chapter, ClaimsError, check, graph, kept, ledger, page, registry
from ncbook.claims.measured import summarise

FIRST, SECOND, OTHER = "a-paper/01-first", "a-paper/02-next", "b-paper/01-one"
GOOD = {"a.number": [2.0, 2.01], "a.gap": 3.0, "a.next": 2.0, "b.number": 2.0}


@pytest.fixture
def root(tmp_path, monkeypatch):
    root = book(
        tmp_path / "book",
        a_paper=[
            entry(id="a.next", chapter=SECOND, origin="beyond"),
            entry(sentence="Is $a<b$ & \"c\"?"),
            entry(id="a.gap", discrepancy="It is not; [see why](#why)."),
            entry(id="a.large", profile="paper"),
            entry(id="a.later", chapter="a-paper/09-later", planned="It needs a network."),
        ],
        b_paper=[entry(id="b.number", chapter=OTHER, kind="order")],
    )  # fmt: skip
    head = {"paper": "Other 2021", "citation": "other2021", "part": "Part II"}
    write(root / "notebooks" / "b-paper", entry(id="b.number", chapter=OTHER, kind="order"),
          head=head)  # fmt: skip
    monkeypatch.setenv("NCBOOK_ROOT", str(root))
    return root


@pytest.fixture
def measured(root, tmp_path, monkeypatch):
    """Return a function that measures and returns the chapters' folders."""

    def measure(values=GOOD, profile="quick"):
        folders = {}
        for name in (FIRST, SECOND, OTHER):
            folder = tmp_path / "results" / name
            monkeypatch.setenv("NCBOOK_OUT", str(folder))
            chapter = Chapter(name, profile=profile, provenance={"device": "cpu"})
            for id in chapter.claims:
                if id in values:
                    chapter.measure(id, values[id], parameters={"C": 3})
            folders[name] = (folder, f"key-of-{name}")
        return folders

    return measure


@pytest.fixture
def stored(root):
    """Return a function that keeps paper-size values of the first chapter, and reads them."""

    def store(values, **changes):
        keep(root, values, FIRST, **changes)
        claims = {id: one for id, one in registry(root).items() if one.chapter == FIRST}
        return {FIRST: kept.read(root, FIRST, claims)}

    return store


LARGE = {"a.number": 2.0, "a.gap": 3.5, "a.large": [2.0, 2.02]}


def verdicts(rows):
    return {row.claim.id: row.verdict.name for row in rows}


def broken(rows):
    return {row.claim.id for row in ledger.broken(rows)}


@pytest.fixture
def good(root, measured, stored):
    """Return a function that collects a good book, with changed values."""

    def collect(values=GOOD, large=LARGE):
        return ledger.collect(registry(root), measured(values), "quick", stored(large))

    return collect


def test_a_good_book_stands(measured, good):
    rows = good()
    assert verdicts(rows) == {
        "a.next": "holds",
        "a.number": "holds",
        "a.gap": "known discrepancy",
        "a.large": "holds",
        "a.later": "planned",
        "b.number": "holds",
    }
    assert ledger.broken(rows) == []
    assert [row.key for row in rows][:1] == [f"key-of-{SECOND}"]
    assert ledger.summary(rows) == {
        "holds": 4, "fails": 0, "known discrepancy": 1, "scope unclear": 0,
            "not measured": 0, "planned": 1,
    }  # fmt: skip
    assert ledger.summary_line(rows) == "6 claims: 4 hold, 1 known discrepancy, 1 planned."


def test_a_claim_for_the_paper_profile_needs_a_kept_result(root, measured, good):
    rows = ledger.collect(registry(root), measured())
    assert broken(rows) == {"a.large"}
    assert verdicts(rows)["a.large"] == "not measured"
    assert "No paper-size result of it is kept" in ledger.broken(rows)[0].verdict.message
    assert broken(good(large={"a.number": 2.0})) == {"a.large"}
    assert broken(good(large=LARGE | {"a.large": 2.1})) == {"a.large"}


@pytest.mark.parametrize("id", LARGE)
def test_one_wrong_kept_value_breaks_the_book(good, id):
    rows = good(large=LARGE | {id: 2.0 if id == "a.gap" else 2.0501})
    assert broken(rows) == {id}
    assert verdicts(rows)[id] == "fails"


def test_a_planned_claim_breaks_nothing_and_an_unplanned_one_does(root, good):
    assert verdicts(good())["a.later"] == "planned"
    path = root / "notebooks" / "a-paper" / "claims.toml"
    text = path.read_text()
    kept_back = [line for line in text.splitlines() if not line.startswith("planned")]
    path.write_text("\n".join(kept_back).replace("09-later", "02-next"))
    assert broken(good()) == {"a.later"}


def test_the_paper_profile_wants_every_claim(root, measured):
    rows = ledger.collect(registry(root), measured(profile="paper"), profile="paper")
    assert broken(rows) == {"a.large"}
    rows = ledger.collect(registry(root), measured(GOOD | {"a.large": 2}, "paper"), "paper")
    assert broken(rows) == set()
    assert verdicts(rows)["a.later"] == "planned"


@pytest.mark.parametrize("id", GOOD)
def test_one_record_less_breaks_the_book(measured, good, id):
    values = {name: value for name, value in GOOD.items() if name != id}
    rows = good(values)
    assert broken(rows) == {id}
    assert verdicts(rows)[id] == "not measured"


@pytest.mark.parametrize("id", GOOD)
def test_one_wrong_value_breaks_the_book(good, id):
    wrong = 2.0 if id == "a.gap" else 2.0501
    rows = good(GOOD | {id: wrong})
    assert broken(rows) == {id}
    assert verdicts(rows)[id] == "fails"


def test_a_chapter_without_results_breaks_the_book(root, measured, stored):
    folders = measured()
    del folders[OTHER]
    rows = ledger.collect(registry(root), folders, kept=stored(LARGE))
    assert broken(rows) == {"b.number"}
    assert rows[-1].verdict.message == f"No results of chapter {OTHER} were given."


@pytest.mark.parametrize("content", ["", "{}", '{"id": "a.number"', b"\xff"])
def test_a_damaged_record_breaks_the_book(root, measured, stored, content):
    folders = measured()
    path = folders[FIRST][0] / "claims" / "a.number.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = ledger.collect(registry(root), folders, kept=stored(LARGE))
    assert broken(rows) == {"a.number"}
    assert "is no record of the claim" in ledger.broken(rows)[0].verdict.message


def test_a_record_of_another_claim_or_profile_does_not_count(root, measured, stored):
    folders = measured()
    claims = folders[FIRST][0] / "claims"
    (claims / "a.number.json").write_bytes((claims / "a.gap.json").read_bytes())
    assert broken(ledger.collect(registry(root), folders, kept=stored(LARGE))) == {"a.number"}
    rows = ledger.collect(registry(root), measured(profile="paper"), "quick", stored(LARGE))
    assert broken(rows) == set(GOOD)


@pytest.mark.parametrize("id", ["a.gone", "b.number"])
def test_a_record_of_no_claim_of_its_chapter_breaks_the_book(root, measured, id):
    folders = measured()
    claims = folders[FIRST][0] / "claims"
    (claims / f"{id}.json").write_bytes((claims / "a.number.json").read_bytes())
    with pytest.raises(ClaimsError, match=f"{FIRST} measured '{id}', which claims.toml does not"):
        ledger.collect(registry(root), folders)
    with pytest.raises(ClaimsError, match=f"{FIRST} measured '{id}'"):
        ledger.shown(root, FIRST, "quick", folders[FIRST][0])


def test_an_unknown_profile_is_refused(root):
    with pytest.raises(ClaimsError, match="known profiles are quick, paper"):
        ledger.collect(registry(root), {}, profile="huge")


def test_json_says_everything(root, good):
    rows = good()
    table = json.loads(ledger.to_json(rows))
    assert (table["format"], table["profile"]) == (4, "quick")
    assert table["summary"] == ledger.summary(rows)
    entries = {one["id"]: one for one in table["claims"]}
    assert list(entries) == list(registry(root))
    one = entries["a.number"]
    assert (one["value"], one["record"]["max"]) == (2.005, 2.01)
    assert not {"statistic", "value", "worst", "id"} & set(one["record"])
    assert one["record"]["provenance"] == {"device": "cpu"}
    assert (one["tolerance"], one["relative"], one["reason"]) == (0.05, False, "The next term.")
    assert (one["expect"], one["verdict"], one["key"]) == (2.0, "holds", f"key-of-{FIRST}")
    assert entries["a.large"]["record"] is None
    assert entries["a.later"]["planned"] == "It needs a network."
    [(chapter, run)] = table["kept"].items()
    assert (chapter, run["changed"], run["machine"]["cores"]) == (FIRST, [], "64")
    assert run["claims"]["a.large"]["max"] == 2.02


def test_json_can_be_judged_again(root, good):
    known = registry(root)
    rows = good()
    again = ledger.from_json(ledger.to_json(rows), known)
    assert again == [dataclasses.replace(row, problem="") for row in rows]
    assert verdicts(again) == verdicts(rows)
    bad = good(GOOD | {"a.number": [2.0, float("nan")]})
    again = ledger.from_json(ledger.to_json(bad), known)
    assert verdicts(again) == verdicts(bad)
    assert broken(again) == {"a.number"}


def spoilt(text, id, **changes):
    """Return the text of a ledger with changed fields in the record of one claim."""
    table = json.loads(text)
    for one in table["claims"]:
        if one["id"] == id:
            one["record"] |= changes
    return json.dumps(table)


def test_a_written_verdict_is_not_trusted(root, measured, good):
    known = registry(root)
    text = ledger.to_json(good())
    wrong = spoilt(text, "b.number", min=3.0, median=3.0, max=3.0)
    assert verdicts(ledger.from_json(wrong, known))["b.number"] == "fails"
    at_paper_size = json.loads(text)
    at_paper_size["kept"][FIRST]["claims"]["a.large"]["max"] = 2.2
    at_paper_size["kept"][FIRST]["claims"]["a.large"]["median"] = 2.1
    assert broken(ledger.from_json(json.dumps(at_paper_size), known)) == {"a.large"}
    del at_paper_size["kept"][FIRST]
    assert broken(ledger.from_json(json.dumps(at_paper_size), known)) == {"a.large"}
    with pytest.raises(ClaimsError, match=r"no ledger .*'median' is 2\.04; expected a number from"):
        ledger.from_json(spoilt(text, "b.number", median=2.04), known)
    table = json.loads(text)
    table["claims"] = [one for one in table["claims"] if one["id"] != "b.number"]
    assert broken(ledger.from_json(json.dumps(table), known)) == {"b.number"}


def test_a_ledger_of_another_book_is_refused(root, good):
    known = registry(root)
    text = ledger.to_json(good())
    less = {id: one for id, one in known.items() if id != "a.gap"}
    with pytest.raises(ClaimsError, match=r"registered no more: a\.gap"):
        ledger.from_json(text, less)
    for other in ("", "[]", "{}", "3", '{"format": 2}'):
        with pytest.raises(ClaimsError, match="make book"):
            ledger.from_json(other, known)
    for change in ({"code": 3}, {"extra": 1}, {"changed": 3}):
        table = json.loads(text)
        table["kept"][FIRST] |= change
        with pytest.raises(ClaimsError, match=r"no ledger of the book as it is now: .*make book"):
            ledger.from_json(json.dumps(table), known)
    with pytest.raises(ClaimsError, match="its profile 'huge'"):
        ledger.from_json(text.replace('"profile": "quick"', '"profile": "huge"', 1), known)
    with pytest.raises(ClaimsError, match="its format is 0"):
        ledger.from_json(text.replace('"format": 4', '"format": 0'), known)


class Page(HTMLParser):
    """What matters of the generated HTML; checks on the way that elements are closed in order."""

    VOID = ("input", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_page_part(good):
    text = ledger.to_markdown(good())
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")][-2:] == [
        "### Part I: Author 2020",
        "### Part II: Other 2021",
    ]
    # Chapters are references that Sphinx checks, in their order.
    assert [line for line in lines if line.startswith("{doc}")] == [
        f"{{doc}}`{name}`" for name in (FIRST, SECOND, OTHER)
    ]
    assert "{cite:p}`author2020`. 5 claims: 3 hold, 1 known discrepancy, 1 planned." in text
    page = Page(text)
    rows = [attrs for attrs in page.all("tr") if "id" in attrs]
    # One count: what is said above is the sum of its parts, and all the rows that there are.
    said = [int(number) for number in re.findall(r"\d+", text.partition("Measured in")[0])]
    assert said[0] == sum(said[1:]) == len(rows)
    assert [row["id"] for row in rows] == [
        "claim-a-number", "claim-a-gap", "claim-a-large", "claim-a-next", "claim-a-later",
        "claim-b-number",
    ]  # fmt: skip
    assert [row["data-verdict"] for row in rows] == [
        check.HOLDS, check.DISCREPANCY, check.HOLDS, check.HOLDS, check.PLANNED, check.HOLDS,
    ]  # fmt: skip
    links = [attrs["href"] for attrs in page.all("a")]
    assert f"{FIRST}.html#claim-a-number" in links
    assert f"{FIRST}.html#why" in links
    # A chapter that is not written yet is named, and no link leads to it.
    assert len([link for link in links if "#claim-" in link]) == len(rows) - 1
    assert "a-paper/09-later (not written yet)" in lines
    assert "<strong>Planned:</strong> It needs a network." in text


def test_the_page_shows_kept_results_beside_the_quick_ones(good, stored):
    text = ledger.to_markdown(good())
    at = '<span class="kept"><span class="about">at paper size, '
    assert text.count(at) == 3
    assert f'{at}△ known discrepancy:</span> <span class="value">3.50</span></span>' in text
    run = (
        "The paper-size results are kept ones: run on 2026-01-31 in 12 s on cuda, A processor, "
        "64 cores, with torch 2.13.0; seeds = 400; commit 0123456789."
    )
    assert text.count(f'<p class="run">{run}</p>') == 1
    failing = ledger.to_markdown(good(large=LARGE | {"a.number": 2.1}))
    assert f'{at}✗ fails:</span> <span class="value">2.10</span></span>' in failing
    assert 'id="claim-a-number" data-verdict="fails"' in failing
    gone = {"ncbook/gone.py": "0" * 64, "ncbook/claims/page.py": "0" * 64}
    [aged] = stored(LARGE, code=gone).values()
    assert str(aged) == (
        f"{run} They are stale and decide nothing: what they rest on has changed since: "
        "ncbook/gone.py, ncbook/claims/page.py."
    )


def test_no_block_of_html_is_cut_by_markdown(good):
    text = ledger.to_markdown(good())
    for block in text.strip().split("\n\n"):
        # Between these Markdown sets the chapter's line and a blank line ends nothing.
        if block.startswith('<details class="ledger-chapter') or block == "</details>":
            continue
        if block == "</summary>":
            continue
        if block.startswith("<"):
            Page(block)


def test_each_chapter_is_folded_under_how_its_claims_stand(good):
    text = ledger.to_markdown(good())
    chapters = [one for one in Page(text).all("details") if one.get("class") == "ledger-chapter"]
    assert [(one["data-part"], one["data-chapter"]) for one in chapters] == [
        ("Part I", FIRST), ("Part I", SECOND), ("Part I", "a-paper/09-later"), ("Part II", OTHER),
    ]  # fmt: skip
    assert not any("open" in one for one in Page(text).all("details"))
    assert re.findall(r'<span class="tally">(.*?)</span>', text) == [
        "2 of 3 hold · △ 1 known discrepancy", "1 of 1 hold", "0 of 1 hold · ◇ 1 planned",
        "1 of 1 hold",
    ]  # fmt: skip


def test_what_all_claims_of_a_chapter_share_is_said_once(good):
    text = ledger.to_markdown(good())
    assert text.count("<dt>Device</dt><dd>cpu</dd>") == 3  # of the three chapters with results
    assert text.count("<dt>Parameter C</dt>") == 4  # of the four claims that were measured
    rows = good()
    rows[0] = replace(rows[0], record=replace(rows[0].record, provenance={"device": "mps"}))
    own = page.table([rows[0], rows[1]], "Claims", in_ledger=True)
    assert own.count("<dt>Device</dt>") == 2 and own.count("<dt>Profile</dt>") == 1


def test_every_control_has_a_label(good):
    page = Page(ledger.to_markdown(good()))
    controls = [attrs["id"] for tag in ("input", "select") for attrs in page.all(tag)]
    assert sorted(controls) == sorted(attrs["for"] for attrs in page.all("label"))
    [count] = page.all("output")
    assert count["aria-live"] == "polite"
    [form] = page.all("form")
    assert "hidden" in form


def test_the_page_has_the_run_of_each_measurement(good):
    text = ledger.to_markdown(good())
    for part in ("<dt>Device</dt><dd>cpu</dd>", "<dt>Parameter C</dt><dd>3</dd>",
                 "<dt>Code</dt><dd>key-of-a-pap</dd>", "<dt>Tolerance used</dt><dd>10.0 %</dd>",
                 "<dt>Id</dt><dd>a.number</dd>"):  # fmt: skip
        assert part in text, part


def test_sentences_are_escaped(good):
    text = ledger.to_markdown(good())
    assert r"Is \(a&lt;b\) &amp; &quot;c&quot;?" in text


def linked(tmp_path) -> list:
    """Rows of a book in which one claim rests on another, which is a known discrepancy."""
    gap = {"discrepancy": "It is not; [see why](#why)."}
    one = entry(id="a.number", uses=["a.middle"])
    two = entry(id="a.middle", uses=["a.gap"])
    root = book(
        tmp_path / "linked", a_paper=[one, two, entry(id="a.gap", **gap), entry(id="a.free")]
    )
    values = {"a.number": 2.0, "a.middle": 2.0, "a.gap": 3.0, "a.free": 2.0}
    known = registry(root)
    return [check.Row(known[id], summarise(value)) for id, value in values.items()]


def test_a_claim_whose_ground_does_not_hold_is_marked(tmp_path):
    rows = linked(tmp_path)
    found = ledger.grounds(rows)
    assert {id: [one.claim.id for one in shaky] for id, shaky in found.items()} == {
        "a.number": ["a.gap"], "a.middle": ["a.gap"],
    }  # fmt: skip
    carried = {id: [one.claim.id for one in some] for id, some in ledger.carries(rows).items()}
    assert carried == {"a.middle": ["a.number"], "a.gap": ["a.middle"]}
    text = ledger.to_markdown(rows)
    assert text.count("It rests on what does not hold:") == 2
    assert '<a href="#claim-a-gap">a.gap</a> (known discrepancy)' in text
    assert '<dt>Carries</dt><dd><a href="#claim-a-number">a.number</a></dd>' in text


def test_the_graph_has_a_mark_a_claim_and_a_curve_a_use(tmp_path):
    rows = linked(tmp_path)
    picture = graph.svg(rows)
    assert (picture.count("<circle"), picture.count("<path")) == (4, 2)
    assert picture.count('data-verdict="holds"') == 3
    assert '<a href="#claim-a-gap"><title>a.gap (known discrepancy): The value is $2$.' in picture
    assert picture in ledger.to_markdown(rows)
    # Where nothing rests on anything there is no graph.
    free = [row for row in rows if not row.claim.uses]
    assert graph.svg(free) == "" and "<svg" not in ledger.to_markdown(free)


def test_the_ledger_says_how_far_values_move_with_halved_steps(tmp_path):
    rows = linked(tmp_path)
    assert ledger.discretised(rows) == ""
    shares = {"a.number": 0.0, "a.middle": 0.314, "a.free": 0.0}
    moved = [replace(row, moved=shares.get(row.claim.id)) for row in rows]
    said = ledger.discretised(moved)
    assert said.startswith("With all steps and tolerances halved, 2 of 3 claims do not move; ")
    assert "at most 31%" in said and said in ledger.to_markdown(moved)
    assert "31.4 % of what is allowed" in ledger.to_markdown(moved)
    again = ledger.from_json(ledger.to_json(moved), {row.claim.id: row.claim for row in rows})
    assert [row.moved for row in again] == [row.moved for row in moved]


def test_a_control_is_shown_and_kept(tmp_path):
    measured = entry(id="a.number", control={"what": "Half of $x$"})
    rival = entry(id="a.rate", control={"what": "The other exponent", "expect": 1.0})
    known = registry(book(tmp_path / "held", a_paper=[measured, rival]))
    held = {"a.number": summarise(2.0, control=[1.0, 1.1]), "a.rate": summarise(2.0)}
    rows = [check.Row(known[id], found) for id, found in held.items()]
    text = ledger.to_markdown(rows)
    assert r"Half of \(x\)" in text and "fails, as it must" in text
    assert "1 ± 0.05" in text and "passes, which it must not" not in text
    plain = "\n".join(map(page.text, rows))
    assert "control, Half of $x$: 1.05 (median of 2 values, 1.00 to 1.10), fails" in plain
    assert "control, The other exponent: expected 1 ± 0.05, fails" in plain
    again = ledger.from_json(ledger.to_json(rows), known)
    assert [row.record for row in again] == list(held.values())
    broken = [check.Row(known["a.number"], summarise(2.0, control=2.0))]
    assert "passes, which it must not" in ledger.to_markdown(broken)
    assert ledger.broken(broken) == broken
