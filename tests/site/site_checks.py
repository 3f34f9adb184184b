"""What is checked on a built site. Each function returns what is wrong, in words; [] is good.

The same functions are run on the book and, as negative controls, on small broken pages.
"""

import base64
import functools
import http.server
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib

NAMES = {"canonical", "license", "alternate", "author", "help"}
DESKTOP = {"width": 1280, "height": 900}
TELEPHONE = {"width": 390, "height": 844}
ZOOMED = {"width": 640, "height": 450}  # what a page has of the desktop's at 200 %
# A page must hold with any font: with a wide one (as Verdana, in bold), and with a narrow one.
FONTS = {"wide": ("DejaVuSansMono.ttf", "112%"), "narrow": ("STIXGeneral.ttf", "100%")}


# ---------------------------------------------------------------- files alone, no browser


def pages(folder: Path) -> list[str]:
    """Every HTML page of a site, relative to its folder, the redirect at the top excepted."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.html")
        if "_static" not in path.relative_to(folder).parts and "http-equiv" not in _head(path)
    )


def _head(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:600]


class _Reader(HTMLParser):
    """Collects a page's ids and links; ten times as fast as a parser that makes a tree."""

    def __init__(self):
        super().__init__()
        self.ids, self.links = [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if attributes.get("id") else []
        self.ids += [attributes["name"]] if tag == "a" and attributes.get("name") else []
        self.links += [
            (tag, name, attributes[name], attributes.get("rel") or "")
            for name in ("href", "src", "xlink:href", "poster", "data")
            if attributes.get(name) is not None
        ]


@functools.lru_cache(maxsize=200)
def _read(path: Path) -> tuple[list[str], list[tuple[str, str, str, str]]]:
    """A page's ids (each as often as it stands there), links (tag, attribute, target, relation)."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.ids, reader.links


def ids(path: Path) -> list[str]:
    """A page's ids, each as often as it stands there."""
    return _read(path)[0]


def dead_links(folder: Path) -> list[str]:
    """Links to files or anchors of the site that are not there."""
    wrong = []
    for page in pages(folder):
        for _, _, target, _ in _read(folder / page)[1]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("", "#"):
                continue
            path = folder / page
            if parts.path:
                base = folder if parts.path.startswith("/") else path.parent
                path = (base / unquote(parts.path).lstrip("/")).resolve()
                path = path / "index.html" if path.is_dir() else path
            if not path.is_file():
                wrong.append(f"{page} links to {target}, which is not there")
            elif (
                parts.fragment
                and path.suffix == ".html"
                and unquote(parts.fragment) not in _read(path)[0]
            ):
                wrong.append(f"{page} links to {target}, and that page has no such anchor")
    return list(dict.fromkeys(wrong))


def twice_used_ids(folder: Path) -> list[str]:
    """Ids that stand twice on one page, as clashing figures would have them."""
    return [
        f"{page} has the id {name!r} {count} times"
        for page in pages(folder)
        for name, count in Counter(_read(folder / page)[0]).items()
        if count > 1
    ]


def loads_from_elsewhere(folder: Path) -> list[str]:
    """Scripts, styles, images and frames whose address is on another host."""
    wrong = []
    for page in pages(folder):
        for tag, attribute, target, relation in _read(folder / page)[1]:
            parts = urlsplit(target)
            away = parts.netloc or parts.scheme in ("http", "https")
            # A link element may only name an address, and load nothing.
            name = tag == "link" and NAMES & set(relation.split())
            if away and tag != "a" and not name:
                wrong.append(f"{page}: <{tag} {attribute}={target!r}> is on another host")
    return list(dict.fromkeys(wrong))


def numbered_boxes(folder: Path) -> dict[str, tuple[str, str]]:
    """Every box with a number, such as Theorem 1.3.1, by its title: its page and its id."""
    return {
        title: (page, name)
        for page in pages(folder)
        for name, title in _BOX.findall((folder / page).read_text(encoding="utf-8"))
    }


_BOX = re.compile(
    r'<div class="proof [^>]*id="([^"]+)">\s*<p class="admonition-title">'
    r'<span class="caption-number">(\S+ \d[\d.]*) </span>'
)


def search_entries(folder: Path) -> dict[str, list[tuple[str, str, bool]]]:
    """What the search finds by an entry: page, id on it, whether before all other results."""
    index = (folder / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))
    return {
        entry: [(f"{index['docnames'][page]}.html", name, main) for page, name, main in places]
        for entry, places in index["indexentries"].items()
    }


