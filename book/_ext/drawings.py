"""Drawings made small: the same picture, and the same words, in a third of the bytes.

Matplotlib repeats each style at each stroke, sets formulas letter by letter, and writes points that
lie on a line. What is here moves no stroke by more than `NEAR` and what rounding to hundredths adds.
"""

import base64
import io
import math
import re
from collections import Counter
from functools import lru_cache
from itertools import groupby
from xml.etree import ElementTree

from PIL import Image

from ncbook.files import digest

NEAR = 0.02  # units of the drawing, of which a page shows two pixels or less
MARK = "\ue000"  # before all names within a drawing, until it is known where it stands
SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
PICTURE, PACKED = "data:image/png;base64,", "data:image/webp;base64,"
STEP = re.compile(r"([MLCQz])([^MLCQz]*)")
PAINT = ("style", "clip-path")
STYLES = ("fill", "stroke", "stroke-width", "opacity", "text-anchor")  # mean the same in a style


@lru_cache(maxsize=None)
def packed(drawing: str) -> str:
    """Return an SVG drawing in fewer bytes; its names begin with `MARK`: see :func:`named`."""
    root = ElementTree.fromstring(drawing)
    for node in root.iter():
        node.tag = node.tag.removeprefix(f"{{{SVG}}}")
        if node is not root:
            _shorten(node)
    _slim(root)
    _name(root)
    _dress(root)
    root.set("xmlns", SVG)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def named(drawing: str, prefix: str) -> str:
    """Return a packed drawing whose ids and classes begin with this: letters, then digits."""
    return drawing.replace(MARK, prefix)


def apart(drawing: str) -> tuple[str, dict[str, bytes]]:
    """Return a packed drawing that names its pictures, and the pictures by their names."""
    found = {}

    def name(match):
        data = base64.b64decode(match[1])
        file = f"{digest(data)[:12]}.webp"
        found[file] = data
        return f'href="{file}"'

    return re.sub(rf'href="{PACKED}([^"]*)"', name, drawing), found


# ---------------------------------------------------------------- one element


def _shorten(node) -> None:
    """Write an element's attributes shorter."""
    if HREF in node.attrib:
        node.set("href", node.attrib.pop(HREF))
    if node.tag == "image":
        node.set("href", picture(node.get("href")))
    if "d" in node.attrib:
        if found := circle(node.get("d")):
            node.tag = "circle"
            del node.attrib["d"]
            node.attrib |= found
        else:
            node.set("d", path(node.get("d")))
    said = [f"{name}:{node.attrib.pop(name)}" for name in STYLES if name in node.attrib]
    if said := ";".join([*said, *filter(None, [node.get("style")])]):
        node.set("style", re.sub(r"\s*([:;])\s*", r"\1", said))
    if re.fullmatch(r"rotate\(-?0( [^)]*)?\)", node.get("transform", "")):
        del node.attrib["transform"]


def picture(address: str) -> str:
    """Return the address of a picture, one of PNG in the address itself as lossless WebP."""
    if not address.startswith(PICTURE):
        return address
    with Image.open(io.BytesIO(base64.b64decode(address[len(PICTURE) :]))) as image:
        data = io.BytesIO()
        image.save(data, "WEBP", lossless=True)
    return f"{PACKED}{base64.b64encode(data.getvalue()).decode()}"


def path(d: str) -> str:
    """Return path data that draws the same, within `NEAR` and rounding, in relative coordinates.

    Data with other steps than matplotlib writes (M, L, C, Q and z) are returned as they are.
    """
    if set(re.findall("[A-Za-z]", d)) - set("MLCQz"):
        return d
    steps = [(kind, hundredths(given)) for kind, given in STEP.findall(d)]
    out, here, start, last = [], (0, 0), (0, 0), ""
    for kind, group in groupby(steps, key=lambda step: step[0]):
        runs = [given for _, given in group]
        if kind == "L":
            runs = thinned([here, *map(tuple, runs)])[1:]
        for given in runs:
            if kind == "z":
                letter, moves, here = "z", [], start
            else:
                # The first step is from the origin: as good as absolute.
                moves = [one - here[i % 2] for i, one in enumerate(given)]
                letter, here = kind.lower(), (given[-2], given[-1])
                start = here if kind == "M" else start
            if letter == "l" and not moves[1]:
                letter, moves = "h", moves[:1]
            elif letter == "l" and not moves[0]:
                letter, moves = "v", moves[1:]
            # More points after a move would be lines.
            out += [" " if letter == last != "m" else letter, " ".join(map(short, moves))]
            last = letter
    return "".join(out).replace(" -", "-")


