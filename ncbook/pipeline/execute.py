"""One chapter's execution, in a process of its own: ``python -m ncbook.pipeline.execute``.

The process reads one job (JSON) from its standard input and writes events (JSON lines) to its
standard output: a cell that starts, then the end or the error. When the build that started it
ends, the process kills its kernel and itself, so a killed build leaves nothing running.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ncbook import lifeline
from ncbook.files import BookError, write_atomic
from ncbook.pipeline import chapters

STARTS = 3  # of a kernel that does not answer
INJECTED = "injected-parameters"  # papermill's tag of the cell with the values


def prepared(chapter: chapters.Chapter):
    """Return a chapter's notebook, ready to be executed."""
    import jupytext

    notebook = jupytext.reads(chapter.text, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }
    return notebook


def finished(notebook):
    """Strip an executed notebook of what differs from run to run, and of papermill's own cells."""
    notebook.metadata.pop("papermill", None)
    own = (INJECTED, "papermill-error-cell-tag")
    notebook.cells = [
        cell for cell in notebook.cells if not set(own) & set(cell.metadata.get("tags", []))
    ]
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
    return notebook


def execute(notebook, values: dict[str, Any], output: Path, on_cell=None):
    """Execute a prepared notebook with this interpreter's kernel; return it.

    What has come so far stands in `output` at any time, also after an error.

    Raises
    ------
    papermill.exceptions.PapermillExecutionError
        A cell raised.
    nbclient.exceptions.DeadKernelError
        The kernel died.
    """
    import papermill

    for attempt in range(STARTS):
        try:
            return papermill.execute_notebook(
                notebook,
                output,
                parameters=values,
                progress_bar=False,
                record_timing=False,
                coalesce_streams=True,
                shutdown_kernel="immediate",
                start_timeout=60,
                raise_on_iopub_timeout=True,
                iopub_timeout=60,
                kernel_manager_class=_kernel_manager(),
                on_cell_execute=on_cell,
            )
        except RuntimeError as error:
            # Of two kernels that start at once, one may take a port that the other was given.
            if attempt == STARTS - 1 or not re.search("respond|before replying", str(error)):
                raise
    raise AssertionError


_kernels: list[subprocess.Popen] = []  # the processes of the kernels that were started


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

        async def start_kernel(self, **options):
            await super().start_kernel(**options)
            _kernels.append(self.provisioner.process)

        @property
        def kernel_spec(self):
            own = ipykernel.kernelspec
            return KernelSpec(resource_dir=own.RESOURCES, **own.get_kernel_dict())

    return OwnKernelManager


def main() -> int:
    """Do one job."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else writes to standard output must not mix with the events
    job = json.loads(lifeline.orders(_kill_kernels).get())

    def tell(**event):
        events.write(json.dumps(event) + "\n")
        events.flush()

    at = {"number": 0, "source": ""}
    work, output = Path(job["work"]), Path(job["notebook"])

    def on_cell(cell, cell_index):
        if INJECTED not in cell.metadata.get("tags", []):
            at.update(number=at["number"] + 1, source=cell.source)
            tell(event="cell", number=at["number"])

    try:
        chapter = chapters.parse(job["chapter"], job["text"], Path(job["path"]))
        notebook = prepared(chapter)
        cells = len(chapter.cells)
        tell(event="start", cells=cells)
        began = time.perf_counter()
        try:
            execute(notebook, job["values"], work, on_cell)
        finally:
            _bring(work, output)
        seconds = time.perf_counter() - began
        tell(event="done", seconds=round(seconds, 3), cells=cells)
    except BookError as error:
        tell(event="error", kind="source", message=str(error))
        return 1
    except Exception as error:
        tell(event="error", **_described(error, at))
        return 1
    return 0


def _bring(work: Path, output: Path) -> None:
    """Write what papermill left, also after an error, unless that is no whole file."""
    import nbformat

    try:
        notebook = nbformat.read(work, as_version=4)
    except (OSError, ValueError):
        return
    write_atomic(output, nbformat.writes(finished(notebook)) + "\n")


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
    message = f"{type(error).__name__}: {error}".rstrip(".")
    if "ernel died" in str(error):
        message = (
            f"the kernel died: it {lifeline.ending(_kernels[-1].poll() if _kernels else None)}"
        )
    return {"kind": "kernel", "number": at["number"], "source": at["source"], "message": message}


def _kill_kernels() -> None:
    for process in _kernels:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # a kernel leads its own process group


if __name__ == "__main__":
    sys.exit(main())
