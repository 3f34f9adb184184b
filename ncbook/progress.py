"""What is said while something works: moving bars on a terminal, plain lines everywhere else."""

import os
import re
import sys
import threading
import time
from collections.abc import Callable

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Progress:
    """Lines, and on a terminal a bar for each task that runs; safe to call from several threads.

    A context manager, within which the bars are shown.

    Parameters
    ----------
    terminal : bool
        Show bars.
    report : callable, optional
        Takes the lines; they are printed without it.
    """

    def __init__(self, terminal: bool = False, report: Callable[[str], None] | None = None) -> None:
        self._report = report
        # Whether a text that went wrong may keep its colours.
        self.colours = terminal and sys.stderr.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}
        self._tasks: dict[str, int] = {}
        self._bars = _bars() if terminal else None

    def __enter__(self) -> "Progress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *error) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, text: str, file=None) -> None:
        """Say something, above the bars."""
        if self._bars:
            from rich.text import Text

            self._bars.console.print(Text.from_ansi(text), soft_wrap=True)
        else:
            with self._lock:
                if self._report:
                    self._report(text)
                else:
                    print(text, file=file, flush=True)

    def warn(self, text: str) -> None:
        """Say something that went wrong."""
        self.say(text, sys.stderr)

    def begin(self, task: str) -> None:
        """A task begins."""
        self._began[task] = time.monotonic()
        if self._bars:
            self._tasks[task] = self._bars.add_task(task, total=None)
        else:
            self.say(f"{task} ...")

    def step(self, task: str, done: float, total: float) -> None:
        """A task has come so far."""
        if self._bars:
            self._bars.update(self._tasks[task], completed=done, total=total)

    def end(self, task: str, note: str = "done") -> None:
        """A task is over."""
        if self._bars:
            self._bars.remove_task(self._tasks.pop(task))
        self.say(f"{task}: {note} after {time.monotonic() - self._began[task]:.1f} s")


def _bars():
    from rich import progress

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=24),
        progress.TimeElapsedColumn(),
        transient=True,
    )


def plain(text: str) -> str:
    """Return a text without the codes that colour it on a terminal."""
    return ANSI.sub("", text)
