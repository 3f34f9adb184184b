"""What the build wrote, by content: it replaces and removes that, and nothing else.

``_build/owned.json`` has the SHA-256 of every file that the build put where a reader may put files,
too, and the folders that are its own as a whole, in which it works. A hash is noted before the
file is written, so a build that was killed in between still knows its own.

A file in the way that is not as the build wrote it is somebody's: it is set aside under another
name, and that is said.
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from ncbook.files import PART, digest, write_atomic
from ncbook.progress import Progress

NAME = "_build/owned.json"
WORK = "_build/tmp"  # folders in it are only ever the build's


class Owned:
    """The build's own files and folders below a root; used while the build's lock is held."""

    def __init__(self, root: Path, say: Progress) -> None:
        self.root, self.say = root, say
        self._files: dict[str, list[str]] = {}  # path -> hashes: what stands there, what will
        self._folders: set[str] = set()
        try:
            table = json.loads((root / NAME).read_text(encoding="utf-8"))
            self._files, self._folders = dict(table["files"]), set(table["folders"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # then nothing is known to be the build's, and nothing is lost

    # ------------------------------------------------------------ files

    def write(self, contents: Mapping[Path, str | bytes]) -> None:
        """Write files, each whole or not at all; one that is already so is not touched."""
        data = {path: c.encode() if isinstance(c, str) else c for path, c in contents.items()}
        due = {path: content for path, content in data.items() if not _holds(path, content)}
        before = json.dumps(self._files)
        for path, content in data.items():
            stands = [digest(path)] if path in due and self.is_own(path) else []
            self._files[self._name(path)] = [*stands, digest(content)]
        if json.dumps(self._files) != before:
            self._save()
        for path, content in due.items():
            if os.path.lexists(path) and not self.is_own(path):
                set_aside(path, self.root, self.say)
            write_atomic(path, content)

    def is_own(self, path: Path) -> bool:
        """Whether a file is as the build wrote it."""
        known = self._files.get(self._name(path), ())
        return path.is_file() and not path.is_symlink() and digest(path) in known

    def below(self, folder: Path) -> set[Path]:
        """The files that the build wrote in a folder, whether or not they are still as it did."""
        start = self._name(folder) + "/"
        return {self.root / name for name in self._files if name.startswith(start)}

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files that are as the build wrote them, and the folders that this leaves empty."""
        edited = []
        for path in sorted(paths):
            if self.is_own(path):
                path.unlink()
                self._prune(path.parent)
            elif os.path.lexists(path):
                edited.append(self._name(path))
            self._files.pop(self._name(path), None)
        if edited:
            more = f" and {len(edited) - 5} more" if len(edited) > 5 else ""
            self.say.warn(f"Left alone, since edited: {', '.join(edited[:5])}{more}.")
        self._save()

    # ------------------------------------------------------------ folders

    def take(self, folder: Path) -> Path:
        """Make a folder, or take one that is there, to work in: the build's own as a whole.

        What is in it and not the build's is set aside.
        """
        if self._name(folder) not in self._folders:
            if folder.is_dir() and not folder.is_symlink() and self.below(folder):
                for path in folder.rglob("*"):
                    if not (path.is_dir() and not path.is_symlink()) and not self.is_own(path):
                        beside = folder.with_name(f"{folder.name}-{path.name}")
                        set_aside(path, self.root, self.say, beside)
            elif os.path.lexists(folder) and not _is_empty(folder):
                set_aside(folder, self.root, self.say)
            self._folders.add(self._name(folder))
            self._save()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def adopt(self, folder: Path, becomes: Path | None = None) -> None:
        """Note each file of such a folder, which is then no longer the build's own as a whole.

        `becomes` is where the folder is about to be moved to.
        """
        becomes = becomes or folder
        for path in self.below(becomes):
            del self._files[self._name(path)]
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                self._files[self._name(becomes / path.relative_to(folder))] = [digest(path)]
        if becomes == folder:
            self._folders.discard(self._name(folder))
        self._save()

    def drop(self, folder: Path) -> None:
        """Remove a folder: all of it where it is the build's own, else what the build wrote."""
        if self._name(folder) in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
            self._folders.discard(self._name(folder))
            for path in self.below(folder):
                del self._files[self._name(path)]
            self._save()
        elif below := self.below(folder):
            self.remove(below)

    def clean_up(self) -> None:
        """Remove what a killed build left half written, and the folders that it worked in."""
        known = {*self._files, NAME, "_build/site.json"}
        for folder in {(self.root / name).parent for name in known}:
            for left in folder.glob(f".*{PART}"):
                # .<name>.<anything>.part, where the build writes a file of that name
                name = left.name[1:].removesuffix(PART).rpartition(".")[0]
                if self._name(folder / name) in known:
                    left.unlink(missing_ok=True)
        for name in self._folders:
            if name.startswith(f"{WORK}/"):
                shutil.rmtree(self.root / name, ignore_errors=True)

    def clean(self, spare: Iterable[str]) -> None:
        """Remove all that the build wrote, but for what is in the folders `spare`."""
        spared = tuple(f"{name}/" for name in spare)
        for name in sorted(self._folders):
            if not f"{name}/".startswith(spared):
                self.drop(self.root / name)
        self.remove([self.root / name for name in self._files if not name.startswith(spared)])
        self._prune(self.root / WORK)

    # ------------------------------------------------------------ how it is done

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _prune(self, folder: Path) -> None:
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _save(self) -> None:
        if self._files or self._folders:
            table = {"files": self._files, "folders": sorted(self._folders)}
            write_atomic(self.root / NAME, json.dumps(table, indent=0, sort_keys=True) + "\n")
        else:
            (self.root / NAME).unlink(missing_ok=True)


def set_aside(path: Path, root: Path, say: Progress, beside: Path | None = None) -> None:
    """Give what stands in the way another name, its own or that of `beside` with a mark."""
    beside = beside or path
    stamp, number, aside = time.strftime("%Y%m%d-%H%M%S"), 0, path
    while os.path.lexists(aside):
        number += 1
        mark = f"yours-{stamp}" + (f"-{number}" if number > 1 else "")
        aside = beside.with_name(f"{beside.stem}.{mark}{beside.suffix}")
    os.replace(path, aside)
    names = [name.relative_to(root).as_posix() for name in (path, aside)]
    say.warn(f"{names[0]} is not as the build wrote it. It is kept as {names[1]}.")


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and not path.is_symlink() and path.read_bytes() == content
