"""The figure of MNIST modulo 3 that is its own: what comes of each choice."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ncbook.figures.style import COLOURS, INK, new_figure


def choices(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw what comes of each choice, a row a choice and a mark a run.

    Parameters
    ----------
    table : DataFrame
        One row a choice and a run: ``choice`` (in words), the columns of the panels, and for NC1
        (``nc1``) ``unseen`` and ``predicted``: its part outside the range of W.
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
            "part of NC1 outside the range of $W$": {
                "marker": "D", "color": COLOURS[1], "markerfacecolor": "none",
            },
            "predicted": {"marker": "|", "color": INK, "markersize": 12},
        }  # fmt: skip
        handles = [Line2D([], [], linestyle="none", **look) for look in entries.values()]
        fig.legend(handles, entries, loc="outside upper center",
                   ncols=3 if layout == "wide" else 1)  # fmt: skip
    return fig
