"""CIFAR from archives, folders and strips that the tests make, small; downloads of an archive."""

import hashlib
import io
import json
import runpy
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from misbehaving_server import Server
from PIL import Image
from typer.testing import CliRunner

from ncbook import cli
from ncbook.data import catalogue, cifar, downloads, pretrained
from ncbook.data.idx import DataError
from ncbook.files import PART

SIZES = {"train": 4, "test": 2}  # of each class


def drawn(part: str, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures (n, 3, 32, 32) of some classes, in random order, and their positions."""
    draw = np.random.default_rng([len(classes), part == "test"])
    labels = draw.permutation(np.repeat(np.arange(len(classes)), SIZES[part]))
    return draw.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8), labels


def packed(members: dict[str, bytes], mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def records(name: str) -> dict[str, bytes]:
    """Return the files of an official archive, with few pictures: byte for byte as documented."""
    archive, files = cifar.ARCHIVES[name], {}
    classes = cifar.TEN if name == "cifar10" else cifar.HUNDRED
    superclass = {c: k for k, s in enumerate(cifar.SUPERCLASSES.values()) for c in s}
    for part in SIZES:
        pictures, labels = drawn(part, classes)
        rows = [
            (b"" if name == "cifar10" else bytes([superclass[classes[k]]]))
            + bytes([k])
            + picture.tobytes()
            for picture, k in zip(pictures, labels, strict=True)
        ]
        members = getattr(archive, part)
        for i, member in enumerate(members):
            files[member] = b"".join(rows[i :: len(members)])
    return files


def put_archive(folder: Path, name: str, content: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = ARCHIVED[name] if content is None else content
    (folder / cifar.ARCHIVES[name].file).write_bytes(content)
    return folder


def put_folders(folder: Path, classes: tuple[str, ...], ending: str = "png") -> Path:
    for part in SIZES:
        for i, (picture, k) in enumerate(zip(*drawn(part, classes), strict=True)):
            place = folder / part / classes[k]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.transpose(1, 2, 0)).save(place / f"{i:03}.{ending}")
    return folder


def put_strips(folder: Path, **changes) -> Path:
    """Write the strips of the three superclasses; ``changes`` go to the first class's entry."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in SIZES:
        pictures, labels = drawn(part, FIFTEEN)
        files, entries = {}, []
        for k, name in enumerate(FIFTEEN):
            strip = pictures[labels == k].transpose(0, 2, 3, 1).reshape(-1, 32, 3)
            webp = io.BytesIO()
            Image.fromarray(strip).save(webp, "WEBP", lossless=True, exact=True)
            files[f"{part}/{name}.webp"] = webp.getvalue()
            entry = {
                "fine": name,
                "file": f"{part}/{name}.webp",
                "n": SIZES[part],
                "sha256_pixels": hashlib.sha256(strip.tobytes()).hexdigest(),
            }
            entries.append(entry | (changes if not k else {}))
        files[f"{part}/manifest.json"] = json.dumps({"classes": entries}).encode()
        (folder / cifar.STRIPS[part]).write_bytes(packed(files))
    return folder


FIFTEEN = tuple(sorted(c for s in cifar.THREE for c in cifar.SUPERCLASSES[s]))
PER_CLASS = cifar.PER_CLASS  # the official one
ARCHIVED = {name: packed(records(name), "w:gz") for name in cifar.ARCHIVES}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """No variable of the shell decides; the official sets are the small ones; no waiting."""
    monkeypatch.delenv("NCBOOK_DATA", raising=False)
    monkeypatch.setenv("NCBOOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    archives = {
        name: replace(archive, sha256=hashlib.sha256(ARCHIVED[name]).hexdigest())
        for name, archive in cifar.ARCHIVES.items()
    }
    monkeypatch.setattr(cifar, "ARCHIVES", archives)
    monkeypatch.setattr(cifar, "PER_CLASS", dict.fromkeys(archives, SIZES))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)


@pytest.fixture
def own(monkeypatch, tmp_path) -> Path:
    """The folder that NCBOOK_DATA names."""
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "own"))
    return tmp_path / "own"


def as_labelled(pictures: np.ndarray, labels: np.ndarray, classes) -> list[tuple[str, bytes]]:
    pairs = zip(pictures, labels.tolist(), strict=True)
    return sorted((classes[k], picture.tobytes()) for picture, k in pairs)


# --- The table of classes -----------------------------------------------------------------------


