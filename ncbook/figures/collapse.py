"""Figures 1 and 2 of Mixon, Parshall, Pi (2022), and what lies behind them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import (
    INK,
    group_styles,
    median_band,
    new_figure,
    power_law,
    shared_legend,
)

PANELS = {
    "left": r"$\Vert WW^{T} - \sqrt{N}\,\Pi\Vert_F$",
    "middle": r"$\Vert H - N^{-1/2}(W\otimes 1)^{T}\Vert_F\, /\, \Vert H\Vert_F$",
    "right": r"$\Vert b - 1/C\Vert_2$",
}


def quantile_rows(
    table: pd.DataFrame, by: Sequence[str], columns: Sequence[str], band=(0.1, 0.9)
) -> pd.DataFrame:
    """Return each column's quantiles over the runs that agree in ``by``: low, median, high.

    A row a combination of ``by`` and a column, named in ``quantity``.
    """
    frames = []
    for name in columns:
        rows = table.groupby(list(by), sort=False)[name].quantile([band[0], 0.5, band[1]])
        rows = rows.unstack()
        rows.columns = ["low", "median", "high"]
        frames.append(rows.reset_index().assign(quantity=name))
    return pd.concat(frames, ignore_index=True)


def _exponent(eps: float) -> str:
    return rf"$10^{{{round(np.log10(eps))}}}$" if eps < 1 else "1"


def _bands(ax, rows: pd.DataFrame, style: dict) -> None:
    for eps, part in rows.groupby("eps", sort=False):
        look = style[eps]
        ax.plot(part["iteration"], part["median"], color=look["color"],
                linestyle=look["linestyle"], label=_exponent(eps))  # fmt: skip
        ax.fill_between(part["iteration"], part["low"], part["high"], color=look["color"],
                        alpha=0.22, linewidth=0)  # fmt: skip


def figure_1(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the three residuals of strong collapse against the iteration (``quantile_rows``)."""
    fig, axes = new_figure(layout, 3, ratio=(1.15, 0.72))
    style = group_styles(list(table["eps"].unique()))
    for ax, (quantity, label) in zip(axes, PANELS.items(), strict=True):
        _bands(ax, table[table["quantity"] == quantity], style)
        ax.set(yscale="log", xlabel="iteration")
        ax.set_title(label, fontsize=8.5)
    shared_legend(fig, layout, [axes[0]], title=r"size of the start $\varepsilon$")
    return fig


