"""What a build says while it works: moving bars on a terminal, plain lines everywhere else."""

import os
import re
import sys
import threading
import time

ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


class Progress:
    """Plain lines, one an event; safe to call from several threads. A context manager."""

    colours = False  # whether a text that went wrong may keep its colours

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began: dict[str, float] = {}

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        pass

    def say(self, text: str) -> None:
        """Say something."""
        with self._lock:
            print(text, flush=True)

    def warn(self, text: str) -> None:
        """Say something that went wrong."""
        with self._lock:
            print(text, file=sys.stderr, flush=True)

    def begin(self, task: str) -> None:
        """A task begins."""
        self._began[task] = time.monotonic()
        self.say(f"{task} ...")

    def step(self, task: str, done: float, total: float) -> None:
        """A task has come so far."""

    def end(self, task: str, note: str = "done") -> None:
        """A task is over."""
        self.say(f"{task}: {note} after {time.monotonic() - self._began[task]:.1f} s")


class Bars(Progress):
    """The same on a terminal, with a bar for each running task."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._rich = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            transient=True,
        )
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> "Bars":
        self._rich.start()
        return self

    def __exit__(self, *error) -> None:
        self._rich.stop()

    def say(self, text: str) -> None:
        """Say something, above the bars."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Say something that went wrong, above the bars."""
        self._print(text)

    def _print(self, text: str) -> None:
        from rich.text import Text

        self._rich.console.print(Text.from_ansi(text), soft_wrap=True)

    def begin(self, task: str) -> None:
        """Show a bar."""
        self._began[task] = time.monotonic()
        self._tasks[task] = self._rich.add_task(task, total=None)

    def step(self, task: str, done: float, total: float) -> None:
        """Move a bar."""
        self._rich.update(self._tasks[task], completed=done, total=total)

    def end(self, task: str, note: str = "done") -> None:
        """Replace a bar by a line."""
        self._rich.remove_task(self._tasks.pop(task))
        super().end(task, note)


def chosen() -> Progress:
    """Return bars where standard output is a terminal, plain lines where it is not."""
    return Bars() if sys.stdout.isatty() else Progress()


def plain(text: str) -> str:
    """Return a text without the codes that colour it on a terminal."""
    return ANSI.sub("", text)