def test_a_hundred_classes_in_twenty_superclasses_of_five():
    assert len(cifar.SUPERCLASSES) == 20 and len(set(cifar.HUNDRED)) == 100
    assert {len(classes) for classes in cifar.SUPERCLASSES.values()} == {5}
    assert list(cifar.SUPERCLASSES) == sorted(cifar.SUPERCLASSES)
    assert cifar.HUNDRED[0] == "apple" and cifar.HUNDRED[-1] == "worm"
    assert cifar.SUPERCLASSES["people"] == ("baby", "boy", "girl", "man", "woman")


# --- Reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("kind", ["archive", "folders", "folders in a folder", "cache"])
def test_each_form_gives_the_same_pictures(name, kind, own, monkeypatch):
    classes = cifar.TEN if name == "cifar10" else cifar.HUNDRED
    if kind == "archive":
        put_archive(own, name)
    elif kind == "cache":
        monkeypatch.delenv("NCBOOK_DATA")
        put_archive(cifar.cache(name), name)
    else:
        put_folders(own / name if "in" in kind else own, classes)
    read = getattr(cifar, name)()
    assert read.classes == classes
    for part in SIZES:
        pictures, labels = getattr(read, part), getattr(read, f"{part}_labels")
        assert pictures.dtype == torch.uint8 and labels.dtype == torch.int64
        expected = as_labelled(*drawn(part, classes), classes)
        assert as_labelled(pictures.numpy(), labels.numpy(), classes) == expected


def test_the_order_is_the_same_from_each_form(own, tmp_path, monkeypatch):
    put_folders(own, cifar.TEN)
    one = cifar.cifar10()
    monkeypatch.setenv("NCBOOK_DATA", str(put_archive(tmp_path / "other", "cifar10")))
    two = cifar.cifar10()
    assert torch.equal(one.train, two.train) and torch.equal(one.train_labels, two.train_labels)
    assert torch.equal(one.balanced(2, 1, 3).test, two.balanced(2, 1, 3).test)
    assert one.digest() == two.digest()


def test_jpeg_files_are_read_with_their_loss(own, monkeypatch):
    """Of one colour each, so that JPEG loses little."""
    noise = drawn

    def plain(part, classes):
        pictures, labels = noise(part, classes)
        return np.broadcast_to(pictures[..., :1, :1], pictures.shape), labels

    monkeypatch.setitem(globals(), "drawn", plain)
    put_folders(own, cifar.TEN, "jpg")
    read = cifar.cifar10()
    for part in SIZES:
        pictures, labels = plain(part, cifar.TEN)
        for k in range(10):
            found = getattr(read, part)[getattr(read, f"{part}_labels") == k].numpy()
            expected = pictures[labels == k].astype(int)
            apart = np.abs(found[:, None] - expected[None]).max((2, 3, 4))
            assert apart.shape == (SIZES[part], SIZES[part])
            assert apart.min(1).max() <= 3 and apart.min(0).max() <= 3


@pytest.mark.parametrize("form", [put_strips, lambda own: put_folders(own, FIFTEEN)])
def test_three_superclasses_are_enough_for_themselves(own, form):
    form(own)
    read = cifar.cifar100(cifar.THREE)
    assert read.classes == FIFTEEN
    for part in SIZES:
        expected = as_labelled(*drawn(part, FIFTEEN), FIFTEEN)
        labels = getattr(read, f"{part}_labels").numpy()
        assert as_labelled(getattr(read, part).numpy(), labels, FIFTEEN) == expected
    three = cifar.three_superclasses()
    assert three.classes == cifar.THREE
    assert three.train_labels.bincount().tolist() == [5 * SIZES["train"]] * 3
    people = as_labelled(three.test.numpy(), three.test_labels.numpy(), three.classes)
    assert [key for name, key in people if name == "people"] == sorted(
        key
        for name, key in as_labelled(*drawn("test", FIFTEEN), FIFTEEN)
        if name in cifar.SUPERCLASSES["people"]
    )
    with pytest.raises(DataError, match=r"apple"):
        cifar.cifar100()


def test_some_superclasses_come_out_of_the_whole(own):
    put_archive(own, "cifar100")
    every, two = cifar.cifar100(), cifar.cifar100(["trees", "fish"])
    assert two.classes == tuple(sorted(cifar.SUPERCLASSES["fish"] + cifar.SUPERCLASSES["trees"]))
    k, own_k = every.classes.index("shark"), two.classes.index("shark")
    assert torch.equal(every.test[every.test_labels == k], two.test[two.test_labels == own_k])
    merged = every.merged(cifar.SUPERCLASSES)
    assert merged.train_labels.bincount().tolist() == [5 * SIZES["train"]] * 20


@pytest.mark.parametrize("names", [[], ["cats"], "people"])
def test_superclasses_that_are_none_are_refused(names):
    with pytest.raises(ValueError, match="expected some of aquatic_mammals"):
        cifar.cifar100(names)


