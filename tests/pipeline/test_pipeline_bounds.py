"""Bounds of parameters: what a chapter's comments say, what is refused, and the book's own."""

import re
from pathlib import Path

import pytest

from ncbook.files import BookError, UsageError
from ncbook.pipeline import bounds, chapters

VALUES = {
    "seeds": 5, "C": 3, "p": 15, "fraction": 0.3, "source": "sample", "sizes": [25, 100],
    "norms": [0.6, 1.6], "N": 32,
}  # fmt: skip
CELL = """\
profile = "quick"
seeds = 5            # seeds >= 1: random starts: all in one batch
C = 3                # C >= 2: classes
p = 15               # p >= C - 1: dimension
fraction = 0.3       # 0 < fraction < 1
source = "sample"    # source in ("sample", "full"): of MNIST: the sample or all
sizes = [25, 100]    # sizes >= 1: numbers of particles
norms = [0.6, 1.6]   # len(norms) == 2 and 0 < norms[0] <= norms[1]: of samples
rate = 0.1           # learning rate: without a bound, 10^-decades
"""


def chapter(cell: str, profiles: str = "{paper: {seeds: 200}}"):
    text = (
        "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n"
        f"ncbook:\n  profiles: {profiles}\n---\n\n# A title\n\n"
        f"```{{code-cell}}\n:tags: [parameters]\n{cell}\n```\n"
    )
    return chapters.parse("paper/01-one", text, Path("notebooks/paper/01-one.md"))


def test_a_comment_is_its_bound_and_its_words():
    found = chapter(CELL).parameters
    assert found["seeds"].bound == "seeds >= 1"
    assert found["seeds"].comment == "random starts: all in one batch (seeds >= 1)"
    assert found["fraction"].comment == "(0 < fraction < 1)"
    assert found["source"].words == "of MNIST: the sample or all"
    assert found["rate"].bound == ""
    assert found["rate"].comment == "learning rate: without a bound, 10^-decades"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": -3}, "'seeds' is -3, and must be at least 1."),
        ({"seeds": 0}, "'seeds' is 0, and must be at least 1."),
        ({"p": 1}, "'p' is 1, and must be at least C - 1 = 2."),
        ({"C": 17}, "'p' is 15, and must be at least C - 1 = 16."),
        ({"fraction": 0.0}, "'fraction' is 0.0, and must be greater than 0."),
        ({"fraction": 1.0}, "'fraction' is 1.0, and must be less than 1."),
        ({"source": "ful"}, "'source' is 'ful', and must be 'sample' or 'full'."),
        ({"sizes": [25, 0]}, "'sizes' is [25, 0], and each item must be at least 1."),
        ({"sizes": []}, "'sizes' is [], and must have an item."),
        ({"norms": [1.0]}, "'norms' is [1.0], and its length must be 2."),
        ({"norms": [2.0, 1.0]}, "'norms' is [2.0, 1.0], and norms[0] must be at most norms[1] = 1"),
    ],
)
def test_a_value_outside_its_bound_is_refused_at_once(given, said):
    with pytest.raises(UsageError) as refused:
        chapter(CELL).values(given=given)
    assert f"The chapter paper/01-one: the parameter {said}" in str(refused.value)


