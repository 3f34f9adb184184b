"""The built book's ledger: every registered claim was measured or is planned, and none fails.

The claims are judged here anew, from the measurements in ``_build/ledger.json`` and from the
claims.toml files as they are now. Each claim has its negative control: with its record removed,
or its value spoilt, the same check must fail; so must it with what a kept paper-size run measured,
and with a measurement of a planned claim.
"""

import dataclasses
import json
import math

import pytest

from ncbook import files
from ncbook.claims import check, ledger, registry


def built():
    """Return the text of the built ledger."""
    path = files.root() / "_build" / "ledger.json"
    if not path.is_file():
        pytest.fail(f"{path} does not exist; run make book first.", pytrace=False)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def claims():
    return registry(files.root())


def broken(text, claims):
    """Return the claims that break the book, each with why."""
    rows = ledger.broken(ledger.from_json(text, claims))
    return {row.claim.id: f"{row.verdict.name}: {row.verdict.message}" for row in rows}


def with_record(text, id, change):
    """Return the ledger with one claim's record changed: None removes it."""
    table = json.loads(text)
    for entry in table["claims"]:
        if entry["id"] == id and entry["record"] is not None:
            entry["record"] = None if change is None else entry["record"] | change
    return json.dumps(table)


def with_kept(text, id, change):
    """Return the ledger with one claim's kept measurement changed: None removes it."""
    table = json.loads(text)
    for run in table["kept"].values():
        if id in run["claims"]:
            run["claims"][id] |= change or {}
            if change is None:
                del run["claims"][id]
    table["kept"] = {chapter: run for chapter, run in table["kept"].items() if run["claims"]}
    return json.dumps(table)


def all_equal_to(value, *more):
    """Return the fields of a record in which every measured value is this one."""
    return dict.fromkeys(("min", "median", "max", *more), check.encode(value))


def wrong_values(claim):
    """Return values just outside the tolerance (of a known discrepancy: inside), and worse."""
    if claim.discrepancy is not None:
        wrong = [float(claim.expect)]
    else:
        step = max(1e-6 * abs(claim.expect), 1e-6 * claim.slack, 5e-324)
        low, high = claim.interval
        wrong = [end for end in (low - step, high + step) if math.isfinite(end)]
    return [*wrong, math.nan, math.inf]


def judged(text, claims):
    """Return the ids of the claims that the build's own measurements are judged for."""
    profile = json.loads(text)["profile"]
    return [
        id
        for id, claim in claims.items()
        if claim.planned is None and not check.elsewhere(claim, profile)
    ]


def kept(text):
    """Return the ids of the claims that kept paper-size runs measured."""
    return [id for run in json.loads(text)["kept"].values() for id in run["claims"]]


def test_every_claim_was_measured_and_none_fails(claims):
    assert broken(built(), claims) == {}


def test_the_ledger_lists_every_claim_once(claims):
    assert [one["id"] for one in json.loads(built())["claims"]] == list(claims)


def test_the_reader_downloads_the_same_ledger():
    text = built()
    copy = files.root() / "book" / "_generated" / "ledger.json"
    assert copy.read_text(encoding="utf-8") == text


def test_without_its_measurement_each_claim_breaks_the_book(claims):
    text = built()
    unseen = [
        id for id in judged(text, claims) if id not in broken(with_record(text, id, None), claims)
    ]
    assert unseen == []


def test_a_wrong_value_of_each_claim_breaks_the_book(claims):
    text = built()
    unseen = [
        (id, value)
        for id in judged(text, claims)
        for value in wrong_values(claims[id])
        if id not in broken(with_record(text, id, all_equal_to(value, "value", "worst")), claims)
    ]
    assert unseen == []


def test_a_wrong_kept_value_of_each_claim_breaks_the_book(claims):
    text = built()
    unseen = [
        (id, value)
        for id in kept(text)
        for value in wrong_values(claims[id])
        if id not in broken(with_kept(text, id, all_equal_to(value)), claims)
    ]
    assert unseen == []


def test_a_claim_for_the_paper_profile_needs_its_kept_measurement(claims):
    text = built()
    profile = json.loads(text)["profile"]
    unseen = [
        id
        for id in kept(text)
        if check.elsewhere(claims[id], profile)
        and id not in broken(with_kept(text, id, None), claims)
    ]
    assert unseen == []


def test_a_planned_claim_that_was_measured_breaks_the_book(claims):
    text = built()
    for id in judged(text, claims)[:3]:
        planned = claims | {id: dataclasses.replace(claims[id], planned="Later.")}
        assert id in broken(text, planned)
        # Not measured and planned, it does not; not planned, it does.
        less = with_kept(with_record(text, id, None), id, None)
        assert id not in broken(less, planned)
        assert id in broken(less, claims)


def test_a_wrong_value_of_each_claim_fails_at_the_papers_size(claims):
    unseen = [
        (id, value)
        for id, claim in claims.items()
        for value in wrong_values(claim)
        if check.judge(claim, check.summarise(value), "paper").name != check.FAILS
    ]
    assert unseen == []
