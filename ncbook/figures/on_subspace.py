"""Figures of the flow on the invariant subspace: logistic curves, saddle, conserved matrix."""

from collections.abc import Mapping

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


def logistic_rows(table: pd.DataFrame, exact_u, exact_beta) -> pd.DataFrame:
    """Return integrator and formula side by side, a row a start, time and curve.

    Parameters
    ----------
    table : DataFrame
        Columns seed, t, u1, u2, ..., beta: the integrator's.
    exact_u : array
        Shape ``(seeds, T, curves)``: the formula's squared singular values, descending.
    exact_beta : array
        Shape ``(seeds, T)``.
    """
    curves = [name for name in table if name.startswith("u")] + ["beta"]
    long = table.melt(["seed", "t"], curves, "curve", "integrated")
    exact = np.concatenate(
        [np.moveaxis(np.asarray(exact_u.cpu()), -1, 0), np.asarray(exact_beta.cpu())[None]]
    )
    return long.assign(formula=exact.reshape(-1))


def logistic(table: pd.DataFrame, layout: str, limit: float, C: int, starts: int = 3) -> Figure:
    """Draw the first starts' curves: points from the integrator, lines from the formula."""
    fig, axes = new_figure(layout, 2, ratio=(0.72, 0.62))
    seeds = list(table["seed"].unique()[:starts])
    # All starts have the same beta.
    shown = (
        (table["curve"] != "beta") & table["seed"].isin(seeds),
        (table["curve"] == "beta") & (table["seed"] == seeds[0]),
    )
    style = group_styles(seeds)
    for ax, chosen in zip(axes, shown, strict=True):
        for (seed, curve), rows in table[chosen].groupby(["seed", "curve"], sort=False):
            look = style[seed] if curve != "beta" else {"color": INK, "marker": "o"}
            ax.plot(rows["t"], rows["formula"], color=look["color"], linestyle="-", lw=1.2)
            inside = rows[rows["t"] <= 12 / C**2] if curve == "beta" else rows
            every = inside.iloc[:: max(1, len(inside) // 14)]
            ax.plot(every["t"], every["integrated"], color=look["color"], marker=look["marker"],
                    linestyle="none", markersize=3.5)  # fmt: skip
        ax.set_xlabel("time $t$")
    for number, seed in enumerate(seeds, start=1):
        axes[0].plot([], [], **style[seed] | {"linestyle": "-"}, label=f"start {number}")
    axes[1].plot([], [], color=INK, linestyle="-", lw=1.2, label="line: formula")
    axes[1].plot([], [], color=INK, marker="o", linestyle="none", label="points: integrator")
    axes[0].axhline(limit, color=INK, alpha=0.5, lw=0.8)
    axes[0].annotate(r"$\sqrt{N}$", (0, limit), xytext=(2, 2), textcoords="offset points",
                     va="bottom")  # fmt: skip
    axes[0].set(ylabel="squared singular values of $W$", ylim=(None, 1.12 * limit))
    axes[1].axhline(1 / C, color=INK, alpha=0.5, lw=0.8)
    axes[1].annotate("$1/C$", (0, 1 / C), xytext=(2, -3), textcoords="offset points", va="top")
    axes[1].set(ylabel=r"$\beta$", xlim=(-0.03, 12 / C**2))
    shared_legend(fig, layout)
    return fig


def saddle_rows(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one table of the risks over time, a row a kind of start, seed and time."""
    return pd.concat(
        [table.assign(start=name) for name, table in tables.items()], ignore_index=True
    )[["start", "seed", "t", "risk"]]


def saddle(table: pd.DataFrame, layout: str, plateau: float) -> Figure:
    """Draw the risk from starts of too small rank: median and range over seeds."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.46, 0.85))
    median_band(ax, table, "t", "risk", "start", band=(0, 1))
    ax.axhline(plateau, color=INK, alpha=0.5, lw=0.8)
    ax.annotate("the saddle", (0, plateau), xytext=(2, -3), textcoords="offset points", va="top")
    ax.set(yscale="log", xlabel="time $t$", ylabel="risk", ylim=(1e-16, None))
    shared_legend(fig, layout)
    return fig


def drift(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the drift of W^T W - H H^T against the step, a point a seed (step, drift)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.44, 0.75))
    power_law(ax, table, "step", "drift", 1)
    ax.set(xlabel=r"step $\eta$", ylabel=r"drift of $W^{T}W - HH^{T}$")
    ax.legend(loc="upper left")
    return fig
