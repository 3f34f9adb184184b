"""Figures of collapse and generalisation: what is drawn, test error and NC1 against n."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ncbook.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

# --- The samples --------------------------------------------------------------------------------


def plane_rows(samples: Mapping[str, tuple]) -> pd.DataFrame:
    """Return samples of three classes in the plane of their class means, a row each.

    Parameters
    ----------
    samples : mapping
        Name of a panel to points ``(n, d)`` and labels ``(n,)``, tensors or arrays.

    Returns
    -------
    DataFrame
        Columns ``law`` (the panel), ``class``, ``x`` and ``y``: the mean of class 0 lies to the
        right of the mean of all, that of class 1 above it.
    """
    parts = []
    for law, (points, labels) in samples.items():
        X, y = np.asarray(points), np.asarray(labels)
        means = np.stack([X[y == k].mean(0) for k in range(3)]) - X.mean(0)
        right = means[0] / np.linalg.norm(means[0])
        up = means[1] - (means[1] @ right) * right
        plane = np.stack([right, up / np.linalg.norm(up)], 1)
        x, height = ((X - X.mean(0)) @ plane).T
        parts.append(pd.DataFrame({"law": law, "class": y, "x": x, "y": height}))
    return pd.concat(parts, ignore_index=True)


def plane(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the table of :func:`plane_rows`, a panel for each law."""
    laws = list(table["law"].unique())
    fig, axes = new_figure(layout, len(laws), ratio=(1.05, 0.85))
    for ax, law in zip(axes, laws, strict=True):
        for k, rows in table[table["law"] == law].groupby("class"):
            ax.plot(rows["x"], rows["y"], linestyle="none", marker=MARKERS[k], markersize=3,
                    color=COLOURS[k], alpha=0.6, markeredgewidth=0,
                    label=f"label {k}")  # fmt: skip
        ax.set(aspect="equal", title=law)
        ax.margins(0.08)
    shared_legend(fig, layout, axes[:1])
    return fig


# --- Against n ----------------------------------------------------------------------------------


def against_n(
    table: pd.DataFrame, layout: str, *, floors: Mapping[str, float] | None = None
) -> Figure:
    """Draw test error and NC1 of the training sample against n: the median and the whole range.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``law``, ``n``, ``error`` (a share) and ``nc1``.
    layout : "wide" or "narrow"
    floors : mapping, optional
        The least error of any classifier, for some laws: a dotted line.
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.8, 0.72))
    part = table.assign(error=100 * table["error"])
    for ax, column in ((left, "error"), (right, "nc1")):
        median_band(ax, part, "n", column, "law", band=(0, 1), markers=True)
        _sizes(ax, part)
    style = group_styles(part["law"])
    for law, floor in (floors or {}).items():
        left.axhline(100 * floor, color=style[law]["color"], linestyle=":", lw=1.3)
    if floors:
        left.plot([], [], color=INK, linestyle=":", lw=1.3, label="least error of any classifier")
    left.set_ylim(bottom=0)
    left.set_title("Test error, %")
    right.set(yscale="log", title="NC1 of the training sample")
    shared_legend(fig, layout, [left])
    return fig


def meeting(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NC1 of the training and of the test sample against n, a panel for each law.

    Parameters
    ----------
    table : DataFrame
        One row a run and a sample: ``law``, ``n``, ``sample`` ("training" or "test"), ``nc1``.
    layout : "wide" or "narrow"
    """
    laws = list(table["law"].unique())
    fig, axes = new_figure(layout, len(laws), ratio=(1.15, 0.72), sharey=True)
    for ax, law in zip(axes, laws, strict=True):
        part = table[table["law"] == law]
        median_band(ax, part, "n", "nc1", "sample", band=(0, 1), markers=True,
                    label="{} sample")  # fmt: skip
        _sizes(ax, part)
        ax.set(yscale="log", title=law)
        ax.tick_params(labelleft=True)
    axes[0].set_ylabel("NC1")
    shared_legend(fig, layout, axes[:1])
    return fig


# --- Two stages ---------------------------------------------------------------------------------

STAGES = {
    "loss": "Loss $L_n$",
    "nc1": "NC1 of the training sample",
    "error": "Test error, %",
}


def stages(
    table: pd.DataFrame, layout: str, *, change: float, levels: Mapping[str, float] | None = None
) -> Figure:
    """Draw loss, NC1 and test error along both stages of training: median and whole range.

    Parameters
    ----------
    table : DataFrame
        One row a run and a recorded time: ``law`` (a colour and line each), ``seed``, ``time`` in
        units of beta, and the columns of ``STAGES``, the error as a share.
    layout : "wide" or "narrow"
    change : float
        When the second stage begins: a vertical line.
    levels : mapping, optional
        For some laws the NC1 that is expected at the end: a dotted line over the last quarter.
    """
    fig, axes = new_figure(layout, len(STAGES), ratio=(1.15, 0.7))
    part = table.assign(error=100 * table["error"])
    style, end = group_styles(part["law"].unique()), part["time"].max()
    for ax, (column, title) in zip(axes, STAGES.items(), strict=True):
        median_band(ax, part, "time", column, "law", band=(0, 1))
        ax.axvline(change, color=INK, lw=0.9, linestyle="-.", label="stage 2 begins")
        ax.set(title=title, xlabel=r"time, in units of $\beta$")
        if column != "error":
            ax.set_yscale("log")
    for law, level in (levels or {}).items():
        axes[1].plot([0.75 * end, end], [level, level], color=style[law]["color"], lw=1.8,
                     linestyle=":")  # fmt: skip
    if levels:
        axes[0].plot([], [], color=INK, linestyle=":", lw=1.8, label="expected at the end")
    axes[2].set_ylim(bottom=0)
    shared_legend(fig, layout, axes[:1])
    return fig


def _sizes(ax: Axes, table: pd.DataFrame) -> None:
    """Put a logarithmic axis with a tick at each sample size."""
    sizes = sorted(table["n"].unique())
    ax.set(xscale="log", xlabel="samples $n$")
    ax.xaxis.set_major_locator(FixedLocator(sizes))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
