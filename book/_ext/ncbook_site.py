"""What the site needs beyond jupyter-book: buttons, API pages, labels, search."""

import json
import pkgutil
import re
import shutil
from collections import Counter, namedtuple
from html import escape
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.plain import Style as PlainStyle
from pybtex.style.labels import BaseLabelStyle
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

FIELD = type(namedtuple("Any", "one").one)  # of a named tuple, as its class holds it
NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma "
    "tau upsilon phi chi psi omega"
)
GREEK = dict(zip(NAMES.split(), "αβγδεζηθικλμνξοπρστυφχψω", strict=True))
# The same letter's other characters, on keyboards and in formulas. (The search knows no capitals.)
VARIANTS = {"ε": "ϵ", "θ": "ϑ", "κ": "ϰ", "μ": "µ", "π": "ϖ", "ρ": "ϱ", "σ": "ς", "φ": "ϕ"}
LETTER = re.compile(rf"\\(?:var)?({'|'.join(GREEK)})(?![a-z])", re.IGNORECASE)
NOTATION = "book/notation"
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.S)
PRE = re.compile(r'<span class="pre">([^<]*)</span>')
# A type with what typer, say, is told of it, which shows as an object at an address in memory.
ANNOTATED = re.compile(
    r"~?(?:[\w.]+\.)?Annotated\[((?:[^][<>]|\[[^][<>]*\])*?)(?:, <[^<>]*>)+\]"
)
API = re.compile(r"<!-- api: ([\w. ]+?) -->")


# ---------------------------------------------------------------- bibliography


class AuthorYear(BaseLabelStyle):
    """Labels as the text cites: "Mixon et al., 2022"; "2022a" where two would agree."""

    def format_labels(self, sorted_entries):
        """Yield one label for each entry."""
        plain = [self._label(entry) for entry in sorted_entries]
        count, seen = Counter(plain), Counter()
        for label in plain:
            seen[label] += 1
            yield label if count[label] == 1 else f"{label}{'abcdefgh'[seen[label] - 1]}"

    @staticmethod
    def _label(entry):
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [
            str(Text.from_latex(" ".join(person.prelast_names + person.last_names)))
            for person in people
        ]
        if not names:
            names = [entry.key]
        who = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        return f"{who}, {entry.fields.get('year', 'no year')}"


class BookStyle(PlainStyle):
    """Pybtex's plain style with author-year labels."""

    default_label_style = AuthorYear


# ---------------------------------------------------------------- API pages


def inside(package: str) -> list[str]:
    """Name what is in a package, or nothing in a module, without importing it."""
    root = Path(__file__).resolve().parents[2] / package.replace(".", "/")
    found = [name for _, name, _ in pkgutil.iter_modules([str(root)]) if not name.startswith("_")]
    return [f"{package}.{name}" for name in sorted(found)]


def modules(package: str) -> list[str]:
    """Name a package and its public modules, those of packages in it, too."""
    return [package, *(module for one in inside(package) for module in modules(one))]


def wanted(names: str) -> list[str]:
    """Return what an API page names; ``the rest`` is all of ncbook that no other page names."""
    if names != "the rest":
        return names.split()
    pages = (Path(__file__).resolve().parents[1] / "api").glob("*.md")
    named = {
        name for page in pages for line in API.findall(page.read_text()) for name in line.split()
    }
    return [name for name in inside("ncbook") if name not in named]


def expand_api(app, docname, source):
    """Replace ``<!-- api: a.package a.module -->`` by its modules' documentation."""

    def blocks(match):
        # What a package passes on from its modules is documented there, not twice.
        return "\n".join(
            f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n"
            "   :members:\n   :ignore-module-all:\n```\n"
            for room in wanted(match[1])
            for name in modules(room)
        )

    source[0] = API.sub(blocks, source[0])


def show_types_alone(app, what, name, obj, options, signature, return_annotation):
    """Leave out of a signature what its types are annotated with."""
    if signature and "Annotated[" in signature:
        return ANNOTATED.sub(r"\1", signature), return_annotation
    return None


def skip_fields(app, what, name, obj, skip, options):
    """Leave out the fields of a named tuple, which its own documentation lists."""
    return True if isinstance(obj, FIELD) else None


