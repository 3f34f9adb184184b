"""Nobody's file is touched: the build replaces and removes what it wrote, and nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from processes import wait_for
from scratch_book import snapshot
from test_pipeline_runs import SLOW

from ncbook.pipeline import owned as module
from ncbook.pipeline.owned import Owned
from ncbook.progress import Progress


class Said(Progress):
    """Remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def warn(self, text):
        self.lines.append(text)


@pytest.fixture
def owned(tmp_path):
    (tmp_path / "_build").mkdir()
    return Owned(tmp_path, Said())


def contents(folder: Path) -> list[str]:
    """What the files in a folder say, wherever they stand; the build's own list excepted."""
    return sorted(
        p.read_text() for p in folder.rglob("*") if p.is_file() and p.name != "owned.json"
    )


# ---------------------------------------------------------------- files


def test_what_is_written_is_own_and_can_be_replaced_and_removed(owned, tmp_path):
    path = tmp_path / "book" / "a.txt"
    for text in ("one", "two", "two"):
        owned.write({path: text})
        assert path.read_text() == text
        assert owned.is_own(path)
    again = Owned(tmp_path, Said())
    assert again.is_own(path)
    again.remove([path])
    assert not path.parent.exists()
    assert not (tmp_path / "_build/owned.json").exists()
    assert again.say.lines == []


@pytest.mark.parametrize("kind", ["edited", "never ours", "a folder", "a link"])
def test_what_is_in_the_way_is_set_aside_and_told(owned, tmp_path, kind):
    path = tmp_path / "book" / "a.ipynb"
    owned.write({path: "one"})
    if kind == "edited":
        path.write_text("mine")
    else:
        path.unlink()
        if kind == "never ours":
            owned = Owned(tmp_path, Said())
            owned.remove([path])
            path.write_text("mine")
        elif kind == "a folder":
            path.mkdir()
            (path / "b").write_text("mine")
        else:
            (tmp_path / "elsewhere").write_text("mine")
            path.symlink_to(tmp_path / "elsewhere")
    owned.write({path: "two"})
    assert path.read_text() == "two" and not path.is_symlink()
    assert "mine" in contents(tmp_path)
    [line] = owned.say.lines
    aside = next(p for p in path.parent.iterdir() if p != path)
    assert aside.name.startswith("a.yours-") and aside.suffix == ".ipynb"
    assert line == f"book/a.ipynb is not as the build wrote it. It is kept as book/{aside.name}."


def test_two_of_one_name_are_both_set_aside(owned, tmp_path):
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        path.write_text(text)
        owned.write({path: "ours"})
    assert contents(tmp_path) == ["first", "ours", "second"]


