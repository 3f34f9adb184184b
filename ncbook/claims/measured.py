"""What was measured: numbers, the summary of them that is kept, and the run that made them."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


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


@dataclass(frozen=True)
class Record:
    """One measurement of one claim, with the run that made it. It holds nothing of the claim."""

    summary: Summary
    parameters: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; nan becomes a text."""
        one = self.summary
        return {
            "n": one.n,
            "not_finite": one.not_finite,
            "min": encode(one.min),
            "median": encode(one.median),
            "max": encode(one.max),
            "parameters": dict(self.parameters),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, table: Any) -> "Record":
        """Return the record that ``as_dict`` made.

        Raises
        ------
        ValueError
            It is none: a field is missing, unknown or of the wrong type, or the numbers do not fit
            together.
        """
        fields(table, ("n", "not_finite", "min", "median", "max", "parameters", "provenance"))
        n, bad = table["n"], table["not_finite"]
        if type(n) is not int or n < 1:
            raise ValueError(f"its n is {n!r}, expected a count of at least 1")
        if type(bad) is not int or not 0 <= bad <= n:
            raise ValueError(f"its not_finite is {bad!r}, expected a count from 0 to {n}")
        low, middle, high = ends = [_decode(table[name]) for name in ("min", "median", "max")]
        if not all(math.isfinite(end) == (bad < n) for end in ends):
            raise ValueError(f"its ends are {ends}, which does not fit {bad} of {n} not finite")
        if bad < n and not low <= middle <= high:
            raise ValueError(f"its median {middle} does not lie between {low} and {high}")
        for name in ("parameters", "provenance"):
            if not isinstance(table[name], dict):
                raise ValueError(f"its {name} is {table[name]!r}, expected a JSON object")
        return cls(Summary(n, *ends, bad), table["parameters"], table["provenance"])


def fields(table: Any, expected: Iterable[str]) -> None:
    """Raise a ValueError unless a table read from JSON has these fields and no other."""
    if not isinstance(table, dict):
        raise ValueError("it holds no JSON object")
    if set(table) != set(expected):
        raise ValueError(
            f"its fields are {', '.join(table) or 'none'}, expected {', '.join(expected)}"
        )


def encode(value: float) -> float | str:
    """Return a number as JSON can hold it: one that is not finite as a text."""
    return value if math.isfinite(value) else str(value)


def _decode(value: Any) -> float:
    if value != "nan" and (isinstance(value, bool) or not isinstance(value, int | float)):
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
    finite = [number for number in numbers if math.isfinite(number)]
    some = finite or [math.nan]
    return Summary(
        len(numbers), min(some), statistics.median(some), max(some), len(numbers) - len(finite)
    )
