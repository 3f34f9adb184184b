"""Figures of orthogonally separable data, of digits beside them, and of what a bias does."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from ncbook.figures.emergence import SIZES, SYMBOLS
from ncbook.figures.style import (
    COLOURS,
    DIVERGING,
    INK,
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
    classes = sorted(table["class"].unique())
    style = group_styles(classes)
    for ax, (panel, points) in zip(axes, table.groupby("panel", sort=False), strict=True):
        reach = np.hypot(points["x"], points["y"]).max()
        for k, part in points.groupby("class"):
            look = style[k]
            begin, width = spanned(part[["x", "y"]].to_numpy())
            ax.add_patch(Wedge((0, 0), 1.12 * reach, begin, begin + width, color=look["color"],
                               alpha=0.16, linewidth=0))  # fmt: skip
            ax.plot(part["x"], part["y"], linestyle="none", color=look["color"],
                    marker=look["marker"], label=f"class {k}")  # fmt: skip
        ax.plot(0, 0, marker="+", color=INK, markersize=9, markeredgewidth=1)
        limit = 1.2 * reach
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], title=panel)
        ax.set_aspect("equal")
        ax.spines[:].set_visible(False)
    shared_legend(fig, layout)
    return fig


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


def space_rows(X, y, axes, half_angle: float) -> pd.DataFrame:
    """Return points of space and, for each class, the rim of its cone, a row a point.

    Parameters
    ----------
    X, y : Tensor
        Shapes ``(n, 3)`` and ``(n,)``.
    axes : Tensor
        Shape ``(K, 3)``, unit vectors.
    half_angle : float
        Of the cones around them, in radians.
    """
    X, y, axes = (values.cpu().numpy() for values in (X, y, axes))
    reach = np.linalg.norm(X, axis=1).max()
    around = np.linspace(0, 2 * np.pi, 41)
    parts = []
    for k, axis in enumerate(axes):
        across = np.linalg.svd(axis[None])[2][1:]
        circle = np.stack([np.cos(around), np.sin(around)], 1) @ across
        rim = reach * (np.cos(half_angle) * axis + np.sin(half_angle) * circle)
        for part, points in (("point", X[y == k]), ("rim", rim)):
            rows = pd.DataFrame(points, columns=["x", "y", "z"])
            parts.append(rows.assign(**{"class": k, "part": part}))
    return pd.concat(parts, ignore_index=True)[["class", "part", "x", "y", "z"]]


def space(table: pd.DataFrame) -> go.Figure:
    """Draw classes in their cones (``space_rows``); the picture can be turned."""
    fig = go.Figure()
    for k, rows in table.groupby("class"):
        points, rim = (rows[rows["part"] == part].round(4) for part in ("point", "rim"))
        # A line of the cone from the origin to every fifth point of its rim, and back.
        lines = [value for place in rim[["x", "y", "z"]].to_numpy()[::5]
                 for value in ([0, 0, 0], place, [None] * 3)]  # fmt: skip
        x, y, z = zip(*[*lines, *rim[["x", "y", "z"]].to_numpy()], strict=True)
        fig.add_scatter3d(
            x=x, y=y, z=z, mode="lines", showlegend=False, hoverinfo="skip",
            line={"color": COLOURS[k], "width": 2},
        )  # fmt: skip
        fig.add_scatter3d(
            x=points["x"], y=points["y"], z=points["z"], mode="markers", name=f"class {k}",
            marker={"color": COLOURS[k], "symbol": SYMBOLS[k], "size": 4 * SIZES[k]},
            hovertemplate="%{x:.2f}, %{y:.2f}, %{z:.2f}<extra>%{fullData.name}</extra>",
        )  # fmt: skip
    hidden = {axis: {"visible": False} for axis in ("xaxis", "yaxis", "zaxis")}
    camera = {"eye": {"x": 1.1, "y": -1.0, "z": 0.6}}
    fig.update_layout(scene={**hidden, "aspectmode": "data", "camera": camera}, height=380)
    return fig


# --- Bounds -------------------------------------------------------------------------------------


def opposed_rows(draws: Mapping[tuple[int, str], object]) -> pd.DataFrame:
    """Return quantiles of mu_d (K - 1), a row a (K, kind of directions).

    Parameters
    ----------
    draws : mapping
        (K, kind) to the values, a tensor.
    """
    rows = []
    for (K, kind), values in draws.items():
        values = values.flatten().cpu().numpy()
        low, median, high = np.quantile(values, (0.1, 0.5, 0.9))
        rows.append({"K": K, "kind": kind, "draws": len(values), "least": values.min(), "low": low,
                     "median": median, "high": high, "greatest": values.max()})  # fmt: skip
    return pd.DataFrame(rows)


def opposed(table: pd.DataFrame, layout: str) -> Figure:
    """Draw how opposed directions are, as a share of the bound (``opposed_rows``)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.85))
    kinds = list(table["kind"].unique())
    style = group_styles(kinds)
    for index, kind in enumerate(kinds):
        rows, look = table[table["kind"] == kind], style[kind]
        at = rows["K"] + 0.22 * (index - (len(kinds) - 1) / 2)
        ax.vlines(at, rows["least"], rows["greatest"], color=look["color"], lw=1)
        ax.vlines(at, rows["low"], rows["high"], color=look["color"], lw=4, alpha=0.45)
        ax.plot(at, rows["median"], linestyle="none", color=look["color"], marker=look["marker"],
                label=kind)  # fmt: skip
    ax.axhline(1, color=INK, lw=1, linestyle=":")
    ax.axhline(0, color=INK, lw=0.8, alpha=0.5)
    ax.annotate("the bound", (1, 1), xycoords=("axes fraction", "data"), xytext=(0, 3),
                textcoords="offset points", ha="right", va="bottom")  # fmt: skip
    ax.set(xlabel="classes $K$", ylabel=r"$\mu_d\,(K-1)$", xticks=sorted(table["K"].unique()))
    ax.set_yscale("symlog", linthresh=1, linscale=2)
    ax.set_yticks([-4, -1, -0.5, 0, 0.5, 1], ["−4", "−1", "−0.5", "0", "0.5", "1"])
    ax.set_ylim(top=1.3)
    shared_legend(fig, layout)
    return fig


