"""Where things are, and how they are written: whole or not at all."""

import contextlib
import errno
import hashlib
import os
import threading
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
        ``NCBOOK_ROOT`` is no such folder, or none was found.
    """
    named = os.environ.get("NCBOOK_ROOT")
    if named is not None:
        folder = Path(named).resolve()
        if named and _is_root(folder):
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

    Raises
    ------
    UsageError
        ``NCBOOK_OUT`` is set, and empty.
    """
    named = os.environ.get("NCBOOK_OUT")
    if named is None:
        return root() / "_build" / "interactive" / _running
    if not named:
        raise UsageError("NCBOOK_OUT is empty: set it to a folder, or unset it.")
    return Path(named)


def remedy(error: OSError) -> str:
    """Return what to do about a file that could not be written, as an order."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "allow more open files (ulimit -n)"
    if error.errno == errno.EFBIG:
        return "allow larger files (ulimit -f)"
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return "rename what stands in the place of a folder or a file"
    if error.errno == errno.EROFS:
        return "choose a place that is not read-only"
    return "make its folder writable"


def write_atomic(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises
    ------
    OSError
        The folder cannot be made or written; the message names the file and what to do.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise type(error)(
            error.errno, f"cannot write {path} ({error.strerror}); {remedy(error)}"
        ) from error
    return path


def check_writable(folder: Path) -> None:
    """Make a folder where there is none, and make sure that it can be written.

    Raises
    ------
    BookError
        It cannot; the message says why and what to do.
    """
    probe = folder / f".probe.{os.getpid()}{PART}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise BookError(
            f"{folder} must be a folder, and a file is in its place. Rename or remove that file."
        ) from error
    except OSError as error:
        raise BookError(
            f"The build cannot write in {folder} ({error.strerror}). {remedy(error).capitalize()}."
        ) from error


def digest(content: str | bytes | Path) -> str:
    """Return the SHA-256 of a text, of bytes or of a file's content, in hexadecimal."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
