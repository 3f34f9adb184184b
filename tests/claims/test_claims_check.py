"""Verdicts: what lies within the tolerance holds, and nothing else does."""

import json
import math

import numpy as np
import pytest
import torch
from claims_samples import claim
from hypothesis import given
from hypothesis import strategies as st

from ncbook.claims import _form, check
from ncbook.claims.check import judge
from ncbook.claims.measured import Record, summarise

finite = st.floats(-1e6, 1e6)
some = st.lists(finite, min_size=1, max_size=20)


def identity(**changes):
    defaults = {"kind": "identity", "expect": 0.0, "tolerance": 1e-12, "statistic": "worst"}
    return claim(**(defaults | changes))


def bound(side, **changes):
    return claim(**({"kind": "bound", "expect": 1.0, "side": side, "tolerance": 0} | changes))


def verdict(one, values, **options):
    return judge(one, summarise(values), **options).name


# A value that holds and values that do not, for each kind: one far off, one just outside.
CASES = {
    "number": (claim(), 2.04, [3.0, -2.0, 2.0501, 1.9499]),
    "number, relative": (claim(expect=-10.0, tolerance=0.1, relative=True), -10.9, [10.0, -11.01]),
    "number, exact": (claim(expect=30, tolerance=0), 30, [31, 30 + 1e-9]),
    "rate": (claim(kind="rate", expect=1.0, tolerance=0.01), 0.991, [2.0, 0.9899, 1.0101]),
    "order": (claim(kind="order", expect=4.0, tolerance=0.1), 4.09, [2.0, 4.11, 3.89]),
    "identity": (identity(), 3e-15, [1e-3, 1.01e-12, -1.01e-12]),
    "identity, exact": (identity(tolerance=0), 0.0, [5e-324, 1.0]),
    "bound from above": (bound("max"), -50.0, [2.0, math.nextafter(1, 2)]),
    "bound from below": (bound("min"), 50.0, [0.0, math.nextafter(1, 0)]),
    "bound with room": (bound("max", tolerance=0.01), 1.009, [1.011]),
    "bound, relative": (
        bound("min", expect=-2.0, tolerance=0.5, relative=True), -2.9, [-3.1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_value_within_the_tolerance_holds(name):
    one, good, _ = CASES[name]
    assert verdict(one, good) == check.HOLDS


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_value_fails(name):
    one, _, wrong = CASES[name]
    for value in wrong:
        assert verdict(one, value) == check.FAILS, value
        assert judge(one, summarise(value)).breaks


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("statistic", ["median", "worst"])
def test_what_is_not_finite_never_holds(name, value, statistic):
    one, good, _ = CASES[name]
    fields = {**one.__dict__, "statistic": statistic}
    assert verdict(claim(**fields), value) == check.FAILS
    # One among many good ones is enough, wherever it stands.
    assert verdict(claim(**fields), [good, value, good, good]) == check.FAILS
    assert verdict(claim(**fields), [value, good, good]) == check.FAILS


def test_worst_finds_the_one_bad_value_and_median_does_not():
    values = [2.0] * 9 + [3.0]
    assert verdict(claim(statistic="worst"), values) == check.FAILS
    assert verdict(claim(statistic="median"), values) == check.HOLDS
    assert verdict(claim(statistic="median"), [2.0] * 4 + [3.0] * 5) == check.FAILS


def test_worst_of_a_bound_is_on_its_side():
    values = [0.0, 0.5, 2.0]
    assert check.value(bound("max", statistic="worst"), summarise(values)) == 2.0
    assert check.value(bound("min", statistic="worst"), summarise(values)) == 0.0


@given(some, finite, st.floats(0, 1e3))
def test_worst_holds_exactly_if_each_value_does(values, expect, tolerance):
    one = claim(expect=expect, tolerance=tolerance, statistic="worst")
    each = all(verdict(one, value) == check.HOLDS for value in values)
    # The two agree but for values whose distances to expect differ by less than rounding.
    low, high = one.interval
    edges = [abs(value - edge) for value in values for edge in (low, high)]
    if min(edges) > 1e-9 * (1 + abs(expect) + tolerance):
        assert (verdict(one, values) == check.HOLDS) == each


@given(finite, st.floats(0, 1e3), st.floats(1e-6, 1e3))
def test_beyond_the_tolerance_nothing_holds(expect, tolerance, more):
    one = claim(expect=expect, tolerance=tolerance)
    room = max(more, 1e-9 * (abs(expect) + tolerance))
    assert verdict(one, expect) == check.HOLDS
    assert verdict(one, expect + tolerance + room) == check.FAILS
    assert verdict(one, expect - tolerance - room) == check.FAILS


@given(some)
def test_the_summary_does_not_depend_on_order_or_container(values):
    summary = summarise(values)
    assert summary == summarise(values[::-1]) == summarise(iter(values))
    assert summary == summarise(np.array(values)) == summarise(tuple(values))
    assert summary == summarise(torch.tensor(values, dtype=torch.float64))
    assert summary == summarise([values[:1], values[1:]])
    assert summary.n == len(values)
    assert summary.min <= summary.median <= summary.max
    assert summary.median == pytest.approx(np.median(values))


@given(st.lists(st.floats(), min_size=1, max_size=8))
def test_what_was_measured_survives_json(values):
    summary = summarise(values)
    table = json.loads(json.dumps(_form.plain(summary), allow_nan=False))
    assert repr(_form.read(Record, table)) == repr(summary)


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor([1, 2, 3, 4], dtype=torch.float32),
        np.arange(1, 5, dtype=np.int16),
        [np.float32(1), 2, torch.tensor(3.0), np.array([4])],
        {1, 2, 3, 4},
    ],
)
def test_arrays_and_tensors_of_any_shape(values):
    assert summarise(values) == Record(4, 0, 1.0, 2.5, 4.0, {}, {})


def test_a_scalar_is_one_value():
    for value in (3, 3.0, np.float64(3), np.array(3), torch.tensor(3)):
        assert summarise(value) == Record(1, 0, 3.0, 3.0, 3.0, {}, {})


@pytest.mark.parametrize("values", [[], (), np.array([]), torch.zeros(0, 3), [[], []]])
def test_no_value_is_an_error(values):
    with pytest.raises(ValueError, match="expected at least one"):
        summarise(values)


@pytest.mark.parametrize(
    "values", ["2", True, None, 1j, [1, "x"], [[1], [None]], {"a": 1}, np.array([True]), object()]
)
def test_what_is_no_number_is_an_error(values):
    with pytest.raises(TypeError, match="expected a real number, or a sequence"):
        summarise(values)


def test_nothing_measured_breaks_the_book():
    found = judge(claim(), None)
    assert (found.name, found.breaks) == (check.NOT_MEASURED, True)
    assert "a-paper/01-first" in found.message


def test_a_known_discrepancy_is_strict():
    one = claim(discrepancy="It is not; [why](#why).")
    assert verdict(one, 3.0) == check.DISCREPANCY
    assert not judge(one, summarise(3.0)).breaks
    gone = judge(one, summarise(2.0))
    assert (gone.name, gone.breaks) == (check.FAILS, True)
    assert "discrepancy is gone" in gone.message
    assert "Remove the field 'discrepancy' of a.number" in gone.message


def test_a_known_discrepancy_must_be_measured_and_finite():
    one = claim(discrepancy="It is not; [why](#why).")
    assert judge(one, None).name == check.NOT_MEASURED
    assert verdict(one, math.nan) == check.FAILS
    assert verdict(one, [3.0, math.inf, 3.0]) == check.FAILS


def test_a_claim_for_the_paper_profile_is_judged_there_only():
    one = claim(profile="paper")
    for summary in (None, summarise(2.0), summarise(9.0)):
        found = judge(one, summary, "quick")
        assert (found.name, found.breaks) == (check.NOT_MEASURED, True)
        assert "ncbook keep a-paper/01-first" in found.message
        assert ("not judged" in found.message) == (summary is not None)
        # A kept paper-size run judges it, whatever the quick one measured.
        assert judge(one, summary, kept=summarise(2.0)).name == check.HOLDS
        assert judge(one, summary, kept=summarise(9.0)).name == check.FAILS
    assert judge(one, None, "paper").name == check.NOT_MEASURED
    assert verdict(one, 2.0, profile="paper") == check.HOLDS
    assert verdict(one, 9.0, profile="paper") == check.FAILS
    assert verdict(claim(), 9.0, profile="paper") == check.FAILS


def test_a_stale_kept_run_decides_nothing():
    for stored in (2.0, 9.0):
        assert judge(claim(), summarise(2.0), kept=summarise(stored), stale=True).name == "holds"
        found = judge(claim(profile="paper"), summarise(2.0), kept=summarise(stored), stale=True)
        assert (found.name, found.breaks) == (check.NOT_MEASURED, True)
        for part in (
            "is stale",
            "build --profile paper --chapter a-paper/01-first, then",
            "ncbook keep a-paper/01-first.",
            'ncbook confirm a-paper/01-first --why "',
        ):
            assert part in found.message, part  # fmt: skip
        # What was measured once is not merely planned.
        assert judge(claim(planned="Later."), None, kept=summarise(stored), stale=True).breaks


def test_a_claim_must_hold_in_the_kept_run_too():
    good, wrong = summarise(2.0), summarise(2.1)
    assert judge(claim(), good, kept=good) == check.Verdict(check.HOLDS)
    found = judge(claim(), good, kept=wrong)
    assert (found.name, found.breaks) == (check.FAILS, True)
    assert found.message == "In the kept paper-size run: Measured 2.10, expected 2 ± 0.05."
    # A good kept run mends neither a quick one that fails nor one that did not happen.
    assert judge(claim(), wrong, kept=good) == judge(claim(), wrong)
    assert judge(claim(), None, kept=good).name == check.NOT_MEASURED
    assert judge(claim(), good, kept=summarise(math.nan)).name == check.FAILS


def test_an_unclear_scope_is_strict_too():
    one = claim(unclear="As we read it, it is not; [why](#why).")
    assert verdict(one, 3.0) == check.UNCLEAR
    gone = judge(one, summarise(2.0))
    assert gone.breaks
    assert "The doubt is gone" in gone.message
    assert "Remove the field 'unclear' of a.number" in gone.message


WITH = {"control": "With another factor"}


@pytest.mark.parametrize("wrong", [3.0, 2.06, [3.0, 3.0, 2.0]])
def test_a_claim_holds_if_its_control_fails(wrong):
    found = summarise(2.0, control=wrong)
    assert judge(claim(**WITH), found) == check.Verdict(check.HOLDS)
    assert not check.passes(claim(**WITH), found)


@pytest.mark.parametrize("wrong", [2.0, 2.05, [2.0, 2.0, 3.0], [3.0, math.nan], math.inf, None])
def test_a_claim_fails_if_its_control_passes_or_says_nothing(wrong):
    found = judge(claim(**WITH), summarise(2.0, control=wrong))
    assert (found.name, found.breaks) == (check.FAILS, True)
    assert "Its control passes the same judgement" in found.message


def test_the_control_of_a_bound_is_judged_by_its_worst_value_too():
    one = bound("max", statistic="worst", **WITH)
    edge = one.expect + one.slack
    assert judge(one, summarise(0.0, control=[0.0, edge + 1])).name == check.HOLDS
    assert judge(one, summarise(0.0, control=[0.0, edge])).name == check.FAILS


def test_what_a_wrong_theory_expects_is_judged_by_the_same_rule():
    for wrong, name in ((3.0, "holds"), (2.04, "fails"), (2.06, "holds"), (-2.0, "holds")):
        assert judge(claim(**WITH, wrong=wrong), summarise(2.0)).name == name
    # A share is one of what the wrong theory expects.
    one = claim(**WITH, wrong=3.0, tolerance=0.4, relative=True)
    assert judge(one, summarise(2.0)).name == "fails"
    assert judge(one, summarise(1.7)).name == "holds"


def test_the_kept_run_of_a_claim_that_it_decides_has_its_control():
    one = claim(**WITH, profile="paper")
    assert judge(one, None, kept=summarise(2.0, control=3.0)).name == check.HOLDS
    assert judge(one, None, kept=summarise(2.0)).name == check.FAILS
    # Of another claim it need not have one: the quick run has.
    assert judge(claim(**WITH), summarise(2.0, control=3.0), kept=summarise(2.0)).name == "holds"


def test_a_known_discrepancy_is_strict_in_the_kept_run_too():
    one = claim(discrepancy="It is not; [why](#why).")
    assert judge(one, summarise(3.0), kept=summarise(3.0)).name == check.DISCREPANCY
    gone = judge(one, summarise(3.0), kept=summarise(2.0))
    assert gone.name == check.FAILS
    assert "discrepancy is gone" in gone.message


@pytest.mark.parametrize("profile", ["quick", "paper"])
@pytest.mark.parametrize("of", ["quick", "paper"])
def test_a_planned_claim_breaks_nothing_until_it_is_measured(profile, of):
    one = claim(planned="It needs a network.", profile=of)
    assert judge(one, None, profile) == check.Verdict(check.PLANNED)
    assert not judge(one, None, profile).breaks
    for value in (2.0, 9.0):
        for found in (
            judge(one, summarise(value), profile),
            judge(one, None, kept=summarise(value)),
        ):
            assert found.breaks
            assert "Remove the field 'planned' of a.number" in found.message
    # Without its plan, the same claim breaks the book.
    assert judge(claim(profile=of), None, profile).breaks


def test_a_failure_says_both_numbers():
    message = judge(claim(), summarise(2.1)).message
    assert message == "Measured 2.10, expected 2 ± 0.05."


def test_the_share_of_the_tolerance_that_is_used():
    assert check.tolerance_used(claim(), summarise(2.025)) == pytest.approx(0.5)
    assert check.tolerance_used(claim(), summarise(1.9)) == pytest.approx(2)
    assert check.tolerance_used(bound("max"), summarise(0.5)) is None
    assert check.tolerance_used(claim(tolerance=0), summarise(2.0)) is None
    assert check.tolerance_used(claim(), summarise(math.nan)) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, math.nan, 3], Record(4, 1, 1.0, 2.0, 3.0, {}, {})),
        ([1.5e308, 1.7e308], Record(2, 0, 1.5e308, 1.6e308, 1.7e308, {}, {})),
        ([5e-324, 5e-324], Record(2, 0, 5e-324, 5e-324, 5e-324, {}, {})),
        ([math.inf, 1, -math.inf, math.nan, 3], Record(5, 3, 1.0, 2.0, 3.0, {}, {})),
    ],
)
def test_the_summary_is_of_what_is_finite(values, expected):
    assert summarise(values) == expected


