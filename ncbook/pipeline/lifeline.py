"""A worker process ends with the build that started it, however that build ended.

The build holds the write end of the worker's standard input open and never uses it again. When
the build ends, killed or not, the pipe closes, and the worker ends itself at once.
"""

import os
import threading
from collections.abc import Callable


def exit_with_parent(last: Callable[[], None] = lambda: None) -> None:
    """Watch standard input from now on; when it closes, call `last` and exit."""

    def watch() -> None:
        # Not through sys.stdin: a thread that waits there cannot be left at the process's end.
        while os.read(0, 1):
            pass
        try:
            last()
        finally:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
