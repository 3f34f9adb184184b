"""What a reader has to load: the bytes of the pages, and what stands before the first paint."""

import gzip
import re
from pathlib import Path

import first_paint
import pytest
import site_checks

CHAPTER = re.compile(r"book/[\w-]+/\d\d-[\w-]+\.html")
FRONT, LIVE = "book/index.html", "book/min-zhu-vidal/03-alignment.html"
# Lighthouse's "Slow 4G": bytes and round trips in a second.
RATE, TRIP = 1.6e6 / 8, 0.15


# ---------------------------------------------------------------- bytes


def test_no_chapter_is_over_its_weight(site):
    sizes = {page: (site / page).stat().st_size for page in site_checks.pages(site)}
    assert not {
        page: size for page, size in sizes.items() if size > 600_000 and CHAPTER.match(page)
    }
    assert max(sizes.values()) < 1_400_000  # the ledger, which has all claims


def test_no_page_loads_what_none_needs(site):
    for page in site_checks.pages(site):
        text = (site / page).read_text("utf-8")
        assert "plotly" not in text and "fontawesome.js" not in text, page


def test_drawings_of_a_page_have_names_of_their_own(site):
    for page in site_checks.pages(site):
        text = (site / page).read_text("utf-8")
        sheets = re.findall(r"<svg[^>]*><style>(.*?)</style>", text)
        names = [name for sheet in sheets for name in set(re.findall(r"\.(\w+)\{", sheet))]
        assert len(names) == len(set(names)), page


# ---------------------------------------------------------------- the first paint


def size(path: Path) -> int:
    """Return the bytes of a file as servers send it."""
    return len(gzip.compress(path.read_bytes(), 6))


def seconds(page: bytes, sheets: list[Path]) -> float:
    """Return when a page can be painted: two round trips, and what has to be there.

    Computed, as a busy machine's clock would say more of the machine: the page up to its text and
    all that holds up its paint, beside which as much of the rest of the page comes.
    """
    start = len(gzip.compress(page[: page.index(b"<article")], 6))
    return 2 * TRIP + (start + 2 * sum(map(size, sheets))) / RATE


def test_the_first_paint_is_within_a_second(site, tab, address):
    heaviest = max(
        filter(CHAPTER.match, site_checks.pages(site)), key=lambda p: (site / p).stat().st_size
    )
    for page in (FRONT, heaviest, "book/ledger.html"):
        tab.goto(f"{address}{page}", wait_until="load")
        found = tab.evaluate(
            """performance.getEntriesByType("resource")
            .filter((one) => one.renderBlockingStatus === "blocking")
            .map((one) => [new URL(one.name).pathname.slice(1), one.initiatorType])"""
        )
        names, kinds = zip(*found, strict=True)
        # All named in the page: what a sheet imports would be a round trip more.
        assert set(kinds) <= {"link", "script"} and len(names) <= 3, found
        assert seconds((site / page).read_bytes(), [site / name for name in names]) < 1, found
    # The theme's own sheets would be too much.
    own = [
        site / "_static" / "styles" / f"{name}.css"
        for name in ("pydata-sphinx-theme", "sphinx-book-theme")
    ]
    assert seconds((site / FRONT).read_bytes(), [*own, *(site / name for name in names)]) > 1


def test_a_shared_module_is_loaded_once_and_by_its_version(tab, address):
    loaded = []
    tab.on("request", lambda request: loaded.append(request.url))
    tab.goto(f"{address}{LIVE}", wait_until="load")
    tab.wait_for_selector(".ncb-live[data-mounted]")
    shared = [one for one in loaded if "/live.js" in one]
    assert len(shared) == 1 and re.search(r"/_static/live\.js\?v=\w{8}$", shared[0])
    assert sum("/live-" in one for one in loaded) == 1


SEEN = """(() => {
  window.seen = new Set();
  const look = (node) => {
    if (node.nodeType !== 1) return;
    for (const one of [node, ...node.querySelectorAll("*")])
      one.classList.forEach((name) => seen.add(name));
  };
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "attributes") look(change.target);
      change.addedNodes.forEach(look);
    }
  }).observe(document, { subtree: true, childList: true, attributeFilter: ["class"] });
})()"""


def every_selector(sheet: str):
    """Yield the selectors of a style sheet."""
    for head, body in first_paint.rules(first_paint.COMMENT.sub("", sheet)):
        if head.strip().startswith(first_paint.WITHIN):
            yield from every_selector(body)
        elif body is not None and not head.strip().startswith("@"):
            yield from first_paint.selectors(" ".join(head.split()))