# ---------------------------------------------------------------- in a browser


@contextmanager
def served(folder: Path):
    """Serve a folder on the loopback interface; gives the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # one connection for many files: much faster

        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Visit:
    """What one visit to a page found; every list holds faults."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    broken_images: list[str] = field(default_factory=list)
    without_words: list[str] = field(default_factory=list)
    too_wide: list[str] = field(default_factory=list)
    faint: list[str] = field(default_factory=list)
    inaccessible: list[str] = field(default_factory=list)
    too_low: list[str] = field(default_factory=list)


def visit(tab, address: str, page: str, axe: str | None) -> Visit:
    """Load a page and look at it: wide and at 200 %, dark and light; on a telephone, in each font.

    Parameters
    ----------
    tab : playwright.sync_api.Page
        May have shown other pages of the site: to take one for all saves a third of the time.
    address : str
        Where the site is served.
    page : str
        The page, relative to it.
    axe : str, optional
        The accessibility engine's source; without it, accessibility is not looked at.
    """
    found = Visit()
    host = urlsplit(address).netloc

    def on_request(request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != host:
            found.elsewhere.append(f"it asks for {request.url}")
        elif "/webfonts/" in parts.path:
            found.errors.append(f"site.css lacks an icon of this page: it loads {parts.path}")

    def on_console(said):
        if said.type == "error":
            found.errors.append(said.text)

    def on_error(error):
        found.errors.append(str(error))

    tab.goto("about:blank")  # so that nothing is heard of the page before
    heard = {"request": on_request, "console": on_console, "pageerror": on_error}
    for event, listener in heard.items():
        tab.on(event, listener)
    try:
        tab.emulate_media(color_scheme="light", reduced_motion="reduce")
        tab.set_viewport_size(DESKTOP)
        tab.goto(address + page, wait_until="load")
        settle(tab)
        found.broken_images = tab.evaluate(_BROKEN_IMAGES)
        found.without_words = tab.evaluate(_WITHOUT_WORDS)
        found.too_low += low(tab, 900)
        resize(tab, TELEPHONE)
        found.too_wide = tab.evaluate(_TOO_WIDE)
        found.too_low += low(tab, 2 * TELEPHONE["height"])
        for font in FONTS:
            set_font(tab, font)
            found.too_wide += [f"{font} font: {said}" for said in tab.evaluate(_TOO_WIDE)]
        tab.evaluate("document.getElementById('ncb-font').remove()")
        resize(tab, ZOOMED)
        found.too_wide += [f"at 200 %: {said}" for said in tab.evaluate(_TOO_WIDE)]
        # From here on in fewer elements, which takes half the time.
        tab.evaluate(_PLAIN)
        if axe:
            tab.evaluate(axe)
            found.inaccessible += [f"at 200 %: {said}" for said in tab.evaluate(_AXE, _LAYOUT)]
        found.faint += faint(tab, ", at 200 %")
        resize(tab, DESKTOP)
        if axe:
            # The sidebars slide in, and the theme looks 300 ms later what can be scrolled.
            tab.wait_for_timeout(500)
            found.inaccessible += tab.evaluate(_AXE, None)
        found.faint += faint(tab)
    finally:
        for event, listener in heard.items():
            tab.remove_listener(event, listener)
    return found


def faint(tab, where: str = "") -> list[str]:
    """Say of words with too little contrast, in the dark and in the light."""
    said = []
    for scheme in ("dark", "light"):
        tab.emulate_media(color_scheme=scheme)
        tab.wait_for_timeout(50)
        said += [f"{scheme}{where}: {one}" for one in tab.evaluate(_FAINT)]
    return said


def low(tab, most: int) -> list[str]:
    """Say of a chapter whose first figure begins below so many pixels."""
    top = tab.evaluate(_FIRST_FIGURE)
    size = tab.viewport_size["width"]
    return [f"{size} wide: its first figure begins at {top:.0f}"] if top > most else []


def settle(tab) -> None:
    """Wait until formulas are set and what is drawn by scripts is drawn."""
    tab.evaluate(
        """() => Promise.race([
            Promise.resolve(window.MathJax && MathJax.startup && MathJax.startup.promise),
            new Promise((done) => setTimeout(done, 15000)),
        ]).then(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30))))"""
    )


def resize(tab, size: dict[str, int]) -> None:
    """Give a tab another size; return when the page's scripts have been told of it."""
    tab.evaluate(
        """() => { window.ncbResized = new Promise((done) =>
            window.addEventListener("resize", done, {once: true})) }"""
    )
    tab.set_viewport_size(size)
    tab.evaluate("window.ncbResized")


@functools.cache
def _face(font: str) -> str:
    """Return a rule that brings a font of `FONTS`, from matplotlib's, in itself."""
    file, size = FONTS[font]
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"@font-face {{ font-family: ncb-{font}; size-adjust: {size}; "
        f"src: url(data:font/ttf;base64,{data}) }}"
    )


