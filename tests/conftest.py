"""Settings of all tests, and the environment in which nbval executes the chapters again."""

import os
import shutil
import tempfile
from pathlib import Path

import chromium
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads are slower than one on the tests' tensors, and far slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SAID = set()  # what was said to be missing, in this process


def skip(sentence: str):
    """Skip a test that lacks a program; where the browser is compulsory, the first one fails."""
    first = sentence not in SAID
    SAID.add(sentence)
    if first and os.environ.get("NCBOOK_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{sentence} NCBOOK_REQUIRE_BROWSER=1 makes it compulsory.", pytrace=False)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def missing():
    """How a test skips that lacks a program: one sentence, which fails once where compulsory."""
    return skip


def needs_browser(item) -> bool:
    """Tell whether a test drives the browser."""
    return "browser" in getattr(item, "fixturenames", ())


def pytest_runtest_setup(item):
    """Skip what needs a browser where none can be driven, before anything else is made for it."""
    if needs_browser(item) and chromium.missing():
        skip(chromium.missing())


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium, one for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium.program(), args=["--no-sandbox"])
        yield one
        one.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Say to xdist (--dist loadgroup) what one process does: what needs the browser, and a file.

    Each process would start a browser of its own; and a notebook's cells need one kernel.
    """
    for item in items:
        group = "browser" if needs_browser(item) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


class ChapterEnvironment:
    """Give each executed chapter that nbval runs the environment that the build gave it.

    This is a plugin, not hooks of this file: such hooks do not see the notebooks in book/.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ncbook-nbval-"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item):
        """Set it while a notebook's kernel starts, which is in the setup of its first cell."""
        if item.path.suffix != ".ipynb":
            return (yield)
        from ncbook.pipeline.workers import environment

        name = item.path.stem
        out, runtime = self.folder / item.path.parent.name / name, self.folder / "runtime"
        for folder in (out, runtime):
            folder.mkdir(parents=True, exist_ok=True)
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(environment(ROOT, out, name, runtime))
        try:
            return (yield)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def pytest_unconfigure(self):
        """Remove what the chapters wrote."""
        shutil.rmtree(self.folder, ignore_errors=True)


def pytest_configure(config):
    """Register a marker that is xdist's, and the plugin where nbval is asked for."""
    config.addinivalue_line("markers", "xdist_group(name): run in one process (pytest-xdist)")
    if config.getoption("nbval", default=False):
        config.pluginmanager.register(ChapterEnvironment(), "ncbook-chapter-environment")
