"""Results of paper-size runs that are kept in the repository: ``results/<paper>/<NN-name>.json``.

Such a file holds what one chapter measured in its paper profile, and the run that measured it. It
holds no verdict: that follows from the claims as they are registered now. Its rules:

1. It is written from a clean commit alone, and says which.
2. It lists a fingerprint of all code that measures: the chapter's cells, and what they import of
   the rooms in ``MEASURES``. Where that code is another now, the result is *stale*: it is shown,
   and decides nothing. A test fails as long as there is one.
3. A stale result is renewed by another run, or confirmed: a person says why the change does not
   alter what is measured. The file keeps the reason, and the commit that it holds for.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncbook import files
from ncbook.claims.check import Summary
from ncbook.claims.schema import Claim, ClaimsError
from ncbook.codegraph import fingerprint

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
_CONFIRMED = ("commit", "made", "why", "code")
_FIELDS = ("format", "chapter", *_FACTS, "claims")
_PACKAGE = Path(__file__).resolve().parents[1]
# The code of a cell, without its options.
_CELLS = re.compile(
    r"^```\{code-cell\}[^\n]*\n(?:---\n.*?^---\n|(?::[^\n]*\n)*)(.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Measurement:
    """What was measured for one claim, with the parameters and the provenance of its record."""

    summary: Summary
    parameters: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        about = {"parameters": dict(self.parameters), "provenance": dict(self.provenance)}
        return self.summary.as_dict() | about

    @classmethod
    def from_dict(cls, table: Any) -> "Measurement":
        """Return what ``as_dict`` wrote; a ValueError says what is wrong with it."""
        fields = ("n", "not_finite", "min", "median", "max", "parameters", "provenance")
        if not isinstance(table, dict) or set(table) != set(fields):
            raise ValueError(f"it is {table!r}, expected the fields {', '.join(fields)}")
        for field in ("parameters", "provenance"):
            if not isinstance(table[field], dict):
                raise ValueError(f"its {field} is {table[field]!r}, expected a JSON object")
        return cls(Summary.from_dict(table), table["parameters"], table["provenance"])


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
        The fingerprint of each file that measures.
    confirmed : mapping or None
        ``commit``, ``made``, ``why`` and ``code``: for which later code the result stands, too.
    measured : mapping
        id -> Measurement, of the claims that the run measured.
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
    measured: Mapping[str, Measurement]
    changed: tuple[str, ...] = ()

    @property
    def stale(self) -> bool:
        """Whether the code that measures has changed since, and nobody confirmed the result."""
        return bool(self.changed)

    def summary(self, id: str) -> Summary | None:
        """Return what was measured for a claim; None if nothing was."""
        return self.measured[id].summary if id in self.measured else None

    def judged(self, id: str) -> Summary | None:
        """Return what decides about a claim: what was measured, unless that is stale."""
        return None if self.stale else self.summary(id)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "format": FORMAT,
            "chapter": self.chapter,
            **{field: getattr(self, field) for field in _FACTS},
            "claims": {id: one.as_dict() for id, one in self.measured.items()},
        }

    @classmethod
    def from_dict(cls, table: Any, chapter: str, claims: Mapping[str, Claim]) -> "Kept":
        """Return what ``as_dict`` wrote.

        Parameters
        ----------
        table : dict
        chapter : str
            The chapter that it must be of.
        claims : mapping
            id -> Claim: those registered for the chapter.

        Raises
        ------
        ValueError
            It is not what ``as_dict`` writes, is of another chapter, or has a measurement of a
            claim that is not registered for the chapter.
        """
        if not isinstance(table, dict):
            raise ValueError("it holds no JSON object")
        if set(table) != set(_FIELDS):
            raise ValueError(f"its fields are {', '.join(table)}, expected {', '.join(_FIELDS)}")
        for field, expected in (("format", FORMAT), ("chapter", chapter)):
            if table[field] != expected:
                raise ValueError(f"its {field} is {table[field]!r}, expected {expected!r}")
        for field, kind in _FACTS.items():
            if not isinstance(table[field], kind) or isinstance(table[field], bool):
                raise ValueError(f"its {field} is {table[field]!r}")
        if not table["commit"]:
            raise ValueError("it names no commit")
        if table["confirmed"] is not None and set(table["confirmed"]) != set(_CONFIRMED):
            raise ValueError(f"its confirmed has not the fields {', '.join(_CONFIRMED)}")
        if not isinstance(table["claims"], dict) or not table["claims"]:
            raise ValueError("it has no measurement")
        measured = {}
        for id, one in table["claims"].items():
            if id not in claims:
                raise ValueError(
                    f"it has a measurement of {id!r}, and {chapter} has no such claim; its claims "
                    f"are {', '.join(claims) or 'none'}"
                )
            try:
                measured[id] = Measurement.from_dict(one)
            except ValueError as error:
                raise ValueError(f"the measurement of {id}: {error}") from error
        return cls(chapter, **{field: table[field] for field in _FACTS}, measured=measured)

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
            said += " Confirmed on {made} for commit {commit}: {why}".format(
                **dict(self.confirmed) | {"made": self.confirmed["made"][:10]}
            )
        if self.stale:
            said += (
                " They are stale and decide nothing: the code that measures has changed since, in "
                f"{', '.join(self.changed)}."
            )
        return said


def path(root: Path, chapter: str) -> Path:
    """Return where the kept results of a chapter are, or would be."""
    return Path(root) / "results" / f"{chapter}.json"


def read(root: Path, chapter: str, claims: Mapping[str, Claim]) -> Kept | None:
    """Return the kept paper-size run of a chapter; None if there is none.

    Parameters
    ----------
    root : Path
        The project's root.
    chapter : str
    claims : mapping
        id -> Claim: those registered for the chapter.

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
    now = code(root, chapter, found.code)
    then = found.confirmed["code"] if found.confirmed else found.code
    return replace(found, changed=tuple(name for name in then if now.get(name) != then[name]))


def write(root: Path, kept: Kept) -> Path:
    """Write the kept run of a chapter, whole or not at all, and return where."""
    text = json.dumps(kept.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    return files.write_atomic(path(root, kept.chapter), text + "\n")


def code(root: Path, chapter: str, names: Iterable[str]) -> dict[str, str]:
    """Return the fingerprints of the code that measures, as it is now, for ``Kept.code``.

    Parameters
    ----------
    root : Path
        The project's root.
    chapter : str
        Its cells are the first entry.
    names : iterable of str
        Files of the package, such as ``ncbook/metrics/frames.py``. Those of rooms that measure
        nothing are left out; what is gone has an empty fingerprint.
    """
    source = f"notebooks/{chapter}.md"
    found = {source: _fingerprint(Path(root) / source)}
    for name in sorted(set(names) - {source}):
        if Path(name).with_suffix("").parts[1] in MEASURES:
            found[name] = _fingerprint(_PACKAGE.parent / name)
    return found


def _fingerprint(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return ""
    return fingerprint("\n".join(_CELLS.findall(text)) if path.suffix == ".md" else text)
