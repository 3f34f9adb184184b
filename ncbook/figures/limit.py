"""Figures of many particles beside their limit: time courses, floors, thresholds, laws."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
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


# --- Against the temperature and the factor -----------------------------------------------------


def floors(
    table: pd.DataFrame,
    layout: str,
    *,
    panels: Mapping[str, str],
    slopes: Mapping[str, Sequence[float]],
) -> Figure:
    """Draw where quantities end against 1/beta: lines in the limit, marks for particles.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``kind`` (in words; particles if it holds that word), ``temperature`` and
        the quantities.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    slopes : mapping
        For each quantity the slopes of lines to compare with. They begin at the lowest
        temperature, below all that is drawn there.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(1.45, 0.9))
    style = group_styles(table["kind"].unique())
    cold = table["temperature"].min()
    lines = dict(
        zip(sorted({k for some in slopes.values() for k in some}), LINES[2:], strict=False)
    )
    for ax, (name, heading) in zip(axes, panels.items(), strict=True):
        for kind, rows in table.groupby("kind", sort=False):
            look = style[kind]
            if "particles" in kind:
                ax.plot(rows["temperature"], rows[name], label=kind, linestyle="none",
                        marker=look["marker"], color=look["color"], markerfacecolor="none",
                        markersize=4)  # fmt: skip
            else:
                line = rows.sort_values("temperature")
                ax.plot(line["temperature"], line[name], label=kind, color=look["color"],
                        linestyle=look["linestyle"])  # fmt: skip
        ends = np.array([cold, 100 * cold])
        least = table.loc[table["temperature"] == cold, name].min()
        for slope in slopes[name]:
            ax.plot(ends, least / 4 * (ends / cold) ** slope, color=INK, lw=1.6,
                    linestyle=lines[slope], label=f"slope {slope:g}")  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel=r"$1/\beta$", title=heading)
    shared_legend(fig, layout)
    return fig


def threshold(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw quantities against gamma over its critical value.

    Parameters
    ----------
    table : DataFrame
        ``kind`` (in words; particles if it holds that word, and drawn as marks), ``share``
        (gamma/gamma_c) and the quantities.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(0.8, 0.75))
    style = group_styles(table["kind"].unique())
    for ax, (name, heading) in zip(axes, panels.items(), strict=True):
        for kind, rows in table.groupby("kind", sort=False):
            look = dict(style[kind])
            if "particles" in kind:
                look |= {"linestyle": "none", "markerfacecolor": "none", "markersize": 8}
            ax.plot(rows["share"], rows[name], label=kind, **look)
        ax.axvline(1, color=INK, lw=0.9, linestyle=":", label=r"$\gamma_c$")
        ax.set(xscale="log", xlabel=r"$\gamma/\gamma_c$", title=heading)
        ax.set_xticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"], minor=False)
        ax.set_xticks([], minor=True)
    shared_legend(fig, layout)
    return fig


def spectrum(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the kernel's smallest eigenvalue against the number of points, a panel an activation.

    Parameters
    ----------
    table : DataFrame
        One row a data set: ``activation``, ``d``, ``n`` and ``smallest``; values up to 1e-16 are
        left out, as rounding.
    layout : "wide" or "narrow"
    """
    names = list(table["activation"].unique())
    fig, axes = new_figure(layout, len(names), ratio=(1.0, 0.7), sharey=layout == "wide")
    for ax, name in zip(axes, names, strict=True):
        rows = table[(table["activation"] == name) & (table["smallest"] > 1e-16)]
        median_band(ax, rows, "n", "smallest", "d", band=(0, 1), markers=True, label="d = {}")
        ax.set(xscale="log", yscale="log", xlabel="points $n$", title=name, ylim=(1e-14, 1))
        ticks = sorted(table["n"].unique())
        ax.set_xticks(ticks, [str(n) for n in ticks], minor=False)
        ax.set_xticks([], minor=True)
    axes[0].set_ylabel("smallest eigenvalue")
    shared_legend(fig, layout, axes[:1])
    return fig
