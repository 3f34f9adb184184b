"""The IDX format of unsigned bytes, in which MNIST comes: a short header, then the numbers.

The header is two zero bytes, 8 for unsigned bytes, the number of dimensions, and each dimension's
size as four bytes, the greatest first. Files are read as plain numbers: nothing in them can be
executed.
"""

import gzip
import io
import math
import zlib

import numpy as np

from ncbook.files import BookError

GZIP, UNSIGNED_BYTES = b"\x1f\x8b", b"\x00\x00\x08"
MOST = 2**28  # bytes; a file that expands to more is none of this book
DIMENSIONS = 32  # every numpy can make as many


class DataError(BookError):
    """A data set is not there, or not what it should be; the message says what to do."""


def unpack(content: bytes, name: str) -> bytes:
    """Return a file's bytes without gzip, where it is packed with it.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        Where it is from, for messages.

    Raises
    ------
    DataError
        It is truncated or corrupted, or expands to more than ``MOST`` bytes.
    """
    if content.startswith(GZIP):
        try:
            with gzip.open(io.BytesIO(content)) as file:
                content = file.read(MOST + 1)
        except EOFError as error:
            raise DataError(f"{name} is truncated: its gzip stream has no end.") from error
        except (OSError, zlib.error) as error:
            raise DataError(f"{name} is corrupted: gzip says {str(error)!r}.") from error
    if len(content) > MOST:
        raise DataError(f"{name} holds more than {MOST} bytes; it is no file of this book.")
    return content


def decode(content: bytes, name: str) -> np.ndarray:
    """Return the array in an unpacked IDX file.

    Parameters
    ----------
    content, name
        As for :func:`unpack`.

    Returns
    -------
    ndarray
        uint8, of the shape that the file states; not writable.

    Raises
    ------
    DataError
        It is no IDX file of unsigned bytes, states more than ``DIMENSIONS`` dimensions or more
        than ``MOST`` bytes, or has fewer or more bytes than it states.
    """
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    if not content.startswith(UNSIGNED_BYTES) or not dimensions or len(content) < start:
        raise DataError(
            f"{name} is no IDX file of unsigned bytes: it begins with {content[:16]!r}, and "
            f"{UNSIGNED_BYTES!r} with a number of dimensions was expected."
        )
    shape = tuple(np.frombuffer(content[4:start], ">u4").tolist())
    expected, found = math.prod(shape), len(content) - start
    if found != expected:
        what = "is truncated" if found < expected else "is too long"
        raise DataError(
            f"{name} {what}: its header states the shape {shape}, which is {expected} bytes, and "
            f"{found} follow."
        )
    # A size of 0 hides the others from the number of bytes, and not from numpy.
    if dimensions > DIMENSIONS or math.prod(size or 1 for size in shape) > MOST:
        raise DataError(
            f"{name} is no file of this book: its header states {dimensions} dimensions of the "
            f"sizes {shape[:4]}{' and so on' if dimensions > 4 else ''}, and at most {DIMENSIONS} "
            f"dimensions and {MOST} bytes were expected."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def encode(array: np.ndarray) -> bytes:
    """Return a uint8 array as a gzipped IDX file that depends on nothing but the array.

    Raises
    ------
    ValueError
        The array is not uint8.
    """
    if array.dtype != np.uint8:
        raise ValueError(f"The array is {array.dtype}: expected uint8.")
    header = UNSIGNED_BYTES + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
        file.write(header + array.tobytes())
    return packed.getvalue()
