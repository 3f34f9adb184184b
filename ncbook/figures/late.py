"""Figures of late training: the slow turn to the max-margin directions, and how far off it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncbook.figures.emergence import SYMBOLS
from ncbook.figures.style import (
    COLOURS,
    GREY,
    INK,
    LINES,
    MARKERS,
    group_styles,
    median_band,
    new_figure,
    power_law,
    shared_legend,
    slider,
)

RAY = 1.7  # how far the rays of the picture of the plane go
NEURON = 0.8  # and its neurons, which end before the samples
VIEW = ((-1.75, 1.35), (-0.85, 1.5))

# --- The plane ----------------------------------------------------------------------------------


def plane_rows(levels: Sequence[float], X, y, shares, neurons, groups, u, margins) -> pd.DataFrame:
    """Return samples, neurons and directions of the plane at some levels of R, a row each.

    Parameters
    ----------
    levels : sequence of float
        T levels of R = log(1/L).
    X, y : Tensor
        Samples ``(n, 2)`` and their classes ``(n,)``.
    shares : Tensor
        Share of each sample in its class's loss, ``(T, n)``.
    neurons, groups : Tensor
        Input weights ``(T, 2, h)`` of the neurons that are alive, and their classes ``(h,)``.
    u, margins : Tensor
        Max-margin directions ``(K, 2)`` and margins ``(K,)``.

    Returns
    -------
    DataFrame
        Columns ``R``, ``kind`` ("sample", "neuron", "mean" or "margin"), ``class``, ``x``, ``y``
        and ``share`` (of a sample; of "margin" it holds the margin). All but samples are unit
        vectors.
    """
    points, labels = X.cpu().numpy(), y.cpu().numpy()
    directions, gamma = u.cpu().numpy(), margins.cpu().numpy()
    means = np.stack([points[labels == k].mean(0) for k in range(len(directions))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    classes = np.arange(len(directions))
    parts = []
    for R, share, W in zip(levels, shares.cpu().numpy(), neurons.cpu().numpy(), strict=True):
        unit = (W / np.linalg.norm(W, axis=0)).T
        for kind, where, vectors, value in (
            ("sample", labels, points, share),
            ("neuron", groups.cpu().numpy(), unit, np.nan),
            ("mean", classes, means, np.nan),
            ("margin", classes, directions, gamma),
        ):
            part = {"R": R, "kind": kind, "class": where, "x": vectors[:, 0], "y": vectors[:, 1]}
            parts.append(pd.DataFrame({**part, "share": value}))
    return pd.concat(parts, ignore_index=True)


def figure_2d(table: pd.DataFrame, layout: str, *, levels: Sequence[float]) -> Figure:
    """Draw the table of :func:`plane_rows` at some of its levels, a panel each: Figure 2 (d).

    The area of a sample is its share of its class's loss. A dotted line marks the margin.
    """
    fig, axes = new_figure(layout, len(levels), ratio=(1.0, 0.8))
    for ax, R in zip(axes, levels, strict=True):
        for k, rows in table[table["R"] == R].groupby("class"):
            _plane_class(ax, rows, int(k))
        ax.set(aspect="equal", xlim=VIEW[0], ylim=VIEW[1], xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(_level(R))
    shared_legend(fig, layout, axes[:1])
    return fig


def _plane_class(ax: Axes, rows: pd.DataFrame, k: int) -> None:
    colour, kinds = COLOURS[k], dict(list(rows.groupby("kind")))
    (mean,) = kinds["mean"][["x", "y"]].to_numpy()
    ((*u, gamma),) = kinds["margin"][["x", "y", "share"]].to_numpy()
    u = np.array(u)
    across = np.array([-u[1], u[0]])
    first = k == 0
    ax.plot(*np.stack([np.zeros(2), RAY * mean], 1), color=GREY, linestyle=LINES[1], lw=1.1,
            label="class mean" if first else None)  # fmt: skip
    ax.plot(*np.stack([np.zeros(2), RAY * u], 1), color=INK, linestyle="-", lw=0.9,
            label="max-margin direction" if first else None)  # fmt: skip
    ends = gamma * u + np.outer([-0.7, 0.7], across)
    ax.plot(*ends.T, color=INK, linestyle=":", lw=1, label="its margin" if first else None)
    tips = NEURON * kinds["neuron"][["x", "y"]].to_numpy()
    for tip in tips:
        ax.plot([0, tip[0]], [0, tip[1]], color=colour, linestyle="-", lw=1.6, alpha=0.6)
    ax.plot(*tips.T, color=colour, linestyle="none",
            marker=MARKERS[k], markerfacecolor="none", markersize=8,
            label=f"neurons of class {k}")  # fmt: skip
    samples = kinds["sample"]
    ax.scatter(samples["x"], samples["y"], s=6 + 110 * samples["share"], color=colour, alpha=0.75,
               marker=MARKERS[k], linewidths=0, label=f"samples of class {k}")  # fmt: skip


def turning(table: pd.DataFrame) -> go.Figure:
    """Draw the table of :func:`plane_rows` with a slider over its levels."""
    levels, classes = list(table["R"].unique()), sorted(table["class"].unique())
    fig = go.Figure()
    for k, rows in table[table["R"] == levels[0]].groupby("class"):
        for kind, colour, dash, name in (
            ("mean", GREY, "dash", "class mean"),
            ("margin", GREY, "solid", "max-margin direction"),
        ):
            x, y = (RAY * rows.loc[rows["kind"] == kind, ["x", "y"]].to_numpy()[0]).round(4)
            fig.add_scatter(
                x=[0, x], y=[0, y], mode="lines", line={"color": colour, "dash": dash, "width": 1},
                name=name, showlegend=k == 0, hoverinfo="name",
            )  # fmt: skip
    frames = [_frame(rows, classes) for _, rows in table.groupby("R", sort=False)]
    fixed = len(fig.data)
    for k in classes:
        fig.add_scatter(
            mode="lines+markers", line={"color": COLOURS[k], "width": 2},
            marker={"symbol": f"{SYMBOLS[k]}-open", "size": 10, "color": COLOURS[k]},
            name=f"neurons of class {k}", hoverinfo="name",
        )  # fmt: skip
        fig.add_scatter(
            mode="markers", name=f"samples of class {k}", hovertemplate="%{text}",
            marker={"symbol": SYMBOLS[k], "color": COLOURS[k], "opacity": 0.8},
        )  # fmt: skip
    moving = list(range(fixed, len(fig.data)))
    for trace, values in zip(fig.data[fixed:], zip(*frames[0].values(), strict=True), strict=True):
        x, y, size, text = values
        trace.update(x=x, y=y, text=text)
        trace.marker.size = size
    steps = [
        {"label": f"R = {R:.3g}", "method": "restyle", "args": [frame, moving]}
        for R, frame in zip(levels, frames, strict=True)
    ]
    fig.update_layout(
        sliders=[slider(steps)],
        xaxis={"visible": False, "range": [-1.6, 1.6], "fixedrange": True},
        yaxis={"visible": False, "range": [-1.5, 1.65], "scaleanchor": "x", "fixedrange": True},
        height=480,
        legend={"x": 0.5, "xanchor": "center", "y": 1.02, "yanchor": "bottom"},
    )
    return fig


def _frame(rows: pd.DataFrame, classes: Sequence[int]) -> dict[str, list]:
    """Return x, y, marker size and text of the two moving traces of each class."""
    frame: dict[str, list] = {"x": [], "y": [], "marker.size": [], "text": []}
    for k in classes:
        own = rows[rows["class"] == k]
        tips = NEURON * own.loc[own["kind"] == "neuron", ["x", "y"]].to_numpy()
        strokes = np.stack([np.zeros_like(tips), tips, np.full_like(tips, np.nan)], 1)
        x, y = ([None if np.isnan(v) else float(f"{v:.5g}") for v in axis.ravel()]
                for axis in strokes.transpose(2, 0, 1))  # fmt: skip
        samples = own[own["kind"] == "sample"]
        share = samples["share"].to_numpy()
        frame["x"] += [x, samples["x"].round(4).tolist()]
        frame["y"] += [y, samples["y"].round(4).tolist()]
        frame["marker.size"] += [10, (5 + 28 * np.sqrt(share)).round(1).tolist()]
        frame["text"] += ["", [f"{100 * s:.2g} % of the class's loss" for s in share]]
    return frame


def approach_rows(cases: Mapping[str, tuple[int, int]], R, degrees, predicted) -> pd.DataFrame:
    """Return the rows that :func:`approach` draws, for some classes of some data sets.

    Parameters
    ----------
    cases : mapping
        A class in words to its data set and its number.
    R : Tensor
        log(1/L) of each class, ``(T, data sets, K)``.
    degrees, predicted : Tensor
        The angle to the max-margin direction, signed, and the size predicted; shapes as R.
    """
    columns = {"R": R, "degrees": degrees, "predicted": predicted}
    columns = {name: values.cpu().numpy() for name, values in columns.items()}
    parts = [
        pd.DataFrame({"class": case, **{name: x[:, i, k] for name, x in columns.items()}})
        for case, (i, k) in cases.items()
    ]
    return pd.concat(parts, ignore_index=True)


def approach(table: pd.DataFrame, layout: str, *, levels: Sequence[float]) -> Figure:
    """Draw a plane's neurons' angle to the max-margin direction along R: signed, and in size.

    Parameters
    ----------
    table : DataFrame
        Columns ``class`` (in words), ``R``, ``degrees`` (signed) and ``predicted`` (in size).
    layout : "wide" or "narrow"
    levels : sequence of float
        Levels of R to mark.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.82, 0.75))
    style = group_styles(table["class"].unique())
    for k, rows in table.groupby("class", sort=False):
        look = {**style[k], "marker": None}
        left.plot(rows["R"], rows["degrees"], label=k, **look)
        right.plot(rows["R"], rows["degrees"].abs(), label=k, **look)
        late = rows[rows["R"] >= 30].iloc[::4]
        right.plot(late["R"], late["predicted"], linestyle="none", color=look["color"],
                   marker=style[k]["marker"], markerfacecolor="none",
                   label="predicted")  # fmt: skip
    for ax in (left, right):
        for R in levels:
            ax.axvline(R, color=INK, lw=0.7, alpha=0.4)
        ax.set(xscale="log", xlabel=r"$R=\log(1/L)$ of the class")
    left.axhline(0, color=INK, lw=0.8)
    left.set(ylabel="degrees to $u_k$, signed")
    right.set(yscale="log", ylabel="degrees to $u_k$", ylim=(1e-6, 30))
    shared_legend(fig, layout, [right])
    return fig


