"""What the tests say where the browser cannot be driven, and which node drives it."""

from pathlib import Path

import chromium
import pytest

LACKS = "node: error while loading shared libraries: libatomic.so.1: cannot open shared object file"

CONFTEST = Path(__file__).with_name("conftest.py")


@pytest.fixture
def node(tmp_path):
    """Return a function that makes a program in a node's place, which says this and ends so."""

    def made(name: str, status: int, said: str = "") -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n[ -z '{said}' ] || echo '{said}' >&2\nexit {status}\n")
        path.chmod(0o755)
        return str(path)

    return made


@pytest.fixture
def sentence(monkeypatch):
    """Return a function that says why no browser can be driven, with these nodes at hand."""
    monkeypatch.setattr(chromium, "program", lambda: "a browser")
    monkeypatch.setenv(chromium.NODE, "")  # and what is set during a test is undone

    def said(*nodes: str) -> str:
        monkeypatch.setattr(chromium, "nodes", lambda: list(nodes))
        return chromium.missing.__wrapped__()

    return said


def test_node_that_lacks_a_library_is_told_of(node):
    assert chromium.starts(node("a", 127, LACKS)) == LACKS
    assert chromium.starts(node("b", 1)) == "it ended with 1"
    assert "there-is-none" in chromium.starts("/there-is-none")
    assert chromium.starts(node("c", 0)) == ""


def test_first_node_that_starts_is_taken(node, sentence):
    good = node("good", 0)
    assert sentence(node("old", 1, "Playwright requires Node.js 20"), good) == ""
    assert chromium.os.environ[chromium.NODE] == good


def test_sentence_says_what_is_missing_and_how_to_get_it(node, sentence):
    old, bare = node("old", 1, "You are running Node.js 18."), node("bare", 127, LACKS)
    said = sentence(old, bare)
    assert f"{old}: You are running Node.js 18; {bare}: {LACKS}" in said
    assert "apt install nodejs" in said and "\n" not in said
    assert chromium.os.environ[chromium.NODE] == ""


def test_system_comes_before_what_came_with_playwright(monkeypatch):
    monkeypatch.delenv(chromium.NODE, raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/{name}")
    assert chromium.nodes() == ["/node", ""]
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    assert chromium.nodes() == [""]
    monkeypatch.setenv(chromium.NODE, "/chosen")
    assert chromium.nodes() == ["/chosen"]


def test_missing_browser_is_named(monkeypatch):
    monkeypatch.setattr(chromium, "program", lambda: None)
    assert "apt install chromium" in chromium.missing.__wrapped__()


def test_what_is_compulsory_fails_once(missing, monkeypatch):
    monkeypatch.setenv("NCBOOK_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match=r"It is lost\. .* compulsory"):
        missing("It is lost.")
    with pytest.raises(pytest.skip.Exception, match=r"It is lost\."):
        missing("It is lost.")


def test_one_process_has_the_browser_and_one_that_of_jupyter(request):
    settings = request.config.pluginmanager.get_plugin(str(CONFTEST))
    group = settings.group
    for item in request.session.items:
        if "browser" in getattr(item, "fixturenames", ()):
            assert group(item.nodeid.split("::")[0]) in ("browser", *settings.APART), item.nodeid
    assert group("book/paper/01-one.ipynb") == "book/paper/01-one.ipynb"
