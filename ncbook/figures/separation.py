"""Figures of the separation of classes: when, from which starts, how often."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ncbook.figures.style import COLOURS, INK, group_styles, median_band, new_figure, shared_legend


def times(table: pd.DataFrame, layout: str, *, windows: pd.DataFrame) -> Figure:
    """Draw the time of separation against eps, with the window that Lemma 2 guarantees.

    Parameters
    ----------
    table : DataFrame
        Columns K, eps, seed, time (missing where a run was not seen to separate).
    layout : "wide" or "narrow"
    windows : DataFrame
        Columns K, eps, seed, time: T of Lemma 2.
    """
    classes = list(table["K"].unique())
    fig, axes = new_figure(layout, len(classes), columns=4, ratio=(1.25, 0.6), sharey=True)
    for ax, K in zip(axes, classes, strict=True):
        rows = pd.concat(
            [
                table[table["K"] == K].assign(what="separated at $T^*$"),
                windows[windows["K"] == K].assign(what="guaranteed window $T$"),
            ]
        )
        median_band(ax, rows.dropna(), "eps", "time", "what", band=(0, 1), markers=True)
        ax.set(xscale="log", yscale="log", xlabel=r"$\varepsilon$")
        ax.set_title(f"$K = {K}$")
    for ax in axes if layout == "narrow" else axes[:1]:
        ax.set_ylabel("time $t$")
    shared_legend(fig, layout, axes[:1])
    return fig


def thresholds(table: pd.DataFrame, layout: str) -> Figure:
    """Draw which share of the small class's neurons leave their group, for two thresholds.

    Parameters
    ----------
    table : DataFrame
        Columns threshold (its name), K, ratio, low, share, high.
    layout : "wide" or "narrow"
    """
    names = list(table["threshold"].unique())
    fig, axes = new_figure(layout, len(names), ratio=(0.8, 0.7), sharey=True)
    for ax, name in zip(axes, names, strict=True):
        _rates(ax, table[table["threshold"] == name], "ratio", "share", r"$K = {}$")
        ax.set(xscale="log", xlabel="length of the other classes' samples", ylim=(-0.04, 1.04))
        ticks = sorted(table["ratio"].unique())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_title(name)
    axes[0].set_ylabel("share that leaves its group")
    shared_legend(fig, layout, axes[:1])
    return fig


def condition(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the time of separation against how far Proposition 1's condition is violated.

    Parameters
    ----------
    table : DataFrame
        Columns K, seed, violation (left side over right side), time (in units of 1/rho).
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.8))
    for K, look in group_styles(list(table["K"].unique())).items():
        rows = table[table["K"] == K]
        look = {**look, "linestyle": "none", "label": f"$K = {K}$"}
        ax.semilogx(rows["violation"], rows["time"], alpha=0.7, **look)
    ax.axvline(1, color=INK, lw=1, linestyle=":", label="condition")
    ax.set(xlabel="left side over right side of the condition", ylabel=r"separated at $\rho\,t$")
    ax.set_ylim(bottom=0)
    shared_legend(fig, layout)
    return fig


def success(table: pd.DataFrame, layout: str, *, expected: pd.DataFrame) -> Figure:
    """Draw success rates of random starts against the width, with their intervals.

    Parameters
    ----------
    table : DataFrame
        Columns success (a panel's title), K, width (over K), low, share, high.
    layout : "wide" or "narrow"
    expected : DataFrame
        The same columns but for low and high: a curve in the panels it names.
    """
    names = list(table["success"].unique())
    fig, axes = new_figure(
        layout, len(names), columns=3, ratio=(1.15, 0.75), sharey=layout == "wide"
    )
    style = group_styles(list(table["K"].unique()))
    for ax, name in zip(axes, names, strict=True):
        curve = expected[expected["success"] == name]
        if len(curve):
            for K, rows in curve.groupby("K"):
                ax.plot(rows["width"], rows["share"], color=style[K]["color"], lw=1,
                        linestyle=style[K]["linestyle"])  # fmt: skip
        _rates(ax, table[table["success"] == name], "width", "share", "$K = {}$",
               line=not len(curve))  # fmt: skip
        ax.set_xscale("log", base=2)
        ticks = sorted(table["width"].unique())
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.set(xlabel="width $h / K$", ylim=(-0.04, 1.04))
        ax.set_title(name)
    for ax in axes if layout == "narrow" else axes[:1]:
        ax.set_ylabel("share of the runs")
    shared_legend(fig, layout, axes[:1])
    return fig


def _rates(ax: Axes, table: pd.DataFrame, x: str, y: str, label: str, *, line: bool = True) -> None:
    """Draw rates with their intervals for each K, side by side where they meet."""
    style = group_styles(list(table["K"].unique()))
    for index, (K, look) in enumerate(style.items()):
        rows = table[table["K"] == K]
        beside = 1.035 ** (index - (len(style) - 1) / 2)  # the axis is logarithmic
        ax.errorbar(
            rows[x] * beside,
            rows[y],
            [(rows[y] - rows["low"]).clip(lower=0), (rows["high"] - rows[y]).clip(lower=0)],
            color=look["color"],
            marker=look["marker"],
            linestyle=look["linestyle"] if line else "none",
            lw=1.2,
            elinewidth=1,
            label=label.format(K),
        )


def frozen(table: pd.DataFrame, layout: str, *, deeper: pd.DataFrame) -> Figure:
    """Draw why large widths fail: who separates too late, and how late they still do.

    Parameters
    ----------
    table : DataFrame
        Columns seed, separation (time in units of 1/rho), left (that the loss leaves), separated
        (at the end).
    layout : "wide" or "narrow"
    deeper : DataFrame
        Columns K (a name), R, low, share, high.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.85, 0.78))
    looked = {True: (COLOURS[0], "o", "separated"), False: (COLOURS[1], "X", "not separated")}
    for done, (colour, marker, label) in looked.items():
        rows = table[table["separated"] == done]
        left.plot(rows["left"], rows["separation"], linestyle="none", marker=marker, color=colour,
                  alpha=0.8, label=label)  # fmt: skip
    both = np.array([table["left"].min(), table["left"].max()])
    left.plot(both, both, color=INK, lw=1, linestyle=":", label="equal")
    left.set(xlabel=r"time that the loss leaves, $\rho\int L\,dt\,/\,L(0)$")
    left.set(ylabel=r"needed to separate, $\rho\,T^*$")
    left.set_ylim(top=1.3 * table["separation"].max())  # room for the legend
    left.set_title(r"state at $L = 10^{-12}$")
    left.legend(loc="upper right", handlelength=1.5)
    _rates(right, deeper, "R", "share", "{}")
    right.set(xscale="log", xlabel=r"$\log(1/L)$", ylabel="share of the runs separated")
    ticks = sorted(deeper["R"].unique())
    right.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_ylim(-0.04, 1.04)
    right.set_title("much later")
    right.legend(loc="lower right")
    return fig


def rate_rows(successes, trials: int, intervals, **names: object) -> pd.DataFrame:
    """Return rows of shares with their intervals.

    Parameters
    ----------
    successes : Tensor
        Counts, shape ``(m,)``.
    trials : int
        Runs behind each count.
    intervals : Tensor
        Ends of each share's confidence interval, shape ``(m, 2)``.
    **names : object
        Columns that name the rows: one value for all, or m of them.
    """
    ends = intervals.cpu().numpy()
    shares = {"low": ends[:, 0], "share": successes.cpu().numpy() / trials, "high": ends[:, 1]}
    return pd.DataFrame({**names, **shares})
