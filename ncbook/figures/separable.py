"""Figures of orthogonally separable data, of digits beside them, and of what a bias does."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from ncbook.figures.scene import Scene
from ncbook.figures.style import COLOURS, INK, WIDTHS, group_styles, new_figure, shared_legend

# --- In the plane and in space ------------------------------------------------------------------


def plane_rows(panels: Mapping[str, tuple]) -> pd.DataFrame:
    """Return points of the plane, a row a point.

    Parameters
    ----------
    panels : mapping
        Title of a panel to (X, y), X of shape ``(n, 2)`` and y ``(n,)``.
    """
    parts = []
    for name, (X, y) in panels.items():
        part = pd.DataFrame(X.cpu().numpy(), columns=["x", "y"])
        parts.append(part.assign(panel=name, **{"class": y.cpu().numpy()}))
    return pd.concat(parts, ignore_index=True)[["panel", "class", "x", "y"]]


def plane(table: pd.DataFrame, layout: str) -> Figure:
    """Draw points of the plane (``plane_rows``), each class with the cone that it spans."""
    panels = list(table["panel"].unique())
    fig, axes = new_figure(layout, len(panels), columns=2, ratio=(0.9, 0.9))
    for ax, (panel, points) in zip(axes, table.groupby("panel", sort=False), strict=True):
        reach = np.hypot(points["x"], points["y"]).max()
        _classes(ax, points, 1.12 * reach)
        limit = 1.2 * reach
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], title=panel)
        ax.set_aspect("equal")
        ax.spines[:].set_visible(False)
    shared_legend(fig, layout)
    return fig


def _classes(ax: Axes, points: pd.DataFrame, reach: float) -> None:
    """Draw the points of each class, and the sector of that radius that they span."""
    for k, look in group_styles(sorted(points["class"].unique())).items():
        part = points[points["class"] == k]
        begin, width = spanned(part[["x", "y"]].to_numpy())
        ax.add_patch(Wedge((0, 0), reach, begin, begin + width, color=look["color"], alpha=0.16,
                           linewidth=0))  # fmt: skip
        ax.plot(part["x"], part["y"], linestyle="none", color=look["color"],
                marker=look["marker"], label=f"class {int(k)}")  # fmt: skip
    ax.plot(0, 0, marker="+", color=INK, markersize=9, markeredgewidth=1)


def spanned(points: np.ndarray) -> tuple[float, float]:
    """Return where the smallest sector that holds the points begins, and its angle, in degrees.

    Parameters
    ----------
    points : ndarray
        Shape ``(n, 2)``; the sector's corner is the origin.
    """
    angles = np.sort(np.degrees(np.arctan2(points[:, 1], points[:, 0])))
    gaps = np.diff(angles, append=angles[0] + 360)
    widest = gaps.argmax()
    return float(angles[(widest + 1) % len(angles)]), float(360 - gaps[widest])


def add_cone(scene: Scene, axis, half_angle: float, colour: int) -> None:
    """Draw a circular cone in space around a unit vector: its rim and lines to the origin.

    Parameters
    ----------
    scene : Scene
    axis : Tensor
        Shape ``(3,)``.
    half_angle : float
        In radians.
    colour : int
    """
    axis = axis.cpu().numpy()
    across = np.linalg.svd(axis[None])[2][1:]
    around = np.linspace(0, 2 * np.pi, 41)
    circle = np.stack([np.cos(around), np.sin(around)], 1) @ across
    rim = np.cos(half_angle) * axis + np.sin(half_angle) * circle
    gap = np.full(3, np.nan)
    lines = [place for end in rim[::5] for place in (np.zeros(3), end, gap)]
    scene.strokes(np.array([*lines, *rim]), "", colour, size=1.0, faint=True)


# --- Digits -------------------------------------------------------------------------------------


def cosine_rows(counts, names: Sequence[str], pixels: str) -> pd.DataFrame:
    """Return densities of cosines, a row a (two classes, bin).

    Parameters
    ----------
    counts : Tensor
        Shape ``(K, K, bins)``, bins of equal width from -1 to 1.
    names : sequence of str
        Of the classes.
    pixels : str
        What was done to the images, a column.
    """
    counts = counts.cpu().numpy()
    bins = counts.shape[-1]
    middles = (np.arange(bins) + 0.5) * 2 / bins - 1
    parts = []
    for k, first in enumerate(names):
        for l, second in enumerate(names[: k + 1]):
            columns = {
                "pixels": pixels,
                "digits": "same" if k == l else "different",
                "pair": f"{second}, {first}",
                "cosine": middles,
                "density": counts[k, l] / counts[k, l].sum() * bins / 2,
            }
            parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


# --- What training makes of it ------------------------------------------------------------------


def fates(table: pd.DataFrame, layout: str) -> Figure:
    """Draw data sets in the plane, and below each the angle within its classes along training.

    Parameters
    ----------
    table : DataFrame
        Rows of kind ``data`` (``plane_rows``) and of kind ``course``: ``panel``, ``seed``, ``R``
        and ``within``, the greatest angle of two features of a class, in degrees.
    layout : "wide" or "narrow"
    """
    names = list(table["panel"].unique())
    columns = len(names) if layout == "wide" else 2
    rows = -(-len(names) // columns)
    fig = Figure(figsize=(WIDTHS[layout], 3.9 if layout == "wide" else 7.0), layout="constrained")
    axes = fig.subplots(2 * rows, columns, squeeze=False, height_ratios=[1.0, 0.85] * rows)
    for number, name in enumerate(names):
        above, below = axes[2 * (number // columns) :, number % columns][:2]
        part = table[table["panel"] == name]
        data = part[part["kind"] == "data"]
        reach = 1.2 * np.hypot(data["x"], data["y"]).max()
        _classes(above, data, 0.94 * reach)
        above.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], title=name)
        above.set_aspect("equal")
        above.spines[:].set_visible(False)
        course = part[part["kind"] == "course"].groupby("R")["within"]
        below.plot(course.median(), color=COLOURS[0])
        below.fill_between(list(course.groups), course.min(), course.max(), color=COLOURS[0],
                           alpha=0.22, lw=0)  # fmt: skip
        below.set_yscale("symlog", linthresh=0.01)  # some angles are exactly 0
        below.set_yticks([0, 0.01, 1, 90], ["0", "0.01", "1", "90"] if not number % columns else [])
        below.set(xscale="log", xlabel=r"$R=\log(1/L)$", ylim=(-0.003, 200))
        if not number % columns:
            below.set_ylabel("angle within a\nclass (degrees)")
    return fig
