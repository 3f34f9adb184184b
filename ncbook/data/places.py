"""Where the files of a data set lie: in a folder that the reader names, or in the cache."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from ncbook.data.idx import DataError


def cache(name: str) -> Path:
    """Return the folder that a data set is downloaded to, in the user's cache folder.

    ``NCBOOK_CACHE`` names another in its place: a run has no home folder of anybody's.
    """
    return Path(os.environ.get("NCBOOK_CACHE") or pooch().os_cache("ncbook")) / name


def pooch():
    """Import pooch, where it is used only, and without what it says of a kernel's widgets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        import pooch
    return pooch


def find(
    title: str, name: str, cached: Path, here: Callable[[Path], bool], expected: str
) -> Path | None:
    """Return the folder that holds a data set's files, or None where there is none.

    The one that ``NCBOOK_DATA`` names, or the folder ``name`` in it; where it is not set, the
    cache.

    Parameters
    ----------
    title : str
        The data set, for messages.
    name : str
        Its folder's name.
    cached : Path
        Its folder in the cache.
    here : callable
        Tells whether a folder has any of its files.
    expected : str
        What a folder should have, for messages.

    Raises
    ------
    DataError
        ``NCBOOK_DATA`` names no folder, or one that has none of the files.
    """
    named = os.environ.get("NCBOOK_DATA")
    if named is None:
        return cached if here(cached) else None
    for place in (Path(named), Path(named) / name):
        if named and here(place):
            return place
    found = f"has none of {title}'s files" if named and os.path.isdir(named) else "is no folder"
    raise DataError(
        f"NCBOOK_DATA is {named!r}, which {found}. Set it to a folder that has {expected}, or "
        "unset it."
    )
