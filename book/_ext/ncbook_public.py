"""What the public address of the repository, or of the site, turns on; there is none of it without.

Links to the repository, to a page's source, to the issues; Colab and Binder; canonical addresses
and a sitemap; what other sites show beside a link to a page, and what programs that collect
references read. All of it stands in the pages: nothing is loaded or sent.
"""

import json
import re
import tomllib
from functools import lru_cache
from html import escape
from pathlib import Path
from urllib.parse import quote, urlsplit

import nbformat
import yaml
from docutils import nodes
from ncbook_site import GREEK, chapter_source
from pybtex.database import parse_file
from pybtex.richtext import Text
from sphinx.errors import ConfigError

from ncbook.pipeline import chapters
from ncbook.pipeline.execute import prepared

PAGES = {"github.com": "github.io", "gitlab.com": "gitlab.io"}  # where a forge publishes sites
NOTEBOOKS = "notebooks"  # the branch with the notebooks for Colab, see .github/workflows/book.yml
CARDS = "_static/cards"
LICENCE = "https://creativecommons.org/licenses/by/4.0/"
LONGEST = 300  # letters of a description
FIGURE = re.compile(r"\{fig\} *([\w/-]+)")
SIGNS = GREEK | {"to": "→", "infty": "∞", "sqrt": "√", "le": "≤", "ge": "≥", "times": "×"}


# ---------------------------------------------------------------- the address


def repository_of(text: str) -> str:
    """Return a repository's address as links take it.

    Raises
    ------
    ConfigError
        It does not end in an owner and a name.
    """
    address = text.strip().rstrip("/").removesuffix(".git")
    parts = urlsplit(address)
    if address and (parts.scheme != "https" or "/" not in parts.path.strip("/")):
        raise ConfigError(
            f"_config.yml has the repository's address {text!r}; expected https://, a forge, an "
            "owner and a name, such as https://github.com/owner/name."
        )
    return address


def site_of(repository: str) -> str:
    """Return where the site of a repository is published.

    Raises
    ------
    ConfigError
        Its forge is none of which that is known.
    """
    parts = urlsplit(repository)
    owner, _, name = parts.path.strip("/").partition("/")
    if parts.netloc.lower() not in PAGES:
        raise ConfigError(
            f"Where {parts.netloc} publishes the site of {repository} is not known: write the "
            "site's address into _config.yml, as html: baseurl."
        )
    host = f"{owner}.{PAGES[parts.netloc.lower()]}".lower()
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def use_public_address(app, config):
    """Switch on what needs the repository's public address where it is set."""
    options = config.html_theme_options
    repository = options["repository_url"] = repository_of(options.get("repository_url") or "")
    for button in ("repository", "source", "edit_page", "issues"):
        options[f"use_{button}_button"] = bool(repository)
    if "bitbucket" in (urlsplit(repository).netloc, options.get("repository_provider")):
        options["use_issues_button"] = False  # the theme knows no address for it
    site = config.html_baseurl or (site_of(repository) if repository else "")
    config.html_baseurl = f"{site.rstrip('/')}/" if site else ""


# ---------------------------------------------------------------- Colab and Binder


def launchers(repository: str, branch: str, name: str) -> dict[str, str]:
    """Return the addresses at which a chapter's notebook opens, by the service's name."""
    parts = urlsplit(repository)
    host, path = parts.netloc.lower(), parts.path.strip("/")
    at = {
        "github.com": f"gh/{path}",
        "gitlab.com": f"gl/{quote(path, safe='')}",
    }.get(host, f"git/{quote(repository, safe='')}")
    binder = f"https://mybinder.org/v2/{at}/{quote(branch, safe='')}?urlpath=lab/tree/notebooks/{name}.ipynb"
    if host != "github.com":
        return {"Binder": binder}
    colab = (
        f"https://colab.research.google.com/github/{path}/blob/{NOTEBOOKS}/notebooks/{name}.ipynb"
    )
    return {"Colab": colab, "Binder": binder}


