"""What a claim is, and how ``notebooks/<paper>/claims.toml`` registers it.

Every claim of a paper that the book checks is one ``[[claim]]`` table. Nothing in such a file is
taken on trust: a field that is unknown, missing or of the wrong type is an error that names the
file, the claim, the field, what was found and what was expected.
"""

import json
import math
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncbook.files import BookError

FILE = "claims.toml"  # beside a paper's chapters
KINDS = ("number", "identity", "bound", "rate", "order")
ORIGINS = ("paper", "derived", "beyond")
STATISTICS = ("median", "worst")
PROFILES = ("quick", "paper")
PARTS = ("Part I", "Part II", "Part III", "Part IV", "Part V", "Part VI")

PAPER_FIELDS = ("paper", "citation", "part", "claim")
REQUIRED = ("id", "place", "origin", "kind", "sentence", "chapter", "statistic", "tolerance")
OPTIONAL = ("expect", "profile", "discrepancy", "planned")

_ID = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_CITATION = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]*")
_CHAPTER = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")
# In a text: $mathematics$, in which brackets mean nothing, or a link, [words](target).
MARKUP = re.compile(r"\$(?P<maths>[^$]+)\$|\[(?P<words>[^\]]+)\]\((?P<target>[^)\s]+)\)")


class ClaimsError(BookError, ValueError):
    """A claims.toml, or a use of what it registers, that is not as it must be."""


@dataclass(frozen=True)
class Claim:
    """One registered claim; the fields of its table, with those of its paper.

    Attributes
    ----------
    id : str
        Unique in the book.
    place : str
        Where the paper says it, or what of the paper it follows from.
    origin : "paper", "derived" or "beyond"
        The paper states it; it follows from the paper and was worked out here; it goes beyond.
    kind : "number", "identity", "bound", "rate" or "order"
        An identity expects 0; a rate is an exponent; an order is that of an integrator.
    sentence : str
        The claim in words, with $mathematics$.
    chapter : str
        ``<paper's folder>/<NN-name>``: the chapter that measures it. That of a planned claim need
        not exist yet.
    statistic : "median" or "worst"
        How several measured values (one a run) become the one that is judged.
    expect : int, float
        The expected value, or the bound.
    side : "max", "min" or None
        Which bound it is; None for the other kinds.
    tolerance : float
        How far beyond ``expect`` a value may lie.
    relative : bool
        Whether ``tolerance`` is a share of ``expect``.
    reason : str
        Why the tolerance is what it is.
    profile : "quick" or "paper"
        "paper": judged by paper-size runs only; in a quick build by the kept one.
    discrepancy : str or None
        Of a claim that is known not to hold: why, with a link.
    planned : str or None
        Of a claim that no run measures yet: why not. What is expected is registered all the same.
    paper, citation, part : str
        The paper's name, its key in the bibliography, its part of the book.
    """

    id: str
    place: str
    origin: str
    kind: str
    sentence: str
    chapter: str
    statistic: str
    expect: float
    side: str | None
    tolerance: float
    relative: bool
    reason: str
    profile: str
    discrepancy: str | None
    planned: str | None
    paper: str
    citation: str
    part: str

    @property
    def anchor(self) -> str:
        """The id of the claim's row in a page."""
        return "claim-" + self.id.replace(".", "-")

    @property
    def slack(self) -> float:
        """How far beyond ``expect`` a value may lie, in the units of ``expect``."""
        return self.tolerance * abs(self.expect) if self.relative else self.tolerance

    @property
    def interval(self) -> tuple[float, float]:
        """The closed interval of the values for which the claim holds."""
        low = -math.inf if self.side == "max" else self.expect - self.slack
        high = math.inf if self.side == "min" else self.expect + self.slack
        return low, high


