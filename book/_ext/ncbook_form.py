"""The form of a chapter: figures with number and caption, folded proofs, exercises, reading aids."""

import ast
import json
import os
import re
import shutil
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import ClassVar

import drawings
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.directive import ExerciseDirective

from ncbook.files import digest

logger = logging.getLogger(__name__)
LAYOUTS = ("wide", "narrow")
IN_JUPYTER = re.compile(r'<figure class="ncb-jupyter"')


# ---------------------------------------------------------------- figures


class Fig(SphinxDirective):
    """``{fig}`` name: a figure that a cell of the chapter drew, wherever the text wants it.

    The content is the caption; what follows its first paragraph is a legend. ``:alt:`` says in words
    what the figure shows. ``paper/NN-chapter/name`` shows the figure of a chapter on another page,
    where it has no number. A scene with ``:play:`` plays once when it is first seen.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "alt": directives.unchanged_required,
        "name": directives.unchanged,
        "class": directives.class_option,
        "play": directives.flag,
    }

    def run(self):
        """Return the figure, numbered within its chapter."""
        chapter, _, name = self.arguments[0].rpartition("/")
        alt = " ".join(self.options.get("alt", "").split())
        if len(alt.split()) < 3 or not self.content:
            logger.warning(
                "figure %r needs an alternative text (:alt:) and a caption", name,
                location=self.get_location(),
            )  # fmt: skip
        found = drawn(self, chapter, name, alt)
        if found is None:
            return []
        source, folder, layouts = found
        scene = folder / f"{name}.json"
        page = _FIGURE.format("".join(layouts))
        if scene.is_file():
            self.env.note_dependency(str(scene))
            play = " data-play" if "play" in self.options else ""
            data = f"{beside(self.env, folder)}/{name}.js?v={digest(scene)[:8]}"
            page = _SCENE.format(play, layouts[0], data)
        if chapter:
            figure = nodes.container("", nodes.raw("", page, format="html"), classes=["ncb-fig"])
            self.state.nested_parse(self.content, self.content_offset, figure)
            return [figure]
        figure = nodes.figure("", nodes.raw("", page, format="html"))
        figure["classes"] += ["ncb-fig", *self.options.get("class", [])]
        figure["ncbook"] = name
        self.set_source_info(figure)
        self.options.setdefault("name", f"fig-{name}")
        self.add_name(figure)
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        if text.children:
            first, *rest = text.children
            figure += nodes.caption("", "", *first.children)
            links = nodes.raw("", _LINKS.format(chapter=source.stem, name=name), format="html")
            figure += nodes.legend("", *rest, links)
        return [figure]


def drawn(directive, chapter: str, name: str, alt: str):
    """Return a figure's chapter, its folder and its drawings, told by ``alt``; None without them."""
    env = directive.env
    source = Path(env.srcdir) / "book" / f"{chapter}.ipynb" if chapter else None
    source = source or Path(env.doc2path(env.docname))
    folder = source.parent / "figures" / source.stem
    # The page may have the same figure twice, whose names are not to clash.
    number, found = env.new_serialno("ncb-drawing"), []
    for layout in LAYOUTS:
        path = folder / f"{name}-{layout}.svg"
        env.note_dependency(str(path))
        if not path.is_file():
            logger.warning(
                "no cell of this chapter drew the figure %r", name,
                location=directive.get_location(),
            )  # fmt: skip
            return None
        label = f'aria-label="{escape(alt)}"'
        text = drawings.named(drawings.packed(path.read_text("utf-8")), f"f{number}{layout[0]}")
        text, pictures = drawings.apart(text)
        for picture in pictures:
            text = text.replace(picture, f"{beside(env, folder)}/{picture}")
        found.append(re.sub(r'aria-label="[^"]*"', lambda _, label=label: label, text, count=1))
    return source, folder, found


def beside(env, folder: Path) -> str:
    """Return where a page finds what stands beside a chapter, see :func:`copy_beside`."""
    return Path(os.path.relpath(folder, Path(env.doc2path(env.docname)).parent)).as_posix()