def set_font(tab, font: str) -> None:
    """Set all text in a font of `FONTS`, icons and formulas excepted."""
    tab.evaluate(_SET_FONT, [f"ncb-{font}", _face(font)])


def colours(tab) -> dict[str, str]:
    """The page's theme, its background and the ink of its first figure."""
    return tab.evaluate(
        """() => {
            const figure = document.querySelector(".ncb-figure svg");
            const ink = figure && figure.querySelector("text");
            return {
                theme: document.documentElement.dataset.theme,
                background: getComputedStyle(document.body).backgroundColor,
                text: getComputedStyle(document.body).color,
                figure: ink ? getComputedStyle(ink).fill : "",
            };
        }"""
    )


def luminance(colour: str) -> float:
    """The relative luminance of a CSS colour ``rgb(r, g, b)``, as WCAG 2 defines it."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast of two CSS colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


_BROKEN_IMAGES = """() => [...document.images]
    // What comes only when it is in sight is looked for in the files (test_site_form).
    .filter((image) => !(image.complete && image.naturalWidth > 0) && image.loading !== "lazy")
    .map((image) => `the image ${image.getAttribute("src")} does not load`)"""

_WITHOUT_WORDS = """() => {
    const hidden = (node) => node.closest('[aria-hidden="true"], [role="presentation"]');
    // A link that has words needs no more for its picture, nor does an entry of a gallery.
    const said = (image) => image.getAttribute("alt") === "" &&
        image.closest("a, .ncb-gallery li:has(a)")?.textContent.trim();
    const images = [...document.images]
        .filter((image) => !hidden(image) && !said(image))
        .filter((image) => !(image.getAttribute("alt") || "").trim())
        .map((image) => `the image ${image.getAttribute("src")} has no alternative text`);
    const words = (node) => (node.getAttribute("aria-label") || "").trim() ||
        [...node.children].some((child) => child.matches("title") && child.textContent.trim());
    const drawings = [...document.querySelectorAll("svg")]
        .filter((svg) => !hidden(svg) && !svg.parentElement.closest("svg, button, a"))
        .filter((svg) => svg.getBoundingClientRect().right > 0)
        // A drawing made of many is named as a whole.
        .filter((svg) => !words(svg) && !svg.closest('[role="group"][aria-label]'))
        .map((svg) => `a drawing has no words: ${svg.outerHTML.slice(0, 80)}`);
    return [...images, ...drawings];
}"""

_FIRST_FIGURE = """() => {
    const figure = document.querySelector(".ncb-facts ~ * figure.ncb-fig, figure.ncb-fig");
    return figure ? figure.getBoundingClientRect().top + scrollY : 0;
}"""

_SET_FONT = """async ([font, face]) => {
    const style = document.getElementById("ncb-font") || document.createElement("style");
    style.id = "ncb-font";
    style.textContent = `${face}
        body, body :not(mjx-container, mjx-container *, [class*="fa-"]) {
            font-family: ${font} !important }`;
    document.head.append(style);
    if (!(await document.fonts.load(`16px ${font}`)).length)
        throw new Error(`the font ${font} does not load`);
    window.dispatchEvent(new Event("resize"));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}"""

_TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth;
    const said = [];
    if (document.scrollingElement.scrollWidth > wide)
        said.push(`the page is ${document.scrollingElement.scrollWidth} wide, the screen ${wide}`);
    // The theme may cut off what is too wide instead of scrolling: a reader cannot reach it either.
    const reachable = (node) => {
        for (let up = node.parentElement; up && up !== document.body; up = up.parentElement) {
            const how = getComputedStyle(up);
            if (["auto", "scroll"].includes(how.overflowX)) return true;
            if (how.position === "fixed" || how.visibility === "hidden") return true;
            if (up.matches("svg, .sr-only, .visually-hidden, mjx-assistive-mml")) return true;
        }
        return false;
    };
    const main = document.querySelector("main") || document.body;
    for (const node of main.querySelectorAll("*")) {
        const box = node.getBoundingClientRect();
        if (box.width && box.right > wide + 1 && box.left < wide && !reachable(node)) {
            const how = getComputedStyle(node);
            if (how.position === "fixed" || how.visibility === "hidden") continue;
            if (node.matches("mjx-assistive-mml, mjx-assistive-mml *, .sr-only")) continue;
            said.push(`this reaches ${Math.round(box.right)}: ${node.outerHTML.slice(0, 80)}`);
        }
    }
    return said.slice(0, 5);
}"""