def test_the_script_of_the_features_takes_as_many_of_each_class_in_order(own):
    """On small strips, with the mean of the enlarged picture's channels as its features."""
    put_strips(own)
    script = runpy.run_path(str(pretrained.FOLDER / "_make.py"))
    script["chosen"].__globals__.update(PER_CLASS=3, TEST_PER_CLASS=1)
    chosen = script["chosen"]()
    assert chosen.classes == tuple(c for s in cifar.THREE for c in cifar.SUPERCLASSES[s])
    assert torch.equal(chosen.train_labels, torch.arange(15).repeat_interleave(3))
    assert torch.equal(chosen.test_labels, torch.arange(15))
    known = dict(map(reversed, as_labelled(*drawn("train", FIFTEEN), FIFTEEN)))
    found = [known[picture.tobytes()] for picture in chosen.train.numpy()]
    assert found == [chosen.classes[k] for k in chosen.train_labels.tolist()]

    class Network:
        def extract_features(self, x):
            assert x.shape[1:] == (3, 128, 128) and x.min() >= -127 / 128 and x.max() <= 1
            return x

    features = script["features"](Network(), chosen.train)
    means = (chosen.train.double().mean((2, 3)) - 127) / 128
    assert features.dtype == np.float16 and np.abs(features - means.numpy()).max() < 0.05


# --- What is wrong with files -------------------------------------------------------------------


def test_a_named_folder_without_the_files_is_not_taken_for_unset(own):
    put_archive(cifar.cache("cifar10"), "cifar10")  # which would serve, if it were asked
    put_archive(own, "cifar100")
    with pytest.raises(DataError, match=r"has none of CIFAR-10's files.*or unset it"):
        cifar.cifar10()


def test_the_official_sizes():
    archives = {"cifar10": (cifar.TEN, 50_000), "cifar100": (cifar.HUNDRED, 50_000)}
    for name, (classes, size) in archives.items():
        assert len(classes) * PER_CLASS[name]["train"] == size
        assert len(classes) * PER_CLASS[name]["test"] == 10_000


def test_what_is_not_at_hand_says_how_to_get_it(monkeypatch, tmp_path):
    with pytest.raises(DataError, match=r"CIFAR-10 is not at hand.*data fetch cifar10.*train/"):
        cifar.cifar10()
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"has none of CIFAR-100's files.*cifar-100-binary.tar.gz"):
        cifar.cifar100()
    monkeypatch.setenv("NCBOOK_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere', which is no folder"):
        cifar.cifar10()


@pytest.mark.parametrize("content", [b"", ARCHIVED["cifar10"][:-50], ARCHIVED["cifar100"]])
def test_another_archive_is_refused(own, content):
    put_archive(own, "cifar10", content)
    with pytest.raises(DataError, match=r"cifar-10-binary.* is not the official archive: its SHA"):
        cifar.cifar10()
    listed = {entry["name"]: entry["at hand"] for entry in catalogue.available()}
    assert listed["cifar10"].startswith("no: ") and "not the official" in listed["cifar10"]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({}, "has no file cifar-10-batches-bin/data_batch_1.bin"),
        ({"cifar-10-batches-bin/data_batch_1.bin": b"12345"}, "has 5 bytes: expected records"),
    ],
)
def test_an_archive_of_another_make_is_refused(own, monkeypatch, members, why):
    content = packed(members, "w:gz")
    archive = replace(cifar.ARCHIVES["cifar10"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", archive)
    put_archive(own, "cifar10", content)
    with pytest.raises(DataError, match=why):
        cifar.cifar10()


def no_folder(folder):
    for path in (folder / "test" / "ship").iterdir():
        path.unlink()


def no_picture(folder):
    next((folder / "train" / "cat").iterdir()).write_bytes(b"<html>")


def cut_off(folder):
    path = next((folder / "train" / "cat").iterdir())
    path.write_bytes(path.read_bytes()[:1000])


def too_large(folder):
    Image.new("RGB", (33, 32)).save(folder / "train" / "dog" / "x.png")


def bomb(folder):
    Image.new("RGB", (64, 64)).save(folder / "train" / "dog" / "x.png")


def one_less(folder):
    next((folder / "test" / "dog").iterdir()).unlink()


def one_more(folder):
    Image.new("RGB", (32, 32)).save(folder / "train" / "dog" / "x.png")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_folder, r"ship is no folder with files .png.*expected one of the class 'ship'"),
        (no_picture, "is no picture that Pillow can read"),
        (cut_off, "is no picture that Pillow can read"),
        (too_large, "x.png has 33 x 32 pixels: expected 32 x 32"),
        (bomb, r"x.png is no picture that Pillow can read .*decompression bomb"),
        (
            one_less,
            r"own has 1 of 'dog' in its test part: expected 2 pictures, as in CIFAR-10",
        ),
        (
            one_more,
            r"own has 5 of 'dog' in its train part: expected 4 pictures, as in CIFAR-10",
        ),
    ],
)
def test_folders_that_are_not_right_are_said(own, monkeypatch, spoil, why):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 33 * 32)  # twice as many are an error
    spoil(put_folders(own, cifar.TEN))
    with pytest.raises(DataError, match=why):
        cifar.cifar10()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sha256_pixels": "0" * 64}, "is not what it should be: the SHA-256 of its pixels"),
        ({"n": 3}, "pixels: expected 32 x 96"),
        ({"n": "many"}, "The manifest in .* is not what it should be"),
        ({"file": "elsewhere.webp"}, "has no file elsewhere.webp"),
        ({"fine": "dodo"}, f"has no class '{FIFTEEN[0]}'"),
    ],
)
def test_strips_that_are_not_right_are_said(own, changes, why):
    put_strips(own, **changes)
    with pytest.raises(DataError, match=why):
        cifar.cifar100(cifar.THREE)


