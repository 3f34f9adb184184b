"""MNIST: the sample, the full set, and downloads from servers that misbehave."""

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from misbehaving_server import Server
from typer.testing import CliRunner

from ncbook import cli
from ncbook.data import catalogue, downloads, idx, images, mnist_files, pretrained
from ncbook.data.idx import DataError
from ncbook.files import PART
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
NAMES = list(mnist_files.OFFICIAL)


def small_set() -> dict[str, np.ndarray]:
    """Files of MNIST's kind, small: 40 + 20 images of 5 x 6 pixels."""
    draw = np.random.default_rng(0)
    return {
        name: draw.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        for part, n in (("train", 40), ("t10k", 20))
        for name, shape in (
            (f"{part}-images-idx3-ubyte", (n, 5, 6)),
            (f"{part}-labels-idx1-ubyte", (n,)),
        )
    }


SET = small_set()
PACKED = {name: idx.encode(array) for name, array in SET.items()}
SERVED = {f"{name}.gz": packed for name, packed in PACKED.items()}
PLAIN = {name: idx.unpack(packed, name) for name, packed in PACKED.items()}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No variable of the shell decides; the official files are the small ones; no waiting."""
    monkeypatch.delenv("NCBOOK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(mnist_files, "cache", lambda: tmp_path / "cache" / "mnist")
    hashes = {name: hashlib.sha256(plain).hexdigest() for name, plain in PLAIN.items()}
    monkeypatch.setattr(mnist_files, "OFFICIAL", hashes)
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


# --- The sample ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample() -> images.Images:
    return images.mnist(RUN)


def test_the_sample_has_every_digit_in_its_share(sample):
    official_train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    official_test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for labels, official in (
        (sample.train_labels, official_train),
        (sample.test_labels, official_test),
    ):
        shares = np.array(official) / sum(official) * len(labels)
        assert np.abs(labels.bincount().numpy() - shares).max() < 1
    assert (len(sample.train), len(sample.test), sample.K) == (10_000, 2_000, 10)


def test_images_are_flat_in_0_1_with_whole_grey_levels(sample):
    assert sample.shape == (28, 28)
    for part, labels in (
        (sample.train, sample.train_labels),
        (sample.test, sample.test_labels),
    ):
        assert part.dtype == torch.float64 and labels.dtype == torch.int64
        assert part.shape == (len(labels), 784)
        assert part.min() == 0 and part.max() == 1
        assert (part * 255 - (part * 255).round()).abs().max() < 1e-12
    assert torch.equal(sample.train[0] * 255, (sample.train[0] * 255).round())


def test_the_images_are_digits_with_their_labels(sample):
    """The nearest class mean decides 82% of MNIST's test images; of mixed-up labels 10%."""

    def decided(labels: torch.Tensor) -> float:
        means = torch.stack([sample.train[labels == k].mean(0) for k in range(10)])
        nearest = torch.cdist(sample.test, means).argmin(1)
        return (nearest == sample.test_labels).double().mean().item()

    assert decided(sample.train_labels) == pytest.approx(0.82, abs=0.03)
    assert decided(sample.train_labels.roll(1)) < 0.2


def test_no_image_is_in_both_parts(sample):
    train = {row.tobytes() for row in sample.train.numpy()}
    assert not train & {row.tobytes() for row in sample.test.numpy()}
    assert len(train) == 10_000


def test_digits_are_selected_and_named_in_the_order_given(sample):
    some = images.mnist(RUN, digits=(7, 0, 2))
    assert some.K == 3
    for k, digit in enumerate((7, 0, 2)):
        assert torch.equal(
            some.train[some.train_labels == k], sample.train[sample.train_labels == digit]
        )
        assert torch.equal(
            some.test[some.test_labels == k], sample.test[sample.test_labels == digit]
        )
    assert len(some.train) == sum(sample.train_labels.eq(d).sum() for d in (7, 0, 2))


@pytest.mark.parametrize("digits", [(), (1, 1), (10,), (-1, 0)])
def test_digits_that_are_none_are_refused(digits):
    with pytest.raises(ValueError, match="expected different digits from 0 to 9"):
        images.mnist(RUN, digits=digits)


