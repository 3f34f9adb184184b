"""How claims and measurements are put into words, plain and in HTML.

What a chapter prints is compared from run to run. So its numbers have three significant digits,
and whatever may be rounding error is given as a power of ten that it does not exceed.
"""

import html
import math
import re
from collections.abc import Callable

from ncbook.claims.measured import Summary
from ncbook.claims.schema import MARKUP, Claim

VERDICTS = ("holds", "fails", "known discrepancy", "scope unclear", "not measured", "planned")
SYMBOLS = dict(zip(VERDICTS, "✓✗△▽○◇", strict=True))
_PLURALS = {"holds": "hold", "fails": "fail", "known discrepancy": "known discrepancies"}
# Below this power of ten, float64 results of one experiment differ from machine to machine.
FLOOR = -14


def counted(name: str, count: int) -> str:
    """Return a number of claims with their verdict: ``1 known discrepancy``, ``2 fail``."""
    return f"{count} {called(name, count)}"


def called(name: str, count: int) -> str:
    """Return what so many claims of one verdict do or are: ``holds``, ``hold``."""
    return name if count == 1 else _PLURALS.get(name, name)


def digits(number: float) -> str:
    """Return three significant digits: 2.00, 0.0430, 3.00e-7."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    return _exponent(f"{number:#.3g}".rstrip("."))


def short(number: float) -> str:
    """Return a number that somebody wrote, as short as it can be: 2, 0.05, 1e-4."""
    if 0 < abs(number) < 1e-3:
        mantissa, _, power = f"{number:.9e}".partition("e")
        return _exponent(f"{mantissa.rstrip('0').rstrip('.')}e{power}")
    return _exponent(f"{number:.10g}")


def decade(number: float) -> str:
    """Return the least power of ten, from 1e-14 on, that ``|number|`` does not exceed."""
    power = FLOOR
    if number:
        mantissa, _, exponent = f"{abs(number):.16e}".partition("e")
        power = max(FLOOR, int(exponent) + (float(mantissa) > 1))
    return short(10.0**power)


def expected(claim: Claim) -> str:
    """Return what is expected, with its tolerance: ``2 ± 0.05``, ``≤ 1 + 2 %``, ``exactly 3``."""
    size = f"{short(100 * claim.tolerance)} %" if claim.relative else short(claim.tolerance)
    sign, tolerance = {"max": ("≤ ", " + "), "min": ("≥ ", " − "), None: ("", " ± ")}[claim.side]
    if claim.tolerance:
        return f"{sign}{short(claim.expect)}{tolerance}{size}"
    return f"{sign or 'exactly '}{short(claim.expect)}"


def measured(claim: Claim, value: float, exact: bool = False) -> str:
    """Return a measured value; of a rounding error a power of ten, unless it is to be exact.

    The latter is right in the ledger, which is not compared from run to run.
    """
    if not math.isfinite(value):
        return "not finite"
    if isinstance(claim.expect, int) and value == int(value):
        return str(int(value))
    low, high = claim.interval
    if not exact and low < high:
        if claim.kind == "identity" and low <= value <= high:
            return f"≤ {decade(value)}"
        if abs(value) < (1e-12 if claim.kind == "bound" else 10.0**FLOOR):
            return f"0 ± {decade(value)}"
    return digits(value)


def not_finite(record: Summary) -> str:
    """Return how many of the values are not finite: ``2 of 4 values are not finite``."""
    n, count = record.n, record.not_finite
    if n == 1:
        return "the value is not finite"
    if count == n:
        return f"none of the {n} values is finite"
    return f"{count} of {n} values {'is' if count == 1 else 'are'} not finite"


def spread(claim: Claim, value: float, record: Summary, exact: bool = False) -> str:
    """Return what the judged value stands for: ``median of 50 values, 1.99 to 2.02``.

    Of values that are not finite their number is said, and the rest describes the others. Where
    the tolerance is too tight to be seen in three digits, the distance from the expected value
    follows.
    """
    parts = []
    bad, finite = record.not_finite, record.n - record.not_finite
    if bad and record.n > 1:
        parts.append(not_finite(record))
    if finite > 1:
        them = f"the {finite} others" if bad else f"{finite} values"
        parts.append(f"{claim.statistic} of {them}")
        ends = [measured(claim, end, exact) for end in (record.min, record.max)]
        furthest = measured(claim, max(record.min, record.max, key=abs), exact)
        if furthest.startswith("≤"):
            parts.append(f"all {furthest}")
        else:
            parts.append(f"all {ends[0]}" if ends[0] == ends[1] else " to ".join(ends))
    tight = claim.side is None and 0 < claim.slack < 0.005 * abs(claim.expect)
    if tight and value != claim.expect and math.isfinite(value):
        parts.append(f"off by ≤ {decade(value - claim.expect)}")
    return ", ".join(parts)


def number_html(text: str) -> str:
    """Return the words of this module with powers of ten and minus signs set as in print."""
    text = html.escape(text)
    text = re.sub(r"\b1e(-?\d+)", r"10<sup>\1</sup>", text)
    text = re.sub(r"(\d)e(-?\d+)", r"\1&nbsp;×&nbsp;10<sup>\2</sup>", text)
    return re.sub(r"-(?=\d)", "−", text)


def plain(text: str) -> str:
    """Return a sentence of claims.toml without the targets of its links."""
    return MARKUP.sub(lambda part: part["words"] or part[0], text)


def linked(text: str) -> bool:
    """Whether a sentence of claims.toml has a link."""
    return any(part["words"] for part in MARKUP.finditer(text))


def sentence_html(text: str, resolve: Callable[[str], str] | None = None) -> str:
    r"""Return a sentence of claims.toml as HTML; its $mathematics$ is left to MathJax.

    It is put between ``\(`` and ``\)``, which MathJax knows in Jupyter and in a Sphinx page; the
    latter does not know ``$``.

    Parameters
    ----------
    text : str
    resolve : function, optional
        Turns the target of a link into an address as seen from the page. Without it there is no
        link, only its words: what opens a claim cannot hold a link too.
    """
    parts, end = [], 0
    for part in MARKUP.finditer(text):
        parts.append(html.escape(text[end : part.start()]))
        if part["maths"]:
            parts.append(rf"\({html.escape(part['maths'])}\)")
        else:
            words = sentence_html(part["words"], resolve)
            if resolve:
                words = f'<a href="{html.escape(resolve(part["target"]))}">{words}</a>'
            parts.append(words)
        end = part.end()
    return "".join(parts) + html.escape(text[end:])


def _exponent(text: str) -> str:
    return re.sub(r"e([+-])0*(\d+)", lambda e: "e" + e[1].replace("+", "") + e[2], text)
