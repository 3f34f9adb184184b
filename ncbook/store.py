"""Results by content: a chapter's executed notebook, tables and measurements under one key.

A result is a folder ``<key>/`` that holds ``notebook.ipynb``, ``tables/``, ``claims/`` and
``meta.json``, which lists the SHA-256 of every other file and of itself. It is filled elsewhere
and renamed into place, so the store holds whole results or none. What was damaged since is
found on reading.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncbook.files import digest

META = "meta.json"
NOTEBOOK = "notebook.ipynb"
KEPT = 8  # results of one chapter and profile that are kept: going back to a version is free


class DamagedError(Exception):
    """A stored result is not what was stored; the message says how."""


@dataclass(frozen=True)
class Result:
    """One stored result: where it lies and what is known about it."""

    folder: Path
    meta: dict[str, Any]

    @property
    def key(self) -> str:
        """The hash of everything that the result depends on."""
        return self.meta["key"]

    @property
    def seconds(self) -> float:
        """How long the chapter took to execute."""
        return float(self.meta["seconds"])

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / NOTEBOOK

    def files(self, under: str) -> dict[str, Path]:
        """The files in one of the result's folders: path relative to it -> file."""
        prefix = under.rstrip("/") + "/"
        return {
            name.removeprefix(prefix): self.folder / name
            for name in self.meta["files"]
            if name.startswith(prefix)
        }


class Store:
    """The results in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> Result | None:
        """Return the result under `key`, or None where there is none.

        Raises
        ------
        DamagedError
            There is one, but a file of it is missing, was changed or is not its own.
        """
        folder = self.folder / key
        if not folder.exists():
            return None
        result = Result(folder, _read_meta(folder))
        if result.meta.get("key") != key:
            raise DamagedError(f"{META} belongs to another result")
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
        listed = set(result.meta["files"])
        if missing := sorted(listed - there):
            raise DamagedError(f"{missing[0]} is missing")
        if strange := sorted(there - listed - {META}):
            raise DamagedError(f"{strange[0]} does not belong to it")
        for name, expected in result.meta["files"].items():
            if digest(folder / name) != expected:
                raise DamagedError(f"{name} is not as it was stored (its checksum differs)")
        return result

    def put(self, key: str, filled: Path, meta: dict[str, Any]) -> Result:
        """Move the folder `filled` into the store as the result under `key`.

        `filled` must lie on the same file system as the store. A result that is already there
        is replaced.
        """
        files = sorted(p for p in filled.rglob("*") if p.is_file())
        whole = {
            **meta,
            "key": key,
            "files": {p.relative_to(filled).as_posix(): digest(p) for p in files},
        }
        text = json.dumps({**whole, "check": _check(whole)}, indent=1, sort_keys=True)
        (filled / META).write_text(text + "\n", encoding="utf-8")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.remove(key)
        os.replace(filled, self.folder / key)
        return Result(self.folder / key, _read_meta(self.folder / key))

    def remove(self, key: str) -> None:
        """Remove a result; its name goes first, so that no part of it is ever found."""
        folder = self.folder / key
        if folder.exists():
            going = self.folder / f".going-{key}-{os.getpid()}"
            os.replace(folder, going)
            shutil.rmtree(going)

    def tidy(self) -> None:
        """Remove what a killed build left, and all but the latest results of each chapter."""
        if not self.folder.is_dir():
            return
        for left in self.folder.glob(".going-*"):
            shutil.rmtree(left, ignore_errors=True)
        groups: dict[tuple, list[tuple[float, str]]] = {}
        for key, meta in self._metas():
            used = (self.folder / key).stat().st_mtime
            groups.setdefault((meta.get("chapter"), meta.get("profile")), []).append((used, key))
        for results in groups.values():
            for _, key in sorted(results, reverse=True)[KEPT:]:
                self.remove(key)

    def touch(self, result: Result) -> None:
        """Note that a result was used now."""
        now = time.time()
        os.utime(result.folder, (now, now))

    def seconds(self) -> dict[tuple[str, str], float]:
        """How long each (chapter, profile) took when it was last executed."""
        last: dict[tuple[str, str], tuple[str, float]] = {}
        for _, meta in self._metas():
            of = (meta.get("chapter"), meta.get("profile"))
            last[of] = max(last.get(of, ("", 0.0)), (meta.get("made", ""), meta.get("seconds", 0)))
        return {of: seconds for of, (_, seconds) in last.items()}

    def _metas(self):
        for folder in sorted(self.folder.glob("[0-9a-f]*")):
            try:
                yield folder.name, _read_meta(folder)
            except DamagedError:
                continue  # get() says so when the result is asked for


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        check = meta.pop("check")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{META} cannot be read") from error
    if check != _check(meta):
        raise DamagedError(f"{META} is not as it was stored (its checksum differs)")
    return meta


def _check(meta: dict[str, Any]) -> str:
    return digest(json.dumps(meta, sort_keys=True))
