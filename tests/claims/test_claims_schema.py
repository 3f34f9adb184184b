"""Reading claims.toml: what is well formed is taken, all else is named."""

import pytest
from claims_samples import CHAPTER, book, claim, entry, write

from ncbook.claims.schema import ClaimsError, load, registry


def test_a_whole_entry_becomes_a_claim(tmp_path):
    assert load(write(tmp_path / "a-paper", entry())) == [claim()]


def test_each_kind_of_expectation(tmp_path):
    reason = {"reason": "Why."}
    path = write(
        tmp_path / "a-paper",
        entry(drop=("expect",), id="a", kind="identity", tolerance={"abs": 1e-12} | reason),
        entry(id="b", kind="bound", expect={"max": 1}, tolerance=reason),
        entry(id="c", kind="bound", expect={"min": 1.0}, tolerance={"abs": 0.1} | reason),
        entry(id="d", kind="rate", expect=-4, tolerance={"rel": 0.25} | reason),
        entry(id="e", kind="order", expect=4, tolerance={"abs": 0} | reason),
    )
    claims = load(path)
    # A count stays one, and is said without a decimal point.
    assert [type(one.expect) for one in claims] == [float, int, float, int, int]
    assert type(load(write(tmp_path / "a-paper", entry(expect=0)))[0].expect) is int
    intervals = [one.interval for one in claims]
    inf = float("inf")
    assert intervals == [(-1e-12, 1e-12), (-inf, 1), (0.9, inf), (-5, -3), (4, 4)]


def test_optional_fields(tmp_path):
    why = "It never did; [see why](#why) and [more](https://example.org/x)."
    path = write(tmp_path / "a-paper", entry(profile="paper", discrepancy=why))
    [one] = load(path, {CHAPTER})
    assert (one.profile, one.discrepancy) == ("paper", why)


def test_a_planned_claim_needs_no_chapter_yet(tmp_path):
    later = entry(chapter="a-paper/09-later", planned="It needs $10^6$ steps of a network.")
    [one] = load(write(tmp_path / "a-paper", later), {CHAPTER})
    assert (one.planned, one.chapter) == (later["planned"], "a-paper/09-later")
    assert (one.expect, one.tolerance) == (2.0, 0.05)
    # The field alone makes the difference; and the chapter must be one of the paper.
    with pytest.raises(ClaimsError, match="expected a chapter that exists"):
        load(write(tmp_path / "a-paper", entry(chapter="a-paper/09-later")), {CHAPTER})
    with pytest.raises(ClaimsError, match="expected a chapter of a-paper/"):
        load(write(tmp_path / "a-paper", later | {"chapter": "b-paper/01-one"}), {CHAPTER})
    root = book(tmp_path / "book", a_paper=[entry(), later | {"id": "a.later"}])
    assert list(registry(root)) == ["a.number", "a.later"]


