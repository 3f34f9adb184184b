"""The built book's files: links, ids, downloads, and what depends on the public address."""

import json
import re
from pathlib import Path

import pytest
import site_checks
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]


def test_links_and_anchors_resolve(site):
    assert site_checks.dead_links(site) == []


def test_ids_are_unique(site):
    assert site_checks.twice_used_ids(site) == []


def test_nothing_is_loaded_from_another_host(site):
    assert site_checks.loads_from_elsewhere(site) == []


def test_chapter_offers_its_notebook_and_its_source(site, chapter):
    name, page = chapter.id, chapter.parsed
    links = {a["href"].split("_sources/")[-1] for a in page.select("a[href*=_sources]")}
    assert {f"book/{name}.ipynb", f"notebooks/{name}.md"} <= links
    executed = json.loads((site / "_sources" / "book" / f"{name}.ipynb").read_text("utf-8"))
    assert any(cell.get("outputs") for cell in executed["cells"])
    written = (site / "_sources" / "notebooks" / f"{name}.md").read_text("utf-8")
    assert written == chapter.source.read_text("utf-8")
    assert f"ncbook run {name}" in page.select_one("#run-this-chapter").get_text()


def test_figures_offer_their_tables(chapter):
    page, soup = chapter.page, chapter.parsed
    figures = soup.select("figure.ncb-fig")
    assert figures, "the chapter has no figure"
    for figure in figures:
        links = {a.get_text(): a["href"] for a in figure.select(".ncb-fig-links a")}
        columns = (page.parent / links["Table (CSV)"]).read_text("utf-8").split("\n")[0].split(",")
        assert "seconds" not in columns, "the table would be another in each build"
        assert (page.parent / links["Enlarge"]).is_file()
        assert soup.select_one(links["Code"])


def test_no_page_shows_an_address_in_memory(site):
    shown = re.compile(r"\bobject at 0x[0-9a-f]+|\bat 0x[0-9a-f]{6,}")
    pages = {page: (site / page).read_text("utf-8") for page in site_checks.pages(site)}
    assert [page for page, text in pages.items() if shown.search(text)] == []


def test_the_search_finds_every_numbered_box(site):
    boxes, entries = site_checks.numbered_boxes(site), site_checks.search_entries(site)
    texts = [(site / page).read_text("utf-8") for page in site_checks.pages(site)]
    assert len(boxes) == sum(len(re.findall('class="proof [a-z]+ adm', text)) for text in texts)
    assert {title.split()[0] for title in boxes} >= {"Theorem", "Lemma", "Definition"}
    for title, (page, name) in boxes.items():
        for asked in (title.lower(), title.split()[1]):
            assert (page, name, True) in entries.get(asked, ()), f"{asked} is not to be found"


@pytest.mark.parametrize(
    ("letter", "command"),
    [("ε", "varepsilon"), ("λ", "lambda"), ("σ", "Sigma"), ("µ", "mu"), ("φ", "phi")],
)
def test_the_search_finds_a_letter_in_formulas(site, letter, command):
    formula = re.compile(rf'class="math[^>]*>[^<]*\\{command}(?![A-Za-z])')
    pages = {p for p in site_checks.pages(site) if formula.search((site / p).read_text("utf-8"))}
    pages -= {"book/gallery.html"}  # it repeats what the chapters' captions say
    found = site_checks.search_entries(site)[letter]
    assert pages, f"no formula has {letter}"
    assert pages <= {page for page, _, _ in found}
    assert {page for page, _, main in found if main} <= {"book/notation.html"}


def test_what_the_search_finds_is_there(site):
    for entry, places in site_checks.search_entries(site).items():
        for page, name, _ in places:
            assert not name or name in site_checks.ids(site / page), f"{entry}: {page}#{name}"


def test_the_general_index_lists_no_letters_and_numbers(site):
    index = BeautifulSoup((site / "genindex.html").read_text("utf-8"), "html.parser")
    entries = [tag.get_text() for tag in index.select("table.indextable li")]
    assert entries and not [e for e in entries if re.match(r"[α-ωϵ]|\d|\w+ \d+\.\d", e)]


def test_labels_agree_with_citations(site):
    soup = BeautifulSoup((site / "book" / "bibliography.html").read_text("utf-8"), "html.parser")
    labels = {tag.get_text().strip("[] \n") for tag in soup.select("div.citation > span.label")}
    assert "Mixon et al., 2022" in labels and "Tirer and Bruna, 2022" in labels
    chapter = next(iter(sorted((site / "book").glob("*/0*.html"))))
    cited = BeautifulSoup(chapter.read_text("utf-8"), "html.parser").select(".bibtex-citation a")
    texts = {" ".join(a.get_text().split()) for a in cited}
    assert texts, f"{chapter.name} cites nothing"
    known = labels | {label.split(", ")[-1] for label in labels}
    assert texts <= known, f"not in the bibliography: {texts - known}"


def test_every_module_is_in_the_reference(site):
    documented = {
        tag["id"].removeprefix("module-")
        for page in (site / "book" / "api").glob("*.html")
        for tag in BeautifulSoup(page.read_text("utf-8"), "html.parser").select("[id^=module-]")
    }
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "ncbook").rglob("*.py")
        if not path.name.startswith("_") or path.name == "__init__.py"
    }
    assert modules - {"ncbook"} - documented == set()


# What pages have of the public address, see test_site_public: links, buttons, what is said of them.
PUBLIC = re.compile(
    r'source-repository-button|launch-\w+-button|colab\.research|mybinder|rel="canonical"|'
    r'"(og:|twitter:|citation_)|ld\+json|executablebooks/jupyter-book'
)


def test_nothing_needs_a_public_address_while_there_is_none(site):
    if '  url: ""\n' not in (ROOT / "_config.yml").read_text("utf-8"):
        pytest.skip("The public address is set.")
    for page in site_checks.pages(site):
        assert not PUBLIC.search((site / page).read_text("utf-8")), page
    for name in ("sitemap.xml", "robots.txt", "404.html", "_static/cards"):
        assert not (site / name).exists(), name
    assert not list((site / "_sources" / "notebooks").rglob("*.ipynb"))