# --- Theorem 1 along the way --------------------------------------------------------------------


def along_the_way(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw quantities along R on logarithmic axes, each with a line of slope -1/2.

    Parameters
    ----------
    table : DataFrame
        One row a run and level: ``samples`` (how the margin is made), ``R`` and the quantities.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(1.05, 0.72))
    ends = np.array([table["R"].min() * 3, table["R"].max()])
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        median_band(ax, table, "R", name, "samples", band=(0, 1))
        top = 1.6 * table.loc[table["R"] == ends[1], name].max()
        ax.plot(ends, top * (ends / ends[1]) ** -0.5, color=INK, linestyle=":", lw=1.2,
                label="slope -1/2")  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel=r"$R=\log(1/L)$", title=title)
    shared_legend(fig, layout, axes[:1], title="samples on the margin")
    return fig


def against_start(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw quantities against the size of the start, with a line of slope 1.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``eps`` and the quantities.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(0.8, 0.72))
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        power_law(ax, table, "eps", name, 1)
        ax.set(xlabel=r"size $\varepsilon$ of the start", title=title)
    shared_legend(fig, layout, axes[:1])
    return fig


# --- The rate -----------------------------------------------------------------------------------


def rates(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the angle to the max-margin direction along R: lines measured, marks predicted.

    Parameters
    ----------
    table : DataFrame
        Columns ``samples`` (how the margin is made; a panel each), ``class``, ``R``, ``angle`` and
        ``predicted``.
    layout : "wide" or "narrow"
    """
    panels = list(table["samples"].unique())
    fig, axes = new_figure(layout, len(panels), ratio=(0.95, 0.62), sharex=True, sharey=True)
    style = group_styles(sorted(table["class"].unique()))
    for ax, name in zip(axes, panels, strict=True):
        for k, line in table[table["samples"] == name].groupby("class"):
            ax.loglog(line["R"], line["angle"], color=style[k]["color"], lw=1.3,
                      linestyle=style[k]["linestyle"])  # fmt: skip
            ax.loglog(line["R"].iloc[::2], line["predicted"].iloc[::2], linestyle="none",
                      color=style[k]["color"], marker=style[k]["marker"], markersize=4,
                      markerfacecolor="none")  # fmt: skip
        ax.set_title(f"{name} on the margin" if name.isdigit() else name)
    for k, look in style.items():
        axes[0].plot([], [], **{**look, "markerfacecolor": "none"}, label=f"class {k}")
    across = 3 if layout == "wide" else 1
    for index, ax in enumerate(axes):
        if index >= len(axes) - across:
            ax.set_xlabel(r"$R$ of the class")
            ax.tick_params(labelbottom=True)
        if index % across == 0:
            ax.set_ylabel("angle to $u_k$")
    shared_legend(fig, layout, axes[:1], title="lines: measured; marks: predicted")
    return fig


def needed(table: pd.DataFrame, layout: str, *, marks: Mapping[str, float]) -> Figure:
    """Draw which R each class needs to come within some angles of its max-margin direction.

    Parameters
    ----------
    table : DataFrame
        Columns ``samples`` (how the margin is made), ``within`` (the angle, in words) and ``R``.
    layout : "wide" or "narrow"
    marks : mapping
        Names of levels of R to mark as vertical lines, up to six.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.48, 1.05))
    kinds, angles = list(table["samples"].unique()), list(table["within"].unique())
    style = group_styles(angles)
    for place, angle in enumerate(angles):
        look = style[angle]
        for height, kind in enumerate(kinds):
            R = np.sort(table[(table["samples"] == kind) & (table["within"] == angle)]["R"])
            y = np.full(len(R), -height + 0.17 - 0.34 * place / max(1, len(angles) - 1))
            ax.plot(R, y, linestyle="none", marker=look["marker"], markersize=4, alpha=0.55,
                    color=look["color"], label=angle if height == 0 else None)  # fmt: skip
    for (name, R), line in zip(marks.items(), LINES[1:], strict=False):
        ax.axvline(R, color=INK, lw=1, linestyle=line, alpha=0.8, label=name)
    ax.set(xscale="log", yticks=-np.arange(len(kinds)), yticklabels=kinds,
           ylim=(-len(kinds) + 0.5, 0.5), xlabel=r"$R=\log(1/L)$ that is needed",
           ylabel="samples on the margin")  # fmt: skip
    above = ax.secondary_xaxis(
        "top", functions=(lambda R: R / np.log(10), lambda d: d * np.log(10))
    )
    above.set_xlabel("digits of the time $t$, about")
    shared_legend(fig, layout)
    return fig


