"""Figures of nearly stationary points: features against their forms, errors against bounds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ncbook.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    group_styles,
    median_band,
    new_figure,
    power_law,
    shared_legend,
)

FORMS = ("measured", "first form", "second form")


def plane_rows(times: Sequence[float], y, **forms) -> pd.DataFrame:
    """Return what the classifier makes of some features, in the plane of the simplex of outputs.

    Parameters
    ----------
    times : sequence of float
        T times.
    y : Tensor
        Classes 0, 1, 2 of the samples, ``(n,)``.
    **forms : Tensor
        Outputs ``(T, 3, n)`` of each kind of features; an underscore in its name is a space.

    Returns
    -------
    DataFrame
        Columns ``t``, ``kind``, ``class``, ``x`` and ``y``: the one-hot labels are the corners of
        an equilateral triangle about the origin, at the distance 1.
    """
    angles = np.pi / 2 + 2 * np.pi * np.arange(3) / 3
    plane = np.stack([np.cos(angles), np.sin(angles)])
    parts = []
    for kind, outputs in forms.items():
        for t, f in zip(times, outputs.cpu().numpy(), strict=True):
            x, height = plane @ f
            rows = {"t": t, "kind": kind.replace("_", " "), "class": y.cpu().numpy(), "x": x}
            parts.append(pd.DataFrame({**rows, "y": height}))
    return pd.concat(parts, ignore_index=True)


def forms(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the table of :func:`plane_rows`, a panel a time."""
    panels = list(table.groupby("t"))
    fig, axes = new_figure(layout, len(panels), ratio=(1.0, 0.85))
    for ax, (t, rows) in zip(axes, panels, strict=True):
        for (kind, k), points in rows.groupby(["kind", "class"], sort=False):
            _points(ax, points, kind, int(k))
        ax.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-0.95, 1.3), xticks=[], yticks=[])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(f"$t={t:,.4g}$")
    shared_legend(fig, layout, axes[:1])
    return fig


def _points(ax: Axes, points: pd.DataFrame, kind: str, k: int) -> None:
    colour = COLOURS[k]
    look = {
        "measured": {"marker": MARKERS[k], "markersize": 4, "alpha": 0.85},
        "first form": {"marker": "o", "markersize": 8, "markerfacecolor": "none", "mew": 0.8},
        "second form": {"marker": "x", "markersize": 11, "color": INK, "mew": 1.2},
    }[kind]
    if kind == "second form":
        points = points.iloc[:1]
    # One entry of the legend a class, and one for each of the two forms.
    label = f"class {k}" if kind == "measured" else kind if k == 0 else None
    ax.plot(points["x"], points["y"], label=label, **{"linestyle": "none", "color": colour, **look})


def errors(table: pd.DataFrame, layout: str, *, titles: Mapping[str, str]) -> Figure:
    """Draw squared errors and their bounds along time, a panel an error.

    Parameters
    ----------
    table : DataFrame
        One row a run, time, ``error`` (a panel) and ``line``: ``t`` and ``value``.
    layout : "wide" or "narrow"
    titles : mapping
        The values of ``error`` and their titles.
    """
    fig, axes = new_figure(layout, len(titles), ratio=(0.95, 0.85), sharey=True)
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        rows = table[(table["error"] == name) & (table["t"] > 0)]
        median_band(ax, rows, "t", "value", "line", band=(0, 1))
        ax.set(xscale="log", yscale="log", xlabel="time $t$", title=title)
    shared_legend(fig, layout, axes)
    return fig


