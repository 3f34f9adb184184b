"""Where things are, and how they are written: whole or not at all."""

import hashlib
import os
import tempfile
from pathlib import Path

PART = ".part"  # how the name of a half-written file ends; what a killed build leaves

_running = ""  # the chapter that this process began; the pipeline says it in NCBOOK_CHAPTER


class BookError(Exception):
    """A sentence for the person at the keyboard: what was given, what was expected, what to do."""

    status = 1  # the exit status of a command that ends with it


class UsageError(BookError):
    """The command was asked for what there is not."""

    status = 2


def root() -> Path:
    """Return the project's root folder.

    ``NCBOOK_ROOT`` where it is set; else the nearest folder above the working directory, then
    above this package, that holds ``_config.yml`` and ``notebooks/``.

    Raises
    ------
    FileNotFoundError
        No such folder was found.
    """
    named = os.environ.get("NCBOOK_ROOT")
    if named:
        folder = Path(named).resolve()
        if _is_root(folder):
            return folder
        raise FileNotFoundError(
            f"NCBOOK_ROOT is {named!r}, which holds no _config.yml and notebooks/. "
            "Set it to a checkout of the book, or unset it."
        )
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if _is_root(folder):
                return folder
    raise FileNotFoundError(
        f"No folder above {Path.cwd()} holds _config.yml and notebooks/. "
        "Run this in a checkout of the book, or set NCBOOK_ROOT to one."
    )


def _is_root(folder: Path) -> bool:
    return (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir()


def begin(chapter: str) -> None:
    """Say which chapter, ``<paper>/<NN-name>``, this process runs from now on."""
    global _running
    _running = chapter


def chapter_name() -> str:
    """Return the ``NN-name`` of the chapter that runs, "interactive" where none began."""
    return Path(os.environ.get("NCBOOK_CHAPTER") or _running or "interactive").name


def output_dir() -> Path:
    """Return the folder for what a running chapter makes (tables, measurements).

    ``NCBOOK_OUT`` where the pipeline set it; in a plain Jupyter session
    ``_build/interactive/<paper>/<NN-name>``, a folder for each chapter.
    """
    named = os.environ.get("NCBOOK_OUT")
    return Path(named) if named else root() / "_build" / "interactive" / _running


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises
    ------
    OSError
        The folder cannot be made or written; the message names the file.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; what a build makes is for everyone whom umask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise type(error)(
            error.errno, f"cannot write {path} ({error.strerror}); make its folder writable"
        ) from error
    return path


def write_changed(path: Path, content: str | bytes) -> bool:
    """Write a file where it differs from what is there; tell whether it did.

    An unchanged file keeps its time, so that what reads by time need not read it again.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def digest(content: str | bytes | Path) -> str:
    """Return the SHA-256 of a text, of bytes or of a file's content, in hexadecimal."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