# What MathJax makes of a formula and the strokes inside a figure are not looked at, and are half
# of a page. Text of a formula's size in its place, and nothing in a stroke's, is faster. Of words
# of code that their class alone colours, one of each kind stands for all.
_PLAIN = """() => {
    const formulas = [...document.querySelectorAll("mjx-container")].map((formula) =>
        [formula, (formula.querySelector("mjx-math") || formula).getBoundingClientRect()]);
    for (const [formula, {width, height}] of formulas) {
        const plain = document.createElement("span");
        plain.textContent = (formula.querySelector("mjx-assistive-mml") || formula).textContent;
        plain.style = `display: inline-block; overflow: hidden; white-space: nowrap;
            width: ${width}px; height: ${height}px`;
        formula.replaceWith(plain);
    }
    for (const drawing of document.querySelectorAll(".ncb-figure svg"))
        drawing.replaceChildren(...[...drawing.childNodes].filter((part) =>
            /^(title|desc)$/.test(part.nodeName)));
    const kinds = new Set();
    // The inner ones first: a word within which there is none is a word itself.
    for (const word of [...document.querySelectorAll(".highlight span, dt.sig span")].reverse()) {
        let kind = "";
        for (let up = word; up && !up.matches("pre, dt"); up = up.parentElement)
            kind += `${up.tagName} ${up.className} `;
        kind += word.closest(".highlight, dt.sig").parentElement.className;
        if (!kinds.has(kind)) kinds.add(kind);
        else if (!word.children.length && word.getAttributeNames().every((n) => n === "class"))
            word.replaceWith(word.textContent);
    }
}"""

