"""What a claim is, and how ``notebooks/<paper>/claims.toml`` registers it.

Every claim of a paper that the book checks is one ``[[claim]]`` table. Nothing in such a file is
taken on trust: a field that is unknown, missing or not as it must be is an error that names the
file, the claim, the field, what was found and what was expected.
"""

import graphlib
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ncbook.claims import _form
from ncbook.claims._form import mismatch, must_be, one_of
from ncbook.files import BookError

FILE = "claims.toml"  # beside a paper's chapters
KINDS = ("number", "identity", "bound", "rate", "order")
ORIGINS = {
    "paper": "the paper says it",
    "threshold": "the paper's statement, our threshold",
    "derived": "derived here",
    "beyond": "beyond the paper",
}
STATISTICS = ("median", "worst")
PROFILES = ("quick", "paper")
PARTS = ("Before you start", "Part I", "Part II", "Part III", "Part IV", "Part V", "Part VI")

# In a text: $mathematics$, in which brackets mean nothing, or a link, [words](target).
MARKUP = re.compile(r"\$(?P<maths>[^$]+)\$|\[(?P<words>[^\]]+)\]\((?P<target>[^)\s]+)\)")

_CHAPTER = r"^[a-z0-9-]+/[a-z0-9-]+$"
_WORDS = "one line of plain words, without mathematics", r"^\s*[^\s$][^\n$]*\s*$"
_PROSE = (
    "one line of text that is not empty, each $ of its mathematics with its partner",
    r"^\s*([^\s$]|\$[^\n$]+\$)([^\n$]|\$[^\n$]+\$)*\s*$",
)
# For these the expectation of a wrong theory is a control; for the others only a measurement is.
_OF_THEORIES = ("number", "rate", "order")
_CONTROL = (
    '{what = "..."}, which the chapter measures, or of a number, rate or order '
    '{what = "...", expect = x}'
)
_TOLERANCE = '{abs = x, reason = "..."} or {rel = x, reason = "..."}; of a bound the reason will do'


class ClaimsError(BookError, ValueError):
    """A claims.toml, or a use of what it registers, that is not as it must be."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One registered claim: the fields of its table, with those of its paper.

    A table has ``expect`` and ``side`` of a bound as ``expect = {side = x}``, and none of them for
    an identity, which expects 0; ``tolerance``, ``relative`` and ``reason`` as ``tolerance =
    {abs = x, reason = "..."}`` or ``{rel = x, reason = "..."}``; and ``control`` and ``wrong`` as
    ``control = {what = "..."}`` or ``{what = "...", expect = wrong}``. A rate is an exponent, an
    order that of an integrator.
    """

    __pydantic_config__ = _form.STRICT

    id: str = must_be(
        "letters a-z, digits, and single dots or dashes between them, unique in the book",
        r"^[a-z0-9]+([.-][a-z0-9]+)*$",
    )
    # Where the paper says it, or what of the paper it follows from.
    place: str = must_be(*_WORDS)
    origin: Literal[tuple(ORIGINS)] = one_of(ORIGINS)
    kind: Literal[KINDS] = one_of(KINDS)
    sentence: str = must_be(*_PROSE)
    # That of a planned claim need not exist yet.
    chapter: str = must_be(
        "<paper's folder>/<NN-name>, such as mixon-parshall-pi/04-figure-1", _CHAPTER
    )
    # How several measured values, one a run, become the one that is judged.
    statistic: Literal[STATISTICS] = one_of(STATISTICS)
    expect: int | float = must_be("a finite number")
    side: Literal["max", "min"] | None = must_be("which bound it is", default=None)
    # How far beyond what is expected a value may lie: so far, or by this share of it; and why.
    tolerance: int | float = must_be("a finite number, 0 or more", ge=0)
    relative: bool = must_be("whether the tolerance is a share", default=False)
    reason: str = must_be(*_PROSE)
    # One for the paper profile is judged by paper-size runs only; in a quick build by the kept one.
    profile: Literal[PROFILES] = one_of(PROFILES, "quick")
    # A wrong alternative, which must fail the same judgement: its measurement; or, of a number,
    # rate or order, what is measured anyway beside what a wrong theory expects.
    control: str | None = must_be(*_PROSE, default=None)
    wrong: int | float | None = must_be("a finite number", default=None)
    # The ids of the claims that it rests on, in any paper of the book.
    uses: tuple[str, ...] = must_be("a list of ids of claims", default=())
    # Why it is known not to hold: for all that the paper says, or as far as its words are at hand.
    discrepancy: str | None = must_be(*_PROSE, default=None)
    unclear: str | None = must_be(*_PROSE, default=None)
    # Why no run measures it yet.
    planned: str | None = must_be(*_PROSE, default=None)
    paper: str = must_be(*_WORDS)
    citation: str = must_be(
        "a key of the bibliography, such as mixon2022neural", r"^[A-Za-z][A-Za-z0-9_:.-]*$"
    )
    part: Literal[PARTS] = one_of(PARTS)

    @property
    def anchor(self) -> str:
        """The id of the claim's row in a page."""
        return "claim-" + self.id.replace(".", "-")

    @property
    def slack(self) -> float:
        """How far beyond ``expect`` a value may lie, in the units of ``expect``."""
        return self.tolerance * abs(self.expect) if self.relative else self.tolerance

    @property
    def doubt(self) -> str | None:
        """Why the claim is known not to hold."""
        return self.unclear if self.discrepancy is None else self.discrepancy

    @property
    def measures_control(self) -> bool:
        """Whether a run must measure the claim's control."""
        return self.control is not None and self.wrong is None

    @property
    def rival(self) -> "Claim | None":
        """The claim of the wrong theory that is the control, judged by the same rule."""
        return None if self.wrong is None else replace(self, expect=self.wrong)

    @property
    def interval(self) -> tuple[float, float]:
        """The closed interval of the values for which the claim holds."""
        low = -math.inf if self.side == "max" else self.expect - self.slack
        high = math.inf if self.side == "min" else self.expect + self.slack
        return low, high


