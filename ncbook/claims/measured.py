"""What was measured: numbers, summarised, and the run that made them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ncbook.claims import _form
from ncbook.claims._form import mismatch, must_be

_NUMBER = 'a finite number, or "nan" where none was measured'


@dataclass(frozen=True)
class Summary:
    """Measured values: their number, and the least, median and greatest of those that are finite.

    The latter are nan where none is.
    """

    __pydantic_config__ = _form.STRICT

    n: int = must_be("a count of at least 1", ge=1)
    not_finite: int = must_be("a count from 0 to n", ge=0)
    min: float | Literal["nan"] = must_be(_NUMBER)
    median: float | Literal["nan"] = must_be(_NUMBER)
    max: float | Literal["nan"] = must_be(_NUMBER)

    def __post_init__(self) -> None:
        for name in ("min", "median", "max"):
            object.__setattr__(self, name, float(getattr(self, name)))
        ends, some = (self.min, self.median, self.max), self.not_finite < self.n
        if self.not_finite > self.n:
            raise ValueError(mismatch("not_finite", f"a count from 0 to {self.n}", vars(self)))
        if any(math.isfinite(end) != some for end in ends):
            raise ValueError(
                f"min, median, max are {ends}, which does not fit not_finite; expected numbers "
                f"for {self.n - self.not_finite} of {self.n} finite values"
            )
        if some and not self.min <= self.median <= self.max:
            expected = f"a number from {self.min} to {self.max}"
            raise ValueError(mismatch("median", expected, vars(self)))


@dataclass(frozen=True)
class Record(Summary):
    """One measurement of one claim, with the run that made it. It holds nothing of the claim."""

    parameters: dict[str, Any] = must_be("a JSON object")
    provenance: dict[str, Any] = must_be("a JSON object")
    # Of the wrong alternative, where the chapter measures one.
    control: Summary | None = must_be("null, or n, not_finite, min, median and max", default=None)


def summarise(
    values: Any,
    parameters: Mapping[str, Any] = {},
    provenance: Mapping[str, Any] = {},
    control: Any = None,
) -> Record:
    """Return the record of measured values: a number, iterable, array or tensor of any shape.

    Arrays and tensors are recognised by what they are turned into lists with, so that neither
    numpy, xarray nor torch is imported here. Parameters and provenance are what JSON can hold;
    the control is
    such values of the wrong alternative, if any.

    Raises
    ------
    TypeError
        Something among the values is no real number.
    ValueError
        There is no value.
    """
    rival = None if control is None else _summary(control)
    run = dict(parameters), dict(provenance)
    return Record(*vars(_summary(values)).values(), *run, rival)


def _summary(values: Any) -> Summary:
    numbers = _flatten(values)
    if not numbers:
        raise ValueError("no value was measured; expected at least one")
    finite = sorted(number for number in numbers if math.isfinite(number))
    some = finite or [math.nan]
    low, high = some[(len(some) - 1) // 2], some[len(some) // 2]
    median = (low + high) / 2 if math.isfinite(low + high) else low / 2 + high / 2
    return Summary(len(numbers), len(numbers) - len(finite), some[0], median, some[-1])


def _flatten(values: Any) -> list[float]:
    for step in ("detach", "cpu", "to_numpy", "tolist"):
        if hasattr(values, step):
            values = getattr(values, step)()
    if isinstance(values, int | float) and not isinstance(values, bool):
        return [float(values)]
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        return [number for part in values for number in _flatten(part)]
    raise TypeError(
        f"measured {values!r}, of type {type(values).__name__}; "
        "expected a real number, or a sequence, array or tensor of them"
    )
