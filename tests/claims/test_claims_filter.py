"""The ledger's page in a browser: its filter, the keyboard, no script, a phone."""

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
            blocks.append(f"<p>Title of {block[6:-1]}</p>")
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
    rows = page.locator("tbody tr").all()
    return [row.get_attribute("id").removeprefix("claim-") for row in rows if row.is_visible()]


ALL = ["a-number", "a-two", "a-gap", "b-one"]


def test_all_claims_are_shown_at_first(tab):
    page = tab()
    assert shown(page) == ALL
    assert page.locator("#ledger-count").inner_text() == "4 of 4 claims shown"
    assert page.get_by_label("Words in a claim", exact=True).is_visible()


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
    assert page.locator("#ledger-count").inner_text() == f"{len(left)} of 4 claims shown"


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
    assert shown(page) == ALL
    assert page.locator("#ledger-count").inner_text() == "4 of 4 claims shown"


def test_an_address_can_choose(tab):
    page = tab("?verdict=holds&text=seven&unknown=1")
    assert shown(page) == ["a-two"]
    assert page.get_by_label("Verdict", exact=True).input_value() == "holds"


def test_an_unknown_choice_in_the_address_shows_all(tab):
    assert shown(tab("?verdict=maybe")) == ALL


def test_a_link_to_a_claim_shows_it_whatever_was_chosen(tab):
    page = tab("?verdict=holds#claim-a-gap")
    page.wait_for_function("!document.getElementById('claim-a-gap').hidden")
    assert shown(page) == ALL
    page.get_by_label("Kind", exact=True).select_option("rate")
    page.evaluate("location.hash = 'claim-b-one'")
    page.wait_for_function("!document.getElementById('claim-b-one').hidden")
    assert shown(page) == ALL


def test_the_keyboard_is_enough(tab):
    page = tab()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "ledger-text"
    page.keyboard.type("paper")
    page.keyboard.press("Enter")
    assert page.locator("#ledger-count").is_visible()
    for control in ("place", "verdict", "kind"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == f"ledger-{control}"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    page.keyboard.type("rate")
    assert page.get_by_label("Kind", exact=True).input_value() == "rate"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('ledger-kind').value === ''")
    assert shown(page) == ALL


def test_without_a_script_all_claims_are_shown(tab):
    page = tab(java_script_enabled=False)
    assert shown(page) == ALL
    assert not page.locator("#ledger-filter").is_visible()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_no_width_scrolls_sideways(tab, width):
    page = tab(width=width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_a_claim_is_a_card(tab):
    boxes = {}
    for width in (390, 1200):
        page = tab(width=width)
        cells = page.locator("#claim-a-number td").all()[:3]
        boxes[width] = [cell.bounding_box() for cell in cells]
    phone, wide = boxes[390], boxes[1200]
    assert len({box["x"] for box in phone}) == 1
    assert [box["y"] for box in phone] == sorted({box["y"] for box in phone})
    assert len({box["y"] for box in wide}) == 1


def test_the_table_stays_a_table_to_a_screen_reader(tab):
    page = tab()
    table = page.get_by_role("table", name="Claims of a-paper/01-first")
    assert table.get_by_role("row").count() == 3
    assert table.get_by_role("columnheader").count() == 5
    assert table.get_by_role("rowheader").count() == 2