def load(path: Path, chapters: Collection[str] | None = None) -> list[Claim]:
    """Read one claims.toml.

    Parameters
    ----------
    path : Path
        ``notebooks/<paper>/claims.toml``.
    chapters : collection of str, optional
        The chapters that exist (``<paper>/<NN-name>``). With it, a claim of another is an error.

    Returns
    -------
    list of Claim
        In the order of the file.

    Raises
    ------
    ClaimsError
        The file is no TOML, or an entry is malformed; the message has one line a problem.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimsError(
            f"{path}: cannot be read ({error.strerror}); expected the claims of a paper there."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimsError(f"{path}: is not valid TOML: {error}.") from error

    check = _Entry(str(path), "the paper", table)
    check.known(PAPER_FIELDS)
    check.text("paper")
    check.matching("citation", _CITATION, "a key of the bibliography, such as mixon2022neural")
    check.one_of("part", PARTS)
    entries = table.get("claim")
    if not isinstance(entries, list) or not entries or not _all_tables(entries):
        check.wrong("claim", "at least one [[claim]] table")
        entries = []
    problems = check.problems
    claims = []
    seen: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        name = entry.get("id")
        where = f"claim {name!r}" if isinstance(name, str) else f"claim number {number}"
        check = _Entry(str(path), where, entry)
        fields = _claim_fields(check, path.parent.name, chapters)
        if isinstance(name, str):
            # Two ids that differ in dots and dashes alone would share one anchor in a page.
            anchor = name.replace(".", "-")
            if anchor in seen:
                check.say("id", f"is {_show(name)}, taken by an earlier claim {seen[anchor]!r}")
            seen.setdefault(anchor, name)
        problems += check.problems
        if not problems:
            paper = {field: table[field] for field in ("paper", "citation", "part")}
            claims.append(Claim(**fields, **paper))
    if problems:
        raise ClaimsError("\n".join(problems))
    return claims


def registry(root: Path) -> dict[str, Claim]:
    """Read every ``notebooks/*/claims.toml`` of a book.

    Parameters
    ----------
    root : Path
        The project's root.

    Returns
    -------
    dict
        id -> Claim, in the order of the parts, then of the papers' folders, then of the files.

    Raises
    ------
    ClaimsError
        There is no such file; an entry is malformed; two papers use one id; or a claim that is
        not planned names a chapter that has no source under ``notebooks/``.
    """
    notebooks = Path(root) / "notebooks"
    paths = sorted(notebooks.glob("*/claims.toml"))
    if not paths:
        raise ClaimsError(
            f"{notebooks}: holds no <paper>/claims.toml; a book without claims has nothing to "
            "check. Register the claims of at least one paper."
        )
    chapters = {f"{page.parent.name}/{page.stem}" for page in notebooks.glob("*/*.md")}
    problems: list[str] = []
    papers: list[list[Claim]] = []
    owners: dict[str, Path] = {}
    for path in paths:
        try:
            claims = load(path, chapters)
        except ClaimsError as error:
            problems.append(str(error))
            continue
        papers.append(claims)
        for claim in claims:
            if claim.id in owners:
                problems.append(
                    f"{path}: claim {claim.id!r}: field 'id' is \"{claim.id}\", which "
                    f"{owners[claim.id]} registers too; expected an id that no other claim has."
                )
            owners.setdefault(claim.id, path)
    if problems:
        raise ClaimsError("\n".join(problems))
    papers.sort(key=lambda claims: PARTS.index(claims[0].part))
    return {claim.id: claim for claims in papers for claim in claims}


