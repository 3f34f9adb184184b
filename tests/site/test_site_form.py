"""The form of a chapter in a browser: folded code, previews, exercises, large figures, paper."""

import io
import re
from pathlib import Path

import site_checks
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
SCENE = "book/mixon-parshall-pi/01-neural-collapse.html"
CHAPTER = "book/mixon-parshall-pi/04-figure-1.html"
MINUTES = 25


# ---------------------------------------------------------------- what each chapter has


def test_a_chapter_is_short_and_says_how_its_claims_stand(chapter):
    page = chapter.parsed
    minutes, claims = (one.get_text() for one in page.select(".ncb-facts > *"))
    assert int(minutes.split()[0]) <= MINUTES
    hold, of = map(int, re.fullmatch(r"(\d+) of (\d+) claims hold", claims).groups())
    verdicts = [row["data-verdict"] for row in page.select("tr[data-verdict]")]
    assert (hold, of) == (verdicts.count("holds"), len(verdicts))


def test_a_chapter_has_exercises_of_three_grades_with_solutions(chapter):
    page = chapter.parsed
    exercises = page.select("div.exercise")
    for grade in ("check", "derive", "run"):
        assert page.select(f"div.exercise.ncb-grade-{grade}"), f"no exercise to {grade}"
    assert len(page.select("details.ncb-fold-solution")) == len(exercises)
    for one in page.select("div.exercise.ncb-grade-run"):
        assert f"ncbook run {chapter.id} -p " in one.get_text()


def test_a_chapter_folds_its_code_and_its_figures_have_numbers(chapter):
    page = chapter.parsed
    cells = page.select("div.cell > div.cell_input, div.cell > details.hide")
    folded = [one for one in cells if one.name == "details"]
    assert len(folded) > len(cells) / 2
    assert not [one for one in folded if one.has_attr("open")]
    assert page.select(".highlight a.ncb-name"), "no name of its code leads to the reference"
    for figure in page.select("figure.ncb-fig"):
        caption = figure.select_one("figcaption .caption-text")
        assert re.match(r"Fig(\.|ure) \d[\d.]*", figure.select_one(".caption-number").get_text())
        assert caption.select("strong"), "a caption begins with its conclusion"


def test_the_gallery_has_every_figure(site):
    page = BeautifulSoup((site / "book" / "gallery.html").read_text("utf-8"), "html.parser")
    chapters = [path.read_text("utf-8") for path in (site / "book").glob("*/[0-9][0-9]-*.html")]
    drawn = sum(text.count('<figure class="ncb-fig ') for text in chapters)
    entries = page.select(".ncb-gallery li a")
    assert len(entries) == drawn > 60
    for entry in entries:
        assert (site / "book" / entry.img["src"]).is_file()
        assert entry["href"].split("#")[0] and entry.get_text().split("Figure ")[1]
        for formula in entry.select(".math"):
            formula.decompose()
        assert "\\" not in entry.get_text(), "a formula is set as one"


# ---------------------------------------------------------------- what a reader does


def test_one_switch_opens_all_code_and_is_remembered(tab, address):
    tab.goto(address + CHAPTER)
    opened = "[...document.querySelectorAll('details.hide')].map((one) => one.open)"
    assert not any(tab.evaluate(opened))
    tab.click(".ncb-all-code")
    assert all(tab.evaluate(opened))
    tab.goto(address + SCENE)
    assert all(tab.evaluate(opened))
    tab.click(".ncb-all-code")
    assert not any(tab.evaluate(opened))


def test_without_scripts_everything_can_be_opened(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address + CHAPTER)
    for kind in ("details.hide", "details.ncb-fold-proof", "details.ncb-fold-solution"):
        fold = tab.locator(kind).first
        fold.locator("summary").click()
        assert fold.get_attribute("open") is not None
    tab.goto(address + SCENE)
    assert tab.locator("figure.ncb-fig svg").first.is_visible()
    context.close()


def test_the_code_of_a_figure_is_one_click_away(tab, address):
    tab.goto(address + CHAPTER)
    tab.locator("a.ncb-to-code").first.click()
    fold = tab.locator("details.hide[open]")
    assert fold.count() == 1 and "figure(" in fold.inner_text()


def test_what_a_link_leads_to_is_shown_on_hover_and_on_focus(tab, address):
    tab.goto(address + CHAPTER)
    site_checks.settle(tab)
    link = tab.locator(".bd-article p a[href*='#prop-']:visible").first
    link.scroll_into_view_if_needed()
    link.hover()
    tip = tab.locator(".ncb-tip")
    tip.wait_for(state="visible")
    assert len(tip.inner_text()) > 20 and not tip.locator("[id]:not(mjx-container *)").count()
    tab.keyboard.press("Escape")
    tip.wait_for(state="detached")
    tab.keyboard.press("Tab")
    tab.evaluate("document.activeElement.blur()")
    link.focus()
    tip.wait_for(state="visible")


def test_a_figure_is_enlarged_and_put_back(tab, address):
    tab.goto(address + CHAPTER)
    drawing = tab.locator("figure.ncb-fig svg.ncb-wide").first
    before = drawing.bounding_box()["width"]
    tab.locator("a.ncb-enlarge").first.click()
    large = tab.locator("dialog.ncb-large svg").first
    assert large.bounding_box()["width"] > 1.2 * before
    tab.keyboard.press("Escape")
    tab.locator("dialog.ncb-large").wait_for(state="detached")


def test_a_scene_turns_plays_and_is_enlarged(tab, address):
    tab.goto(address + SCENE)
    scene = tab.locator(".ncb-scene").first
    svg = scene.locator(".ncb-stage svg").first
    svg.scroll_into_view_if_needed()
    frame = "document.querySelector('.ncb-scene').ncbScene.frame"
    view = "document.querySelector('.ncb-scene').ncbScene.view"
    first = tab.evaluate(view)
    svg.focus()
    tab.keyboard.press("ArrowRight")
    turned = tab.evaluate(view)
    assert turned != first
    box = svg.bounding_box()
    tab.mouse.move(box["x"] + 100, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 160, box["y"] + 120)
    tab.mouse.up()
    assert tab.evaluate(view) != turned
    scene.get_by_role("slider").focus()
    tab.keyboard.press("Home")
    assert tab.evaluate(frame) == 0
    scene.get_by_role("button", name="Play").click()
    tab.wait_for_function(f"{frame} > 1")
    small = box["width"]
    tab.locator("figure.ncb-fig:has(.ncb-scene) a.ncb-enlarge").first.click()
    large = tab.locator("dialog.ncb-large .ncb-stage svg").first
    assert large.bounding_box()["width"] > 1.1 * small
    tab.keyboard.press("Escape")
    tab.locator("figure.ncb-fig .ncb-scene").first.wait_for(state="visible")


def test_on_paper_all_is_open_and_scenes_are_stills(tab, address):
    tab.emulate_media(color_scheme="dark")
    tab.goto(address + SCENE)
    site_checks.settle(tab)
    sheets = PdfReader(io.BytesIO(tab.pdf(prefer_css_page_size=True, print_background=True))).pages
    text = re.sub(r"\s+", " ", " ".join(sheet.extract_text() for sheet in sheets))
    source = (ROOT / "notebooks" / "mixon-parshall-pi" / "01-neural-collapse.md").read_text("utf-8")
    assert "runtime.start()" in text, "folded code is printed"
    assert text.count("Why this tolerance") == tab.locator("tr[data-verdict]").count()
    assert text.count("Proof") >= source.count("{prf:proof}")
    for words in ("Show all code", "Drag to turn", "Enlarge", "Reset the view"):
        assert words not in text
