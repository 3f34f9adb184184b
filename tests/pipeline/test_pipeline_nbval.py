"""What nbval compares of an executed chapter, what it leaves aside, which chapters it runs."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import nbval_chapters
import pytest

from ncbook.pipeline.book import Book
from ncbook.store import Store

SETTINGS = Path(__file__).resolve().parents[1] / "nbval-sanitize.cfg"

PAGE = """\
from IPython.display import HTML
HTML('''<div><svg viewBox="0 0 {size} 1">
<path d="M 0 0
L 1 {size}"/>
</svg><script>Scene.draw("a", [{size}])
</script><img src="data:image/png;base64,{code}"/>
<table><tr><td>{number}</td></tr></table></div>''')
"""


def notebook(path: Path, shown: dict, stored: dict) -> Path:
    """A notebook whose cell shows one thing, and in which another thing is stored."""
    cell = nbformat.v4.new_code_cell(PAGE.format(**shown), execution_count=1)
    html = PAGE.format(**stored).partition("'''")[2].rpartition("'''")[0]
    data = {"text/html": html, "text/plain": "<IPython.core.display.HTML object>"}
    cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def test_numbers_are_compared_and_drawings_are_not(tmp_path):
    shown = {"size": 1, "code": "A" * 400, "number": "3.14"}
    notebook(tmp_path / "other-drawing.ipynb", shown, shown | {"size": 2, "code": "B" * 400})
    notebook(tmp_path / "other-number.ipynb", shown, shown | {"number": "3.15"})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env",
         "--nbval-sanitize-with", str(SETTINGS), "-rA", "-p", "no:cacheprovider",
         "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "PASSED other-drawing.ipynb::Cell 0" in done.stdout
    assert "FAILED other-number.ipynb::Cell 0" in done.stdout


# --- Which chapters it runs -----------------------------------------------------------------------


@pytest.fixture
def plugin(built, monkeypatch):
    """Make the plugin for a book of two chapters, of which the second takes long."""
    monkeypatch.setattr(nbval_chapters, "SHORT", 0)
    monkeypatch.setattr(Store, "seconds", lambda store: {("paper/02-two", "quick"): 60.0})
    return functools.partial(nbval_chapters.Chapters, built.root)


def chosen(plugin: nbval_chapters.Chapters) -> list[str]:
    notebooks = [*sorted((plugin.root / "book" / "paper").glob("*.ipynb"))]
    left = [plugin.pytest_ignore_collect(path) for path in notebooks]
    return [path.stem for path, out in zip(notebooks, left, strict=True) if not out]


def report(plugin: nbval_chapters.Chapters, name: str, *passed: bool) -> None:
    for number, one in enumerate(passed):
        where = f"book/paper/{name}.ipynb", None, f"Cell {number}"
        one = SimpleNamespace(location=where, passed=one, user_properties=[])
        plugin.pytest_runtest_logreport(one)


def finish(plugin: nbval_chapters.Chapters, exitstatus=0, stopped=False, **config) -> None:
    session = SimpleNamespace(
        config=SimpleNamespace(**config), shouldfail=False, shouldstop=stopped
    )
    plugin.pytest_sessionfinish(session, exitstatus)


def test_a_long_chapter_that_is_known_to_repeat_is_passed_over(plugin, built):
    (built.root / "book" / "paper" / "a-readers-own.ipynb").write_text("{}")
    assert chosen(plugin(renew=True)) == chosen(plugin(renew=False)) == ["01-one", "02-two"]
    renewing = plugin(renew=True)
    for name in ("01-one", "02-two"):
        report(renewing, name, True, True)
    finish(renewing)
    assert chosen(plugin(renew=True)) == []
    assert chosen(plugin(renew=False)) == ["01-one"]  # the short one
    built.chapter("02-two", "print(seeds + 1)")
    assert chosen(plugin(renew=True)) == ["02-two"]
    assert chosen(plugin(renew=False)) == ["01-one", "02-two"]


def test_only_what_gave_the_same_outputs_is_noted(plugin, built):
    file = built.root / nbval_chapters.FILE
    renewing = plugin(renew=True)
    report(renewing, "01-one", True, False, True)
    report(renewing, "02-two", True, True)
    finish(renewing, workerinput={})  # a process that has some of the reports alone
    finish(renewing, exitstatus=pytest.ExitCode.INTERRUPTED)  # cells of a chapter may be missing
    finish(renewing, stopped="stopping after 1 failures")
    assert not file.exists()
    finish(renewing)
    assert json.loads(file.read_text()) == {"paper/02-two": renewing.keys["paper/02-two"]}
    testing = plugin(renew=False)
    report(testing, "01-one", True)
    finish(testing)
    assert list(json.loads(file.read_text())) == ["paper/02-two"]


def test_what_is_noted_is_a_key_of_a_chapter_that_there_is(root):
    book = Book(root)
    noted = json.loads((root / nbval_chapters.FILE).read_text(encoding="utf-8"))
    chapters = {chapter.id for chapter in book.chapters}
    files = {name.partition("::")[0] for name in noted if "::" in name}
    assert {name for name in noted if "::" not in name} <= chapters
    assert all(any(one in name for one in chapters) for name in noted)
    assert files == set(repeated(root))
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in noted.values())


def repeated(root: Path) -> list[str]:
    """The files with tests that need not run each time, as the Makefile names them."""
    make = (root / "Makefile").read_text(encoding="utf-8")
    return re.search(r"^REPEATED = (.*)$", make, re.M)[1].split()


CASES = """\
import pytest