class Live(SphinxDirective):
    """``{live}`` name: a model that runs in the page, see ``book/_static/live.js``.

    ``:start:`` has its parameters, as JSON. ``:still:`` names the figure, of this chapter or as
    ``paper/NN-chapter/name``, that stands in its place on paper and without scripts, and ``:alt:``
    says in words what that shows. The content is the caption.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "start": directives.unchanged,
        "still": directives.unchanged_required,
        "alt": directives.unchanged_required,
    }

    def run(self):
        """Return the place of the picture, with its still."""
        name, start = self.arguments[0], self.options.get("start", "{}")
        try:
            json.loads(start)
        except json.JSONDecodeError as error:
            raise self.error(f":start: of {name!r} is not JSON: {error}") from error
        if not {"still", "alt"} <= self.options.keys():
            logger.warning(
                "the live picture %r needs a figure for paper (:still:) and its words (:alt:)", name,
                location=self.get_location(),
            )  # fmt: skip
            return []
        chapter, _, still = self.options["still"].rpartition("/")
        found = drawn(self, chapter, still, " ".join(self.options["alt"].split()))
        if found is None:
            return []
        page = _LIVE.format(name, escape(start), _FIGURE.format("".join(found[2])))
        figure = nodes.container("", nodes.raw("", page, format="html"), classes=["ncb-fig"])
        self.state.nested_parse(self.content, self.content_offset, figure)
        return [figure]


def add_live_scripts(app, pagename, templatename, context, doctree):
    """Give a page the scripts of the live pictures that it has, and no other page."""
    names = sorted(set(re.findall(r'data-live="([\w-]+)"', context.get("body", ""))))
    if names:
        # They import a module that has no mark of its version, as their own addresses have.
        # It begins with a dot: without one it would be a name, and no address.
        shared = f"./{context['pathto']('_static/live.js', resource=True)}"
        mark = digest(Path(__file__).parents[1] / "_static" / "live.js")[:8]
        imports = {"imports": {shared: f"{shared}?v={mark}"}}
        app.add_js_file(None, body=json.dumps(imports), type="importmap", priority=100)
    for name in names:
        app.add_js_file(f"live-{name}.js", type="module")


_LIVE = '<div class="ncb-live" data-live="{}" data-start="{}"></div><div class="ncb-live-still">{}</div>'
_FIGURE = '<div class="ncb-figure tex2jax_ignore">{}</div>'
_SCENE = (
    '<div class="ncb-figure ncb-scene tex2jax_ignore"{}>{}<script defer src="{}"></script></div>'
)
_LINKS = (
    '<p class="ncb-fig-links"><a href="tables/{chapter}/{name}.csv" download>Table (CSV)</a> '
    '<a href="#code-of-{name}" class="ncb-to-code">Code</a> '
    '<a href="figures/{chapter}/{name}-wide.svg" class="ncb-enlarge">Enlarge</a></p>'
)


def leave_to_jupyter(app, doctree):
    """Take out of the page what a cell shows in Jupyter alone: the figures that the text places."""
    placed = {figure["ncbook"] for figure in doctree.findall(nodes.figure) if "ncbook" in figure}
    for node in list(doctree.findall(nodes.raw)):
        if IN_JUPYTER.match(node.astext()):
            name = re.search(r'data-name="([^"]*)"', node.astext())[1]
            if name not in placed:
                logger.warning(
                    "the text places no figure %r, which a cell draws", name, location=node
                )
            mark = f'<a id="code-of-{name}" class="ncb-code-of"></a>'
            node.parent.replace(node, nodes.raw("", mark, format="html"))


# ---------------------------------------------------------------- the list of figures


class GalleryNode(nodes.General, nodes.Element):
    """Where the list of all figures stands, until all pages are read."""


class Gallery(SphinxDirective):
    """``{gallery}``: a thumbnail of each figure of the book, with its number and conclusion.

    With content, one of each page that a line names, ``page paper/NN-chapter/name words``: the figure
    and the words lead to the page.
    """

    has_content = True

    def run(self):
        """Return the place of the list, or the list of what is named."""
        if not self.content:
            # Written anew whenever a figure changes: it has what other pages hold.
            self.env.note_reread()
            return [GalleryNode()]
        entries = []
        for line in self.content:
            if len(parts := line.split(maxsplit=2)) < 3:
                raise self.error(f"{line!r}: expected a page, a figure of a chapter, and words")
            page, figure, words = parts
            chapter, _, name = figure.rpartition("/")
            entry = nodes.list_item("")
            link, _ = self.state.inline_text(f"{{doc}}`{words} <{page}>`", self.lineno)
            folder, stem = f"book/{chapter}".rsplit("/", 1)
            path = Path(self.env.srcdir) / folder / "figures" / stem / f"{name}-wide.svg"
            self.env.note_dependency(str(path))
            if not path.is_file():
                logger.warning("no chapter drew %r", figure, location=self.get_location())
                continue
            uri = f"{folder.removeprefix('book/')}/figures/{stem}/{name}-wide.svg"
            entry += nodes.raw("", f'<img loading="lazy" alt="" src="{uri}">', format="html")
            entry += nodes.paragraph("", "", *link)
            entries.append(entry)
        return [nodes.bullet_list("", *entries, classes=["ncb-gallery"])]


def note_figures(app, doctree):
    """Remember a page's figures for the list: id, name, and the caption's first sentence."""
    docname = app.env.docname
    every = app.env.__dict__.setdefault("ncb_figures", {})
    every[docname] = [
        (figure["ids"][0], figure["ncbook"], _conclusion(figure))
        for figure in doctree.findall(nodes.figure)
        if "ncbook" in figure
    ]


def forget_figures(app, env, docname):
    """Forget the figures of a page that is read anew or gone."""
    env.__dict__.setdefault("ncb_figures", {}).pop(docname, None)


def merge_figures(app, env, docnames, other):
    """Take over what another reading process found."""
    ours, theirs = (one.__dict__.setdefault("ncb_figures", {}) for one in (env, other))
    ours |= {name: theirs[name] for name in docnames if name in theirs}


def in_order(env, pages) -> list[str]:
    """Return pages in the order of the table of contents."""
    order = {}

    def walk(page):
        if page not in order:
            order[page] = len(order)
            for below in env.toctree_includes.get(page, ()):
                walk(below)

    walk(env.config.root_doc)
    return sorted(pages, key=lambda page: order.get(page, len(order)))


def _conclusion(figure) -> str:
    caption = next(iter(figure.findall(nodes.caption)), None)
    if caption is None:
        return ""
    strong = next(iter(caption.findall(nodes.strong)), caption)
    return as_html(strong)


def as_html(node) -> str:
    """Return the words of a node as HTML, its formulas as MathJax finds them."""
    if isinstance(node, nodes.math):
        return f'<span class="math notranslate nohighlight">\\({escape(node.astext())}\\)</span>'
    if isinstance(node, nodes.Text):
        return escape(node.astext())
    return "".join(map(as_html, node.children))


def fill_gallery(app, doctree, docname):
    """Put the figures where the list is to stand, by part and chapter."""
    for place in list(doctree.findall(GalleryNode)):
        parts = []
        figures = app.env.__dict__.get("ncb_figures", {})
        for page in in_order(app.env, [name for name in figures if figures[name]]):
            numbers = app.env.toc_fignumbers.get(page, {}).get("figure", {})
            number = ".".join(map(str, app.env.toc_secnumbers.get(page, {}).get("", ())))
            parts.append(f"<h2>{number} {as_html(app.env.titles[page])}</h2>")
            parts.append('<ul class="ncb-gallery">')
            root = app.builder.get_relative_uri(docname, page)
            folder = f"{root.rpartition('/')[0]}/figures/{Path(page).name}"
            for id, name, said in figures[page]:
                number = ".".join(map(str, numbers.get(id, ())))
                parts.append(
                    f'<li><a href="{root}#{id}"><img loading="lazy" alt="" src="{folder}/{name}-wide.svg">'
                    f"<span>Figure {number}</span> {said}</a></li>"
                )
            parts.append("</ul>")
        place.replace_self(nodes.raw("", "".join(parts), format="html"))


# ---------------------------------------------------------------- proofs and solutions


class Fold(SphinxPostTransform):
    """Proofs and solutions of class ``dropdown`` become ``<details>``: no script, open on paper."""

    default_priority = 950  # after the extensions' own
    formats = ("html",)

    def run(self, **options):
        """Replace them in the page."""
        for node in list(self.document.findall(nodes.Element)):
            classes = node.get("classes", [])
            kind = next((one for one in ("solution", "proof") if one in classes), None)
            if kind is None or "dropdown" not in classes:
                continue
            if kind == "proof" and not isinstance(node, nodes.admonition):
                continue  # a theorem, which keeps its number
            self.fold(node, kind)

    def fold(self, node, kind: str) -> None:
        """Replace one."""
        title = next((one for one in node if "title" in type(one).__name__), None)
        inner = [one for one in node if one is not title]
        words = list(title) if title is not None and kind == "proof" else [nodes.Text(kind.title())]
        name = f' id="{node["ids"][0]}"' if node["ids"] else ""
        first = next((p for one in inner for p in one.findall(nodes.paragraph)), None)
        if kind == "proof" and first is not None and isinstance(first[0], nodes.Text):
            first[0] = nodes.Text(str(first[0]).removeprefix("Proof. "))
        box = nodes.container("", classes=["ncb-fold", kind])
        box += nodes.raw("", f'<details class="ncb-fold-{kind}"{name}><summary>', format="html")
        box += nodes.inline("", "", *words)
        box += nodes.raw("", "</summary>", format="html")
        box += inner
        box += nodes.raw("", "</details>", format="html")
        node.replace_self(box)
        box["ids"] = []  # the fold has it


class Exercise(ExerciseDirective):
    """``{exercise}`` of a grade; one that is to be run says how (see ncbook.pipeline.exercises)."""

    option_spec: ClassVar = ExerciseDirective.option_spec | {
        "grade": lambda text: directives.choice(text, GRADES),
        **dict.fromkeys(("run", "fails", "holds", "gives"), directives.unchanged_required),
    }

    def run(self):
        """Return the exercise, with the command that runs it."""
        grade = self.options.get("grade", "run" if "run" in self.options else "check")
        found = super().run()
        for box in found:
            box["classes"] += [f"ncb-grade-{grade}"]
        if "run" in self.options:
            chapter = "/".join(Path(self.env.docname).parts[-2:])
            given = " ".join(f"-p {one}" for one in self.options["run"].split())
            command = nodes.paragraph("", "Run it: ")
            command += nodes.literal("", f"ncbook run {chapter} {given}")
            found[-1] += command
        return found


GRADES = ("check", "derive", "run")


# ---------------------------------------------------------------- what stands around the text


class Start(SphinxDirective):
    """``{start}``: what a reader needs, what is new here: beside the text where there is room."""

    has_content = True

    def run(self):
        """Return a container, which :func:`add_facts` copies beside the page's contents."""
        box = nodes.container("", classes=["ncb-start"])
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


