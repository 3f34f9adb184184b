"""Figures of the unconstrained features model near the origin: spectrum, modes, closeness."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, INK, looks, median_band, new_figure, shared_legend


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
    style = looks(list(PARTS))
    for part, rows in table.groupby("part", sort=False):
        look = {**style[part], "marker": None}
        ax.semilogy(rows["t"], rows["median"], label=PARTS[part], **look)
        ax.fill_between(rows["t"], rows["low"], rows["high"], color=look["color"], alpha=0.22, lw=0)
        shown = rows[(rows["predicted"] < 10) & (rows["predicted"] > 1e-14)]
        ax.semilogy(shown["t"], shown["predicted"], color=look["color"], linestyle=":", lw=1)
    ax.axvline(escape, color=INK, alpha=0.5, lw=0.8)
    ax.annotate(r"$\varepsilon e^{\sqrt{N}t}=1$", (escape, 1), xytext=(-4, 0), ha="right",
                va="top", textcoords="offset points", xycoords=("data", "axes fraction"),
                fontsize=8)  # fmt: skip
    ax.set(xlabel="time $t$", ylabel="norm of the part of $(H, W)$")
    shared_legend(fig, layout)
    return fig


def closeness(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the distance from S against the start's size, a point a seed (eps, distance)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.48, 0.8))
    last = table[table["t"] == table["t"].max()]
    ax.loglog(last["eps"], last["distance"], linestyle="none", marker="o", markersize=3,
              alpha=0.4, color=COLOURS[0], label="one seed")  # fmt: skip
    median_band(ax, last, "eps", "distance", label="median")
    eps = np.array([last["eps"].min(), last["eps"].max()])
    middle = last[last["eps"] == eps[0]]["distance"].median()
    ax.loglog(eps, middle * eps / eps[0], color=INK, linestyle=":", lw=1, label="slope 1")
    ax.set(xlabel=r"size of the start $\varepsilon$", ylabel="relative distance from $S$")
    ax.legend(loc="upper left")
    return fig
