"""What a page has to load before it is painted: little, and at once.

Of the theme's icons the ones that the book shows; the scripts later; of the theme's and its
extensions' twelve style sheets one, with what a page of the book can need, a third of them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from ncbook.files import digest

ICONS = re.compile(r"icons\.woff.*?unicode-range: ([^;]*);", re.S)
BUNDLE = "book.css"
LINK = re.compile(r'<link\b[^>]*rel="stylesheet"[^>]*>\s*')
ADDRESS = re.compile(r'href="((?:\.\./)*_static/)([^"?]*)')
CLASSES = re.compile(r'\bclass="([^"]*)"')
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
SOURCE = re.compile(r'<script\b[^>]*\bsrc="(?:\.\./)*_static/([^"?]*)')
COMPOSED = {"bs-tooltip-auto"}  # by Bootstrap's script, of pieces
WORD = re.compile(r"[A-Za-z_-][\w-]*")
STRING = r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\''
PIECE = re.compile(rf"/\*.*?\*/|{STRING}|url\([^\"')]*\)|[{{}};]", re.S)
COMMENT = re.compile(r"/\*.*?\*/", re.S)
LICENCE = re.compile(r"/\*!.*?\*/", re.S)
CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
NESTED = re.compile(rf"{STRING}|\([^()]*\)|\[[^\[\]]*\]")
WITHIN = ("@media", "@supports", "@layer", "@container")


# ---------------------------------------------------------------- icons and scripts


def make_icons(app):
    """Write the font of the icons that site.css names, of the hundreds in the theme's."""
    from fontTools import subset

    sheet = Path(__file__).resolve().parents[1] / "_static" / "site.css"
    font = next(
        path
        for folder in app.builder.theme.get_theme_dirs()
        if (path := Path(folder) / "static/vendor/fontawesome/webfonts/fa-solid-900.ttf").is_file()
    )
    path = Path(app.outdir) / "_static" / "icons.woff"
    path.parent.mkdir(parents=True, exist_ok=True)
    letters = ICONS.search(sheet.read_text("utf-8"))[1].replace("U+", "")
    subset.main([str(font), f"--unicodes={letters}", "--flavor=woff", f"--output-file={path}"])


def defer_scripts(app, pagename, templatename, context, doctree):
    """Let a page be painted before its scripts are there; they then run in their order."""
    if pagename == "search":
        return  # the theme adds scripts here that need the others at once
    # The line that follows the options in the page needs them.
    context["script_files"] = [
        type(one)(one.filename, priority=one.priority, **{"defer": "defer"} | one.attributes)
        if one.filename and "documentation_options" not in str(one.filename)
        else one
        for one in context["script_files"]
    ]


# ---------------------------------------------------------------- style sheets