def minutes(doctree) -> int:
    """Return how long a page takes to read: words, and what has to be looked at."""
    words = formulas = 0
    for node in doctree.findall(nodes.Text):
        above = node.parent
        while above is not None and not isinstance(
            above, nodes.literal_block | nodes.raw | nodes.math_block
        ):
            above = above.parent
        words += len(node.split()) if above is None else 0
    formulas = sum(1 for _ in doctree.findall(nodes.math_block))
    figures = sum(1 for _ in doctree.findall(nodes.figure))
    return max(1, round(words / WORDS + (formulas + 2 * figures) / 4))


WORDS = 220  # a minute


def fill_margin(app, pagename, templatename, context, doctree):
    """Put what a reader needs beside the page's contents, too: form.css shows one of both."""
    for box in elements(context.get("body", ""), START):
        inner = box[box.index(">") + 1 : box.rindex("<")]
        context["ncb_start"] = re.sub(r'(<[^>]*) id="[^"]*"', r"\1", inner)


START = re.compile(r'<(div) class="[^"]*ncb-start')


def elements(body: str, opening: re.Pattern) -> list[str]:
    """Return the elements, none within another, whose tag begins so; the group is the tag's name.

    A parser that makes a tree of a whole page takes as long as all else that writes it.
    """
    found, end = [], 0
    for start in opening.finditer(body):
        if start.start() < end:
            continue
        depth = 0
        for tag in re.compile(rf"<(/?){start[1]}\b[^>]*>").finditer(body, start.start()):
            depth += -1 if tag[1] else 1
            if not depth:
                break
        end = tag.end()
        found.append(body[start.start() : end])
    return found


