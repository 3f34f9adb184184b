"""The landing page's figure: the book in one picture, drawn from chapter 4's published tables."""

import math
import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import INK, group_styles, markup, new_figure

ALT = (
    "Two panels. Left: the distance of the classifier from a simplex frame against the iteration, "
    "one curve for each size of the start, on a log scale; each curve falls to a plateau, and the "
    "smaller the start, the lower the plateau. Right: what is left in the end of the three "
    "distances from collapse, against the size of the start, on log scales; the points lie on the "
    "predicted lines, one of slope two and two of slope one."
)
ENDS = {"left": ("frame of $W$", 2), "middle": ("$H$ from $W$", 1), "right": ("bias", 1)}


def rows(curves: pd.DataFrame, ends: pd.DataFrame) -> pd.DataFrame:
    """Return what the figure shows as one table.

    Parameters
    ----------
    curves : DataFrame
        Chapter 4's ``figure-1``: columns eps, iteration, low, median, high, quantity.
    ends : DataFrame
        Chapter 4's ``final-errors``: a row an eps and seed, columns eps, left, middle, right.

    Returns
    -------
    DataFrame
        Columns panel, quantity, eps, iteration, low, median, high.

    Raises
    ------
    ValueError
        A column is missing.
    """
    for name, table, wanted in (
        ("figure-1", curves, {"eps", "iteration", "low", "median", "high", "quantity"}),
        ("final-errors", ends, {"eps", *ENDS}),
    ):
        if missing := sorted(wanted - set(table.columns)):
            raise ValueError(
                f"Chapter 4's table {name} has no column {', '.join(missing)}; the landing page's "
                "figure needs it. Change the chapter and ncbook/figures/landing.py together."
            )
    on_the_way = curves[curves["quantity"] == "left"].assign(panel="on the way")
    long = ends.melt("eps", list(ENDS), var_name="quantity")
    quantiles = long.groupby(["quantity", "eps"])["value"].quantile([0.1, 0.5, 0.9]).unstack()
    quantiles.columns = ["low", "median", "high"]
    in_the_end = quantiles.reset_index().assign(panel="in the end")
    both = pd.concat([on_the_way, in_the_end], ignore_index=True)
    return both[["panel", "quantity", "eps", "iteration", "low", "median", "high"]]


def draw(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the table of :func:`rows`."""
    fig, (way, end) = new_figure(layout, 2, ratio=(0.8, 0.78))
    curves = table[table["panel"] == "on the way"]
    style = group_styles(list(curves["eps"].unique()))
    for eps, part in curves.groupby("eps", sort=False):
        look = {**style[eps], "marker": None}
        way.semilogy(part["iteration"], part["median"], **look)
        way.fill_between(part["iteration"], part["low"], part["high"], color=look["color"],
                         alpha=0.22, linewidth=0)  # fmt: skip
        last = part.iloc[-1]
        name = rf"$10^{{{round(math.log10(eps))}}}$" if eps < 1 else r"$\varepsilon=1$"
        way.annotate(name, (last["iteration"], last["median"]), xytext=(4, 0), va="center",
                     textcoords="offset points", color=INK, fontsize=8)  # fmt: skip
    way.set(xlabel="iteration", title=r"distance of $WW^{T}$ from the simplex")
    way.margins(x=0.02)
    way.set_xlim(right=curves["iteration"].max() * 1.16)

    last = table[table["panel"] == "in the end"]
    styles = group_styles(ENDS).values()
    for (quantity, (name, power)), look in zip(ENDS.items(), styles, strict=True):
        part = last[last["quantity"] == quantity]
        spread = [part["median"] - part["low"], part["high"] - part["median"]]
        end.errorbar(part["eps"], part["median"], yerr=spread, linestyle="none", capsize=2,
                     color=look["color"], marker=look["marker"], label=name)  # fmt: skip
        eps = np.array([part["eps"].min(), part["eps"].max()])
        least = part.loc[part["eps"].idxmin(), "median"]
        end.plot(eps, least * (eps / eps[0]) ** power, color=look["color"],
                 linestyle=look["linestyle"], linewidth=1)  # fmt: skip
    end.set(xscale="log", yscale="log", xlabel=r"size of the start $\varepsilon$",
            title="what is left in the end")  # fmt: skip
    end.legend(loc="lower right")
    return fig


def page(curves: pd.DataFrame, ends: pd.DataFrame) -> str:
    """Return the figure as HTML."""
    return markup(draw, rows(curves, ends), name="landing", alt=ALT)


def picture(curves: pd.DataFrame, ends: pd.DataFrame) -> str:
    """Return the figure as an SVG file for readers outside the site: dark ink on white."""
    drawn = re.search(r'<svg class="ncb-wide".*?</svg>', page(curves, ends), re.S)[0]
    paper = re.sub(r"var\(--pst-color-background.*?Canvas\)\)", "#ffffff", drawn)
    return paper.replace('style="', f'style="color:{INK};background:#ffffff;', 1) + "\n"
