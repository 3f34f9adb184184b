"""Figures of many classes: one paper's measures, their limits, scalings, normalised features."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, INK, group_styles, median_band, new_figure, shared_legend

R_LABEL = r"$R=\log(1/L)$"


def along(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC1 and NC3 along training, with their predicted limits and the floor of NC3.

    Parameters
    ----------
    table : DataFrame
        One row a number of classes, run and level: ``K``, ``seed``, ``R``, ``nc1``, ``nc3``,
        ``nc3_printed``, with ``_limit`` behind each name its limit, and ``floor``.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 3)
    titles = {"nc1": "NC1", "nc3": "NC3, target of norm 1", "nc3_printed": "NC3 as printed"}
    shown = table[table["R"] >= 1]
    end = shown["R"].max()
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        median_band(ax, shown, "R", name, "K", band=(0, 1), label="K = {}")
        for colour, (_, part) in zip(COLOURS, shown.groupby("K", sort=False), strict=False):
            limit = part[f"{name}_limit"].median()
            ax.plot(1.8 * end, limit, marker="<", color=colour, linestyle="none", clip_on=False)
            if name == "nc3_printed":
                ax.axhline(part["floor"].iloc[0], color=colour, linestyle=":", linewidth=1.1)
        top = max(shown[name].max(), shown[f"{name}_limit"].max())
        ax.set(xscale="log", xlabel=R_LABEL, title=title, xlim=(1, 2.2 * end), ylim=(0, 1.08 * top))
    axes[0].plot([], [], marker="<", color=INK, linestyle="none", label="limit")
    axes[0].plot([], [], color=INK, linestyle=":", linewidth=1.1, label="floor")
    shared_legend(fig, layout, axes[:1])
    return fig


def limits(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC1 and NC3 late in training against their predicted limits, a point a run.

    Parameters
    ----------
    table : DataFrame
        Columns as in :func:`along`, one level.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 3, ratio=(1.1, 0.8))
    titles = {"nc1": "NC1", "nc3": "NC3, target of norm 1", "nc3_printed": "NC3 as printed"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        _against(ax, table, f"{name}_limit", name, "K", "K = {}")
        ax.set(xlabel="predicted limit", title=title)
    axes[0].set_ylabel("measured")
    shared_legend(fig, layout, axes[:1])
    return fig


def separating(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC2 along training from random starts, a line a run, in a panel for each K.

    Parameters
    ----------
    table : DataFrame
        One row a number of classes, run and time: ``K``, ``seed``, ``t``, ``nc2`` and
        ``separated`` (0 or 1). A mark stands at the first time at which a run is separated.
    layout : "wide" or "narrow"
    """
    classes = list(table["K"].unique())
    fig, axes = new_figure(layout, len(classes), sharey=layout == "wide", ratio=(1.0, 0.62))
    for index, (ax, K) in enumerate(zip(axes, classes, strict=True)):
        for _, part in table[table["K"] == K].groupby("seed"):
            part = part.sort_values("t")
            ax.plot(
                part["t"],
                part["nc2"],
                color=COLOURS[index],
                linewidth=0.8,
                linestyle="-",
                alpha=0.6,
            )
            first = part[part["separated"] == 1].head(1)
            ax.plot(
                first["t"], first["nc2"], color=INK, marker="o", markersize=3.5, linestyle="none"
            )
        ax.plot([], [], color=COLOURS[index], linestyle="-", label="one run")
        ax.plot([], [], color=INK, marker="o", markersize=3.5, linestyle="none", label="separated")
        ax.set(xscale="log", xlabel="time t", title=f"K = {K}")
        ax.set_ylim(-0.04, 1.05 * table["nc2"].max())
        ax.legend(loc="upper right")
    axes[0].set_ylabel("NC2")
    return fig


def scalings(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC3 and the classifier's distance from a simplex along training, for each scaling.

    Parameters
    ----------
    table : DataFrame
        One row a scaling, run and level: ``scaling``, ``seed``, ``R``, ``nc3``, ``simplex`` and
        both with ``_limit``.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 2)
    titles = {"nc3": "NC3, target of norm 1", "simplex": "Classifier off a simplex"}
    shown = table[table["R"] >= 1]
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        median_band(ax, shown, "R", name, "scaling", band=(0, 1))
        for colour, (_, part) in zip(COLOURS, shown.groupby("scaling", sort=False), strict=False):
            limit = part[f"{name}_limit"].median()
            if limit > 1e-6:
                ax.axhline(limit, color=colour, linestyle=":", linewidth=1.1)
        ax.set(xscale="log", yscale="log", xlabel=R_LABEL, title=title)
    axes[0].plot([], [], color=INK, linestyle=":", linewidth=1.1, label="limit above 0")
    shared_legend(fig, layout, axes[:1])
    return fig


