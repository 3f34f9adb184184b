"""What the site's tests share: the built site, tabs of the browser, one visit to each page."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import site_checks
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("NCBOOK_SITE") or ROOT / "_build" / "html")
AXE = ROOT / "tests" / "node_modules" / "axe-core" / "axe.min.js"
NO_SITE = "(no site)"
CHAPTERS = sorted((ROOT / "notebooks").glob("*/[0-9][0-9]-*.md"))
sys.path.insert(0, str(ROOT / "book" / "_ext"))  # the site's extensions


def pytest_generate_tests(metafunc):
    """Run a test with the argument ``page`` once for each page of the site."""
    if "page" in metafunc.fixturenames:
        built = (SITE / "index.html").is_file()
        metafunc.parametrize("page", site_checks.pages(SITE) if built else [NO_SITE])


@pytest.fixture(scope="session")
def site() -> Path:
    """The built site's folder."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"There is no site in {SITE}: run make book first.", pytrace=False)
    return SITE.resolve()


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request, site) -> SimpleNamespace:
    """A chapter: its id, source, page, and that page parsed, once for all tests of a file."""
    source = request.param
    name = f"{source.parent.name}/{source.stem}"
    page = site / "book" / f"{name}.html"
    parsed = BeautifulSoup(page.read_text("utf-8"), "html.parser")
    return SimpleNamespace(id=name, source=source, page=page, parsed=parsed)


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served for the time of the tests."""
    with site_checks.served(site) as where:
        yield where


@pytest.fixture(scope="session")
def context(browser):
    """One browser context: what was loaded for one page is there for the next."""
    context = browser.new_context(
        viewport=site_checks.DESKTOP, color_scheme="light", reduced_motion="reduce"
    )
    yield context
    context.close()


@pytest.fixture
def tab(context, address):
    """A tab of its own, with nothing remembered but files."""
    tab = context.new_page()
    forget(tab, address)
    yield tab
    tab.close()


def forget(tab, address: str) -> None:
    """Clear what pages at an address have stored, such as the theme that was chosen."""
    stored = {"origin": address.rstrip("/"), "storageTypes": "local_storage"}
    session = tab.context.new_cdp_session(tab)
    session.send("Storage.clearDataForOrigin", stored)
    session.detach()


@pytest.fixture(scope="session")
def visitor(context):
    """The one tab of all visits."""
    tab = context.new_page()
    yield tab
    tab.close()


@pytest.fixture(scope="session")
def axe() -> str | None:
    """The accessibility engine's source, where npm has installed it."""
    return AXE.read_text(encoding="utf-8") if AXE.is_file() else None


@pytest.fixture(scope="session")
def visits(site, visitor, address, axe):
    """Visit a page once and remember what was found."""
    known = {}

    def visited(page: str) -> site_checks.Visit:
        if page not in known:
            forget(visitor, address)
            known[page] = site_checks.visit(visitor, address, page, axe)
        return known[page]

    return visited


@pytest.fixture
def needs_axe(axe, missing):
    """Skip where the accessibility engine is not installed."""
    if axe is None:
        missing(
            "Accessibility was not looked at: axe-core is not installed "
            "(npm install --prefix tests)."
        )