def test_the_least_and_the_greatest_value_are_accepted():
    given = {"seeds": 1, "p": 2, "fraction": 1e-300, "source": "full", "norms": [1, 1], "rate": -1}
    assert chapter(CELL).values("paper", given)["norms"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [
        ("1 <= seeds <= 5 and seeds % 2 == 1", 5, True),
        ("1 <= seeds <= 5 and seeds % 2 == 1", 4, False),
        ("seeds * C <= 15", 5, True),
        ("seeds * C <= 15", 6, False),
        ("seeds > -2 + 1", 0, True),
        ("seeds != 3", 3, False),
        ("seeds <= sizes", 25, True),
        ("seeds <= sizes", 26, False),
        ("seeds < len(sizes)", 1, True),
        ("seeds < len(sizes)", 2, False),
        ("sizes >= 1 and sizes == sorted(sizes)", [1, 2], True),
        ("sizes >= 1 and sizes == sorted(sizes)", [2, 1], False),
        ("sizes % 3 == 0", [3, 6], True),
        ("sizes % 3 == 0", [3, 7], False),
        ("3 in sizes and C in sizes and 4 in sizes", [4, 3], True),
        ("3 in sizes and C in sizes and 4 in sizes", [3, 5], False),
        ("sizes[-1] < sizes[-2] < 9", [9, 4, 3], True),
        ("sizes[-1] < sizes[-2] < 9", [4, 9, 3], False),
        ("sizes[0] != sizes[1] != sizes[2] != sizes[0]", [1, 2, 1], False),
    ],
)
def test_a_bound_holds_or_does_not(bound, value, holds):
    name = "sizes" if isinstance(value, list) else "seeds"
    assert (bounds.broken(bound, name, VALUES | {name: value}) is None) == holds


def test_a_list_is_refused_as_a_whole_or_by_its_items():
    said = [
        bounds.broken(bound, "sizes", VALUES)
        for bound in ("sizes == sorted(norms)", "3 in sizes", "sizes % 50 == 0")
    ]
    assert said == [
        "the parameter 'sizes' is [25, 100], and must be sorted(norms) = [0.6, 1.6]",
        "the parameter 'sizes' is [25, 100], and sizes must have the item 3",
        "the parameter 'sizes' is [25, 100], and sizes % 50 must be 0",
    ]


@pytest.mark.parametrize(
    "bound",
    [
        "seeds >=",
        "seeds >= 1 or seeds < 0",
        "not seeds < 1",
        "seeds >= most",
        "C >= 1",
        "seeds >= 1 and C >= 1",
        "seeds >= max(C, p)",
        "seeds >= 'a'",
        "seeds < norms[2]",
        "seeds >= __import__('os').getpid()",
        "seeds >= (lambda: 1)()",
        "len(seeds) == 3",
        "seeds in (1, C.real)",
        "seeds % 0 == 1",
    ],
)
def test_a_bound_that_cannot_be_read_is_refused(bound):
    with pytest.raises(BookError, match=r"parameters cell of paper/01-one: .*cannot be read"):
        chapter(CELL.replace("seeds >= 1", bound))


def test_a_bound_that_the_book_itself_breaks_is_refused():
    with pytest.raises(BookError, match=r"01-one: the parameter 'seeds' is 5, and must be at"):
        chapter(CELL.replace("seeds >= 1", "seeds >= 6"))
    broken = chapter(CELL, "{paper: {seeds: 0}}")
    assert broken.values()["seeds"] == 5
    said = r"paper/01-one \(profile 'paper'\): the parameter 'seeds' is 0, and must be at least 1"
    with pytest.raises(BookError, match=said) as refused:
        broken.values("paper")
    assert not isinstance(refused.value, UsageError)


def test_every_parameter_of_the_book_has_a_bound_that_its_profiles_keep(root):
    found = chapters.discover(root)
    assert len(found) > 20
    without = [
        f"{one.id}: {name}"
        for one in found
        for name, parameter in one.parameters.items()
        if name != "profile" and parameter.kind != "bool" and not parameter.bound
    ]
    assert not without
    for one in found:
        for profile in one.profiles:
            one.values(profile)


def test_what_the_chapters_suggest_keeps_their_bounds(root):
    for chapter in chapters.discover(root):
        tried = re.findall(r"^- (`\w+ = [^`]+`.*?):", chapter.text, re.M)
        for line in tried:
            code = ", ".join(re.findall("`([^`]+)`", line))
            pairs = re.findall(r"(\w+) = (\[.*?\]|[^,`]+)", code)
            given = {name: chapter.parsed(name, text) for name, text in pairs}
            chapter.values("quick", {n: v for n, v in given.items() if n in chapter.parameters})