SHARE = {"rel": 0.1, "reason": "Why."}
CONTROL = 'expected {what = "..."}, which the chapter measures, or of a number, rate or order'
RIVAL = {"what": "Half", "expect": 1.0}
DOUBT = {"discrepancy": "[why](#x)"}
LINK = "expected a link to its explanation"
KNOWN = "known fields are id, place, origin, kind, sentence, chapter, statistic, expect, tolerance"
TOLERANCE = 'expected {abs = x, reason = "..."} or {rel = x, reason = "..."}'
BAD = [
    # field, value (None: the field is missing), what the message says after the field's name
    ("id", None, "is missing; expected letters a-z, digits"),
    ("id", "A b", 'is "A b"; expected letters a-z, digits'),
    ("id", "../x", "expected letters a-z, digits"),
    ("id", "a..b", "expected letters a-z, digits"),
    ("id", "a\n", "expected letters a-z, digits"),
    ("id", 3, "is 3; expected letters a-z"),
    ("place", "", 'is ""; expected one line of plain words, without'),
    ("place", ["x"], 'is ["x"]; expected one line'),
    ("origin", "rumour", 'is "rumour"; expected one of paper, threshold, derived, beyond'),
    ("origin", None, "is missing; expected one of paper, threshold, derived, beyond"),
    ("kind", "numbr", 'is "numbr"; expected one of number, identity, bound, rate, order'),
    ("kind", ["number"], "expected one of number, identity, bound, rate, order"),
    ("sentence", None, "is missing; expected one line of text that is not empty"),
    ("sentence", "two\nlines", "expected one line of text"),
    ("sentence", "An open $x", "expected one line of text that is not empty, each $ of its"),
    ("sentence", "No $$.", "expected one line of text that is not empty, each $ of its"),
    ("sentence", "A [link](nowhere).", "expected the target 'nowhere' to be #section"),
    ("chapter", "first", 'is "first"; expected <paper\'s folder>/<NN-name>'),
    ("chapter", "b-paper/01-first", "expected a chapter of a-paper/, the folder of this file"),
    ("chapter", "a-paper/09-none", "expected a chapter that exists: a-paper/01-first"),
    ("statistic", "mean", 'is "mean"; expected one of median, worst'),
    ("statistic", None, "is missing; expected one of median, worst"),
    ("expect", None, "is missing; expected a finite number"),
    ("expect", "2", 'is "2"; expected a finite number'),
    ("expect", True, "is true; expected a finite number"),
    ("expect", float("nan"), "is NaN; expected a finite number"),
    ("expect", float("inf"), "is Infinity; expected a finite number"),
    ("expect", {"max": 1}, 'is {"max": 1}; expected a finite number'),
    ("tolerance", None, f"is missing; {TOLERANCE}"),
    ("tolerance", 0.1, f"is 0.1; {TOLERANCE}"),
    ("tolerance", {"abs": 0.1}, f'is {{"abs": 0.1}}; {TOLERANCE}'),
    ("tolerance", {"reason": "Why."}, f'is {{"reason": "Why."}}; {TOLERANCE}'),
    ("tolerance", {"abs": 1, "rel": 1, "reason": "Why."}, TOLERANCE),
    ("tolerance", {"abs": 1, "sigma": 2, "reason": "Why."}, TOLERANCE),
    ("tolerance", {"abs": -0.1, "reason": "Why."}, "is -0.1; expected a finite number, 0 or more"),
    ("tolerance", {"abs": float("nan"), "reason": "Why."}, "is NaN; expected a finite number, 0"),
    ("tolerance", {"abs": "x", "reason": "Why."}, 'is "x"; expected a finite number, 0 or more'),
    ("tolerance", {"abs": True, "reason": "Why."}, "is true; expected a finite number, 0 or more"),
    ("control", "Another factor", f'is "Another factor"; {CONTROL}'),
    ("control", {"expect": 1.0}, CONTROL),
    ("control", {"what": "Half", "value": 1.0}, CONTROL),
    ("control", {"what": ""}, 'is ""; expected one line of text that is not empty'),
    ("control", {"what": "Half", "expect": "1"}, CONTROL),
    ("uses", "a.other", 'is "a.other"; expected a list of ids of claims'),
    ("unclear", "Perhaps.", LINK),
    ("wrong", 1.0, f"; expected no such field; {KNOWN}"),
    ("side", "max", f"; expected no such field; {KNOWN}"),
    ("relative", True, f"; expected no such field; {KNOWN}"),
    ("reason", "Why.", f"; expected no such field; {KNOWN}"),
    ("part", "Part I", f"; expected no such field; {KNOWN}"),
    ("profile", "huge", 'is "huge"; expected one of quick, paper'),
    ("discrepancy", "", 'is ""; expected one line of text'),
    ("discrepancy", "Just so.", LINK),
    ("discrepancy", "Because $f[1](x)$ is not a link.", LINK),
    ("discrepancy", "[why](http://example.org)", "#section or https://..."),
    ("discrepancy", "[why](a-paper/09-none#x)", "the target 'a-paper/09-none#x' to be #section"),
    ("place", "Theorem 1, $x$", "expected one line of plain words, without mathematics"),
    ("planned", "", 'is ""; expected one line of text that is not empty'),
    ("planned", True, "is true; expected one line of text that is not empty"),
    ("planned", "See [there](a-paper/09-none#x).", "the target 'a-paper/09-none#x' to be #section"),
    ("expected", 2, f"; expected no such field; {KNOWN}"),
]


