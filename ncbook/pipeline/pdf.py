"""The whole book as one PDF: every page of the site printed by Chromium, then joined by pypdf.

Links between pages become jumps, headings become bookmarks, and the sheets are numbered through.
"""

import functools
import http.server
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag

from ncbook.files import BookError
from ncbook.pipeline.book import Book
from ncbook.pipeline.site import pages_of

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TASK = "the PDF"
# A PDF has destinations only for ids that some link of the same page names: name them all.
NAME_ALL = """() => {
  const page = document.querySelector("article.bd-article");
  const box = document.createElement("div");
  box.setAttribute("aria-hidden", "true");
  box.style.cssText = "font-size:1px;line-height:1px;color:transparent";
  for (const one of page.querySelectorAll("[id]")) {
    // Nor what is not printed, nor a cell's code, to which nothing links.
    if (one.closest("svg, pre") || !one.getClientRects().length) continue;
    const link = document.createElement("a");
    link.href = "#" + one.id;
    link.textContent = ".";
    link.style.cssText = "color:inherit;text-decoration:none";
    box.append(link);
  }
  page.append(box);
}"""
NUMBERS = """<style>@page{{size:A4;margin:0}}body{{margin:0}}
p{{height:297mm;margin:0;box-sizing:border-box;padding-top:284mm;text-align:center;
font:9pt sans-serif;break-after:page;overflow:hidden}}</style>{}"""


# The headings below the page's title: level, words, id.
HEADINGS = """() => [...document.querySelectorAll("article.bd-article :is(h2, h3)")]
  .filter((one) => one.closest("section[id]") && one.getClientRects().length)
  .map((one) => [Number(one.tagName[1]), one.innerText.replace("#", "").trim(),
                 one.closest("section[id]").id])"""


@dataclass(frozen=True)
class Part:
    """One page of the site, printed."""

    name: str
    title: str
    headings: list[tuple[int, str, str]]
    path: Path


def make(book: Book, output: Path) -> tuple[Path, list[str]]:
    """Print the site that stands into one PDF.

    Returns
    -------
    path, lost
        The file, and the links that lead to no place of the document.

    Raises
    ------
    BookError
        There is no site, or no Chromium, or a library is missing; the message says what to do.
    """
    site = book.made / "html"
    if not (site / "index.html").is_file():
        raise BookError("There is no site yet. Build the book first: make book.")
    names = [name for name in pages_of(book.root) if (site / f"{name}.html").is_file()]
    with tempfile.TemporaryDirectory() as folder, served(site) as base, browser() as chromium:
        parts = []
        book.say.begin(TASK)
        for count, name in enumerate(names, 1):
            parts.append(printed(chromium, base, name, Path(folder)))
            book.say.step(TASK, count, len(names))
        lost = joined(parts, base, output, chromium)
        book.say.end(TASK, "made")
    return output, lost


@contextmanager
def browser() -> Iterator:
    """A Chromium of this machine.

    Raises
    ------
    BookError
        There is none, or nothing to drive it with.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise BookError(
            "No Chromium is installed, which prints the pages. On Debian: apt install chromium."
        )
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise BookError(
            "playwright, which drives Chromium, is not installed: make book does so."
        ) from error
    with sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except Error as error:
            raise BookError(f"{program} does not start: {error}") from error
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The site at an address of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def printed(chromium, base: str, name: str, folder: Path) -> Part:
    """Print one page, its formulas set, its folds open."""
    page = chromium.new_page(color_scheme="light")
    try:
        page.goto(f"{base}{name}.html", wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup.promise")
        page.emulate_media(media="print")  # what is not printed has no place
        page.evaluate(NAME_ALL)
        path = folder / f"{name.replace('/', '--')}.pdf"
        headings = [tuple(one) for one in page.evaluate(HEADINGS)]
        page.pdf(path=path, prefer_css_page_size=True, print_background=True, tagged=True)
        return Part(name, page.title().split(" — ")[0], headings, path)
    finally:
        page.close()


def joined(parts: list[Part], base: str, output: Path, chromium) -> list[str]:
    """Join printed pages into one file; return the links that lead nowhere in it."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter()
    starts: dict[str, int] = {}
    places: dict[tuple[str, str], tuple] = {}
    for part in parts:
        reader = PdfReader(part.path)
        first = starts[part.name] = len(writer.pages)
        for sheet in reader.pages:
            writer.add_page(sheet)
        for mark, place in reader.named_destinations.items():
            number = first + reader.get_destination_page_number(place)
            places[part.name, unquote(mark.lstrip("/"))] = (
                number,
                place.get("/Left"),
                place.get("/Top"),
            )
    lost = []
    for number, sheet in enumerate(writer.pages):
        own = max((name for name in starts if starts[name] <= number), key=starts.get)
        for note in sheet.get("/Annots") or []:
            if (target := _target(note.get_object(), own, base)) is not None:
                _redirect(writer, note.get_object(), target, starts, places, lost)
    for part in parts:
        above = [writer.add_outline_item(title=part.title, page_number=starts[part.name])]
        for level, words, mark in part.headings:
            number, _, _ = places.get((part.name, mark), (starts[part.name], None, None))
            del above[level - 1 :]
            above.append(writer.add_outline_item(title=words, page_number=number, parent=above[-1]))
    _number(writer, chromium, Path(parts[0].path).parent)
    writer.add_metadata({"/Title": "Neural collapse, run"})
    writer.compress_identical_objects()
    output.parent.mkdir(parents=True, exist_ok=True)
    writer.write(output)
    return lost


def _target(note, own: str, base: str) -> tuple[str, str] | None:
    """Return the page and the place on it that a link leads to; None where it leaves the book."""
    if isinstance(note.get("/Dest"), str):
        return own, unquote(str(note["/Dest"]).lstrip("/"))
    address = str(note.get("/A", {}).get("/URI", ""))
    if not address.startswith(base):
        return None
    page, mark = urldefrag(address[len(base) :])
    return page.removesuffix(".html"), unquote(mark)


def _redirect(writer, note, target, starts, places, lost: list[str]) -> None:
    from pypdf.generic import ArrayObject, FloatObject, NameObject, NullObject

    page, mark = target
    note.pop("/A", None)
    if page not in starts:  # a download, say, which a PDF has not
        lost.append("#".join(filter(None, target)))
        note[NameObject("/Subtype")] = NameObject("/Link")
        note.pop("/Dest", None)
        return
    if mark and target not in places:
        lost.append("#".join(target))
    number, left, top = places.get(target, (starts[page], None, None))

    def value(x):
        return NullObject() if x is None or isinstance(x, NullObject) else FloatObject(x)

    sheet = writer.pages[number].indirect_reference
    note[NameObject("/Dest")] = ArrayObject(
        [sheet, NameObject("/XYZ"), value(left), value(top), NullObject()]
    )


def _number(writer, chromium, folder: Path) -> None:
    """Write its number at the foot of each sheet."""
    from pypdf import PdfReader

    page = chromium.new_page()
    page.set_content(NUMBERS.format("".join(f"<p>{n + 1}</p>" for n in range(len(writer.pages)))))
    path = folder / "numbers.pdf"
    page.pdf(path=path, prefer_css_page_size=True)
    page.close()
    numbers = PdfReader(path).pages[: len(writer.pages)]  # a blank one may follow
    for sheet, number in zip(writer.pages, numbers, strict=True):
        sheet.merge_page(number)
        sheet.compress_content_streams()  # merging has unpacked them
