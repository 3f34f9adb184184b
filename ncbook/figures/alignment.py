"""Figures of the alignment phase: small neurons that turn."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from matplotlib.ticker import MaxNLocator
from plotly.subplots import make_subplots

from ncbook.figures.style import (
    COLOURS,
    GREY,
    INK,
    LINES,
    MARKERS,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
    slider,
)

SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross")  # plotly's names of MARKERS
DEAD = "dead"


# ---------------------------------------------------------------- the plane


def plane_rows(X, y) -> pd.DataFrame:
    """Return a row a sample of the plane: class, x, y (``X`` of shape ``(n, 2)``)."""
    points = X.cpu().numpy()
    return pd.DataFrame({"class": y.cpu().numpy(), "x": points[:, 0], "y": points[:, 1]})


def neuron_rows(
    times: Sequence[float], vectors, groups, dead, reach: tuple[float, float], view: str = "inputs"
) -> pd.DataFrame:
    """Return a row a neuron and a time: its direction, at a length that grows with log of its norm.

    Parameters
    ----------
    times : sequence of float
        T of them.
    vectors : Tensor
        Shape ``(T, 2, h)``.
    groups, dead : Tensor
        Shape ``(T, h)``: group number, and whether no sample activates the neuron.
    reach : pair of float
        Norms that are drawn at the lengths 0.4 and 1; smaller ones stay at 0.15 or above.
    view : str
        Which plane the vectors are of.
    """
    v = vectors.cpu().numpy()
    norm = np.linalg.norm(v, axis=1)
    low, high = np.log(reach)
    with np.errstate(divide="ignore"):
        length = 0.4 + 0.6 * (np.log(norm) - low) / (high - low)
    shown = v / np.where(norm > 0, norm, 1)[:, None] * np.maximum(length, 0.15)[:, None]
    T, h = norm.shape
    return pd.DataFrame(
        {
            "view": view,
            "t": np.repeat(np.asarray(times, dtype=float), h),
            "neuron": np.tile(np.arange(h), T),
            "group": groups.cpu().numpy().ravel(),
            "dead": dead.cpu().numpy().ravel(),
            "x": shown[:, 0].ravel(),
            "y": shown[:, 1].ravel(),
        }
    )


def dead_sector(angles: Sequence[float]) -> tuple[float, float] | None:
    """Return the sector of the plane that has no acute angle with any sample, in degrees.

    None if there is none: the samples lie in no half-plane.

    Parameters
    ----------
    angles : sequence of float
        The samples' directions in degrees.
    """
    ordered = np.sort(np.mod(np.asarray(angles, dtype=float), 360))
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    widest = int(gaps.argmax())
    if gaps[widest] < 180:
        return None
    return float(ordered[widest] + 90), float(ordered[widest] + gaps[widest] - 90)


def figure_2(
    table: pd.DataFrame, layout: str, *, data: pd.DataFrame, names: Sequence[str]
) -> Figure:
    """Draw data with the dead region, and neurons at some times: panels (a), (b), (c).

    Parameters
    ----------
    table : DataFrame
        ``neuron_rows`` at the times of the panels after the first.
    layout : "wide" or "narrow"
    data : DataFrame
        ``plane_rows``.
    names : sequence of str
        Titles of all panels.
    """
    fig, axes = new_figure(layout, len(names), columns=3, ratio=(1.05, 0.9))
    sector = dead_sector(np.degrees(np.arctan2(data["y"], data["x"])))
    for index, (ax, name) in enumerate(zip(axes, names, strict=True)):
        if sector is not None:
            ax.add_patch(
                Wedge((0, 0), 1.75, *sector, facecolor=GREY, alpha=0.25, edgecolor="none",
                      label="dead region")
            )  # fmt: skip
        _samples(ax, data, faint=index > 0)
        if index:
            _neurons(ax, table[table["t"] == sorted(table["t"].unique())[index - 1]])
        ax.set(aspect="equal", xlim=(-1.75, 1.45), ylim=(-1.45, 1.75), xticks=[], yticks=[])
        ax.grid(False)
        ax.axhline(0, color=INK, lw=0.5, alpha=0.3)
        ax.axvline(0, color=INK, lw=0.5, alpha=0.3)
        ax.set_title(name)
    shared_legend(fig, layout)
    return fig


def _samples(ax: Axes, data: pd.DataFrame, faint: bool) -> None:
    for k, part in data.groupby("class"):
        mean = part[["x", "y"]].mean().to_numpy()
        mean = 1.6 * mean / np.linalg.norm(mean)
        ax.plot(*np.stack([np.zeros(2), mean]).T, color=COLOURS[k], linestyle=(0, (4, 2)), lw=1,
                label="class mean" if k == 0 else None)  # fmt: skip
        ax.plot(part["x"], part["y"], linestyle="none", marker=MARKERS[k], color=COLOURS[k],
                alpha=0.35 if faint else 1, label=None if faint else f"class {k}")  # fmt: skip


def _neurons(ax: Axes, rows: pd.DataFrame) -> None:
    for k, part in rows[~rows["dead"]].groupby("group"):
        for _, row in part.iterrows():
            ax.plot([0, row["x"]], [0, row["y"]], color=COLOURS[k], linestyle=LINES[k], lw=1)
        ax.plot(part["x"], part["y"], color=COLOURS[k], linestyle="none", marker=MARKERS[k],
                markersize=4, markerfacecolor="none", label=f"neurons of class {k}")  # fmt: skip
    part = rows[rows["dead"]]
    if len(part):
        ax.plot(
            part["x"], part["y"], linestyle="none", marker="x", color=GREY, label="dead neurons"
        )


def turning(
    table: pd.DataFrame,
    guides: Mapping[str, pd.DataFrame],
    notes: Sequence[str],
) -> go.Figure:
    """Draw the neurons of ``neuron_rows`` with a slider over time, one plane beside the other.

    Parameters
    ----------
    table : DataFrame
        ``neuron_rows``, of one or more views.
    guides : mapping
        For each view a table with the columns class, x, y: directions drawn as dashed rays.
    notes : sequence of str
        What the slider says at each time.
    """
    times = list(table["t"].unique())
    groups = sorted(table["group"].unique())
    views = list(guides)
    fig = make_subplots(1, len(views), subplot_titles=views if len(views) > 1 else None,
                        horizontal_spacing=0.03)  # fmt: skip
    moving = []
    for column, view in enumerate(views, 1):
        for _, ray in guides[view].iterrows():
            k = int(ray["class"])
            fig.add_scatter(
                x=[0, 1.15 * ray["x"]], y=[0, 1.15 * ray["y"]], mode="lines", row=1, col=column,
                line={"color": COLOURS[k], "dash": "dash", "width": 1.5}, hoverinfo="skip",
                showlegend=False,
            )  # fmt: skip
        part = table[table["view"] == view]
        frames = [_strokes(rows, groups) for _, rows in part.groupby("t", sort=False)]
        for index, name in enumerate([*groups, DEAD]):
            colour = GREY if name == DEAD else COLOURS[name]
            symbol = "x" if name == DEAD else SYMBOLS[name]
            x, y = frames[0][index]
            fig.add_scatter(
                x=x, y=y, mode="lines+markers", row=1, col=column,
                line={"color": colour, "width": 1},
                marker={"color": colour, "symbol": symbol, "size": 7},
                name="dead" if name == DEAD else f"neurons of class {name}",
                legendgroup=str(name), showlegend=column == 1, hoverinfo="name",
            )  # fmt: skip
            moving.append((len(fig.data) - 1, [frame[index] for frame in frames]))
        fig.update_xaxes(range=[-1.2, 1.2], visible=False, row=1, col=column, fixedrange=True)
        anchor = f"x{column if column > 1 else ''}"
        fig.update_yaxes(range=[-1.2, 1.2], visible=False, scaleanchor=anchor, row=1, col=column,
                         fixedrange=True)  # fmt: skip
    steps = [
        {
            "label": f"{time:.2f}",
            "method": "restyle",
            "args": [
                {axis: [trace[i][a] for _, trace in moving] for a, axis in enumerate("xy")},
                [number for number, _ in moving],
            ],
        }
        for i, time in enumerate(times)
    ]
    for step, note in zip(steps, notes, strict=True):
        step["label"] = note
    fig.update_layout(
        sliders=[slider(steps)],
        height=460,
        legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1.06, "yanchor": "bottom"},
    )
    return fig


def _strokes(rows: pd.DataFrame, groups: Sequence[int]) -> list[tuple[list, list]]:
    """Return, for each group and the dead, strokes from the origin as x and y with gaps."""
    parts = [rows[~rows["dead"] & (rows["group"] == k)] for k in groups] + [rows[rows["dead"]]]
    strokes = []
    for part in parts:
        xy = part[["x", "y"]].to_numpy()
        lines = [[0.0 if i == 0 else float(f"{v:.3g}") if i == 1 else None for i in range(3)]
                 for v in xy.ravel()]  # fmt: skip
        strokes.append(
            (
                [value for line in lines[0::2] for value in line],
                [value for line in lines[1::2] for value in line],
            )
        )
    return strokes


# ---------------------------------------------------------------- what the lemmas say


def basin(table: pd.DataFrame, layout: str, *, marks: Mapping[str, float]) -> Figure:
    """Draw where a neuron's direction ends against where it starts, for both signs of v.

    Parameters
    ----------
    table : DataFrame
        Columns sign, start, end (degrees), dead.
    layout : "wide" or "narrow"
    marks : mapping
        Names of directions, in degrees.
    """
    fig, axes = new_figure(layout, 2, ratio=(0.85, 0.75), sharey=layout == "wide")
    for ax, (sign, part) in zip(axes, table.groupby("sign", sort=False), strict=True):
        for dead, colour, marker, label in (
            (False, COLOURS[0], "o", "alive"),
            (True, COLOURS[1], "x", "dead at the end"),
        ):
            rows = part[part["dead"] == dead]
            ax.plot(rows["start"], rows["end"], linestyle="none", marker=marker, markersize=3,
                    color=colour, label=label)  # fmt: skip
        for (name, angle), line in zip(marks.items(), ("--", ":"), strict=True):
            ax.axhline(angle, color=INK, lw=0.9, linestyle=line, alpha=0.7, label=name)
            ax.axvline(angle, color=INK, lw=0.9, linestyle=line, alpha=0.7)
        ax.set(xlim=(0, 360), ylim=(0, 360), xticks=range(0, 361, 90), yticks=range(0, 361, 90))
        ax.set(xlabel="angle at the start")
        ax.set_title(f"neurons with {sign}")
    axes[0].set_ylabel("angle at the end")
    if layout == "narrow":
        axes[1].set_ylabel("angle at the end")
    shared_legend(fig, layout, [axes[0]])
    return fig


def angles(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the angle to the class mean when the loss has fallen by a given share, against eps.

    Parameters
    ----------
    table : DataFrame
        Columns eps, seed, median and worst: angles in degrees, over the living neurons.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.46, 0.8))
    style = group_styles(["worst", "median"])
    names = {"worst": "worst neuron of a run", "median": "median neuron of a run"}
    for column, label in names.items():
        look = style[column]
        quantiles = table.groupby("eps")[column].quantile([0.1, 0.5, 0.9]).unstack()
        ax.loglog(quantiles.index, quantiles[0.5], label=label, **look)
        ax.fill_between(quantiles.index, quantiles[0.1], quantiles[0.9], color=look["color"],
                        alpha=0.22, linewidth=0)  # fmt: skip
    ends = np.array([table["eps"].min(), 1e-3])
    first = table[table["eps"] == ends[0]]["median"].median()
    ax.loglog(ends, first * ends / ends[0], color=INK, linestyle=":", lw=1, label="slope 1")
    ax.set(xlabel=r"size of the start $\varepsilon$", ylabel="angle to the class mean (degrees)")
    ax.legend(loc="upper left")
    return fig


def window(
    ratios: pd.DataFrame, layout: str, *, violations: pd.DataFrame, limits: Mapping[int, float]
) -> Figure:
    """Draw Lemma 2: norms over their bound at T, and when the bound is first violated.

    Parameters
    ----------
    ratios : DataFrame
        Columns K, eps, seed, norm, output: over their bounds, largest up to T.
    layout : "wide" or "narrow"
    violations : DataFrame
        Columns K, eps, seed, first: in units of T.
    limits : mapping
        For each K the median of what ``first`` tends to as eps falls.
    """
    fig, axes = new_figure(layout, 3, columns=3, ratio=(1.15, 0.75))
    titles = {"norm": r"norms $\Vert w_j\Vert^2$ up to $T$", "output": "outputs up to $T$"}
    for ax, (column, title) in zip(axes, titles.items(), strict=False):
        median_band(ax, ratios, "eps", column, "K", band=(0, 1), label="$K = {}$", markers=True)
        ax.axhline(1, color=INK, lw=1, linestyle=":")
        ax.set(xscale="log", yscale="log", xlabel=r"$\varepsilon$", ylabel="over the bound")
        ax.set_title(title)
    last = axes[2]
    median_band(last, violations, "eps", "first", "K", band=(0, 1), label="$K = {}$", markers=True)
    for (_, limit), look in zip(limits.items(), group_styles(list(limits)).values(), strict=True):
        last.axhline(limit, color=look["color"], linestyle=look["linestyle"], lw=0.8, alpha=0.8)
    last.axhline(1, color=INK, lw=1, linestyle=":")
    last.set(xscale="log", xlabel=r"$\varepsilon$", ylabel="first violated at $t / T$")
    last.set_ylim(bottom=0)
    last.set_title("end of the bounds")
    shared_legend(fig, layout, axes[:1])
    return fig


def direction_error(
    table: pd.DataFrame, layout: str, *, at_window: pd.DataFrame, power: float
) -> Figure:
    """Draw Lemma 3's error over eps squared against time, and the error at T against eps.

    Parameters
    ----------
    table : DataFrame
        Columns eps, seed, t, scaled: the largest error over eps squared.
    layout : "wide" or "narrow"
    at_window : DataFrame
        Columns eps, seed, T, error: at the end of the window of that eps.
    power : float
        The exponent of the error at T that is predicted.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.85, 0.78))
    style = group_styles(sorted(table["eps"].unique(), reverse=True))
    for (eps, look), width in zip(style.items(), np.linspace(4.5, 1.2, len(style)), strict=True):
        part = table[table["eps"] == eps]
        middle = part.groupby("t")["scaled"].median()
        name = f"$10^{{{round(math.log10(eps))}}}$"
        left.semilogy(middle.index, middle, color=look["color"], linestyle=look["linestyle"],
                      lw=width, label=name)  # fmt: skip
        end = at_window[at_window["eps"] == eps]
        left.semilogy(end["T"].iloc[0], (end["error"] / eps**2).median(), marker=look["marker"],
                      color=look["color"], markersize=7, markeredgecolor=INK)  # fmt: skip
        right.loglog(end["eps"], end["error"], linestyle="none", marker=look["marker"],
                     markersize=4, alpha=0.5, color=look["color"])  # fmt: skip
    left.set(xlabel="time $t$", ylabel=r"error / $\varepsilon^2$")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.set_title("one curve; marks at $T$")
    ends = np.array([min(style), max(style)])
    first = at_window[at_window["eps"] == ends[0]]["error"].median()
    for slope, line in ((power, "--"), (2.0, ":")):
        right.loglog(ends, first * (ends / ends[0]) ** slope, color=INK, linestyle=line, lw=1,
                     label=f"slope {slope:.2f}")  # fmt: skip
    right.set(xlabel=r"$\varepsilon$", ylabel="error at $T$")
    right.set_title("at the end of the window")
    right.legend(loc="upper left")
    shared_legend(fig, layout, [left], title=r"size of the start $\varepsilon$")
    return fig


