"""A figure's way to the page and to Jupyter.

The page takes the drawings from files and gives them a number, a caption and an alternative text
(the directive ``fig`` in book/_ext). In Jupyter the cell shows one picture that survives the
cleaning of notebooks which are not trusted.
"""

import base64
import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from ncbook import files
from ncbook.figures.scene import Scene, as_json
from ncbook.figures.style import LAYOUTS, settings, svg

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PAPER, DARK = "#ffffff", "#202020"  # of the picture in Jupyter, whatever its theme


class Drawn(Protocol):
    """What :func:`figure` shows: a table and how it is drawn for each layout."""

    table: pd.DataFrame

    def draw(self, layout: str) -> Figure:
        """Draw for one layout."""


class Picture:
    """A picture of its own: a function ``draw(table, layout, **options)`` with its table."""

    def __init__(self, draw: Callable[..., Figure], table: pd.DataFrame, **options: Any) -> None:
        self.table, self._draw, self._options = table, draw, options

    def draw(self, layout: str) -> Figure:
        """Draw for one layout."""
        return self._draw(self.table.replace([np.inf, -np.inf], np.nan), layout, **self._options)


def figure(name: str, picture: Drawn) -> None:
    """Draw a figure in both layouts, and keep it and the table behind it.

    Writes ``figures/<chapter>/<name>-wide.svg`` and ``-narrow.svg`` and
    ``tables/<chapter>/<name>.csv`` under ``$NCBOOK_OUT``, from which the page has them.

    Parameters
    ----------
    name : str
        The figure's name in file names and on the page: lower-case letters, digits and hyphens.
    picture : Panels, Picture, Scene or the like
        Something with a ``table`` and a ``draw(layout)``. A scene leaves ``<name>.json``, too, from
        which the page's script turns it.

    Raises
    ------
    ValueError
        The name is not usable.
    TypeError
        ``picture`` is no picture, or draws none.
    """
    if not NAME.fullmatch(str(name)):
        raise ValueError(
            f"The figure's name is {name!r}; use lower-case letters, digits and single hyphens."
        )
    if not isinstance(getattr(picture, "table", None), pd.DataFrame):
        raise TypeError(
            f"The figure {name!r} is a {type(picture).__name__}; give Panels(...), or "
            "Picture(draw, table) with a pandas DataFrame."
        )
    chapter, out = files.chapter_name(), files.output_dir()
    data = as_json(picture) if isinstance(picture, Scene) else None
    drawings = {
        layout: picture.still(name) if data else _drawing(picture, name, layout)
        for layout in LAYOUTS
    }
    for layout, drawing in drawings.items():
        files.write_atomic(out / "figures" / chapter / f"{name}-{layout}.svg", drawing + "\n")
    if data:
        files.write_atomic(out / "figures" / chapter / f"{name}.json", data + "\n")
    table = picture.table.to_csv(index=False, lineterminator="\n")
    files.write_atomic(out / "tables" / chapter / f"{name}.csv", table)
    image = base64.b64encode(on_paper(drawings["wide"]).encode()).decode()
    page = f'<img alt="Figure {name}" src="data:image/svg+xml;base64,{image}">'
    if data:
        script = (files.root() / "book" / "_static" / "scene.js").read_text(encoding="utf-8")
        page = (
            f'<div class="ncb-scene">{page}<script type="application/json">{data}</script></div>'
            f"<script>{script}</script>"
        )
    display(
        {
            "text/html": f'<figure class="ncb-jupyter" data-name="{name}">{page}</figure>',
            # By which a second run is compared: the picture's strokes differ between machines.
            "text/plain": f"Figure {name}, of the table {files.digest(table)[:16]}",
        },
        metadata={"ncbook": {"figure": name}},
        raw=True,
    )


def alone(picture: Drawn, name: str) -> str:
    """Return a picture as SVG for a file of its own, in dark ink on white."""
    return on_paper(_drawing(picture, name, "wide"))


def _drawing(picture: Drawn, name: str, layout: str) -> str:
    with settings():
        fig = picture.draw(layout)
        if not isinstance(fig, Figure):
            raise TypeError(
                f"The figure {name!r} was drawn as {type(fig).__name__} for the {layout} layout; a "
                "function that draws returns a matplotlib Figure."
            )
        return svg(fig, prefix=f"{name}-{layout}", alt=name, layout=layout)


def on_paper(drawing: str) -> str:
    """Return a drawing that takes its ink from the page as one in dark ink on white."""
    head, rest = re.match(r"(<svg\b[^>]*>)(.*)", drawing, re.S).groups()
    x, y, width, height = re.search(r'viewBox="([^"]*)"', head)[1].split()
    paper = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{PAPER}"/>'
    return re.sub(r"var\(--pst-color-background[^)]*\)\)", PAPER, head + paper + rest).replace(
        "currentColor", DARK
    )