def resolve_short_name(app, env, node, contnode):
    """Resolve a name that a package passes on, such as ``ncbook.claims.load``, to its module's."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("ncbook."):
        return None
    package, _, name = target.rpartition(".")
    domain = env.get_domain("py")
    found = [
        full for full in domain.objects
        if full.startswith(f"{package}.") and full.endswith(f".{name}")
        and full.count(".") == target.count(".") + 1
    ]  # fmt: skip
    if len(found) != 1:
        return None
    entry = domain.objects[found[0]]
    return make_refnode(
        app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found[0]
    )


# ---------------------------------------------------------------- mending


def mend(body: str) -> str:
    """Mend what extensions write: ids that stand twice, and a list that is none."""
    for name in ("proof-content", "exercise-content", "solution-content"):
        body = body.replace(f' id="{name}"', "")
    body = body.replace(' id="proof">', ">")
    # The name of folded code is what it shows.
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    # A signature's words have classes of their own.
    body = SIGNATURE.sub(lambda match: PRE.sub(r"\1", match[0]), body)
    body = re.sub(
        r'(<div class="proof [^>]*id="([^"]+)">\s*<p class="admonition-title") id="\2"', r"\1", body
    )
    return body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def mend_page(app, pagename, templatename, context, doctree):
    """Mend a page's body before it is written."""
    if "body" in context:
        context["body"] = mend(context["body"])


# ---------------------------------------------------------------- search


def add_to_search(app, doctree, docname):
    """Let the search find numbered boxes by their number, and Greek letters in formulas.

    The search takes index entries from a page as it is written. The general index was collected
    when the page was read, so it does not list them.
    """
    numbers = app.env.toc_fignumbers.get(docname, {})
    entries = []
    for box in doctree.findall(lambda node: isinstance(node, nodes.Admonition)):
        name = next(iter(box["ids"]), "")
        if number := numbers.get(box.get("countertype"), {}).get(name):
            number = ".".join(map(str, number))
            title = f"{box['realtype'].title()} {number}"
            entries += [(entry, name, "main") for entry in (title, number)]
    seen = set()
    for formula in doctree.findall(
        lambda node: isinstance(node, nodes.math | nodes.math_block | nodes.raw)
    ):
        for letter in {GREEK[name.lower()] for name in LETTER.findall(formula.astext())} - seen:
            seen.add(letter)
            main = "main" if docname == NOTATION else ""
            entries += [
                (entry, section_of(formula), main) for entry in letter + VARIANTS.get(letter, "")
            ]
    if entries:
        doctree += addnodes.index(
            entries=[("single", entry, name, main, None) for entry, name, main in entries]
        )


def section_of(node) -> str:
    """Return the id of the section that a node stands in, "" at the top of its page."""
    while node.parent is not None:
        node = node.parent
        # A box's content is a section too, whose id is taken away (see `mend`).
        if isinstance(node, nodes.section) and isinstance(node.parent, nodes.section):
            return node["ids"][0]
    return ""


# ---------------------------------------------------------------- committed benchmarks


class Bench(SphinxDirective):
    """``{bench}`` key: a table of the committed benchmarks, one for each file that has it.

    The content names the columns: ``key: title``, one a line. With the option ``optional``
    there need not be a file that has it: then a sentence says which command makes one.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"optional": directives.unchanged_required}

    def run(self):
        """Return a paragraph and a table for each file."""
        folder = Path(self.env.srcdir) / "results" / "bench"
        columns = dict(line.split(": ", 1) for line in self.content)
        text, paths = [], sorted(folder.glob("*.json"))
        for path in paths:
            self.env.note_dependency(str(path))
            saved = json.loads(path.read_text(encoding="utf-8"))
            rows = [row for row in saved.get(self.arguments[0], []) if set(columns) <= set(row)]
            if not rows:
                continue
            text += [machine(saved["provenance"]), ""]
            text += ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
            text += ["| " + " | ".join(short(row[key]) for key in columns) + " |" for row in rows]
            text += [""]
        command = self.options.get("optional", "make bench")
        if paths and not text and "optional" not in self.options:
            logger.warning(
                "No file in results/bench has a table %r with the columns %s; save one with "
                "python -m bench --save", self.arguments[0], ", ".join(columns),
                location=self.get_location(),
            )  # fmt: skip
        text = text or [f"*No measurement has been committed yet: `{command}` makes one.*"]
        return self.parse_text_to_nodes("\n".join(text))


def machine(provenance: dict) -> str:
    """Say on what machine and with which versions something was measured."""
    versions = [f"{name} {provenance[name]}" for name in ("torch", "scipy", "torchdiffeq")
                if provenance.get(name)]  # fmt: skip
    return (
        f"{provenance['processor'] or provenance['architecture']}, {provenance['cores']} cores, "
        f"{provenance['system']}, Python {provenance['python']}, {', '.join(versions)}; "
        f"{provenance['date']}."
    )


def short(value) -> str:
    """Write a table's entry with three digits."""
    if isinstance(value, float):
        return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