def bundle(app, exception) -> None:
    """Make the one sheet of those that all pages have, and let the pages link it."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    pages = {path: path.read_text("utf-8") for path in Path(app.outdir).rglob("*.html")}
    linked = {path: sheets(text) for path, text in pages.items() if sheets(text)}
    # A page that an earlier build wrote, and this one did not, has the one sheet already.
    fresh = [names for names in linked.values() if BUNDLE not in names]
    if not fresh:
        return
    first, *others = fresh
    shared = [name for name in first if all(name in one for one in others)]
    loaded = {name for text in pages.values() for name in SOURCE.findall(text)}
    scripts = {*map(static.joinpath, loaded), *static.glob("live*.js")}  # these import each other
    known = words(pages.values(), (path.read_text("utf-8") for path in scripts)) | COMPOSED
    text = "".join(slim(whole(static, name), known) for name in shared)
    (static / BUNDLE).write_text(text, encoding="utf-8")
    mark = digest(text)[:8]
    for path in linked:
        path.write_text(relinked(pages[path], [*shared, BUNDLE], mark), encoding="utf-8")


def sheets(page: str) -> list[str]:
    """Return the style sheets in ``_static`` that a page links, in their order."""
    head = page[: page.find("</head>")]
    return [found[2] for link in LINK.findall(head) if (found := ADDRESS.search(link))]


def relinked(page: str, shared: list[str], mark: str) -> str:
    """Return a page with a link to the one sheet where it had the first of these."""
    head, end, body = page.partition("</head>")
    first = True

    def link(match):
        nonlocal first
        found = ADDRESS.search(match[0])
        if not found or found[2] not in shared:
            return match[0]
        once, first = first, False
        return f'<link rel="stylesheet" href="{found[1]}{BUNDLE}?v={mark}" />\n' if once else ""

    return LINK.sub(link, head) + end + body


def words(pages, scripts) -> set[str]:
    """Return what may be a class of an element: all that pages have or scripts say."""
    found = set()
    for page in pages:
        for classes in set(CLASSES.findall(page)):
            found.update(classes.split())
        for script in INLINE.findall(page):
            found.update(WORD.findall(script))
    for script in scripts:
        found.update(WORD.findall(script))
    return found


def whole(static: Path, name: str) -> str:
    """Return a sheet with what it imports; addresses in it are from ``_static``."""
    folder = posixpath.dirname(name)
    text = (static / name).read_text("utf-8")
    text = re.sub(r'@charset "[^"]*";', "", text)

    def place(address):
        return posixpath.normpath(posixpath.join(folder, address))

    text = re.sub(
        r"url\((?![\"']?(?:data:|https?:|[/#]))([\"']?)([^\"')]*)\1\)",
        lambda match: f"url({match[1]}{place(match[2])}{match[1]})",
        text,
    )
    return re.sub(r'@import "([^"]*)";', lambda match: whole(static, place(match[1])), text)


def slim(sheet: str, known: set[str]) -> str:
    """Return a sheet without the rules for classes that are not known, and without comments."""
    out = []
    for prelude, body in rules(sheet):
        out += LICENCE.findall(prelude)
        head = " ".join(COMMENT.sub("", prelude).split())
        if body is None:
            out.append(f"{head};" if head else "")
        elif head.startswith(WITHIN):
            inner = slim(body, known)
            out.append(f"{head}{{{inner}}}" if inner else "")
        elif head.startswith("@"):
            out.append(f"{head}{{{body}}}")
        elif left := [one for one in selectors(head) if needed(one, known)]:
            inner = re.sub(r"\s*\n\s*", "", COMMENT.sub("", body)).strip()
            out.append(f"{','.join(left)}{{{inner}}}")
    return "".join(out)


def rules(sheet: str) -> Iterator[tuple[str, str | None]]:
    """Yield the head and the body of each rule; what ends without a body has None."""
    depth, start, inner, prelude = 0, 0, 0, ""
    for piece in PIECE.finditer(sheet):
        if piece[0] == "{":
            if not depth:
                prelude, inner = sheet[start : piece.start()], piece.end()
            depth += 1
        elif piece[0] == "}":
            depth -= 1
            if not depth:
                yield prelude, sheet[inner : piece.start()]
                start = piece.end()
        elif piece[0] == ";" and not depth:
            yield sheet[start : piece.start()], None
            start = piece.end()


def selectors(head: str) -> list[str]:
    """Return the selectors before a rule's body."""
    mask, cuts = masked(head), [-1]
    cuts += [i for i, letter in enumerate(mask) if letter == ","]
    return [head[i + 1 : j].strip() for i, j in zip(cuts, [*cuts[1:], len(head)], strict=True)]


def masked(selector: str) -> str:
    """Return a selector with spaces for what is in brackets and strings."""
    while NESTED.search(selector):
        selector = NESTED.sub(lambda match: " " * len(match[0]), selector)
    return selector


def needed(selector: str, known: set[str]) -> bool:
    """Tell whether all classes of a selector are known; those in brackets are not looked at."""
    classes = (re.sub(r"\\(.)", r"\1", one) for one in CLASS.findall(masked(selector)))
    return all(one in known for one in classes)


def setup(app):
    """Register with Sphinx."""
    app.connect("builder-inited", make_icons)
    # After all that adds a script.
    app.connect("html-page-context", defer_scripts, priority=990)
    # After the theme, which writes its colours of code then.
    app.connect("build-finished", bundle, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
