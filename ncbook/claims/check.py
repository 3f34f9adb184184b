"""The verdict on a claim: pure functions of what is expected and what was measured."""

import math
from dataclasses import dataclass
from functools import cached_property

from ncbook.claims import wording
from ncbook.claims.kept import Kept
from ncbook.claims.measured import Record, Summary
from ncbook.claims.schema import Claim

VERDICTS = HOLDS, FAILS, DISCREPANCY, UNCLEAR, NOT_MEASURED, PLANNED = wording.VERDICTS


@dataclass(frozen=True)
class Verdict:
    """A verdict by name, and in a sentence why (empty where nothing needs to be said)."""

    name: str
    message: str = ""

    @property
    def breaks(self) -> bool:
        """Whether a book with this verdict must not be built."""
        return self.name in (FAILS, NOT_MEASURED)


@dataclass(frozen=True)
class Row:
    """One claim beside what was measured for it."""

    claim: Claim
    record: Record | None  # None if nothing that can be used was measured
    kept: Kept | None = None  # the paper-size run of the claim's chapter, in a quick build
    profile: str = "quick"  # of the build
    key: str = ""  # the hash of what made the chapter; empty if unknown
    problem: str = ""  # why there is no record, where more can be said than that
    # How far the value moves with all steps and tolerances halved, as a share of what is allowed.
    moved: float | None = None

    @property
    def at_paper_size(self) -> Record | None:
        """What the kept run measured for the claim, stale or not; None if nothing."""
        return self.kept.measured.get(self.claim.id) if self.kept else None

    @property
    def stale(self) -> bool:
        """Whether what the kept run measured for the claim is stale."""
        return self.at_paper_size is not None and self.kept.stale

    @property
    def has_page(self) -> bool:
        """Whether the claim's chapter exists; that of planned claims need not."""
        return bool(self.key) or self.claim.planned is None

    @property
    def decides(self) -> Record | None:
        """What was measured by the run that the claim is judged by."""
        return self.at_paper_size if needs_paper_profile(self.claim, self.profile) else self.record

    @cached_property
    def verdict(self) -> Verdict:
        """What follows from the claim and what was measured."""
        found = (self.profile, self.at_paper_size, self.stale, self.problem)
        return judge(self.claim, self.record, *found)


def value(claim: Claim, record: Summary) -> float:
    """Return the one value that is judged: the median, or the one that speaks most against."""
    if claim.statistic == "median":
        return record.median
    if claim.side is not None:
        return getattr(record, claim.side)
    return max(record.min, record.max, key=lambda value: abs(value - claim.expect))


def tolerance_used(claim: Claim, record: Summary) -> float | None:
    """Return the share of the tolerance that the judged value uses: 1 at its edge, more beyond.

    None for a bound, which may be far from its limit, for a tolerance of 0, and where no value is
    finite.
    """
    distance = abs(value(claim, record) - claim.expect)
    if claim.side is not None or claim.slack == 0 or not math.isfinite(distance):
        return None
    return distance / claim.slack


def needs_paper_profile(claim: Claim, profile: str) -> bool:
    """Whether a run in this profile is too small to judge the claim."""
    return claim.profile == "paper" and profile != "paper"


def judge(
    claim: Claim,
    record: Record | None,
    profile: str = "quick",
    kept: Record | None = None,
    stale: bool = False,
    problem: str = "",
) -> Verdict:
    """Return the verdict on a claim.

    Where a value is not finite the claim never holds, and is no known discrepancy either: nothing
    was measured well. A known discrepancy is strict: once the claim holds, its entry is wrong. So
    is a plan: once the claim was measured, it is planned no longer. And a claim whose control
    passes the same judgement fails: nothing would have shown it to be wrong.

    Parameters
    ----------
    claim : Claim
    record : Record or None
        What was measured; None if nothing was.
    profile : "quick" or "paper"
        The profile of the run.
    kept : Record or None
        What the kept paper-size run measured, beside a quick one. The claim must stand in both,
        its control in the quick one; one for the paper profile is judged by this one alone.
    stale : bool
        Whether ``kept`` is stale, so that it decides nothing.
    problem : str
        Why nothing was measured, where that is known.
    """
    if claim.planned is not None:
        if record is None and kept is None:
            return Verdict(PLANNED)
        why = "It is registered as planned, and it was measured."
        return Verdict(FAILS, f"{why} Remove the field 'planned' of {claim.id} from claims.toml.")
    if needs_paper_profile(claim, profile):
        small = " The quick measurement is of a smaller run: not judged." if record else ""
        if kept is None or stale:
            return Verdict(NOT_MEASURED, _wanted(claim.chapter, stale) + small)
        verdict = _judge(claim, kept)
        return Verdict(verdict.name, f"{verdict.message}{small}".strip())
    if record is None:
        return Verdict(NOT_MEASURED, problem or f"Nothing was measured by {claim.chapter}.")
    verdict = _judge(claim, record)
    if kept is None or stale or verdict.breaks:
        return verdict
    at_paper_size = _judge(claim, kept, control=False)
    if not at_paper_size.breaks:
        return verdict
    return Verdict(FAILS, f"In the kept paper-size run: {at_paper_size.message}")


def passes(claim: Claim, record: Record) -> bool:
    """Whether the claim's control passes the judgement of the claim, which it must not.

    Of a control that was not measured, or not well, nothing is known: so it passes.
    """
    if claim.rival:
        return _within(claim.rival, record)
    return record.control is None or record.control.not_finite or _within(claim, record.control)


def _wanted(chapter: str, stale: bool) -> str:
    """Say how to come by a paper-size result."""
    ncbook = "python -m ncbook"
    run = f"{ncbook} build --profile paper --chapter {chapter}, then {ncbook} keep {chapter}"
    if not stale:
        made = "No paper-size result of it is kept. Make one"
        return f"{made} with {run}; or register the claim as planned."
    return (
        "Its kept paper-size result is stale: the code that measures, or the paper profile, has "
        f"changed since. Renew it with {run}. If only code has changed, and that does not alter "
        "what is measured, confirm it with "
        f'{ncbook} confirm {chapter} --why "...".'
    )


def _within(claim: Claim, record: Summary) -> bool:
    low, high = claim.interval
    return low <= value(claim, record) <= high


def _judge(claim: Claim, record: Record, control: bool = True) -> Verdict:
    """Judge one measurement by what is expected, and where it must be, its control."""
    if record.not_finite:
        said = wording.not_finite(record)
        return Verdict(FAILS, f"{said[0].upper()}{said[1:]}.")
    holds = _within(claim, record)
    if claim.doubt is not None:
        unclear = claim.discrepancy is None
        if not holds:
            return Verdict(UNCLEAR if unclear else DISCREPANCY)
        what, field = ("doubt", "unclear") if unclear else (DISCREPANCY, "discrepancy")
        return Verdict(
            FAILS,
            f"The {what} is gone: the claim holds. Remove the field {field!r} of {claim.id} from "
            "claims.toml, or correct what is expected.",
        )
    if not holds:
        measured = wording.digits(value(claim, record))
        return Verdict(FAILS, f"Measured {measured}, expected {wording.expected(claim)}.")
    if control and claim.control is not None and passes(claim, record):
        return Verdict(FAILS, "Its control passes the same judgement, or was not measured well.")
    return Verdict(HOLDS)
