"""Results of paper-size runs that are kept in the repository: ``results/<paper>/<NN-name>.json``.

Such a file holds what one chapter measured in its paper profile, and the run that measured it. It
holds no verdict: that follows from the claims as they are registered now. Its rules:

1. It is written from a clean commit alone, and names it.
2. It has a fingerprint of each file that measures: the chapter's cells, and what they import of the
   rooms in ``MEASURES``. Where one is another now, the result is *stale*: it is shown, and decides
   nothing. A test fails as long as there is one.
3. A stale result is renewed by another run, or confirmed: a person says why the change does not
   alter what is measured. The file keeps the reason, the commit and the code that it holds for.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncbook import codegraph, files
from ncbook.claims import measured
from ncbook.claims.measured import Record, Summary
from ncbook.claims.schema import ClaimsError

FORMAT = 2  # of the files; to be raised when a field changes its meaning
MEASURES = ("runtime", "data", "models", "dynamics", "theory", "metrics")

_FACTS = {
    "made": str,
    "seconds": int | float,
    "commit": str,
    "machine": dict,
    "versions": dict,
    "parameters": dict,
    "code": dict,
    "confirmed": dict | None,
}
_HASH = re.compile("[0-9a-f]{7,64}")
_CONFIRMED = {"commit": str, "made": str, "why": str, "code": dict}
_PACKAGE = Path(__file__).resolve().parents[1]
# The code of a cell, without its options.
_CELLS = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Kept:
    """A kept paper-size run of one chapter.

    Attributes
    ----------
    chapter : str
        ``<paper's folder>/<NN-name>``.
    made : str
        When, as ``2026-01-31T12:00:00Z``.
    seconds : float
        How long the run took.
    commit : str
        The commit whose code ran.
    machine, versions, parameters : mapping
        The machine, the versions of the packages, the values of the chapter's parameters.
    code : mapping
        File -> fingerprint, of all that measures.
    confirmed : mapping or None
        ``commit``, ``made``, ``why`` and ``code``: for which later code the result stands, too.
    measured : mapping
        id -> Record, of the claims that the run measured.
    changed : tuple of str
        The files that measure otherwise than those of the run, or than those for which it was
        confirmed; not written, but found on reading.
    """

    chapter: str
    made: str
    seconds: float
    commit: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    parameters: Mapping[str, Any]
    code: Mapping[str, str]
    confirmed: Mapping[str, Any] | None
    measured: Mapping[str, Record]
    changed: tuple[str, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the code that measures has changed since, and nobody confirmed the result."""
        return bool(self.changed)

    def summary(self, id: str) -> Summary | None:
        """Return what was measured for a claim; None if nothing was."""
        return self.measured[id].summary if id in self.measured else None

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "format": FORMAT,
            "chapter": self.chapter,
            **{field: getattr(self, field) for field in _FACTS},
            "claims": {id: one.as_dict() for id, one in self.measured.items()},
        }

    @classmethod
    def from_dict(cls, table: Any, chapter: str, claims: Collection[str]) -> "Kept":
        """Return what ``as_dict`` wrote.

        Parameters
        ----------
        table : dict
        chapter : str
            The chapter that it must be of.
        claims : collection of str
            The ids that are registered for the chapter.

        Raises
        ------
        ValueError
            It is not what ``as_dict`` writes, is of another chapter, names no commit, or has a
            measurement of a claim that is not registered for the chapter.
        """
        for field, expected in (("format", FORMAT), ("chapter", chapter)):
            if isinstance(table, dict) and field in table and table[field] != expected:
                raise ValueError(f"its {field} is {table[field]!r}, expected {expected!r}")
        measured.fields(table, ("format", "chapter", *_FACTS, "claims"))
        _check(table, _FACTS)
        if table["confirmed"] is not None:
            measured.fields(table["confirmed"], _CONFIRMED)
            _check(table["confirmed"], _CONFIRMED)
        if not isinstance(table["claims"], dict) or not table["claims"]:
            raise ValueError("it has no measurement")
        records = {}
        for id, one in table["claims"].items():
            if id not in claims:
                raise ValueError(
                    f"it has a measurement of {id!r}, and {chapter} has no such claim; its claims "
                    f"are {', '.join(claims) or 'none'}"
                )
            try:
                records[id] = Record.from_dict(one)
            except ValueError as error:
                raise ValueError(f"the measurement of {id}: {error}") from error
        return cls(chapter, **{field: table[field] for field in _FACTS}, measured=records)

    def __str__(self) -> str:
        devices = sorted({str(one.provenance.get("device")) for one in self.measured.values()})
        where = [*devices, self.machine.get("processor"), f"{self.machine.get('cores', '?')} cores"]
        values = [
            f"{name} = {value}" for name, value in self.parameters.items() if name != "profile"
        ]
        said = (
            f"The paper-size results are kept ones: run on {self.made[:10]} in "
            f"{self.seconds:.0f} s on {', '.join(filter(None, where))}, with torch "
            f"{self.versions.get('torch', '?')}; {', '.join(values)}; commit {self.commit}."
        )
        if self.confirmed:
            said += (
                f" Confirmed on {self.confirmed['made'][:10]} for the code of commit "
                f"{self.confirmed['commit']}: {self.confirmed['why'].rstrip('.')}."
            )
        if self.stale:
            said += (
                " They are stale and decide nothing: the code that measures has changed since, in "
                f"{', '.join(self.changed)}."
            )
        return said


