"""Settings of all tests, and the environment in which nbval executes the chapters again."""

import os
import shutil
import tempfile
from pathlib import Path

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


@pytest.fixture(scope="session")
def missing():
    """How a test skips that lacks a program; it fails where the browser is compulsory."""

    def skip_or_fail(sentence: str):
        if os.environ.get("NCBOOK_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{sentence} NCBOOK_REQUIRE_BROWSER=1 makes it compulsory.", pytrace=False)
        pytest.skip(sentence)

    return skip_or_fail


@pytest.fixture(scope="session")
def browser(missing):
    """A headless Chromium, one for all tests."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        missing(
            f"Nothing was looked at in a browser: none of {', '.join(names)} is installed "
            "(on Debian: apt install chromium)."
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


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
    """Register the plugin where nbval is asked for."""
    if config.getoption("nbval", default=False):
        config.pluginmanager.register(ChapterEnvironment(), "ncbook-chapter-environment")