# The contrast of all text with what is behind it, as WCAG 2 (1.4.3) has it: 4.5, and 3 for large
# text. What is behind it is the ground of the elements around it. Text in a drawing, in front of an
# image or beneath another element is not judged. The accessibility engine's own rule finds the
# same (see the controls), and takes several times as long.
_FAINT = """() => {
    const rgba = (colour) => {
        if (!/^(rgba?\\(|color\\(srgb )/.test(colour)) throw new Error(`cannot read ${colour}`);
        const parts = colour.match(/[\\d.]+/g).map(Number);
        const scale = colour.startsWith("color(") ? 1 : 255;
        return [...parts.slice(0, 3).map((part) => part / scale), parts[3] ?? 1];
    };
    const over = (top, under) => {
        const alpha = top[3] + under[3] * (1 - top[3]);
        const mixed = [0, 1, 2].map((i) =>
            (top[i] * top[3] + under[i] * under[3] * (1 - top[3])) / (alpha || 1));
        return [...mixed, alpha];
    };
    const luminance = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight *
        (colour[i] <= 0.04045 ? colour[i] / 12.92 : ((colour[i] + 0.055) / 1.055) ** 2.4), 0);
    const grounds = new Map();  // element -> what is behind its text, up to the page, as a list
    const ground = (node) => {
        if (!node) return [];
        if (!grounds.has(node)) {
            const how = getComputedStyle(node);
            const own = [rgba(how.backgroundColor), Number(how.opacity), how.backgroundImage];
            grounds.set(node, [own, ...ground(node.parentElement)]);
        }
        return grounds.get(node);
    };
    const schemes = getComputedStyle(document.documentElement).colorScheme;
    const dark = schemes.includes("dark") &&
        (!schemes.includes("light") || matchMedia("(prefers-color-scheme: dark)").matches);
    const page = dark ? 0.07 : 1;
    const said = new Map();
    for (const node of document.body.querySelectorAll("*")) {
        const own = [...node.childNodes].filter((part) => part.nodeType === Node.TEXT_NODE);
        // A slider shows no text.
        const field = node.matches("select, textarea, input:not([type=range])") && node.value;
        if (!field && !node.matches("mjx-container")
            && !own.some((part) => /[\\p{L}\\p{N}]/u.test(part.data))) continue;
        if (!node.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
        if (node.closest("script, style, svg, option, :disabled, [aria-disabled=true]")) continue;
        if (node.closest("mjx-assistive-mml, .sr-only, .visually-hidden")) continue;
        const {color, fontSize, fontWeight} = getComputedStyle(node);
        let front = rgba(color), back = [0, 0, 0, 0];
        let image = false;
        for (const [colour, opacity, picture] of ground(node)) {
            image ||= picture !== "none" && back[3] < 1;
            [front, back] = [over(front, colour), over(back, colour)];
            front[3] *= opacity;
            back[3] *= opacity;
        }
        if (image) continue;
        [front, back] = [front, back].map((one) => luminance(over(one, [page, page, page, 1])));
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        const size = parseFloat(fontSize);
        const large = size >= 24 || (size >= 18.66 && fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5))
            said.set(`${node.tagName} ${node.className} ${ratio.toFixed(2)}`,
                `contrast ${ratio.toFixed(2)}: ${node.outerHTML.slice(0, 120)}`);
    }
    return [...said.values()].slice(0, 5);
}"""

# The rules whose outcome depends on the layout; the others read what is the same at each size. None
# but contrast depends on the theme.
_LAYOUT = ["aria-hidden-focus", "scrollable-region-focusable", "target-size"]

_AXE = """async (only) => {
    // Text outside a landmark is no serious fault, and takes long to find. Contrast is looked at
    // above, in light and dark.
    const rules = {region: {enabled: false}, "color-contrast": {enabled: false}};
    const which = only ? {runOnly: {type: "rule", values: only}} : {rules};
    const result = await axe.run(document, {resultTypes: ["violations"], ...which});
    return result.violations
        .filter((found) => ["serious", "critical"].includes(found.impact))
        .flatMap((found) => found.nodes.slice(0, 3).map((node) =>
            `${found.id} (${found.impact}): ${found.help}: ${node.html.slice(0, 120)}`));
}"""
