"""What runs one job, wherever that is; and a process of this machine that runs one after another.

The process reads orders (JSON lines) from its standard input and answers each with one line on its
standard output. What else its jobs print goes to its standard error.
"""

import fcntl
import inspect
import json
import os
import pkgutil
import shutil
import time
import traceback
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ncbook import lifeline, machine
from ncbook.jobs import identity, results
from ncbook.store import Store

UNFINISHED = "unfinished"  # folder of what jobs are at, beside their stored results


def perform(order: dict[str, Any]) -> dict[str, Any]:
    """Run one job and store its result, unless that is there.

    Returns
    -------
    dict
        ``event`` is "done", with ``seconds``; or "error" or "refused", with what is ``said``.
    """
    try:
        function = pkgutil.resolve_name(order["function"])
    except Exception as error:
        return {"event": "refused", "said": f"it cannot be imported there: {error}."}
    if differ := _differing(order["parts"], _own(order["function"])):
        return {"event": "refused", "said": differ}
    store = Store(Path(order["folder"]))
    work = store.folder / UNFINISHED / order["key"]
    with _held(work):
        if (store.folder / order["key"]).exists():
            return {"event": "done", "seconds": 0.0}
        arguments, began = dict(order["parts"]["arguments"]), time.perf_counter()
        if takes_checkpoint(function):
            arguments["checkpoint"] = work / "checkpoint"
            arguments["checkpoint"].mkdir(exist_ok=True)
        try:
            value = results.dataset(function(**arguments))
            filled = work / "result"
            shutil.rmtree(filled, ignore_errors=True)
            filled.mkdir()
            results.write(filled / results.FILE, value)
        except Exception as error:
            return {"event": "error", "said": _described(error)}
        seconds = time.perf_counter() - began
        meta = {
            "parts": order["parts"],
            "seconds": seconds,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine.machine(),
        }
        store.put(order["key"], filled, meta)
        shutil.rmtree(work, ignore_errors=True)
    return {"event": "done", "seconds": seconds}


def takes_checkpoint(function) -> bool:
    """Whether a job wants a folder for what it has so far: by its parameter ``checkpoint``."""
    return "checkpoint" in inspect.signature(function).parameters


@contextmanager
def _held(work: Path):
    """Hold a job: another process that is given the same one waits, and then finds its result."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        work.mkdir(parents=True, exist_ok=True)  # who held it may have finished, and removed it
        yield


@cache
def _own(function: str) -> dict[str, Any]:
    """What a job's identity is made of in this process: as the code was when it was imported."""
    return identity.parts(function, {}, identity.here())


def _differing(asked: dict[str, Any], own: dict[str, Any]) -> str:
    """Say in what the code and the machine of a job differ from what was asked for, if they do."""
    for name in asked.keys() - {"arguments"}:
        one, other = asked[name], own[name]
        if one != other and isinstance(one, dict):
            items = sorted({*one.items()} ^ {*other.items()})
            what = "file" if name == "code" else "version"
            return (
                f"the {what} of {items[0][0]} differs between who asks for the job and the process "
                "that is to run it. Bring both to one version, or wait until edits are done."
            )
        if one != other:
            return (
                f"{name} is {one!r} where the job is asked for and {other!r} where it is to run; "
                "its result would be another."
            )
    return ""


def _described(error: Exception) -> str:
    """Return the error and where it was raised, from the job's function on."""
    inside = error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, inside)).rstrip()


def main() -> None:
    """Run jobs until standard input closes."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines = lifeline.orders()
    while True:
        events.write(json.dumps(perform(json.loads(lines.get()))) + "\n")
        events.flush()
