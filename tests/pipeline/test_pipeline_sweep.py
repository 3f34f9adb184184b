"""A chapter over a grid of its parameters: runs of real kernels, here and on a real cluster."""

import importlib.util
from pathlib import Path

import distributed
import nbformat
import pandas as pd
import pytest
from processes import runs, wait_for
from scratch_book import kill

from ncbook.files import UsageError
from ncbook.jobs import worker
from ncbook.pipeline import chapters, sweeping, tasks
from ncbook.pipeline.book import Book

CLAIMS = """\
paper = "A paper"
citation = "nobody2025"
part = "Part I"
[[claim]]
id = "a.seeds"
place = "Figure 1"
origin = "paper"
kind = "number"
sentence = "It is six."
chapter = "paper/01-one"
statistic = "worst"
expect = 6.0
tolerance = {abs = 0.5, reason = "a test"}
control = {what = "one less", expect = 5.0}
"""
CODE = """\
import os
from pathlib import Path
from ncbook.claims.record import Chapter
chapter = Chapter("paper/01-one", profile, {"device": "cpu"})
with (Path(os.environ["NCBOOK_ROOT"]) / "calls").open("a") as file:
    _ = file.write(f"{seeds} {rate:g}\\n")
if seeds == 7 and not (Path(os.environ["NCBOOK_ROOT"]) / "mended").exists():
    raise ValueError("not seven")
chapter.check({"a.seeds": [float(seeds), seeds + 100 * rate]})
chapter.number("size", 2.0 * seeds)
"""
SLOW = """\
import time
(Path(os.environ["NCBOOK_ROOT"]) / f"kernel-{os.getpid()}").touch()
while seeds > 6 and not (Path(os.environ["NCBOOK_ROOT"]) / "go").exists():
    time.sleep(0.05)
"""


@pytest.fixture
def book(empty):
    """A book of one chapter that measures how many seeds it has."""
    empty.chapter("01-one", CODE)
    empty.contents()
    (empty.root / "notebooks" / "paper" / "claims.toml").write_text(CLAIMS)
    return empty


def calls(book) -> list[str]:
    path = book.root / "calls"
    return sorted(path.read_text().splitlines()) if path.exists() else []


def stored(book) -> list[Path]:
    return list((book.root / "_build" / "jobs").glob("[0-9a-f]*"))


def table(folder) -> pd.DataFrame:
    return pd.read_csv(folder / sweeping.TABLE)


def test_a_grid_gives_one_table_and_what_was_run_is_not_run_again(book, tmp_path):
    out = tmp_path / "out"
    grid = ["sweep", "01-one", "-p", "seeds=6,7", "-p", "rate=1e-2,1e-3", "--output", str(out)]
    said = book.do(*grid, expect=1)
    assert "01-one seeds=6 rate=0.01 ..." in said and "(4 of 4)" in said
    assert "2 of 4 jobs failed; the results of the others are stored." in said
    assert "01-one seeds=7 rate=0.001: paper/01-one, code cell 2" in said and "not seven" in said
    assert f"The table of the others: {out}" in said
    assert set(table(out)["seeds"]) == {6}
    (book.root / "mended").touch()
    said = book.do(*grid)  # an earlier result that is as it was is replaced
    assert "2 of 4 jobs are there already." in said
    assert "4 claims were measured: 3 fails, 1 holds" in said
    points = ["6 0.001", "6 0.01", "7 0.001", "7 0.01"]
    assert calls(book) == sorted([*points, "7 0.001", "7 0.01"])
    found = table(out)
    claims = found[found["quantity"] == "claim"].set_index(["seeds", "rate"])
    assert claims.loc[(7, 0.01), "value"] == 8 and claims.loc[(7, 0.01), "verdict"] == "fails"
    one = claims.loc[(6, 0.001)]
    assert [one[name] for name in ("min", "median", "max")] == pytest.approx([6, 6.05, 6.1])
    assert (one["n"], one["low"], one["high"], one["verdict"]) == (2, 5.5, 6.5, "holds")
    numbers = found[found["quantity"] == "number"].set_index(["seeds", "rate"])["value"]
    assert numbers.to_dict() == {(s, r): 2 * s for s in (6, 7) for r in (0.01, 0.001)}
    assert (out / sweeping.FIGURE).read_text().startswith("<svg")
    assert (out / sweeping.PARQUET).exists() == (importlib.util.find_spec("pyarrow") is not None)
    assert not (book.root / "book" / "paper").exists()
    book.do("clean", "--all")
    assert [path.name for path in (book.root / "_build").iterdir()] == ["lock"]


