"""Jobs in processes of this machine."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from ncbook import lifeline, machine
from ncbook.jobs.worker import Event, Order

TRIES = 2  # of a job whose process dies
START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from ncbook.jobs import worker; worker.main()"
)


def run(orders: list[Order], workers: int) -> Iterator[tuple[Order, Event]]:
    """Run orders in processes of this machine, each of which computes with one thread.

    Parameters
    ----------
    orders : list of dict
        See :func:`ncbook.jobs.worker.perform`.
    workers : int
        Most processes at once.

    Yields
    ------
    order, event
        "begin" of each as it begins, and then what became of it: what `perform` returned, or
        "lost", with what is ``said``, of one whose process died.
    """
    waiting: SimpleQueue = SimpleQueue()
    events: SimpleQueue = SimpleQueue()
    for order in orders:
        waiting.put(order)
    pool = [_Process() for _ in range(min(workers, len(orders)))]
    for process in pool:
        threading.Thread(target=process.work, args=(waiting, events), daemon=True).start()
    left = len(orders)
    try:
        while left:
            order, event = events.get()
            if isinstance(event, Exception):
                raise event
            left -= event["event"] != "begin"
            yield order, event
    finally:  # also the keyboard: nothing runs on
        for process in pool:
            process.stop()
        for process in pool:
            process.wait()


class _Process:
    """A process that runs jobs, started anew if it dies."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def work(self, waiting: SimpleQueue, events: SimpleQueue) -> None:
        """Run the orders that wait, until there are none."""
        with contextlib.suppress(Empty):
            while True:
                order = waiting.get_nowait()
                events.put((order, {"event": "begin"}))
                try:
                    events.put((order, self._run(order)))
                except Exception as error:  # told to who waits for it
                    events.put((order, error))

    def stop(self) -> None:
        """Let the process end, and what it runs; start no other."""
        with self._lock, contextlib.suppress(OSError):
            self._stopped = True
            if self._process is not None:
                self._process.stdin.close()  # its lifeline

    def wait(self) -> None:
        """Wait for the process's end, and no longer than it may take."""
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._process.wait()

    def _run(self, order: Order) -> Event:
        ended = ""
        for _ in range(TRIES):
            with self._lock:
                if self._stopped:
                    return {"event": "stopped"}
                if self._process is None or self._process.poll() is not None:
                    self._start()
            with contextlib.suppress(OSError, ValueError):  # it ended, and says so by its silence
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()
            if answer := self._process.stdout.readline():
                return json.loads(answer)
            ended = lifeline.ending(self._process.wait())
        self._log.seek(0)
        said = lifeline.last_words(self._log.read())
        return {"event": "lost", "said": f"its process {ended}, {TRIES} times.{said}"}

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            # -u: what a job prints is there even if its process is killed.
            [sys.executable, "-u", "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | machine.ONE_THREAD,
            start_new_session=True,  # Ctrl-C goes to who waits, who then ends it
        )