@pytest.mark.parametrize(("field", "value", "said"), BAD)
def test_a_malformed_field_is_named(tmp_path, field, value, said):
    table = entry(drop=(field,)) if value is None else entry(**{field: value})
    path = write(tmp_path / "a-paper", table)
    with pytest.raises(ClaimsError) as error:
        load(path, {CHAPTER})
    lines = [line for line in str(error.value).splitlines() if said in line]
    assert lines, error.value
    assert lines[0].startswith(f"{path}: claim ")
    assert f"field '{field}" in lines[0]
    if field != "id":
        assert "claim 'a.number'" in lines[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "identity"}, "field 'expect' is 2.0; expected no such field"),
        ({"planned": "Later.", "discrepancy": "[why](#x)"}, "no such field beside 'planned'"),
        ({"planned": "Later.", "unclear": "[why](#x)"}, "no such field beside 'planned'"),
        (DOUBT | {"unclear": "[why](#x)"}, "no such field beside 'discrepancy'"),
        (DOUBT | {"control": {"what": "Half"}}, "no such field beside 'discrepancy'"),
        ({"kind": "bound", "expect": {"max": 1}, "control": RIVAL}, CONTROL),
        ({"kind": "bound"}, "field 'expect' is 2.0; expected {max = x} or {min = x}"),
        ({"kind": "bound", "expect": {"max": 1, "min": 0}}, "expected {max = x} or {min = x}"),
        ({"kind": "bound", "expect": {"most": 1}}, "expected {max = x} or {min = x}"),
        ({"kind": "bound", "expect": {"max": float("nan")}}, "is NaN; expected a finite number"),
        ({"expect": 0, "tolerance": SHARE}, "a share of 0 allows nothing"),
        ({"kind": "bound", "expect": {"max": 0}, "tolerance": SHARE}, "a share of 0 allows"),
    ],
)
def test_an_expectation_that_does_not_fit_its_kind(tmp_path, changes, said):
    path = write(tmp_path / "a-paper", entry(**changes))
    with pytest.raises(ClaimsError, match=r"claim 'a\.number'") as error:
        load(path)
    assert said in str(error.value)


def test_an_identity_takes_no_relative_tolerance(tmp_path):
    tolerance = {"rel": 0.1, "reason": "Why."}
    table = entry(drop=("expect",), kind="identity", tolerance=tolerance)
    with pytest.raises(ClaimsError, match="a share of 0 allows nothing"):
        load(write(tmp_path / "a-paper", table))


def test_the_reason_of_a_tolerance_is_a_sentence(tmp_path):
    for reason, shown in ((" ", '" "'), (3, "3"), ("One $", '"One $"')):
        path = write(tmp_path / "a-paper", entry(tolerance={"abs": 0.1, "reason": reason}))
        with pytest.raises(ClaimsError) as error:
            load(path)
        assert f"claim 'a.number': field 'reason' is {shown}; expected one line" in str(error.value)


def test_a_date_is_no_text(tmp_path):
    path = write(tmp_path / "a-paper", entry())
    path.write_text(path.read_text().replace("'''Figure 1'''", "2026-01-31"))
    with pytest.raises(ClaimsError, match=r"field 'place' is .*2026-01-31.*; expected one line"):
        load(path)