class _Entry:
    """One TOML table under examination, and the problems found in it so far."""

    def __init__(self, file: str, name: str, table: dict[str, Any]) -> None:
        self.file, self.name, self.table = file, name, table
        self.problems: list[str] = []

    def say(self, field: str, problem: str) -> None:
        self.problems.append(f"{self.file}: {self.name}: field '{field}' {problem}.")

    def wrong(self, field: str, expected: str) -> None:
        found = f"is {_show(self.table[field])}" if field in self.table else "is missing"
        self.say(field, f"{found}; expected {expected}")

    def known(self, fields: Collection[str]) -> None:
        for field in self.table:
            if field not in fields:
                self.say(field, f"is not known; known fields are {', '.join(fields)}")

    def text(self, field: str, maths: bool = False) -> None:
        value = self.table.get(field)
        if not isinstance(value, str) or not value.strip():
            self.wrong(field, "a text that is not empty")
        elif "\n" in value.strip():
            self.wrong(field, "one line of text")
        elif maths and value.count("$") % 2:
            self.wrong(field, "each $ of its mathematics to have its partner")
        elif not maths and "$" in value:
            self.wrong(field, "plain words, without mathematics")

    def links(self, field: str, chapters: Collection[str] | None) -> list[str]:
        """Examine the links of a text and return their targets."""
        value = self.table.get(field)
        found = MARKUP.finditer(value) if isinstance(value, str) else ()
        targets = [part["target"] for part in found if part["target"]]
        for target in targets:
            page = target.partition("#")[0]
            if not page or page.startswith("https://"):
                continue
            if not _CHAPTER.fullmatch(page) or (chapters is not None and page not in chapters):
                self.wrong(
                    field,
                    f"the target {target!r} to be #section, <chapter that exists>#section, or an "
                    "address that begins with https://",
                )
        return targets

    def one_of(self, field: str, known: Collection[str]) -> None:
        value = self.table.get(field)
        if not isinstance(value, str) or value not in known:
            self.wrong(field, f"one of {', '.join(known)}")

    def matching(self, field: str, pattern: re.Pattern[str], expected: str) -> None:
        value = self.table.get(field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.wrong(field, expected)


def _claim_fields(check: _Entry, folder: str, chapters: Collection[str] | None) -> dict[str, Any]:
    """Examine one [[claim]] table and return the fields of its Claim."""
    table = check.table
    check.known(REQUIRED + OPTIONAL)
    check.matching("id", _ID, "letters a-z, digits, and single dots or dashes between them")
    check.text("place")
    check.one_of("origin", ORIGINS)
    check.one_of("kind", KINDS)
    check.text("sentence", maths=True)
    check.links("sentence", chapters)
    _check_chapter(check, folder, chapters)
    check.one_of("statistic", STATISTICS)
    if "profile" in table:
        check.one_of("profile", PROFILES)
    kind = table.get("kind")
    expect, side = _expectation(check, kind)
    size, relative, reason = _tolerance(check, kind, expect, chapters)
    if "discrepancy" in table:
        check.text("discrepancy", maths=True)
        if not check.links("discrepancy", chapters):
            check.wrong("discrepancy", "a link to its explanation, [words](#section-of-chapter)")
    if "planned" in table:
        check.text("planned", maths=True)
        check.links("planned", chapters)
        if "discrepancy" in table:
            check.wrong("planned", "no such field beside 'discrepancy', which a run has found")
    return {
        **{field: table.get(field) for field in REQUIRED if field != "tolerance"},
        "expect": expect,
        "side": side,
        "tolerance": size,
        "relative": relative,
        "reason": reason,
        "profile": table.get("profile", "quick"),
        "discrepancy": table.get("discrepancy"),
        "planned": table.get("planned"),
    }


def _check_chapter(check: _Entry, folder: str, chapters: Collection[str] | None) -> None:
    chapter = check.table.get("chapter")
    if not isinstance(chapter, str) or not _CHAPTER.fullmatch(chapter):
        check.wrong("chapter", "<paper's folder>/<NN-name>, such as mixon-parshall-pi/04-figure-1")
    elif chapters is not None and chapter not in chapters and "planned" not in check.table:
        known = sorted(name for name in chapters if name.startswith(folder + "/"))
        check.wrong("chapter", f"a chapter that exists: {', '.join(known) or 'there is none yet'}")
    elif not chapter.startswith(folder + "/"):
        check.wrong("chapter", f"a chapter of {folder}/, the folder of this file")


def _expectation(check: _Entry, kind: Any) -> tuple[float, str | None]:
    """Return the expected value and, of a bound, its side."""
    table = check.table
    value = table.get("expect")
    if kind == "identity":
        if "expect" in table:
            check.wrong("expect", "no such field: an identity expects 0")
    elif kind == "bound":
        sides = list(value) if isinstance(value, dict) else []
        if len(sides) == 1 and sides[0] in ("max", "min") and _is_number(value[sides[0]]):
            return value[sides[0]], sides[0]
        check.wrong("expect", "{max = x} or {min = x} with a finite number x")
    elif kind in KINDS:
        if _is_number(value):
            return value, None
        check.wrong("expect", "a finite number")
    return 0.0, None


def _tolerance(
    check: _Entry, kind: Any, expect: float, chapters: Collection[str] | None
) -> tuple[float, bool, str]:
    """Return the size of the tolerance, whether it is relative, and its reason."""
    value = check.table.get("tolerance")
    if not isinstance(value, dict):
        check.wrong("tolerance", '{abs = x, reason = "..."} or {rel = x, reason = "..."}')
        return 0.0, False, ""
    inner = _Entry(check.file, check.name, {f"tolerance.{key}": v for key, v in value.items()})
    inner.known(("tolerance.abs", "tolerance.rel", "tolerance.reason"))
    inner.text("tolerance.reason", maths=True)
    inner.links("tolerance.reason", chapters)
    sizes = [key for key in ("abs", "rel") if key in value]
    size = 0.0
    if len(sizes) == 2:
        inner.wrong("tolerance.rel", "either abs or rel, not both")
    elif not sizes and kind != "bound":
        inner.wrong("tolerance.abs", "a number, 0 or more (or rel, a share of expect)")
    for key in sizes:
        if not _is_number(value[key]) or value[key] < 0:
            inner.wrong(f"tolerance.{key}", "a finite number, 0 or more")
        else:
            size = value[key]
    if sizes == ["rel"] and (kind == "identity" or expect == 0):
        inner.wrong("tolerance.rel", "abs instead: a share of 0 allows nothing")
    check.problems += inner.problems
    return size, sizes == ["rel"], value.get("reason", "")


def _all_tables(entries: list[Any]) -> bool:
    return all(isinstance(entry, dict) for entry in entries)


def _is_number(value: Any) -> bool:
    # bool is an int to Python, but a truth value is no expectation.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _show(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
