"""What a job's result depends on: the function, its arguments, the code that it reaches, the rest.

Code is every module that the function's own module imports, directly or not, as far as it is no
installed package; of an installed one it is the version that counts. Of ncbook what lies beside its
code counts, too.
"""

import importlib.metadata
import importlib.util
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import ncbook
from ncbook import machine
from ncbook.codegraph import Graph
from ncbook.files import digest

FORMAT = 1  # of a stored result; another number makes all of them anew


def parts(function: str, arguments: dict[str, Any], where: dict[str, Any]) -> dict[str, Any]:
    """Return what the identity of a job is the hash of, by name.

    Parameters
    ----------
    function : str
        ``module:name``.
    arguments : dict
        As JSON can hold them.
    where : dict
        From :func:`here`, of the process that runs the job.
    """
    code, installed = reached(function.partition(":")[0])
    versions = {name: _version(name) for name in sorted(installed)}
    return {
        "function": function,
        "arguments": arguments,
        "code": code,
        "versions": versions,
        **where,
    }


def here() -> dict[str, Any]:
    """Return what the result of a job depends on besides: Python, the kind of machine, the device.

    And whether steps and tolerances are halved, see :func:`ncbook.runtime.finer`.
    """
    return {
        "format": FORMAT,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": machine.device(),
        "halved": os.environ.get("NCBOOK_HALVED") == "1",
    }


def takes_checkpoint(function: Callable) -> bool:
    """Whether a job wants a folder for what it has so far: by its parameter ``checkpoint``."""
    return "checkpoint" in inspect.signature(function).parameters


def key(parts: dict[str, Any]) -> str:
    """Return the identity: a hash, as the store has its keys."""
    return digest(json.dumps(parts, sort_keys=True))


def reached(module: str) -> tuple[dict[str, str], set[str]]:
    """Return what a module reaches by its imports.

    Returns
    -------
    code, installed
        ``package/path`` -> fingerprint of each file that is code; the installed packages.
    """
    graphs: dict[str, Graph | None] = {}
    code: dict[str, str] = {}
    seen: set[str] = set()

    def graph(top: str) -> Graph | None:
        if top not in graphs:
            place = _place(top)
            graphs[top] = Graph(place) if place else None
        return graphs[top]

    waiting = [(module.partition(".")[0], {module})]
    while waiting:
        top, names = waiting.pop()
        if graph(top) is None:
            continue
        new = graphs[top].closure(names) - seen
        seen |= new
        code |= graphs[top].contents(new, data=top == ncbook.__name__)
        for one in new:
            text = graphs[top].modules[one].read_text(encoding="utf-8")
            waiting += [
                (other, graph(other).used_by(text)[0] if graph(other) else set())
                for other in graphs[top].externals(one)
            ]
    installed = {top for top, one in graphs.items() if one is None}
    return code, installed - sys.stdlib_module_names


def _place(top: str) -> Path | None:
    """Return where a top-level module's code is; None where it is installed, or nowhere."""
    if top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
        folders = [*(spec.submodule_search_locations or ())]
    except (AttributeError, ValueError):
        return None
    path = Path(folders[0] if folders else spec.origin or "")
    if top != ncbook.__name__ and {"site-packages", "dist-packages"} & {*path.parts}:
        return None
    return path if folders or path.suffix == ".py" else None


@cache
def _distributions():
    return importlib.metadata.packages_distributions()


def _version(top: str) -> str:
    """Return the version of the installed package that brings a top-level module."""
    names = sorted(set(_distributions().get(top, ())))
    return ", ".join(importlib.metadata.version(name) for name in names) or "not installed"