def test_strips_of_too_few_pictures_are_said(own, monkeypatch):
    monkeypatch.setitem(cifar.PER_CLASS, "cifar100", PER_CLASS["cifar100"])
    put_strips(own)
    with pytest.raises(DataError, match=f"has 4 of '{FIFTEEN[0]}' in its train part: expected 500"):
        cifar.cifar100(cifar.THREE)


def test_strips_that_are_no_tar_are_said(own):
    (put_strips(own) / cifar.STRIPS["test"]).write_bytes(b"none")
    with pytest.raises(DataError, match=r"superclasses-test\.tar cannot be read as a tar"):
        cifar.cifar100(cifar.THREE)


# --- Downloads ----------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    made = Server({cifar.ARCHIVES[name].file: content for name, content in ARCHIVED.items()})
    monkeypatch.setattr(cifar, "MIRRORS", (made.url,))
    monkeypatch.setattr(downloads, "CHUNK", 1000)
    yield made
    made.close()


def cached(name: str = "cifar10") -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in cifar.cache(name).iterdir() if p.name != ".lock"}


def test_a_download_is_verified_cached_and_reported(server):
    seen = []
    place = cifar.fetch("cifar10", lambda *step: seen.append(step))
    assert cached() == {"cifar-10-binary.tar.gz": ARCHIVED["cifar10"]}
    size = len(ARCHIVED["cifar10"])
    assert seen[0] == ("cifar-10-binary.tar.gz", 0, size) and seen[-1][1:] == (size, size)
    assert cifar.folder("cifar10") == place == cifar.cache("cifar10")
    assert len(cifar.cifar10().train) == 10 * SIZES["train"]
    server.asked.clear()
    cifar.fetch("cifar10")
    assert server.asked == []


def test_a_download_goes_on_where_it_was_cut_off(server):
    server.behaviour = [("cut", 3000), ("cut", 1000), ("cut", 1000)]
    with pytest.raises(DataError, match=r"No mirror gave CIFAR-10's cifar-10-binary.*goes on"):
        cifar.fetch("cifar10")
    (part,) = cached()
    assert part.endswith(PART) and cached()[part] == ARCHIVED["cifar10"][:5000]
    server.asked.clear()
    cifar.fetch("cifar10")
    assert [wanted for _, wanted in server.asked] == ["bytes=5000-"]
    assert cached() == {"cifar-10-binary.tar.gz": ARCHIVED["cifar10"]}


def test_another_file_is_never_cached(server):
    server.behaviour = [ARCHIVED["cifar100"]]
    with pytest.raises(DataError, match="is not the official archive: its SHA-256 is"):
        cifar.fetch("cifar10")
    assert cached() == {} and len(server.asked) == 1


def test_the_command_downloads_and_lists(server):
    run = CliRunner().invoke
    done = run(cli.app, ["data", "fetch", "cifar100"])
    assert done.exit_code == 0, done.output
    assert "cifar-100-binary.tar.gz: done" in done.output
    assert done.output.rstrip().endswith(f"CIFAR-100 is at hand: {cifar.cache('cifar100')}")
    assert f"at hand: yes, in {cifar.cache('cifar100')}" in run(cli.app, ["data"]).output
    hidden = run(cli.app, ["data", "fetch", "cifar100"], env={"NCBOOK_DATA": "elsewhere"})
    assert "not read as long as NCBOOK_DATA is set, to 'elsewhere'" in hidden.output
    unknown = run(cli.app, ["data", "fetch", "imagenet"])
    assert unknown.exit_code == 2 and "there is: mnist, cifar10, cifar100" in unknown.output
