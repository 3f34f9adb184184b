"""The site's own Sphinx extension, without a site."""

from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def extension():
    """The extension as a module."""
    import ncbook_site

    return ncbook_site


def test_labels_of_one_year_are_told_apart(extension):
    from pybtex.database import Entry, Person

    def entry(*names):
        return Entry("misc", {"year": "2020"}, {"author": [Person(name) for name in names]})

    style = extension.AuthorYear()
    labels = list(style.format_labels([entry("A, B"), entry("A, B"), entry("C, D", "E, F")]))
    assert labels == ["A, 2020a", "A, 2020b", "C and E, 2020"]


def test_every_module_is_on_one_api_page(extension):
    pages = [path.read_text() for path in (ROOT / "book" / "api").glob("*.md")]
    named = [
        module
        for page in pages
        for names in extension.API.findall(page)
        for room in extension.wanted(names)
        for module in extension.modules(room)
    ]
    every = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "ncbook").rglob("*.py")
        if not path.name.startswith("_") or path.name == "__init__.py"
    }
    assert len(named) == len(set(named)) and set(named) == every - {"ncbook"}


def test_ids_that_stand_twice_are_mended(extension):
    body = (
        '<div class="proof theorem admonition" id="t">\n<p class="admonition-title" id="t">T</p>'
        '<section class="theorem-content" id="proof-content"></section></div>'
        '<div class="proof admonition" id="proof"></div>\n'
        '<div class="proof admonition" id="proof"></div>'
        '<div role="list" class="citation-list"></div>'
    )
    mended = extension.mend(body)
    assert mended.count('id="t"') == 1 and "proof-content" not in mended
    assert 'id="proof"' not in mended
    assert 'role="list"' not in mended
    assert extension.mend(mended) == mended


def test_source_link_of_a_chapter_leads_to_its_source(extension, tmp_path):
    source = tmp_path / "notebooks" / "paper" / "01-a.md"
    source.parent.mkdir(parents=True)
    source.write_text("# A\n")
    button = {
        "label": "source-file-button",
        "url": "https://forge.example/o/n/book/paper/01-a.ipynb",
    }
    context = {
        "pathto": lambda name, resource=0: f"../../{name}",
        "sourcename": "book/paper/01-a.ipynb",
        "header_buttons": [
            {"label": "source-buttons", "buttons": [button]},
            {"label": "download-buttons", "buttons": [{"label": "download-source-button"}]},
        ],
        "body": "<p>Words.</p>",
    }
    app = SimpleNamespace(srcdir=tmp_path, outdir=tmp_path / "out")
    extension.add_chapter_buttons(app, "book/paper/01-a", "page.html", context, object())
    assert button["url"] == "https://forge.example/o/n/notebooks/paper/01-a.md"
    assert (
        tmp_path / "out" / "_sources" / "notebooks" / "paper" / "01-a.md"
    ).read_text() == "# A\n"
    assert context["header_buttons"][0]["label"] == "run-this-chapter-button"
    assert "ncbook run paper/01-a" in context["body"]


def test_other_pages_get_no_chapter_buttons(extension, tmp_path):
    context = {"header_buttons": [], "body": "<p>Words.</p>"}
    app = SimpleNamespace(srcdir=tmp_path, outdir=tmp_path)
    extension.add_chapter_buttons(app, "book/index", "page.html", context, object())
    assert context == {"header_buttons": [], "body": "<p>Words.</p>"}


def test_a_signature_shows_types_alone(extension):
    option = "<typer.models.OptionInfo object at 0x7f>"
    said = (
        f"(a: ~typing.Annotated[list[str] | None, {option}, {option}] = None, "
        f"b: ~pathlib.Annotated[~pathlib.Path, {option}], c: Annotated[int, 'c'], d: int = 1)"
    )
    types = "(a: list[str] | None = None, b: ~pathlib.Path, c: Annotated[int, 'c'], d: int = 1)"
    shown = extension.show_types_alone(None, "function", "f", None, None, said, "int")
    assert shown == (types, "int")
    assert extension.show_types_alone(None, "function", "f", None, None, "(a)", None) is None