def quotients(table: pd.DataFrame, layout: str) -> Figure:
    """Draw bounds over what they bound against gamma; a bound must not be below 1.

    Parameters
    ----------
    table : DataFrame
        One row a run, time and ``bound`` (in words): ``gamma`` and ``quotient``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.85))
    median_band(ax, table, "gamma", "quotient", "bound", band=(0, 1), markers=True)
    ax.axhline(1, color=INK, lw=1)
    ticks = sorted(table["gamma"].unique())
    ax.set(xscale="log", yscale="log", xlabel=r"$\gamma$", ylabel="bound of NC1 over NC1")
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    shared_legend(fig, layout)
    return fig


def terms(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw NC1 against each of some quantities; above the diagonal NC1 is larger.

    A dotted line marks the quantity 1: as NC1 is at most 1, no bound says anything beyond it.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``runs`` (their kind), ``NC1`` and the quantities.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(1.1, 0.8), sharey=True)
    style = group_styles(table["runs"].unique())
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        for kind, rows in table.groupby("runs", sort=False):
            look = {**style[kind], "linestyle": "none", "markersize": 3.5, "alpha": 0.6}
            ax.plot(rows[name], rows["NC1"], label=kind, **look)
        ends = np.array([table["NC1"].min(), 1.0])
        ax.plot(ends, ends, color=INK, lw=1, label="equality")
        ax.axvline(1, color=INK, lw=1, linestyle=":", label="a bound of 1")
        ax.set(xscale="log", yscale="log", xlabel=title)
    for ax in axes[:1] if layout == "wide" else axes:
        ax.set_ylabel("NC1")
    shared_legend(fig, layout, axes[:1])
    return fig


def shares(table: pd.DataFrame, layout: str, *, limit: float) -> Figure:
    """Draw NC1 over the loss against the loss, and the bound as a line.

    Parameters
    ----------
    table : DataFrame
        One row a data set and weight decay: ``d``, ``loss`` and ``quotient``.
    layout : "wide" or "narrow"
    limit : float
        2q/(q-1).
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.8))
    style = group_styles(table["d"].unique())
    for d, rows in table.groupby("d", sort=False):
        for number, (_, line) in enumerate(rows.groupby("seed")):
            label = f"inputs in dimension {d}" if number == 0 else None
            ax.plot(line["loss"], line["quotient"], label=label, **{**style[d], "markersize": 3})
    ax.axhline(limit, color=INK, lw=1, label=r"$2q/(q-1)$")
    ax.set(xscale="log", ylim=(0, None), xlabel="loss $L_n$", ylabel="NC1$/L_n$")
    shared_legend(fig, layout)
    return fig


def singular_values(table: pd.DataFrame, layout: str, *, limit: float) -> Figure:
    """Draw the singular values of W against beta, and the lower bound of the least.

    Parameters
    ----------
    table : DataFrame
        One row a ``gamma`` (a panel) and ``beta``: ``least``, ``largest`` and ``bound``.
    layout : "wide" or "narrow"
    limit : float
        Where the least one goes, (4/q)^(1/4).
    """
    panels = list(table.groupby("gamma"))
    fig, axes = new_figure(layout, len(panels), ratio=(0.75, 0.75), sharey=True)
    names = {
        "largest": r"$\sigma_{max}$",
        "least": r"$\sigma_{min}$",
        "bound": r"lower bound of $\sigma_{min}$",
    }
    style = group_styles(names)
    for ax, (gamma, rows) in zip(axes, panels, strict=True):
        for name, label in names.items():
            ax.plot(rows["beta"], rows[name], label=label, **style[name])
        ax.axhline(limit, color=INK, lw=1, linestyle=":", label=r"$(4/q)^{1/4}$")
        title = rf"$\gamma={gamma:g}$"
        ax.set(xscale="log", yscale="log", xlabel=r"$\beta$", title=title)
    for ax in axes[:1] if layout == "wide" else axes:
        ax.set_ylabel(r"times $\sqrt{\gamma}$")
    shared_legend(fig, layout, axes[:1])
    return fig


def against_particles(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw squared errors against N with a line of slope -1, and what is expected as crosses.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``N``, the quantities, and each once more with ``expected`` and a space
        before its name.
    layout : "wide" or "narrow"
    panels : mapping
        Columns of the quantities and titles.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(0.8, 0.75))
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        power_law(ax, table, "N", name, -1)
        expected = table.groupby("N")[f"expected {name}"].median()
        ax.plot(expected.index, expected, linestyle="none", marker="x", markersize=8, color=INK,
                label="expected")  # fmt: skip
        ax.set(xlabel="particles $N$", title=title)
        ax.set_xticks(expected.index, [f"{N:g}" for N in expected.index])
        ax.minorticks_off()
        # One power of ten need not be among little more than one decade.
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    shared_legend(fig, layout, axes[:1])
    return fig