_HEAD = ("paper", "citation", "part")
_NESTED = ("side", "relative", "reason", "wrong")
_ENTRY = [one.name for one in fields(Claim) if one.name not in _HEAD + _NESTED]


def load(path: Path, chapters: Collection[str] | None = None) -> list[Claim]:
    """Read one claims.toml; return its claims in their order.

    Parameters
    ----------
    path : Path
        ``notebooks/<paper>/claims.toml``.
    chapters : collection of str, optional
        The chapters that exist (``<paper>/<NN-name>``). With it, a claim of another is an error.

    Raises
    ------
    ClaimsError
        The file is no TOML, or an entry is malformed; the message has one line a problem. Whether
        an entry fits the rest of the book is said once its own fields are as they must be.
    """
    return _read([Path(path)], chapters)


def registry(root: Path) -> dict[str, Claim]:
    """Read the claims of all papers of a book, ``<root>/notebooks/<paper>/claims.toml``.

    Returns
    -------
    dict
        id -> Claim; papers in the order of their parts, claims in the order of their file.

    Raises
    ------
    ClaimsError
        There is no such file; one is malformed; two claims have one id or one anchor; a claim
        that is not planned names a chapter that has no source under ``notebooks/``; or the claims
        that one uses are not there, or use it in turn.
    """
    notebooks = Path(root) / "notebooks"
    paths = sorted(notebooks.glob(f"*/{FILE}"))
    if not paths:
        raise ClaimsError(
            f"{notebooks}: holds no <paper>/{FILE}; a book without claims has nothing to "
            "check. Register the claims of at least one paper."
        )
    chapters = {f"{page.parent.name}/{page.stem}" for page in notebooks.glob("*/*.md")}
    claims = sorted(_read(paths, chapters), key=lambda claim: PARTS.index(claim.part))
    found = {claim.id: claim for claim in claims}
    for claim in claims:
        if unknown := [id for id in claim.uses if id not in found]:
            raise ClaimsError(
                f"claim {claim.id!r}: field 'uses' names {', '.join(unknown)}; expected ids of "
                "claims of the book."
            )
    try:
        graphlib.TopologicalSorter({id: claim.uses for id, claim in found.items()}).prepare()
    except graphlib.CycleError as error:
        circle = " uses ".join(reversed(error.args[1]))
        raise ClaimsError(
            f"claims rest on themselves: {circle}. Remove one of these from its field 'uses'."
        ) from error
    return found


def of_chapter(root: Path, chapter: str) -> dict[str, Claim]:
    """Return the claims of one chapter by their ids.

    Raises
    ------
    ClaimsError
        The paper's claims.toml is missing or malformed, or no claim names this chapter.
    """
    path = Path(root) / "notebooks" / chapter.partition("/")[0] / FILE
    claims = load(path)
    if found := {claim.id: claim for claim in claims if claim.chapter == chapter}:
        return found
    known = ", ".join(sorted({claim.chapter for claim in claims}))
    raise ClaimsError(
        f"{path} registers no claim of chapter {chapter!r}; it has claims of {known}."
    )


def _read(paths: Iterable[Path], chapters: Collection[str] | None) -> list[Claim]:
    """Return the claims of some files, or raise whatever is wrong in any of them."""
    claims, problems, taken = [], {}, {}
    for path in paths:
        head = _table(path)
        entries = head.pop("claim")
        paper = {name: head.pop(name) for name in _HEAD if name in head}
        said = [("the paper", mismatch(name, _no_such(_HEAD), head)) for name in head]
        for number, entry in enumerate(entries, 1):
            id = entry.get("id")
            where = f"claim {id!r}" if isinstance(id, str) else f"claim number {number}"
            flat, wrong = _flat(entry)
            said += [(where, mismatch(name, wrong[name], entry)) for name in wrong]
            try:
                claim = _form.read(Claim, flat | paper)
            except _form.MalformedError as error:
                of = {name: "the paper" for name in _HEAD}
                said += [(of.get(name, where), one) for name, one in error.problems.items()]
                continue
            misfits = _misfits(claim, path.parent.name, chapters, taken)
            said += [(where, mismatch(name, expected, flat)) for name, expected in misfits]
            taken[claim.anchor] = f"claim {id!r} of {path}"
            claims.append(claim)
        problems |= {f"{path}: {where}: {one}.": None for where, one in said}
    if problems:
        raise ClaimsError("\n".join(problems))
    return claims


