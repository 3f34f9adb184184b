"""Parameters and profiles: what a chapter's source says, and what is refused."""

from pathlib import Path

import pytest

from ncbook.files import BookError, UsageError
from ncbook.pipeline import chapters

FENCE = "```"


def chapter(parameters: str, profiles: str = "{quick: {}, paper: {seeds: 200}}"):
    text = (
        "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n"
        f"ncbook:\n  profiles: {profiles}\n---\n\n# A title\n\n"
        f"{FENCE}{{code-cell}}\n:tags: [parameters]\n{parameters}\n{FENCE}\n"
    )
    return chapters.parse("paper/01-one", text, Path("notebooks/paper/01-one.md"))


GOOD = """\
profile = "quick"
seeds = 5  # how many runs
rate = 1e-3  # the step
method = "flow"
verbose = False
sizes = [1.0, 2.5]  # of the start
widths = [3, -4]
"""


def test_the_parameters_cell_is_read():
    found = chapter(GOOD)
    assert found.title == "A title"
    assert [str(p) for p in found.parameters.values()] == [
        "profile (str, default 'quick')",
        "seeds (int, default 5)",
        "rate (float, default 0.001)",
        "method (str, default 'flow')",
        "verbose (bool, default False)",
        "sizes (list of float, default [1.0, 2.5])",
        "widths (list of int, default [3, -4])",
    ]
    assert found.parameters["seeds"].comment == "how many runs"


def test_profiles_change_defaults_and_given_values_change_profiles():
    found = chapter(GOOD)
    assert found.values()["seeds"] == 5
    assert found.values("paper") == found.values() | {"profile": "paper", "seeds": 200}
    assert found.values("paper", {"seeds": 7})["seeds"] == 7


def test_a_missing_profile_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no profile 'huge'\. Its profiles are: quick, paper"):
        chapter(GOOD).values("huge")


def test_an_unknown_parameter_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no parameter 'seed'.*seeds \(int, default 5\); rate"):
        chapter(GOOD).values(given={"seed": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seeds", 2.0),
        ("seeds", True),
        ("seeds", "5"),
        ("rate", "fast"),
        ("rate", True),
        ("rate", float("nan")),
        ("rate", [0.1]),
        ("method", 3),
        ("verbose", 1),
        ("sizes", 1.0),
        ("sizes", ["a"]),
        ("sizes", [1.0, "a"]),
        ("sizes", [[1.0]]),
        ("widths", [1.5]),
        ("widths", None),
    ],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(UsageError, match=rf"the parameter '{name}' is an? .*; method \(str"):
        chapter(GOOD).values(given={name: value})


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("rate", 2, 2.0),
        ("sizes", [1, 2], [1.0, 2.0]),
        ("sizes", [], []),
        ("widths", [7], [7]),
        ("verbose", True, True),
    ],
)
def test_an_int_stands_for_a_float(name, value, becomes):
    result = chapter(GOOD).values(given={name: value})[name]
    assert result == becomes
    assert repr(result) == repr(becomes)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seeds", "12", 12),
        ("rate", "1e-4", 1e-4),
        ("method", "descent", "descent"),
        ("method", "'descent'", "descent"),
        ("method", "12", "12"),
        ("verbose", "true", True),
        ("sizes", "0.5,1", [0.5, 1]),
        ("sizes", "[0.5]", [0.5]),
        ("seeds", "many", "many"),
    ],
)
def test_values_typed_as_text(name, text, value):
    assert chapter(GOOD).parsed(name, text) == value


def test_the_profile_is_not_a_parameter():
    with pytest.raises(UsageError, match="--profile"):
        chapter(GOOD).values(given={"profile": "paper"})


def test_values_replace_defaults_in_the_cell_and_nothing_else():
    found = chapter(GOOD)
    assert found.rendered(found.values()) == GOOD.rstrip()
    changed = found.rendered(found.values("paper", {"rate": 2, "widths": [1], "method": "é"}))
    assert changed == (
        "profile = 'paper'\nseeds = 200  # how many runs\nrate = 2.0  # the step\nmethod = 'é'\n"
        "verbose = False\nsizes = [1.0, 2.5]  # of the start\nwidths = [1]"
    )


def test_values_replace_defaults_of_several_lines():
    found = chapter('profile = "quick"\nsizes = [\n    1.0,\n    2.0,\n]  # all\nseeds = 3')
    changed = found.rendered(found.values(given={"sizes": [4.0], "seeds": 9}))
    assert changed == 'profile = "quick"\nsizes = [4.0]  # all\nseeds = 9'


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('profile = "quick"\nx = 1 + 1', "line 2: 'x = 1 [+] 1'"),
        ('profile = "quick"\nx = {"a": 1}', "line 2"),
        ('profile = "quick"\nx = (1, 2)', "line 2"),
        ('profile = "quick"\nx = [1, "a"]', "line 2"),
        ('profile = "quick"\nx = None', "line 2"),
        ('profile = "quick"\nx = y = 1', "line 2"),
        ('profile = "quick"\nimport os', "line 2"),
        ('profile = "quick"\nx =', "cannot be read"),
        ("seeds = 5", "must begin with"),
        ('profile = "paper"', "must begin with"),
    ],
)
def test_a_parameters_cell_that_is_not_plain_is_refused(parameters, message):
    with pytest.raises(BookError, match=message):
        chapter(parameters)


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("{paper: {seed: 200}}", r"\(profile 'paper'\) has no parameter 'seed'"),
        ("{paper: {seeds: 2.5}}", r"\(profile 'paper'\): the parameter 'seeds' is an int"),
        ("{quick: {seeds: 1}}", "must be empty"),
        ("{paper: 200}", "must be a mapping"),
    ],
)
def test_profiles_are_checked_too(profiles, message):
    with pytest.raises(BookError, match=message):
        chapter(GOOD, profiles).values("paper")


def test_a_source_without_parameters_is_refused():
    with pytest.raises(BookError, match="has 0 cells tagged 'parameters'"):
        chapters.parse("paper/01-one", "# Title\n", Path("x.md"))


def test_chapters_are_found_by_id_name_and_path(empty):
    for name in ("01-one", "02-two"):
        empty.chapter(name)
    empty.chapter("01-one", paper="other")
    found = chapters.discover(empty.root)
    assert [c.id for c in found] == ["other/01-one", "paper/01-one", "paper/02-two"]
    for named in ("paper/02-two", "02-two", "notebooks/paper/02-two.md", "book/paper/02-two.ipynb"):
        assert chapters.find(found, named).id == "paper/02-two"
    with pytest.raises(UsageError, match="'01-one' is more than one chapter"):
        chapters.find(found, "01-one")
    with pytest.raises(UsageError, match=r"'09-x' is no chapter\. The chapters are: other/01-one"):
        chapters.find(found, "09-x")
