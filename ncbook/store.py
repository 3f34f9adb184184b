"""Results by content: a chapter's executed notebook, tables and measurements under one key.

A result is a folder ``<key>/`` that holds ``notebook.ipynb``, ``tables/``, ``claims/`` and
``meta.json``, which lists the SHA-256 of every other file and of itself. It is filled elsewhere
and renamed into place, so the store holds whole results or none. What was damaged since is
found on reading.
"""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncbook.files import digest

META = "meta.json"
NOTEBOOK = "notebook.ipynb"
RETAINED = 8  # latest results of one chapter and profile: going back to a version is free


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
        meta = checked(folder)
        if meta.get("key") != key:
            raise DamagedError(f"{META} belongs to another result")
        return Result(folder, meta)

    def put(self, key: str, filled: Path, meta: dict[str, Any]) -> Result:
        """Move the folder `filled` into the store as the result under `key`.

        `filled` must lie on the same file system as the store. A result that is already there
        is replaced.
        """
        seal(filled, {**meta, "key": key})
        self.folder.mkdir(parents=True, exist_ok=True)
        self.remove(key)
        os.replace(filled, self.folder / key)
        return Result(self.folder / key, _read_meta(self.folder / key))

    def remove(self, key: str) -> list[Path]:
        """Remove a result; its name goes first, so that no part of it is ever found.

        What is in its folder and not as it was stored is somebody's: it stays, under another
        name, which is returned.
        """
        folder = self.folder / key
        if not folder.exists():
            return []
        going = self.folder / f".going-{key}-{os.getpid()}"
        os.replace(folder, going)
        return self._finish(going)

    def _finish(self, going: Path) -> list[Path]:
        unseal(going)
        if not going.exists():
            return []
        aside = self.folder / f"yours-{time.strftime('%Y%m%d-%H%M%S')}-{going.name[7:15]}"
        os.replace(going, aside)
        return [aside]

    def tidy(self) -> list[Path]:
        """Finish what a killed build began to remove; retain the latest results of each chapter.

        Returned is what stays because it is not as it was stored.
        """
        aside = [path for left in self.folder.glob(".going-*") for path in self._finish(left)]
        groups: dict[tuple, list[tuple[float, str]]] = {}
        for key, meta in self._metas():
            used = (self.folder / key).stat().st_mtime
            groups.setdefault((meta.get("chapter"), meta.get("profile")), []).append((used, key))
        for results in groups.values():
            for _, key in sorted(results, reverse=True)[RETAINED:]:
                aside += self.remove(key)
        return aside

    def clear(self) -> list[Path]:
        """Remove all results; return what stays because it is not as it was stored."""
        self.tidy()
        for key, _ in [*self._metas()]:
            self.remove(key)
        left = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        if self.folder.is_dir() and not left:
            self.folder.rmdir()
        return left

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
        for folder in sorted(self.folder.glob("[0-9a-f]" * 64)):
            try:
                yield folder.name, _read_meta(folder)
            except DamagedError:
                continue  # get() says so when the result is asked for


def seal(folder: Path, meta: dict[str, Any], name: str = META) -> None:
    """Write beside the files of a folder what is known about them, and the hash of each."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    whole = {**meta, "files": {p.relative_to(folder).as_posix(): digest(p) for p in files}}
    text = json.dumps({**whole, "check": _check(whole)}, indent=1, sort_keys=True)
    (folder / name).write_text(text + "\n", encoding="utf-8")


def checked(folder: Path, name: str = META) -> dict[str, Any]:
    """Return what is known about a sealed folder.

    Raises
    ------
    DamagedError
        A file in it is missing, was changed, or was not there when it was sealed.
    """
    meta = _read_meta(folder, name)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    listed = set(meta["files"])
    if missing := sorted(listed - there):
        raise DamagedError(f"{missing[0]} is missing")
    if strange := sorted(there - listed - {name}):
        raise DamagedError(f"{strange[0]} does not belong to it")
    for path, expected in meta["files"].items():
        if digest(folder / path) != expected:
            raise DamagedError(f"{path} is not as it was stored (its checksum differs)")
    return meta


def unseal(folder: Path, name: str = META) -> None:
    """Remove the files of a sealed folder that are as they were sealed, and what that empties."""
    try:
        meta = _read_meta(folder, name)
    except DamagedError:
        meta = {"files": {}}
    for path, expected in meta["files"].items():
        if (folder / path).is_file() and digest(folder / path) == expected:
            (folder / path).unlink()
    if meta["files"]:
        (folder / name).unlink()  # the last: it knows the others
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def _read_meta(folder: Path, name: str = META) -> dict[str, Any]:
    try:
        meta = json.loads((folder / name).read_text(encoding="utf-8"))
        check = meta.pop("check")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{name} cannot be read") from error
    if check != _check(meta):
        raise DamagedError(f"{name} is not as it was stored (its checksum differs)")
    return meta


def _check(meta: dict[str, Any]) -> str:
    return digest(json.dumps(meta, sort_keys=True))
