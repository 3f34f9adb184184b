"""How claims are said: stable numbers, honest words."""

import math
import re

import pytest
from claims_samples import claim
from hypothesis import given
from hypothesis import strategies as st

from ncbook.claims import check, page, wording
from ncbook.claims.measured import summarise

positive = st.floats(1e-300, 1e300)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0, "2.00"), (2.0049, "2.00"), (0.043, "0.0430"), (-0.13289, "-0.133"), (123.4, "123"),
        (12345, "1.23e4"), (3e-7, "3.00e-7"), (9.999, "10.0"), (0, "0"), (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)  # fmt: skip
def test_digits(number, text):
    assert wording.digits(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0, "2"), (30, "30"), (0.05, "0.05"), (1e-4, "1e-4"), (2.5e-12, "2.5e-12"), (0, "0"),
        (0.1 + 0.2, "0.3"), (0.90878, "0.90878"), (1e5, "100000"), (-1e-3, "-0.001"),
    ],
)  # fmt: skip
def test_short(number, text):
    assert wording.short(number) == text


@given(positive)
def test_a_decade_is_the_least_power_of_ten_above(number):
    bound = float(wording.decade(number))
    assert number <= bound
    assert bound == 1e-14 or number > bound / 10 * (1 - 1e-15)


@given(positive)
def test_three_digits_are_close(number):
    assert float(wording.digits(number)) == pytest.approx(number, rel=5.1e-3)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "1e-14"), (3e-15, "1e-14"), (1e-14, "1e-14"), (1.1e-14, "1e-13"), (-3e-12, "1e-11"),
     (1e-5, "1e-5"), (0.3, "1"), (3.0, "10")],
)  # fmt: skip
def test_decade(number, text):
    assert wording.decade(number) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "2 ± 0.05"),
        ({"tolerance": 0.05, "relative": True}, "2 ± 5 %"),
        ({"tolerance": 0, "expect": 30}, "exactly 30"),
        ({"kind": "identity", "expect": 0.0, "tolerance": 1e-12}, "0 ± 1e-12"),
        ({"kind": "bound", "side": "max", "tolerance": 0}, "≤ 2"),
        ({"kind": "bound", "side": "min", "tolerance": 0.01}, "≥ 2 − 0.01"),
        ({"kind": "bound", "side": "max", "tolerance": 0.1, "relative": True}, "≤ 2 + 10 %"),
    ],
)
def test_expected(changes, text):
    assert wording.expected(claim(**changes)) == text


IDENTITY = {"kind": "identity", "expect": 0.0, "tolerance": 1e-12, "statistic": "worst"}
BOUND = {"kind": "bound", "side": "max", "expect": 1.0, "tolerance": 0}


@pytest.mark.parametrize(
    ("changes", "value", "plain", "exact"),
    [
        ({}, 2.0049, "2.00", "2.00"),
        ({"expect": 30, "tolerance": 0}, 30.0, "30", "30"),
        ({"expect": 30, "tolerance": 0}, 30.5, "30.5", "30.5"),
        (IDENTITY, 3.111e-15, "≤ 1e-14", "3.11e-15"),
        (IDENTITY, 0.0, "≤ 1e-14", "0"),
        (IDENTITY, -4e-13, "≤ 1e-12", "-4.00e-13"),
        (IDENTITY, 0.25, "0.250", "0.250"),
        (IDENTITY, math.nan, "not finite", "not finite"),
        (IDENTITY | {"tolerance": 0}, 0.0, "0", "0"),
        (BOUND, 2e-13, "0 ± 1e-12", "2.00e-13"),
        (BOUND, 0.5, "0.500", "0.500"),
        ({"expect": 3e-13, "tolerance": 1e-14}, 3.1e-13, "3.10e-13", "3.10e-13"),
        ({"expect": 0.0}, 1e-17, "0 ± 1e-14", "1.00e-17"),
    ],
)
def test_measured(changes, value, plain, exact):
    assert wording.measured(claim(**changes), value) == plain
    assert wording.measured(claim(**changes), value, exact=True) == exact


def said(one, values, exact=False):
    summary = summarise(values)
    return wording.spread(one, check.value(one, summary), summary, exact)


def test_tally():
    verdicts = [2.0, 2.0, 3.0, 3.0]
    rows = [check.Row(claim(), summarise(value)) for value in verdicts]
    assert page.tally(rows[:2]) == "2 of 2 hold"
    assert page.tally(rows[:3], "claims") == "2 of 3 claims hold · ✗ 1 fails"
    assert page.tally(rows) == "2 of 4 hold · ✗ 2 fail"


