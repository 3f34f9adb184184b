"""Figures of many particles beside their limit: time courses, and laws of the particles."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncbook.figures.style import (
    INK,
    LINES,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

# --- Along time ---------------------------------------------------------------------------------


def over_time(
    table: pd.DataFrame,
    layout: str,
    *,
    x: str,
    group: str,
    panels: Mapping[str, str],
    xlabel: str,
    xscale: str = "log",
    title: str | None = None,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Draw quantities along time, median and range over seeds, a line a group.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``x``, ``group``, ``seed`` and the quantities. A column
        ``<quantity>_limit``, where there is one, is drawn as a dotted level of the group.
    layout : "wide" or "narrow"
    x, group : str
        Columns.
    panels : mapping
        Columns of the quantities and titles.
    xlabel : str
    xscale : "log" or "linear"
        "log" leaves out x = 0.
    title : str, optional
        Of the legend.
    marks : mapping, optional
        Names of times to mark as vertical lines.
    """
    ratio = {1: (0.48, 0.8), 2: (0.82, 0.72)}.get(len(panels), (1.1, 0.72))
    fig, axes = new_figure(layout, len(panels), ratio=ratio)
    table = table[table[x] > 0] if xscale == "log" else table
    style = group_styles(table[group].unique())
    for ax, (name, heading) in zip(axes, panels.items(), strict=True):
        median_band(ax, table, x, name, group, band=(0, 1))
        level = f"{name}_limit"
        if level in table:
            for value, rows in table.groupby(group, sort=False):
                ax.axhline(rows[level].iloc[0], color=style[value]["color"], lw=1.2,
                           linestyle=":")  # fmt: skip
            ax.plot([], [], color=INK, lw=1.2, linestyle=":", label="the limit's level")
        for (mark, at), line in zip((marks or {}).items(), LINES[1:], strict=False):
            ax.axvline(at, color=INK, lw=0.9, linestyle=line, alpha=0.7, label=mark)
        ax.set(xscale=xscale, yscale="log", xlabel=xlabel, title=heading)
    shared_legend(fig, layout, axes, title=title)
    return fig


# --- The law of the particles -------------------------------------------------------------------


def conditional(table: pd.DataFrame, layout: str, *, variance: float) -> Figure:
    """Draw mean and variance of a given the direction of u: marks measured, lines predicted.

    Parameters
    ----------
    table : DataFrame
        ``component`` (in words), ``degrees`` (of u), ``mean``, ``error`` (its standard error),
        ``predicted`` and ``variance``.
    layout : "wide" or "narrow"
    variance : float
        The predicted one.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.8, 0.75))
    for component, look in group_styles(table["component"].unique()).items():
        rows = table[table["component"] == component]
        left.plot(rows["degrees"], rows["predicted"], color=look["color"],
                  linestyle=look["linestyle"], label=component)  # fmt: skip
        for ax, name, bars in ((left, "mean", rows["error"]), (right, "variance", None)):
            ax.errorbar(rows["degrees"], rows[name], yerr=bars, color=look["color"],
                        marker=look["marker"], linestyle="none", markerfacecolor="none",
                        markersize=4.5)  # fmt: skip
    right.axhline(variance, color=INK, lw=1.2, linestyle=":", label=r"$1/(\beta\lambda)$")
    left.set(title="mean of $a$ given $u$")
    right.set(title="variance of $a$ given $u$", ylim=(0, 1.6 * variance))
    for ax in (left, right):
        ax.set(xlabel="direction of $u$, degrees")
    shared_legend(fig, layout)
    return fig


def quantiles(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw the share of particles below a value less the law's, against that: 0 if they agree.

    Parameters
    ----------
    table : DataFrame
        ``what`` (a key of ``panels``), ``start`` (in words), ``law`` and ``particles``: shares.
    layout : "wide" or "narrow"
    panels : mapping
        Values of ``what`` and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(1.0, 0.8), sharey=True)
    style = group_styles(table["start"].unique())
    for ax, (what, heading) in zip(axes, panels.items(), strict=True):
        ax.axhline(0, color=INK, lw=0.9, linestyle=":")
        for start, rows in table[table["what"] == what].groupby("start", sort=False):
            look = {**style[start], "marker": None}
            ax.plot(rows["law"], rows["particles"] - rows["law"], label=start, **look)
        ax.set(xlabel="share of the law below", title=heading)
    axes[0].set_ylabel("particles' share less the law's")
    shared_legend(fig, layout, axes[:1])
    return fig


def mixtures(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the free energy along mixtures of two laws, above the least.

    Parameters
    ----------
    table : DataFrame
        ``pair`` (in words), ``share`` and ``above``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.8))
    for pair, look in group_styles(table["pair"].unique()).items():
        rows = table[table["pair"] == pair]
        ax.plot(rows["share"], rows["above"], label=pair, **{**look, "marker": None})
        _chord(ax, rows, look["color"])
    ax.plot([], [], color=INK, lw=0.9, linestyle=":", label="straight line between the ends")
    ax.set(xlabel="share of the second law", ylabel="free energy above the least")
    shared_legend(fig, layout)
    return fig


def _chord(ax: Axes, rows: pd.DataFrame, colour: str) -> None:
    ends = rows.iloc[[0, -1]]
    ax.plot(ends["share"], ends["above"], color=colour, lw=0.9, linestyle=":")
