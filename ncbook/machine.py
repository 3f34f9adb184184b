"""What a result was made on: the machine and the versions, found without importing anything big."""

import importlib.metadata
import os
import platform
import re
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXECUTE = ("papermill", "jupytext")  # what executes a chapter
# Variables that let a process compute with one thread: more are slower on the chapters' tensors.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


@cache
def machine() -> dict[str, str]:
    """Return the processor, its cores, the operating system, Python and what device is there."""
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "device": device(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device() -> str:
    """Return the device that a run is asked to use, or that it will find.

    It is the word for a key, not a promise: torch decides when the run starts.
    """
    if (named := os.environ.get("NCBOOK_DEVICE")) is not None:
        return named
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return "cuda, where torch supports it"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps, where torch supports it"
    return "cpu"


def versions(root: Path) -> dict[str, str]:
    """Return the installed version of each package that the project names itself."""
    return {name: _version(name) for name in [*_named(root), *_named(root, "book")]}


@cache
def packages(root: Path) -> dict[str, str]:
    """Return the installed version of every package that can have a part in a chapter's result.

    They are those that ncbook needs and those that execute, with all that these need in turn;
    tools for tests and for the site are none of them.
    """
    found: dict[str, str] = {}
    waiting = [*_needed("ncbook"), *_named(root), *EXECUTE]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found[name] = _version(name)
            waiting += _needed(name)
    return found


def _named(root: Path, extra: str = "") -> list[str]:
    """The names of what the project needs, or of what an extra of it does."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return []
    extras = project.get("optional-dependencies", {})
    texts = extras.get(extra, []) if extra else project.get("dependencies", [])
    return [Requirement(text).name for text in texts]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _needed(name: str) -> list[str]:
    """The names of what an installed package needs here, its extras aside."""
    try:
        texts = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return []
    needed = map(Requirement, texts)
    return [one.name for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]


@dataclass(frozen=True)
class Checkout:
    """What git says of a folder: the commit, what differs from it, or why it says nothing."""

    commit: str = ""  # its short name; empty where there is none
    changed: tuple[str, ...] = ()  # paths with uncommitted changes, or unknown to git
    problem: str = ""

    def __str__(self) -> str:
        return self.problem or self.commit + (" and uncommitted changes" if self.changed else "")


def checkout(root: Path) -> Checkout:
    """Return the checked-out commit of a folder, and whether the folder is as it says."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            env=os.environ | {"LC_ALL": "C"},
        )
        if done.returncode:
            raise OSError(done.stderr.strip().split("\n")[0].removeprefix("fatal: "))
        return done.stdout

    try:
        head = git("rev-parse", "--short=10", "HEAD").strip()
        changed = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    except FileNotFoundError:
        return Checkout(problem="git is not installed")
    except (OSError, subprocess.TimeoutExpired) as error:
        if "not a git repository" in str(error):
            return Checkout(problem="not in a git checkout")
        return Checkout(problem=f"git refused: {error}")
    return Checkout(head, tuple(line[3:] for line in changed.split("\0") if line))


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found[1].strip()
    except OSError:
        pass
    try:
        named = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        named = ""
    return named or platform.processor() or platform.machine()
