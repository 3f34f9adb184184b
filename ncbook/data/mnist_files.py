"""MNIST's four files: a sample that ships with the package, and the full set from public mirrors.

A file is known by the SHA-256 of its content without gzip, because a gzip's own hash depends on who
packed it. What has another hash is never used and never kept.
"""

import fcntl
import functools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ncbook.data import idx
from ncbook.data.idx import DataError
from ncbook.files import PART, digest

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
OFFICIAL = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SAMPLE = {
    "train-images-idx3-ubyte": "d7fee3d518abd69f9588da56ae29da59969bab4448f18287cdc60c0abdc74e4b",
    "train-labels-idx1-ubyte": "018b1a8cc9f52129d4ac977b0f4d25dfea98da4110ff62fa5c916c117318ac55",
    "t10k-images-idx3-ubyte": "563bca670ec2cd531cf314f6d0b75c948cffca7bff336896229c7f36ce4af5e5",
    "t10k-labels-idx1-ubyte": "4a5257ce4b116f9e2843df8ad0d52d45d0c6b99348990a2b28e8122c901cf04b",
}
SAMPLE_FOLDER = Path(__file__).parent / "mnist_sample"

GOES_ON = "in the cache, 'python -m ncbook data fetch mnist' does that"
TIMEOUT = (10, 30)  # seconds: for a connection, between two pieces
TRIES = 3  # at one mirror, each going on where the last was cut off
CHUNK = 2**16  # bytes a piece

Report = Callable[[str, int, int | None], None]


def read(place: Path, hashes: dict[str, str]) -> dict[str, np.ndarray]:
    """Read and verify files in a folder, each plain or with ``.gz``.

    Parameters
    ----------
    place : Path
        The folder where they lie.
    hashes : dict
        Name -> SHA-256 of the content without gzip.

    Returns
    -------
    dict
        Name -> uint8 array.

    Raises
    ------
    DataError
        A file is missing, unreadable, truncated, corrupted, of another format or of another
        content.
    """
    arrays = {}
    for name, sha256 in hashes.items():
        path = _here(place, name)
        if path is None:
            raise DataError(
                f"{place} has no {name}, with .gz or without, though it has others of MNIST's "
                f"files. Put it there; {GOES_ON}."
            )
        try:
            content = _content(path, str(path), sha256)
        except DataError as error:
            raise DataError(f"{error} Put the right one there; {GOES_ON}.") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
        arrays[name] = idx.decode(content, name)
    return arrays


def cache() -> Path:
    """Return the folder that downloads go to, in the user's cache folder as the system names it.

    ``NCBOOK_CACHE`` names another in its place: a run has no home folder of anybody's.
    """
    return Path(os.environ.get("NCBOOK_CACHE") or _pooch().os_cache("ncbook")) / "mnist"


