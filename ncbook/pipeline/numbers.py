"""Numbers in a chapter's prose: printed from its run, never typed.

The text says ``{{name}}`` or ``{{name:.2f}}``, after the colon a format of Python's: in prose, in
captions, in alternative texts. A name is one that the chapter gave with ``chapter.number``, a
parameter of the chapter, or a claim's id, which stands for what was measured for it.
"""

import json
import math
import re
from pathlib import Path

from ncbook.claims import check, record
from ncbook.claims.schema import Claim
from ncbook.files import BookError
from ncbook.typeset import typeset

NO_NUMBER = "(no number)"
# Not the braces of a formula, as in \frac{{x}}{2}.
PLACE = re.compile(r"(?<![{}\w])\{\{([A-Za-z][\w.-]*)(?::([^{}]*))?\}\}")


def of_run(folder: Path, claims: dict[str, Claim], profile: str) -> dict[str, float | str]:
    """Return the numbers of a run by their names: given ones, and what its claims measured."""
    try:
        given = json.loads((folder / record.NUMBERS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        given = {}
    for id, claim in claims.items():
        one = record.read(folder / "claims" / f"{id}.json", claim, profile)
        if one is not None:
            given[id] = math.nan if one.not_finite else check.value(claim, one)
    return given


def with_gaps(numbers: dict[str, float | str], text: str) -> dict[str, float | str]:
    """Return numbers with those that a text asks for besides, as numbers that there are not.

    For a run with other parameters, which may end before it has them all.
    """
    return {name: math.nan for name, _ in PLACE.findall(text)} | numbers


def written(value: float | str, form: str) -> str:
    """Write a number by a format, as typeset text: 1.2e-06 is 1.2·10⁻⁶, a minus is one.

    What is not finite is said to be no number.

    Raises
    ------
    ValueError
        The format is none, or not one of this kind of value.
    """
    if isinstance(value, str):
        return format(value, form)
    if not math.isfinite(value):
        return NO_NUMBER
    if not form and isinstance(value, int):
        return typeset(str(value))
    return typeset(format(value, form or ".3g"))


def fill(text: str, numbers: dict[str, float | str], where: str) -> str:
    """Return a text with its numbers.

    Parameters
    ----------
    text : str
    numbers : dict
        What :func:`of_run` returned.
    where : str
        The chapter, for the message.

    Raises
    ------
    BookError
        The text asks for a number that the run did not give, or in a format that is none.
    """

    def put(match: re.Match) -> str:
        name, form = match[1], match[2] or ""
        if name not in numbers:
            given = ", ".join(sorted(numbers)) or "none"
            raise BookError(
                f"The text of {where} asks for {match[0]}, and its run gave no {name!r}. Give it "
                f"in a cell, chapter.number({name!r}, ...), or take one that there is: {given}."
            )
        try:
            return written(numbers[name], form)
        except ValueError as error:
            raise BookError(f"The text of {where} asks for {match[0]}: {error}.") from error

    return PLACE.sub(put, text)
