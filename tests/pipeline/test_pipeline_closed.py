"""A run is closed: nothing of the person who builds reaches it, and it writes its output alone."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scratch_book import obey_permissions, set_writable, snapshot

from ncbook import files, lifeline, machine
from ncbook.pipeline import workers

DRAWS = """\
import os, locale, time
import matplotlib.pyplot as plt
import pandas as pd
import torch
from ncbook.figures import figure
from matplotlib.figure import Figure
fig, ax = plt.subplots()
_ = ax.plot([0, 1], [0, 1], label="a line")
plt.show()
names = sorted(n for n in os.environ if not n.startswith("JPY_"))
print([n for n in names if n not in ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "NCBOOK_DATA")])
print(locale.getlocale(), time.tzname, torch.get_num_threads(), __debug__)
pd.DataFrame([range(30)])
"""
SETTINGS = """\
axes.xmargin: 0.4
lines.linewidth: 9
font.size: 30
figure.figsize: 3, 3
"""
SPOILS = "import builtins\nbuiltins.print = lambda *a, **k: None\n"


def hostile(folder: Path) -> dict[str, str]:
    """The environment of somebody with settings of their own, everywhere that is looked at."""
    home = folder / "home"
    for path, text in {
        home / ".config/matplotlib/matplotlibrc": SETTINGS,
        home / ".matplotlib/matplotlibrc": SETTINGS,
        home / ".ipython/profile_default/startup/00-mine.py": SPOILS,
        home / ".ipython/profile_default/ipython_kernel_config.py":
            'c.InteractiveShellApp.exec_lines = ["1 / 0"]\n',
        home / ".jupyter/jupyter_config.py": "1 / 0\n",
        home / ".local/lib/python3/site-packages/usercustomize.py": SPOILS,
        folder / "startup.py": SPOILS,
        folder / "path/sitecustomize.py": "import os\nos.environ['SPOILT'] = '1'\n",
        folder / "path/torch.py": "1 / 0\n",
    }.items():  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "MATPLOTLIBRC": str(home / ".matplotlib"),
        "MPLCONFIGDIR": str(home / ".matplotlib"),
        "MPLBACKEND": "svg",
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "PYTHONPATH": str(folder / "path"),
        "PYTHONWARNINGS": "error",
        "PYTHONOPTIMIZE": "1",
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "7",
        "LC_ALL": "C",
        "LANG": "tr_TR.UTF-8",
        "TZ": "Asia/Kathmandu",
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
    }


def test_two_people_with_different_settings_get_the_same_bytes(empty, tmp_path):
    empty.chapter("01-draws", DRAWS)
    other = empty.copy(tmp_path / "other")
    empty.do("build", "--chapter", "01-draws")
    (other.root / "matplotlibrc").write_text(SETTINGS)
    theirs = hostile(tmp_path)
    said = other.do("build", "--chapter", "01-draws", variables=theirs)
    assert "executed 2 cells" in said
    page = empty.page("01-draws").read_text()
    assert page == other.page("01-draws").read_text()
    assert "image/png" in page and "PYTHONSTARTUP" not in page and "True" in page
    # The same key, too: what differs between them is no part of it.
    assert empty.stored().keys() == other.stored().keys()


@pytest.fixture
def asked_anew():
    """Let it be found out anew whether the package is installed, now and afterwards."""
    workers.is_installed.cache_clear()
    yield
    workers.is_installed.cache_clear()


def test_what_lies_beside_the_package_cannot_be_imported(tmp_path, monkeypatch, root, asked_anew):
    asked = "import sys, ncbook; print(*sys.path, ncbook.__file__, sep='\\n')"

    def said() -> list[str]:
        env = workers.environment(tmp_path, tmp_path, "", tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", asked], env=env, capture_output=True, text=True, cwd=tmp_path
        )
        return done.stdout.split("\n")

    if not workers.is_installed():
        pytest.skip("the package is not installed in this environment")
    assert str(root) not in said() and str(workers.PACKAGE / "__init__.py") in said()
    # One that no interpreter finds by itself is found all the same.
    other = tmp_path / "other" / "ncbook"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    monkeypatch.setattr(workers, "PACKAGE", other)
    workers.is_installed.cache_clear()
    assert str(other / "__init__.py") in said()


def test_a_run_finds_the_variables_of_a_list_and_no_other(tmp_path, monkeypatch):
    for name in ("SECRET", "MATPLOTLIBRC", "OMP_SCHEDULE", "KMP_AFFINITY", "TORCH_LOGS"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("NCBOOK_DATA", "here")
    found = workers.environment(tmp_path, tmp_path / "out", "01-one", tmp_path / "runtime")
    assert "x" not in found.values()
    assert found["CUDA_VISIBLE_DEVICES"] == "1"
    assert found["NCBOOK_DATA"] == str(Path.cwd() / "here")
    for name, value in workers.SETTINGS.items():
        assert found[name] == value
    own = set(found) - {*workers.SETTINGS, *workers.PASSED}
    assert {found[name] for name in own if "runtime" in found[name]} >= {str(tmp_path / "runtime")}
    monkeypatch.setenv("NCBOOK_DATA", "")
    assert workers.environment(tmp_path, tmp_path, "", tmp_path)["NCBOOK_DATA"] == ""


def test_a_read_only_checkout_that_was_never_built_runs_elsewhere(empty, tmp_path):
    empty.chapter("01-draws", DRAWS)
    plain = {"preexec_fn": obey_permissions} if os.geteuid() == 0 else {}
    everything = [empty.root, *empty.root.rglob("*")]
    before = snapshot(empty.root)
    set_writable(everything, False)
    try:
        probe = ["touch", str(empty.root / "probe")]
        if subprocess.run(probe, stderr=subprocess.DEVNULL, **plain).returncode == 0:
            pytest.skip("this user can write where permissions say no, and cannot give that up")
        said = empty.do("run", "01-draws", "--output", str(tmp_path / "out"), **plain)
        assert f"The result: {tmp_path / 'out'}" in said
        assert "image/png" in (tmp_path / "out" / "01-draws.ipynb").read_text()
        assert snapshot(empty.root) == before
        assert {p.name for p in tmp_path.iterdir()} == {"book", "out"}
        said = empty.do("run", "01-draws", expect=1, **plain)
        assert "cannot write" in said and "Permission denied" in said
    finally:
        set_writable(everything, True)


# ---------------------------------------------------------------- what goes wrong is told


def test_a_cell_that_raises_leaves_what_came_before(built):
    built.chapter("01-one", "print('so far')\nraise ValueError('no further')")
    said = built.do("build", "--chapter", "01-one", expect=1)
    place = built.root / "_build/failed/paper--01-one.ipynb"
    assert f"As far as it came: {place}" in said
    assert "so far" in place.read_text() and "no further" in place.read_text()
    said = built.do("run", "01-one", "-p", "seeds=3", expect=1)
    notebook = Path(re.search(r"As far as it came: (.+)", said)[1])
    assert "so far" in notebook.read_text() and "seeds = 3" in notebook.read_text()
    assert "papermill" not in notebook.read_text()
    built.chapter("01-one", "print('through')")
    built.do("build", "--chapter", "01-one")
    assert not place.exists()


@pytest.mark.parametrize("limit", ["NOFILE", "FSIZE"])
def test_a_kernel_that_cannot_start_says_why(built, limit, tmp_path):
    least = {"NOFILE": (resource.RLIMIT_NOFILE, 40), "FSIZE": (resource.RLIMIT_FSIZE, 100)}[limit]

    def confined():
        resource.setrlimit(least[0], (least[1], least[1]))

    output = str(tmp_path / "out")
    said = built.do("run", "01-one", "--output", output, expect=1, preexec_fn=confined)
    assert "executed" not in said
    assert re.search("Too many open files|File too large", said), said


def test_a_worker_that_is_killed_says_by_what():
    assert lifeline.ending(-9) == "was killed by SIGKILL (often: out of memory)"
    assert lifeline.ending(-15) == "was killed by SIGTERM"
    assert lifeline.ending(3) == "ended with exit status 3"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "not read-only"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EACCES, "make its folder writable"),
    ],
)
def test_the_remedy_fits_the_cause(tmp_path, monkeypatch, number, said):
    def fails(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "replace", fails)
    with pytest.raises(OSError, match=re.escape(said)) as error:
        files.write_atomic(tmp_path / "a", "1")
    assert error.value.errno == number
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- git


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "a").write_text("1")
    git(root, "init", "-q")
    git(root, "add", "a")
    git(root, "commit", "-qm", "First")
    return root


def git(root, *arguments):
    names = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", "-C", root, *names, *arguments], check=True)


def test_a_commit_is_told_with_what_differs_from_it(checkout):
    found = machine.checkout(checkout)
    assert re.fullmatch("[0-9a-f]{10}", str(found)) and found.changed == ()
    (checkout / "a").write_text("2")
    (checkout / "an ünknown file").write_text("2")
    found = machine.checkout(checkout)
    assert found.changed == ("a", "an ünknown file")
    assert str(found).endswith(" and uncommitted changes")


def test_no_commit_is_told_with_its_reason(tmp_path, checkout, monkeypatch):
    assert str(machine.checkout(tmp_path)) == "not in a git checkout"
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = machine.checkout(checkout)
    assert found.commit == "" and str(found).startswith("git refused: detected dubious ownership")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(machine.checkout(checkout)) == "git is not installed"
    assert shutil.which("git") is None