def add_facts(app, pagename, templatename, context, doctree):
    """Say under a chapter's title how long it is and how its claims stand."""
    if doctree is None or "body" not in context:
        return
    body = context["body"]
    verdicts = re.findall(r'<tr role="row" id="claim-[^"]*" data-verdict="([^"]*)"', body)
    if not verdicts or not Path(pagename).name[:2].isdigit():
        return
    hold = verdicts.count("holds")
    facts = (
        f'<div class="ncb-facts"><span>{minutes(doctree)} minutes</span>'
        f'<a href="#claims-of-this-chapter">{hold} of {len(verdicts)} claims hold</a></div>'
    )
    context["body"] = body.replace("</h1>", "</h1>\n" + facts, 1)


def copy_beside(app, pagename, templatename, context, doctree):
    """Copy what stands beside a page: its figures and their tables, as its links name them."""
    for kind in ("figures", "tables"):
        source = Path(app.srcdir) / Path(pagename).parent / kind / Path(pagename).name
        target = Path(app.outdir) / Path(pagename).parent / kind / Path(pagename).name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, copy_function=copy_packed)


def copy_packed(source: str, target: str) -> None:
    """Copy a file; a drawing as the pages have it, with its pictures, and a scene as a script."""
    path, copy = Path(source), Path(target)
    if path.suffix == ".svg":
        text = drawings.named(drawings.packed(path.read_text("utf-8")), "")
        copy.write_text(text + "\n", encoding="utf-8")
        for name, picture in drawings.apart(text)[1].items():
            copy.with_name(name).write_bytes(picture)
    elif path.suffix == ".json":
        # From disk a page may load a script, and no data: it puts them into its own place.
        data = path.read_text("utf-8").strip()
        copy.with_suffix(".js").write_text(_DATA.format(data), encoding="utf-8")
    else:
        shutil.copy2(source, target)


