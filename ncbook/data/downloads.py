"""Downloads that are verified, cached and gone on with where they were cut off."""

import fcntl
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ncbook.data.idx import DataError
from ncbook.data.places import pooch
from ncbook.files import PART, digest

TIMEOUT = (10, 30)  # seconds: for a connection, between two pieces
TRIES = 3  # at one mirror, each going on where the last was cut off
CHUNK = 2**16  # bytes a piece

Report = Callable[[str, int, int | None], None]


def fetch(
    title: str,
    hashes: Mapping[str, str],
    place: Path,
    mirrors: Sequence[str],
    content: Callable[[Path, str, str], bytes],
    report: Report | None = None,
    ending: str = "",
) -> Path:
    """Download what a folder lacks of some files; go on where an earlier download was cut off.

    Parameters
    ----------
    title : str
        The data set, for messages.
    hashes : mapping
        A file's name -> the SHA-256 of what is kept of it.
    place : Path
        The folder where the files go.
    mirrors : sequence of str
        Addresses of folders with the files, each tried in turn.
    content : callable
        From a downloaded file, what to call it and the SHA-256, makes what is kept of it; raises
        DataError where it is not the right file.
    report : callable, optional
        Told the file's name, the bytes that are here and, where known, the bytes in all.
    ending : str
        How a file's name goes on at the mirrors.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        No mirror gave a file that is the right one. What came of a file is kept, unless it was
        another file. Or the folder cannot be written.
    """
    say = report or (lambda name, done, total: None)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / ".lock").open("w") as lock:
            # Two downloads of one file would write into each other's part.
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name, sha256 in hashes.items():
                addresses = [f"{mirror.rstrip('/')}/{name}{ending}" for mirror in mirrors]
                _fetch(title, name, sha256, place, addresses, content, say)
    except OSError as error:
        raise DataError(
            f"{title}'s files cannot be written to {place} ({error.strerror or error}). Set "
            "XDG_CACHE_HOME to a folder where they can, or NCBOOK_DATA to one that has them."
        ) from error
    return place


def _fetch(
    title: str,
    name: str,
    sha256: str,
    place: Path,
    addresses: Sequence[str],
    content: Callable[[Path, str, str], bytes],
    report: Report,
) -> None:
    import requests

    pooch().get_logger().setLevel("WARNING")  # this package says itself what it does
    troubles = []
    for url in addresses:
        files = pooch().create(
            path=place,
            base_url="",
            registry={name: sha256},
            urls={name: url},
            retry_if_failed=TRIES - 1,
        )
        download = functools.partial(
            _download, lambda part, url: content(part, url, sha256), functools.partial(report, name)
        )
        try:
            # pooch leaves a file with the right hash alone, and keeps no other.
            files.fetch(name, downloader=download)
            for part in place.glob(f"{name}.*{PART}"):
                part.unlink()  # of another mirror
            return
        except DataError as error:
            troubles.append(str(error))
        except requests.RequestException as error:
            troubles.append(f"{url}: {_in_words(error)}.")
    raise DataError(
        f"No mirror gave {title}'s {name}. {' '.join(troubles)} Try again later, when it goes on "
        f"where it was cut off; or set NCBOOK_DATA to a folder that has {title}'s files."
    )


def _download(
    content: Callable[[Path, str], bytes],
    report: Callable[[int, int | None], None],
    url: str,
    output: str,
    pooch,
) -> None:
    """Download for pooch: the file into a part that stays, what is kept of it into ``output``."""
    (name,) = pooch.registry
    part = Path(pooch.path) / f"{name}.{digest(url)[:8]}{PART}"
    while True:
        went_on = _fill(part, url, report)
        try:
            kept = content(part, url)
            break
        except DataError:
            part.unlink()
            if not went_on:
                raise
            # The part may have begun as another file: once more, from the start.
    Path(output).write_bytes(kept)
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
