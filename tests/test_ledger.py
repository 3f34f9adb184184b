"""The built book's ledger: every registered claim was measured and none fails.

The claims are judged here anew, from the measurements in ``_build/ledger.json`` and from the
claims.toml files as they are now. Each claim has its negative control: with its record removed,
or its value spoilt, the same check must fail.
"""

import json
import math

import pytest

from ncbook import files
from ncbook.claims import ClaimsError, check, ledger, registry


def known():
    """Return the registered claims; none if they cannot be read, which a test below reports."""
    try:
        return registry(files.root())
    except ClaimsError:
        return {}


CLAIMS = known()


@pytest.fixture(scope="module")
def built():
    path = files.root() / "_build" / "ledger.json"
    if not path.is_file():
        pytest.fail(f"{path} does not exist; run make book first.", pytrace=False)
    return path.read_text(encoding="utf-8")


def broken(text):
    """Return the ids of the claims that break the book, each with why."""
    rows = ledger.broken(ledger.from_json(text, CLAIMS))
    return {row.claim.id: f"{row.verdict.name}: {row.verdict.message}" for row in rows}


def with_record(text, id, change):
    """Return the ledger with one claim's record changed: None removes it."""
    table = json.loads(text)
    for entry in table["claims"]:
        if entry["id"] == id:
            entry["record"] = None if change is None else entry["record"] | change
    return json.dumps(table)


def record_of(text, id):
    [record] = [one["record"] for one in json.loads(text)["claims"] if one["id"] == id]
    return record


def all_equal_to(value):
    """Return the fields of a record in which every measured value is this one."""
    return dict.fromkeys(("value", "worst", "min", "median", "max"), check.encode(value))


def wrong_values(claim):
    """Return values just outside the tolerance; of a known discrepancy, the expected one."""
    if claim.discrepancy is not None:
        return [float(claim.expect)]
    low, high = claim.interval
    step = max(1e-6 * abs(claim.expect), 1e-6 * claim.slack, 5e-324)
    return [end + sign * step for end, sign in ((low, -1), (high, 1)) if math.isfinite(end)]


def judged(text, id):
    """Return the claim's id, as a set, if the ledger's profile judges it."""
    not_here = json.loads(text)["profile"] == "quick" and CLAIMS[id].profile == "paper"
    return set() if not_here else {id}


def test_the_claims_are_well_formed():
    assert registry(files.root())


def test_every_claim_was_measured_and_none_fails(built):
    assert broken(built) == {}


def test_the_ledger_lists_every_claim(built):
    assert [one["id"] for one in json.loads(built)["claims"]] == list(CLAIMS)


def test_the_reader_downloads_the_same_ledger(built):
    copy = files.root() / "book" / "_generated" / "ledger.json"
    assert copy.read_text(encoding="utf-8") == built


@pytest.mark.parametrize("id", CLAIMS)
def test_without_its_measurement_a_claim_breaks_the_book(built, id):
    expected = broken(built).keys() | judged(built, id)
    assert broken(with_record(built, id, None)).keys() == expected


@pytest.mark.parametrize("id", CLAIMS)
def test_a_wrong_value_breaks_the_book(built, id):
    expected = broken(built).keys() | judged(built, id)
    for value in (*wrong_values(CLAIMS[id]), math.nan, math.inf):
        if record_of(built, id) is not None:
            spoilt = with_record(built, id, all_equal_to(value))
            assert broken(spoilt).keys() == expected, value
        # Also those that this profile does not measure: in their own profile they would fail.
        verdict = check.judge(CLAIMS[id], check.summarise(value), "paper")
        assert verdict.name == check.FAILS, value