def test_no_rule_was_left_out_that_an_element_comes_to_need(site, tab, address):
    static = site / "_static"
    originals = [static / "basic.css", *static.glob("styles/*.css"), *static.glob("*.css")]
    kept = set(every_selector((static / first_paint.BUNDLE).read_text("utf-8")))
    left = {one for path in originals for one in every_selector(path.read_text("utf-8"))} - kept
    left = {one for one in left if first_paint.CLASS.search(first_paint.masked(one))}
    assert len(kept) > 1000 and len(left) > 1000

    tab.add_init_script(SEEN)
    seen = set()
    for page in (FRONT, LIVE, "book/ledger.html", "book/gallery.html", "search.html?q=collapse"):
        tab.goto(f"{address}{page}", wait_until="load")
        if page == LIVE:
            tab.locator(".theme-switch-button").first.hover()
            tab.wait_for_selector(".tooltip.show")
            tab.locator(".theme-switch-button").first.click()
            tab.locator(".bd-article summary").first.click()
            tab.locator("a.ncb-enlarge").first.click()
            tab.keyboard.press("Escape")
            tab.keyboard.press("Control+K")
            tab.keyboard.press("Escape")
        if page.startswith("search"):
            tab.wait_for_selector("ul.search li")
        seen |= set(tab.evaluate("[...seen]"))
    assert {"bs-tooltip-auto", "ncb-large"} <= seen
    # A sheet of one page is linked there.
    ledger = set(every_selector((static / "ledger.css").read_text("utf-8")))
    assert not {one for one in left - ledger if first_paint.needed(one, seen)}


# ---------------------------------------------------------------- the parts, without a site


@pytest.mark.parametrize(
    ("sheet", "slim"),
    [
        (".a { color: red } .b{color:blue}", ".a{color: red}"),
        (".a, .b, p > .a:hover { x: y }", ".a,p > .a:hover{x: y}"),
        (".a:not(.b, .c), .a[href*='.b'] { x: y }", ".a:not(.b, .c),.a[href*='.b']{x: y}"),
        (".a[open] .b { x: y } .a[open] > p { x: y }", ".a[open] > p{x: y}"),
        ("@media all { .b { x: y } } @media print { .a { x: y } }", "@media print{.a{x: y}}"),
        ("@font-face { src: url(b.woff) } :root { --b: '}' }",
         "@font-face{ src: url(b.woff) }:root{--b: '}'}"),
        ("/*! Licence */ .a { x: /* no; */ y }", "/*! Licence */.a{x:  y}"),
        (r".a\:b { x: y } .a\:c { x: y }", r".a\:b{x: y}"),
        (".a { background: url(data:image/svg+xml;{}) } .b { x: y }",
         ".a{background: url(data:image/svg+xml;{})}"),
    ],
)  # fmt: skip
def test_a_sheet_loses_the_rules_of_unknown_classes(sheet, slim):
    assert first_paint.slim(sheet, {"a", "a:b"}) == slim


def test_a_sheet_has_what_it_imports_and_finds_its_files(tmp_path):
    (tmp_path / "styles").mkdir()
    (tmp_path / "basic.css").write_text("p { background: url(file.png) }")
    (tmp_path / "styles" / "theme.css").write_text(
        '@charset "UTF-8";@import "../basic.css";b{src:url(../a/b.woff2) url("c.png") url(data:,x)}'
    )
    assert first_paint.whole(tmp_path, "styles/theme.css") == (
        'p { background: url(file.png) }b{src:url(a/b.woff2) url("styles/c.png") url(data:,x)}'
    )


def test_pages_link_the_one_sheet_and_keep_their_own():
    links = [f'<link rel="stylesheet" href="../_static/{name}.css?v=1" />\n' for name in "abc"]
    page = f"<head>{''.join(links)}<title>T</title></head><p>{links[0]}</p>"
    assert first_paint.sheets(page) == ["a.css", "b.css", "c.css"]
    assert first_paint.relinked(page, ["a.css", "c.css"], "2") == (
        f'<head><link rel="stylesheet" href="../_static/book.css?v=2" />\n{links[1]}'
        f"<title>T</title></head><p>{links[0]}</p>"
    )


def test_classes_come_from_pages_and_scripts():
    page = (
        '<p class="a b-c">not-this</p><script>x.className = "d"</script><script src="e"></script>'
    )
    assert first_paint.words([page], ['add("f-g")']) >= {"a", "b-c", "d", "f-g"}
    assert "not-this" not in first_paint.words([page], [])


@pytest.mark.parametrize("where", [FRONT, "search.html?q=collapse"])
def test_the_magnifier_is_beside_the_words_that_are_typed(where, tab, address):
    tab.goto(f"{address}{where}", wait_until="load")
    if where == FRONT:
        tab.keyboard.press("Control+K")
    form = tab.locator("form.bd-search:visible").first
    icon, field = (form.locator(one).bounding_box() for one in ("i", "input[type=search]"))
    padding = form.locator("input").evaluate(
        "(one) => parseFloat(getComputedStyle(one).paddingLeft)"
    )
    assert 0 < icon["width"] < 40
    assert icon["x"] + icon["width"] <= field["x"] + padding
