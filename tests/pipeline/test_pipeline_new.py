"""A new chapter builds at once, and its control, its claim and its exercise do what they say."""

import shutil

import pytest
from scratch_book import Book


@pytest.fixture
def copied(root, tmp_path) -> Book:
    """The book's sources without what is made of them."""
    to = tmp_path / "book"
    for name in ("book", "notebooks"):
        made = shutil.ignore_patterns("*.ipynb", "figures", "tables", "_generated")
        shutil.copytree(root / name, to / name, ignore=made)
    for name in ("_config.yml", "_toc.yml", "requirements.txt"):
        shutil.copy(root / name, to)
    return Book(to)


def test_a_new_chapter_builds_and_its_exercise_comes_out_as_it_says(copied):
    said = copied.do("new", "mixon-parshall-pi/08-my-chapter", "--title", "What I measured")
    assert said.count("Written: ") == 3
    chapter = copied.root / "notebooks" / "mixon-parshall-pi" / "08-my-chapter.md"
    assert "# What I measured" in chapter.read_text() and "TITLE" not in chapter.read_text()
    contents = (copied.root / "_toc.yml").read_text().split("\n")
    at = contents.index("          - file: book/mixon-parshall-pi/08-my-chapter")
    assert contents[at - 1].endswith("07-deep-network")
    said = copied.do("build", "--chapter", "08-my-chapter")
    assert "1 claim: 1 holds." in said
    drawn = copied.root / "book" / "mixon-parshall-pi" / "figures" / "08-my-chapter"
    assert list(drawn.glob("*-wide.svg"))
    assert "1 of 1 exercises come out as they say." in copied.do("exercises", "08-my-chapter")


def test_a_new_paper_needs_a_source(copied):
    before = (copied.root / "_toc.yml").read_bytes()
    said = copied.do("new", "galanti-gyorgy-hutter/01-transfer", expect=2)
    assert "name it with --citation, a key of book/references.bib" in said
    assert (copied.root / "_toc.yml").read_bytes() == before
    assert not (copied.root / "notebooks" / "galanti-gyorgy-hutter").exists()
    copied.do("new", "galanti-gyorgy-hutter/01-transfer", "--citation", "galanti2022role")
    claims = (copied.root / "notebooks" / "galanti-gyorgy-hutter" / "claims.toml").read_text()
    assert 'citation = "galanti2022role"' in claims


@pytest.mark.parametrize(
    ("id", "said"),
    [
        ("mixon-parshall-pi/04-figure-1", "There is a chapter"),
        ("04-figure-1", "names no chapter"),
        ("Paper/01-one", "names no chapter"),
        ("paper/one", "names no chapter"),
    ],
)
def test_what_cannot_be_a_new_chapter_is_refused(copied, id, said):
    assert said in copied.do("new", id, expect=2)
