"""The store: whole results or none, and damage is found."""

import json
import os

import pytest

from ncbook.store import META, NOTEBOOK, RETAINED, DamagedError, Store

KEY = "ab" * 32


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def put(store, tmp_path, key=KEY, **meta):
    folder = tmp_path / "filled"
    (folder / "tables" / "01-one").mkdir(parents=True)
    (folder / NOTEBOOK).write_text("{}")
    (folder / "tables" / "01-one" / "t.csv").write_text("a,b\n1,2\n")
    known = {"chapter": "p/01-one", "profile": "quick", "seconds": 1.5, "made": "2025"}
    return store.put(key, folder, known | meta)


def test_a_result_comes_back_as_it_was(store, tmp_path):
    put(store, tmp_path)
    result = store.get(KEY)
    assert result.key == KEY
    assert result.seconds == 1.5
    assert result.notebook.read_text() == "{}"
    assert list(result.files("tables")) == ["01-one/t.csv"]
    assert not (tmp_path / "filled").exists()


def test_what_was_never_stored_is_not_there(store):
    assert store.get(KEY) is None
    assert store.seconds() == {}
    store.tidy()


def cut(folder):
    path = folder / "tables" / "01-one" / "t.csv"
    path.write_text(path.read_text()[:-2])


def edit_meta(folder):
    path = folder / META
    path.write_text(path.read_text().replace("1.5", "2.5"))


def other_key(folder):
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps(meta | {"key": "cd" * 32}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / NOTEBOOK).unlink(), "notebook.ipynb is missing"),
        (lambda f: (f / NOTEBOOK).write_text("{ }"), "notebook.ipynb is not as it was stored"),
        (cut, "t.csv is not as it was stored"),
        (lambda f: (f / "strange").write_text(""), "strange does not belong to it"),
        (lambda f: (f / META).unlink(), "meta.json cannot be read"),
        (lambda f: (f / META).write_text("{"), "meta.json cannot be read"),
        (lambda f: (f / META).write_text("[1]"), "meta.json cannot be read"),
        (edit_meta, "meta.json is not as it was stored"),
        (other_key, "meta.json is not as it was stored"),
    ],
)
def test_damage_is_found(store, tmp_path, damage, message):
    result = put(store, tmp_path)
    damage(result.folder)
    with pytest.raises(DamagedError, match=message):
        store.get(KEY)
    store.seconds()  # what cannot be read is passed over here
    store.tidy()
    store.remove(KEY)
    assert store.get(KEY) is None


def test_a_result_in_another_place_is_damaged(store, tmp_path):
    result = put(store, tmp_path)
    os.replace(result.folder, result.folder.with_name("cd" * 32))
    with pytest.raises(DamagedError, match="belongs to another result"):
        store.get("cd" * 32)


def test_what_a_kill_left_is_removed(store, tmp_path):
    put(store, tmp_path)
    left = store.folder / ".going-x-1"
    left.mkdir()
    store.tidy()
    assert not left.exists()
    assert store.get(KEY)


def test_only_the_latest_results_of_a_chapter_are_kept(store, tmp_path):
    for number in range(RETAINED + 3):
        result = put(store, tmp_path, key=f"{number:064x}")
        os.utime(result.folder, (number, number))
    put(store, tmp_path, key="f" * 64, chapter="p/02-two")
    store.tidy()
    there = {p.name for p in store.folder.iterdir()}
    assert there == {f"{n:064x}" for n in range(3, RETAINED + 3)} | {"f" * 64}


def test_the_seconds_are_of_the_last_execution(store, tmp_path):
    put(store, tmp_path, key="1" * 64, made="2025-01-02", seconds=7)
    put(store, tmp_path, key="2" * 64, made="2025-01-01", seconds=9)
    assert store.seconds() == {("p/01-one", "quick"): 7}