def take_icons(app, pagename, templatename, context, doctree):
    """Give a button with a forge's emblem another icon: a font of emblems would be for it alone."""
    for group in context.get("header_buttons", []):
        for button in (group, *group.get("buttons", [])):
            if button.get("icon", "").startswith("fab "):
                button["icon"] = "fas fa-code-branch"


def add_launchers(app, pagename, templatename, context, doctree):
    """Give a chapter its buttons for Colab and Binder, and write the notebook for Colab."""
    source, options = chapter_source(app, pagename), app.config.html_theme_options
    if source is None or doctree is None or not options["repository_url"]:
        return
    name = f"{source.parent.name}/{source.stem}"
    links = launchers(options["repository_url"], options.get("repository_branch") or "main", name)
    logos = {"Colab": "logo_colab.png", "Binder": "logo_binder.svg"}
    buttons = [
        {"type": "link", "url": url, "text": service, "tooltip": f"Run this chapter in {service}",
         "icon": f"_static/images/{logos[service]}", "label": f"launch-{service.lower()}-button"}
        for service, url in links.items()
    ]  # fmt: skip
    context["header_buttons"].insert(
        0,
        {
            "type": "group",
            "tooltip": "Run this chapter elsewhere",
            "icon": "fas fa-rocket",
            "buttons": buttons,
            "label": "launch-buttons",
        },
    )
    said = " or ".join(f'<a href="{escape(url)}">{service}</a>' for service, url in links.items())
    context["ncb_launch"] = f"<p>With nothing installed, in the browser: {said}.</p>"
    if "Colab" in links:
        file = Path(app.outdir) / "_sources" / "notebooks" / f"{name}.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(launchable(source, options["repository_url"]), encoding="utf-8")


def launchable(source: Path, repository: str) -> str:
    """Return a chapter's notebook for where nothing is installed: it first fetches the book."""
    notebook = prepared(chapters.read(source))
    fetch = _FETCH.format(repository=repository, branch=NOTEBOOKS)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(fetch, id="fetch"))
    return nbformat.writes(notebook) + "\n"


_FETCH = """\
# Where ncbook is not installed, as in Colab: fetch the book, and install what its chapters need.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("ncbook") is None:
    if not os.path.isdir("the-book"):
        clone = ["git", "clone", "--quiet", "--depth=1", "--branch={branch}"]
        subprocess.run([*clone, "{repository}", "the-book"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "./the-book"], check=True)
    importlib.invalidate_caches()
if os.path.isdir("the-book"):
    os.environ["NCBOOK_ROOT"] = os.path.abspath("the-book")"""


# ---------------------------------------------------------------- what is said about a page


@lru_cache
def citation_of(root: Path) -> tuple[list[dict[str, str]], str | None]:
    """Return the authors, as schema.org has them, and the day of the release from CITATION.cff."""
    said = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    authors = [
        {"@type": "Organization", "name": one["name"]}
        if "name" in one
        else {"@type": "Person", "name": f"{one['given-names']} {one['family-names']}"}
        for one in said["authors"]
    ]
    return authors, str(said.get("date-released", "")) or None


@lru_cache
def paper_of(folder: Path) -> tuple[str, dict]:
    """Return a chapter's part and paper in words, and the paper as schema.org has it."""
    head = tomllib.loads((folder / "claims.toml").read_text("utf-8"))
    entry = parse_file(str(folder.parents[1] / "book" / "references.bib")).entries[head["citation"]]
    fields = entry.fields
    doi = fields.get("doi")
    if doi is None and "eprint" in fields:
        doi = f"10.48550/arXiv.{fields['eprint']}"  # as each paper on arXiv has one
    paper = {
        "@type": "ScholarlyArticle",
        "name": plain_tex(fields["title"]),
        "author": [{"@type": "Person", "name": name_of(one)} for one in entry.persons["author"]],
        "datePublished": fields["year"],
        "sameAs": f"https://doi.org/{doi}" if doi else None,
    }
    words = f"{head['part']} · after {head['paper']}"
    return words, {name: value for name, value in paper.items() if value}


