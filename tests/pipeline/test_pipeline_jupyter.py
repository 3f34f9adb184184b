"""A chapter that is saved in Jupyter stays what it was: its profiles, its bounds, every byte."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import jupytext
import nbformat
import pytest
from scratch_book import wait_for

from ncbook.pipeline import chapters

ENVIRONMENT = "tests/.jupyter"


def ids_and_paths():
    from ncbook.files import root

    return [pytest.param(one.path, id=one.id) for one in chapters.discover(root())]


@pytest.mark.parametrize("path", ids_and_paths())
def test_opening_and_saving_leaves_the_file(path):
    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="md")
    # What a notebook has in Jupyter, and its file does not.
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    for cell in notebook.cells:
        cell.metadata["trusted"] = True
        if cell.cell_type == "code":
            cell.execution_count = 1
    saved = nbformat.reads(nbformat.writes(notebook), as_version=4)
    assert jupytext.writes(saved, fmt="md") == text


@pytest.mark.parametrize("path", ids_and_paths())
def test_a_chapter_keeps_its_profiles_as_ipynb_and_back(path):
    text = path.read_text(encoding="utf-8")
    ipynb = jupytext.writes(jupytext.reads(text, fmt="md:myst"), fmt="ipynb")
    back = jupytext.writes(jupytext.reads(ipynb, fmt="ipynb"), fmt="md:myst")
    assert back == text


@pytest.fixture(scope="module")
def server(root, missing, tmp_path_factory):
    """A Jupyter server on a copy of the chapters; a function that asks it."""
    python = root / ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing(
            f"No chapter was saved through a Jupyter server: there is no {ENVIRONMENT}. Make it "
            f"with python3 -m venv {ENVIRONMENT} and its pip install -r tests/jupyter.txt."
        )
    base = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(root / "notebooks", base / "work")
    token = secrets.token_hex()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(base / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    with (base / "log").open("w") as log:
        process = subprocess.Popen(
            [
                python, "-m", "jupyter_server", "--no-browser", "--allow-root",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0", f"--ServerApp.root_dir={base / 'work'}",
                f"--IdentityProvider.token={token}",
            ],
            env={k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | own,
            cwd=base, stdout=log, stderr=log,
        )  # fmt: skip

    def ask(path: str, content: dict | None = None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/{path}",
            headers={"Authorization": f"token {token}", "Content-Type": "application/json"},
            method="GET" if content is None else "PUT",
            data=None if content is None else json.dumps(content).encode(),
        )
        # Not through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)

    def up() -> bool:
        assert process.poll() is None, (base / "log").read_text()
        try:
            return bool(ask("status"))
        except urllib.error.URLError:
            return False

    try:
        wait_for(up)
        yield base / "work", ask
    finally:
        process.terminate()
        process.wait(30)


def test_a_jupyter_server_saves_a_chapter_as_it_was(server, root):
    work, ask = server

    def load(one):
        return ask(f"contents/{one.id}.md?type=notebook&content=1")["content"]

    def save(one, content):
        ask(f"contents/{one.id}.md", {"type": "notebook", "format": "json", "content": content})
        return (work / f"{one.id}.md").read_bytes()

    found = chapters.discover(root)
    for one in found:
        assert save(one, load(one)) == one.path.read_bytes(), one.id

    one = chapters.find(found, "04-figure-1")
    content = load(one)
    cell = next(c for c in content["cells"] if c["cell_type"] == "markdown")
    cell["source"] += "\n\nA remark of mine."
    text = save(one, content).decode()
    assert "A remark of mine." in text
    edited = chapters.parse(one.id, text, one.path)
    assert edited.profiles == one.profiles and edited.parameters == one.parameters
    assert edited.cells == one.cells
