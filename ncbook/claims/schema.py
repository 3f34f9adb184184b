"""What a claim is, and how ``notebooks/<paper>/claims.toml`` registers it.

Every claim of a paper that the book checks is one ``[[claim]]`` table. Nothing in such a file is
taken on trust: a field that is unknown, missing or not as it must be is an error that names the
file, the claim, the field, what was found and what was expected.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ncbook.files import BookError

FILE = "claims.toml"  # beside a paper's chapters
KINDS = ("number", "identity", "bound", "rate", "order")
ORIGINS = ("paper", "derived", "beyond")
STATISTICS = ("median", "worst")
PROFILES = ("quick", "paper")
PARTS = ("Part I", "Part II", "Part III", "Part IV", "Part V", "Part VI")

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
    from ncbook.claims import _form  # which imports pydantic

    return _form.read(Path(path), chapters, {})


def registry(root: Path) -> dict[str, Claim]:
    """Read the claims of all papers of a book.

    Parameters
    ----------
    root : Path
        The project's root; the files are ``notebooks/<paper>/claims.toml`` below it.

    Returns
    -------
    dict
        id -> Claim; papers in the order of their parts, claims in the order of their file.

    Raises
    ------
    ClaimsError
        There is no such file; one is malformed; two claims have one id or one anchor; or a claim
        that is not planned names a chapter that has no source under ``notebooks/``.
    """
    from ncbook.claims import _form

    notebooks = Path(root) / "notebooks"
    paths = sorted(notebooks.glob(f"*/{FILE}"))
    if not paths:
        raise ClaimsError(
            f"{notebooks}: holds no <paper>/{FILE}; a book without claims has nothing to "
            "check. Register the claims of at least one paper."
        )
    chapters = {f"{page.parent.name}/{page.stem}" for page in notebooks.glob("*/*.md")}
    problems: list[str] = []
    claims: list[Claim] = []
    taken: dict[str, str] = {}
    for path in paths:
        try:
            claims += _form.read(path, chapters, taken)
        except ClaimsError as error:
            problems.append(str(error))
    if problems:
        raise ClaimsError("\n".join(problems))
    return {claim.id: claim for claim in sorted(claims, key=lambda one: PARTS.index(one.part))}


def of_chapter(root: Path, chapter: str) -> dict[str, Claim]:
    """Return the claims of one chapter by their ids.

    Raises
    ------
    ClaimsError
        The paper's claims.toml is missing or malformed, or no claim names this chapter.
    """
    path = Path(root) / "notebooks" / chapter.partition("/")[0] / FILE
    claims = load(path)
    found = {claim.id: claim for claim in claims if claim.chapter == chapter}
    if not found:
        known = ", ".join(sorted({claim.chapter for claim in claims}))
        raise ClaimsError(
            f"{path} registers no claim of chapter {chapter!r}; it has claims of {known}."
        )
    return found
