"""A chapter in Jupyter: saved, it stays as it was; opened without trust, it shows its figures."""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
from processes import wait_for

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
    """JupyterLab on a copy of the chapters and of their pages, and how it is asked."""
    python = root / ENVIRONMENT / "bin" / "python"
    if not python.exists():
        missing(
            f"No chapter was saved through a Jupyter server: there is no {ENVIRONMENT}. Make it "
            f"with python3 -m venv {ENVIRONMENT} and its pip install -r tests/jupyter.txt."
        )
    base = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(root / "notebooks", base / "work")
    for paper in (root / "book").glob("*-*/"):
        ignored = shutil.ignore_patterns("figures", "tables")
        shutil.copytree(paper, base / "work" / "book" / paper.name, ignore=ignored)
    # All cells are there at once, not those alone that are in sight.
    settings = base / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    token = secrets.token_hex()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {f"JUPYTER_{kind}_DIR": str(base / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    own["JUPYTERLAB_SETTINGS_DIR"] = str(base / "settings")
    own["JUPYTERLAB_WORKSPACES_DIR"] = str(base / "workspaces")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | own
    with (base / "log").open("w") as log:
        process = subprocess.Popen(
            [
                python, "-m", "jupyterlab", "--no-browser", "--allow-root",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0", f"--ServerApp.root_dir={base / 'work'}",
                f"--IdentityProvider.token={token}",
            ],
            env=environment, cwd=base, stdout=log, stderr=log,
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
        yield SimpleNamespace(
            work=base / "work", ask=ask, python=python, environment=environment,
            lab=f"http://127.0.0.1:{port}/doc/tree/{{}}?reset&token={token}",
        )  # fmt: skip
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # on a busy machine; how it ends is not the question
            process.kill()
            process.wait()


def test_a_jupyter_server_saves_a_chapter_as_it_was(server, root):
    work, ask = server.work, server.ask

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


SHOWN = """() => [...document.querySelectorAll(".jp-OutputArea-output figure img")]
    .map((one) => [one.alt, one.complete && one.naturalWidth > 100 && one.clientWidth > 100])"""


@pytest.fixture(scope="module")
def lab(browser):
    """One context of the browser: JupyterLab is loaded once."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def opened(server, lab):
    """Open a notebook in JupyterLab, without a kernel, and wait for its cells."""
    tab = lab.new_page()

    def open_it(name: str):
        tab.goto(server.lab.format(name))
        tab.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        return tab

    yield open_it
    tab.close()


# One of each part; among them figures, scenes and tables.
OPENED = (
    "mixon-parshall-pi/01-neural-collapse",
    "wu-mondelli/01-mean-field",
    "min-zhu-vidal/01-rays-not-points",
    "barannikov-et-al/01-barcodes",
)


@pytest.mark.parametrize("chapter", OPENED)
def test_a_page_opened_without_trust_shows_every_figure_and_says_what_it_shows(
    chapter, server, opened
):
    """A page that was downloaded and a notebook of `ncbook run` are opened alike."""
    name = f"book/{chapter}.ipynb"
    if not (server.work / name).is_file():
        pytest.fail(f"There is no {name}: run make book first.", pytrace=False)
    cells = nbformat.read(server.work / name, as_version=4).cells
    drawn = [
        output.metadata["ncbook"]["figure"]
        for cell in cells if cell.cell_type == "code"
        for output in cell.outputs if "figure" in output.get("metadata", {}).get("ncbook", {})
    ]  # fmt: skip
    tab = opened(name)
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    words = dict(re.findall(r"^:+\{fig\} (\S+)\n:alt: (.*)$", text, re.M))
    expected = [[words[one], True] for one in drawn]
    with contextlib.suppress(AssertionError):  # said better below
        wait_for(lambda: tab.evaluate(SHOWN) == expected, 60)
    assert tab.evaluate(SHOWN) == expected


def test_with_trust_a_scene_turns(server, opened):
    name = "book/mixon-parshall-pi/01-neural-collapse.ipynb"
    trust = [server.python, "-m", "jupyter", "trust", server.work / name]
    subprocess.run(trust, env=server.environment, check=True, capture_output=True)
    tab = opened(name)
    tab.wait_for_selector(".ncb-scene input[type=range]", timeout=60_000)
    with contextlib.suppress(Exception):  # it may ask for a kernel, on top of all
        tab.click("text=No Kernel", timeout=3_000)
    scene = tab.locator(".ncb-scene").first.locator("svg").first
    assert scene.locator("circle").count() > 3
    before = scene.inner_html()
    scene.focus()
    tab.keyboard.press("ArrowRight")
    wait_for(lambda: scene.inner_html() != before, 10)