def test_every_problem_is_told_at_once(tmp_path):
    path = write(tmp_path / "a-paper", entry(kind="x", origin="y"), entry(id="b", statistic="z"))
    with pytest.raises(ClaimsError) as error:
        load(path)
    said = str(error.value).splitlines()
    assert [line.split("'")[3] for line in said] == ["origin", "kind", "statistic"]
    path = write(tmp_path / "a-paper", entry(tolerance={"sigma": 1}, expect="2", extra=1),
                 head={"part": "x", "more": 1})  # fmt: skip
    with pytest.raises(ClaimsError) as error:
        load(path)
    said = str(error.value).splitlines()
    found = {(line.split(": ")[1], line.split("field ")[1].split("'")[1]) for line in said}
    paper, claim = "the paper", "claim 'a.number'"
    assert len(said) == 5
    assert found == {
        (paper, "part"), (paper, "more"), (claim, "expect"), (claim, "tolerance"), (claim, "extra"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"paper": None}, "field 'paper' is missing; expected one line of plain words"),
        ({"citation": "no key!"}, "field 'citation' is \"no key!\"; expected a key"),
        (
            {"part": "Part One"},
            "field 'part' is \"Part One\"; expected one of Before you start, Part I",
        ),
        ({"title": "x"}, '"x"; expected no such field; known fields are paper, citation, part'),
    ],
)
def test_a_malformed_head_is_named(tmp_path, head, said):
    path = write(tmp_path / "a-paper", entry(), head=head)
    with pytest.raises(ClaimsError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: the paper: ")
    assert said in str(error.value)


@pytest.mark.parametrize("claims", ["", "claim = 3\n", "claim = [3]\n", "claim = []\n"])
def test_a_file_needs_claims(tmp_path, claims):
    path = write(tmp_path / "a-paper")
    path.write_text(path.read_text() + claims)
    with pytest.raises(ClaimsError, match=r"expected at least one \[\[claim\]\] table"):
        load(path)


def test_what_is_no_toml_is_named(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text("paper = x\n")
    with pytest.raises(ClaimsError, match=r"claims\.toml: is not valid TOML: .*line 1"):
        load(path)
    path.write_bytes(b"paper = '\xff'")
    with pytest.raises(ClaimsError, match=r"claims\.toml: is not valid TOML"):
        load(path)
    with pytest.raises(ClaimsError, match=r"none\.toml: cannot be read \(No such file"):
        load(tmp_path / "none.toml")


@pytest.mark.parametrize("other", ["a.number", "a-number"])
def test_two_claims_of_a_file_share_no_id_and_no_anchor(tmp_path, other):
    path = write(tmp_path / "a-paper", entry(), entry(id=other))
    with pytest.raises(ClaimsError, match=f'"{other}"; expected another than that of claim'):
        load(path)


def test_registry_keeps_the_order_of_the_parts(tmp_path):
    later = entry(id="z", chapter="z-paper/01-one")
    root = book(tmp_path / "book", a_paper=[entry(), entry(id="b")], z_paper=[later])
    write(root / "notebooks" / "a-paper", entry(), entry(id="b"), head={"part": "Part III"})
    assert list(registry(root)) == ["z", "a.number", "b"]


def test_registry_refuses_an_id_that_two_papers_use(tmp_path):
    root = book(tmp_path / "book", a_paper=[entry()], b_paper=[entry(chapter="b-paper/01-one")])
    with pytest.raises(ClaimsError, match=r"b-paper.* another than that of .*number' of .*a-paper"):
        registry(root)
    # Nor one that differs in a dash alone: in the ledger both have one anchor.
    write(root / "notebooks" / "b-paper", entry(id="a-number", chapter="b-paper/01-one"))
    with pytest.raises(ClaimsError, match=r"is \"a-number\"; expected another than that of"):
        registry(root)


def test_registry_refuses_a_chapter_without_source(tmp_path):
    root = book(tmp_path / "book", a_paper=[entry()])
    (root / "notebooks" / f"{CHAPTER}.md").unlink()
    with pytest.raises(ClaimsError, match="expected a chapter that exists: there is none yet"):
        registry(root)


def test_registry_tells_the_problems_of_all_papers(tmp_path):
    bad = entry(id="b", kind="x", chapter="b-paper/01-one")
    root = book(tmp_path / "book", a_paper=[entry(kind="x")], b_paper=[bad])
    with pytest.raises(ClaimsError) as error:
        registry(root)
    assert len(str(error.value).splitlines()) == 2


def test_a_book_without_claims_is_an_error(tmp_path):
    with pytest.raises(ClaimsError, match="nothing to check"):
        registry(book(tmp_path / "book"))


def test_a_claim_of_another_papers_chapter_is_refused(tmp_path):
    path = write(tmp_path / "b-paper", entry())
    with pytest.raises(ClaimsError, match="expected a chapter of b-paper/"):
        load(path)


def test_a_control_is_measured_or_what_a_wrong_theory_expects(tmp_path):
    entries = [
        entry(control={"what": "Half of $x$"}),
        entry(id="b", control=RIVAL | {"expect": 1}),
        entry(id="c", kind="identity", drop=("expect",), control={"what": "Half"}),
        entry(id="d"),
    ]
    one, two, three, none = load(write(tmp_path / "a-paper", *entries))
    assert (one.control, one.wrong, one.rival, one.measures_control) == (
        "Half of $x$",
        None,
        None,
        True,
    )
    assert (two.wrong, two.rival.expect, two.measures_control) == (1, 1, False)
    assert three.measures_control
    assert (none.control, none.measures_control) == (None, False)


def test_the_claims_that_one_uses_are_of_the_book_and_make_no_circle(tmp_path):
    first = [entry(uses=["b"]), entry(id="c", uses=["a.number", "b"])]
    second = entry(id="b", chapter="b-paper/01-first")
    found = registry(book(tmp_path / "good", a_paper=first, b_paper=[second]))
    assert found["c"].uses == ("a.number", "b")
    circle = {**second, "uses": ["c"]}
    with pytest.raises(ClaimsError, match=r"rest on themselves: .*b uses"):
        registry(book(tmp_path / "circle", a_paper=first, b_paper=[circle]))
    with pytest.raises(ClaimsError, match="claim 'b': field 'uses' names d; expected ids"):
        registry(book(tmp_path / "gone", a_paper=first, b_paper=[{**second, "uses": ["d"]}]))
