"""CIFAR-10 and CIFAR-100, from whichever files of them a reader has.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Their home states no licence, so none of their images
ships with this package. They are read from

- the official archive of the version for C, which holds plain bytes (the one for Python is a
  pickle, which could execute anything): ``python -m ncbook data fetch cifar10`` downloads it;
- or a folder ``cifar10``, with a picture a file: ``train/<class>/*.png`` and ``test/<class>/*.png``
  or ``.jpg``;
- or, for CIFAR-100, the packed strips ``cifar100-superclasses.tar`` and
  ``cifar100-superclasses-test.tar`` of three superclasses; see
  :func:`ncbook.data.picture_files.strips`.

The first that is in the folder that ``NCBOOK_DATA`` names, or in a folder ``cifar10`` or
``cifar100`` in it, is taken; what was downloaded, only where ``NCBOOK_DATA`` is not set.

The pictures of a class come in the order of their pixels' SHA-256, so that the same draw is the
same pictures whatever they were read from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ncbook.data import downloads, picture_files, places
from ncbook.data.cifar_classes import HUNDRED, SUPERCLASSES, TEN, THREE
from ncbook.data.downloads import Report
from ncbook.data.idx import DataError
from ncbook.data.pictures import Pictures
from ncbook.files import digest

MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


@dataclass(frozen=True)
class Archive:
    """An official archive: its file and the SHA-256; what is in it; how many labels a record has.

    The home of the archives publishes their MD5, c32a1d4ab5d03f1284b67883e8d87530 for CIFAR-10 and
    03b5dce01913d631647c71ecec9e9cb8 for CIFAR-100; the SHA-256 of the same files, which is harder
    to forge, is as TensorFlow Datasets publishes it.
    """

    title: str
    file: str
    sha256: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: int


ARCHIVES = {
    "cifar10": Archive(
        "CIFAR-10",
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
        ("cifar-10-batches-bin/test_batch.bin",),
        1,
    ),
    "cifar100": Archive(
        "CIFAR-100",
        "cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ("cifar-100-binary/train.bin",),
        ("cifar-100-binary/test.bin",),
        2,
    ),
}
PER_CLASS = {"cifar10": {"train": 5000, "test": 1000}, "cifar100": {"train": 500, "test": 100}}
STRIPS = {"train": "cifar100-superclasses.tar", "test": "cifar100-superclasses-test.tar"}


def cifar10() -> Pictures:
    """Return CIFAR-10: 50000 + 10000 pictures of 3 x 32 x 32, 10 classes in ``TEN``'s order.

    Raises
    ------
    DataError
        It is not at hand, or not what it should be.
    """
    return _read("cifar10", TEN)


def cifar100(superclasses: Sequence[str] | None = None) -> Pictures:
    """Return CIFAR-100, all or some superclasses: 500 + 100 pictures of each of 5 classes a one.

    The labels are the classes, not the superclasses; ``merged(SUPERCLASSES)`` of the result has
    those. Some pictures are there twice under different labels, and some in both parts; its method
    ``without_duplicates`` drops them.

    Parameters
    ----------
    superclasses : sequence of str, optional
        Names in ``SUPERCLASSES``; all twenty without it. Classes are in alphabetic order, as
        in the official files.

    Raises
    ------
    ValueError
        There is no superclass, or one is unknown.
    DataError
        It is not at hand, or not what it should be.
    """
    names = tuple(SUPERCLASSES if superclasses is None else superclasses)
    if not names or not set(names) <= set(SUPERCLASSES):
        raise ValueError(f"superclasses = {names}: expected some of {', '.join(SUPERCLASSES)}.")
    return _read("cifar100", tuple(sorted(c for name in set(names) for c in SUPERCLASSES[name])))


def three_superclasses() -> Pictures:
    """Return the three superclasses ``THREE`` of CIFAR-100 as classes, without duplicates.

    The data of Figure 1 (b) of Wu and Mondelli (2025), whole: the paper takes 500 pictures of each.

    Raises
    ------
    DataError
        They are not at hand, or not what they should be.
    """
    return cifar100(THREE).without_duplicates().merged({s: SUPERCLASSES[s] for s in THREE})


def cache(name: str) -> Path:
    """Return the folder that a download of ``cifar10`` or ``cifar100`` goes to."""
    return places.cache(name)


def folder(name: str) -> Path | None:
    """Return the folder that holds any files of ``cifar10`` or ``cifar100``, None without one.

    Raises
    ------
    DataError
        ``NCBOOK_DATA`` names no folder, or one that has none of them.
    """
    archive = ARCHIVES[name]
    return places.find(
        archive.title,
        name,
        cache(name),
        lambda place: _kind(name, place) is not None,
        f"{archive.file}, or the folders train/<class> and test/<class>",
    )


def fetch(name: str, report: Report | None = None, mirrors: Sequence[str] | None = None) -> Path:
    """Download the official archive of ``cifar10`` or ``cifar100``, or what is missing of it.

    Parameters
    ----------
    name : {"cifar10", "cifar100"}
        Which.
    report : callable, optional
        Told the file's name, the bytes that are here and, where known, the bytes in all.
    mirrors : sequence of str, optional
        Addresses of folders with the archive, each tried in turn; ``MIRRORS`` without it.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        No mirror gave the official archive, or the folder cannot be written.
    """
    archive = ARCHIVES[name]
    hashes = {archive.file: archive.sha256}
    return downloads.fetch(archive.title, hashes, cache(name), mirrors or MIRRORS, _content, report)


def _content(path: Path, name: str, sha256: str) -> bytes:
    _check(path, name, sha256)
    return path.read_bytes()


def _check(path: Path, name: str, sha256: str) -> None:
    if (found := digest(path)) != sha256:
        raise DataError(
            f"{name} is not the official archive: its SHA-256 is {found}, and {sha256} was "
            "expected."
        )


def check(name: str, place: Path) -> None:
    """Check the official archive in a folder, where it is what the folder has.

    Raises
    ------
    DataError
        It is another file, or cannot be read.
    """
    path = place / ARCHIVES[name].file
    if _kind(name, place) == "archive":
        try:
            _check(path, str(path), ARCHIVES[name].sha256)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error


def _kind(name: str, place: Path) -> str | None:
    """Return what a folder has: "archive", "folders", "strips", or None."""
    classes = TEN if name == "cifar10" else HUNDRED
    if (place / ARCHIVES[name].file).is_file():
        return "archive"
    if any((place / "train" / one).is_dir() for one in classes):
        return "folders"
    if name == "cifar100" and (place / STRIPS["train"]).is_file():
        return "strips"
    return None


def _read(name: str, classes: tuple[str, ...]) -> Pictures:
    """Read both parts from where they are, each class in the order of its pictures' SHA-256."""
    archive, place = ARCHIVES[name], folder(name)
    if place is None:
        raise DataError(
            f"{archive.title} is not at hand. Download it with 'python -m ncbook data fetch "
            f"{name}', or set NCBOOK_DATA to a folder that has {archive.file}, or the folders "
            "train/<class> and test/<class>."
        )
    check(name, place)
    kind, parts = _kind(name, place), []
    for part in ("train", "test"):
        if kind == "archive":
            pictures, labels = _official(name, place / archive.file, part, classes)
        elif kind == "folders":
            pictures, labels = picture_files.by_class(place / part, classes)
        else:
            pictures, labels = picture_files.strips(place / STRIPS[part], classes)
        counts, expected = np.bincount(labels, minlength=len(classes)), PER_CLASS[name][part]
        for one, count in zip(classes, counts, strict=True):
            if count != expected:
                raise DataError(
                    f"{place} has {count} of {one!r} in its {part} part: expected {expected} "
                    f"pictures, as in {archive.title}. Put all of them there, and no others."
                )
        keys = np.array([digest(picture.tobytes()) for picture in pictures])
        order = np.lexsort((keys, labels))
        parts += [torch.from_numpy(pictures[order]), torch.from_numpy(labels[order])]
    return Pictures(*parts, classes)


def _official(
    name: str, path: Path, part: str, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Read some classes of a part of an official archive."""
    archive, every = ARCHIVES[name], TEN if name == "cifar10" else HUNDRED
    pictures, labels = picture_files.archive(path, getattr(archive, part), archive.labels)
    labels = labels[:, -1]  # the class; CIFAR-100 has the superclass before it
    new = np.full(256, -1)
    new[[every.index(one) for one in classes]] = np.arange(len(classes))
    kept = new[labels] >= 0
    return pictures[kept], new[labels[kept]]
