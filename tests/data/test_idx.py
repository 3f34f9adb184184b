"""The IDX format: what is written is read again, and nothing else is read."""

import ast
import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

import ncbook
from ncbook.data import idx
from ncbook.data.idx import DataError

few = settings(max_examples=60)

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@few
@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0)))
def test_what_is_encoded_is_decoded(array):
    packed = idx.encode(array)
    plain = idx.unpack(packed, "a file")
    for content in (plain, idx.unpack(plain, "a file")):
        decoded = idx.decode(content, "a file")
        assert decoded.dtype == np.uint8 and decoded.shape == array.shape
        assert np.array_equal(decoded, array)


def test_the_bytes_are_those_of_the_format():
    """Written by hand: magic number, sizes with the greatest byte first, numbers."""
    content = struct.pack(">IIII", 0x00000803, 2, 3, 4) + bytes(range(24))
    assert idx.unpack(idx.encode(IMAGES), "a file") == content
    assert np.array_equal(idx.decode(content, "a file"), IMAGES)
    labels = struct.pack(">II", 0x00000801, 3) + bytes([7, 0, 9])
    assert idx.decode(labels, "a file").tolist() == [7, 0, 9]


def test_a_packed_file_depends_on_the_array_alone():
    packed = idx.encode(IMAGES)
    assert packed == idx.encode(IMAGES.copy())
    assert packed[3] == 0 and packed[4:8] == bytes(4)  # no file name, no time
    assert packed != idx.encode(IMAGES + 1)


def test_other_numbers_are_not_encoded():
    with pytest.raises(ValueError, match="float64: expected uint8"):
        idx.encode(IMAGES / 255)


PLAIN = idx.unpack(idx.encode(IMAGES), "a file")
PACKED = idx.encode(IMAGES)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is no IDX file of unsigned bytes"),
        (PLAIN[:3], "is no IDX file of unsigned bytes"),
        (PLAIN[:9], "is no IDX file of unsigned bytes"),
        (b"\0\0\x08\0", "is no IDX file of unsigned bytes"),
        (b"\0\0\x0d" + PLAIN[3:], "is no IDX file of unsigned bytes"),
        (
            b"<!doctype html><title>Sign in</title>",
            "is no IDX file .* begins with b'<!doctype html>",
        ),
        (PLAIN[:-1], r"is truncated: its header states the shape \(2, 3, 4\), which is 24 bytes"),
        (PLAIN + b"\0", "is too long: .* 24 bytes, and 25 follow"),
        (struct.pack(">IIII", 0x803, *[2**32 - 1] * 3), "is truncated"),
        (struct.pack(">IIII", 0x803, 0, 2**32 - 1, 2**32 - 1), "is no file .* 3 dimensions"),
        (b"\0\0\x08\x46" + struct.pack(">I", 1) * 70 + b"7", "is no file .* 70 dimensions"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "is no file .* 255 dimensions"),
        (PACKED[:-9], "is truncated: its gzip stream has no end"),
        (PACKED[:5], "is truncated: its gzip stream has no end"),
        (PACKED[:-8] + bytes(8), "is corrupted: gzip says"),
        (PACKED[:12] + b"\xff\xff\xff" + PACKED[15:], "is corrupted: gzip says"),
        (PACKED + b"more", "is corrupted: gzip says"),
        (gzip.compress(b"hello"), "is no IDX file of unsigned bytes"),
        (gzip.compress(PACKED), "is no IDX file of unsigned bytes"),
    ],
    # Bytes as names would have gzip's time in them: each process would collect other tests.
    ids=lambda one: one if isinstance(one, str) else "file",
)
def test_a_bad_file_is_refused_with_its_name(content, why):
    with pytest.raises(DataError, match=f"^the-file {why}"):
        idx.decode(idx.unpack(content, "the-file"), "the-file")


def test_as_many_dimensions_as_numpy_makes_are_read():
    assert idx.decode(b"\0\0\x08\x20" + struct.pack(">I", 1) * 32 + b"7", "a file").ndim == 32


def test_what_expands_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(idx, "MOST", 1000)
    assert idx.unpack(gzip.compress(bytes(1000)), "a file") == bytes(1000)
    for content in (gzip.compress(bytes(10**7)), bytes(1001)):
        with pytest.raises(DataError, match="holds more than 1000 bytes"):
            idx.unpack(content, "a file")


# --- Nothing is unpickled -----------------------------------------------------------------------


class Trap:
    """Executes code when it is unpickled."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_pickle_is_refused_and_not_executed():
    for content in (pickle.dumps(Trap()), gzip.compress(pickle.dumps(Trap()))):
        with pytest.raises(DataError, match="no IDX file"):
            idx.decode(idx.unpack(content, "a file"), "a file")
    # Control: the trap works.
    with pytest.raises(SystemExit, match="unpickled"):
        pickle.loads(pickle.dumps(Trap()))


EXECUTES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "load", "eval", "exec"}


def executing(source: str) -> set[str]:
    """Names in a source that can turn a file into code."""
    nodes = list(ast.walk(ast.parse(source)))
    # Told to take plain numbers alone, and a module's own eval(), which is its mode.
    safe = (("allow_pickle", False), ("weights_only", True))
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    plain = {
        call.func
        for call in calls
        if any((k.arg, getattr(k.value, "value", None)) in safe for k in call.keywords)
    }
    names = {n.attr for n in nodes if isinstance(n, ast.Attribute) and n not in plain} - {"eval"}
    names |= {n.id for n in nodes if isinstance(n, ast.Name)}
    names |= {a.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
    return names & EXECUTES


def test_no_source_of_the_data_can_unpickle():
    sources = list((Path(ncbook.__file__).parent / "data").rglob("*.py"))
    assert len(sources) >= 6
    assert {path.name: executing(path.read_text()) for path in sources} == {
        path.name: set() for path in sources
    }
    assert executing("import numpy as np\nnp.load(f, allow_pickle=True)") == {"load"}
    assert executing("import numpy as np\nnp.load(f)") == {"load"}
    assert executing("import numpy as np\nnp.load(f, allow_pickle=False)") == set()
    assert executing("from pickle import loads") == {"pickle"}
    assert executing("eval(f.read())") == {"eval"}