NORMALISATIONS = {"none": "none", "rms": "RMS", "layer": "LayerNorm"}


def normalised(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC1 and NC2 along training for features as they are and behind two normalisations.

    Parameters
    ----------
    table : DataFrame
        One row a normalisation, run and level: ``normalisation`` (a key of ``NORMALISATIONS``),
        ``seed``, ``R``, ``nc1``, ``nc2``.
    layout : "wide" or "narrow"
    """
    fig, (left, right) = new_figure(layout, 2)
    shown = table[table["R"] >= 1]
    for ax, name in ((left, "nc1"), (right, "nc2")):
        median_band(ax, shown, "R", name, "normalisation", band=(0, 1), label=NORMALISATIONS.get)
    rms = shown[shown["normalisation"] == "rms"].groupby("R")["nc1"].median()
    ends = rms.index.to_numpy()[[-4, -1]]
    left.plot(ends, 0.15 * rms.iloc[-1] * ends[1] / ends, color=INK, linestyle=":", lw=1.2,
              label="slope -1")  # fmt: skip
    left.set(xscale="log", yscale="log", xlabel=R_LABEL, title="NC1")
    right.set(xscale="log", xlabel=R_LABEL, title="NC2", ylim=(-0.04, None))
    shared_legend(fig, layout, [left])
    return fig


def layer_norm(table: pd.DataFrame, layout: str) -> Figure:
    """Draw cosines between class means behind LayerNorm against what the shares predict.

    Parameters
    ----------
    table : DataFrame
        One row a pair of classes: ``start``, ``K``, ``predicted``, ``cosine``.
    layout : "wide" or "narrow"
    """
    starts = list(table["start"].unique())
    fig, axes = new_figure(layout, len(starts), columns=2, ratio=(0.8, 0.8))
    for ax, start in zip(axes, starts, strict=True):
        part = table[table["start"] == start]
        _against(ax, part, "predicted", "cosine", "K", "K = {}")
        ax.set(xlabel="predicted cosine", title=f"{start} starts")
    axes[0].set_ylabel("measured cosine")
    shared_legend(fig, layout, axes)
    return fig


def growth(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the squared norm and R along log t.

    Parameters
    ----------
    table : DataFrame
        One row a number of classes, run and level: ``K``, ``seed``, ``R``, ``log_t``, ``size``
        (the squared norm over its predicted slope) and ``log_t_predicted``.
    layout : "wide" or "narrow"
    """
    fig, (left, right) = new_figure(layout, 2)
    shown = table[table["R"] >= 1]
    style = group_styles(shown["K"].unique())
    ends = np.array([shown["log_t"].min(), shown["log_t"].max()])
    left.plot(ends, ends, color=INK, linestyle=":", lw=1.2, label="log t")
    for K, part in shown.groupby("K", sort=False):
        middle = part.groupby("R").median(numeric_only=True)
        left.plot(middle["log_t"], middle["size"], markersize=4, label=f"K = {K}", **style[K])
        error = (part["log_t"] - part["log_t_predicted"]).abs().groupby(part["R"]).median()
        right.plot(error.index, error, markersize=4, label=f"K = {K}", **style[K])
    R = np.sort(shown["R"].unique())[[-4, -1]]
    right.plot(
        R, 0.1 * error.iloc[-1] * R[1] / R, color=INK, linestyle=":", lw=1.2, label="slope -1"
    )
    left.set(xscale="log", yscale="log", xlabel="log t", title=r"$\|\theta\|^2$ over its slope")
    right.set(xscale="log", yscale="log", xlabel=R_LABEL, title="Error of the predicted log t")
    left.legend(loc="upper left")
    right.legend(loc="lower left")
    return fig


def _against(ax: Axes, table: pd.DataFrame, x: str, y: str, group: str, label: str) -> None:
    """Draw a point a row and the diagonal."""
    values = table[[x, y]].to_numpy()
    ends = values.min(), values.max()
    ax.plot(ends, ends, color=INK, linestyle=":", linewidth=1)
    style = group_styles(table[group].unique())
    for value, part in table.groupby(group, sort=False):
        look = {**style[value], "linestyle": "none"}
        ax.plot(part[x], part[y], markersize=4, alpha=0.6, label=label.format(value), **look)
