"""Pictures that turn, or that go through frames: points and strokes in the plane or in space.

A scene is drawn here once, as a still: for paper, for readers without scripts and for Jupyter. On
the page ``book/_static/scene.js`` draws the same from the same numbers for any view and frame.
"""

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ncbook.figures.style import COLOURS

SIZE = 400  # of a panel's viewBox, in both directions
HALF = 180  # of what is drawn, from the middle of the panel
INK = "currentColor"
DIGITS = 4  # of a coordinate, from -1 to 1


@dataclass(frozen=True)
class Layer:
    """Marks or strokes of one look, in one panel.

    ``places`` has shape ``(frames, n, d)``, with one frame where nothing moves; strokes are parted
    by places that are NaN.
    """

    kind: str  # points, strokes, words
    name: str
    colour: str
    places: np.ndarray
    size: float
    words: tuple[str, ...] = ()
    faint: bool = False


class Scene:
    """A scene of one panel or several, with one slider for all.

    Parameters
    ----------
    panels : sequence of str
        The titles of the panels.
    frames : sequence, optional
        The labels of the slider.
    frame_name : str
        What stands before a label: ``"epoch"``.
    dimensions : 2 or 3
    view : pair of float
        Azimuth and elevation in degrees, from which a scene in space is seen at first.
    begin : int
        The frame that is shown at first, and on paper.

    Raises
    ------
    ValueError
        There is no panel, a number of dimensions that is neither 2 nor 3, or no such frame.
    """

    def __init__(
        self,
        panels: Sequence[str] = ("",),
        frames: Sequence[Any] = (),
        frame_name: str = "",
        dimensions: int = 3,
        view: tuple[float, float] = (35.0, 25.0),
        begin: int = 0,
    ) -> None:
        if not panels or dimensions not in (2, 3):
            raise ValueError(
                f"A scene of {len(panels)} panels in {dimensions} dimensions; expected at least "
                "one panel, and 2 or 3 dimensions."
            )
        if not 0 <= begin < max(1, len(frames)):
            raise ValueError(f"The scene begins at frame {begin}, and it has {len(frames)} frames.")
        self.panels, self.frames, self.frame_name = list(panels), list(frames), frame_name
        self.dimensions, self.view, self.begin = dimensions, view, begin
        self.layers: list[list[Layer]] = [[] for _ in self.panels]
        self.rows: list[pd.DataFrame] = []

    # ---------------------------------------------------------------- what is drawn

    def points(
        self, places, name: str, colour: int | None = None, *, panel: int = 0, size: float = 4.0,
        faint: bool = False,
    ) -> "Scene":  # fmt: skip
        """Draw marks at ``places``, shape ``(n, d)`` or ``(frames, n, d)``; colour None is ink."""
        return self._add("points", places, name, colour, panel, size, (), faint)

    def strokes(
        self, places, name: str, colour: int | None = None, *, panel: int = 0, size: float = 1.6,
        faint: bool = False,
    ) -> "Scene":  # fmt: skip
        """Draw a line along ``places``, with gaps where they are NaN."""
        return self._add("strokes", places, name, colour, panel, size, (), faint)

    def words(
        self, places, words: Sequence[str], colour: int | None = None, *, panel: int = 0
    ) -> "Scene":
        """Write words at ``places``."""
        return self._add("words", places, "", colour, panel, 13.0, tuple(words), False)

    def _add(self, kind, places, name, colour, panel, size, words, faint) -> "Scene":
        places = np.asarray(places, dtype=float)
        places = places[None] if places.ndim == 2 else places
        # What is not finite in one coordinate is nowhere.
        places = np.where(np.isfinite(places).all(-1, keepdims=True), places, np.nan)
        frames = max(1, len(self.frames))
        if (
            places.ndim != 3
            or places.shape[-1] != self.dimensions
            or len(places) not in (1, frames)
        ):
            raise ValueError(
                f"The places of {name or kind!r} have shape {places.shape}; expected "
                f"(n, {self.dimensions}) or ({frames}, n, {self.dimensions})."
            )
        ink = INK if colour is None else COLOURS[colour % len(COLOURS)]
        self.layers[panel].append(Layer(kind, name, ink, places, size, words, faint))
        for frame, now in zip(self.frames if len(places) > 1 else [""], places, strict=True):
            rows = pd.DataFrame(now, columns=list("xyz")[: self.dimensions])
            about = {"panel": self.panels[panel], "kind": kind, "name": name, "frame": frame}
            self.rows.append(rows.assign(**about))
        return self

    @property
    def table(self) -> pd.DataFrame:
        """Every place: panel, kind, name, frame, coordinates."""
        rows = pd.concat(self.rows, ignore_index=True)
        return rows[["panel", "kind", "name", "frame", *"xyz"[: self.dimensions]]]

    def data(self) -> dict[str, Any]:
        """Return the scene as the page's script takes it: coordinates from -1 to 1."""
        panels = []
        for title, layers in zip(self.panels, self.layers, strict=True):
            reach = self._reach(layers)
            drawn = [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "colour": one.colour,
                    "size": one.size,
                    "faint": one.faint,
                    "words": list(one.words),
                    "places": [
                        [
                            [None if math.isnan(x) else round(x, DIGITS) for x in place]
                            for place in now
                        ]
                        for now in one.places / reach
                    ],
                }
                for one in layers
            ]
            panels.append({"title": title, "layers": drawn})
        return {
            "dimensions": self.dimensions,
            "view": list(self.view),
            "begin": self.begin,
            "frames": [str(one) for one in self.frames],
            "frame_name": self.frame_name,
            "panels": panels,
        }

    def _reach(self, layers: list[Layer]) -> float:
        norms = [np.linalg.norm(one.places, axis=-1).ravel() for one in layers]
        finite = np.concatenate([one[np.isfinite(one)] for one in norms] + [np.zeros(1)])
        return float(finite.max()) or 1.0

    # ---------------------------------------------------------------- the still

    def still(self, prefix: str) -> str:
        """Return the scene at its first view and frame, as SVG with its panels side by side."""
        data = self.data()
        parts = []
        for i, panel in enumerate(data["panels"]):
            inside = "".join(shapes(panel, data["view"], data["begin"], data["dimensions"]))
            title = f'<text x="{SIZE / 2}" y="14" text-anchor="middle" font-size="14">'
            title = f"{title}{html.escape(panel['title'])}</text>" if panel["title"] else ""
            parts.append(f'<g transform="translate({i * SIZE} 0)">{title}{inside}</g>')
        return (
            f'<svg class="ncb-still" role="img" aria-label="{prefix}" '
            f'viewBox="0 0 {SIZE * len(parts)} {SIZE}" xmlns="http://www.w3.org/2000/svg" '
            f'fill="currentColor" style="width:100%;height:auto;font-family:sans-serif">'
            f"{''.join(parts)}{self._legend(data)}</svg>"
        )

    def _legend(self, data) -> str:
        seen: dict[str, str] = {}
        for panel in data["panels"]:
            for layer in panel["layers"]:
                if layer["name"]:
                    seen.setdefault(layer["name"], layer["colour"])
        lines = [
            f'<text x="8" y="{SIZE - 8 - 15 * k}" font-size="12" fill="{colour}">'
            f"{html.escape(name)}</text>"
            for k, (name, colour) in enumerate(reversed(seen.items()))
        ]
        return "".join(lines)


