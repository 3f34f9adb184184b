"""The build as it is: real kernels, real Jupyter Book, real kills, on a tiny book."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from processes import runs, wait_for
from scratch_book import Book, kill, obey_permissions, set_writable, snapshot

SLOW = """\
import os, time
from pathlib import Path
here = Path(os.environ["NCBOOK_ROOT"])
(here / f"kernel-{os.getpid()}").touch()
while not (here / "go").exists():
    time.sleep(0.05)
print("finished")
"""


def kernels(book: Book) -> list[int]:
    return [int(p.name.removeprefix("kernel-")) for p in book.root.glob("kernel-*")]


# ---------------------------------------------------------------- a build and what it leaves


def test_a_build_makes_the_site(built_once):
    book, said = built_once
    assert re.search(r"paper/01-one \(quick\): executed 2 cells", said)
    assert f"The book: {book.root}/_build/html/index.html" in said
    assert "\x1b" not in said
    assert (book.site / "book/paper/01-one.html").is_file()
    table = book.root / "book/paper/tables/01-one/numbers.csv"
    assert table.read_text() == "seeds,rate\n5,0.001\n"
    assert not (book.root / "_build/tmp").exists() or not any((book.root / "_build/tmp").iterdir())


def test_an_executed_chapter_is_a_clean_notebook(built_once):
    text = built_once[0].page("01-one").read_text()
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert [cell["id"] for cell in notebook.cells] == [
        "cell-000", "profile", "parameters", "cell-002",
    ]  # fmt: skip
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2]
    assert code[0].metadata.tags == ["parameters", "hide-input"]
    assert code[1].outputs[0].text == "5 0.001 [1.0, 2.5]\n"
    assert "`quick`" in notebook.cells[1].source
    assert "papermill" not in text
    assert str(built_once[0].root) not in text


def test_the_status_page_has_its_facts(built_once):
    text = (built_once[0].root / "book/_generated/status.md").read_text()
    for fact in ("| Processor |", "| Python | 3.", "{doc}`/book/paper/01-one`", "in this build"):
        assert fact in text


def test_a_second_build_does_nothing_and_is_quick(built):
    before = snapshot(built.root / "book")
    site = built.site
    began = time.monotonic()
    said = built.do("build")
    assert time.monotonic() - began < 10
    assert "2 chapters unchanged" in said
    assert "up to date" in said
    assert built.site == site
    assert snapshot(built.root / "book") == before


def test_a_damaged_result_is_executed_again_byte_by_byte(built):
    pages = {name: built.page(name).read_bytes() for name in ("01-one", "02-two")}
    folder = next(f for f in built.stored().values() if "01-one" in (f / "meta.json").read_text())
    with (folder / "notebook.ipynb").open("a") as file:
        file.write(" ")
    site = built.site
    said = built.do("build")
    assert "The stored result of paper/01-one is damaged: notebook.ipynb is not as it was" in said
    assert re.search(r"paper/01-one \(quick\): executed", said)
    assert "1 chapter unchanged" in said
    assert {name: built.page(name).read_bytes() for name in pages} == pages
    assert built.site == site  # the same pages need no new site
    assert "up to date" in said


def test_a_site_that_lost_a_page_is_made_again(built):
    (built.site / "book/paper/01-one.html").unlink()
    # Jupyter Book need not read the pages again, but it writes them all.
    said = built.do("build")
    assert "2 chapters unchanged" in said
    assert (built.site / "book/paper/01-one.html").is_file()
    assert len(list((built.root / "_build/sites").iterdir())) == 2


# ---------------------------------------------------------------- what goes wrong in a chapter


def test_a_chapter_that_raises_stops_the_build(built):
    site, pages = built.site, snapshot(built.site)
    built.chapter("01-one", CODE_THAT_RAISES)
    built.chapter("02-two", "print('the other')")
    said = built.do("build", "--jobs", "2", expect=1)
    assert "paper/01-one, code cell 2: def inner(depth):" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "more frames ..." in said
    assert "\x1b" not in said
    assert "1 chapter could not be executed. 1 chapter executed and stored, 0 chapters not" in said
    assert built.site == site
    assert snapshot(site) == pages
    built.chapter("01-one", "print(1)")
    said = built.do("build", "--chapter", "01-one", "--chapter", "02-two")
    assert "1 chapter unchanged" in said
    assert "02-two (quick)" not in said


CODE_THAT_RAISES = """\
def inner(depth):
    return inner(depth - 1) if depth else 1 / 0

