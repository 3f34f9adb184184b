"""Settings of all tests."""

import contextlib
import itertools
import os
import socket
from pathlib import Path

import chromium
import hypothesis
import pytest
import torch
from jupyter_client.connect import LocalPortCache
from nbval_chapters import Chapters

from ncbook import machine
from ncbook.store import Store

ROOT = Path(__file__).resolve().parents[1]
# The same examples in each run; and a busy machine makes none of them fail.
hypothesis.settings.register_profile("book", deadline=None, derandomize=True)
hypothesis.settings.load_profile("book")


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


CHAPTERS = "tests/test_chapters_on_devices.py"
APART = ("tests/pipeline/test_pipeline_jupyter.py", "tests/site/test_site_pages.py")
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
        one = playwright.chromium.launch(executable_path=chromium.program(), args=chromium.OPTIONS)
        yield one
        one.close()


def pytest_xdist_auto_num_workers(config) -> int:
    """One process more than there are cores: one often waits, for a kernel or for the browser.

    At most eight, unless PYTEST_XDIST_AUTO_NUM_WORKERS says otherwise.
    """
    return int(os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or min(machine.cores() + 1, 8))


def pytest_xdist_make_scheduler(config, log):
    """Let one process do a file, for a notebook's cells need one kernel; and one what browses.

    The tests that run a chapter each are given out one by one.
    """
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if file == CHAPTERS else group(file)

    return Files(config, log)


def group(file: str) -> str:
    """Name what a test file is done with: itself, or "browser" where its tests read the site.

    Each process would start a browser of its own; apart are files whose tests take long.
    """
    reads = file.startswith("tests/site/") or file == "tests/claims/test_claims_filter.py"
    return "browser" if reads and file not in APART else file


def pytest_collection_modifyitems(items):
    """Put first what takes longest, so that no process is left alone with it at the end."""
    took = {chapter: s for (chapter, _), s in Store(ROOT / "_build" / "store").seconds().items()}

    def weight(item) -> float:
        file = item.nodeid.split("::")[0]
        if group(file) == "browser" or file in APART:
            return 300
        in_pipeline = item.path.parent.name == "pipeline"
        return 100 if in_pipeline else took.get(f"{item.path.parent.name}/{item.path.stem}", 0)

    items.sort(key=weight, reverse=True)


def keep_ports_apart(worker: str) -> None:
    """Let each test process give its kernels ports of its own range.

    A port that is free when it is chosen may be taken when the kernel binds it; of processes that
    choose among the same ports at once, one would lose.
    """
    start = 20000 + 1000 * int(worker.removeprefix("gw"))
    ports = itertools.cycle(range(start, start + 1000))

    def available(self, ip):
        for port in ports:
            with socket.socket() as tried, contextlib.suppress(OSError):
                tried.bind((ip, port))
                return port

    LocalPortCache.find_available_port = available


def pytest_configure(config):
    """Register the plugin where nbval is asked for."""
    if config.getoption("nbval", default=False):
        chapters = Chapters(ROOT, renew=os.environ.get("NCBOOK_REPEAT") == "1")
        config.pluginmanager.register(chapters, "ncbook-chapters")
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        keep_ports_apart(worker)