def test_killed_it_loses_no_finished_run_and_leaves_nothing_running(book):
    book.chapter("01-one", CODE + SLOW)
    grid = ("sweep", "01-one", "-p", "seeds=6,8,9", "--jobs", "2")
    process = book.start(*grid)
    wait_for(lambda: len(calls(book)) == 3 and len(stored(book)) == 1)
    kill(process)
    kernels = [int(path.name.removeprefix("kernel-")) for path in book.root.glob("kernel-*")]
    wait_for(lambda: not any(runs(kernel) for kernel in kernels))
    (book.root / "go").touch()
    assert "1 of 3 jobs are there already." in book.do(*grid)
    assert calls(book) == ["6 0.001", "8 0.001", "8 0.001", "9 0.001", "9 0.001"]


def test_a_chapter_runs_jobs_and_shows_nothing_of_it(book):
    book.chapter(
        "01-one",
        """
        from json import loads
        from ncbook.jobs import sweep
        runs = sweep(loads, {"s": ['{"y": 1}', '{"y": 2}', '{"y": 4}']})
        print(dict(runs.sizes), int(runs["y"].sum()))
        """,
    )
    (book.root / "notebooks" / "paper" / "claims.toml").unlink()
    book.do("build", "--chapter", "01-one")
    cells = nbformat.read(book.page("01-one"), 4).cells
    (output,) = [one for cell in cells if cell.cell_type == "code" for one in cell.outputs]
    assert output["text"] == "{'s': 3} 7\n"
    assert len(stored(book)) == 3


@pytest.fixture
def scheduler(book):
    """The address of a cluster whose worker has the book."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None,
        silence_logs="CRITICAL", env={"NCBOOK_ROOT": str(book.root)},
    ) as cluster:  # fmt: skip
        yield cluster.scheduler_address


def test_a_cluster_runs_a_grid_and_a_build(book, scheduler):
    said = book.do("sweep", "01-one", "-p", "seeds=6,7", "--scheduler", scheduler, expect=1)
    assert "1 of 2 jobs failed" in said and "01-one seeds=7: paper/01-one, code cell 2" in said
    assert calls(book) == ["6 0.001", "7 0.001"]
    (folder,) = (book.root / "runs").glob("01-one-sweep-*")
    assert set(table(folder)["seeds"]) == {6}
    source = book.root / "notebooks" / "paper" / "01-one.md"
    source.write_text(source.read_text().replace("seeds = 5 ", "seeds = 6 "))
    said = book.do("build", "--chapter", "01-one", "--scheduler", scheduler)
    assert "paper/01-one (quick): done (1 of 1)" in said and book.page("01-one").exists()
    assert calls(book) == ["6 0.001", "6 0.001", "7 0.001"]
    # Of one kind of machine, it is no matter where: the build has it from here, too.
    assert "1 chapter unchanged" in book.do("build", "--chapter", "01-one")


def test_a_chapter_of_another_version_is_refused_where_it_is_to_run(book, tmp_path, monkeypatch):
    monkeypatch.setenv("NCBOOK_ROOT", str(book.root))
    own = Book(book.root)
    chapter = own.find("01-one")
    order = tasks.order(own.keys(), chapter, chapter.values(), tmp_path / "store", "one")
    order["parts"]["cells"][1][0] = "0" * 64
    event = worker.perform(order)
    assert event["event"] == "error"
    assert "not the same where it is to run (cells)" in event["said"]
    event = worker.perform(order | {"chapter": "paper/07-x"})
    assert "The chapter is not where the job is to run: 'paper/07-x' is no chapter" in event["said"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "seed=1,2"], "no parameter 'seed'. Its parameters are: seeds (int"),
        (["-p", "seeds=1,many"], "'seeds' is an int, and 'many' is not"),
        (["-p", "seeds"], "'seeds' is not NAME=VALUE, such as -p seeds=10,20"),
        (["-p", "seeds=1,1"], "names a value twice"),
        ([], "A sweep needs parameters with several values"),
        (["-p", "seeds=1", "--output", "book/x"], "lies in the book's own book/"),
    ],
)
def test_bad_usage_is_a_sentence(built_once, arguments, message):
    assert message in built_once[0].do("sweep", "01-one", *arguments, expect=2)


def test_lists_are_values_of_a_grid_too(built_once):
    chapter = chapters.read(built_once[0].root / "notebooks" / "paper" / "01-one.md")
    points = sweeping.grid(chapter, {"sizes": "[1.0,2.5], [3.0]", "seeds": "1"})
    assert points == [{"sizes": [1.0, 2.5], "seeds": 1}, {"sizes": [3.0], "seeds": 1}]
    with pytest.raises(UsageError):
        sweeping.grid(chapter, {})
