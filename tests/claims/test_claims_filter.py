"""The ledger's page in a browser: folds, filter, table, the keyboard, no script, a phone."""

from pathlib import Path

import pytest
from claims_samples import book, entry, keep, write

from ncbook.claims import Chapter, kept, ledger, registry

STATIC = Path(__file__).resolve().parents[2] / "book" / "_static"
LONG = r"$\|W W^\top - \sqrt{N}\,(I_C - \tfrac1C \mathbf{1}\mathbf{1}^\top)\|_F \le 1$ " * 3


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with the generated part of the ledger as Sphinx would set it, without a theme."""
    folder = tmp_path_factory.mktemp("ledger")
    root = book(
        folder / "book",
        a_paper=[
            entry(sentence=LONG),
            entry(id="a.two", origin="derived", kind="rate", place="Lemma Seven"),
            entry(id="a.gap", chapter="a-paper/02-next", discrepancy="No; [why](#why)."),
        ],
    )  # fmt: skip
    other = entry(id="b.one", chapter="b-paper/01-one", planned="No network.", origin="beyond")
    head = {"paper": "Other 2021", "citation": "other2021", "part": "Part II"}
    write(root / "notebooks" / "b-paper", other, head=head)
    keep(root, {"a.number": [2.0, 2.02]}, machine={"processor": "x" * 120})
    patch = pytest.MonkeyPatch()
    patch.setenv("NCBOOK_ROOT", str(root))
    patch.setenv("NCBOOK_OUT", str(folder / "out/01-first"))
    first = Chapter("a-paper/01-first", provenance={"platform": "x" * 120})
    first.measure("a.number", [2.0, 2.01])
    first.measure("a.two", 2.0)
    patch.setenv("NCBOOK_OUT", str(folder / "out/02-next"))
    Chapter("a-paper/02-next").measure("a.gap", 3.0)
    patch.undo()
    known = registry(root)
    names = ("a-paper/01-first", "a-paper/02-next")
    run = kept.read(root, names[0], {id: known[id] for id in ("a.number", "a.two")})
    folders = {name: (folder / "out" / name.split("/")[1], "") for name in names}
    rows = ledger.collect(known, folders, kept={names[0]: run})
    assert not ledger.broken(rows)

    blocks = []
    for block in ledger.to_markdown(rows).strip().split("\n\n"):
        if block.startswith("### "):
            blocks.append(f"</section><section><h3>{block[4:]}</h3>")
        elif block.startswith("{doc}"):
            name, tally = block.split("\n")
            blocks.append(f'<p><a href="">Title of {name[6:-1]}</a>\n{tally}</p>')
        else:
            blocks.append(block if block.startswith("<") else f"<p>{block}</p>")
    page = folder / "ledger.html"
    page.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Ledger</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        "<style>:root { --pst-color-primary: #06c }</style></head>"
        '<body style="margin: 1rem"><section id="ledger"><section>'
        + "\n".join(blocks)
        + f"</section></section><link rel=stylesheet href='{(STATIC / 'ledger.css').as_uri()}'>"
        f"<script src='{(STATIC / 'ledger.js').as_uri()}' defer></script></body></html>",
        encoding="utf-8",
    )
    return page.as_uri()


@pytest.fixture
def tab(browser, address):
    """Return a function that opens the page; no script may have failed on it."""
    contexts, errors = [], []

    def visit(at="", width=1200, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.goto(address + at)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


def shown(page):
    """Return the ids of the claims that can be seen."""
    return page.evaluate(
        "[...document.querySelectorAll('tbody tr')].filter((row) => row.checkVisibility())"
        ".map((row) => row.id.slice('claim-'.length))"
    )


def unfolded(page):
    """Return the chapters that are open."""
    return page.evaluate(
        "[...document.querySelectorAll('.ledger-chapter[open]')].map((one) => one.dataset.chapter)"
    )


ALL = ["a-number", "a-two", "a-gap", "b-one"]
FIRST = "a-paper/01-first"
CHAPTERS = [FIRST, "a-paper/02-next", "b-paper/01-one"]
CHAPTER = ".ledger-chapter > summary"  # its line


def test_all_chapters_are_folded_at_first(tab):
    page = tab()
    assert shown(page) == []
    assert [line.inner_text().split("\n")[-1].strip() for line in page.locator(CHAPTER).all()] == [
        "2 of 2 hold", "0 of 1 hold · △ 1 known discrepancy", "0 of 1 hold · ◇ 1 planned",
    ]  # fmt: skip
    assert page.locator("#ledger-count").inner_text() == "4 claims"
    assert page.get_by_label("Words in a claim", exact=True).is_visible()


def test_a_chapter_and_a_claim_open_by_the_keyboard(tab):
    page = tab()
    page.locator(CHAPTER).first.focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["a-number", "a-two"]
    reason = page.locator("#claim-a-two").get_by_text("Why this tolerance")
    assert not reason.is_visible()
    page.locator("#claim-a-two summary").focus()
    page.keyboard.press("Space")
    assert reason.is_visible()
    assert page.locator("tbody details[open]").count() == 1


def test_the_line_that_opens_a_chapter_is_no_link(tab):
    page = tab()
    assert page.locator("summary a").count() == 0
    link = page.locator(".ledger-chapter").first.get_by_role("link", name="Title of " + FIRST)
    assert not link.is_visible()
    page.locator(CHAPTER).first.click()
    assert link.is_visible()


def test_why_a_claim_does_not_hold_is_not_folded(tab):
    page = tab()
    page.locator(CHAPTER).nth(1).click(position={"x": 5, "y": 12})
    assert shown(page) == ["a-gap"]
    assert page.locator("#claim-a-gap").get_by_text("Known discrepancy:").is_visible()


@pytest.mark.parametrize(
    ("label", "choice", "left"),
    [
        ("Part or chapter", "Part I", ["a-number", "a-two", "a-gap"]),
        ("Part or chapter", "Title of a-paper/02-next", ["a-gap"]),
        ("Verdict", "holds", ["a-number", "a-two"]),
        ("Verdict", "known discrepancy", ["a-gap"]),
        ("Verdict", "planned", ["b-one"]),
        ("Part or chapter", "b-paper/01-one (not written yet)", ["b-one"]),
        ("Kind", "rate", ["a-two"]),
        ("Who says it", "beyond the paper", ["b-one"]),
    ],
)
def test_each_list_filters(tab, label, choice, left):
    page = tab()
    page.get_by_label(label, exact=True).select_option(label=choice)
    assert shown(page) == left
    assert page.locator("#ledger-count").inner_text() == f"{len(left)} of 4 claims match"


def test_words_filter_in_any_order_and_case(tab):
    page = tab()
    field = page.get_by_label("Words in a claim", exact=True)
    field.fill("SEVEN lemma")
    assert shown(page) == ["a-two"]
    # Nothing is left of the other chapters, nor of the other paper.
    assert not page.get_by_text("Title of a-paper/02-next").first.is_visible()
    assert not page.get_by_role("heading", name="Part II").is_visible()
    field.fill("sqrt{n}")
    assert shown(page) == ["a-number"]
    field.fill("nonsense")
    assert shown(page) == []
    assert page.locator("#ledger-count").inner_text() == "None of the 4 claims matches"


def test_filters_add_up_and_the_button_clears_them(tab):
    page = tab()
    page.get_by_label("Verdict", exact=True).select_option("holds")
    page.get_by_label("Kind", exact=True).select_option("rate")
    assert shown(page) == ["a-two"]
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('tbody tr[hidden]').length === 0")
    assert unfolded(page) == []  # as it was before
    assert page.locator("#ledger-count").inner_text() == "4 claims"


def test_what_a_reader_opened_stays_open_after_a_choice(tab):
    page = tab()
    page.locator(CHAPTER).nth(2).click(position={"x": 5, "y": 12})
    page.get_by_label("Verdict", exact=True).select_option("holds")
    assert shown(page) == ["a-number", "a-two"]
    page.get_by_label("Verdict", exact=True).select_option("")
    assert unfolded(page) == CHAPTERS[2:] and shown(page) == ["b-one"]


def test_an_address_can_choose(tab):
    page = tab("?verdict=holds&text=seven&unknown=1")
    assert shown(page) == ["a-two"]
    assert page.get_by_label("Verdict", exact=True).input_value() == "holds"


def test_an_unknown_choice_in_the_address_shows_all(tab):
    page = tab("?verdict=maybe&view=maybe&sort=maybe")
    assert page.locator("tbody tr:not([hidden])").count() == 4
    assert page.locator(".ledger-table").count() == 0


def test_a_link_to_a_claim_shows_it_whatever_was_chosen(tab):
    page = tab("?verdict=holds#claim-a-gap")
    page.wait_for_function("!document.getElementById('claim-a-gap').hidden")
    assert shown(page) == ["a-gap"]
    assert page.locator("#claim-a-gap").get_by_text("Why this tolerance").is_visible()
    page.get_by_label("Kind", exact=True).select_option("rate")
    assert shown(page) == ["a-two"]
    page.evaluate("location.hash = 'claim-b-one'")
    page.wait_for_function("!document.getElementById('claim-b-one').hidden")
    assert "b-one" in shown(page)
    assert page.locator("#claim-b-one").get_by_text("Why this tolerance").is_visible()


TABLE = ".ledger-table tbody tr"


def order(page):
    return [row.get_attribute("id").removeprefix("claim-") for row in page.locator(TABLE).all()]


def test_one_table_of_all_claims_and_back(tab):
    page = tab()
    page.get_by_label("one table", exact=True).check()
    assert shown(page) == order(page) == ALL
    assert "view=table" in page.url
    heads = [head.inner_text() for head in page.locator(".ledger-table thead th").all()]
    assert heads == [
        "Verdict", "Id", "Claim", "Measured", "Expected", "Tolerance used", "Chapter",
    ]  # fmt: skip
    cells = [cell.inner_text() for cell in page.locator("#claim-a-two > *").all()]
    assert cells[1] == "a.two" and cells[3:] == ["2.00", "2 ± 0.05", "0.00 %", "Title of " + FIRST]
    link = page.locator("#claim-a-two .chapter a").get_attribute("href")
    assert link.endswith(f"{FIRST}.html#claim-a-two")
    # The chapters and their headings give way to it, and come back.
    assert not page.get_by_role("heading", name="Part II").is_visible()
    page.get_by_label("chapters, folded", exact=True).check()
    assert page.get_by_role("heading", name="Part II").is_visible()
    assert not page.locator(".ledger-table").is_visible() and "view" not in page.url
    homes = "(id) => document.getElementById(id).closest('.ledger-chapter').dataset.chapter"
    assert page.evaluate(homes, "claim-b-one") == CHAPTERS[2]
    assert page.locator("#claim-b-one > *").count() == 4


def test_the_table_is_sorted_by_its_heads(tab):
    page = tab("?view=table")
    head = page.locator(".ledger-table thead th", has_text="Tolerance used")
    button = head.get_by_role("button")
    button.click()
    assert order(page) == ["a-two", "a-number", "a-gap", "b-one"]
    assert head.get_attribute("aria-sort") == "ascending" and "sort=used" in page.url
    button.press("Enter")
    # What has no number stays last.
    assert order(page) == ["a-gap", "a-number", "a-two", "b-one"]
    assert head.get_attribute("aria-sort") == "descending" and "sort=-used" in page.url
    button.click()
    assert order(page) == ALL and "sort" not in page.url
    assert head.get_attribute("aria-sort") == "none"
    page.locator(".ledger-table thead th", has_text="Id").get_by_role("button").click()
    assert order(page) == ["a-gap", "a-number", "a-two", "b-one"]


def test_an_address_has_the_table_its_order_and_the_choice(tab):
    page = tab("?view=table&sort=-used&verdict=holds")
    assert shown(page) == ["a-number", "a-two"]
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('tbody tr[hidden]').length === 0")
    assert shown(page) == ["a-gap", "a-number", "a-two", "b-one"]
    page = tab("?view=table&verdict=holds#claim-a-gap")
    page.wait_for_function("!document.getElementById('claim-a-gap').hidden")
    assert shown(page) == ALL
    assert page.locator("#claim-a-gap").get_by_text("Why this tolerance").is_visible()


def test_the_keyboard_is_enough(tab):
    page = tab()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "ledger-text"
    page.keyboard.type("lemma")
    page.keyboard.press("Enter")
    assert page.locator("#ledger-count").is_visible()
    for control in ("place", "verdict", "kind"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == f"ledger-{control}"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    page.keyboard.type("rate")
    assert page.get_by_label("Kind", exact=True).input_value() == "rate"
    assert shown(page) == ["a-two"]
    for control in ("origin", "folded"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == f"ledger-{control}"
    page.keyboard.press("ArrowRight")
    assert page.locator(".ledger-table").is_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('tbody tr[hidden]').length === 0")
    assert page.get_by_label("Kind", exact=True).input_value() == ""
    assert shown(page) == ALL


def test_without_a_script_every_claim_can_be_opened(tab):
    page = tab(java_script_enabled=False)
    assert not page.locator("#ledger-filter").is_visible()
    for place, left in enumerate((["a-number", "a-two"], ["a-gap"], ["b-one"])):
        page.locator(CHAPTER).nth(place).click(position={"x": 5, "y": 12})
        for id in left:
            row = page.locator(f"#claim-{id}")
            row.locator("summary").click(position={"x": 5, "y": 8})
            assert row.get_by_text("Why this tolerance").is_visible()


@pytest.mark.parametrize("view", ["", "?view=table"])
@pytest.mark.parametrize("width", [320, 390, 768])
def test_no_width_scrolls_sideways(tab, width, view):
    page = tab(view, width=width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_numbers_stand_over_the_sentence(tab):
    boxes = {}
    for width in (390, 1200):
        page = tab("?text=the", width=width)
        cells = page.locator("#claim-a-number > *").all()
        boxes[width] = [cell.bounding_box() for cell in cells]
    verdict, sentence, measured, expected = boxes[390]
    assert verdict["y"] == measured["y"] == expected["y"] < sentence["y"]
    assert verdict["x"] == sentence["x"] < measured["x"] < expected["x"]
    verdict, sentence, measured, expected = boxes[1200]
    assert verdict["y"] == sentence["y"] == measured["y"] < expected["y"]
    assert verdict["x"] < sentence["x"] < measured["x"]


@pytest.mark.parametrize("view", ["?text=the", "?view=table"])
def test_the_table_stays_a_table_to_a_screen_reader(tab, view):
    page = tab(view)
    flat = view == "?view=table"
    name = "All claims" if flat else "Claims of a-paper/01-first"
    table = page.get_by_role("table", name=name, exact=True)
    assert table.get_by_role("row").count() == (5 if flat else 3)
    assert table.get_by_role("columnheader").count() == (7 if flat else 4)
    assert table.get_by_role("rowheader").count() == (4 if flat else 2)
