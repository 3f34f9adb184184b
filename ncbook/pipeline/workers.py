"""Chapters executed in parallel, one worker process each."""

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

import ncbook
from ncbook import lifeline, machine, progress, store
from ncbook.pipeline.chapters import Chapter

# What a run finds set, always the same: nothing of the person who builds reaches it.
SETTINGS = {
    **machine.ONE_THREAD,
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",  # see ncbook.runtime.decomposes
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "MATPLOTLIBRC": os.devnull,  # an empty file of settings, so that matplotlib looks for no other
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "1",
}
# What may pass, because a run cannot do without it: where programs and libraries lie, which
# graphics processor to use, where data are.
PASSED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TMPDIR",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "NCBOOK_DEVICE",
)
PACKAGE = Path(ncbook.__file__).resolve().parent
STARTUP = 0.1  # of a chapter's bar: starting its kernel


@dataclass(frozen=True)
class Job:
    """A chapter to execute: with which values, and into which folder (made by the worker)."""

    chapter: Chapter
    values: dict[str, Any]
    folder: Path  # gets result/ (what is stored) and runtime/ (what Jupyter needs meanwhile)
    halved: bool = False  # every step and tolerance of the methods: see ncbook.runtime.finer

    @property
    def result(self) -> Path:
        """The folder that becomes the stored result."""
        return self.folder / "result"

    @property
    def label(self) -> str:
        """The chapter and its profile, as the build names them to the reader."""
        return f"{self.chapter.id} ({'halved' if self.halved else self.values['profile']})"


@dataclass(frozen=True)
class Failure:
    """A chapter that could not be executed, told to the person at the keyboard."""

    job: Job
    text: str


def environment(
    root: Path, out: Path, name: str, runtime: Path, fonts: Path | None = None
) -> dict[str, str]:
    """Return the whole environment of a chapter's kernel, the same in a build and in tests.

    Parameters
    ----------
    root : Path
        The book's root.
    out : Path
        Where the chapter puts tables and measurements.
    name : str
        The chapter's ``NN-name``.
    runtime : Path
        A folder for what Jupyter, IPython and matplotlib keep while they run, and for the home
        folder that they find.
    fonts : Path, optional
        Where matplotlib's list of fonts is; in `runtime` without it.
    """
    data = os.environ.get("NCBOOK_DATA")
    return {
        **{name: os.environ[name] for name in PASSED if name in os.environ},
        **SETTINGS,
        "NCBOOK_ROOT": str(root),
        "NCBOOK_OUT": str(out),
        "NCBOOK_CHAPTER": name,
        "NCBOOK_JOBS": os.path.abspath(os.environ.get("NCBOOK_JOBS") or root / "_build" / "jobs"),
        # The chapter runs elsewhere: a path that is relative to here would lead it astray.
        "NCBOOK_CACHE": os.path.abspath(
            os.environ.get("NCBOOK_CACHE") or platformdirs.user_cache_dir("ncbook")
        ),
        **({} if data is None else {"NCBOOK_DATA": data and os.path.abspath(data)}),
        **({} if is_installed() else {"PYTHONPATH": str(PACKAGE.parent)}),
        "HOME": str(runtime),
        "IPYTHONDIR": str(runtime / "ipython"),
        "JUPYTER_CONFIG_DIR": str(runtime / "config"),
        "JUPYTER_DATA_DIR": str(runtime / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime / "jupyter"),
        "MPLCONFIGDIR": str(fonts or runtime / "matplotlib"),
        # Without MPLBACKEND the kernel chooses the inline one.
    }


@cache
def is_installed() -> bool:
    """Tell whether an interpreter finds this very package without being told where.

    Then it is not told: all that lies beside the package could be imported as well.
    """
    asked = "import importlib.util as u; print(u.find_spec('ncbook').submodule_search_locations[0])"
    env = {name: os.environ[name] for name in PASSED if name in os.environ} | SETTINGS
    done = subprocess.run(
        [sys.executable, "-c", asked], env=env, capture_output=True, text=True, cwd=PACKAGE
    )
    return done.returncode == 0 and Path(done.stdout.strip()).resolve() == PACKAGE


class Workers:
    """A pool of worker processes.

    Parameters
    ----------
    root : Path
        The book's root.
    jobs : int
        Most chapters at once.
    say : progress.Progress
        Told how each chapter gets on.
    fonts : Path
        The folder for matplotlib's list of fonts.
    keep_open : tuple of int
        File descriptors that the workers hold as long as they live: the build's lock.
    """

    def __init__(
        self,
        root: Path,
        jobs: int,
        say: progress.Progress,
        fonts: Path,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        self.root, self.jobs, self.say, self.fonts = root, jobs, say, fonts
        self.where: dict[str, Any] | None = None  # see ncbook.pipeline.keys.Keys
        self.keep_open = keep_open
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
        """Let matplotlib list the fonts; otherwise the first chapter says so on its page."""
        self.fonts.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-c", "import matplotlib.font_manager"],
            env=environment(self.root, self.fonts, "", self.fonts, self.fonts),
            cwd=self.fonts,
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
        here = runtime / "here"  # an empty folder: no settings lie beside the chapter
        for folder in (job.result, here):
            folder.mkdir(parents=True)
        log = job.folder / "log"
        env = environment(self.root, job.result, job.chapter.name, runtime, self.fonts)
        env |= {"NCBOOK_HALVED": "1"} if job.halved else {}
        self.say.begin(job.label)
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "ncbook.pipeline.execute"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=here,
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
            process.stdin.close()
            process.stdout.close()
        if event.get("event") == "done":
            self.say.end(job.label, f"executed {event['cells']} cells")
            return float(event["seconds"])
        self.say.end(job.label, "FAILED")
        said = lifeline.last_words(log.read_text(errors="replace"))
        if event.get("event") == "error":
            return describe(job.chapter.id, event, self.say.colours, said)
        return (
            f"{job.chapter.id}: its worker process {lifeline.ending(process.returncode)} without a "
            f"result.{said}"
        )

    def _follow(self, process: subprocess.Popen, job: Job) -> dict[str, Any]:
        """Feed a worker its job and read its events to the end; return the last."""
        order = {
            "chapter": job.chapter.id,
            "text": job.chapter.text,
            "path": str(job.chapter.path),
            "values": job.values,
            "work": str(job.folder / "executed.ipynb"),
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


def describe(chapter: str, event: dict[str, Any], colours: bool, said: str = "") -> str:
    """Say what stopped a chapter: where, its first line, and the error with a short traceback.

    `said` is what the kernel and the worker wrote last, told where the error is theirs.
    """
    if event["kind"] == "source":
        return event["message"]
    if event["kind"] == "kernel" and not event["number"]:
        return f"{chapter}: {event['message']}. No cell was run.{said}"
    first = next((line for line in event["source"].split("\n") if line.strip()), "")
    where = f"{chapter}, code cell {event['number']}: {first.strip()}"
    if event["kind"] == "kernel":
        return f"{where}\n  {event['message']}.{said}"
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