# ---------------------------------------------------------------- a chapter's buttons


def chapter_source(app, pagename: str) -> Path | None:
    """Return the source of an executed chapter, or None for any other page."""
    parts = Path(pagename).parts
    if len(parts) != 3 or parts[0] != "book":
        return None
    source = Path(app.srcdir) / "notebooks" / parts[1] / f"{parts[2]}.md"
    return source if source.is_file() else None


def add_chapter_buttons(app, pagename, templatename, context, doctree):
    """Give a chapter its downloads and the box that says how to run it."""
    source = chapter_source(app, pagename)
    if source is None or doctree is None:
        return
    pathto = context["pathto"]
    name = "/".join(Path(pagename).parts[1:])
    copied = Path(app.outdir) / "_sources" / "notebooks" / f"{name}.md"
    copied.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, copied)
    executed = f"{pathto('_sources', 1)}/{context['sourcename']}"
    written = f"{pathto('_sources', 1)}/notebooks/{name}.md"
    for group in context["header_buttons"]:
        for button in (group, *group.get("buttons", [])):
            # Executed chapters are not in the repository; their sources are.
            if button.get("label") in ("source-file-button", "source-edit-button"):
                button["url"] = button["url"].replace(
                    f"/book/{name}.ipynb", f"/notebooks/{name}.md"
                )
        if group.get("label") == "download-buttons":
            group["buttons"].insert(
                1,
                {
                    "type": "link",
                    "url": written,
                    "text": ".md",
                    "icon": "fas fa-file",
                    "tooltip": "Download the source as it was written",
                    "label": "download-written-source-button",
                },
            )
            group["buttons"][0]["tooltip"] = "Download the executed notebook"
    context["header_buttons"].insert(
        0,
        {
            "type": "javascript",
            "javascript": "location.hash = 'run-this-chapter'",
            "tooltip": "Run this chapter yourself",
            "icon": "fas fa-play",
            "label": "run-this-chapter-button",
            "classes": "pst-navbar-icon",
        },
    )
    if "body" in context:
        context["body"] += _RUN.format(
            name=escape(name),
            executed=executed,
            written=written,
            how=pathto("book/reproduce"),
            elsewhere=context.get("ncb_launch", ""),
        )


_RUN = """
<aside class="ncb-run" id="run-this-chapter" aria-labelledby="run-this-chapter-title">
<h2 id="run-this-chapter-title">Run this chapter yourself</h2>
<p>In a clone of the book, after <code>make book</code>; put a parameter and its value behind
<code>-p</code> to change it:</p>
<div class="highlight-shell notranslate"><div class="highlight"><pre
>.venv/bin/python -m ncbook run {name}</pre></div></div>
<p>Or in Jupyter: <a href="{executed}" download>the executed notebook</a>,
<a href="{written}" download>its source</a>. <a href="{how}">How runs are reproduced</a>.</p>
{elsewhere}</aside>
"""


def setup(app):
    """Register with Sphinx."""
    # Outputs contain formulas too, so every page gets MathJax, not only those with a math node.
    app.set_html_assets_policy("always")
    register_plugin("pybtex.style.formatting", "ncbook", BookStyle)
    app.add_config_value("ncbook_modules", [], "env")
    # A new module in ncbook makes the API pages out of date.
    app.connect(
        "config-inited", lambda app, config: setattr(config, "ncbook_modules", modules("ncbook"))
    )
    app.connect("source-read", expand_api)
    app.connect("missing-reference", resolve_short_name)
    app.connect("doctree-resolved", add_to_search)
    app.connect("html-page-context", mend_page)
    app.connect("html-page-context", add_chapter_buttons, priority=900)
    app.add_directive("bench", Bench)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-signature", show_types_alone)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
