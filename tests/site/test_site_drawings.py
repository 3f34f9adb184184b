"""Drawings made small for the site: the same picture, and the same words."""

import base64
import io
import re
from functools import lru_cache
from itertools import pairwise

import drawings
import numpy as np
import pytest
from PIL import Image

SHARP = 4  # pixels of the browser in one of the page, whose mean is compared
# Of 255. A browser has but some shades for an edge: one of the whole book's drawings reaches 32.
SEEN = 48
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
PAGE = """<!DOCTYPE html><html lang="en"><title>A drawing</title>
<style>body {{ margin: 0; color: {0}; background: {1}; --pst-color-background: {1} }}</style>
<div style="width: 700px">{2}</div>"""


@pytest.fixture(scope="module")
def drawing() -> str:
    """A drawing with all that the book's have: curves, dots, pictures, hatches, formulas, clips."""
    from ncbook.figures import style

    def dots(ax):
        ax.scatter([1, 2, 3, 4], [1, 3, 2, 4], [20, 60, 120, 240], alpha=0.4)
        ax.scatter([1, 2, 3, 4], [2, 2, 3, 3], 60, facecolors="none", edgecolors="C1")
        ax.set(xlim=(0.9, 4), ylabel="the largest of the two blocks")

    with style.settings():
        fig, (curves, image, scatter, bars) = style.new_figure("wide", 4, columns=2, ratio=0.5)
        x = np.linspace(0, 10, 400)
        for i in range(3):
            curves.plot(x, np.exp(-x / (i + 1)) + i, ["-", "--", ":"][i], label=f"run {i}")
        curves.plot(range(10), np.arange(10) / 4, "o-", markeredgecolor="white")
        curves.fill_between(x, 1, 2 + np.sin(x), alpha=0.2)
        curves.set(xlim=(0.5, 9), ylim=(0.1, 3), xlabel=r"time $\alpha_{max} t^2$ of the flow")
        curves.legend()
        image.imshow(np.sin(np.arange(900.0)).reshape(30, 30))
        image.set_title(r"a fraction $\frac{\|W\|_F^2}{2}$")
        dots(scatter)
        bars.bar(range(4), [1, 10, 100, 1000], hatch="//", facecolor="none", edgecolor="C2")
        bars.set(yscale="log", xlabel="classes")
        bars.annotate("here", (2, 50), (0, 300), arrowprops={"arrowstyle": "->"}, rotation=30)
        return style.svg(fig, prefix="all", alt="All kinds", layout="wide")


@pytest.fixture(scope="module")
def shot(browser):
    """Draw in the browser: the colour of each pixel of the page, in light or dark."""
    context = browser.new_context(device_scale_factor=SHARP, viewport={"width": 700, "height": 360})
    tab = context.new_page()

    @lru_cache
    def shot(drawing: str, dark: bool = False) -> np.ndarray:
        tab.set_content(PAGE.format(*(("#eee", "#121212") if dark else ("#222", "#fff")), drawing))
        with Image.open(io.BytesIO(tab.screenshot())) as image:
            pixels = np.asarray(image.convert("RGB"), float)
        height, width, _ = pixels.shape
        pixels = pixels.reshape(height // SHARP, SHARP, width // SHARP, SHARP, 3)
        return pixels.mean(axis=(1, 3))

    yield shot
    context.close()


def small(drawing: str) -> str:
    """Return a drawing as a page has it."""
    return drawings.named(drawings.packed(drawing), "f1w")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_packed_drawing_looks_the_same(shot, drawing, dark):
    assert np.abs(shot(small(drawing), dark) - shot(drawing, dark)).max() < SEEN


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("clip-path:", "no-clip:"),  # what is cut off is drawn
        (r"fill-opacity:[\d.]+", ""),
        (r'(<path [^>]*d="m[^"]*?)-?[.\d]+(?=")', r"\g<1>3"),  # a curve ends elsewhere
        (r'(<circle [^>]*)r="', r'\g<1>r="1'),
        (r'<tspan x="[.\d]+ ', '<tspan x="4 '),  # a letter stands elsewhere
    ],
)
def test_a_damaged_drawing_is_seen(shot, drawing, there, instead):
    packed = small(drawing)
    damaged = re.sub(there, instead, packed)
    assert damaged != packed
    assert np.abs(shot(damaged) - shot(drawing)).max() > 2 * SEEN


def test_a_packed_drawing_has_the_same_words_and_names_what_is_there(drawing):
    packed = small(drawing)

    def words(text):
        return ["".join(re.sub("<[^>]*>", "", one).split()) for one in texts(text)]

    def texts(text):
        return re.findall(r"<text.*?</text>", re.sub("<style>.*?</style>", "", text))

    assert words(packed) == words(drawing) and len(texts(packed)) > 20
    # Of a formula, too, the words stay apart, where a browser looks for them.
    assert any(" of the flow" in re.sub("<[^>]*>", "", one) for one in texts(packed))
    assert 'aria-label="All kinds"' in packed
    ids = re.findall(r' id="([^"]*)"', packed)
    assert len(set(ids)) == len(ids) and all(one.startswith("f1w") for one in ids)
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', packed)) <= {
        pair for one in ids for pair in ((one, ""), ("", one))
    }
    assert len(packed) < len(drawing) / 2


def test_lossless_pictures_stand_apart_from_the_page(drawing):
    packed = drawings.packed(drawing)
    text, pictures = drawings.apart(packed)
    assert len(pictures) == packed.count("data:image") == drawing.count("data:image") == 1
    assert "data:image" not in text and all(f'href="{name}"' in text for name in pictures)
    before = base64.b64decode(re.search(r'href="data:image/png;base64,([^"]*)"', drawing)[1])
    assert pixels(next(iter(pictures.values()))) == pixels(before)