def coupling(table: pd.DataFrame, layout: str) -> Figure:
    """Draw which margins go together: bounds as lines, data as points.

    Parameters
    ----------
    table : DataFrame
        Columns ``K``, ``kind`` ("bound" or "data"), ``name``, ``mu_d``, ``mu_s``.
    layout : "wide" or "narrow"
    """
    numbers = list(table["K"].unique())
    fig, axes = new_figure(layout, len(numbers), ratio=(0.85, 0.85))
    bounds = group_styles(list(table[table["kind"] == "bound"]["name"].unique()))
    data = list(table[table["kind"] == "data"]["name"].unique())
    markers = dict(zip(data, ("o", "x", "+"), strict=False))
    for ax, (K, rows) in zip(axes, table.groupby("K", sort=False), strict=True):
        for (kind, name), part in rows.groupby(["kind", "name"], sort=False):
            if kind == "bound":
                ax.plot(part["mu_d"], part["mu_s"], color=bounds[name]["color"],
                        linestyle=bounds[name]["linestyle"], label=name)  # fmt: skip
            else:
                ax.plot(part["mu_d"], part["mu_s"], linestyle="none", marker=markers[name],
                        color=COLOURS[3 + data.index(name)], markersize=3.5, alpha=0.8,
                        label=name)  # fmt: skip
        ax.axhline(0, color=INK, alpha=0.5, lw=0.8)
        ax.set(xlabel=r"$\mu_d$", ylabel=r"$\mu_s$", title=f"$K = {K}$", ylim=(-1.05, 1.08),
               xlim=(-0.02 / (K - 1), 1.03 / (K - 1)))  # fmt: skip
    shared_legend(fig, layout)
    return fig


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