_DATA = (
    'document.currentScript.replaceWith(Object.assign(document.createElement("script"), '
    '{{type: "application/json", textContent: JSON.stringify({})}}));\n'
)


# ---------------------------------------------------------------- names in code


LEXERS = ("python", "ipython3")
CODE = re.compile(r'<div class="highlight-i?python3?[^>]*>.*?</pre>', re.S)
PLAIN = r'<span class="(?:n|nc|nf|nn)">(\w+)</span>(?!<span class="o">=</span>)'
INKED = re.compile(r'<span class="(?:n|nn|p|w)">([^<]*)</span>')  # in the colour of all code
DOTTED = re.compile(rf'(?<!<span class="o">\.</span>){PLAIN}(?:<span class="o">\.</span>{PLAIN})?')


def known_names(cells: list[str]) -> dict[str, str]:
    """Return what names of a chapter's code stand for in ncbook: imported, or made of a class."""
    names: dict[str, str] = {}
    trees = []
    for code in cells:
        with suppress(SyntaxError):  # such as a magic of IPython's
            trees.append(ast.parse(code))
    every = [node for tree in trees for node in ast.walk(tree)]
    for node in every:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ncbook":
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in every:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            made = node.value.func
            if isinstance(made, ast.Name) and made.id in names and made.id[:1].isupper():
                names |= {
                    one.id: names[made.id] for one in node.targets if isinstance(one, ast.Name)
                }
    return names


