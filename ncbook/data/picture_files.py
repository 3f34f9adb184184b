"""Files of colour pictures, 32 x 32 pixels: CIFAR's binary archives, folders by class, strips.

Each reader returns the pictures, uint8 of shape ``(n, 3, 32, 32)``, and their labels, int64 of
shape ``(n,)``. Files are read as plain numbers or by Pillow: nothing in them can be executed, and
nothing is unpacked to the disk.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ncbook.data.idx import DataError
from ncbook.files import digest

SIDE = 32  # pixels
LEVELS = 3 * SIDE * SIDE  # of one picture
ENDINGS = (".png", ".jpg", ".jpeg")


def archive(path: Path, members: Sequence[str], labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Read files of CIFAR's binary version, out of their archive.

    A file has a record for each picture: one byte for each label, then the red, the green and the
    blue levels, each by rows (A. Krizhevsky's page of CIFAR-10 and CIFAR-100).

    Parameters
    ----------
    path : Path
        The archive, a packed tar.
    members : sequence of str
        The files in it, which are joined.
    labels : int
        Labels of a record.

    Returns
    -------
    tuple of ndarray
        The pictures, and the labels of shape ``(n, labels)``.

    Raises
    ------
    DataError
        The archive cannot be read, a file is missing, or is not made of whole records.
    """
    record, content = labels + LEVELS, []
    with _tar(path) as file:
        for name in members:
            content.append(_member(file, path, name))
            if len(content[-1]) % record:
                raise DataError(
                    f"{name} in {path} has {len(content[-1])} bytes: expected records of {record}."
                )
    records = np.frombuffer(b"".join(content), np.uint8).reshape(-1, record)
    pictures = records[:, labels:].reshape(-1, 3, SIDE, SIDE).copy()
    return pictures, records[:, :labels].astype(np.int64)


def by_class(folder: Path, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a folder that has a folder of PNG or JPEG files for each class.

    Parameters
    ----------
    folder : Path
        The folder.
    classes : sequence of str
        The classes' folders; other folders are left alone. A class's files are read by name.

    Raises
    ------
    DataError
        A class has no folder, or no file; a file is no picture, or of another size.
    """
    pictures, labels = [], []
    for k, name in enumerate(classes):
        place = folder / name
        files = sorted(
            path
            for path in (place.iterdir() if place.is_dir() else ())
            if path.suffix.lower() in ENDINGS
        )
        if not files:
            raise DataError(
                f"{place} is no folder with files {', '.join(ENDINGS)}: expected one of the class "
                f"{name!r}, as {folder / '<class>' / '<any name>.png'}."
            )
        pictures += [_pixels(path.read_bytes(), str(path), SIDE) for path in files]
        labels += [k] * len(files)
    return _channels_first(np.stack(pictures)), np.array(labels)


def strips(path: Path, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a tar that has one picture for each class, with its pictures below each other.

    Picture i is in rows 32 i to 32 i + 31. A file ``manifest.json`` lists, under ``classes``, for
    each its ``fine`` name, its ``file``, its number of pictures ``n`` and the SHA-256 of its
    pixels, by rows, as ``sha256_pixels``.

    Parameters
    ----------
    path : Path
        The tar.
    classes : sequence of str
        The classes to read.

    Raises
    ------
    DataError
        The tar or its manifest cannot be read, a class is missing, or its pixels are not those of
        the manifest.
    """
    pictures, labels = [], []
    with _tar(path) as file:
        names = [name for name in file.getnames() if name.endswith("manifest.json")]
        listed = _manifest(_member(file, path, names[0] if names else "manifest.json"), path)
        if missing := [name for name in classes if name not in listed]:
            raise DataError(
                f"{path} has no class {missing[0]!r}: it has {', '.join(listed)}. Ask for these, "
                "or take the official archive."
            )
        for k, name in enumerate(classes):
            member, n, sha256 = listed[name]
            pixels = _pixels(_member(file, path, member), f"{member} in {path}", SIDE * n)
            if (found := digest(pixels.tobytes())) != sha256:
                raise DataError(
                    f"{member} in {path} is not what it should be: the SHA-256 of its pixels is "
                    f"{found}, and {sha256} was expected."
                )
            pictures.append(pixels.reshape(n, SIDE, SIDE, 3))
            labels += [k] * n
    return _channels_first(np.concatenate(pictures)), np.array(labels)


def _manifest(content: bytes, path: Path) -> dict[str, tuple[str, int, str]]:
    """Return class -> file, number of pictures and SHA-256 of the pixels."""
    try:
        return {
            entry["fine"]: (entry["file"], int(entry["n"]), entry["sha256_pixels"])
            for entry in json.loads(content)["classes"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The manifest in {path} is not what it should be: {error!r}. Expected a list of "
            "classes with fine, file, n and sha256_pixels."
        ) from error


def _channels_first(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def _pixels(content: bytes, name: str, rows: int) -> np.ndarray:
    """Return a picture's levels, of shape ``(rows, SIDE, 3)``."""
    from PIL import Image, UnidentifiedImageError  # where it is used only

    try:
        with Image.open(io.BytesIO(content)) as picture:
            size = picture.size
            if size == (SIDE, rows):  # else it is not worth unpacking
                return np.asarray(picture.convert("RGB"))
    except (
        Image.DecompressionBombError,
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise DataError(f"{name} is no picture that Pillow can read ({error}).") from error
    raise DataError(f"{name} has {size[0]} x {size[1]} pixels: expected {SIDE} x {rows}.")


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as file:
            yield file
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read as a tar ({error}).") from error


def _member(file: tarfile.TarFile, path: Path, name: str) -> bytes:
    try:
        opened = file.extractfile(name)
    except KeyError:
        opened = None
    if opened is None:
        raise DataError(f"{path} has no file {name}.")
    return opened.read()
