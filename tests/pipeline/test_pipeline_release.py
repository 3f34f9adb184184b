"""A release of a tiny book: what is in it, that it repeats, and what is refused."""

import datetime
import hashlib
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile

import chromium
import nbformat
import pytest
import yaml
from scratch_book import Book

from ncbook.pipeline import release

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "scratch"
version = "0.3.0"
license-files = ["LICENSE"]

[tool.setuptools.packages.find]
include = ["scratch*"]
"""
CITED = "cff-version: 1.2.0\ntitle: Scratch\nversion: 0.3.0\ndate-released: 2025-01-02\n"
FILES = {
    "pyproject.toml": PROJECT,
    "CITATION.cff": CITED,
    "LICENSE": "A licence.\n",
    "requirements.txt": "setuptools\n",
    "scratch/__init__.py": '"""A package."""\n',
}


def ready(book: Book) -> Book:
    """Give a book what a release needs, and commit it."""
    for name, text in FILES.items():
        (book.root / name).parent.mkdir(exist_ok=True)
        (book.root / name).write_text(text)
    book.commit()
    return book


@pytest.fixture(scope="module")
def released(built_once, tmp_path_factory):
    """A released book without its PDF, what the command said, and the folder."""
    book = ready(built_once[0].copy(tmp_path_factory.mktemp("released") / "book"))
    said = book.do("release", "--no-pdf")
    return book, said, book.root / "_build" / "release" / "scratch-0.3.0"


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_it_has_what_an_archive_needs(released):
    _, said, folder = released
    assert f"The release: {folder}" in said
    assert f"SHA-256 {digest(folder.with_name('scratch-0.3.0.zip'))}" in said
    found = names(folder)
    assert {name for name in found if not name.startswith("site/")} == {
        "CITATION.cff",
        "LICENSE",
        "README.md",
        "SHA256SUMS",
        "notebooks/paper/01-one.ipynb",
        "notebooks/paper/02-two.ipynb",
        "notebooks/paper/tables/01-one/numbers.csv",
        "notebooks/paper/tables/02-two/numbers.csv",
        "requirements.txt",
        "scratch-0.3.0-py3-none-any.whl",
        "scratch-0.3.0.tar.gz",
    }
    assert {"site/index.html", "site/book/paper/01-one.html"} <= found
    notebook = nbformat.read(folder / "notebooks/paper/01-one.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].text == "5 0.001 [1.0, 2.5]\n"


def test_it_says_what_it_has(released):
    _, _, folder = released
    text = (folder / "README.md").read_text()
    assert "# Version 0.3.0" in text and "released on 2025-01-02" in text
    rows = re.findall(r"^\| `([^`]+)`", text, re.M)
    assert {"site/", "scratch-0.3.0.tar.gz", "scratch-0.3.0-py3-none-any.whl"} <= {*rows}
    assert all((folder / row).exists() for row in rows)  # no PDF, no ledger


def test_the_checksums_are_of_every_file(released, tmp_path):
    _, _, folder = released
    listed = dict(reversed(line.split("  ")) for line in sums(folder))
    assert listed == {n: digest(folder / n) for n in names(folder) - {"SHA256SUMS"}}
    assert list(listed) == sorted(listed)
    if program := shutil.which("sha256sum"):
        copy = shutil.copytree(folder, tmp_path / "copy")
        check = [program, "--quiet", "-c", "SHA256SUMS"]
        assert subprocess.run(check, cwd=copy).returncode == 0
        (copy / "LICENSE").write_text("Another.\n")
        assert subprocess.run(check, cwd=copy, capture_output=True).returncode == 1


def sums(folder) -> list[str]:
    return (folder / "SHA256SUMS").read_text().splitlines()


def test_the_archive_is_the_folder(released, tmp_path):
    _, _, folder = released
    with zipfile.ZipFile(folder.with_name("scratch-0.3.0.zip")) as archive:
        archive.extractall(tmp_path)
    assert {n: digest(tmp_path / folder.name / n) for n in names(tmp_path / folder.name)} == {
        n: digest(folder / n) for n in names(folder)
    }


def test_the_source_is_the_commit(released, tmp_path):
    book, _, folder = released
    with tarfile.open(folder / "scratch-0.3.0.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    source = tmp_path / folder.name
    tracked = subprocess.run(
        ["git", "-C", str(book.root), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert names(source) == {*tracked, "PKG-INFO"}
    assert "Version: 0.3.0" in (source / "PKG-INFO").read_text()
    assert (source / "scratch/__init__.py").read_text() == FILES["scratch/__init__.py"]


def test_it_repeats_and_the_site_names_its_commit(released):
    book, _, folder = released
    status = book.root / "book/_generated/status.md"
    commit = (folder / "README.md").read_text().split("commit ")[1][:10]
    assert f"| Commit | {commit} |" in status.read_text()  # it was built before there was one
    archive, site = folder.with_name("scratch-0.3.0.zip"), book.site
    before = digest(archive)
    shutil.rmtree(folder)
    book.do("release", "--no-pdf")
    assert (digest(archive), book.site) == (before, site)
    # A commit that changes nothing of the site makes another one, which names it.
    (book.root / "scratch/more.py").touch()
    commit = book.commit()
    assert "up to date" not in book.do("release", "--no-pdf")
    assert f"| Commit | {commit} |" in status.read_text()
    assert digest(archive) != before


def test_what_somebody_put_there_stays(released, tmp_path):
    book, _, folder = released
    book = book.copy(tmp_path / "book")
    folder = book.root / "_build" / "release" / folder.name
    (folder / "mine.txt").write_text("mine\n")
    said = book.do("release", "--no-pdf")
    assert "is not as the build wrote it" in said
    (aside,) = folder.parent.glob("*yours*")
    assert names(aside) == {"mine.txt"}
    assert "mine.txt" not in names(folder) and len(names(folder)) > 10
    shutil.rmtree(aside)
    book.do("clean")
    assert not folder.parent.exists()


def test_the_pdf_is_in_it(released, tmp_path, missing):
    # The command starts a browser of its own; the tests' one belongs to one process.
    if chromium.missing():
        missing(chromium.missing())
    book = released[0].copy(tmp_path / "book")
    book.do("release")
    (path,) = (book.root / "_build/release/scratch-0.3.0").glob("*.pdf")
    assert path.read_bytes().startswith(b"%PDF")
    assert f"| `{path.name}` |" in path.with_name("README.md").read_text()


REFUSED = {
    "uncommitted": ("draft.md", "# A draft\n", "a clean commit alone, and draft.md differs from"),
    "versions": (
        "CITATION.cff",
        CITED.replace("0.3.0", "0.2.0"),
        "pyproject.toml says version 0.3.0, and CITATION.cff says 0.2.0",
    ),
    "no date": (
        "CITATION.cff",
        CITED.replace("date-released", "date"),
        "the field 'date-released' is missing",
    ),
    "a word": ("CITATION.cff", CITED.replace("2025-01-02", "soon"), "expected YYYY-MM-DD"),
    "no project": ("pyproject.toml", "", "the field 'project' is missing"),
    "no package": (
        "pyproject.toml",
        PROJECT.replace('["scratch*"]', "5"),
        "pip cannot build the wheel",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses(released, tmp_path, case):
    name, text, sentence = REFUSED[case]
    book = released[0].copy(tmp_path / "book")
    shutil.rmtree(book.root / "_build/release")
    (book.root / name).write_text(text)
    if case != "uncommitted":
        book.commit()
    assert sentence in book.do("release", "--no-pdf", expect=1)
    assert not (book.root / "_build/release").exists()
    assert not any((book.root / "_build/tmp").glob("scratch*"))


def test_it_refuses_where_there_is_no_commit(released, tmp_path):
    book = released[0].copy(tmp_path / "book")
    shutil.rmtree(book.root / ".git")
    said = book.do("release", "--no-pdf", expect=1)
    assert "A release is made from a commit, and there is none: not in a git checkout." in said


def test_without_chromium_it_says_how_to_go_on(released, tmp_path):
    (tmp_path / "git").symlink_to(shutil.which("git"))
    said = released[0].do("release", expect=1, variables={"PATH": str(tmp_path)})
    assert "No Chromium is installed" in said and "--no-pdf" in said


def test_a_chapter_that_fails_is_not_released(released, tmp_path):
    book = released[0].copy(tmp_path / "book")
    shutil.rmtree(book.root / "_build/release")
    book.chapter("02-two", "1 / 0")
    book.commit()
    assert "ZeroDivisionError" in book.do("release", "--no-pdf", expect=1)
    assert not (book.root / "_build/release").exists()


# ---------------------------------------------------------------- the citation of this book

ROOT_KEYS = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi"),
    *("identifiers", "keywords", "license", "license-url", "message", "preferred-citation"),
    *("references", "repository", "repository-artifact", "repository-code", "title", "type"),
    *("url", "version"),
}


def citation_problems(text: str) -> list[str]:
    """What is wrong with a citation, by the schema of CFF 1.2.0."""
    cited = yaml.safe_load(text)
    found = [f"unknown {key}" for key in cited.keys() - ROOT_KEYS]
    found += [f"no {k}" for k in {"authors", "cff-version", "message", "title"} - cited.keys()]
    if not isinstance(cited.get("date-released"), datetime.date):
        found.append("no date")
    for person in cited.get("authors", ()):
        if not person.keys() & {"name", "family-names", "given-names", "alias"}:
            found.append(f"nameless {person}")
    for one in cited.get("identifiers", ()):
        if one.get("type") != "doi" or not re.fullmatch(r"10\.\d{4,9}/[\w.:;()/-]+", one["value"]):
            found.append(f"no DOI {one}")
    for one in cited.get("references", ()):
        found += [f"no {key} in {one}" for key in {"type", "title", "authors"} - one.keys()]
    return found


def test_the_citation_is_one(root):
    text = (root / "CITATION.cff").read_text("utf-8")
    assert citation_problems(text) == []
    with_doi = re.sub(r"^# (?=identifiers:|  )", "", text, flags=re.M)
    assert yaml.safe_load(with_doi)["identifiers"] and citation_problems(with_doi) == []
    assert citation_problems(text.replace("message:", "massage:")) == [
        "unknown massage",
        "no message",
    ]


def test_there_is_one_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    assert str(cited["version"]) == project["version"]
    assert release.CITATION == "CITATION.cff"
