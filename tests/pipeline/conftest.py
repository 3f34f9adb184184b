"""Scratch books for the tests of the pipeline."""

import pytest
from scratch_book import CONFIG, Book


@pytest.fixture
def empty(tmp_path) -> Book:
    """A book without chapters."""
    root = tmp_path / "book"
    (root / "book").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "_config.yml").write_text(CONFIG)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (root / "book" / "index.md").write_text("# Scratch\n\nA page.\n")
    return Book(root)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory) -> tuple[Book, str]:
    """A book of two chapters, built with its site; and what the build said. Do not change it."""
    root = tmp_path_factory.mktemp("built") / "book"
    (root / "book").mkdir(parents=True)
    (root / "_config.yml").write_text(CONFIG)
    (root / "book" / "index.md").write_text("# Scratch\n\nA page.\n")
    book = Book(root)
    for name in ("01-one", "02-two"):
        book.chapter(name)
    book.contents()
    return book, book.do("build")


@pytest.fixture
def built(built_once, tmp_path) -> Book:
    """A copy of it, to be changed."""
    return built_once[0].copy(tmp_path / "book")
