"""Chapters executed in parallel, one worker process each."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ncbook
from ncbook import store
from ncbook.pipeline import progress
from ncbook.pipeline.chapters import Chapter

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
STARTUP = 0.1  # of a chapter's bar: starting its kernel


@dataclass(frozen=True)
class Job:
    """A chapter to execute: with which values, and into which folder (made by the worker)."""

    chapter: Chapter
    values: dict[str, Any]
    folder: Path  # gets result/ (what is stored) and runtime/ (what Jupyter needs meanwhile)

    @property
    def result(self) -> Path:
        """The folder that becomes the stored result."""
        return self.folder / "result"

    @property
    def label(self) -> str:
        """The chapter and its profile, as the build names them to the reader."""
        return f"{self.chapter.id} ({self.values['profile']})"


@dataclass(frozen=True)
class Failure:
    """A chapter that could not be executed, told to the person at the keyboard."""

    job: Job
    text: str


def environment(root: Path, out: Path, name: str, runtime: Path) -> dict[str, str]:
    """Return the environment that a chapter's kernel runs in, the same in build and in tests.

    Parameters
    ----------
    root : Path
        The book's root.
    out : Path
        Where the chapter puts tables and measurements.
    name : str
        The chapter's ``NN-name``.
    runtime : Path
        A folder for what Jupyter and IPython keep while they run.
    """
    package = str(Path(ncbook.__file__).resolve().parents[1])
    path = os.environ.get("PYTHONPATH")
    changed = {
        **dict.fromkeys(THREADS, "1"),
        "NCBOOK_ROOT": str(root),
        "NCBOOK_OUT": str(out),
        "NCBOOK_CHAPTER": name,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": package + (os.pathsep + path if path else ""),
        # Settings and start-up files of the person who builds must not change a result.
        "IPYTHONDIR": str(runtime / "ipython"),
        "JUPYTER_CONFIG_DIR": str(runtime / "config"),
        "JUPYTER_RUNTIME_DIR": str(runtime / "jupyter"),
        "MPLCONFIGDIR": str(root / "_build" / "cache" / "matplotlib"),
    }
    # Without MPLBACKEND the kernel chooses the inline one.
    return {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | changed


class Workers:
    """A pool of worker processes.

    Parameters
    ----------
    root : Path
        The book's root, where chapters run.
    jobs : int
        Most chapters at once.
    say : progress.Progress
        Told how each chapter gets on.
    keep_open : tuple of int
        File descriptors that the workers hold as long as they live: the build's lock.
    """

    def __init__(
        self, root: Path, jobs: int, say: progress.Progress, keep_open: tuple[int, ...] = ()
    ) -> None:
        self.root, self.jobs, self.say, self.keep_open = root, jobs, say, keep_open
        self._processes: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, jobs: list[Job], done) -> tuple[list[Failure], list[Job]]:
        """Execute jobs, in this order, as many at once as there may be.

        After the first failure no further job starts; those that run may finish.

        Parameters
        ----------
        jobs : list of Job
        done : function
            Called with a job and its seconds as soon as it is finished, from another thread; a
            text that it returns is why the result cannot be used, and fails the job.

        Returns
        -------
        failures, not_started
        """
        failures: list[Failure] = []
        skipped: list[Job] = []

        def one(job: Job) -> None:
            if self._stop.is_set():
                skipped.append(job)
                return
            outcome = self._execute(job)
            if isinstance(outcome, float):
                outcome = done(job, outcome)
            if outcome:
                self._stop.set()
                failures.append(Failure(job, outcome))

        pool = ThreadPoolExecutor(max_workers=max(1, min(self.jobs, len(jobs))))
        try:
            for future in [pool.submit(one, job) for job in jobs]:
                future.result()
        except BaseException:  # the keyboard, a signal, an error of ours: nothing runs on
            self._stop.set()
            self._kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return failures, skipped

    def prepare_fonts(self) -> None:
        """Let matplotlib list the fonts, once; otherwise the first chapter says so on its page."""
        folder = self.root / "_build" / "cache" / "matplotlib"
        if not any(folder.glob("fontlist*")):
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [sys.executable, "-c", "import matplotlib.font_manager"],
                env=os.environ | {"MPLCONFIGDIR": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def _kill(self) -> None:
        with self._lock:
            for process in self._processes:
                process.stdin.close()  # the worker's lifeline
        deadline = time.monotonic() + 5
        for process in list(self._processes):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def _execute(self, job: Job) -> float | str:
        """Run one worker; return the seconds it took, or what went wrong."""
        runtime = job.folder / "runtime"
        for folder in (job.result, runtime):
            folder.mkdir(parents=True)
        log = job.folder / "log"
        env = environment(self.root, job.result, job.chapter.name, runtime)
        self.say.begin(job.label)
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "ncbook.pipeline.execute"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=self.root,
                env=env,
                pass_fds=self.keep_open,
                start_new_session=True,  # Ctrl-C goes to the build, which then ends its workers
            )
        with self._lock:
            self._processes.add(process)
        try:
            event = self._follow(process, job)
        finally:
            with self._lock:
                self._processes.discard(process)
        if event.get("event") == "done":
            self.say.end(job.label, f"executed {event['cells']} cells")
            return float(event["seconds"])
        self.say.end(job.label, "FAILED")
        if event.get("event") == "error":
            return describe(job.chapter.id, event, self.say.colours)
        return (
            f"{job.chapter.id}: its worker process ended without a result "
            f"(exit status {process.returncode}).\n{log.read_text()[-2000:]}"
        ).rstrip()

    def _follow(self, process: subprocess.Popen, job: Job) -> dict[str, Any]:
        """Feed a worker its job and read its events to the end; return the last."""
        order = {
            "chapter": job.chapter.id,
            "text": job.chapter.text,
            "path": str(job.chapter.path),
            "values": job.values,
            "notebook": str(job.result / store.NOTEBOOK),
        }
        event: dict[str, Any] = {}
        cells = 1
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died at once; what it said is in its log
        for line in process.stdout:
            event = json.loads(line)
            cells = event.get("cells", cells)
            if event["event"] == "cell":
                share = STARTUP + (1 - STARTUP) * (event["number"] - 1) / cells
                self.say.step(job.label, share, 1)
        process.wait()
        return event


def describe(chapter: str, event: dict[str, Any], colours: bool) -> str:
    """Say what stopped a chapter: where, its first line, and the error with a short traceback."""
    if event["kind"] == "source":
        return event["message"]
    first = next((line for line in event["source"].split("\n") if line.strip()), "")
    where = f"{chapter}, code cell {event['number']}: {first.strip()}"
    if event["kind"] == "kernel":
        return f"{where}\n  {event['message']}"
    lines = _short(event["traceback"]) or [f"{event['name']}: {event['value']}"]
    if not colours:
        lines = [progress.plain(line) for line in lines]
    return "\n".join([where, *(f"  {line}" for line in lines)])


def _short(traceback: list[str]) -> list[str]:
    """Keep of IPython's traceback the frame in the cell, the last one, and the error itself."""
    frames = [part.rstrip() for part in traceback if set(progress.plain(part).strip()) != {"-"}]
    if len(frames) > 4:  # heading, frames ..., error
        left_out = len(frames) - 4
        frames[2:-2] = [f"... {left_out} more frame{'s' if left_out > 1 else ''} ..."]
    return [line for part in frames for line in part.split("\n")]
