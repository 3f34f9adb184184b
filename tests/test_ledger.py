"""The built book's ledger: every registered claim was measured or is planned, and none fails.

The claims are judged here anew, from the measurements in ``_build/ledger.json`` and from the
claims.toml files as they are now. Each claim has its negative control: with its record removed,
or its value spoilt, the same check must fail; so must it with what a kept paper-size run measured,
and with a measurement of a planned claim.
"""

import json
import math
from dataclasses import replace

import pytest

from ncbook import files
from ncbook.claims import ClaimsError, check, kept, ledger, registry
from ncbook.claims.measured import summarise
from ncbook.pipeline import chapters


@pytest.fixture(scope="module")
def claims():
    return registry(files.root())


@pytest.fixture(scope="module")
def built():
    """The text of the built ledger."""
    path = files.root() / "_build" / "ledger.json"
    if not path.is_file():
        pytest.fail(f"{path} does not exist; run make book first.", pytrace=False)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(built, claims):
    return ledger.from_json(built, claims)


@pytest.fixture(scope="module")
def judged(rows):
    """The rows of the claims that the build's own measurements are judged for."""
    return [
        row
        for row in rows
        if row.claim.planned is None and not check.needs_paper_profile(row.claim, row.profile)
    ]


def breaks(row):
    return ledger.broken([row]) == [row]


def measuring(row, value):
    """Return the row as if this alone had been measured: None for nothing."""
    if value is None:
        return replace(row, record=None)
    # With the control as it is: the judgement must notice the value alone.
    return replace(row, record=replace(summarise(value), control=row.record.control))


def keeping(row, value):
    """Return the row as if the kept run had measured this alone for its claim."""
    measured = {id: one for id, one in row.kept.measured.items() if id != row.claim.id}
    if value is not None:
        control = row.kept.measured[row.claim.id].control
        measured[row.claim.id] = replace(summarise(value), control=control)
    return replace(row, kept=replace(row.kept, measured=measured))


def wrong_values(claim):
    """Return values just outside the tolerance (of a claim in doubt: inside), and worse."""
    if claim.doubt is not None:
        wrong = [float(claim.expect)]
    else:
        step = max(1e-6 * abs(claim.expect), 1e-6 * claim.slack, 5e-324)
        low, high = claim.interval
        wrong = [end for end in (low - step, high + step) if math.isfinite(end)]
    return [*wrong, math.nan, math.inf]


def test_every_claim_was_measured_and_none_fails(rows):
    assert {row.claim.id: str(row.verdict) for row in ledger.broken(rows)} == {}


def test_the_ledger_lists_every_claim_once(built, claims):
    assert [one["id"] for one in json.loads(built)["claims"]] == list(claims)


def test_the_reader_downloads_the_same_ledger(built):
    copy = files.root() / "book" / "_generated" / "ledger.json"
    assert copy.read_text(encoding="utf-8") == built


def test_no_kept_result_is_stale(claims):
    stale = []
    for path in (files.root() / "results").glob("*/[0-9][0-9]-*.json"):
        chapter = f"{path.parent.name}/{path.stem}"
        own = [claim.id for claim in claims.values() if claim.chapter == chapter]
        try:
            found = kept.read(files.root(), chapter, own)
        except ClaimsError:
            continue  # with such a file there is no build
        if found.stale:
            stale.append(f"{chapter}: {', '.join(found.changed)} changed")
        source = chapters.read(files.root() / "notebooks" / f"{chapter}.md")
        if found.parameters != source.values("paper"):
            stale.append(f"{chapter}: its paper profile is another now")
    assert stale == []


def test_every_claim_that_holds_has_a_control_that_fails(rows):
    for row in rows:
        one, record = row.claim, row.decides
        assert (one.control is None) == (one.doubt is not None or one.planned is not None), one.id
        if one.control is not None:
            assert not check.passes(one, record), one.id
            # What holds would be no control.
            if one.rival is None:
                same = replace(record, control=record)
                assert breaks(check.Row(one, same, profile="paper")), one.id


def test_without_its_measurement_each_claim_breaks_the_book(judged):
    assert [row.claim.id for row in judged if not breaks(measuring(row, None))] == []


def test_a_wrong_value_of_each_claim_breaks_the_book(judged):
    missed = [
        (row.claim.id, value)
        for row in judged
        for value in wrong_values(row.claim)
        if not breaks(measuring(row, value))
    ]
    assert missed == []


def test_a_wrong_kept_value_of_each_claim_breaks_the_book(rows):
    missed = [
        (row.claim.id, value)
        for row in rows
        if row.at_paper_size and not row.stale
        for value in wrong_values(row.claim)
        if not breaks(keeping(row, value))
    ]
    assert missed == []


def test_a_claim_for_the_paper_profile_needs_its_kept_measurement(rows):
    needing = [
        row
        for row in rows
        if row.at_paper_size and check.needs_paper_profile(row.claim, row.profile)
    ]
    assert [row.claim.id for row in needing if not breaks(keeping(row, None))] == []


def test_a_planned_claim_that_was_measured_breaks_the_book(judged):
    for row in judged:
        planned = replace(row, claim=replace(row.claim, planned="Later."))
        assert breaks(planned)
        # Not measured and planned, it does not; not planned, it does.
        less = measuring(planned, None)
        less = keeping(less, None) if less.kept else less
        assert not breaks(less)
        assert breaks(replace(less, claim=row.claim))


def test_a_wrong_value_of_each_claim_fails_at_the_papers_size(claims):
    missed = [
        (id, value)
        for id, claim in claims.items()
        for value in wrong_values(claim)
        if not breaks(check.Row(replace(claim, control=None), summarise(value), profile="paper"))
    ]
    assert missed == []
