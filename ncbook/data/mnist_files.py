"""MNIST's four files: a sample that ships with the package, and the full set from public mirrors.

A file is known by the SHA-256 of its content without gzip, because a gzip's own hash depends on who
packed it. What has another hash is never used and never kept.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ncbook.data import downloads, idx, places
from ncbook.data.downloads import Report
from ncbook.data.idx import DataError
from ncbook.files import digest

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
    """Return the folder that downloads go to; see :func:`ncbook.data.places.cache`."""
    return places.cache("mnist")


def folder() -> Path | None:
    """Return the folder that holds any of the official files, or None where there is none.

    The one that ``NCBOOK_DATA`` names, or ``mnist`` in it, where it is set; else the cache.

    Raises
    ------
    DataError
        ``NCBOOK_DATA`` names no folder, or one that has none of them.
    """
    return places.find(
        "MNIST",
        "mnist",
        cache(),
        lambda place: any(_here(place, name) for name in OFFICIAL),
        f"{', '.join(OFFICIAL)} (with .gz or without, under just these names)",
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


def arrays(source: str) -> dict[str, np.ndarray]:
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
    return downloads.fetch(
        "MNIST", OFFICIAL, Path(into or cache()), mirrors or MIRRORS, _content, report, ".gz"
    )


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
