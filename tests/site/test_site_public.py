"""What the public address turns on: a small site with the book's own settings and an address."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
import site_checks
import yaml
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from PIL import Image
from sphinx.errors import ConfigError

from ncbook.figures.show import on_paper
from ncbook.figures.style import svg

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/Owner/name"
SITE = "https://owner.github.io/name/"
PAPER, CHAPTER = "mixon-parshall-pi", "01-a-start"
SOURCE = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
ncbook: {profiles: {quick: {}, paper: {}}}
---

# A start near $S$

A start of size $1/\\sqrt R$ decays as $e^{-2\\lambda t}$. It is "small".

:::{fig} lines
:alt: A line that rises.

**It rises.** One line.
:::

```{code-cell}
:tags: [parameters]
profile = "quick"
```
"""


@pytest.fixture(scope="module")
def public():
    """The extension as a module."""
    import ncbook_public

    return ncbook_public


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A book of two pages and one chapter."""
    root = tmp_path_factory.mktemp("public")
    for name in ("CITATION.cff", *(f"book/{one}" for one in ("_ext", "_static", "_templates"))):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    bibliography = (ROOT / "book" / "references.bib").read_text("utf-8")
    (root / "book" / "references.bib").write_text(bibliography, "utf-8")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["repository"]["url"] = REPOSITORY
    (root / "_config.yml").write_text(yaml.safe_dump(config))
    chapter = f"book/{PAPER}/{CHAPTER}"
    pages = ["book/other", "book/reproduce", chapter]
    toc = {"format": "jb-book", "root": "book/index", "chapters": [{"file": one} for one in pages]}
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    written = root / "notebooks" / PAPER / f"{CHAPTER}.md"
    written.parent.mkdir(parents=True)
    written.write_text(SOURCE)
    shutil.copy(ROOT / "notebooks" / PAPER / "claims.toml", written.parent)
    figure = Figure((4, 2))
    figure.subplots().plot([0, 1], [0, 1], label="x")
    for layout in ("wide", "narrow"):
        file = root / "book" / PAPER / "figures" / CHAPTER / f"lines-{layout}.svg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(svg(figure, prefix=f"lines-{layout}", alt="lines", layout=layout))
    text = SOURCE.split("---\n", 2)[2].partition("```{code-cell}")[0]
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    executed.metadata["kernelspec"] = {"display_name": "Python 3", "name": "python3"}
    nbformat.write(executed, root / f"{chapter}.ipynb")
    figure = f":::{{fig}} {PAPER}/{CHAPTER}/lines\n:alt: A line that rises.\n\nIt rises.\n:::\n"
    (root / "book" / "index.md").write_text(f"# Front\n\n{figure}\nThe first *words* & more.\n")
    (root / "book" / "other.md").write_text("# Other\n\nA page without a figure.\n")
    (root / "book" / "reproduce.md").write_text("# Run it\n\nA page.\n")
    return root


def build(root: Path) -> Path:
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(root), "--warningiserror", "--nitpick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return root / "_build" / "html"


@pytest.fixture(scope="module")
def built(small) -> Path:
    return build(small)


def page_of(built: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((built / "book" / f"{name}.html").read_text("utf-8"), "html.parser")


def said(page: BeautifulSoup) -> dict[str, str]:
    named = ((tag.get("property") or tag.get("name"), tag) for tag in page.select("meta[content]"))
    return {name: tag["content"] for name, tag in named}


def test_every_page_says_where_it_is(built):
    for page in site_checks.pages(built):
        if page == "404.html":
            continue
        soup = BeautifulSoup((built / page).read_text("utf-8"), "html.parser")
        links = [tag["href"] for tag in soup.select("link[rel=canonical]")]
        assert links == [SITE + page]
    pages = [
        f"{SITE}book/{name}.html" for name in ("index", f"{PAPER}/{CHAPTER}", "other", "reproduce")
    ]
    listed = ElementTree.parse(built / "sitemap.xml").getroot()
    assert [url[0].text for url in listed] == pages
    assert f"Sitemap: {SITE}sitemap.xml" in (built / "robots.txt").read_text()


def test_nothing_is_loaded_from_elsewhere_and_no_whole_font_of_icons(built, tab):
    assert site_checks.loads_from_elsewhere(built) == []
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    with site_checks.served(built) as address:
        tab.goto(f"{address}book/{PAPER}/{CHAPTER}.html")
        for menu in tab.locator(".article-header-buttons .dropdown > button").all():
            menu.click()
            assert tab.locator(".dropdown-menu.show a").count()
        tab.evaluate("document.fonts.ready")
    assert any("icons.woff" in one for one in asked)
    assert not [one for one in asked if "/fa-" in one]


def test_a_link_to_a_chapter_shows_its_words_and_its_figure(built):
    found = said(page_of(built, f"{PAPER}/{CHAPTER}"))
    assert found["og:title"] == "A start near S"
    assert found["description"] == "A start of size 1/√R decays as e^(-2λt). It is “small”."
    assert found["og:description"] == found["description"]
    assert found["og:url"] == f"{SITE}book/{PAPER}/{CHAPTER}.html"
    assert found["twitter:card"] == "summary_large_image"
    assert found["og:image"] == f"{SITE}_static/cards/{PAPER}/{CHAPTER}.png"
    card = Image.open(built / found["og:image"].removeprefix(SITE))
    assert card.size == (int(found["og:image:width"]), int(found["og:image:height"])) == (1200, 630)
    assert len(card.convert("RGB").getcolors(1 << 20)) > 50  # not an empty sheet
    assert found["og:image:alt"].startswith(found["og:title"])
    other = said(page_of(built, "other"))
    assert other["og:image"] == f"{SITE}_static/cards/index.png"
    assert other["og:image:alt"].startswith(said(page_of(built, "index"))["og:title"])
    assert (built / "_static" / "cards" / "index.png").is_file()


def test_programs_that_collect_references_find_the_chapter_and_its_paper(built):
    found = said(page_of(built, f"{PAPER}/{CHAPTER}"))
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    assert found["citation_title"] == "A start near S"
    assert found["citation_inbook_title"] == config["title"]
    assert found["citation_author"] == config["author"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert found["citation_publication_date"] == f"{citation['date-released']:%Y/%m/%d}"
    assert found["citation_public_url"] == found["og:url"]
    scripts = {
        name: json.loads(
            page_of(built, name).select_one("script[type='application/ld+json']").string
        )
        for name in ("index", "other", f"{PAPER}/{CHAPTER}")
    }
    front, other, chapter = scripts.values()
    assert front["@type"] == "Book" and "isPartOf" not in front
    assert other["@type"] == "WebPage" and "isBasedOn" not in other
    assert chapter["@type"] == ["Chapter", "LearningResource"]
    assert chapter["isPartOf"] == {"@type": "Book", "name": config["title"], "url": front["url"]}
    assert chapter["license"].startswith("https://creativecommons.org/licenses/by/4.0")
    paper = chapter["isBasedOn"]
    assert paper["sameAs"] == "https://doi.org/10.48550/arXiv.2011.11619"
    assert paper["author"][0]["name"] == "Dustin G. Mixon"


def test_titles_and_authors_have_one_source():
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["title"].startswith(f"{config['title']}: ")
    assert [one["name"] for one in citation["authors"]] == [config["author"]]


def test_pages_link_to_their_source_and_chapters_open_elsewhere(built):
    page = page_of(built, f"{PAPER}/{CHAPTER}")
    links = {a["href"] for a in page.select("a[href]")}
    source = f"{REPOSITORY}/{{}}/main/notebooks/{PAPER}/{CHAPTER}.md"
    assert {REPOSITORY, source.format("edit"), source.format("blob") + "?plain=1"} <= links
    assert any(link.startswith(f"{REPOSITORY}/issues/new") for link in links)
    opened = f"notebooks/{PAPER}/{CHAPTER}.ipynb"
    elsewhere = {
        f"https://colab.research.google.com/github/Owner/name/blob/notebooks/{opened}",
        f"https://mybinder.org/v2/gh/Owner/name/main?urlpath=lab/tree/{opened}",
    }
    assert elsewhere <= links
    assert elsewhere <= {a["href"] for a in page.select("#run-this-chapter a")}
    assert not elsewhere & {a["href"] for a in page_of(built, "other").select("a[href]")}
    notebook = nbformat.read(built / "_sources" / opened, as_version=4)
    nbformat.validate(notebook)
    assert REPOSITORY in notebook.cells[0].source and "# A start" in notebook.cells[1].source


def test_a_page_that_is_not_there_leads_to_the_first(built):
    page = BeautifulSoup((built / "404.html").read_text("utf-8"), "html.parser")
    assert [a["href"] for a in page.select("a")] == [f"{SITE}book/index.html"]
    assert not page.select("script, link, img")


@pytest.mark.parametrize(
    ("repository", "site"),
    [
        ("https://github.com/Owner/name", "https://owner.github.io/name/"),
        ("https://github.com/Owner/owner.github.io", "https://owner.github.io/"),
        ("https://gitlab.com/group/below/name", "https://group.gitlab.io/below/name/"),
    ],
)
def test_the_address_of_the_site_follows(public, repository, site):
    assert public.site_of(public.repository_of(f"{repository}.git/")) == site


def test_what_cannot_be_an_address_is_refused(public):
    with pytest.raises(ConfigError, match=r"'github.com/owner/name'; expected https://, a forge"):
        public.repository_of("github.com/owner/name")
    with pytest.raises(ConfigError, match=r"expected https://"):
        public.repository_of("https://github.com/owner")
    with pytest.raises(ConfigError, match=r"Where forge.example publishes .* as html: baseurl\.$"):
        public.site_of("https://forge.example/owner/name")


def config_of(repository: str, site: str = ""):
    return SimpleNamespace(html_theme_options={"repository_url": repository}, html_baseurl=site)


@pytest.mark.parametrize("repository", ["", "https://forge.example/owner/name"])
def test_one_setting_turns_all_of_it_on(public, repository):
    config = config_of(repository, "https://book.example" if repository else "")
    public.use_public_address(None, config)
    buttons = [on for name, on in config.html_theme_options.items() if name.endswith("_button")]
    assert len(buttons) == 4 and all(on is bool(repository) for on in buttons)
    assert config.html_baseurl == ("https://book.example/" if repository else "")


def test_where_a_chapter_opens_depends_on_the_forge(public):
    binder = public.launchers("https://gitlab.com/group/below/name", "main", "p/01-a")
    assert list(binder) == ["Binder"] and "/v2/gl/group%2Fbelow%2Fname/main?" in binder["Binder"]
    binder = public.launchers("https://forge.example/o/n", "main", "p/01-a")
    assert "/v2/git/https%3A%2F%2Fforge.example%2Fo%2Fn/main?" in binder["Binder"]


def test_a_long_description_ends_with_a_sentence(public):
    from docutils import nodes

    sentence = "This sentence has some forty-two letters. "
    section = nodes.section("", nodes.paragraph("", "", nodes.Text(sentence * 20)))
    said = public.description_of(section)
    assert said == (sentence * 7).strip() and len(said) <= public.LONGEST


# ---------------------------------------------------------------- cards


@pytest.fixture(scope="module")
def cards(public):
    """The module that draws cards."""
    import ncbook_card

    return ncbook_card


@pytest.fixture
def card(cards, tmp_path):
    """Draw a card with a drawing; return its pixels and its file."""
    file = tmp_path / "card.png"

    def drawn(inner: str):
        head = '<svg viewBox="0 0 100 50" xmlns="http://www.w3.org/2000/svg" fill="currentColor">'
        cards.draw(file, "Title", "above", f"{head}{inner}</svg>")
        return Image.open(file).convert("RGB")

    drawn.file = file
    return drawn


def test_a_card_shows_the_drawing_where_it_is(card):
    inner = (
        '<defs><path id="m" d="M -2 -2 L 2 -2 L 2 2 L -2 2 z" style="stroke: none"/></defs>'
        '<clipPath id="c"><rect x="0" y="0" width="100" height="25"/></clipPath>'
        '<rect x="0" y="0" width="20" height="50" fill="#ff0000" clip-path="url(#c)"/>'
        '<g transform="translate(50 10) rotate(90)"><use href="#m" x="20" fill="#00ff00"/></g>'
        '<circle cx="90" cy="40" r="5" fill="#0000ff" opacity="0.5"/>'
    )
    pixels = np.asarray(card(inner)).astype(int)

    def place(*colour):
        rows, columns = np.nonzero(np.abs(pixels - colour).max(-1) < 2)
        return np.array([columns.mean(), rows.mean()]), np.array([np.ptp(columns), np.ptp(rows)])

    (red, wide), (green, mark), (blue, _) = place(255, 0, 0), place(0, 255, 0), place(127, 127, 255)
    unit = wide[0] / 20
    assert wide == pytest.approx([20 * unit, 25 * unit], abs=4)  # half is cut off
    assert mark == pytest.approx([4 * unit, 4 * unit], abs=4)
    # From the circle at (90, 40): the mark, turned, is at (50, 30) and not at (70, 10).
    assert green - blue == pytest.approx([-40 * unit, -10 * unit], abs=8)
    assert red - blue == pytest.approx([-80 * unit, -27.5 * unit], abs=8)


def test_a_card_keeps_dashes_and_what_is_thinner_than_a_pixel(card):
    dashed = "stroke: #ff0000; stroke-width: 3; stroke-dasharray: 10,10"
    thin = '<rect x="0" y="10.03" width="100" height="0.04" fill="#0000ff"/>'
    pixels = np.asarray(card(f'<path d="M 0 40 L 100 40" style="{dashed}"/>{thin}')).astype(int)
    red = (np.abs(pixels - (255, 0, 0)).max(-1) < 2).any(0)
    assert np.count_nonzero(np.diff(red.astype(int)) == 1) == 5
    assert (pixels[..., 2] - pixels[..., 0]).max() > 50


def test_a_card_is_drawn_again_where_something_changed(card):
    circle = '<circle cx="50" cy="25" r="9" fill="#ff0000"/>'
    card(circle)
    before, when = card.file.read_bytes(), card.file.stat().st_mtime_ns
    card(circle)
    assert card.file.stat().st_mtime_ns == when
    card(circle.replace("9", "8"))
    assert card.file.read_bytes() != before
    card(circle)
    assert card.file.read_bytes() == before


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ('<path d="M 0 0 A 1 1 0 0 0 2 2"/>', "the path command 'A'"),
        ('<ellipse rx="2" ry="1"/>', "the element 'ellipse'"),
        ('<g transform="skewX(3)"/>', "the transform 'skewX'"),
    ],
)
def test_what_a_card_cannot_show_is_refused(card, inner, said):
    with pytest.raises(ValueError, match=said):
        card(inner)


def test_the_first_figure_of_every_chapter_can_be_shown(site, public, cards):
    for source in (ROOT / "notebooks").glob("*/[0-9][0-9]-*.md"):
        name = public.FIGURE.search(source.read_text("utf-8"))[1]
        folder = ROOT / "book" / source.parent.name / "figures" / source.stem
        drawing = on_paper((folder / f"{name}-wide.svg").read_text("utf-8"))
        cards.Drawing(drawing, Figure(), (0, 0, 1200, 630))