def _pooch():
    """Import pooch, where it is used only, and without what it says of a kernel's widgets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import pooch
    return pooch


def folder() -> Path | None:
    """Return the folder that holds any of the official files, or None where there is none.

    The one that ``NCBOOK_DATA`` names, where it is set; else the cache.

    Raises
    ------
    DataError
        ``NCBOOK_DATA`` names no folder, or one that has none of them.
    """
    named = os.environ.get("NCBOOK_DATA")
    place = cache() if named is None else Path(named)
    if named != "" and any(_here(place, name) for name in OFFICIAL):
        return place
    if named is None:
        return None
    found = "has none of MNIST's files" if named and os.path.isdir(place) else "is no folder"
    raise DataError(
        f"NCBOOK_DATA is {named!r}, which {found}. Set it to a folder that has "
        f"{', '.join(OFFICIAL)} (with .gz or without, under just these names), or unset it."
    )


def sample() -> dict[str, np.ndarray]:
    """Return the sample that ships with the package; its folder holds its origin and licence.

    Raises
    ------
    DataError
        The package was installed in part, or changed.
    """
    return read(SAMPLE_FOLDER, SAMPLE)


def full() -> dict[str, np.ndarray]:
    """Return the full set: from the folder that ``NCBOOK_DATA`` names, else from the cache.

    Nothing is downloaded; :func:`fetch` does that.

    Raises
    ------
    DataError
        It is not at hand, or a file is not the official one.
    """
    place = folder()
    if place is None:
        raise DataError(
            "The full MNIST is not at hand. Download it (11 MB) with "
            "'python -m ncbook data fetch mnist', or set NCBOOK_DATA to a folder that has its "
            "official files, or take the sample."
        )
    return read(place, OFFICIAL)


def load(source: str) -> dict[str, np.ndarray]:
    """Return the :func:`sample` or the :func:`full` set, by its name.

    Raises
    ------
    ValueError
        ``source`` is neither "sample" nor "full".
    DataError
        The files are not at hand, or are not what they should be.
    """
    sources = {"sample": sample, "full": full}
    if source not in sources:
        raise ValueError(f'source = {source!r}: expected "sample" or "full".')
    return sources[source]()


def fetch(
    report: Report | None = None,
    mirrors: Sequence[str] | None = None,
    into: Path | None = None,
) -> Path:
    """Download what is missing of the full set; go on where an earlier download was cut off.

    Parameters
    ----------
    report : callable, optional
        Told the file's name, the bytes that are here and, where known, the bytes in all.
    mirrors : sequence of str, optional
        Addresses of folders with the files, each tried in turn; ``MIRRORS`` without it.
    into : Path, optional
        The folder where the files go, without gzip; :func:`cache` without it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        No mirror gave a file that is the official one. What came of a file is kept, unless it was
        another file. Or the folder cannot be written.
    """
    place = Path(into or cache())
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("w") as lock:
            # Two downloads of one file would write into each other's part.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name in OFFICIAL:
                _fetch(name, place, mirrors or MIRRORS, report or (lambda name, done, total: None))
    except OSError as error:
        raise DataError(
            f"MNIST's files cannot be written to {place} ({error.strerror or error}). Set "
            "XDG_CACHE_HOME to a folder where they can, or NCBOOK_DATA to one that has them."
        ) from error
    return place


def _fetch(name: str, place: Path, mirrors: Sequence[str], report: Report) -> None:
    import requests

    pooch = _pooch()
    pooch.get_logger().setLevel("WARNING")  # this package says itself what it does
    troubles = []
    for mirror in mirrors:
        files = pooch.create(
            path=place,
            base_url=mirror,
            registry=OFFICIAL,
            urls={name: f"{mirror.rstrip('/')}/{name}.gz"},
            retry_if_failed=TRIES - 1,
        )
        try:
            # pooch leaves a file with the right hash alone, and keeps no other.
            files.fetch(name, downloader=functools.partial(_download, name, report))
            for part in place.glob(f"{name}.*{PART}"):
                part.unlink()  # of another mirror
            return
        except DataError as error:
            troubles.append(str(error))
        except requests.RequestException as error:
            troubles.append(f"{mirror}: {_in_words(error)}.")
    raise DataError(
        f"No mirror gave MNIST's {name}. {' '.join(troubles)} Try again later, when it goes on "
        "where it was cut off; or set NCBOOK_DATA to a folder that has MNIST's files."
    )


def _download(name: str, report: Report, url: str, output: str, pooch) -> None:
    """Download for pooch: the packed file into a part that stays, its content into ``output``."""
    part = Path(pooch.path) / f"{name}.{digest(url)[:8]}{PART}"
    while True:
        went_on = _fill(part, url, lambda done, total: report(name, done, total))
        try:
            content = _content(part, url, OFFICIAL[name])
            break
        except DataError:
            part.unlink()
            if not went_on:
                raise
            # The part may have begun as another file: once more, from the start.
    Path(output).write_bytes(content)
    part.unlink()


def _fill(part: Path, url: str, report: Callable[[int, int | None], None]) -> bool:
    """Download what a part lacks; tell whether it went on from what was there."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    # Bytes are counted as they are stored, so nobody may pack them for the way.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        status = answer.status_code
        if have and status == requests.codes.requested_range_not_satisfiable:
            return True  # there is nothing after what is here; whether it is right is seen later
        if 400 <= status < 500:
            raise DataError(f"{url} answered {status} {answer.reason}.")
        answer.raise_for_status()
        went_on = have > 0 and status == requests.codes.partial_content
        if went_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink()  # another piece than the one asked for: once more, from the start
            return _fill(part, url, report)
        done = have if went_on else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        with part.open("ab" if went_on else "wb") as file:
            report(done, total)
            for piece in answer.iter_content(CHUNK):
                file.write(piece)
                done += len(piece)
                report(done, total)
    return went_on


def _in_words(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT[1]} seconds"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "no connection, or none that lasted"
    return str(error)


def _here(place: Path, name: str) -> Path | None:
    """Return a file of that name, plain or packed, where there is one."""
    # os.path's test, unlike pathlib's, also answers where one may not look.
    return next((p for p in (place / name, place / f"{name}.gz") if os.path.isfile(p)), None)


def _content(path: Path, name: str, sha256: str) -> bytes:
    """Return a file's content without gzip, if it is what it should be."""
    content = idx.unpack(path.read_bytes(), name)
    idx.decode(content, name)  # what is wrong with the format says more than a hash that differs
    found = digest(content)
    if found != sha256:
        raise DataError(
            f"{name} is not the file that it should be: the SHA-256 of its content is {found}, "
            f"and {sha256} was expected."
        )
    return content
