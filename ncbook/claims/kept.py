"""Results of paper-size runs that are kept in the repository: ``results/<paper>/<NN-name>.json``.

Such a file holds what one chapter measured in its paper profile, and the run that measured it. It
holds no verdict: that follows from the claims as they are registered now. Beside them it has the
small tables that the chapter left for the quick book to draw. Its rules:

1. It is written from a clean commit alone, and names it.
2. It has a fingerprint of each file that measures: the chapter's cells, and what they import of the
   rooms in ``MEASURES``. Where one is another now, or the paper profile has other values, it is
   *stale*: it is shown, and decides nothing. A test fails as long as there is one.
3. A stale result is renewed by another run, or, where the values are the same, confirmed: a person
   says why the change does not alter what is measured. The file keeps the reason, the commit and
   the code that it holds for.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncbook import codegraph, files
from ncbook.claims import _form
from ncbook.claims._form import must_be
from ncbook.claims.measured import Record, Summary
from ncbook.claims.schema import ClaimsError

FORMAT = 2  # of the files; to be raised when a field changes its meaning
PROFILE = "its paper profile"  # among what has changed
MEASURES = ("frames", "runtime", "data", "models", "dynamics", "theory", "metrics")
TABLES = "kept"  # the folder, in that of a run, with the tables that it leaves: <name>.csv
ROWS = 1000  # the most that a table may have: the repository holds it

_PACKAGE = Path(__file__).resolve().parents[1]
# The code of a cell, without its options.
_CELLS = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```$", re.M | re.S
)
_COMMIT = "the hash of a clean commit", "^[0-9a-f]{7,64}$"
_TIME = "a time, as 2026-01-31T12:00:00Z", "."
_TEXTS = "a JSON object of texts"


@dataclass(frozen=True)
class Confirmed:
    """For which later code a result stands too, and why."""

    __pydantic_config__ = _form.STRICT

    commit: str = must_be(*_COMMIT)
    made: str = must_be(*_TIME)
    why: str = must_be("a sentence for the reader", ".")
    code: dict[str, str] = must_be(_TEXTS)


@dataclass(frozen=True)
class Kept:
    """A kept paper-size run of one chapter: what its file has."""

    __pydantic_config__ = _form.STRICT

    chapter: str = must_be("<paper's folder>/<NN-name>")
    made: str = must_be(*_TIME)
    seconds: float = must_be("how long the run took")
    commit: str = must_be(*_COMMIT)  # whose code ran
    machine: dict[str, str] = must_be(_TEXTS)
    versions: dict[str, str] = must_be(_TEXTS)  # of the packages
    parameters: dict[str, Any] = must_be("a JSON object")  # the values of the chapter's
    code: dict[str, str] = must_be(_TEXTS)  # file -> fingerprint, of all that measures
    confirmed: Confirmed | None = must_be("null, or commit, made, why and code")
    # id -> what the run measured for that claim
    measured: dict[str, Record] = must_be("at least one measurement", alias="claims", min_length=1)
    # name -> the lines of a CSV file: a table of numbers that the run left
    tables: dict[str, list[str]] | None = must_be("null, or lists of lines of CSV", default=None)
    # The files that measure otherwise than those of the run, or than those for which it was
    # confirmed, and PROFILE where its values are others; not written, but found on reading.
    changed: tuple[str, ...] = must_be("file names", default=())

    def __post_init__(self) -> None:
        for lines in (self.tables or {}).values():
            columns(lines)

    @property
    def stale(self) -> bool:
        """Whether what the result rests on has changed since, and nobody confirmed it."""
        return bool(self.changed)

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds, as JSON can."""
        table = {"format": FORMAT, **_form.plain(self)}
        table["claims"] = table.pop("measured")
        del table["changed"]
        return table

    @classmethod
    def from_dict(cls, table: Any, chapter: str, claims: Collection[str]) -> "Kept":
        """Return what ``as_dict`` wrote for a chapter, of which these ids are registered.

        Raises
        ------
        ValueError
            It is not what ``as_dict`` writes, is of another chapter, names no commit, or has a
            measurement of a claim that is not registered for the chapter.
        """
        due = {"format": FORMAT, "chapter": chapter, "changed": None}
        found = _form.read(cls, table, Confirmed, Record, Summary, **due)
        for id in set(found.measured) - set(claims):
            known = ", ".join(claims) or "none"
            raise ValueError(
                f"it has a measurement of {id!r}, and {chapter} has no such claim; expected {known}"
            )
        return found

    def __str__(self) -> str:
        devices = sorted({str(one.provenance.get("device")) for one in self.measured.values()})
        where = [*devices, self.machine.get("processor"), f"{self.machine.get('cores', '?')} cores"]
        values = [f"{name} = {one}" for name, one in self.parameters.items() if name != "profile"]
        said = (
            f"The paper-size results are kept ones: run on {self.made[:10]} in "
            f"{self.seconds:.0f} s on {', '.join(filter(None, where))}, with torch "
            f"{self.versions.get('torch', '?')}; {', '.join(values)}; commit {self.commit}."
        )
        if then := self.confirmed:
            why = f"for the code of commit {then.commit}: {then.why.rstrip('.')}."
            said += f" Confirmed on {then.made[:10]} {why}"
        if self.stale:
            why = f"what they rest on has changed since: {', '.join(self.changed)}."
            said += f" They are stale and decide nothing: {why}"
        return said


