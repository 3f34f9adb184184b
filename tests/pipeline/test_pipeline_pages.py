"""A chapter's page: numbers of the run in its text, folded code, words at its figures."""

import base64
import json
import math

import nbformat
import pytest

from ncbook.files import BookError
from ncbook.pipeline import chapters, numbers, pages

SOURCE = """\
---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# Title

The slope is {{slope:.2f}}, of {{seeds}} seeds, from {{least:.1e}}.

:::{fig} curve
:alt: A curve that falls
  with slope {{slope:.1f}}.
:name: fig-curve

**It falls.**
:::

```{code-cell}
:tags: [parameters]
profile = "quick"
seeds = 5  # runs
```

```{code-cell}
import math
from ncbook.figures import figure
```

```{code-cell}
:tags: [open]
x = 1
```

```{code-cell}
figure("curve", picture)
chapter.check({"a": 1})
```

```{code-cell}
y = x + 1
```
"""
KNOWN = {"slope": -1.996, "least": 1.25e-7}
IMAGE = base64.b64encode(b"<svg/>").decode()


@pytest.fixture
def chapter(tmp_path):
    return chapters.parse("paper/01-one", SOURCE, tmp_path / "01-one.md")


@pytest.fixture
def executed(chapter, tmp_path):
    """The notebook of a run, whose fourth cell drew the figure."""
    notebook = pages.prepared(chapter)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    image = f'<img alt="Figure curve" src="data:{IMAGE}">'
    html = f'<figure class="ncb-jupyter" data-name="curve">{image}</figure>'
    data = {"text/html": html, "text/plain": "Figure curve"}
    mark = {"ncbook": {"figure": "curve"}}
    code[3].outputs = [nbformat.v4.new_output("display_data", data, metadata=mark)]
    path = tmp_path / "notebook.ipynb"
    path.write_text(nbformat.writes(notebook))
    return path


def made(chapter, executed, known=KNOWN):
    text = pages.composed(chapter, chapter.values(), executed, known=known)
    return nbformat.reads(text, as_version=4)


def test_the_text_has_the_numbers_of_the_run(chapter, executed):
    text = made(chapter, executed).cells[0].source
    assert "The slope is −2.00, of 5 seeds, from 1.2·10⁻⁷." in text
    assert "with slope −2.0." in text


def test_without_a_whole_run_the_text_keeps_its_places(chapter, executed):
    assert "{{slope:.2f}}" in made(chapter, executed, known=None).cells[0].source


def test_a_number_that_no_cell_gave_is_named_with_what_there_is(chapter, executed):
    with pytest.raises(
        BookError, match=r"paper/01-one asks for \{\{least:.1e\}\}.*: .*seeds, slope"
    ):
        made(chapter, executed, {"slope": 1.0})


def test_the_figure_in_jupyter_has_the_words_of_the_page(chapter, executed):
    (cell,) = [
        cell
        for cell in made(chapter, executed).cells
        if "figure(" in cell.source and cell.get("outputs")
    ]
    (output,) = cell.outputs
    words = "A curve that falls with slope −2.0."
    assert f'alt="{words}"' in output.data["text/html"]
    assert output.data["text/plain"] == "Figure curve"
    assert IMAGE in output.data["text/html"]


def test_code_is_folded_under_what_it_is_unless_it_is_tagged_open(chapter, executed):
    code = [cell for cell in made(chapter, executed).cells if cell.cell_type == "code"]
    labels = [cell.metadata.get("mystnb", {}).get("code_prompt_show") for cell in code]
    folded = ["Code: figure, claims", "Code: preparation"]
    assert labels == ["Code: parameters", "Code: set-up", None, *folded]
    assert ["hide-input" in cell.metadata.tags for cell in code] == [True, True, False, True, True]
    # Open and closed it says the same.
    assert all(
        cell.metadata.mystnb.code_prompt_hide == label
        for cell, label in zip(code, labels, strict=True)
        if label
    )


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.5, "", "0.5"),
        (12345.6, ",.0f", "12,346"),
        (1.0e-14, ".0e", "10⁻¹⁴"),
        (-3.2e5, ".1e", "−3.2·10⁵"),
        (0.043, ".1%", "4.3%"),
        (math.nan, ".2f", numbers.NO_NUMBER),
        ("ten-digit", "", "ten-digit"),
    ],
)
def test_a_number_is_set_as_in_print(value, form, text):
    assert numbers.written(value, form) == text


def test_a_format_that_is_none_is_refused():
    with pytest.raises(BookError, match=r"asks for \{\{a:.3q\}\}"):
        numbers.fill("{{a:.3q}}", {"a": 1.0}, "here")


def test_braces_of_formulas_are_left_alone():
    text = r"$\frac{{x}}{{y}}$, {{{a}}}, `{{1}}`"
    assert numbers.fill(text, {}, "here") == text
    assert numbers.fill(r"$10^{-{{n}}}$", {"n": 6.0}, "here") == r"$10^{-6}$"


def test_what_a_chapter_gave_is_read(tmp_path):
    assert numbers.of_run(tmp_path, {}, "quick") == {}
    (tmp_path / "numbers.json").write_text(json.dumps({"a": 1.5, "b": "two"}))
    assert numbers.of_run(tmp_path, {}, "quick") == {"a": 1.5, "b": "two"}


def test_a_run_that_has_not_all_numbers_says_so_in_its_text():
    text = "{{a.lost:.2f}} and {{known:.1f}} and {{never}}"
    found = numbers.with_gaps({"a.lost": math.nan, "known": 1.25}, text)
    none = numbers.NO_NUMBER
    assert numbers.fill(text, found, "here") == f"{none} and 1.2 and {none}"