inner(4)
"""


def test_a_kernel_that_dies_is_told(built):
    built.chapter("01-one", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    said = built.do("build", expect=1)
    assert "paper/01-one, code cell 2: import os, signal" in said
    assert "the kernel died" in said


def test_a_claim_that_fails_stops_the_build(built):
    site = built.site
    built.chapter("01-one", CLAIMING)
    claims = built.root / "notebooks/paper/claims.toml"
    claims.write_text(CLAIMS)
    said = built.do("build", "--chapter", "01-one")
    assert "1 claim: 1 holds." in said
    claims.write_text(CLAIMS.replace("expect = 2.0", "expect = 2.5"))
    said = built.do("build", expect=1)
    assert "fails: a.claim (Figure 1" in said
    assert "Measured 2.00, expected 2.5" in said
    assert "The site is as it was." in said
    assert built.site == site
    ledger = json.loads((built.root / "_build/ledger.json").read_text())
    assert ledger["claims"][0]["verdict"] == "fails"
    assert "fails  a.claim" in built.do("claims")
    assert json.loads(built.do("claims", "--json")) == ledger
    # A run by hand says so, too, but has done what was asked.
    said = built.do("run", "01-one", "-p", "seeds=3")
    assert "fails: a.claim" in said


def test_paper_size_results_are_kept_and_shown(built):
    size = CLAIMING.replace("[2.0,", "[2.0 if profile == 'quick' else 2.05,")
    leaves = 'chapter.keep("course", {"seeds": [seeds, 3 * seeds]})\n'
    has = 'print("At paper size:", chapter.kept_table("course"))\n'
    built.chapter("01-one", size + leaves + has)
    claims = built.root / "notebooks/paper/claims.toml"
    claims.write_text(CLAIMS + LATER)
    kept = built.root / "results" / "paper" / "01-one.json"
    assert "there is none: not in a git checkout" in built.do("keep", "01-one", expect=1)
    commit = built.commit()
    said = built.do("keep", "01-one", expect=1)
    assert "no paper-size result of paper/01-one by the code as it is now. Make one: pyth" in said
    assert not kept.exists()
    built.do("build", "--profile", "paper", "--chapter", "01-one")
    (built.root / "notebooks/paper/draft.md").write_text("Mine.")
    said = built.do("keep", "01-one", expect=1)
    assert "a clean commit alone, and notebooks/paper/draft.md differs from" in said
    (built.root / "notebooks/paper/draft.md").unlink()
    assert not kept.exists()
    # A quick run from before has none, and is made anew once there is one.
    built.do("build", "--chapter", "01-one")
    assert "At paper size: None" in built.page("01-one").read_text()
    said = built.do("keep", "01-one")
    assert "holds: a.claim" in said
    assert f"Kept: {kept}" in said
    table = json.loads(kept.read_text())
    assert table["parameters"]["seeds"] == 200
    assert table["commit"] == commit
    assert "notebooks/paper/01-one.md" in table["code"]
    assert table["tables"] == {"course": ["seeds", "200", "600"]}
    assert table["machine"]["cores"].isdigit() and table["versions"] == {}
    # Kept again, it is the same file; and it does not make its own run anew.
    before = kept.read_bytes()
    assert "1 chapter unchanged" in built.do("build", "--profile", "paper", "--chapter", "01-one")
    built.do("keep", "paper/01-one")
    assert kept.read_bytes() == before

    said = built.do("build", "--chapter", "01-one")
    assert "2 claims: 1 holds, 1 planned." in said
    page = built.page("01-one").read_text()
    assert "at paper size, holds: 2.01 (median of 3 values" in page
    assert "stale" not in page
    assert "At paper size: {'seeds': [200.0, 600.0]}" in page

    # What is kept is judged like what is measured, without executing anything.
    record = table["claims"]["a.claim"]
    spoilt = table | {"claims": {"a.claim": record | {"median": 2.5, "max": 2.5}}}
    kept.write_text(json.dumps(spoilt))
    said = built.do("build", "--chapter", "01-one", expect=1)
    assert "executed" not in said.replace("last executed", "")
    assert "fails: a.claim" in said
    assert "In the kept paper-size run: Measured 2.50, expected 2 ± 0.1." in said
    # A file that is not as it must be stops the build before anything runs.
    for spoilt in (before[:-200], before.replace(b'"a.claim"', b'"a.other"')):
        kept.write_bytes(spoilt)
        for command in (["build"], ["build", "--chapter", "01-one"], ["run", "01-one"]):
            said = built.do(*command, expect=1)
            assert f"{kept} holds no kept results of paper/01-one: " in said
            assert "executed" not in said
    # The way to mend it is open, and what stood there is somebody's.
    said = built.do("keep", "01-one")
    assert kept.read_bytes() == before
    assert "It is kept as results/paper/01-one.yours-" in said
    assert built.do("keep", "02-two", expect=1).startswith("Results are kept from a clean commit")
    next(kept.parent.glob("*.yours-*")).unlink()
    assert built.do("keep", "02-two", expect=1).startswith("There is no paper-size result")


def test_kept_results_become_stale_and_are_confirmed(built):
    built.chapter("01-one", CLAIMING)
    (built.root / "notebooks/paper/claims.toml").write_text(CLAIMS)
    built.commit()
    built.do("build", "--profile", "paper", "--chapter", "01-one")
    built.do("keep", "01-one")
    source = built.root / "notebooks/paper/01-one.md"
    # Prose and comments change nothing.
    source.write_text(source.read_text().replace("# The chapter", "# A chapter") + "\nWords.\n")
    built.do("build", "--chapter", "01-one")
    assert "stale" not in built.page("01-one").read_text()
    assert "nothing to confirm" in built.do("confirm", "01-one", "--why", "It is so.", expect=1)
    # Other code does: its results are not made yet, and those that are kept decide nothing.
    source.write_text(source.read_text().replace("[2.0,", "[2.001,"))
    said = built.do("confirm", "01-one", "--why", "It only adds a digit.", expect=1)
    assert "differs from" in said
    built.commit()
    assert "by the code as it is now" in built.do("keep", "01-one", expect=1)
    built.do("build", "--chapter", "01-one")
    page = built.page("01-one").read_text()
    assert "stale, not judged" in page and "changed since: notebooks/paper/01-one.md" in page
    assert "Say in a sentence" in built.do("confirm", "01-one", "--why", "so", expect=1)
    built.do("confirm", "01-one", "--why", "It only adds a digit.")
    assert "1 chapter unchanged" in built.do("build", "--chapter", "01-one")
    page = built.page("01-one").read_text()
    assert "It only adds a digit." in page and "stale" not in page
    # Other values of the paper profile are another run: no reason makes it the same.
    source.write_text(source.read_text().replace("{seeds: 200}", "{seeds: 300}"))
    built.do("build", "--chapter", "01-one")
    page = built.page("01-one").read_text()
    assert "stale, not judged" in page and "changed since: its paper profile" in page
    said = built.do("confirm", "01-one", "--why", "It is the same.", expect=1)
    assert "of other values than its paper profile has now: renew them" in said


def test_a_planned_claim_stops_nothing_until_it_is_measured(built):
    built.chapter("01-one", CLAIMING)
    claims = built.root / "notebooks/paper/claims.toml"
    claims.write_text(CLAIMS + LATER)
    assert "2 claims: 1 holds, 1 planned." in built.do("build", "--chapter", "01-one")
    claims.write_text(CLAIMS + LATER.replace("planned =", "# planned ="))
    assert "not measured: a.later" in built.do("build", "--chapter", "01-one", expect=1)
    claims.write_text(CLAIMS + LATER)
    built.chapter("01-one", CLAIMING + 'chapter.measure("a.later", 3.0)')
    said = built.do("build", "--chapter", "01-one", expect=1)
    assert "registered as planned, and paper/01-one measures it. Remove its field" in said


CLAIMING = """\
from ncbook.claims import Chapter
chapter = Chapter("paper/01-one", profile=profile)
chapter.measure("a.claim", [2.0, 2.01, 1.99])
chapter.show()
"""

CLAIMS = """\
paper = "A paper"
citation = "nobody2025"
part = "Part I"
[[claim]]
id = "a.claim"
place = "Figure 1"
origin = "paper"
kind = "number"
sentence = "It is two."
chapter = "paper/01-one"
statistic = "median"
expect = 2.0
tolerance = {abs = 0.1, reason = "a test"}
"""

LATER = """
[[claim]]
id = "a.later"
place = "Figure 4"
origin = "paper"
kind = "number"
sentence = "It is three."
chapter = "paper/01-one"
statistic = "median"
expect = 3.0
tolerance = {abs = 0.1, reason = "a test"}
planned = "It needs a network."
"""


# ---------------------------------------------------------------- the site


def test_a_warning_stops_the_site_each_time_it_is_built(built):
    site, pages = built.site, snapshot(built.site)
    (built.root / "book/index.md").write_text("# Scratch\n\nSee [this](nowhere-at-all).\n")
    for _ in range(2):  # the second time, a page already read would not be read again
        said = built.do("build", expect=1)
        assert re.search(r"book/index.md:3: WARNING: .*nowhere-at-all", said)
        assert "The site is as it was." in said
        assert built.site == site
    assert snapshot(site) == pages
    assert snapshot(built.root / "_build/html") == pages


# ---------------------------------------------------------------- kills


def test_a_build_killed_while_chapters_run_resumes(empty):
    empty.chapter("01-quick", "print('quick')")
    empty.chapter("02-slow", SLOW)
    empty.contents()
    process = empty.start("build", "--chapter", "01-quick", "--chapter", "02-slow", "--jobs", "2")
    wait_for(lambda: empty.stored() and kernels(empty))
    kill(process)
    wait_for(lambda: not any(map(runs, kernels(empty))), 20)
    stored = snapshot(empty.root / "_build/store")
    assert len(empty.stored()) == 1
    assert not empty.page("01-quick").exists()  # nothing half done in the book
    (empty.root / "go").touch()
    said = empty.do("build", "--chapter", "01-quick", "--chapter", "02-slow")
    assert "1 chapter unchanged" in said
    assert "finished" in empty.page("02-slow").read_text()
    assert stored.items() <= snapshot(empty.root / "_build/store").items()
    assert not any((empty.root / "_build/tmp").iterdir())


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_build_that_is_asked_to_stop_leaves_nothing_running(empty, sent, status):
    empty.chapter("01-slow", SLOW)
    process = empty.start("build", "--chapter", "01-slow")
    wait_for(lambda: kernels(empty))
    process.send_signal(sent)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == status, said
    assert "Stopped. What was finished is kept" in said
    wait_for(lambda: not any(map(runs, kernels(empty))), 10)
    assert empty.stored() == {}


def test_a_build_killed_while_the_site_is_made_resumes(built):
    site, pages = built.site, snapshot(built.site)
    index = built.root / "book/index.md"
    index.write_text("# Scratch\n\nAnother page.\n")
    process = built.start("build")
    log = built.root / "_build" / "work" / "log"
    wait_for(lambda: (log.parent / "dirty").exists() and "reading" in log.read_text())
    kill(process)
    assert built.site == site
    assert snapshot(site) == pages
    said = built.do("build")
    assert "2 chapters unchanged" in said
    assert "Another page." in (built.site / "book/index.html").read_text()
    assert built.site != site


# ---------------------------------------------------------------- folders and locks


@pytest.mark.parametrize("place", ["_build", "book", "book/paper"])
def test_a_file_in_the_place_of_a_folder_is_told(empty, place):
    empty.chapter("01-one", "print(1)")
    empty.contents()
    folder = empty.root / place
    if folder.exists():
        shutil.rmtree(folder)
    folder.write_text("")
    said = empty.do("build", "--chapter", "01-one", expect=1)
    assert f"{folder} must be a folder, and a file is in its place" in said


def test_folders_and_sources_that_cannot_be_written(built):
    """First a _build/ that is read-only, which is an error; then sources that are, which is not."""
    built.chapter("02-two", "print('read only')")
    plain = {"preexec_fn": obey_permissions} if os.geteuid() == 0 else {}
    sources = _all(built.root, "notebooks", "_config.yml", "_toc.yml")
    products = _all(built.root, "_build", "book")
    before = snapshot(built.root / "notebooks")
    try:
        set_writable([*sources, *products, built.root], False)
        probe = ["touch", str(built.root / "_build" / "probe")]
        if subprocess.run(probe, stderr=subprocess.DEVNULL, **plain).returncode == 0:
            pytest.skip("this user can write where permissions say no, and cannot give that up")
        said = built.do("build", expect=1, **plain)
        assert f"The build cannot write in {built.root / '_build'} (Permission denied)" in said
        set_writable([p for p in products if not p.is_relative_to(built.root / "book")], True)
        said = built.do("build", expect=1, **plain)
        assert f"The build cannot write in {built.root / 'book'} (Permission denied)" in said
        set_writable(products, True)
        said = built.do("build", **plain)
        assert "02-two (quick): executed" in said
        assert snapshot(built.root / "notebooks") == before
    finally:
        set_writable([*sources, *products, built.root], True)


def _all(root: Path, *names: str) -> list[Path]:
    """Files and folders of these names, and all that is in them."""
    return [p for name in names for p in [root / name, *(root / name).rglob("*")]]


def test_a_build_never_writes_in_its_sources(built):
    before = snapshot(built.root / "notebooks")
    built.chapter("01-one", "print('new')")
    now = snapshot(built.root / "notebooks")
    assert now != before
    built.do("build", "--chapter", "01-one")
    assert snapshot(built.root / "notebooks") == now
    assert sorted(p.name for p in built.root.iterdir()) == [
        "_build", "_config.yml", "_toc.yml", "book", "notebooks",
    ]  # fmt: skip


def test_a_second_build_waits_for_the_first(empty):
    empty.chapter("01-slow", SLOW)
    first = empty.start("build", "--chapter", "01-slow")
    wait_for(lambda: kernels(empty))
    second = empty.start("build", "--chapter", "01-slow")
    line = second.stdout.readline()
    assert f"Another build of this book runs (process {first.pid}, since" in line
    assert second.poll() is None
    (empty.root / "go").touch()
    for process in (first, second):
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert "1 chapter unchanged" in said
    assert len(kernels(empty)) == 1


# ---------------------------------------------------------------- one chapter by hand


def test_a_run_with_other_parameters_leaves_the_book_alone(built):
    before = snapshot(built.root / "book")
    store = snapshot(built.root / "_build")
    said = built.do("run", "01-one", "-p", "seeds=9", "-p", "sizes=4", expect=2)
    assert "the parameter 'sizes' is a list of float, and 4 is not" in said
    said = built.do("run", "01-one", "-p", "seeds=9", "--profile", "paper", "-p", "sizes=4,5")
    folder = Path(re.search(r"The result: (.+)", said)[1])
    assert folder.parent == built.root / "runs"
    notebook = nbformat.read(folder / "01-one.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].text == "9 0.001 [4.0, 5.0]\n"
    assert "seeds = 9  # runs" in notebook.cells[2].source
    assert (folder / "tables/01-one/numbers.csv").read_text() == "seeds,rate\n9,0.001\n"
    assert json.loads((folder / "run.json").read_text())["parameters"]["profile"] == "paper"
    assert snapshot(built.root / "book") == before
    assert snapshot(built.root / "_build") == store
    assert sorted(p.name for p in (built.root / "runs").iterdir()) == [".gitignore", folder.name]


def test_a_run_that_was_killed_leaves_nothing_for_long(empty):
    empty.chapter("01-slow", SLOW)
    process = empty.start("run", "01-slow")
    wait_for(lambda: kernels(empty))
    kill(process)
    wait_for(lambda: not any(map(runs, kernels(empty))), 20)
    left = [p.name for p in (empty.root / "runs").iterdir() if p.name != ".gitignore"]
    assert [name.endswith(f"-{process.pid}.part") for name in left] == [True]
    (empty.root / "go").touch()
    empty.do("run", "01-slow")
    now = [p.name for p in (empty.root / "runs").iterdir() if p.name != ".gitignore"]
    assert [name.startswith("01-slow-") for name in now] == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "01-one", "-p", "seed=1"], "no parameter 'seed'. Its parameters are: seeds (int"),
        (["run", "01-one", "-p", "seeds=many"], "'seeds' is an int, and 'many' is not"),
        (["run", "01-one", "-p", "seeds"], "'seeds' is not NAME=VALUE"),
        (["run", "01-one", "--profile", "huge"], "no profile 'huge'. Its profiles are: quick, p"),
        (["run", "07-x"], "'07-x' is no chapter. The chapters are: paper/01-one, paper/02-two"),
        (["run", "01-one", "--output", "book/x"], "lies in the book's own book/"),
        (["build", "--profile", "huge"], "no profile 'huge'"),
        (["build", "--chapter", "07-x"], "'07-x' is no chapter"),
        (["build", "--jobs", "0"], "--jobs"),
        (["bild"], "bild"),
    ],
)
def test_bad_usage_is_a_sentence(built_once, arguments, message):
    said = built_once[0].do(*arguments, expect=2)
    assert message in said
    assert "Traceback" not in said


def test_a_folder_that_is_no_earlier_run_is_left_alone(built, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    said = built.do("run", "01-one", "--output", str(folder), expect=2)
    assert "is not empty and no earlier run" in said
    assert (folder / "thesis.tex").read_text() == "precious"


def test_outside_a_book_it_says_so(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NCBOOK_")}
    process = subprocess.run(
        [sys.executable, "-m", "ncbook", "chapters"],
        cwd=tmp_path,
        env=environment | {"NCBOOK_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert "which holds no _config.yml and notebooks/" in process.stderr


# ---------------------------------------------------------------- the other commands


def test_the_list_of_chapters(built_once):
    said = built_once[0].do("chapters")
    assert "paper/01-one: The chapter 01-one" in said
    assert "    seeds = 5 (int)  # runs" in said
    assert "    profile paper: seeds = 200" in said


def test_the_list_of_data_sets(built_once):
    said = built_once[0].do("data")
    assert "digits\n    shape: 1797 images" in said
    assert "    licence:" in said


def test_clean_keeps_results_and_clean_all_does_not(built):
    built.do("clean")
    assert built.site is None
    assert not built.page("01-one").exists()
    assert len(built.stored()) == 2
    said = built.do("build", "--chapter", "01-one")
    assert "1 chapter unchanged" in said
    built.do("clean", "--all")
    assert built.stored() == {}
    assert [p.name for p in (built.root / "_build").iterdir()] == ["lock"]


def test_serve_shows_the_site(built_once):
    import urllib.request

    book = built_once[0]
    process = book.start("serve", "--port", "0")
    try:
        address = re.search(r"http://127.0.0.1:\d+/", process.stdout.readline())[0]
        with urllib.request.urlopen(address + "book/paper/01-one.html") as answer:
            assert b"The chapter 01-one" in answer.read()
            assert answer.headers["Cache-Control"] == "no-cache"
        said = book.do("serve", "--port", address.split(":")[2].strip("/"), expect=1)
        assert "Choose another" in said
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_serve_without_a_site_says_so(empty):
    assert "There is no site yet" in empty.do("serve", expect=1)
