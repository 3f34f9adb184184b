"""A chapter's page: the source as it is now, and the outputs of the run under its key.

The numbers of the run stand in the text, the words that describe a figure stand at its picture, and
code is folded where its cell is not tagged ``open``.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ncbook.pipeline import numbers
from ncbook.pipeline.chapters import Chapter
from ncbook.pipeline.execute import prepared

PARAMETERS_ID = "parameters"
BESIDE = ("tables", "figures")  # what stands beside a page, of what its run made
OPEN = "open"  # the tag of a cell whose code is seen at once
# What a folded cell holds, by what its code has: the first alone, or what there is of the rest.
ALONE = (
    ("parameters", re.compile(r"^profile = ", re.M)),
    ("set-up", re.compile(r"^(import|from) ", re.M)),
)
KINDS = (
    ("figure", re.compile(r"^figure\(", re.M)),
    ("claims", re.compile(r"\bchapter\.(measure|check|show)\(")),
    ("table", re.compile(r"^(print|display|table)\(", re.M)),
)
OTHER = "preparation"  # what shows nothing is for a cell that follows
FIGURE = re.compile(r"^(:::+|```+)\{fig\} *(\S+)[ \t]*\n(.*?)^\1$", re.M | re.S)
ALT = re.compile(r"^:alt:(.*?)(?=^:[a-z]+:|^\s*$|\Z)", re.M | re.S)


def composed(
    chapter: Chapter,
    values: dict[str, Any],
    executed: Path,
    claims: Callable[[], dict[str, str]] | None = None,
    known: Mapping[str, float | str] | None = None,
) -> str:
    """Return a chapter's executed notebook, as the book shows it.

    The values stand in the parameters cell itself, so the reader sees one such cell, with its
    comments and with what was run.

    Parameters
    ----------
    chapter : Chapter
    values : dict
        The values of the parameters that were run.
    executed : Path
        The notebook of the run; cells that it did not come to have no output.
    claims : function, optional
        Returns what the output that shows the chapter's claims is replaced with, by MIME type.
    known : mapping, optional
        The numbers of the run, see :mod:`ncbook.pipeline.numbers`; without them the text keeps
        its places for them.

    Raises
    ------
    BookError
        The text asks for a number that is not there.
    """
    import nbformat

    run = nbformat.from_dict(json.loads(executed.read_text(encoding="utf-8")))
    outputs = [cell.outputs for cell in run.cells if cell.cell_type == "code"]
    notebook = prepared(chapter)
    notebook.metadata["ncbook"] = {"chapter": chapter.id, "profile": values["profile"]}
    cells, count, said = [], 0, {}
    # What was run with can be said, too: seeds, a step.
    run_with = {name: one for name, one in values.items() if isinstance(one, int | float | str)}
    for cell in notebook.cells:
        if cell.cell_type != "code" and known is not None:
            cell.source = numbers.fill(cell.source, run_with | dict(known), chapter.id)
            said |= descriptions(cell.source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs[count] if count < len(outputs) else []
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
                mark = output.get("metadata", {}).get("ncbook", {})
                if claims and mark.get("claims"):
                    output["data"] = claims()
                if mark.get("figure") in said:
                    describe(output["data"], said[mark["figure"]])
            fold(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cell["id"] = PARAMETERS_ID
            cell.source = chapter.rendered(values)
            cells.append(
                nbformat.v4.new_markdown_cell(
                    f"*This page shows the profile* `{values['profile']}`.",
                    id="profile",
                    metadata={"tags": ["ncbook-profile"]},
                )
            )
        cells.append(cell)
    notebook.cells = cells
    return nbformat.v4.nbjson.JSONWriter().writes(notebook, ensure_ascii=False) + "\n"


def descriptions(text: str) -> dict[str, str]:
    """Return the alternative texts of the figures that a text places, by the figures' names."""
    found = {}
    for _, name, body in FIGURE.findall(text):
        if alt := ALT.search(body):
            found[name] = " ".join(alt[1].split())
    return found


def describe(data: dict[str, str], alt: str) -> None:
    """Put the words that describe a figure at its picture in Jupyter."""
    data["text/html"] = re.sub(
        r'\balt="[^"]*"', lambda _: f'alt="{html.escape(alt)}"', "".join(data["text/html"]), count=1
    )


def fold(cell) -> None:
    """Let a cell's code be folded unless it is tagged open, under a label that says what it is."""
    tags = cell.metadata.setdefault("tags", [])
    if OPEN in tags or not cell.source.strip():
        return
    tags.append("hide-input")
    alone = next((name for name, has in ALONE if has.search(cell.source)), None)
    kinds = [alone] if alone else [name for name, has in KINDS if has.search(cell.source)]
    label = f"Code: {', '.join(kinds or [OTHER])}"
    cell.metadata["mystnb"] = {"code_prompt_show": label, "code_prompt_hide": label}