def from_origin(ends) -> np.ndarray:
    """Return strokes from the origin to places, ``(..., n, d)`` to ``(..., 3 n, d)``."""
    ends = np.asarray(ends, dtype=float)
    strokes = np.stack([np.zeros_like(ends), ends, np.full_like(ends, np.nan)], -2)
    return strokes.reshape(*ends.shape[:-2], -1, ends.shape[-1])


def projected(places, view: Sequence[float], dimensions: int) -> np.ndarray:
    """Return where places are on the panel, and how near they are to the eye, ``(n, 3)``.

    Parameters
    ----------
    places : array
        Shape ``(n, d)``, from -1 to 1.
    view : pair of float
        Azimuth and elevation in degrees.
    dimensions : 2 or 3
    """
    places = np.array(places, dtype=float).reshape(-1, dimensions)
    if dimensions == 2:
        x, y, depth = places[:, 0], places[:, 1], np.zeros(len(places))
    else:
        a, e = np.deg2rad(view)
        x = -np.sin(a) * places[:, 0] + np.cos(a) * places[:, 1]
        flat = np.cos(a) * places[:, 0] + np.sin(a) * places[:, 1]
        y = np.cos(e) * places[:, 2] - np.sin(e) * flat
        depth = np.cos(e) * flat + np.sin(e) * places[:, 2]
    return np.stack([SIZE / 2 + HALF * x, SIZE / 2 - HALF * y, depth], axis=-1)


def shapes(panel: dict, view: Sequence[float], frame: int, dimensions: int) -> list[str]:
    """Return the elements of a panel's drawing, those far from the eye first."""
    drawn: list[tuple[float, str]] = []
    for layer in panel["layers"]:
        frames = layer["places"]
        now = [
            [math.nan if x is None else x for x in place]
            for place in frames[min(frame, len(frames) - 1)]
        ]
        at = projected(now, view, dimensions)
        opacity = 0.35 if layer["faint"] else 0.9
        look = f'opacity="{opacity}"'
        if layer["kind"] == "points":
            drawn += [
                (
                    z,
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{layer["size"]:g}" '
                    f'fill="{layer["colour"]}" {look}/>',
                )
                for x, y, z in at
                if not math.isnan(x)
            ]
        elif layer["kind"] == "words":
            drawn += [
                (2.0, f'<text x="{x:.1f}" y="{y:.1f}" font-size="{layer["size"]:g}" '
                      f'text-anchor="middle" fill="{layer["colour"]}">{html.escape(word)}</text>')
                for (x, y, z), word in zip(at, layer["words"], strict=True)
                if not math.isnan(x)
            ]  # fmt: skip
        else:
            gaps = np.isnan(at[:, 0]).nonzero()[0]
            for part in np.split(at, gaps):
                part = part[~np.isnan(part[:, 0])]
                if len(part) > 1:
                    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in part)
                    drawn.append(
                        (float(part[:, 2].mean()), f'<path d="{path}" fill="none" '
                         f'stroke="{layer["colour"]}" stroke-width="{layer["size"]:g}" {look}/>')
                    )  # fmt: skip
    return [shape for _, shape in sorted(drawn, key=lambda one: one[0])]


def as_json(scene: Scene) -> str:
    """Return the scene's data as one line that can stand in a page's script element."""
    text = json.dumps(scene.data(), separators=(",", ":"), ensure_ascii=False)
    return text.replace("</", "<\\/")
