"""The built book in a browser: every page, wide and narrow, light and dark."""

import re
from urllib.parse import quote

import site_checks
from bs4 import BeautifulSoup


def test_page_has_no_console_errors(page, visits):
    assert visits(page).errors == []


def test_page_asks_no_other_host(page, visits):
    assert visits(page).elsewhere == []


def test_page_has_its_images(page, visits):
    assert visits(page).broken_images == []


def test_page_says_its_pictures_in_words(page, visits):
    assert visits(page).without_words == []


def test_page_does_not_scroll_sideways_on_a_telephone(page, visits):
    assert visits(page).too_wide == []


def test_page_has_contrast_in_light_and_dark(page, visits):
    assert visits(page).faint == []


def test_page_is_accessible(page, visits, needs_axe):
    assert visits(page).inaccessible == []


def test_page_shows_its_first_figure_early(page, visits):
    assert visits(page).too_low == []


def test_the_ledger_is_short_on_a_telephone_until_something_is_opened(site, tab, address):
    tab.set_viewport_size(site_checks.TELEPHONE)
    tab.goto(address + "book/ledger.html")
    site_checks.settle(tab)
    assert tab.evaluate("document.documentElement.scrollHeight") < 15_000
    assert tab.locator("tr[data-verdict]").count() > 50


def test_a_link_to_a_claim_opens_it(site, tab, address):
    chapter = next(page for page in site_checks.pages(site) if "04-figure-1" in page)
    tab.goto(address + chapter)
    row = tab.locator("tr[data-verdict]").last
    reason = row.get_by_text("Why this tolerance")
    assert not reason.is_visible()
    tab.goto(f"{address}{chapter}#{row.get_attribute('id')}")
    reason.wait_for(state="visible")


def test_dark_mode_toggles(site, tab, address):
    chapter = next(page for page in site_checks.pages(site) if "04-figure-1" in page)
    tab.goto(address + chapter)
    site_checks.settle(tab)
    light = site_checks.colours(tab)
    assert light["theme"] == "light" and light["figure"]
    for _ in range(3):  # the button goes through light, dark and the system's own
        tab.locator("button.theme-switch-button:visible").first.click()
        if tab.evaluate("document.documentElement.dataset.theme") == "dark":
            break
    dark = site_checks.colours(tab)
    assert dark["theme"] == "dark"
    assert site_checks.luminance(dark["background"]) < 0.1
    assert site_checks.luminance(light["background"]) > 0.8
    for seen in (light, dark):
        assert site_checks.contrast(seen["figure"], seen["background"]) >= 4.5, seen
    tab.reload()
    assert site_checks.colours(tab)["theme"] == "dark", "the choice is not remembered"


def test_a_dark_page_is_printed_light(site, tab, address):
    tab.emulate_media(color_scheme="dark")
    tab.goto(address + next(page for page in site_checks.pages(site) if "04-figure-1" in page))
    site_checks.settle(tab)
    theme = "document.documentElement.dataset.theme"
    assert tab.evaluate(theme) == "dark"
    tab.emulate_media(media="print", color_scheme="dark")
    tab.wait_for_function(f"{theme} === 'light'")
    assert site_checks.luminance(site_checks.colours(tab)["background"]) > 0.8
    assert tab.evaluate(site_checks._FAINT) == []
    tab.emulate_media(media="screen", color_scheme="dark")
    tab.wait_for_function(f"{theme} === 'dark'")


def test_search_finds_a_theorem_by_its_name(site, tab, address):
    html = (site / "book" / "wu-mondelli" / "02-stationary-points.html").read_text("utf-8")
    title = theorems(html)[0]
    found = search(tab, address, " ".join(re.findall(r"[A-Za-z]{4,}", title)))
    pages = [place.split("#")[0] for place in found]
    assert "/book/wu-mondelli/02-stationary-points.html" in pages, title


def test_search_finds_a_theorem_by_its_number(site, tab, address):
    boxes = site_checks.numbered_boxes(site)
    for title in [*boxes][::20]:
        page, name = boxes[title]
        assert search(tab, address, title)[0] == f"/{page}#{name}", title
        number = title.split()[1]
        same = {f"/{p}#{n}" for other, (p, n) in boxes.items() if other.split()[1] == number}
        assert set(search(tab, address, number)[: len(same)]) == same, number


def test_search_finds_a_symbol_by_its_letter(site, tab, address):
    for letter in "ελΣµ":
        found = search(tab, address, letter)
        assert found[0].startswith("/book/notation.html#"), letter
        assert len(found) > 5, letter


def search(tab, address: str, words: str) -> list[str]:
    """Search the site; return the places that were found, in their order."""
    tab.goto(f"{address}search.html?q={quote(words)}", wait_until="commit")
    tab.wait_for_selector("#search-results .search-summary:has-text('page')", timeout=20_000)
    return tab.eval_on_selector_all(
        "#search-results li > a", "all => all.map((a) => a.pathname + a.hash)"
    )


def theorems(html: str) -> list[str]:
    """The titles of a page's theorem boxes that have one of at least two words to search for."""
    titles = (
        tag.get_text(" ", strip=True)
        for tag in BeautifulSoup(html, "html.parser").select("div.proof > p.admonition-title")
    )
    named = [match[1] for match in (re.search(r"\((.*)\)", title) for title in titles) if match]
    return [name for name in named if len(re.findall(r"[A-Za-z]{4,}", name)) >= 2]