def _check(table: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Check the types of a table's fields; no text may be empty, and a commit is a hash."""
    for field, kind in kinds.items():
        value = table[field]
        if not isinstance(value, kind) or isinstance(value, bool) or value == "":
            raise ValueError(f"its {field} is {value!r}")
        if field == "commit" and not _HASH.fullmatch(value):
            raise ValueError(f"its commit is {value!r}, expected the hash of a clean one")


def path(root: Path, chapter: str) -> Path:
    """Return where the kept results of a chapter are, or would be."""
    return Path(root) / "results" / f"{chapter}.json"


def read(root: Path, chapter: str, claims: Collection[str]) -> Kept | None:
    """Return the kept paper-size run of a chapter; None if there is none.

    Parameters
    ----------
    root : Path
        The project's root.
    chapter : str
    claims : collection of str
        The ids that are registered for the chapter.

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
    then = found.confirmed["code"] if found.confirmed else found.code
    changed = (name for name in then if _fingerprint(root, name) != then[name])
    return replace(found, changed=tuple(changed))


def write(root: Path, kept: Kept) -> Path:
    """Write the kept run of a chapter, whole or not at all, and return where.

    Raises
    ------
    ValueError
        It is not of a clean commit.
    """
    table = kept.as_dict()
    _check(table, _FACTS)
    text = json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False)
    return files.write_atomic(path(root, kept.chapter), text + "\n")


def confirm(root: Path, kept: Kept, commit: str, made: str, why: str) -> Kept:
    """Return a kept run that stands for the code as it is now, too; :func:`write` writes it.

    Parameters
    ----------
    root : Path
        The project's root.
    kept : Kept
    commit, made : str
        The clean commit that the code is of, and the time now, as ``2026-01-31T12:00:00Z``.
    why : str
        Why the change does not alter what is measured: a sentence for the reader.

    Raises
    ------
    ClaimsError
        A text is empty, or the commit is none.
    """
    confirmed = {"commit": commit, "made": made, "why": " ".join(why.split())}
    confirmed["code"] = code(root, kept.chapter)
    try:
        _check(confirmed, _CONFIRMED)
    except ValueError as error:
        raise ClaimsError(f"{kept.chapter} cannot be confirmed: {error}.") from error
    return replace(kept, confirmed=confirmed, changed=())


def code(root: Path, chapter: str) -> dict[str, str]:
    """Return the fingerprints of the code that measures, as it is now, for ``Kept.code``.

    Parameters
    ----------
    root : Path
        The project's root.
    chapter : str
        Its cells are the first entry; what they import of the measuring rooms follows.
    """
    source = f"notebooks/{chapter}.md"
    graph = codegraph.Graph(_PACKAGE)
    used, _ = graph.used_by(_cells(Path(root) / source))
    modules = sorted(name for name in graph.closure(used) if _room(name) in MEASURES)
    paths = (graph.modules[name].relative_to(_PACKAGE.parent).as_posix() for name in modules)
    names = (source, *paths)
    return {name: _fingerprint(root, name) for name in names}


def _room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


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
