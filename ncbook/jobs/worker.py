"""What runs one job, wherever that is; and a process of this machine that runs one after another.

The process reads orders (JSON lines) from its standard input and answers each with one line on its
standard output. What else its jobs print goes to its standard error.
"""

import fcntl
import json
import os
import pkgutil
import shutil
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ncbook import lifeline, machine
from ncbook.files import BookError
from ncbook.jobs import identity
from ncbook.store import Store

UNFINISHED = "unfinished"  # folder of what jobs are at, beside their stored results
Order = dict[str, Any]
Event = dict[str, Any]
_SEEN: dict[str, str] = {}  # file -> fingerprint, as this process first saw it


def perform(order: Order) -> Event:
    """Run one job and store its result, unless that is there.

    Parameters
    ----------
    order : dict
        ``folder`` of the store, ``key`` and ``label`` of the job; ``fill``, the ``module:name`` of
        what fills a folder with its result, given the order and two folders: one for what it has
        so far, which stays if it fails, and one for the result. And what that needs; ``parts``,
        which the key is the hash of, is stored with the result.

    Returns
    -------
    dict
        ``event`` is "done", with the ``seconds`` it took; or "error", with what is ``said``.
    """
    store = Store(Path(order["folder"]))
    work = store.folder / UNFINISHED / order["key"]
    with _held(work):
        if (store.folder / order["key"]).exists():
            return {"event": "done", "seconds": 0.0}
        filled, sofar = work / "result", work / "sofar"
        shutil.rmtree(filled, ignore_errors=True)
        for folder in (filled, sofar):
            folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        try:
            pkgutil.resolve_name(order["fill"])(order, sofar, filled)
        except BookError as error:
            return {"event": "error", "said": str(error)}
        except Exception as error:
            return {"event": "error", "said": "".join(traceback.format_exception(error)).rstrip()}
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


def call(order: Order, sofar: Path, filled: Path) -> None:
    """Fill a folder with the result of a function: see :func:`perform`.

    Raises
    ------
    BookError
        The function cannot be imported here, or is not what was asked for; or it raised, or
        returned what cannot be stored.
    """
    from ncbook.jobs import results  # slow to import, and not needed by a chapter

    name, arguments = order["parts"]["function"], dict(order["parts"]["arguments"])
    try:
        function, own = _imported(name)
    except (ImportError, AttributeError) as error:
        raise BookError(f"{name} cannot be imported where the job is to run: {error}.") from error
    check_same(order["parts"], own)
    if identity.takes_checkpoint(function):
        arguments["checkpoint"] = sofar
    try:
        value = results.dataset(function(**arguments))
        results.write(filled / results.FILE, value)
    except Exception as error:
        inside = error.__traceback__.tb_next  # from the function on
        said = "".join(traceback.format_exception(type(error), error, inside)).rstrip()
        raise BookError(said) from error


def check_same(asked: dict[str, Any], own: dict[str, Any]) -> None:
    """Make sure that what a job's result depends on is here as it is where it was asked for.

    Raises
    ------
    BookError
        It is not; the message says what differs.
    """
    for name in sorted(asked.keys() - {"arguments"}):
        one, other = asked[name], own.get(name)
        if one != other and isinstance(one, dict) and isinstance(other, dict):
            inner = min(k for k in {*one, *other} if one.get(k) != other.get(k))
            name, one, other = f"{name}: {inner}", one.get(inner), other.get(inner)
        if one != other:
            raise BookError(
                f"What the job depends on is not the same where it is to run ({name}): "
                f"{_short(one)} was asked for, and {_short(other)} is there. Bring both to one "
                "version; if the code was edited meanwhile, ask again (of a cluster, start "
                "the workers anew before)."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 20 else f"{text[:12]}...{text[-4:]}"


@contextmanager
def _held(work: Path):
    """Hold a job: another process that is given the same one waits, and then finds its result."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        work.mkdir(parents=True, exist_ok=True)  # who held it may have finished, and removed it
        yield


def here() -> dict[str, Any]:
    """Return what :func:`ncbook.jobs.identity.here` says; remember the code that this runs on."""
    _as_first_seen(identity.reached(__name__)[0])
    return identity.here()


def _as_first_seen(code: dict[str, str]) -> dict[str, str]:
    """Return what files were when this process first saw them: a module is imported only once."""
    return {path: _SEEN.setdefault(path, found) for path, found in code.items()}


@cache
def _imported(name: str) -> tuple[Callable, dict[str, Any]]:
    """Return a function, and what its results depend on in this process."""
    _as_first_seen(identity.reached(name.partition(":")[0])[0])  # also if the import then fails
    function = pkgutil.resolve_name(name)
    own = identity.parts(name, {}, here())
    return function, own | {"code": _as_first_seen(own["code"])}


def main() -> None:
    """Run jobs until standard input closes."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lines = lifeline.orders()
    while True:
        events.write(json.dumps(perform(json.loads(lines.get()))) + "\n")
        events.flush()
