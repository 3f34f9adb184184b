"""The book as one PDF: bookmarks, numbers, and links that lead to their places."""

import pytest
from pypdf import PdfReader

from ncbook.pipeline import pdf

NAMES = (
    "book/notation", "book/mixon-parshall-pi/05-figure-2", "book/mixon-parshall-pi/04-figure-1",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(browser, address, tmp_path_factory):
    """A PDF of three pages of the site, and the links that it has lost."""
    folder = tmp_path_factory.mktemp("pdf")
    parts = [pdf.printed(browser, address, name, folder) for name in NAMES]
    path = folder / "book.pdf"
    lost = pdf.joined(parts, address, path, browser)
    return PdfReader(path), lost, path


@pytest.fixture(scope="module")
def reader(made):
    return made[0]


def test_bookmarks_lead_to_the_headings(reader):
    top = [one for one in reader.outline if not isinstance(one, list)]
    assert len(top) == len(NAMES)
    starts = [reader.get_destination_page_number(one) for one in top]
    assert starts[0] == 0 and starts == sorted(set(starts))
    below = [one for part in reader.outline if isinstance(part, list) for one in part]
    titles = [one.title for one in below if not isinstance(one, list)]
    assert {"Recap", "Exercises", "Claims of this chapter"} <= set(titles)
    recap = next(one for one in below if not isinstance(one, list) and one.title == "Recap")
    assert "Recap" in reader.pages[reader.get_destination_page_number(recap)].extract_text()


def test_sheets_are_numbered_through(reader):
    for number, sheet in enumerate(reader.pages, 1):
        assert sheet.extract_text().split()[-1] == str(number)


def test_links_between_pages_are_jumps(reader, made, address):
    jumps = 0
    for sheet in reader.pages:
        for note in sheet.get("/Annots") or []:
            note = note.get_object()
            assert not str(note.get("/A", {}).get("/URI", "")).startswith(address)
            jumps += "/Dest" in note
    assert jumps > 20
    # To pages that this PDF does not have, and to what paper does not show.
    own = [one for one in made[1] if one.split("#")[0] in NAMES]
    assert {one.partition("#")[2] for one in own} <= {"run-this-chapter"}


def test_it_is_packed(reader, made):
    assert made[2].stat().st_size < 150_000 * len(reader.pages)