@pytest.mark.parametrize("digits", [(0.5, 1), "01", (True, 0)])
def test_digits_that_are_no_integers_are_refused(digits):
    with pytest.raises(ValueError, match=r"^a digit is .*: expected an integer"):
        images.mnist(RUN, digits=digits)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match='source = \'all\': expected "sample" or "full"'):
        images.mnist(RUN, source="all")


def test_the_sample_is_small_and_says_where_it_is_from():
    files = {path.name: path for path in mnist_files.SAMPLE_FOLDER.iterdir() if path.is_file()}
    assert set(files) == {"LICENCE.txt", "_make.py", *(f"{name}.gz" for name in NAMES)}
    assert sum(path.stat().st_size for path in files.values()) <= 2_000_000
    text = files["LICENCE.txt"].read_text()
    assert "CC BY-SA 3.0" in text and "LeCun" in text and "Cortes" in text and "Changes" in text
    for name in NAMES:
        assert files[f"{name}.gz"].read_bytes()[3:8] == bytes(5)  # no file name, no time


def test_the_sample_is_what_its_script_makes(monkeypatch):
    monkeypatch.undo()
    if mnist_files.folder() is None:
        pytest.skip(
            "needs MNIST's official files: set NCBOOK_DATA to a folder that has them, or run "
            "'python -m ncbook data fetch mnist'"
        )
    script = runpy.run_path(str(mnist_files.SAMPLE_FOLDER / "_make.py"))
    made = script["sample"](mnist_files.full())
    shipped = mnist_files.sample()
    for name in NAMES:
        assert np.array_equal(made[name], shipped[name]), name


def test_the_script_chooses_in_proportion_and_evenly():
    chosen = runpy.run_path(str(mnist_files.SAMPLE_FOLDER / "_make.py"))["chosen"]
    labels = np.array([0, 1, 1, 1] * 25)
    positions = chosen(labels, 20)
    assert (np.diff(positions) > 0).all()
    assert np.bincount(labels[positions]).tolist() == [5, 15]
    assert np.bincount(labels[chosen(labels, 11)]).tolist() == [3, 8]  # 2.75 and 8.25
    for digit, apart in ((0, 20), (1, 8)):
        assert np.diff(positions[labels[positions] == digit]).max() <= apart
    assert chosen(labels, 100).tolist() == list(range(100))


SETUP = "import setuptools; setuptools.setup()"