def _table(path: Path) -> dict[str, Any]:
    """Return what a claims.toml holds: tables of claims, whatever is in them."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClaimsError(
            f"{path}: cannot be read ({error.strerror}); expected the claims of a paper there."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimsError(f"{path}: is not valid TOML: {error}.") from error
    claims = table.get("claim")
    if claims and isinstance(claims, list) and all(isinstance(one, dict) for one in claims):
        return table
    expected = "at least one [[claim]] table, and nothing else"
    raise ClaimsError(f"{path}: the paper: {mismatch('claim', expected, table)}.")


def _no_such(known: Collection[str]) -> str:
    return f"no such field; known fields are {', '.join(known)}"


def _flat(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields of a claim, and what was expected of those that cannot be taken so.

    In place of the latter there are others, so that no more is said of them.
    """
    flat = {name: entry[name] for name in _ENTRY if name in entry}
    wrong = {name: _no_such(_ENTRY) for name in entry if name not in _ENTRY}
    kind = entry.get("kind")
    match kind, entry.get("expect"):
        case "identity", None:
            flat["expect"] = 0.0
        case "identity", _:
            wrong["expect"] = "no such field: an identity expects 0"
        case "bound", {"max": _, **rest} | {"min": _, **rest} if not rest:
            [(flat["side"], flat["expect"])] = entry["expect"].items()
        case "bound", _:
            wrong["expect"] = "{max = x} or {min = x} with a finite number x"
        case _ if kind not in KINDS:
            flat["expect"] = 1.0
    match entry.get("tolerance"):
        case {"abs": size, "reason": reason, **rest} if not rest:
            flat |= {"tolerance": size, "reason": reason}
        case {"rel": size, "reason": reason, **rest} if not rest:
            flat |= {"tolerance": size, "reason": reason, "relative": True}
        case {"reason": reason, **rest} if not rest and kind == "bound":
            flat |= {"tolerance": 0.0, "reason": reason}
        case _:
            wrong["tolerance"] = _TOLERANCE
            flat |= {"tolerance": 0.0, "reason": "-"}
    match entry.get("control"):
        case None:
            pass
        case {"what": what, **rest} if not rest:
            flat["control"] = what
        case {"what": what, "expect": int() | float() as expect, **rest} if (
            not rest and kind in _OF_THEORIES
        ):
            flat |= {"control": what, "wrong": expect}
        case _:
            wrong["control"] = _CONTROL
            del flat["control"]
    return flat | ({"expect": 1.0} if "expect" in wrong else {}), wrong


def _misfits(
    claim: Claim, folder: str, chapters: Collection[str] | None, taken: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield which fields fit neither the others nor the book, and what is expected of them."""
    # Two ids that differ in dots and dashes alone would share one anchor in the ledger.
    if claim.anchor in taken:
        yield "id", f"another than that of {taken[claim.anchor]}"
    if not claim.chapter.startswith(f"{folder}/"):
        yield "chapter", f"a chapter of {folder}/, the folder of this file"
    elif chapters is not None and claim.chapter not in chapters and claim.planned is None:
        known = ", ".join(sorted(one for one in chapters if one.startswith(f"{folder}/")))
        yield "chapter", f"a chapter that exists: {known or 'there is none yet'}"
    if claim.relative and claim.expect == 0:
        yield "tolerance", "abs instead of rel: a share of 0 allows nothing"
    for name in ("sentence", "reason", "control", "planned", "discrepancy", "unclear"):
        for target in _targets(getattr(claim, name)):
            page = target.partition("#")[0]
            exists = re.fullmatch(_CHAPTER, page) and (chapters is None or page in chapters)
            if page and not page.startswith("https://") and not exists:
                expected = "to be #section, <chapter that exists>#section or https://..."
                yield name, f"the target {target!r} {expected}"
    doubt = "unclear" if claim.discrepancy is None else "discrepancy"
    if claim.doubt is not None and not _targets(claim.doubt):
        yield doubt, "a link to its explanation, [words](#section-of-chapter)"
    if claim.doubt is not None and claim.planned is not None:
        yield doubt, "no such field beside 'planned': only a run finds that a claim fails"
    if claim.doubt is not None and claim.control is not None:
        yield "control", f"no such field beside {doubt!r}: a claim that does not hold needs none"
    if claim.discrepancy is not None and claim.unclear is not None:
        yield "unclear", "no such field beside 'discrepancy': the paper's words are at hand or not"


def _targets(text: str | None) -> list[str]:
    return [part["target"] for part in MARKUP.finditer(text or "") if part["target"]]
