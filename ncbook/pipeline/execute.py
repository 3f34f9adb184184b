"""One chapter's execution, in a process of its own: ``python -m ncbook.pipeline.execute``.

The process reads one job (JSON) from its standard input and writes events (JSON lines) to its
standard output: a cell that starts, then the end or the error. When the build that started it
ends, the process kills its kernel and itself, so a killed build leaves nothing running.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ncbook.files import BookError
from ncbook.pipeline import chapters, lifeline

PARAMETERS_ID = "parameters"


def prepared(chapter: chapters.Chapter, values: dict[str, Any]):
    """Return a chapter's notebook, ready to execute: fixed ids, the values in its parameters cell.

    The values replace the defaults in the cell itself, so the reader sees one parameters cell,
    with its comments and with what was run.
    """
    import jupytext

    notebook = jupytext.reads(chapter.text, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            cell["id"] = PARAMETERS_ID
            cell.source = chapter.rendered(values)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "ncbook": {"chapter": chapter.id, "profile": values["profile"]},
    }
    return notebook


def finished(notebook, profile: str):
    """Strip what differs from run to run and say above the parameters which profile was run."""
    import nbformat

    notebook.metadata.pop("papermill", None)
    count = 0
    cells = []
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
        if cell["id"] == PARAMETERS_ID:
            cells.append(_profile_line(nbformat, profile))
        cells.append(cell)
    notebook.cells = cells
    return notebook


def _profile_line(nbformat, profile: str):
    return nbformat.v4.new_markdown_cell(
        f"*This page shows the profile* `{profile}`.",
        id="profile",
        metadata={"tags": ["ncbook-profile"]},
    )


def execute(notebook, on_cell=None):
    """Execute a prepared notebook with this interpreter's kernel and return it.

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        A cell raised.
    nbclient.exceptions.DeadKernelError
        The kernel died.
    """
    import papermill

    return papermill.execute_notebook(
        notebook,
        None,
        progress_bar=False,
        record_timing=False,
        coalesce_streams=True,
        shutdown_kernel="immediate",
        start_timeout=180,
        raise_on_iopub_timeout=True,
        iopub_timeout=60,
        kernel_manager_class=_kernel_manager(),
        on_cell_execute=on_cell,
    )


_kernels: list[Any] = []  # the managers of the kernels that were started


def _kernel_manager():
    """A manager that starts this interpreter's own kernel, whatever kernels a user installed."""
    import ipykernel.kernelspec
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class OwnKernelManager(AsyncKernelManager):
        def __init__(self, **options):
            super().__init__(**options)
            # Without it a kernel of ipykernel 7.4 warns that its sockets are not encrypted.
            if self.has_trait("transport_encryption"):
                self.transport_encryption = "auto"
            _kernels.append(self)

        @property
        def kernel_spec(self):
            own = ipykernel.kernelspec
            return KernelSpec(resource_dir=own.RESOURCES, **own.get_kernel_dict())

    return OwnKernelManager


def main() -> int:
    """Do one job."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to standard output must not mix with the events
    job = json.loads(sys.stdin.readline())
    lifeline.hold(_kill_kernels)

    def tell(**event):
        events.write(json.dumps(event) + "\n")
        events.flush()

    at = {"number": 0, "source": ""}

    def on_cell(cell, cell_index):
        at.update(number=at["number"] + 1, source=cell.source)
        tell(event="cell", number=at["number"])

    try:
        chapter = chapters.parse(job["chapter"], job["text"], Path(job["path"]))
        notebook = prepared(chapter, job["values"])
        cells = sum(cell.cell_type == "code" for cell in notebook.cells)
        tell(event="start", cells=cells)
        began = time.perf_counter()
        notebook = execute(notebook, on_cell)
        seconds = time.perf_counter() - began
        import nbformat

        notebook = finished(notebook, job["values"]["profile"])
        Path(job["notebook"]).write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        tell(event="done", seconds=round(seconds, 3), cells=cells)
    except BookError as error:
        tell(event="error", kind="source", message=str(error))
        return 1
    except Exception as error:
        tell(event="error", **_described(error, at))
        return 1
    return 0


def _described(error: Exception, at: dict[str, Any]) -> dict[str, Any]:
    if hasattr(error, "traceback") and hasattr(error, "exec_count"):  # a cell raised
        return {
            "kind": "cell",
            "number": at["number"],
            "source": error.source,
            "name": error.ename,
            "value": error.evalue,
            "traceback": list(error.traceback),
        }
    if type(error).__name__ == "DeadKernelError":
        message = "the kernel died (out of memory, or killed from outside)"
    else:
        message = f"{type(error).__name__}: {error}"
    return {"kind": "kernel", "number": at["number"], "source": at["source"], "message": message}


def _kill_kernels() -> None:
    for manager in _kernels:
        process = getattr(manager.provisioner, "process", None)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a kernel leads its own process group


if __name__ == "__main__":
    sys.exit(main())
