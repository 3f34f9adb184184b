"""Figures of orthogonally separable data, of digits beside them, and of what a bias does."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from matplotlib.ticker import MaxNLocator

from ncbook.figures.scene import Scene
from ncbook.figures.style import (
    INK,
    WIDTHS,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

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
        median_band(below, part[part["kind"] == "course"], "R", "within", band=(0, 1))
        below.set_yscale("symlog", linthresh=0.01)  # some angles are exactly 0
        below.set_yticks([0, 0.01, 1, 90], ["0", "0.01", "1", "90"] if not number % columns else [])
        below.set(xscale="log", xlabel=r"$R=\log(1/L)$", ylim=(-0.003, 200))
        if not number % columns:
            below.set_ylabel("angle within a\nclass (degrees)")
    return fig


# --- Biases -------------------------------------------------------------------------------------


def margins(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the margins against the constant: formula as lines, data sets as points.

    Parameters
    ----------
    table : DataFrame
        Columns ``seed``, ``ratio`` (constant over norm), and the margins ``mu_s``, ``mu_d``, with
        those of the formula, ``mu_s_formula`` and ``mu_d_formula``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.48, 0.85))
    names = {"mu_s": r"$\mu_s$", "mu_d": r"$\mu_d$"}
    style = group_styles(list(names))
    for name, label in names.items():
        look = style[name]
        line = {"color": look["color"], "linestyle": look["linestyle"], "lw": 1}
        points = {**look, "linestyle": "none", "markersize": 3}
        for number, (_, rows) in enumerate(table.groupby("seed")):
            names = ("", "") if number else (f"{label}, formula", f"{label}, data")
            ax.plot(rows["ratio"], rows[f"{name}_formula"], label=names[0] or None, **line)
            ax.plot(rows["ratio"], rows[name], label=names[1] or None, **points)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set(xlabel="constant / norm", ylabel="margin")
    shared_legend(fig, layout)
    return fig


def thresholds(table: pd.DataFrame, layout: str) -> Figure:
    """Draw where separability ends: measured against the formula, and between its bounds.

    Parameters
    ----------
    table : DataFrame
        A row a data set: ``K``, ``formula``, ``measured``, and the bounds ``low`` and ``high``.
    layout : "wide" or "narrow"
    """
    fig, (ax, bounds) = new_figure(layout, 2, ratio=(0.85, 0.8))
    style = group_styles(list(table["K"].unique()))
    for K, rows in table.groupby("K", sort=False):
        look = {**style[K], "linestyle": "none", "markersize": 3, "alpha": 0.7}
        ax.plot(rows["formula"], rows["measured"], label=f"$K = {K}$", **look)
        bounds.plot(rows["formula"] / rows["low"], rows["formula"] / rows["high"], **look)
    ends = [table["formula"].min(), table["formula"].max()]
    ax.plot(ends, ends, color=INK, lw=0.8, linestyle=":")
    ax.set(xlabel=r"$c_*$ by the formula", ylabel="measured: separability ends")
    bounds.axhline(1, color=INK, lw=0.8, linestyle=":")
    bounds.axvline(1, color=INK, lw=0.8, linestyle=":")
    bounds.set(xlabel=r"$c_*$ / ($\mu_d^{1/2}\,X_{\mathrm{min}}$)",
               ylabel=r"$c_*$ / ($\mu_d^{1/2}\,X_{\mathrm{max}}$)")  # fmt: skip
    shared_legend(fig, layout, [ax])
    return fig


def training(table: pd.DataFrame, layout: str) -> Figure:
    """Draw what training reaches against the constant, over the data's own threshold.

    Parameters
    ----------
    table : DataFrame
        A row a (K, run, ratio): ``K``, ``ratio`` (constant over threshold), ``separated`` (0 or
        1), ``between`` and ``within``: cosine of class means of features (greatest) and 1 minus
        that of features of a class (greatest).
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 3, ratio=(1.0, 0.72), sharex=True)
    style = group_styles(list(table["K"].unique()))
    share = table.groupby(["K", "ratio"], sort=False)["separated"].mean().reset_index()
    for K, rows in share.groupby("K", sort=False):
        axes[0].plot(rows["ratio"], rows["separated"], label=f"$K = {K}$", **style[K])
    median_band(axes[1], table, "ratio", "between", "K", markers=True, label="$K = {}$")
    median_band(axes[2], table, "ratio", "within", "K", markers=True, label="$K = {}$")
    titles = (
        "share of runs separated",
        "greatest cosine of class means",
        "greatest angle\nwithin a class",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.axvline(1, color=INK, lw=0.8, linestyle=":")
        ax.set(xlabel=r"$c / c_*$", title=title)
        ax.tick_params(labelbottom=True)
    axes[2].set_ylabel("degrees")
    shared_legend(fig, layout, [axes[0]])
    return fig


def shares(
    table: pd.DataFrame,
    layout: str,
    *,
    x: str,
    label: str | None = None,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Draw shares of pairs or of data sets against a column.

    Parameters
    ----------
    table : DataFrame
        Columns ``x``, ``data`` (a panel each), ``quantity``, ``share``.
    layout : "wide" or "narrow"
    x : str
        The column.
    label : str, optional
        The axis' name, with the panels' names above them; without it these name the axes.
    marks : mapping, optional
        A panel's name to a value of ``x`` at which it has a dotted line.
    """
    panels = list(table["data"].unique())
    fig, axes = new_figure(layout, len(panels), ratio=(0.75, 0.72))
    for ax, (panel, rows) in zip(axes, table.groupby("data", sort=False), strict=True):
        median_band(ax, rows, x, "share", "quantity", markers=True, band=(0, 1))
        ax.set(xlabel=label or panel, title=panel if label else "", ylim=(-0.04, 1.04))
        if panel in (marks or {}):
            ax.axvline(marks[panel], color=INK, lw=0.8, linestyle=":")
        ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes[0].set_ylabel("share")
    shared_legend(fig, layout, [axes[0]])
    return fig
