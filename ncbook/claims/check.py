"""The verdict on a claim: pure functions of what is expected and what was measured."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ncbook.claims import words
from ncbook.claims.schema import Claim

HOLDS = "holds"
FAILS = "fails"
DISCREPANCY = "known discrepancy"
NOT_MEASURED = "not measured"
PLANNED = "planned"
VERDICTS = (HOLDS, FAILS, DISCREPANCY, NOT_MEASURED, PLANNED)


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
class Summary:
    """Measured values of one claim: how many; least, median, greatest of those that are finite.

    Where none is finite, the three are nan.
    """

    n: int
    min: float
    median: float
    max: float
    not_finite: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; nan becomes a text."""
        return {
            "n": self.n,
            "not_finite": self.not_finite,
            "min": encode(self.min),
            "median": encode(self.median),
            "max": encode(self.max),
        }

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "Summary":
        """Return the summary that ``as_dict`` made.

        Raises
        ------
        ValueError
            A field is missing or is no number, or the four do not fit together.
        """
        try:
            n, not_finite = table["n"], table["not_finite"]
            low, middle, high = (decode(table[field]) for field in ("min", "median", "max"))
        except KeyError as error:
            raise ValueError(f"the field {error} is missing") from error
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(f"n is {n!r}, expected a count of at least 1")
        if type(not_finite) is not int or not 0 <= not_finite <= n:
            raise ValueError(f"not_finite is {not_finite!r}, expected a count of at most {n}")
        if not low <= middle <= high and not_finite < n:
            raise ValueError(f"the median {middle} does not lie between {low} and {high}")
        return cls(n, low, middle, high, not_finite)


def encode(value: float) -> float | str:
    """Return a number as JSON can hold it: nan and inf as texts."""
    return value if math.isfinite(value) else str(value)


def decode(value: Any) -> float:
    """Return the number that ``encode`` was given."""
    if isinstance(value, bool) or not (
        isinstance(value, int | float) or value in ("nan", "inf", "-inf")
    ):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def flatten(values: Any) -> list[float]:
    """Return measured values as one list of floats.

    Parameters
    ----------
    values : number, iterable, array or tensor
        Of any shape. Arrays and tensors are recognised by ``detach``, ``cpu`` and ``tolist``, so
        that neither numpy nor torch is imported here.

    Raises
    ------
    TypeError
        Something in it is no real number.
    """
    for step in ("detach", "cpu", "tolist"):
        if hasattr(values, step):
            values = getattr(values, step)()
    if isinstance(values, int | float) and not isinstance(values, bool):
        return [float(values)]
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        return [number for part in values for number in flatten(part)]
    raise TypeError(
        f"measured {values!r}, of type {type(values).__name__}; "
        "expected a real number, or a sequence, array or tensor of them"
    )


def summarise(values: Any) -> Summary:
    """Return the summary of measured values (see :func:`flatten` for what they may be).

    Raises
    ------
    TypeError
        Something in ``values`` is no real number.
    ValueError
        There is no value.
    """
    numbers = flatten(values)
    if not numbers:
        raise ValueError("no value was measured; expected at least one")
    finite = [number for number in numbers if math.isfinite(number)] or [math.nan]
    return Summary(
        len(numbers),
        min(finite),
        statistics.median(finite),
        max(finite),
        sum(not math.isfinite(number) for number in numbers),
    )


def worst(claim: Claim, summary: Summary) -> float:
    """Return the measured value that speaks most against the claim."""
    if claim.side == "max":
        return summary.max
    if claim.side == "min":
        return summary.min
    return max(summary.min, summary.max, key=lambda value: abs(value - claim.expect))


def value(claim: Claim, summary: Summary) -> float:
    """Return the one value that is judged: the claim's statistic of the measured ones."""
    return summary.median if claim.statistic == "median" else worst(claim, summary)


def used(claim: Claim, summary: Summary) -> float | None:
    """Return the share of the tolerance that the judged value uses: 1 at its edge, more beyond.

    None for a bound, which may be far from its limit, for a tolerance of 0, and for a value that
    is not finite.
    """
    distance = abs(value(claim, summary) - claim.expect)
    if claim.side is not None or claim.slack == 0 or not math.isfinite(distance):
        return None
    return distance / claim.slack


def elsewhere(claim: Claim, profile: str) -> bool:
    """Whether a run in this profile is too small to judge the claim."""
    return claim.profile == "paper" and profile != "paper"


def judge(
    claim: Claim, summary: Summary | None, profile: str = "quick", kept: Summary | None = None
) -> Verdict:
    """Return the verdict on a claim.

    A value that is not finite never holds, and is no known discrepancy either: nothing was
    measured well. A known discrepancy is strict: once the claim holds, its entry is wrong. So is
    a plan: once the claim was measured, it is planned no longer.

    Parameters
    ----------
    claim : Claim
    summary : Summary or None
        What was measured; None if nothing was.
    profile : "quick" or "paper"
        The profile of the run.
    kept : Summary or None
        What the kept paper-size run measured, beside a quick one. The claim must stand in both;
        one for the paper profile is judged by this one alone.
    """
    if claim.planned is not None:
        if summary is None and kept is None:
            return Verdict(PLANNED)
        return Verdict(
            FAILS,
            "It is registered as planned, and it was measured. Remove the field 'planned' of "
            f"{claim.id} from claims.toml.",
        )
    if elsewhere(claim, profile):
        small = "" if summary is None else " The quick measurement is of a smaller run: not judged."
        if kept is None:
            return Verdict(
                NOT_MEASURED,
                "No paper-size result of it is kept. Make one with python -m ncbook build "
                f"--profile paper --chapter {claim.chapter}, then python -m ncbook keep "
                f"{claim.chapter}; or register the claim as planned.{small}",
            )
        verdict = _judge(claim, kept)
        return Verdict(verdict.name, f"{verdict.message}{small}".strip())
    if summary is None:
        return Verdict(NOT_MEASURED, f"Nothing was measured by {claim.chapter}.")
    verdict = _judge(claim, summary)
    if kept is None or verdict.breaks:
        return verdict
    at_paper_size = _judge(claim, kept)
    if at_paper_size.breaks:
        return Verdict(FAILS, f"In the kept paper-size run: {at_paper_size.message}")
    return verdict


def _judge(claim: Claim, summary: Summary) -> Verdict:
    """Judge one measurement by what is expected."""
    if summary.not_finite:
        said = words.not_finite(summary.n, summary.not_finite)
        return Verdict(FAILS, f"{said[0].upper()}{said[1:]}.")
    measured = value(claim, summary)
    low, high = claim.interval
    holds = low <= measured <= high
    if claim.discrepancy is not None:
        if not holds:
            return Verdict(DISCREPANCY)
        return Verdict(
            FAILS,
            "The known discrepancy is gone: the claim holds. Remove the field 'discrepancy' of "
            f"{claim.id} from claims.toml, or correct what is expected.",
        )
    if holds:
        return Verdict(HOLDS)
    return Verdict(FAILS, f"Measured {words.digits(measured)}, expected {words.expected(claim)}.")