# --- The scales ---------------------------------------------------------------------------------


def scales(table: pd.DataFrame, layout: str, *, limits: Mapping[str, float]) -> Figure:
    """Draw the scales against their limit, and how far V is from a simplex, along R.

    Parameters
    ----------
    table : DataFrame
        One row a run and level: ``margins`` (in words), ``R``, ``scale`` (the largest of
        ``|c s_k^2 gamma_k / R_k - 1|``) and ``distance`` (of V V^T from a simplex's).
    layout : "wide" or "narrow"
    limits : mapping
        The predicted limit of the distance for each kind of margins.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.8, 0.75))
    for ax, name, title in (
        (left, "scale", r"$|c\,s_k^2\,\gamma_k/R_k-1|$, the largest"),
        (right, "distance", "$V$ from a simplex frame"),
    ):
        median_band(ax, table, "R", name, "margins", band=(0, 1), label="{} margins")
        ax.set(xscale="log", yscale="log", xlabel=r"$R=\log(1/L)$", title=title)
    for kind, limit in limits.items():
        if limit > 1e-9:  # rounding makes a limit of zero
            right.axhline(limit, color=INK, lw=1, linestyle=":", label=f"limit, {kind} margins")
    shared_legend(fig, layout, [right])
    return fig


def _level(R: float) -> str:
    """Return R in words, short: powers of ten from 1000 on."""
    exponent = np.log10(R)
    return f"$R = 10^{{{exponent:.0f}}}$" if R >= 1000 and exponent % 1 == 0 else f"$R = {R:g}$"