def test_spread():
    assert said(claim(), 2.0) == ""
    assert said(claim(), [1.99, 2.0, 2.02]) == "median of 3 values, 1.99 to 2.02"
    assert said(claim(statistic="worst"), [2.0, 2.0]) == "worst of 2 values, all 2.00"
    assert said(claim(**IDENTITY), [1e-16, -3e-15]) == "worst of 2 values, all ≤ 1e-14"
    assert said(claim(**IDENTITY), [1e-16, 3e-15], True) == (
        "worst of 2 values, 1.00e-16 to 3.00e-15"
    )
    assert said(claim(**IDENTITY), [0.1, 0.2]) == "worst of 2 values, 0.100 to 0.200"


@pytest.mark.parametrize(
    ("values", "value", "text"),
    [
        ([1.0, 2.0, math.nan, 3.0], "2.00",
         "1 of 4 values is not finite, median of the 3 others, 1.00 to 3.00"),
        ([math.inf, 2.0, math.nan, 2.0], "2.00",
         "2 of 4 values are not finite, median of the 2 others, all 2.00"),
        ([math.nan, 2.0], "2.00", "1 of 2 values is not finite"),
        ([math.nan, math.nan], "not finite", "none of the 2 values is finite"),
        ([-math.inf, math.inf, math.nan], "not finite", "none of the 3 values is finite"),
        (math.inf, "not finite", ""),
    ],
)  # fmt: skip
def test_what_is_not_finite_is_counted_and_the_others_described(values, value, text):
    summary = summarise(values)
    assert wording.measured(claim(), check.value(claim(), summary)) == value
    assert said(claim(), values) == text
    row = check.Row(claim(), summary)
    found = page.bundle([row])
    assert f"measured {value}{f' ({text})' if text else ''}" in found["text/plain"]
    assert "nan" not in found["text/plain"] + found["text/html"].partition("</style>")[2]
    message = text.partition(",")[0] or "the value is not finite"
    assert row.verdict == check.Verdict(check.FAILS, f"{message[0].upper()}{message[1:]}.")
    assert f'<p class="note">{row.verdict.message}</p>' in found["text/html"]


def test_a_tolerance_too_tight_for_three_digits_shows_the_distance():
    one = claim(expect=0.90878, tolerance=1e-4)
    assert said(one, 0.908783) == "off by ≤ 1e-5"
    assert said(one, [0.908783, 0.908784, 0.90879]) == (
        "median of 3 values, all 0.909, off by ≤ 1e-5"
    )
    assert said(claim(), 2.01) == ""


@given(st.lists(st.floats(1e-17, 9e-15), min_size=1, max_size=9))
def test_rounding_errors_never_change_what_a_chapter_prints(values):
    one = claim(**IDENTITY)
    found, same = (
        page.bundle([check.Row(one, summarise(numbers))])
        for numbers in (values, [5e-15] * len(values))
    )
    assert found == same


def test_numbers_in_html():
    assert wording.number_html("-3.00e-7") == "−3.00&nbsp;×&nbsp;10<sup>−7</sup>"
    assert wording.number_html("≤ 1e-14") == "≤ 10<sup>−14</sup>"
    assert wording.number_html("1.23e4 to 2") == "1.23&nbsp;×&nbsp;10<sup>4</sup> to 2"


def test_sentences():
    text = 'If $a<b$ & $f[1](x)$, [see $y$ "here"](#why) or [there](x/01-y#z).'
    assert wording.sentence_html(text, lambda to: f"to/{to}") == (
        'If \\(a&lt;b\\) &amp; \\(f[1](x)\\), <a href="to/#why">see \\(y\\) &quot;here&quot;</a> '
        'or <a href="to/x/01-y#z">there</a>.'
    )
    assert wording.sentence_html(text) == (
        "If \\(a&lt;b\\) &amp; \\(f[1](x)\\), see \\(y\\) &quot;here&quot; or there."
    )
    assert wording.linked(text) and not wording.linked("No $f[1](x)$.")
    assert wording.plain(text) == 'If $a<b$ & $f[1](x)$, see $y$ "here" or there.'


@given(st.text())
def test_no_sentence_smuggles_html(text):
    assert not re.search(r"<(?!a href=\"|/a>)", wording.sentence_html(text, lambda to: "#"))


def test_each_verdict_has_a_symbol():
    from ncbook.claims import ledger

    assert set(wording.SYMBOLS) == set(check.VERDICTS) == set(ledger.summary([]))
    assert len(set(wording.SYMBOLS.values())) == len(check.VERDICTS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_has_no_distance(value):
    tight = claim(expect=1.0, tolerance=1e-3)
    assert "off by" not in said(tight, [1.0, value])
    assert "off by" in said(tight, [1.0, 1.1])
