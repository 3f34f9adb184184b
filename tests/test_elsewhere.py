"""The notebook that opens in Colab, in an environment that has no ncbook.

The clone comes from a repository here in place of the public one, filled by the workflow's own
script, and all other packages from the environment of the tests: nothing is downloaded. All else is
done as it is there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "tirer-bruna/02-before-a-relu"


def git(*command, folder: Path = ROOT) -> str:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    done = subprocess.run(["git", *who, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def public(tmp_path, missing, monkeypatch) -> Path:
    """The public repository: the branch that the workflow pushes of the files that are here."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        missing("This is no git repository: no notebook was run where nothing is installed.")
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import ncbook_public

    public, folder = tmp_path / "public.git", tmp_path / "checkout"
    for name in git("ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git("init", "--quiet", "--bare", str(public))
    git("init", "--quiet", folder=folder)
    git("add", "--all", folder=folder)
    git("commit", "--quiet", "--message=The book", folder=folder)
    git("remote", "add", "origin", public.as_uri(), folder=folder)
    notebook = tmp_path / "site" / "_sources" / "notebooks" / f"{CHAPTER}.ipynb"
    notebook.parent.mkdir(parents=True)
    source = ROOT / "notebooks" / f"{CHAPTER}.md"
    notebook.write_text(ncbook_public.launchable(source, public.as_uri()))
    with tarfile.open(folder / "artifact.tar", "w") as artifact:
        artifact.add(tmp_path / "site", ".")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text("utf-8"))
    script = workflow["jobs"]["notebooks"]["steps"][-1]["run"]
    env = os.environ | {"GITHUB_SHA": "0" * 40}
    subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=env, check=True)
    return public


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


def test_a_chapter_runs_where_nothing_is_installed(public, python, tmp_path):
    assert git("rev-list", "--count", "notebooks", folder=public) == "1\n"
    files = git("ls-tree", "-r", "--name-only", "notebooks", folder=public).splitlines()
    assert {"pyproject.toml", f"notebooks/{CHAPTER}.md"} < {*files}
    # What changes a workflow may not be pushed by one.
    assert not [name for name in files if name.startswith((".github/", "tests/", "_sources/"))]
    work = tmp_path / "work"
    work.mkdir()
    absent = subprocess.run([python, "-c", "import ncbook"], cwd=work, capture_output=True)
    assert b"No module named 'ncbook'" in absent.stderr
    text = git("show", f"notebooks:notebooks/{CHAPTER}.ipynb", folder=public)
    notebook = nbformat.reads(text, as_version=4)
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
