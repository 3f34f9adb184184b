"""The key of a chapter's result: the hash of all that the result depends on, and of nothing else.

That is what the chapter's cells do, what the code does that they import, the values of the
parameters, the environment of the run, the versions of the packages and the kind of machine. Prose
is none of it, be it in the chapter, in a docstring or in a claim: a page is put together from the
chapter as it is now and the outputs under its key.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from ncbook import machine
from ncbook.claims import kept
from ncbook.codegraph import Graph, fingerprint
from ncbook.files import digest
from ncbook.jobs import identity
from ncbook.pipeline.chapters import Chapter
from ncbook.pipeline.workers import PACKAGE, PASSED, SETTINGS

# A module whose change can change a result although no chapter imports it.
EXECUTION = "ncbook.pipeline.execute"


class Keys:
    """The keys of results, for the code as it is now.

    Parameters
    ----------
    root : Path
        The book's root.
    where : dict, optional
        What :func:`ncbook.jobs.identity.here` says where chapters are to run, if that is not here.
    """

    def __init__(self, root: Path, where: dict[str, Any] | None = None) -> None:
        self.root, self.where, self.graph = root, where, Graph(PACKAGE)
        here = identity.here() if where is None else where
        named = {
            name: os.environ[name] for name in PASSED if "DEVICES" in name and name in os.environ
        }
        self._common = {
            "format": 4,
            "packages": machine.packages(root),
            **{name: here[name] for name in ("python", "machine", "device")},
            # On a cluster each worker may have another one, of one kind.
            "devices": named if where is None else {},
            "settings": SETTINGS,
        }

    def of(self, chapter: Chapter, values: dict[str, Any]) -> str:
        """Return the key of a chapter's result with these values of its parameters."""
        return digest(json.dumps(self.parts(chapter, values), sort_keys=True))

    def parts(self, chapter: Chapter, values: dict[str, Any]) -> dict[str, Any]:
        """Return what the key is the hash of, by name: to see why two keys differ."""
        return {
            **self._common,
            "chapter": chapter.id,
            "cells": [[*_shown(cell.source), *cell.tags] for cell in chapter.cells],
            "values": values,
            "code": self.code(chapter),
            # What the kept paper-size run left for the quick one to draw.
            "tables": kept.tables(self.root, chapter.id) if values["profile"] == "quick" else None,
        }

    def code(self, chapter: Chapter) -> dict[str, str]:
        """Return the fingerprint of each file behind a chapter: ``ncbook/<path>`` -> hash."""
        used, _ = self.graph.used_by(chapter.code)
        modules = {*self.graph.closure(used), EXECUTION} & self.graph.modules.keys()
        return self.graph.contents(modules)

    def external(self, chapter: Chapter) -> set[str]:
        """Return the top-level names of all that the chapter can import from elsewhere."""
        used, found = self.graph.used_by(chapter.code)
        return set(found).union(*(self.graph.externals(m) for m in self.graph.closure(used)))


def _shown(source: str) -> tuple[str, bool]:
    """What a cell does, and whether it shows its last value, which a semicolon hides."""
    quiet = re.search(r";\s*(#[^\n]*)?\s*$", source) is not None
    return fingerprint(f"0\n{source}"), quiet  # a text that stands first in it is no docstring
