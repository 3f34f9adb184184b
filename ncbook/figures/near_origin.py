"""Figures of the unconstrained features model near the origin: spectrum, modes, closeness."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, INK, group_styles, new_figure, power_law, shared_legend


def spectrum_rows(measured: Sequence[float], predicted: Sequence[float]) -> pd.DataFrame:
    """Return a table with a row an eigenvalue, both lists ascending."""
    return pd.DataFrame(
        {"index": np.arange(1, len(measured) + 1), "measured": measured, "predicted": predicted}
    )


def spectrum(table: pd.DataFrame, layout: str) -> Figure:
    """Draw measured eigenvalues over the predicted steps (columns of :func:`spectrum_rows`)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.38, 0.7))
    ax.step(table["index"], table["predicted"], where="mid", color=COLOURS[1], linestyle="-",
            linewidth=3, alpha=0.6, label="predicted")  # fmt: skip
    every = slice(None, None, max(1, len(table) // 60))
    ax.plot(table["index"][every], table["measured"][every], linestyle="none", marker="o",
            markersize=3.5, color=COLOURS[0], label="measured (every third)" if every.step == 3
            else "measured")  # fmt: skip
    ax.set(xlabel="number of the eigenvalue, ascending", ylabel="eigenvalue")
    ax.legend(loc="lower right")
    return fig


PARTS = {
    "growing": "grows: in $S$",
    "standing": "stands",
    "decaying": "decays: mirror of $S$",
}


def modes_rows(table: pd.DataFrame, eps: float, N: int) -> pd.DataFrame:
    """Return seeds' quantiles of each part's norm over time, with the linear prediction.

    Parameters
    ----------
    table : DataFrame
        Columns t, seed, growing, standing, decaying.
    eps : float
        Not used for scaling; kept in the table for its reader.
    N : int
        Examples of a class: the parts are predicted to follow exp(+-sqrt(N) t).
    """
    rates = {"growing": math.sqrt(N), "standing": 0.0, "decaying": -math.sqrt(N)}
    frames = []
    for part, rate in rates.items():
        quantiles = table.groupby("t")[part].quantile([0.1, 0.5, 0.9]).unstack()
        quantiles.columns = ["low", "median", "high"]
        start = quantiles["median"].iloc[0]
        frames.append(
            quantiles.reset_index().assign(
                part=part, eps=eps, predicted=lambda rows, s=start, r=rate: s * np.exp(r * rows.t)
            )
        )
    return pd.concat(frames, ignore_index=True)


def modes(table: pd.DataFrame, layout: str, escape: float) -> Figure:
    """Draw the three parts of (H, W) over time (columns of :func:`modes_rows`)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.85))
    style = group_styles(list(PARTS))
    for part, rows in table.groupby("part", sort=False):
        shown = rows[(rows["predicted"] < 10) & (rows["predicted"] > 1e-14)]
        ax.semilogy(shown["t"], shown["predicted"], color=INK, linestyle="-", lw=0.7,
                    zorder=3, label="predicted")  # fmt: skip
        look = {**style[part], "marker": None}
        ax.semilogy(rows["t"], rows["median"], label=PARTS[part], **look)
        ax.fill_between(rows["t"], rows["low"], rows["high"], color=look["color"], alpha=0.22, lw=0)
    ax.axvline(escape, color=INK, alpha=0.5, lw=0.8)
    ax.annotate(r"$\varepsilon e^{\sqrt{N}t}=1$", (escape, 1), xytext=(-4, 0), ha="right",
                va="top", textcoords="offset points", xycoords=("data", "axes fraction"),
                fontsize=8)  # fmt: skip
    ax.set(xlabel="time $t$", ylabel="norm of the part of $(H, W)$")
    shared_legend(fig, layout)
    return fig


WHEN = {"leaving": "when it leaves the origin", "end": "at the end"}


def closeness_rows(table: pd.DataFrame, N: int) -> pd.DataFrame:
    """Return the distances from S when each run leaves the origin, and at its end.

    Parameters
    ----------
    table : DataFrame
        Columns eps, seed, t, distance. Of each eps there is a row at eps exp(sqrt(N) t) = 1.
    N : int
        Examples of a class.

    Returns
    -------
    DataFrame
        Columns when (a key of ``WHEN``), eps, seed, distance.

    Raises
    ------
    ValueError
        An eps has no row at the time when it leaves the origin.
    """
    leaving = table[np.isclose(table["t"], -np.log(table["eps"]) / math.sqrt(N))]
    if missing := sorted(set(table["eps"]) - set(leaving["eps"])):
        raise ValueError(
            f"No row at t = log(1/eps)/sqrt(N) for eps = {', '.join(map(str, missing))}; record "
            "the distance at that time, too."
        )
    end = table[table["t"] == table["t"].max()]
    both = pd.concat([leaving.assign(when="leaving"), end.assign(when="end")], ignore_index=True)
    return both[["when", "eps", "seed", "distance"]]


def closeness(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the distance from S against the start's size, a point a seed (closeness_rows)."""
    fig, axes = new_figure(layout, 2, ratio=(0.8, 0.75), sharey=layout == "wide")
    for ax, (when, title) in zip(axes, WHEN.items(), strict=True):
        power_law(ax, table[table["when"] == when], "eps", "distance", 1)
        ax.set(xlabel=r"size of the start $\varepsilon$")
        ax.set_title(title, fontsize=9)
    for ax in axes if layout == "narrow" else axes[:1]:
        ax.set_ylabel("relative distance from $S$")
    axes[0].legend(loc="upper left")
    return fig
