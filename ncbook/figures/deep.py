"""Pictures of deep networks that are really their own."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, INK, new_figure, shared_legend


def parts(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC1 of each run as a bar of two parts, with what was measured as a cross.

    Parameters
    ----------
    table : DataFrame
        A row a run: ``norm`` (the groups, in order of appearance), ``directions``, ``lengths``,
        ``measured``.
    layout : str
        As of :func:`ncbook.figures.style.new_figure`.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.8))
    groups = list(dict.fromkeys(table["norm"]))
    for k, group in enumerate(groups):
        rows = table[table["norm"] == group]
        width = 0.8 / len(rows)
        at = k + width * (np.arange(len(rows)) - (len(rows) - 1) / 2)
        shape = {"width": 0.85 * width, "linewidth": 0}
        below, above = (rows[name].to_numpy() for name in ("directions", "lengths"))
        ax.bar(at, below, color=COLOURS[0], label="directions", **shape)
        ax.bar(at, above, bottom=below, color=COLOURS[1], label="lengths", hatch="///",
               edgecolor=INK, **shape)  # fmt: skip
        ax.plot(at, rows["measured"], "x", color=INK, label="measured", zorder=3)
    ax.set(xticks=range(len(groups)), xticklabels=groups, ylabel="NC1 at the end")
    ax.margins(x=0.05)
    shared_legend(fig, layout)
    return fig