def pixels(data: bytes):
    """Return a picture's size and colours, all that cannot be seen through."""
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGBA").tobytes()


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("M 1 2 L 3 4 L 3 9 L 8 9 z", "m1 2l2 2v5h5z"),
        ("M 0.5 0 L 1 0.25 M 10 10 L 9 9", "m.5 0l.5.25m9 9.75l-1-1"),
        ("M 1 1 L 2 2.01 L 3 3 L 4 3.99 L 9 9", "m1 1l8 8"),  # on a line, nearly
        ("M 1 1 L 2 2.05 L 3 3", "m1 1l1 1.05 1 .95"),  # beside it
        ("M 0 0 L 9 0 L 4 0", "m0 0h9-5"),  # there and back
        ("M 0 0 L 1 1 z L 2 0", "m0 0l1 1zh2"),  # closed: the next begins at the first
        ("M 0 0 Q 1 1 2 0 C 1 2 3 4 5 6", "m0 0q1 1 2 0c-1 2 1 4 3 6"),
        ("M 0 0 A 1 1 0 0 1 2 2", "M 0 0 A 1 1 0 0 1 2 2"),  # no step that is known
        ("M 1e-5 0 L 1 1", "M 1e-5 0 L 1 1"),
    ],
)
def test_a_path_in_fewer_signs(long, short):
    assert drawings.path(long).replace(" -", "-").replace(" .", ".") == short.replace(" .", ".")


def arcs(radii) -> str:
    """Return the path that matplotlib writes for a circle about (5, 6), of these radii."""
    turn = np.exp(2j * np.pi * np.arange(9) / 8) * [*radii, radii[0]] + 5 + 6j
    places = [f"{z.real} {z.imag}" for z in turn]
    steps = [f"C {here} {there} {there}" for here, there in pairwise(places)]
    return f"M {places[0]} {' '.join(steps)} z"


def test_a_circle_is_one_and_what_is_nearly_one_is_not():
    assert drawings.circle(arcs([3] * 8)) == {"cx": "5", "cy": "6", "r": "3"}
    assert drawings.circle(arcs([3, 3.1] * 4)) is None
    assert drawings.circle(arcs([3] * 8).replace("z", "L 0 0 z")) is None


@pytest.mark.parametrize(
    ("inner", "packed"),
    [
        # Two moves cannot be one attribute; a turn by nothing is none.
        ('<g transform="translate(1 2)"><g transform="scale(2)"><rect/></g></g>',
         '<g transform="translate(1 2)"><rect transform="scale(2)"/></g>'),
        ('<rect transform="rotate(-0 1 2)"/>', "<rect/>"),
        ('<rect transform="rotate(-0 1 2) scale(2)"/>',) * 2,
        # What is seen through as a whole is not seen through part by part.
        ('<g style="opacity:.5"><rect/><path d="m1 1z"/></g>',) * 2,
        ('<g opacity=".5"><rect/></g>', '<g style="opacity:.5"><rect/></g>'),
        # A clip lies where its element does, before it is moved.
        ('<g transform="scale(2)"><rect clip-path="url(#a)"/></g><clipPath id="a"/>',
         '<g transform="scale(2)"><rect clip-path="url(#Xa)"/></g><clipPath id="Xa"/>'),
        # A style that is nearer wins.
        ('<g style="fill: red; stroke: blue"><rect style="fill: none"/></g>',
         '<rect style="fill:none;stroke:blue"/>'),
        ('<g style="fill:red"><rect fill="none"/></g>', '<rect style="fill:none"/>'),
        # What draws nothing goes; what is named stays.
        ('<g><g/><path style="fill: none" d="M 0 0 L 1 1"/></g>', ""),
        ('<defs><path id="b" style="fill: none" d="M 0 0 L 1 1"/></defs>',
         '<defs><path style="fill:none" d="m0 0l1 1" id="Xa"/></defs>'),
        # Letters with places of their own are a word; others are not.
        ('<text><tspan x="1">a</tspan><tspan x="2">b</tspan><tspan x="3"/>'
         '<tspan x="4">c</tspan></text>',
         '<text x="1 2 3 4">ab c</text>'),
        ('<text><tspan x="1" y="2">a</tspan><tspan x="2" y="3">b</tspan></text>',) * 2,
        ('<text><tspan x="1">ab</tspan><tspan x="2">c</tspan></text>',) * 2,
        ('<text><tspan x="1">𝔸</tspan><tspan x="2">c</tspan></text>',) * 2,
    ],
)  # fmt: skip
def test_elements_mean_the_same(inner, packed):
    def canonical(text):
        from xml.etree import ElementTree

        return ElementTree.canonicalize(text, strip_text=True)

    found = drawings.named(drawings.packed(f"{HEAD}{inner}</svg>"), "X")
    assert canonical(found) == canonical(f'<svg xmlns="http://www.w3.org/2000/svg">{packed}</svg>')


def test_a_style_is_written_once_and_a_group_has_what_its_parts_have():
    part = '<rect style="fill: red" clip-path="url(#a)"{}/>'
    clip = '<clipPath id="a"><rect/></clipPath>'
    packed = drawings.named(drawings.packed(f"{HEAD}{clip}{part.format('') * 3}</svg>"), "X")
    assert packed.count("fill:red;clip-path:url(#Xa)") == 1
    assert '<g class="Xa"><rect/><rect/><rect/></g>' in packed
    moved = part.format(' transform="scale(2)"')
    packed = drawings.named(drawings.packed(f"{HEAD}{clip}{moved * 3}</svg>"), "X")
    assert packed.count('class="Xa"') == 3 and "<g" not in packed
