"""Figures of MNIST modulo 3: collapse over training, balance at its end, and what decides both."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ncbook.figures.style import COLOURS, INK, LINES, group_styles, new_figure, shared_legend

TIME = "time $t$, the sum of the rates"
PANELS = (
    ("nc1", "NC1", "log"),
    ("loss", "training loss $L_n$", "log"),
    ("gradient", "gradient norm", "log"),
    ("nb", "balance NB", "linear"),
)


def course(table: pd.DataFrame, layout: str) -> Figure:
    """Draw Figure 1 (a) and the balance over training, a line a run, sizes beside each other.

    Parameters
    ----------
    table : DataFrame
        One row a run and a time: ``size`` (in words, one or two), ``seed``, ``t``, ``nc1``,
        ``loss``, ``gradient``, ``nb``, and ``unseen``, the part of NC1 in directions that W does
        not see.
    layout : "wide" or "narrow"
    """
    sizes = table["size"].unique()
    fig, axes = new_figure(layout, len(PANELS) * len(sizes), columns=2, ratio=(0.62, 0.62))
    runs = group_styles(table["seed"].unique())
    every = [(panel, size) for panel in PANELS for size in sizes]
    for ax, ((name, title, scale), size) in zip(axes, every, strict=True):
        for seed, rows in table[table["size"] == size].groupby("seed"):
            look = {**runs[seed], "markersize": 3.5}
            ax.plot(rows["t"], rows[name], label=f"run {seed}", **look)
            if name == "nc1":
                ax.plot(rows["t"], rows["unseen"], color=look["color"], lw=1.2, ls=LINES[2])
        ax.set(title=title if len(sizes) == 1 else f"{title}, {size}", xlabel=TIME)
        if scale == "log":
            _logarithmic(ax)
        else:
            ax.set_ylim(0, 1.05)
    for row in axes.reshape(len(PANELS), len(sizes)):
        ends = [end for ax in row for end in ax.get_ylim()]
        for ax in row:
            ax.set_ylim(min(ends), max(ends))
    axes[0].plot([], [], color=INK, lw=1.2, ls=LINES[2], label="part that $W$ does not see")
    shared_legend(fig, layout, axes[:1])
    return fig


def balances(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NB at the end, a mark a run, a row a kind of run, with the middle of each row.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``kind`` (in words) and ``nb``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.3, 0.62))
    kinds = group_styles(table["kind"].unique())
    for height, (kind, look) in enumerate(kinds.items()):
        values = table.loc[table["kind"] == kind, "nb"]
        ax.plot(values, [-height] * len(values), **{**look, "linestyle": "none", "markersize": 7},
                alpha=0.75)  # fmt: skip
        ax.plot(values.median(), -height, color=INK, linestyle="none", marker="|", markersize=17)
    ax.set(xlim=(0, 1.02), ylim=(0.5 - len(kinds), 0.5), xlabel="NB at the end",
           yticks=range(0, -len(kinds), -1), yticklabels=list(kinds))  # fmt: skip
    return fig


def same_time(table: pd.DataFrame, layout: str) -> Figure:
    """Draw loss and NC1 against time for several schedules of one run.

    Parameters
    ----------
    table : DataFrame
        One row a schedule and a time: ``schedule`` (in words), ``t``, ``loss``, ``nc1``.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 2, ratio=(0.8, 0.66))
    kinds = group_styles(table["schedule"].unique())
    for ax, (name, title, scale) in zip(axes, (PANELS[1], PANELS[0]), strict=True):
        for kind, look in kinds.items():
            rows = table[table["schedule"] == kind]
            ax.plot(rows["t"], rows[name], label=kind, **look, markerfacecolor="none")
        ax.set(title=title, xlabel=TIME)
        if scale == "log":
            _logarithmic(ax)
    shared_legend(fig, layout, axes[:1])
    return fig


def choices(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw what comes of each choice, a row a choice and a mark a run.

    Parameters
    ----------
    table : DataFrame
        One row a choice and a run: ``choice`` (in words), the columns of the panels, and for NC1
        (``nc1``) ``unseen`` and ``predicted``: its part in directions that W does not see.
    layout : "wide" or "narrow"
    panels : mapping
        Columns and titles.
    """
    rows = list(table["choice"].unique())
    ratio = (0.34 + 0.11 * len(rows), 0.3 + 0.085 * len(rows))
    fig, axes = new_figure(layout, len(panels), ratio=ratio, sharey=True)
    height = -table["choice"].map(rows.index)
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        ax.plot(table[name], height, linestyle="none", marker="o", color=COLOURS[0], alpha=0.75)
        if name == "nc1":
            ax.plot(table["unseen"], height, linestyle="none", marker="D", color=COLOURS[1],
                    markerfacecolor="none")  # fmt: skip
            ax.plot(table["predicted"], height, linestyle="none", marker="|", color=INK,
                    markersize=12)  # fmt: skip
            ax.set_xscale("log")
        else:
            ax.set_xlim(0, 1.08 * table[name].max())
        ax.set(title=title, ylim=(0.5 - len(rows), 0.5),
               yticks=range(0, -len(rows), -1), yticklabels=rows)  # fmt: skip
        ax.tick_params(labelleft=layout == "narrow" or ax is axes[0])
    if "nc1" in panels:
        entries = {
            "a run": {"marker": "o", "color": COLOURS[0]},
            "part of NC1 that $W$ does not see": {
                "marker": "D", "color": COLOURS[1], "markerfacecolor": "none",
            },
            "predicted": {"marker": "|", "color": INK, "markersize": 12},
        }  # fmt: skip
        handles = [Line2D([], [], linestyle="none", **look) for look in entries.values()]
        fig.legend(handles, entries, loc="outside upper center",
                   ncols=3 if layout == "wide" else 1)  # fmt: skip
    return fig


def _logarithmic(ax: Axes) -> None:
    """Give an axis over a decade or two plain numbers at 1, 2 and 5."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
