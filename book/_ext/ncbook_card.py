"""Cards of 1200 x 630 pixels, which other sites show beside a link to a page: words and a figure.

A figure is read from the SVG that its chapter wrote, and drawn anew by matplotlib. What is read is
what such files have: paths, marks, circles, rectangles, words, images, clips.
"""

import base64
import io
import re
import textwrap
from contextlib import suppress
from hashlib import sha256
from pathlib import Path as File
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import BboxImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D, Bbox
from PIL import Image

from ncbook.figures.show import DARK, PAPER, on_paper
from ncbook.figures.style import settings

WIDTH, HEIGHT = 1200, 630  # pixels, as Open Graph's readers ask for
MARGIN = 48
LINE = 44  # letters of a title
KEY = "Source"  # of a PNG's texts: from what it was drawn
CODES = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, "C": Path.CURVE4}
JOINS = {"round": "round", "bevel": "bevel"}
CAPS = {"round": "round", "square": "projecting"}
KINDS = ("svg", "g", "use", "image", "text", "tspan", "path", "circle", "rect")
ANCHORS = {"middle": 0.5, "end": 1.0}


def draw(file: File, title: str, above: str, drawing: str) -> None:
    """Write a card as PNG, unless the file is there and was drawn from the same.

    Parameters
    ----------
    file : Path
    title, above : str
        The card's words: the page's title, and the line above it.
    drawing : str
        A chapter's figure, as SVG.

    Raises
    ------
    ValueError
        The drawing has what is not read here.
    """
    said = (title, above, drawing, matplotlib.__version__, File(__file__).read_text("utf-8"))
    key = sha256("\0".join(said).encode()).hexdigest()
    with suppress(OSError):  # there is none, or a part of one
        with Image.open(file) as before:
            if before.text.get(KEY) == key:
                return
    # As few lines as can be, and of those the most even.
    lines = min((textwrap.wrap(title, width) for width in range(LINE // 2, LINE + 1)), key=len)
    # An SVG's dashes do not grow with the line.
    with settings(), matplotlib.rc_context({"lines.scale_dashes": False}):
        # At 72 dots an inch a point is a pixel.
        figure = Figure((WIDTH / 72, HEIGHT / 72), dpi=72, facecolor=PAPER)
        top = HEIGHT - MARGIN
        for line, size, weight in ((above, 22, "normal"), *((one, 38, "bold") for one in lines)):
            figure.text(MARGIN / WIDTH, top / HEIGHT, line, size=size, weight=weight, color=DARK,
                        va="top", parse_math=False)  # fmt: skip
            top -= 1.4 * size
        Drawing(on_paper(drawing), figure, (MARGIN, 28, WIDTH - MARGIN, top - 16))
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=72, metadata={"Software": None, KEY: key})


class Drawing:
    """An SVG drawing on a figure, as large as its box (left, bottom, right, top) in pixels allows."""

    def __init__(self, svg: str, figure: Figure, box: tuple[float, float, float, float]) -> None:
        root = ElementTree.fromstring(svg)
        self.figure = figure
        self.named = {one.get("id"): one for one in root.iter() if one.get("id")}
        left, low, right, top = box
        x, y, width, height = map(float, root.get("viewBox").split())
        scale = min((right - left) / width, (top - low) / height)
        place = Affine2D().translate(-x - width / 2, -y - height / 2).scale(scale, -scale)
        self.add(root, place.translate((left + right) / 2, (low + top) / 2), {}, None)

    def add(self, element, place: Affine2D, style: dict[str, str], clip) -> None:
        """Draw an element and what is in it, with what it has from those around it."""
        kind = element.tag.rpartition("}")[2]
        if kind in ("defs", "clipPath"):  # drawn where they are used
            return
        if kind not in KINDS:
            raise unknown("element", kind, KINDS)
        style = inherited(element, style)
        place = moved(element.get("transform", ""), place)
        if found := re.match(r"url\(#(.*)\)", element.get("clip-path", "")):
            shape = next(iter(self.named[found[1]]))
            clip = (outline(shape), place)
        if kind == "use":
            shift = Affine2D().translate(number(element, "x"), number(element, "y"))
            self.add(self.named[href(element)[1:]], shift + place, style, clip)
        elif kind == "image":
            self.image(element, place, clip)
        elif kind in ("text", "tspan") and (words := (element.text or "").strip("\n")):
            self.patch(written(words, element, style), place, style | {"stroke": "none"}, clip)
        elif (path := outline(element)) is not None:
            self.patch(path, place, style, clip)
        for one in element:
            self.add(one, place, style, clip)

    def patch(self, path: Path, place: Affine2D, style: dict[str, str], clip) -> None:
        scale = abs(np.linalg.det(place.get_matrix()[:2, :2])) ** 0.5
        dashes = re.findall(r"[\d.]+", style.get("stroke-dasharray", ""))
        dashes = [float(one) * scale for one in dashes]
        found = re.match(r"url\(#(.*)\)", style.get("fill", ""))
        if found:  # hatched: a pattern has its ground first
            style = style | {"fill": self.named[found[1]][0].get("fill")}
        patch = PathPatch(
            path,
            transform=place,
            facecolor=colour(style, "fill"),
            edgecolor=colour(style, "stroke"),
            linewidth=float(style.get("stroke-width", 1)) * scale,
            linestyle=(float(style.get("stroke-dashoffset", 0)) * scale, dashes) if dashes else "-",
            joinstyle=JOINS.get(style.get("stroke-linejoin"), "miter"),
            capstyle=CAPS.get(style.get("stroke-linecap"), "butt"),
            hatch="////" if found else None,
            # The minus of an exponent is thinner than a pixel: it must not become none.
            snap=False if colour(style, "stroke") == "none" else None,
        )
        self.figure.add_artist(patch, clip=False)
        if clip:
            patch.set_clip_path(*clip)

    def image(self, element, place: Affine2D, clip) -> None:
        data = base64.b64decode(href(element).partition("base64,")[2])
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
        x, y = number(element, "x"), number(element, "y")
        corners = [(x, y), (x + number(element, "width"), y + number(element, "height"))]
        (left, first), (right, last) = place.transform(corners)
        low, high = sorted((first, last))
        box = Bbox.from_extents(left, low, right, high)
        image = BboxImage(box, interpolation="nearest", zorder=PathPatch.zorder)
        image.set_data(pixels if first > last else pixels[::-1])
        self.figure.add_artist(image, clip=False)
        if clip:
            image.set_clip_path(*clip)


def inherited(element, style: dict[str, str]) -> dict[str, str]:
    """Return an element's style: its parent's, its attributes, its own; opacities multiply."""
    own = dict(element.attrib) | {
        name.strip(): value.strip()
        for name, _, value in (one.partition(":") for one in element.get("style", "").split(";"))
    }
    opacity = float(style.get("opacity", 1)) * float(own.get("opacity", 1))
    place = ("x", "y", "d", "id", "transform", "style")
    kept = {name: value for name, value in own.items() if name not in place}
    return style | kept | {"opacity": str(opacity)}


def moved(transform: str, place: Affine2D) -> Affine2D:
    """Return a transform that is done before another one."""
    for name, values in re.findall(r"(\w+)\(([^)]*)\)", transform):
        a, *rest = map(float, re.split(r"[\s,]+", values.strip()))
        if name == "translate":
            one = Affine2D().translate(a, *(rest or [0.0]))
        elif name == "scale":
            one = Affine2D().scale(a, *rest)
        elif name == "rotate":
            x, y = rest or (0.0, 0.0)
            one = Affine2D().rotate_deg_around(x, y, a)
        else:
            raise unknown("transform", name, ("translate", "scale", "rotate"))
        place = one + place
    return place


def outline(element) -> Path | None:
    """Return the path of a path, a circle or a rectangle; None of anything else."""
    kind = element.tag.rpartition("}")[2]
    if kind == "circle":
        return Path.circle((number(element, "cx"), number(element, "cy")), number(element, "r"))
    if kind == "rect":
        low = np.array([number(element, "x"), number(element, "y")])
        size = [number(element, "width"), number(element, "height")]
        return Path(low + Path.unit_rectangle().vertices * size, closed=True)
    if kind != "path":
        return None
    vertices, codes = [], []
    for command, values in re.findall(r"([A-Za-z])([^A-Za-z]*)", element.get("d", "")):
        if command in "zZ":
            vertices.append(vertices[-1])
            codes.append(Path.CLOSEPOLY)
            continue
        if command not in CODES:
            raise unknown("path command", command, (*CODES, "z"))
        points = np.array(values.split(), float).reshape(-1, 2)
        vertices += [*points]
        codes += [CODES[command]] * len(points)
    return Path(np.array(vertices), codes) if vertices else None


def written(words: str, element, style: dict[str, str]) -> Path:
    """Return the outlines of words, where an element of text puts them."""
    font = FontProperties(
        family="DejaVu Sans",
        style="oblique" if style.get("font-style") in ("oblique", "italic") else "normal",
        weight="bold" if style.get("font-weight") in ("bold", "700") else "normal",
    )
    size = float(style.get("font-size", "16").removesuffix("px"))
    font.set_size(size)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    path = Path(*text_to_path.get_text_path(font, words, ismath=False))
    scale = size / text_to_path.FONT_SCALE
    left = number(element, "x") - ANCHORS.get(style.get("text-anchor"), 0.0) * width
    return path.transformed(Affine2D().scale(scale, -scale).translate(left, number(element, "y")))


def colour(style: dict[str, str], kind: str):
    """Return the colour of a fill or a stroke."""
    said = style.get(kind, "#000000" if kind == "fill" else "none")
    opacity = float(style["opacity"]) * float(style.get(f"{kind}-opacity", 1))
    return said if said == "none" else (said, opacity)


def unknown(what: str, name: str, known) -> ValueError:
    """Return the error of a drawing that has what is not read here."""
    return ValueError(f"A figure has the {what} {name!r}; a card can show {', '.join(known)}.")


def number(element, name: str) -> float:
    """Return an attribute that is a number, 0 without it."""
    return float(element.get(name, 0))


def href(element) -> str:
    """Return what an element refers to."""
    return element.get("{http://www.w3.org/1999/xlink}href") or element.get("href", "")