def name_of(person) -> str:
    """Return a person's name as one says it."""
    names = person.first_names + person.middle_names + person.prelast_names + person.last_names
    return plain_tex(" ".join(names + person.lineage_names))


def plain_tex(text: str) -> str:
    """Return the words of a bibliography's field."""
    return str(Text.from_latex(text))


def plain(node) -> str:
    """Return the words of a node, in one line."""
    return " ".join(_plain(node).split())


def _plain(node) -> str:
    if isinstance(node, nodes.math):
        return said_plainly(node.astext())
    if isinstance(node, nodes.raw):
        return ""
    return str(node) if isinstance(node, nodes.Text) else "".join(map(_plain, node.children))


def said_plainly(formula: str) -> str:
    r"""Return a short formula without TeX: ``e^{-2\lambda t}`` is e^(-2λt)."""
    signs = re.sub(r"\\([A-Za-z]+) ?", lambda m: SIGNS.get(m[1].removeprefix("var"), m[1]), formula)
    signs = re.sub(r"\^\{([^{}]{2,})\}", r"^(\1)", signs)
    return re.sub(r"\\.|[{}_]|\^(?=\*)", "", signs)


def description_of(doctree) -> str:
    """Return what a page says first, to the end of a sentence where it is too long."""
    every = doctree.findall(nodes.paragraph)
    paragraphs = (plain(one) for one in every if isinstance(one.parent, nodes.section))
    text = next(filter(None, paragraphs), "")
    if len(text) <= LONGEST:
        return text
    cut = text[:LONGEST]
    end = max(cut.rfind(". "), cut.rfind("? "))
    return cut[: end + 1] if end > 0 else f"{cut.rpartition(' ')[0]} …"


def figure_of(app, page: str) -> Path | None:
    """Return the drawing of the first figure of a page, None if it has none."""
    source = Path(app.env.doc2path(page))
    found = FIGURE.search(source.read_text("utf-8"))
    if found is None:
        return None
    chapter, _, name = found[1].rpartition("/")
    chapter = Path(app.srcdir) / "book" / chapter if chapter else source.with_suffix("")
    file = chapter.parent / "figures" / chapter.name / f"{name}-wide.svg"
    return file if file.is_file() else None


def card_of(app, page: str, title: str, above: str) -> tuple[str, str] | None:
    """Draw the card of a page, or of the first one for a page without a figure.

    Returned are its name and the title on it; None where the first page has no figure either.
    """
    import ncbook_card  # matplotlib: seconds, which a site without an address does not need

    root = app.config.root_doc
    if figure_of(app, page) is None:
        page, title, above = root, app.config.html_title, ""
    drawing = figure_of(app, page)
    if drawing is None:
        return None
    name = f"{CARDS}/{page.removeprefix('book/')}.png"
    ncbook_card.draw(Path(app.outdir) / name, title, above, drawing.read_text("utf-8"))
    return name, title


def describe(app, pagename, templatename, context, doctree):
    """Put into a page's head what is said about it elsewhere."""
    site = app.config.html_baseurl
    if not site or doctree is None:
        return
    root, book = Path(app.srcdir), app.config.html_title
    front, above, paper = pagename == app.config.root_doc, book, None
    title = book if front else plain(app.env.titles[pagename])
    if source := chapter_source(app, pagename):
        words, paper = paper_of(source.parent)
        above += f" · {words}"
    card = card_of(app, pagename, title, "" if front else above)
    authors, date = citation_of(root)
    about = {
        "title": title,
        "book": book,
        "front": front,
        "url": context["pageurl"],
        "site": site + app.builder.get_target_uri(app.config.root_doc),
        "description": description_of(doctree),
        "card": site + card[0] if card else None,
        "on_card": card[1] if card else None,
        "authors": authors,
        "date": date or re.search(r"\d{4}", app.config.copyright)[0],
        "paper": paper,
    }
    context["metatags"] = context.get("metatags", "") + "\n" + "\n".join(tags(about)) + "\n"


