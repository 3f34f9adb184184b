"""A chapter's page: the source as it is now, and the outputs of the run under its key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ncbook.pipeline.chapters import Chapter
from ncbook.pipeline.execute import prepared

PARAMETERS_ID = "parameters"


def composed(
    chapter: Chapter,
    values: dict[str, Any],
    executed: Path,
    claims: Callable[[], dict[str, str]] | None = None,
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
    """
    import nbformat

    run = nbformat.from_dict(json.loads(executed.read_text(encoding="utf-8")))
    outputs = [cell.outputs for cell in run.cells if cell.cell_type == "code"]
    notebook = prepared(chapter)
    notebook.metadata["ncbook"] = {"chapter": chapter.id, "profile": values["profile"]}
    cells, count = [], 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs[count] if count < len(outputs) else []
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = count
                if claims and output.get("metadata", {}).get("ncbook", {}).get("claims"):
                    output["data"] = claims()
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