def test_other():
    pass

@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.repeats(name, {{"seeds": {seeds}}}, *{files}))
    for name in ("paper/01-one", "paper/02-two")
])
def test_a_chapter(name):
    assert name != "paper/02-two"
"""


class Report:
    """Give pytest the plugin, and remember what it ran."""

    def __init__(self, plugin):
        self.plugin, self.ran = plugin, []

    def pytest_configure(self, config):
        config.addinivalue_line("markers", "repeats: as in pyproject.toml")
        config.pluginmanager.register(self.plugin)

    def pytest_runtest_call(self, item):
        self.ran.append(item.name)


def test_a_test_that_is_known_to_pass_is_passed_over(plugin, built, tmp_path):
    helper, cases = tmp_path / "helper.py", tmp_path / "test_cases.py"

    def ran(renew: bool, seeds=1, helps="") -> list[str]:
        helper.write_text(helps)
        cases.write_text(
            CASES.format(seeds=seeds, files=f"[__import__('pathlib').Path({str(helper)!r})]")
        )
        one = Report(plugin(renew=renew))
        pytest.main(
            [str(cases), "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={tmp_path}"],
            [one],
        )
        return one.ran

    both = ["test_a_chapter[paper/01-one]", "test_a_chapter[paper/02-two]"]
    assert ran(False) == ["test_other", *both]
    assert ran(True) == both  # and not what has no mark
    assert ran(True) == both[1:] and ran(False) == [
        "test_other",
        *both[1:],
    ]  # what failed is not noted
    assert ran(False, seeds=2) == ran(False, helps="x = 1") == ["test_other", *both]
    built.chapter("01-one", "print(seeds + 1)")
    assert ran(False) == ["test_other", *both]


def test_make_repeat_runs_the_notebooks_with_the_plugin(root, tmp_path):
    """The command as it stands in the Makefile, on a project with a notebook of one cell."""
    make = (root / "Makefile").read_text(encoding="utf-8")
    command = re.search(
        r"NCBOOK_REPEAT=1 \$\(PY\) -m pytest \$\(REPEATED\) (.*) \$\(NBVAL\)", make
    )[1]
    command = f"{' '.join(repeated(root))} {command}"
    for name in repeated(root):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "tests" / "conftest.py").write_text(
        "def pytest_configure(config):\n    print('the settings are there')\n"
    )
    (tmp_path / "book").mkdir()
    notebook(tmp_path / "book" / "one.ipynb", *[{"size": 1, "code": "A", "number": "1"}] * 2)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command.split(), "--nbval", "--nbval-current-env",
         "--nbval-sanitize-with", str(SETTINGS), "-s", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "the settings are there" in done.stdout and "1 passed" in done.stdout
