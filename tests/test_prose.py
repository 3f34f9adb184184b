"""The words of the chapters: numbers that a run made are printed from it; code is short."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from ncbook import files
from ncbook.pipeline import chapters, numbers

ROOT = files.root()
# Numbers that agree with an output and are typed all the same, each with the reason.
ALLOWED = tomllib.loads(
    (Path(__file__).with_name("typed_numbers.toml")).read_text(encoding="utf-8")
)
# At least two digits that count: 0.75, 3.3, 12.5, 27; not 2, 0.5, 10, 100.
NUMBER = re.compile(r"(?<![\w.{^_\\/-])\d+(?:\.\d+)?(?![\w.}]*[}\w])")
NOT_PROSE = re.compile(
    r"`[^`\n]*`|\{\{.*?\}\}|^:[a-z]+:.*$|\]\([^)]*\)|https?://\S+|\$\$.*?\$\$|\\\[.*?\\\]",
    re.M | re.S,
)
CHAPTERS = chapters.discover(ROOT)


def counts(text: str) -> bool:
    """Whether a number is one that a coincidence would hardly make."""
    digits = text.replace(".", "").strip("0")
    return len(digits) >= 2


def typed(source: str) -> set[str]:
    """Return the numbers that stand in the prose of a chapter's source."""
    text = re.sub(
        r"^```\{code-cell\}.*?^```$", "", source.partition("\n---\n")[2], flags=re.M | re.S
    )
    alts = " ".join(match for match in re.findall(r"^:alt:(.*)$", text, re.M))
    return {found for found in NUMBER.findall(NOT_PROSE.sub(" ", text) + alts) if counts(found)}


def printed(notebook: dict) -> list[float]:
    """Return the numbers that the outputs of an executed chapter show as text."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "ncbook" in output.get("metadata", {}):
                continue
            text = "".join(output.get("text", [])) + "".join(
                output.get("data", {}).get("text/plain", [])
            )
            found += re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", text)
    return [abs(float(one)) for one in found]


def measured(ledger: dict, chapter: str) -> list[float]:
    """Return what the claims of a chapter measured, where theory does not say the same number."""
    found = []
    for claim in ledger["claims"]:
        record = claim["record"]
        if claim["chapter"] == chapter and record and not record["not_finite"]:
            found += [abs(record[name]) for name in ("min", "median", "max")
                      if f"{record[name]:.2g}" != f"{claim['expect']:.2g}"]  # fmt: skip
    return found


def agrees(text: str, values: list[float]) -> bool:
    decimals = len(text.partition(".")[2])
    return any(f"{value:.{decimals}f}" == text for value in values)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_no_number_of_a_run_is_typed(chapter):
    path = ROOT / "book" / f"{chapter.id}.ipynb"
    if not path.is_file():
        pytest.skip("the book is not built")
    ledger = json.loads((ROOT / "_build" / "ledger.json").read_text(encoding="utf-8"))
    values = printed(json.loads(path.read_text(encoding="utf-8")))
    # Decimals alone: of whole numbers too many agree by chance.
    known = measured(ledger, chapter.id)
    allowed = ALLOWED.get(chapter.id, {})
    agreeing = {
        one
        for one in typed(chapter.text)
        if agrees(one, values) or ("." in one and agrees(one, known))
    }
    assert agreeing - set(allowed) == set(), "print them: chapter.number(...) and {{name}}"
    assert set(allowed) <= typed(chapter.text), "no longer typed: take them off the list"


def test_what_counts_as_a_typed_number():
    source = (
        "---\na: 1.25\n---\nIt falls by 1.25 in 37 steps, not 2, 0.5 or 100; {{a:.2f}}, $x^{12}$,\n"
        "`3.75`.\n"
        ":::{fig} a\n:alt: A line at 6.28.\n:::\n```{code-cell}\nx = 9.81\n```\n"
    )
    assert typed(source) == {"1.25", "37", "6.28"}
    assert agrees("1.25", [1.2547]) and not agrees("1.25", [1.26])


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_every_number_of_the_text_is_one(chapter):
    path = ROOT / "book" / f"{chapter.id}.ipynb"
    if not path.is_file():
        pytest.skip("the book is not built")
    assert numbers.NO_NUMBER not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_every_number_of_the_text_is_used(chapter):
    given = set(re.findall(r'chapter\.number\(\s*"([^"]+)"', chapter.text))
    asked = {name for name, _ in numbers.PLACE.findall(chapter.text)}
    assert given <= asked, "given, and not printed"


BOX = re.compile(r"^(`{3,}|:{3,})\{prf:(\w+)\}(.*?)^\1$", re.M | re.S)
STATEMENTS = ("theorem", "lemma", "proposition", "corollary")


def unproved(source: str) -> list[str]:
    """Return the statements that name no source, being ours, and that no proof follows."""
    boxes = [match.groups() for match in BOX.finditer(source)]
    follows = [kind for _, kind, _ in [*boxes, ("", "", "")][1:]]
    return [
        text.split("\n")[0].strip()
        for (_, kind, text), next_kind in zip(boxes, follows, strict=True)
        if kind in STATEMENTS and "{cite" not in text and next_kind != "proof"
    ]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_every_statement_of_ours_has_a_proof(chapter):
    assert unproved(chapter.text) == []


def test_what_counts_as_unproved():
    box = "```{{prf:{}}} {}\nText{}.\n```\n"
    of_paper, ours = box.format("theorem", "A", " {cite:p}`x`"), box.format("lemma", "B", "")
    proof = box.format("proof", "", "")
    assert unproved(of_paper + ours + proof) == []
    assert unproved(ours + of_paper + proof) == ["B"]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_open_code_is_short(chapter):
    """A reader meets at most a dozen lines at once."""
    cells = re.findall(
        r"^```\{code-cell\}[^\n]*\n:tags: \[open\]\n+(.*?)^```$", chapter.text, re.M | re.S
    )
    long = {cell.split("\n")[0]: len(cell.strip().split("\n")) for cell in cells}
    assert {first: lines for first, lines in long.items() if lines > 12} == {}


def like_code(source: str) -> list[str]:
    """Return the lines of prose that begin as a definition in Python does."""
    prose = re.sub(r"^```\{code-cell\}.*?^```$", "", source, flags=re.M | re.S)
    return re.findall(r"^(?:class|def) .*$", prose, re.M)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda one: one.id)
def test_no_line_of_prose_begins_like_code(chapter):
    """Who searches the sources for definitions finds none; wrap the paragraph elsewhere."""
    assert like_code(chapter.text) == []


def test_what_begins_like_code():
    cell = "```{code-cell}\nclass A:\n    pass\n```\n"
    assert like_code(f"{cell}the points of a\nclass are one point\na class is") == [
        "class are one point"
    ]