@pytest.mark.parametrize("values", [math.nan, [math.inf] * 3, [math.nan, -math.inf]])
def test_where_nothing_is_finite_the_summary_has_no_number(values):
    summary = summarise(values)
    assert summary.not_finite == summary.n
    assert math.isnan(summary.min) and math.isnan(summary.median) and math.isnan(summary.max)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": 0}, "'n' is 0; expected a count of at least 1"),
        ({"n": True}, "'n' is true; expected a count"),
        ({"n": 3.0}, "'n' is 3.0; expected a count"),
        ({"min": 5.0}, "'median' is 2.0; expected a number from 5.0 to 3.0"),
        ({"max": "many"}, "'max' is \"many\"; expected a finite number"),
        ({"max": "inf"}, "'max' is \"inf\"; expected a finite number"),
        ({"max": math.nan}, "'max' is NaN; expected a finite number"),
        ({"median": None}, "'median' is null; expected a finite number"),
        ({"median": [1]}, r"'median' is \[1\]; expected a finite number"),
        ({"min": "nan"}, "does not fit not_finite; expected numbers for 3 of 3 finite values"),
        ({"not_finite": 3}, "does not fit not_finite; expected numbers for 0 of 3 finite values"),
        ({"not_finite": 4}, "'not_finite' is 4; expected a count from 0 to 3"),
        ({"not_finite": False}, "'not_finite' is false; expected a count"),
        ({"value": 2.0}, "'value' is 2.0; expected no such field"),
        ({"provenance": 3}, "'provenance' is 3; expected a JSON object"),
    ],
)
def test_a_damaged_record_is_refused(change, said):
    record = summarise([1.0, 2.0, 3.0])
    table = _form.plain(record)
    assert _form.read(Record, table) == record
    with pytest.raises(ValueError, match=said):
        _form.read(Record, table | change)


@pytest.mark.parametrize("field", ["n", "not_finite", "min", "median", "max", "parameters"])
def test_a_record_lacks_nothing(field):
    table = _form.plain(summarise([1.0, math.nan]))
    del table[field]
    with pytest.raises(ValueError, match=f"field '{field}' is missing; expected a "):
        _form.read(Record, table)
