"""A release: what an archive needs of one commit, as a folder and as one file.

``_build/release/<name>-<version>/`` has the site, the PDF, the executed notebooks, the ledger, the
package and the source, and the SHA-256 of each file; beside it lies the same as a .zip. Names are
sorted and times are the commit's, so the same site gives the same bytes.
"""

import datetime
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ncbook.files import BookError, digest
from ncbook.pipeline import pdf, site
from ncbook.pipeline.book import Book
from ncbook.pipeline.execution import Outcome
from ncbook.pipeline.owned import WORK, set_aside
from ncbook.pipeline.pages import BESIDE

TEMPLATE = Path(__file__).with_name("templates") / "release.md"
CITATION = "CITATION.cff"
AS_THEY_ARE = ("requirements.txt", CITATION, "LICENSE*", "_build/ledger.json")
SUMS = "SHA256SUMS"
TASK = "the release"


@dataclass(frozen=True)
class Plan:
    """What is to be released."""

    name: str  # <name>-<version>
    version: str
    released: datetime.date
    commit: str
    time: int  # the commit's, in seconds since 1970
    folder: Path
    with_pdf: bool = True

    @property
    def archive(self) -> Path:
        """The file that has the folder's content."""
        return self.folder.with_name(f"{self.folder.name}.zip")


def plan(book: Book, with_pdf: bool = True) -> Plan:
    """Say what a release of the commit that is checked out would be.

    Raises
    ------
    BookError
        Something is not committed, ``pyproject.toml`` and ``CITATION.cff`` do not agree or cannot
        be read, or no PDF can be printed and one is wanted.
    """
    import yaml

    commit = book.clean_commit("A release is made")
    try:
        project = tomllib.loads((book.root / "pyproject.toml").read_text("utf-8"))["project"]
        name, version = project["name"], project["version"]
        cited = yaml.safe_load((book.root / CITATION).read_text("utf-8"))
        cited_version, released = str(cited["version"]), cited["date-released"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        said = f"the field {error} is missing" if isinstance(error, KeyError) else error
        raise BookError(
            f"A release needs name and version in pyproject.toml, and version and date-released in "
            f"{CITATION}: {said}."
        ) from error
    if cited_version != version:
        raise BookError(
            f"pyproject.toml says version {version}, and {CITATION} says {cited_version}. "
            "Give both the version that is released."
        )
    if not isinstance(released, datetime.date):
        raise BookError(f"date-released in {CITATION} is {released!r}; expected YYYY-MM-DD.")
    if with_pdf:
        try:
            with pdf.browser():
                pass
        except BookError as error:
            raise BookError(f"{error} Or leave the PDF out: --no-pdf.") from error
    seconds = int(_git(book.root, "log", "-1", "--format=%ct"))
    folder = book.made / "release" / f"{name}-{version}"
    return Plan(folder.name, version, released, commit, seconds, folder, with_pdf)


def make(book: Book, outcome: Outcome, lock: int, plan: Plan) -> Path:
    """Make the site, and of it and of what was executed the release; return the site's first page.

    It is the `make_site` of a build, which holds the book's lock and has checked the claims.

    Raises
    ------
    BookError
        The site, the package or the PDF cannot be made; the message says why.
    """
    index = site.make(book, outcome, lock, of_commit=True)
    book.say.begin(TASK)
    work = book.owned.take(book.root / WORK / plan.name)
    try:
        shutil.copytree(index.parent.resolve(), work / "site")
        for path in _executed(book, outcome):
            _copy(path, work / "notebooks" / path.relative_to(book.pages))
        for pattern in AS_THEY_ARE:
            for path in book.root.glob(pattern):
                _copy(path, work / path.name)
        package(book.root, plan, work)
        if plan.with_pdf:
            pdf.make(book, work / f"{plan.name}.pdf")
        (work / "README.md").write_text(_readme(plan, work), encoding="utf-8")
        sums = [f"{digest(work / name)}  {name}\n" for name in _names(work)]
        (work / SUMS).write_text("".join(sums), encoding="utf-8")
        book.owned.write({plan.archive: _zipped(work, plan)})
        _place(book, work, plan.folder)
    finally:
        book.owned.drop(work)
    book.say.end(TASK, "made")
    return index


def package(root: Path, plan: Plan, folder: Path) -> tuple[Path, Path]:
    """Make the wheel, and the sdist, which is all of the commit, in a folder; return both.

    Raises
    ------
    BookError
        The wheel cannot be built; the message has what pip said.
    """
    umask = ("-c", "tar.umask=0022")
    tar = io.BytesIO(_git(root, *umask, "archive", f"--prefix={plan.name}/", "HEAD"))
    source = folder / ".source"
    with tarfile.open(fileobj=tar) as archive:
        # As filter="data" of extractall, which Python has from 3.11.4 on.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(source)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)),
            str(source / plan.name),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | {"SOURCE_DATE_EPOCH": str(plan.time)},
    )
    shutil.rmtree(source)
    if done.returncode:
        raise BookError(f"pip cannot build the wheel:\n{done.stderr.strip()}")
    (wheel,) = folder.glob("*.whl")
    # An sdist says in PKG-INFO what a wheel says in METADATA.
    with zipfile.ZipFile(wheel) as archive:
        (about,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        content = archive.read(about)
    tar.seek(0)
    with tarfile.open(fileobj=tar, mode="a") as archive:
        info = tarfile.TarInfo(f"{plan.name}/PKG-INFO")
        info.size, info.mtime = len(content), plan.time
        archive.addfile(info, io.BytesIO(content))
    sdist = folder / f"{plan.name}.tar.gz"
    sdist.write_bytes(gzip.compress(tar.getvalue(), mtime=plan.time))
    return wheel, sdist


def _git(root: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True)
    if done.returncode:
        raise BookError(f"git refused: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _executed(book: Book, outcome: Outcome) -> list[Path]:
    """The executed chapters, and what their runs left beside them."""
    found = []
    for chapter in book.chapters:
        folder = book.pages / chapter.paper
        beside = [(kind, outcome.results[chapter.id].files(kind)) for kind in BESIDE]
        found.append(folder / f"{chapter.name}.ipynb")
        found += [folder / kind / name for kind, files in beside for name in files]
    return found


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _readme(plan: Plan, folder: Path) -> str:
    """What the release has: of the template's rows those whose file or folder is there."""
    text = Template(TEMPLATE.read_text("utf-8")).substitute(vars(plan))
    rows = ((re.match(r"\| `([^`]+)`", line), line) for line in text.splitlines(keepends=True))
    return "".join(line for row, line in rows if row is None or (folder / row[1]).exists())


def _names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def _zipped(folder: Path, plan: Plan) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in _names(folder):
            info = zipfile.ZipInfo(f"{plan.name}/{name}", time.gmtime(plan.time)[:6])
            info.external_attr = 0o644 << 16
            archive.writestr(info, (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _place(book: Book, made: Path, folder: Path) -> None:
    """Put the release where it goes; what is there and not as the build wrote it is set aside."""
    book.owned.drop(folder)
    if os.path.lexists(folder):
        set_aside(folder, book.root, book.say)
    book.owned.adopt(made, becomes=folder)
    os.replace(made, folder)
