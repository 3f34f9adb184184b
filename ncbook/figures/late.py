"""How far the limit of late training is off: the R that each class needs, in rows."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import INK, LINES, group_styles, new_figure, shared_legend


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
