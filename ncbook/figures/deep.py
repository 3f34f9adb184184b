"""Pictures of deep networks that are really their own."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, INK, new_figure, shared_legend
from ncbook.typeset import typeset

REACH = 0.2, 5.0  # the factors that have a place on the axis of traps
_DEFINITIONS = {
    "papyan": {"marker": "o", "label": "Papyan, Han, Donoho"},
    "min-zhu-vidal": {"marker": "s", "label": "Min, Zhu, Vidal", "markerfacecolor": "none"},
}


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


def _written(value: float) -> str:
    """Return a factor with two digits, a whole one without a power of ten up to a thousand."""
    return typeset(f"{value:.0f}" if 10 <= abs(value) < 1000 else f"{value:.2g}")


def traps(table: pd.DataFrame, layout: str) -> Figure:
    """Draw by how much measurements are off, a row each, under what they have in common.

    Parameters
    ----------
    table : DataFrame
        A row a measurement: ``trap``, ``way``, and ``papyan``, ``min-zhu-vidal``, the measured NC1
        over the right one, in two definitions; NaN where there is none. What lies outside the axis,
        negative values too, is an arrow at its edge, with the value.
    layout : str
        As of :func:`ncbook.figures.style.new_figure`.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.55, 1.45))
    low, high = REACH
    at, ticks, names = 0.0, [], []
    for trap, rows in table.groupby("trap", sort=False):
        ax.text(0, at, trap, transform=ax.get_yaxis_transform(), va="center", color=INK,
                fontsize=8.5, weight="bold")  # fmt: skip
        for _, row in rows.iterrows():
            at += 1
            ticks.append(at), names.append(row["way"])
            beyond = {"<": [], ">": []}
            for k, (name, look) in enumerate(_DEFINITIONS.items()):
                value, look = row[name], {"color": COLOURS[k], "linestyle": "none"} | look
                if low < value < high:
                    ax.plot(value, at, **look)
                elif np.isfinite(value):
                    arrow = ">" if abs(value) >= high else "<"
                    beyond[arrow].append(_written(value))
                    look |= {"marker": arrow, "label": None}
                    ax.plot(high if arrow == ">" else low, at, **look)
            for arrow, values in beyond.items():
                edge, side, to = (high, -7, "right") if arrow == ">" else (low, 7, "left")
                ax.annotate(", ".join(values), (edge, at), (side, 0), ha=to, va="center",
                            textcoords="offset points", color=INK, fontsize=8)  # fmt: skip
        at += 1.2
    ax.axvline(1, color=INK, linestyle=":", lw=1.1)
    ax.set_xscale("log")
    factors = [0.2, 0.5, 1, 2, 5]
    ax.set(xlim=(low / 1.1, high * 1.1), ylim=(at - 0.4, -0.8), xlabel="NC1 over its right value",
           yticks=ticks, yticklabels=names, xticks=factors,
           xticklabels=[f"{one:g}" for one in factors])  # fmt: skip
    ax.minorticks_off()
    shared_legend(fig, layout)
    return fig