def columns(lines: Sequence[str]) -> dict[str, list[float]]:
    """Return a table by its columns, from the lines of a CSV file of numbers under their names.

    Raises
    ------
    ValueError
        There is no row or there are more than ``ROWS``, a row is longer or shorter than the names,
        or has something else than numbers.
    """
    names, *rows = [line.split(",") for line in lines] or [[]]
    try:
        numbers = [[float(one) for one in row] for row in rows]
        found = dict(zip(names, map(list, zip(*numbers, strict=True)), strict=True))
    except ValueError:
        found = {}
    if not found or len(rows) > ROWS:
        raise ValueError(
            f"a table has {len(rows)} rows below the names {names}; expected 1 to {ROWS} rows with "
            "a number for each name"
        )
    return found


def path(root: Path, chapter: str) -> Path:
    """Return where the kept results of a chapter are, or would be."""
    return Path(root) / "results" / f"{chapter}.json"


def read(root: Path, chapter: str, claims: Collection[str]) -> Kept | None:
    """Return the kept paper-size run of a chapter, of which these ids are registered.

    None if there is none.

    Raises
    ------
    ClaimsError
        The file is not what :func:`write` wrote for this chapter; the message names it.
    """
    file = path(root, chapter)
    try:
        found = Kept.from_dict(json.loads(file.read_text(encoding="utf-8")), chapter, claims)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClaimsError(
            f"{file} holds no kept results of {chapter}: {error}. Take the file from version "
            "control, or make it anew: python -m ncbook build --profile paper --chapter "
            f"{chapter}, then python -m ncbook keep {chapter}."
        ) from error
    then = (found.confirmed or found).code
    changed = (name for name in then if _fingerprint(root, name) != then[name])
    return replace(found, changed=tuple(changed))


def tables(root: Path, chapter: str) -> dict[str, list[str]] | None:
    """Return the tables that a chapter's kept run left; None where there are none to be read."""
    try:
        return json.loads(path(root, chapter).read_text(encoding="utf-8")).get("tables")
    except (OSError, ValueError, AttributeError):
        return None


def write(root: Path, kept: Kept) -> Path:
    """Write the kept run of a chapter, whole or not at all, and return where.

    Raises
    ------
    ValueError
        It is not of a clean commit, or could not be read again.
    """
    table = kept.as_dict()
    Kept.from_dict(table, kept.chapter, kept.measured)
    text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)
    return files.write_atomic(path(root, kept.chapter), text + "\n")


def confirm(root: Path, kept: Kept, commit: str, made: str, why: str) -> Kept:
    """Return a kept run that stands for the code as it is now, too; :func:`write` writes it.

    The code is that of a clean commit, the time is now, and the reason is for the reader: see
    :class:`Confirmed`.

    Raises
    ------
    ClaimsError
        A text is empty, or the commit is none.
    """
    confirmed = Confirmed(commit, made, " ".join(why.split()), code(root, kept.chapter))
    found = replace(kept, confirmed=confirmed, changed=())
    try:
        return Kept.from_dict(found.as_dict(), kept.chapter, kept.measured)
    except ValueError as error:
        raise ClaimsError(f"{kept.chapter} cannot be confirmed: {error}.") from error


def code(root: Path, chapter: str) -> dict[str, str]:
    """Return the fingerprints of the code that measures, as it is now, for ``Kept.code``.

    The chapter's cells are the first entry; what they import of the measuring rooms follows.
    """
    source = f"notebooks/{chapter}.md"
    graph = codegraph.Graph(_PACKAGE)
    used, _ = graph.used_by(_cells(Path(root) / source))
    paths = [
        graph.modules[name].relative_to(_PACKAGE.parent).as_posix()
        for name in sorted(graph.closure(used))
        if name.partition(".")[2].partition(".")[0] in MEASURES
    ]
    return {name: _fingerprint(root, name) for name in (source, *paths)}


def _fingerprint(root: Path, name: str) -> str:
    """Return the fingerprint of a chapter's cells or of a module; empty if it is gone."""
    try:
        if name.endswith(".md"):
            return codegraph.fingerprint(_cells(Path(root) / name))
        return codegraph.fingerprint((_PACKAGE.parent / name).read_text(encoding="utf-8"))
    except OSError:
        return ""


def _cells(source: Path) -> str:
    """Return the code of a chapter's cells, without their options."""
    return "\n".join(_CELLS.findall(source.read_text(encoding="utf-8")))