def hundredths(numbers: str) -> list[int]:
    """Read numbers, each in hundredths."""
    return [round(100 * float(one)) for one in numbers.split()]


@lru_cache(maxsize=None)
def short(number: int) -> str:
    """Write hundredths as a number without needless zeros."""
    text = f"{abs(number) / 100:.2f}".rstrip("0").rstrip(".").removeprefix("0") or "0"
    return f"-{text}" if number < 0 else text


def circle(d: str) -> dict[str, str] | None:
    """Return the centre and the radius of the circle that matplotlib wrote as eight arcs, or None."""
    if "".join(re.findall("[A-Za-z]", d)) != "MCCCCCCCCz":
        return None
    arcs = [hundredths(given) for kind, given in STEP.findall(d) if kind == "C"]
    xs, ys = ([arc[at] for arc in arcs] for at in (4, 5))
    x, y, radius = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2, (max(xs) - min(xs)) / 2
    far = (abs(math.hypot(u - x, v - y) - radius) for u, v in zip(xs, ys, strict=True))
    if max(far) > 100 * NEAR:
        return None
    return {"cx": f"{x / 100:g}", "cy": f"{y / 100:g}", "r": f"{radius / 100:g}"}


def thinned(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return points, in hundredths, without those that are within `NEAR` of the line drawn without them."""
    keep, ranges = {0, len(points) - 1}, [(0, len(points) - 1)]
    while ranges:
        first, last = ranges.pop()
        if last - first < 2:
            continue
        (x, y), (u, v) = points[first], points[last]
        u, v = u - x, v - y
        size = u * u + v * v
        far, at = 0.0, first
        for i in range(first + 1, last):
            p, q = points[i][0] - x, points[i][1] - y
            along = min(1.0, max(0.0, (p * u + q * v) / size)) if size else 0.0
            away = (p - along * u) ** 2 + (q - along * v) ** 2
            if away > far:
                far, at = away, i
        if far > (100 * NEAR) ** 2:
            keep.add(at)
            ranges += [(first, at), (at, last)]
    return [points[i] for i in sorted(keep)]


# ---------------------------------------------------------------- what stands in what


def _slim(parent) -> None:
    """Take out of an element what draws nothing, and groups that say nothing."""
    children = []
    for node in parent:
        _slim(node)
        if node.tag == "path" and node.get("style") == "fill:none" and "id" not in node.attrib:
            continue
        if node.tag == "g" and len(node) == 1 and _passes(node, node[0]):
            node = node[0]
        last = children[-1] if children else None
        if node.tag == "g" and not node.attrib:
            children += node
        elif node.tag == "g" and not len(node):
            continue
        elif last is not None and _same(last, node):
            last.extend(node)
        elif node.tag == "tspan" and last is not None and _joins(last, node):
            continue
        else:
            children.append(node)
    parent[:] = children
    if parent.tag == "text" and len(parent) == 1 and not parent.text and not parent.attrib:
        parent.attrib |= parent[0].attrib
        parent.text = parent[0].text
        del parent[0]


def _same(left, right) -> bool:
    """Tell whether two groups that follow each other can be one."""
    if left.tag != "g" or right.tag != "g" or left.attrib != right.attrib:
        return False
    return "id" not in right.attrib and "opacity" not in str(right.attrib)


def _passes(group, child) -> bool:
    """Give the attributes of a group to its only child, where they mean the same there."""
    if child.tag in ("defs", "clipPath", "use", "style"):
        return False
    if set(group.attrib) - {"style", "transform"}:
        return False
    if "transform" in group.attrib and ("transform" in child.attrib or "clip-path" in child.attrib):
        return False
    if "opacity" in group.get("style", ""):
        return False
    own = dict(one.split(":", 1) for one in child.get("style", "").split(";") if one)
    given = dict(one.split(":", 1) for one in group.get("style", "").split(";") if one)
    if {*given} & {*child.attrib}:
        return False
    if style := ";".join(f"{name}:{value}" for name, value in (given | own).items()):
        child.set("style", style)
    if "transform" in group.attrib:
        child.set("transform", group.get("transform"))
    return True


def _joins(left, right) -> bool:
    """Put a piece of text behind another that has a place for each letter; say whether it can be."""
    names = {*left.attrib, *right.attrib} - {"x"}
    text, places, more = left.text or "", left.get("x", "").split(), right.text or ""
    if any(left.get(name) != right.get(name) for name in names) or "x" not in right.attrib:
        return False
    if left.tail or right.tail:
        return False
    # What a browser counts as one letter: no surrogates, no space that it leaves out.
    if len(text) != len(places) or max(text + more, default="") > "\ud7ff":
        return False
    if not more:
        # A space, which the drawing has without its letter.
        if text.strip() and text[-1] != " ":
            left.text, left.attrib["x"] = f"{text} ", f"{left.get('x')} {right.get('x')}"
        return True
    if more != more.strip() or "  " in more:
        return False
    left.text, left.attrib["x"] = text + more, f"{left.get('x')} {right.get('x')}"
    return True


# ---------------------------------------------------------------- names and styles


def _name(root) -> None:
    """Give all that has a name a short one."""
    ids = [node.get("id") for node in root.iter() if "id" in node.attrib]
    names = {name: f"{MARK}{_letters(i)}" for i, name in enumerate(ids)}
    for node in root.iter():
        for name, value in node.attrib.items():
            if name == "id":
                node.set(name, names[value])
            elif name == "href" and value.startswith("#"):
                node.set(name, f"#{names[value[1:]]}")
            elif "url(#" in value:
                node.set(name, re.sub(r"url\(#([^)]*)\)", lambda m: f"url(#{names[m[1]]})", value))


def _dress(root) -> None:
    """Write each style once, in a style sheet, and of neighbours with the same at their group."""

    def paint(node):
        if node is root:
            return ""
        clip = node.get("clip-path")
        return ";".join(filter(None, (node.get("style"), clip and f"clip-path:{clip}")))

    counts = Counter(filter(None, map(paint, root.iter())))
    often = (said for said, times in counts.most_common() if times > 1)
    classes = {said: f"{MARK}{_letters(i)}" for i, said in enumerate(often)}
    for node in root.iter():
        if (said := paint(node)) in classes:
            for name in PAINT:
                node.attrib.pop(name, None)
            node.set("class", classes[said])
    _group(root, {name: said for said, name in classes.items()})
    if classes:
        sheet = ElementTree.Element("style")
        sheet.text = "".join(f".{name}{{{said}}}" for said, name in classes.items())
        root.insert(0, sheet)


def _group(parent, styles: dict[str, str]) -> None:
    """Give neighbours of one class a group that has it; the styles are by their classes."""
    children = []
    for name, run in groupby(parent, key=lambda node: node.get("class")):
        run, style = list(run), styles.get(name, "")
        moved = "clip-path" in style and any("transform" in one.attrib for one in run)
        if len(run) < 3 or not style or re.search(r"(^|;)opacity", style) or moved:
            children += run
            continue
        whole = ElementTree.Element("g", {"class": name})
        for one in run:
            del one.attrib["class"]
        whole.extend(run)
        children.append(whole)
    for one in parent:
        if one.tag not in ("text", "defs", "clipPath"):
            _group(one, styles)
    parent[:] = children


def _letters(number: int) -> str:
    """Count in letters: a, b, ..., z, ba, bb, ..."""
    high, low = divmod(number, 26)
    return (_letters(high) if high else "") + chr(97 + low)
