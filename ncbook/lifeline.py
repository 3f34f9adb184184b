"""A worker process ends with the process that started it, however that one ended.

Who started it holds the write end of the worker's standard input open, and writes its orders to
it, a line each. When that process ends, killed or not, the pipe closes, and the worker ends itself
at once.
"""

import os
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue


def orders(last: Callable[[], None] = lambda: None) -> SimpleQueue:
    """Watch standard input from now on; when it closes, call `last` and exit.

    Returns
    -------
    SimpleQueue
        Its lines, as they come.
    """
    lines: SimpleQueue = SimpleQueue()

    def watch() -> None:
        # Not through sys.stdin: a thread that waits there cannot be left at the process's end.
        with open(0, "rb", buffering=0, closefd=False) as pipe:
            while line := pipe.readline():
                lines.put(line.decode())
        try:
            last()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return lines


def ending(status: int | None) -> str:
    """Say how a process ended: ``was killed by SIGKILL (often: out of memory)``."""
    if status is None or status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (" (often: out of memory)" if name == "SIGKILL" else "")


def last_words(log: str, lines: int = 12) -> str:
    """What a process said last, indented below a heading; empty where it said nothing."""
    said = [line for line in log.splitlines() if line.strip()]
    return "".join(f"\n  {line}" for line in ["It said last:", *said[-lines:]]) if said else ""