def rates(table: pd.DataFrame, layout: str) -> Figure:
    """Draw a small deviation from a fixed direction over rescaled time, near both kinds.

    Parameters
    ----------
    table : DataFrame
        Columns kind, time (times the predicted rate), deviation (over the first one).
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.42, 0.75))
    style = group_styles(list(table["kind"].unique()))
    for kind, rows in table.groupby("kind", sort=False):
        look = {**style[kind], "linestyle": "none"}
        ax.semilogy(rows["time"], rows["deviation"], alpha=0.6, label=kind, **look)
    end = np.array([0.0, table["time"].max()])
    ax.semilogy(end, np.exp(-end), color=INK, lw=1, linestyle="--", label=r"$e^{-\rho t}$")
    ax.semilogy(end, np.exp(end), color=INK, lw=1, linestyle=":", label=r"$e^{+\rho t}$")
    ax.set(xlabel=r"$\rho_k t$", ylabel="deviation, over the first")
    shared_legend(fig, layout)
    return fig


def without(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the mean loss of a sample of each class over time, a panel a start.

    Parameters
    ----------
    table : DataFrame
        Columns case, t, "class 0" and "class 1".
    layout : "wide" or "narrow"
    """
    cases = list(table["case"].unique())
    fig, axes = new_figure(layout, len(cases), columns=3, ratio=(0.8, 0.6), sharey=layout == "wide")
    style = group_styles(["class 0", "class 1"])
    for ax, case in zip(axes, cases, strict=True):
        rows = table[table["case"] == case]
        for name, look in style.items():
            ax.plot(rows["t"], rows[name], color=look["color"], linestyle=look["linestyle"],
                    label=name)  # fmt: skip
        ax.axhline(1, color=INK, lw=0.8, linestyle=":")
        ax.set(xlabel="time $t$", ylim=(-0.05, 1.25))
        ax.set_title(case)
    for ax in axes if layout == "narrow" else axes[::3]:
        ax.set_ylabel("mean loss of a sample")
    shared_legend(fig, layout, [axes[0]])
    return fig