def test_a_file_that_says_the_same_becomes_own(owned, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    before = path.stat().st_mtime_ns
    owned.write({path: "one"})
    assert path.stat().st_mtime_ns == before
    assert owned.is_own(path) and owned.say.lines == []


def test_an_edited_file_is_not_removed(owned, tmp_path):
    one, two = tmp_path / "x" / "one", tmp_path / "x" / "two"
    owned.write({one: "1", two: "2"})
    two.write_text("mine")
    owned.remove(owned.below(tmp_path / "x"))
    assert contents(tmp_path / "x") == ["mine"]
    assert owned.say.lines == ["Left alone, since edited: x/two."]
    owned.remove([two])  # it is no longer the build's
    assert two.exists()


def test_a_build_that_was_killed_while_it_wrote_knows_its_own(owned, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    owned.write({path: "one"})
    write = module.write_atomic

    def killed(target, content):
        if target == path:
            raise KeyboardInterrupt
        return write(target, content)

    monkeypatch.setattr(module, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        owned.write({path: "two"})
    monkeypatch.undo()
    known = (tmp_path / "_build/owned.json").read_text()
    for text in ("one", "two"):  # before the file was replaced, or after
        (tmp_path / "_build/owned.json").write_text(known)
        path.write_text(text)
        again = Owned(tmp_path, Said())
        assert again.is_own(path)
        again.write({path: "three"})
        assert again.say.lines == [] and contents(tmp_path) == ["three"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 3, "folders": []}'])
def test_a_list_that_is_damaged_owns_nothing(owned, tmp_path, damage):
    path = tmp_path / "a.txt"
    owned.write({path: "one"})
    (tmp_path / "_build/owned.json").write_text(damage)
    again = Owned(tmp_path, Said())
    assert not again.is_own(path)
    again.write({path: "two"})
    assert contents(tmp_path) == ["one", "two"]


# ---------------------------------------------------------------- folders


def test_a_folder_to_work_in_is_the_builds_as_a_whole(owned, tmp_path):
    folder = tmp_path / "_build" / "work"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "mine.html").write_text("mine")
    owned.take(folder)
    assert contents(folder) == []
    (folder / "ours.html").write_text("ours")
    again = Owned(tmp_path, Said())
    again.drop(folder)
    assert not folder.exists()
    assert contents(tmp_path) == ["mine"]


def test_an_adopted_folder_is_known_by_its_files(owned, tmp_path):
    folder, site = owned.take(tmp_path / "_build/tmp/new"), tmp_path / "_build/sites/new"
    (folder / "a.html").write_text("ours")
    (folder / "b.html").write_text("ours, too")
    owned.adopt(folder, becomes=site)
    site.parent.mkdir()
    shutil.move(folder, site)
    (site / "c.html").write_text("mine")
    (site / "b.html").write_text("ours, edited")
    again = Owned(tmp_path, Said())
    again.drop(site)
    assert contents(tmp_path) == ["mine", "ours, edited"]
    assert again.say.lines == ["Left alone, since edited: _build/sites/new/b.html."]


def test_only_half_written_files_of_its_own_are_removed(owned, tmp_path):
    owned.write({tmp_path / "book/a.ipynb": "one"})
    ours = tmp_path / "book/.a.ipynb.77-1.part"
    mine = [tmp_path / "book" / name for name in (".b.ipynb.7.part", "a.part", ".part", ".a.part")]
    for path in (ours, *mine):
        path.write_text("half")
    owned.clean_up()
    assert not ours.exists()
    assert all(path.exists() for path in mine)


# ---------------------------------------------------------------- the whole build


def settle_in(root: Path) -> set[str]:
    """Put a reader's notebook, table, folder and hidden file wherever the build writes."""
    texts = set()
    places = [root / "runs", root / "results" / "paper", root / "book" / "mywork"]
    for name in ("book", "_build", "runs", "results"):
        places += [p for p in (root / name).rglob("*") if p.is_dir() and not p.is_symlink()]
        places.append(root / name)
    for place in sorted({*places}):
        for name in ("01-one-mine.ipynb", "tables/07-notes/data.csv", ".notes.ipynb.part"):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"mine: {len(texts)}")
            texts.add(path.read_text())
    return texts


def test_nothing_of_a_reader_is_lost(built):
    built.do("run", "01-one", "-p", "seeds=3")
    mine = settle_in(built.root)

    def lost():
        return mine - set(texts(built.root))

    (built.root / "notebooks/paper/02-two.md").unlink()
    built.contents()
    for arguments in (
        ["build"],
        ["build", "--chapter", "01-one"],
        ["run", "01-one", "-p", "seeds=3"],
        ["clean"],
        ["build"],
        ["clean", "--all"],
        ["build"],
    ):
        said = built.do(*arguments)
        assert lost() == set(), (arguments, said)
        assert not built.page("02-two").exists()
        if built.site:
            # The site has the book's pages alone.
            assert not list((built.site / "book").rglob("*mine*"))


def texts(root: Path):
    for path in root.rglob("*"):
        if path.is_file() and path.stat().st_size < 100:
            yield path.read_bytes().decode(errors="replace")


def test_an_edited_notebook_is_kept_and_told(built):
    page = built.page("01-one")
    fresh = page.read_text()
    table = json.loads(fresh)
    table["cells"].append({"cell_type": "markdown", "id": "x", "metadata": {}, "source": "Mine."})
    page.write_text(json.dumps(table))
    said = built.do("build", "--chapter", "01-one")
    assert page.read_text() == fresh
    [aside] = page.parent.glob("01-one.yours-*.ipynb")
    assert json.loads(aside.read_text()) == table
    assert f"It is kept as book/paper/{aside.name}." in said
    said = built.do("clean")
    assert aside.exists() and not page.exists()


def test_an_edited_run_is_kept_and_told(built):
    built.do("run", "01-one", "-p", "seeds=3")
    [folder] = (p for p in (built.root / "runs").iterdir() if p.is_dir())
    notebook = folder / "01-one.ipynb"
    built.do("run", "01-one", "-p", "seeds=3")
    assert [p for p in (built.root / "runs").iterdir() if p.is_dir()] == [folder]
    notebook.write_text("mine")
    (folder / "notes.md").write_text("mine, too")
    said = built.do("run", "01-one", "-p", "seeds=3")
    assert f"{folder} is not as its run left it, and stays." in said
    assert f"The result: {folder}-2" in said
    assert (notebook.read_text(), (folder / "notes.md").read_text()) == ("mine", "mine, too")
    said = built.do("run", "01-one", "--output", str(folder), expect=2)
    assert "Choose another --output" in said
    assert notebook.read_text() == "mine"


def test_what_comes_into_a_runs_folder_while_it_runs_is_kept(empty):
    empty.chapter("01-slow", SLOW)
    (empty.root / "go").touch()
    empty.do("run", "01-slow")
    [folder] = (p for p in (empty.root / "runs").iterdir() if p.is_dir())
    (empty.root / "go").unlink()
    for mark in empty.root.glob("kernel-*"):
        mark.unlink()
    process = empty.start("run", "01-slow")
    wait_for(lambda: [*empty.root.glob("kernel-*")])
    (folder / "notes.md").write_text("mine")
    (empty.root / "go").touch()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"They are kept in {folder}-yours." in said
    assert (folder.with_name(f"{folder.name}-yours") / "notes.md").read_text() == "mine"
    assert "finished" in (folder / "01-slow.ipynb").read_text()


def test_a_run_that_fails_leaves_the_one_before(built, tmp_path):
    out = tmp_path / "out"
    built.do("run", "01-one", "-p", "seeds=3", "--output", str(out))
    good = snapshot(out)
    built.chapter("01-one", "print('so far')\nraise ValueError")
    said = built.do("run", "01-one", "-p", "seeds=3", "--output", str(out), expect=1)
    assert snapshot(out) == good
    assert f"As far as it came: {out}-failed/01-one.ipynb" in said


@pytest.mark.parametrize("place", ["book/paper/tables", "_build/sites", "_build/failed"])
def test_a_file_where_a_folder_is_due_is_a_sentence(built, place):
    built.do("clean")
    (built.root / place).parent.mkdir(exist_ok=True)
    (built.root / place).write_text("mine")
    built.chapter("01-one", "raise ValueError" if "failed" in place else "print(1)")
    said = built.do("build", expect=1)
    assert (built.root / place).read_text() == "mine"
    assert "rename what stands in the place" in said or "mine" not in said