def tags(about: dict) -> list[str]:
    """Return the elements of a page's head that describe it: for links, for references."""
    card, front = about["card"], about["front"]
    pairs = [
        ("name", "description", about["description"]),
        ("property", "og:type", "website" if front else "article"),
        ("property", "og:site_name", about["book"]),
        ("property", "og:title", about["title"]),
        ("property", "og:description", about["description"]),
        ("property", "og:url", about["url"]),
        ("name", "twitter:card", "summary_large_image" if card else "summary"),
        ("name", "citation_title", about["title"]),
        *(("name", "citation_author", one["name"]) for one in about["authors"]),
        ("name", "citation_publication_date", about["date"].replace("-", "/")),
        ("name", "citation_inbook_title", None if front else about["book"]),
        ("name", "citation_language", "en"),
        ("name", "citation_public_url", about["url"]),
    ]
    if card:
        from ncbook_card import HEIGHT, WIDTH

        pairs += [
            ("property", "og:image", card),
            ("property", "og:image:type", "image/png"),
            ("property", "og:image:width", str(WIDTH)),
            ("property", "og:image:height", str(HEIGHT)),
            ("property", "og:image:alt", f"{about['on_card']}, above a figure of the book"),
        ]
    found = [
        f'<meta {kind}="{name}" content="{escape(value)}" />'
        for kind, name, value in pairs
        if value
    ]
    said = json.dumps(schema(about), ensure_ascii=False).replace("<", "\\u003c")
    return [*found, f'<script type="application/ld+json">{said}</script>']


def schema(about: dict) -> dict:
    """Return what schema.org has of a page: the book, a chapter after a paper, or another one."""
    front, paper = about["front"], about["paper"]
    book = {"@type": "Book", "name": about["book"], "url": about["site"]}
    said = {
        "@context": "https://schema.org",
        "@type": "Book" if front else ["Chapter", "LearningResource"] if paper else "WebPage",
        "name": about["title"],
        "url": about["url"],
        "description": about["description"],
        "image": about["card"],
        "author": about["authors"],
        "datePublished": about["date"],
        "license": LICENCE,
        "inLanguage": "en",
        "isAccessibleForFree": True,
        "isPartOf": None if front else book,
        "isBasedOn": paper,
    }
    return {name: value for name, value in said.items() if value}


# ---------------------------------------------------------------- files of the site


def write_files(app, exception):
    """Write the list of pages, what crawlers may read, and the page for what is not there."""
    site = app.config.html_baseurl
    if exception or not site or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pages = [site + app.builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
    listed = "".join(f"<url><loc>{escape(page)}</loc></url>\n" for page in pages)
    (out / "sitemap.xml").write_text(_SITEMAP.format(listed), encoding="utf-8")
    (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {site}sitemap.xml\n")
    first = site + app.builder.get_target_uri(app.config.root_doc)
    page = _NOT_THERE.format(title=escape(app.config.html_title), first=escape(first))
    (out / "404.html").write_text(page, encoding="utf-8")


_SITEMAP = """\
<?xml version="1.0" encoding="utf-8"?>
<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
{}</urlset>
"""

# It is shown at any address, however deep, so it has everything in itself.
_NOT_THERE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="robots" content="noindex" />
<meta name="color-scheme" content="light dark" />
<title>No such page - {title}</title>
<style>main {{ font: 1.1rem sans-serif; max-width: 40rem; margin: 15vh auto; padding: 1rem }}</style>
</head>
<body><main>
<h1>There is no such page</h1>
<p>The book begins at <a href="{first}">{title}</a>.</p>
</main></body>
</html>
"""


def setup(app):
    """Register with Sphinx."""
    app.connect("config-inited", use_public_address)
    app.connect("html-page-context", take_icons, priority=850)
    # Before ncbook_site writes the box that says how to run a chapter.
    app.connect("html-page-context", add_launchers, priority=850)
    app.connect("html-page-context", describe, priority=850)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
