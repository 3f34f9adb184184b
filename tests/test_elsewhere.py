"""The notebook that opens in Colab, in an environment that has no ncbook.

The clone comes from a repository here in place of the public one, and all other packages from the
environment of the tests: nothing is downloaded. All else is done as it is there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = ROOT / "notebooks" / "tirer-bruna" / "02-before-a-relu.md"


def git(*command, folder: Path = ROOT) -> str:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *who, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path, missing) -> Path:
    """A repository whose branch is as the workflow makes it of the files that are here."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        missing("This is no git repository: no notebook was run where nothing is installed.")
    folder = tmp_path / "repository"
    for name in git("ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file() and not name.startswith((".github/", "tests/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git("init", "--quiet", "--initial-branch=notebooks", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message=Notebooks", folder=folder)
    return folder


@pytest.fixture
def python(tmp_path, monkeypatch) -> Path:
    """The Python of a new environment that sees the packages of this one, but for ncbook."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    # An editable installation in a folder that is named so is not seen.
    (Path(packages) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    kernel = tmp_path / "jupyter" / "kernels" / "fresh" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "fresh", "language": "python"}))
    for name in [name for name in os.environ if name.startswith(("NCBOOK_", "PYTHON", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's way to say that there is to be none
    monkeypatch.setenv("NCBOOK_DEVICE", "cpu")
    return python


def test_a_chapter_runs_where_nothing_is_installed(repository, python, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import ncbook_public

    work = tmp_path / "work"
    work.mkdir()
    absent = subprocess.run([python, "-c", "import ncbook"], cwd=work, capture_output=True)
    assert b"No module named 'ncbook'" in absent.stderr
    notebook = nbformat.reads(ncbook_public.launchable(CHAPTER, repository.as_uri()), as_version=4)
    where = "import ncbook\nfrom ncbook import files\nprint(ncbook.__file__, files.root())"
    notebook.cells.append(nbformat.v4.new_code_cell(where))
    client = NotebookClient(
        notebook, kernel_name="fresh", timeout=300, resources={"metadata": {"path": str(work)}}
    )
    client.execute()
    package, root = notebook.cells[-1].outputs[0].text.split()
    assert Path(package).is_relative_to(tmp_path / "environment")
    assert Path(root) == work / "the-book"
    shown = [o.data for c in notebook.cells for o in c.get("outputs", []) if "data" in o]
    figures = [one for one in shown if "ncb-jupyter" in one.get("text/html", "")]
    verdicts = re.findall(r'<tr[^>]* data-verdict="([^"]*)"', str(shown))
    assert figures and verdicts and set(verdicts) == {"holds"}