def cosines(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the densities of cosines by two digits (``cosine_rows``), a row of panels a kind."""
    kinds = list(table["pixels"].unique())
    fig, axes = new_figure(layout, 2 * len(kinds), columns=2, ratio=(0.55, 0.62), sharex=True)
    panels = [(kind, digits) for kind in kinds for digits in ("same", "different")]
    for ax, (kind, digits) in zip(axes, panels, strict=True):
        rows = table[(table["pixels"] == kind) & (table["digits"] == digits)]
        style = group_styles(list(rows["pair"].unique()))
        for pair, part in rows.groupby("pair", sort=False):
            look = {**style[pair], "marker": None}
            ax.plot(part["cosine"], part["density"], label=pair, **look)
        ax.axvline(0, color=INK, lw=0.8)
        right = (0, 1) if digits == "same" else (-1, 0)
        ax.axvspan(*right, color=INK, alpha=0.06, linewidth=0)
        ax.set(title=f"{digits} digit{'s' if digits == 'different' else ''}, {kind}",
               xlabel="cosine", ylabel="density", xlim=(-1, 1), xticks=[-1, 0, 1])  # fmt: skip
        ax.tick_params(labelbottom=True)
        ax.set_ylim(bottom=0)
        ax.legend(loc="upper left" if digits == "same" or kind != kinds[-1] else "upper right")
    return fig


def matrix_rows(values, names: Sequence[str]) -> pd.DataFrame:
    """Return a symmetric matrix as rows (first, second, value)."""
    values = values.cpu().numpy()
    return pd.DataFrame(
        [{"first": a, "second": b, "value": values[i, j]}
         for i, a in enumerate(names) for j, b in enumerate(names)]
    )  # fmt: skip


def matrix(table: pd.DataFrame, layout: str, *, label: str) -> Figure:
    """Draw a small matrix (``matrix_rows``) as an image with its numbers, 0 in the middle."""
    names = list(table["first"].unique())
    values = table["value"].to_numpy().reshape(len(names), len(names))
    fig, (ax,) = new_figure(layout, 1, ratio=(0.62, 0.95))
    limit = np.abs(values).max()
    image = ax.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(values):
        words = f"{value:.2f}".replace("-0.00", "0.00").replace("0.", ".", 1)
        # The cell's own colour decides what can be read on it, on any page.
        ax.text(j, i, words, ha="center", va="center",
                fontsize=8 if layout == "wide" else 6.2,
                color="#f0f0f0" if abs(value) > 0.6 * limit else "#101010")  # fmt: skip
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=ax, label=label, shrink=0.85)
    return fig


def triples(table: pd.DataFrame, layout: str, *, marked: Sequence[str]) -> Figure:
    """Draw how many pairs have the right sign for every three digits, and name some.

    Parameters
    ----------
    table : DataFrame
        Columns ``triple`` (its name), ``positive``, ``negative``: shares of pairs of one digit
        with a positive product, and of different digits with a negative one.
    layout : "wide" or "narrow"
    marked : sequence of str
        Triples to name.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.85))
    ax.plot(table["positive"], table["negative"], linestyle="none", marker="o", markersize=3.5,
            color=COLOURS[0], alpha=0.6)  # fmt: skip
    for name in marked:
        row = table[table["triple"] == name].iloc[0]
        ax.plot(row["positive"], row["negative"], marker="s", color=COLOURS[1], markersize=6)
        ax.annotate(name, (row["positive"], row["negative"]), xytext=(0, -6),
                    textcoords="offset points", ha="center", va="top")  # fmt: skip
    ax.set(xlabel="same digit: share of positive products",
           ylabel="different digits:\nshare of negative products")  # fmt: skip
    ax.margins(0.1)
    return fig


# --- What training makes of it ------------------------------------------------------------------


def angles(table: pd.DataFrame, layout: str) -> Figure:
    """Draw angles of features along training, a panel a quantity and a line a data set.

    Parameters
    ----------
    table : DataFrame
        Columns ``data``, ``seed``, ``level`` (log 1/L), and two angles in degrees: ``within``, the
        greatest of two features of a class, and ``between``, the least of two classes' means.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 2, ratio=(0.8, 0.72), sharex=True, sharey=True)
    table = table.assign(lacking=90 - table["between"])
    titles = {
        "within": "greatest angle within a class",
        "lacking": "90 degrees less the\nleast angle of class means",
    }
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        median_band(ax, table, "level", name, "data", band=(0, 1))
        # Some angles are exactly 0.
        ax.set_yscale("symlog", linthresh=0.01)
        ax.set_yticks([0, 0.01, 0.1, 1, 10, 90], ["0", "0.01", "0.1", "1", "10", "90"])
        ax.set(xscale="log", xlabel=r"$\log 1/L$", title=title, ylim=(-0.002, 200))
        ax.tick_params(labelbottom=True)
    axes[0].set_ylabel("degrees")
    shared_legend(fig, layout)
    return fig


def sliding(table: pd.DataFrame, layout: str, *, edges: Sequence[float]) -> Figure:
    """Draw the directions of neurons along training, a line a neuron.

    Parameters
    ----------
    table : DataFrame
        Columns ``neuron``, ``log_t`` (the logarithm of time) and ``angle``, in degrees.
    layout : "wide" or "narrow"
    edges : sequence of float
        Directions to mark: those orthogonal to a sample.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.75))
    for edge in edges:
        ax.axhline(edge, color=INK, linewidth=0.8, linestyle=":")
    for _, rows in table.groupby("neuron", sort=False):
        ax.plot(rows["log_t"] / np.log(10), rows["angle"], color=COLOURS[0], linewidth=0.9, ls="-")
    ax.set(xlabel=r"$\log_{10}t$", ylabel="degrees from the axis")
    ax.set_ylim(table["angle"].min() - 2, table["angle"].max() + 2)
    return fig