def final_errors(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the final residuals against eps, a point a seed, with lines of slope 2, 1, 1.

    ``table`` has a row an eps and seed with the columns of ``PANELS``. The lines pass through the
    median at the smallest eps.
    """
    fig, axes = new_figure(layout, 3, ratio=(1.1, 0.72))
    for ax, (quantity, label), power in zip(axes, PANELS.items(), (2, 1, 1), strict=True):
        power_law(ax, table, "eps", quantity, power, median=False)
        ax.set(xlabel=r"$\varepsilon$")
        ax.set_title(label, fontsize=8.5)
        ax.legend(loc="upper left")
    return fig


MEASURES = {
    "nc1_total": "NC1: scatter over spread",
    "nc1": "NC1 of Papyan et al.",
    "nc2": "NC2 of means and classifiers",
    "nc3": "NC3",
}


def measures(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the measures of collapse at the end against eps (columns eps, seed and ``MEASURES``)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.9))
    long = table.melt(["eps", "seed"], list(MEASURES), "measure")
    median_band(ax, long, "eps", "value", "measure", band=(0, 1), label=MEASURES.get, markers=True)
    ax.set(xscale="log", yscale="log", xlabel=r"size of the start $\varepsilon$",
           ylabel="measure at the end")  # fmt: skip
    shared_legend(fig, layout)
    return fig


def constants_rows(predicted, measured: Mapping, eps: float, remembered) -> pd.DataFrame:
    """Return a row a quantity, run and seed: predicted and measured coefficients.

    The left error of the last run comes twice: against ``predicted``, and against what descent
    remembers of the start.

    Parameters
    ----------
    predicted : object
        Tensors ``left``, ``middle``, ``right`` of shape ``(seeds,)``, per eps^2, eps, eps.
    measured : mapping
        Name of a run to an object with the same attributes: final errors.
    eps : float
        Size of the start.
    remembered : object
        Like ``predicted``, for the start without what descent forgets of it.
    """
    *_, (last, descended) = measured.items()
    series = [
        (quantity, name, predicted, errors)
        for quantity in PANELS
        for name, errors in measured.items()
    ]
    series.append(("left", f"{last}, what it forgets left out", remembered, descended))
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "quantity": quantity,
                    "run": name,
                    "predicted": getattr(formula, quantity).cpu(),
                    "measured": (
                        getattr(errors, quantity) / eps ** (2 if quantity == "left" else 1)
                    ).cpu(),
                }
            )
            for quantity, name, formula, errors in series
        ],
        ignore_index=True,
    )


def constants(table: pd.DataFrame, layout: str) -> Figure:
    """Draw measured against predicted coefficients, a point a seed (quantity, predicted, ...)."""
    fig, axes = new_figure(layout, 3, ratio=(1.12, 0.85))
    units = {"left": r"$\varepsilon^2$", "middle": r"$\varepsilon$", "right": r"$\varepsilon$"}
    for ax, (quantity, unit) in zip(axes, units.items(), strict=True):
        rows = table[table["quantity"] == quantity]
        ends = [rows["predicted"].min(), rows["predicted"].max()]
        ax.plot(ends, ends, color=INK, linestyle="-", lw=0.8, alpha=0.6, label="equal")
        for (name, part), look in zip(
            rows.groupby("run", sort=False), group_styles(range(4)).values(), strict=False
        ):
            ax.plot(part["predicted"], part["measured"], linestyle="none", color=look["color"],
                    marker=look["marker"], markersize=3.5, alpha=0.7, label=name)  # fmt: skip
        ax.set(xlabel=f"predicted, over {unit}", ylabel=f"measured, over {unit}")
        ax.set_title(f"{quantity} error", fontsize=9)
    shared_legend(fig, layout, [axes[0]])
    return fig


def settling(table: pd.DataFrame, layout: str, settled: Mapping[str, float]) -> Figure:
    """Draw how the left and middle error leave the plateau for where they settle.

    Parameters
    ----------
    table : DataFrame
        Columns seed, slow (the time over 1/eps^2), left, middle: errors over the plateau's
        prediction.
    layout : "wide" or "narrow"
    settled : mapping
        Median over seeds of the settled prediction over the plateau's, for left and middle.
    """
    fig, axes = new_figure(layout, 2, ratio=(0.8, 0.7))
    for ax, quantity in zip(axes, ("left", "middle"), strict=True):
        median_band(ax, table, "slow", quantity, label="median, 80 % of the seeds")
        ax.axhline(1, color=INK, linestyle=":", lw=1, label="predicted: plateau")
        ax.axhline(settled[quantity], color=INK, linestyle="--", lw=1,
                   label="predicted: settled, median")  # fmt: skip
        ax.set(xscale="log", xlabel=r"$t\,\varepsilon^2$")
        ax.set_ylabel("error over its plateau")
        ax.set_title(f"{quantity} error", fontsize=9)
    shared_legend(fig, layout, [axes[0]])
    return fig


def figure_2(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the relative distance from S, in (H, W, b) and in (H, W) alone (``quantile_rows``)."""
    fig, axes = new_figure(layout, 2, ratio=(0.85, 0.72), sharey=layout == "wide")
    style = group_styles(list(table["eps"].unique()))
    titles = {"all": "$(H, W, b)$, as in the paper", "features": "$(H, W)$ alone"}
    for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
        _bands(ax, table[table["quantity"] == quantity], style)
        ax.set(yscale="log", xlabel="iteration", xlim=(-2, 130))
        ax.set_title(title, fontsize=9)
    axes[0].set_ylabel("relative distance from $S$")
    shared_legend(fig, layout, [axes[0]], title=r"size of the start $\varepsilon$")
    return fig


def bias_share(table: pd.DataFrame, layout: str, eps: float) -> Figure:
    """Draw why Figure 2 drops at once: the norms of (H, W), of b, and the distance from S."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.46, 0.8))
    names = {
        "bias": r"$\Vert b\Vert_2$",
        "features_norm": r"$\Vert (H, W)\Vert$",
        "distance": "distance from $S$",
    }
    style = group_styles(list(names))
    rows = table[table["eps"] == eps]
    for quantity, label in names.items():
        part = rows[rows["quantity"] == quantity]
        look = {**style[quantity], "marker": None}
        ax.semilogy(part["iteration"], part["median"], label=label, **look)
        ax.fill_between(part["iteration"], part["low"], part["high"], color=look["color"],
                        alpha=0.22, linewidth=0)  # fmt: skip
    ax.set(xlabel="iteration", ylabel="norm", xlim=(-2, 130))
    shared_legend(fig, layout)
    return fig