def test_what_ships_is_part_of_an_installed_package(root, tmp_path):
    shutil.copy(root / "pyproject.toml", tmp_path)
    shutil.copytree(
        root / "ncbook", tmp_path / "ncbook", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run(
        [sys.executable, "-c", SETUP, "-q", "build_py", "--build-lib", "out"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    for folder in (mnist_files.SAMPLE_FOLDER, pretrained.FOLDER):
        installed = tmp_path / "out" / "ncbook" / "data" / folder.name
        for path in folder.iterdir():
            if path.is_file():
                assert (installed / path.name).read_bytes() == path.read_bytes()


# --- The full set, at hand ----------------------------------------------------------------------


def put(folder: Path, packed: bool = True, **changed: bytes | None) -> Path:
    """Write the small files, packed or plain, except where ``changed`` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        content = changed.get(name.replace("-", "_"), (PACKED if packed else PLAIN)[name])
        if content is not None:
            (folder / (f"{name}.gz" if packed else name)).write_bytes(content)
    return folder


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", ["NCBOOK_DATA", "cache"])
def test_the_full_set_is_read_from_where_it_is(tmp_path, monkeypatch, packed, place):
    if place == "cache":
        put(mnist_files.cache(), packed)
    else:
        monkeypatch.setenv("NCBOOK_DATA", str(put(tmp_path / "own", packed)))
    data = images.mnist(RUN, digits=(3, 1), source="full")
    labels = SET["train-labels-idx1-ubyte"]
    chosen = np.isin(labels, (3, 1))
    expected = SET["train-images-idx3-ubyte"][chosen].reshape(-1, 30) / 255
    assert torch.equal(data.train, torch.from_numpy(expected))
    assert data.train_labels.tolist() == [(3, 1).index(v) for v in labels[chosen]]
    assert data.shape == (5, 6)


def test_the_named_folder_goes_before_the_cache(tmp_path, monkeypatch):
    put(mnist_files.cache(), t10k_labels_idx1_ubyte=b"bad")
    monkeypatch.setenv("NCBOOK_DATA", str(put(tmp_path / "own")))
    assert len(mnist_files.full()) == 4
    # Control: without it the bad file in the cache is seen.
    monkeypatch.delenv("NCBOOK_DATA")
    with pytest.raises(DataError, match="t10k-labels"):
        mnist_files.full()


@pytest.mark.parametrize(
    ("inside", "rename"),
    [
        ("MNIST/raw", str),
        ("", lambda name: name.replace("-idx", ".idx")),
        ("", str.upper),
        ("", lambda name: f"{name}/inside"),
    ],
)
def test_a_named_folder_without_the_files_is_not_taken_for_unset(
    tmp_path, monkeypatch, inside, rename
):
    """As torchvision lays them out, unpacked with a dot, in capitals, a folder of that name."""
    put(mnist_files.cache())  # which would serve, if it were asked
    for name, content in PLAIN.items():
        file = tmp_path / "own" / inside / rename(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "own"))
    with pytest.raises(DataError, match="which has none of MNIST's files") as refused:
        mnist_files.full()
    for name in (str(tmp_path / "own"), *NAMES, "with .gz or without"):
        assert name in str(refused.value)
    assert "has none of MNIST's files" in catalogue.available()[2]["at hand"]


def test_an_empty_setting_is_none_of_a_folder(monkeypatch, tmp_path):
    put(mnist_files.cache())
    monkeypatch.chdir(put(tmp_path / "own"))
    monkeypatch.setenv("NCBOOK_DATA", "")
    with pytest.raises(DataError, match="NCBOOK_DATA is '', which is no folder"):
        mnist_files.full()


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    place = put(tmp_path / "own")
    monkeypatch.setenv("NCBOOK_DATA", str(place))

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=rf"{NAMES[0]}.* cannot be read \(Permission denied\)"):
        mnist_files.full()


def test_what_is_not_at_hand_says_how_to_get_it(monkeypatch, tmp_path):
    with pytest.raises(DataError, match=r"not at hand.*ncbook data fetch mnist.*NCBOOK_DATA"):
        images.mnist(RUN, source="full")
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere', which is no folder"):
        images.mnist(RUN, source="full")


OTHER = idx.encode(SET["train-images-idx3-ubyte"] // 2)
BAD = [
    (None, "has no train-images-idx3-ubyte"),
    (PACKED["train-images-idx3-ubyte"][:-20], "is truncated"),
    (PACKED["train-images-idx3-ubyte"][:-8] + bytes(8), "is corrupted"),
    (b"<html>Not here</html>", "is no IDX file"),
    (b"", "is no IDX file"),
    (OTHER, "is not the file that it should be: the SHA-256"),
    (PACKED["t10k-images-idx3-ubyte"], "is not the file that it should be: the SHA-256"),
]


@pytest.mark.parametrize(("content", "why"), BAD)
def test_a_bad_file_at_hand_is_named(tmp_path, monkeypatch, content, why):
    place = put(tmp_path / "own", train_images_idx3_ubyte=content)
    monkeypatch.setenv("NCBOOK_DATA", str(place))
    with pytest.raises(DataError, match=f"(?s){place}.*{why}"):
        images.mnist(RUN, source="full")
    assert "no: " in catalogue.available()[2]["at hand"]


# --- Downloads ----------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    made = Server(SERVED)
    monkeypatch.setattr(mnist_files, "MIRRORS", (made.url,))
    monkeypatch.setattr(downloads, "CHUNK", 50)
    yield made
    made.close()


def cached() -> dict[str, bytes]:
    """What a failed or finished download left."""
    place = mnist_files.cache()
    return {p.name: p.read_bytes() for p in place.iterdir() if p.name != ".lock"}


def ranges(server: Server, name: str) -> list[str | None]:
    return [wanted for asked, wanted in server.asked if asked == name]


FIRST = NAMES[0]


def test_a_download_is_verified_cached_and_reported(server):
    seen: dict[str, list] = {}
    place = mnist_files.fetch(lambda name, *bytes_: seen.setdefault(name, []).append(bytes_))
    assert place == mnist_files.cache() and cached() == PLAIN
    assert list(seen) == NAMES
    for name, steps in seen.items():
        done = [d for d, _ in steps]
        assert done == sorted(done) and len(set(done)) > 1
        assert {total for _, total in steps} == {len(PACKED[name])}
        assert done[0] == 0 and done[-1] == len(PACKED[name])
    assert torch.equal(
        images.mnist(RUN, source="full").train_labels,
        torch.from_numpy(SET["train-labels-idx1-ubyte"]).long(),
    )
    # What is there is not asked for again.
    server.asked.clear()
    mnist_files.fetch()
    assert server.asked == []


def test_a_cut_connection_goes_on_where_it_was_cut(server):
    server.behaviour = [("cut", 300), ("cut", 200)]
    mnist_files.fetch()
    assert ranges(server, FIRST) == [None, "bytes=300-", "bytes=500-"]
    assert cached() == PLAIN


def test_a_download_goes_on_after_the_process_has_ended(server):
    server.behaviour = [("cut", 300), ("cut", 100), ("cut", 100)]
    with pytest.raises(DataError, match=r"no connection, or none that lasted.*goes on"):
        mnist_files.fetch()
    (part,) = cached()
    assert part.endswith(PART) and cached()[part] == PACKED[FIRST][:500]
    server.asked.clear()
    mnist_files.fetch()
    assert ranges(server, FIRST) == ["bytes=500-"]
    assert cached() == PLAIN


def test_an_interrupt_leaves_a_part_that_is_gone_on_with(server):
    def stop(name, done, total):
        if done >= 250:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mnist_files.fetch(stop)
    (part,) = cached()
    assert 250 <= len(cached()[part]) < len(PACKED[FIRST])
    have = len(cached()[part])
    server.asked.clear()
    mnist_files.fetch()
    assert ranges(server, FIRST) == [f"bytes={have}-"]
    assert cached() == PLAIN


@pytest.mark.parametrize("second", ["ignore", "shifted"])
def test_a_server_that_does_not_keep_to_the_range_is_borne(server, second):
    server.behaviour = [("cut", 300), second]
    mnist_files.fetch()
    assert ranges(server, FIRST)[1] == "bytes=300-"
    assert cached() == PLAIN


@pytest.mark.parametrize("first", ["hang up", 503, 500, "packed"])
def test_a_passing_trouble_is_borne(server, first):
    server.behaviour = [first]
    mnist_files.fetch()
    assert cached() == PLAIN


def part_of(server: Server, content: bytes) -> None:
    """Leave a part as an earlier download would."""
    server.behaviour = [("cut", 10)] * 3
    with pytest.raises(DataError):
        mnist_files.fetch()
    (name,) = cached()
    (mnist_files.cache() / name).write_bytes(content)
    server.asked.clear()


@pytest.mark.parametrize(
    "content",
    [OTHER[:300], b"\0" * 50, PACKED[FIRST] + b"more", b"\0" * 10**5],
    ids=["of another file", "zeros", "too long", "much too long"],
)
def test_a_part_of_something_else_is_thrown_away(server, content):
    part_of(server, content)
    mnist_files.fetch()
    assert ranges(server, FIRST) == [f"bytes={len(content)}-", None]
    assert cached() == PLAIN


def test_a_part_that_is_whole_needs_no_more(server):
    part_of(server, PACKED[FIRST])
    mnist_files.fetch()
    assert ranges(server, FIRST) == [f"bytes={len(PACKED[FIRST])}-"]
    assert cached() == PLAIN


@pytest.mark.parametrize(("content", "why"), BAD[1:])
def test_a_bad_file_is_never_cached(server, content, why):
    server.behaviour = [content]
    with pytest.raises(DataError, match=f"No mirror gave MNIST's {FIRST}.*{why}"):
        mnist_files.fetch()
    assert cached() == {}
    assert len(server.asked) == 1  # it would be the same again


def test_a_bad_file_in_the_cache_is_replaced(server):
    put(mnist_files.cache(), packed=False, train_images_idx3_ubyte=idx.unpack(OTHER, "other"))
    with pytest.raises(DataError, match=r"not the file that it should be.*data fetch mnist"):
        mnist_files.full()
    mnist_files.fetch()
    assert cached() == PLAIN
    assert [name for name, _ in server.asked] == [FIRST]


def test_a_file_that_is_gone_is_not_asked_for_twice(server):
    server.behaviour = [404]
    with pytest.raises(DataError, match="answered 404 Not Found"):
        mnist_files.fetch()
    assert len(server.asked) == 1


def test_the_next_mirror_takes_over(server, monkeypatch):
    other = Server(SERVED)
    monkeypatch.setattr(mnist_files, "MIRRORS", (other.url, server.url))
    other.behaviour = [("cut", 100)] * 3 + [404, OTHER, "hang up"] + ["hang up"] * 2
    try:
        mnist_files.fetch()
    finally:
        other.close()
    assert cached() == PLAIN  # and no part of the other mirror's is left
    assert server.asked == [(name, None) for name in NAMES]


def test_a_server_that_is_not_there_is_said(server):
    server.close()
    with pytest.raises(DataError, match="no connection, or none that lasted"):
        mnist_files.fetch()
    assert cached() == {}


def test_a_server_that_never_answers_is_given_up(server, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", (1, 0.2))
    silent = threading.Event()
    monkeypatch.setattr(server, "answer", lambda request: silent.wait(5))
    with pytest.raises(DataError, match=r"no answer within 0\.2 seconds"):
        mnist_files.fetch()
    silent.set()


def test_two_downloads_at_once_make_one(server):
    threads = [threading.Thread(target=mnist_files.fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert cached() == PLAIN
    assert sorted(name for name, _ in server.asked) == sorted(NAMES)


# --- The command --------------------------------------------------------------------------------


def command(*arguments: str):
    return CliRunner().invoke(cli.app, ["data", *arguments])


def test_the_command_downloads_and_lists(server):
    listed = command()
    assert listed.exit_code == 0 and "mnist (full)" in listed.output
    assert listed.output.rstrip().endswith("at hand: no")
    done = command("fetch", "mnist")
    assert done.exit_code == 0, done.output
    assert all(f"{name}: done" in done.output for name in NAMES)
    assert done.output.rstrip().endswith(str(mnist_files.cache()))
    assert f"at hand: yes, in {mnist_files.cache()}" in command().output


def test_the_command_says_in_a_sentence_what_went_wrong(server):
    server.behaviour = [404]
    failed = command("fetch", "mnist")
    assert failed.exit_code == 1
    assert "No mirror gave" in failed.output and "Traceback" not in failed.output
    assert "XDG_CACHE_HOME" not in failed.output
    unknown = command("fetch", "imagenet")
    assert unknown.exit_code == 2 and "there is: mnist" in unknown.output


@pytest.mark.parametrize("inside", ["", "more/mnist"])
def test_a_cache_that_cannot_be_written_is_named_with_what_to_set(monkeypatch, tmp_path, inside):
    """A file where a folder would be: even root cannot write there."""
    place = tmp_path / "file" / inside
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(mnist_files, "cache", lambda: place)
    failed = command("fetch", "mnist")
    assert failed.exit_code == 1 and "Traceback" not in failed.output
    words = " ".join(failed.output.split())
    assert "XDG_CACHE_HOME" in words and "NCBOOK_DATA" in words and "cannot be written" in words


# --- The official files -------------------------------------------------------------------------


def test_the_official_files_are_known_by_the_published_hashes(monkeypatch):
    monkeypatch.undo()
    if not os.environ.get("NCBOOK_DATA"):
        pytest.skip("needs MNIST's official files: set NCBOOK_DATA to a folder that has them")
    data = images.mnist(RUN, digits=(0, 1, 2), source="full")
    assert data.train.shape == (18623, 784) and data.test.shape == (3147, 784)
    assert data.train_labels.bincount().tolist() == [5923, 6742, 5958]