def link_code(app, pagename, templatename, context, doctree):
    """Link the names of ncbook in a chapter's code to the reference."""
    cells = [] if doctree is None else list(doctree.findall(nodes.literal_block))
    cells = [cell.astext() for cell in cells if cell.get("language") in LEXERS]
    if not cells or "body" not in context:
        return
    names = known_names(cells)
    objects = app.env.get_domain("py").objects

    def entry(full):
        # What a package passes on is documented in its module.
        package, _, name = full.rpartition(".")
        found = [one for one in (full, f"{package}.{name.lower()}.{name}") if one in objects] or [
            one for one in objects if one.startswith(f"{package}.") and one.endswith(f".{name}")
        ]
        return objects[found[0]] if len(found) == 1 or full in objects else None

    def link(match):
        first, second = match.groups()
        if first not in names:
            return match[0]
        target = entry(f"{names[first]}.{second}") if second else entry(names[first])
        target = target or entry(names[first])
        if target is None:
            return match[0]
        where = app.builder.get_relative_uri(pagename, target.docname)
        return f'<a class="ncb-name" href="{where}#{target.node_id}">{match[0]}</a>'

    context["body"] = CODE.sub(
        lambda cell: INKED.sub(r"\1", DOTTED.sub(link, cell[0])), context["body"]
    )


# ---------------------------------------------------------------- previews


def add_previews(app, pagename, templatename, context, doctree):
    """Write what links into this page show when pointed at: ``_static/previews/<page>.js``."""
    if doctree is None or "body" not in context:
        return
    found = previews(context["body"])
    path = Path(app.outdir) / "_static" / "previews" / f"{pagename}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, ensure_ascii=False, sort_keys=True, indent=0).replace("</", "<\\/")
    path.write_text(
        f"(window.ncbPreviews = window.ncbPreviews || {{}})[{json.dumps(pagename)}] = {text};\n",
        encoding="utf-8",
    )


def previews(body: str) -> dict[str, str]:
    """Return what can be previewed of a page: the id of a place to a piece of HTML without ids."""
    pieces = DRAWING.sub("", "".join(elements(body, PREVIEWED)))
    page, found = BeautifulSoup(pieces, "html.parser"), {}
    for box in page.select("div.proof[id], div.exercise[id], div.citation[id]"):
        found[box["id"]] = box
    for formula in page.select("div.math[id]"):
        found[formula["id"]] = formula
    for term in page.select("dl.glossary dt[id]"):
        if meaning := term.find_next_sibling("dd"):
            found[term["id"]] = meaning
    for caption in page.select("figure[id] > figcaption .caption-text"):
        found[caption.find_parent("figure")["id"]] = caption
    for piece in found.values():
        for one in piece.select("svg, img, style, script, .headerlink, details"):
            one.decompose()
        for one in [piece, *piece.find_all(True)]:
            one.attrs.pop("id", None)
    return {name: str(piece) for name, piece in found.items() if piece.get_text(strip=True)}


PREVIEWED = re.compile(
    r'<(div(?=[^>]* class="(?:[^"]* )?(?:proof|exercise|citation|math)[ "])|figure|dl(?= class="[^"]*glossary))\b'
)
DRAWING = re.compile("<svg.*?</svg>", re.S)


def setup(app):
    """Register with Sphinx."""
    app.add_directive("start", Start)
    app.add_directive("exercise", Exercise, override=True)
    # Before the theme looks which parts of its margin are empty.
    app.connect("html-page-context", fill_margin, priority=400)
    app.connect("html-page-context", add_facts, priority=700)
    app.connect("html-page-context", copy_beside)
    app.connect("html-page-context", link_code, priority=750)
    app.connect("html-page-context", add_previews, priority=950)
    app.connect("html-page-context", add_live_scripts)
    app.add_directive("fig", Fig)
    app.add_directive("live", Live)
    app.add_post_transform(Fold)
    app.add_node(GalleryNode)
    app.add_directive("gallery", Gallery)
    app.connect("doctree-read", note_figures)
    app.connect("env-purge-doc", forget_figures)
    app.connect("env-merge-info", merge_figures)
    app.connect("doctree-resolved", fill_gallery)
    app.connect("doctree-read", leave_to_jupyter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
