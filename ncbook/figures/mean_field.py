"""Figures of the mean-field network: its limit of many particles, and why it is not balanced."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import (
    COLOURS,
    DIVERGING,
    GREY,
    INK,
    MARKERS,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

# --- The limit of many particles ----------------------------------------------------------------


def two_scalings(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the loss over time for each width, and how far particles move, in two scalings.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``scaling`` (in words; a panel each), ``N``, ``t``, ``loss`` and
        ``moved``.
    layout : "wide" or "narrow"
    """
    scalings = list(table["scaling"].unique())
    fig, axes = new_figure(layout, len(scalings) + 1, ratio=(1.0, 0.72))
    for ax, name in zip(axes, scalings, strict=False):
        part = table[table["scaling"] == name]
        median_band(ax, part, "t", "loss", "N", label="N = {}")
        ax.set(xlabel="time $t$", ylabel="loss $L_n$", title=name, ylim=(0, None))
    last = axes[-1]
    end = table[table["t"] == table["t"].max()]
    for (name, part), look in zip(
        end.groupby("scaling", sort=False), list(group_styles(range(6)).values())[4:], strict=False
    ):
        middle = part.groupby("N")["moved"].median()
        last.loglog(middle.index, middle, label=name, **look)
    last.set(xlabel="particles $N$", title="how far a particle moves")
    shared_legend(fig, layout)
    return fig


def distance(
    table: pd.DataFrame, layout: str, *, times: Sequence[float], predicted: float
) -> Figure:
    """Draw how far N particles' features are from the limit, against N, without and with noise.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``noise`` (in words; a panel each), ``N``, ``t``, ``features``.
    layout : "wide" or "narrow"
    times : sequence of float
        The times to draw.
    predicted : float
        Root mean square of the distance at time 0 is predicted / sqrt(N).
    """
    kinds = list(table["noise"].unique())
    fig, axes = new_figure(layout, len(kinds), ratio=(0.8, 0.72), sharey=True)
    for ax, kind in zip(axes, kinds, strict=True):
        part = table[(table["noise"] == kind) & table["t"].isin(times)]
        median_band(ax, part, "N", "features", "t", label="t = {:g}", markers=True)
        N = np.array([part["N"].min(), part["N"].max()])
        ax.plot(N, predicted / np.sqrt(N), color=INK, linestyle=":", lw=1.4,
                label="predicted at $t=0$, slope -1/2")  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="particles $N$", title=kind)
    axes[0].set_ylabel(r"$\Vert H_N-H_\rho\Vert_F$")
    shared_legend(fig, layout, axes[:1])
    return fig


def along(table: pd.DataFrame, layout: str) -> Figure:
    """Draw sqrt(N) times the distance to the limit along training, a row a quantity.

    Parameters
    ----------
    table : DataFrame
        As of :func:`distance`, with the columns ``features``, ``turned`` (the distance of the
        features once their space is turned as well as can be) and ``outputs``.
    layout : "wide" or "narrow"
    """
    kinds = list(table["noise"].unique())
    rows = {"features": "features", "turned": "features, turned", "outputs": "outputs"}
    fig, axes = new_figure(layout, 3 * len(kinds), columns=2, ratio=(0.6, 0.66), sharex=True)
    panels = [(kind, what) for what in rows for kind in kinds]
    for index, (ax, (kind, what)) in enumerate(zip(axes, panels, strict=True)):
        part = table[table["noise"] == kind]
        part = part.assign(scaled=part[what] * np.sqrt(part["N"]))
        median_band(ax, part, "t", "scaled", "N", label="N = {}", band=(0.25, 0.75))
        ax.set(ylim=(0, None), title=f"{rows[what]}, {kind}", ylabel=r"$\sqrt{N}$ distance")
        ax.set_xscale("symlog", linthresh=1)
        ax.tick_params(labelbottom=True)
        if layout == "narrow" or index >= len(axes) - 2:
            ax.set_xlabel("time $t$")
    shared_legend(fig, layout, axes[:1])
    return fig


def parts(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the parts of the least free energy against the temperature; marks are particles.

    Parameters
    ----------
    table : DataFrame
        One row a temperature and part: ``kind`` ("limit" or "particles"), ``temperature``,
        ``part`` (in words) and ``value``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.8))
    style = group_styles(table["part"].unique())
    for name, part in table.groupby("part", sort=False):
        exact = part[part["kind"] == "limit"]
        ax.plot(exact["temperature"], exact["value"], label=name,
                **{**style[name], "marker": None})  # fmt: skip
        found = part[part["kind"] == "particles"]
        ax.plot(found["temperature"], found["value"], linestyle="none", markerfacecolor="none",
                markersize=7, color=style[name]["color"], marker=style[name]["marker"])  # fmt: skip
    ax.axhline(0, color=INK, lw=0.6, alpha=0.5)
    ax.set(xscale="log", xlabel=r"temperature $1/\beta$")
    shared_legend(fig, layout, title="lines: the limit; marks: particles")
    return fig


def particles(table: pd.DataFrame, layout: str, *, reach: float) -> Figure:
    """Draw the particles' u in the plane, with the class that each speaks for, and the samples.

    Parameters
    ----------
    table : DataFrame
        ``panel`` (in words), ``kind`` ("particle", "sample" or "law"), ``class``, ``x``, ``y`` and,
        for the points of a square grid that hold the limit's law, ``value``.
    layout : "wide" or "narrow"
    reach : float
        Half-width of the panels.
    """
    panels = list(table["panel"].unique())
    fig, axes = new_figure(layout, len(panels), ratio=(1.05, 1.0))
    for ax, name in zip(axes, panels, strict=True):
        kinds = dict(list(table[table["panel"] == name].groupby("kind")))
        for k, rows in kinds["particle"].groupby("class"):
            ax.scatter(rows["x"], rows["y"], s=9, marker=MARKERS[int(k)], linewidths=0, alpha=0.85,
                       color=COLOURS[int(k)], label=f"speaks for class {int(k)}")  # fmt: skip
        samples = kinds["sample"]
        ax.scatter(samples["x"], samples["y"], s=14, marker="+", linewidths=0.8, color=INK,
                   label="samples $x_i$")  # fmt: skip
        if "law" in kinds:
            law = kinds["law"].pivot(index="y", columns="x", values="value")
            levels = law.to_numpy().max() * np.array([0.05, 0.3, 0.7])
            ax.contour(law.columns, law.index, law, levels=levels, colors=GREY, linewidths=1)
            ax.plot([], [], color=GREY, lw=1, label="law of $u$ in the limit")
        ax.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), title=name)
    shared_legend(fig, layout)
    return fig


def null_space_variance(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the variance in the null space of W^T over time: lines measured, marks predicted.

    Parameters
    ----------
    table : DataFrame
        ``temperature``, ``t``, ``variance`` and ``predicted``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.75))
    style = group_styles(table["temperature"].unique())
    for T, rows in table.groupby("temperature", sort=False):
        ax.plot(rows["t"], rows["variance"], label=rf"$1/\beta={T:g}$",
                **{**style[T], "marker": None})  # fmt: skip
        few = rows.iloc[::3]
        ax.plot(few["t"], few["predicted"], linestyle="none", markerfacecolor="none",
                color=style[T]["color"], marker=style[T]["marker"])  # fmt: skip
    ax.set(yscale="log", xlabel="time $t$", ylabel="variance")
    shared_legend(fig, layout, title="lines: particles; marks: predicted")
    return fig


# --- Balance ------------------------------------------------------------------------------------


def matrices(table: pd.DataFrame, layout: str) -> Figure:
    """Draw square matrices as images with one scale of colours, and their numbers.

    Parameters
    ----------
    table : DataFrame
        ``matrix`` (in words; a panel each), ``row``, ``column`` and ``value``.
    layout : "wide" or "narrow"
    """
    names = list(table["matrix"].unique())
    fig, axes = new_figure(layout, len(names), ratio=(1.0, 0.9))
    top = table["value"].abs().max()
    for ax, name in zip(axes, names, strict=True):
        part = table[table["matrix"] == name]
        image = part.pivot(index="row", columns="column", values="value").to_numpy()
        ax.imshow(image, cmap=DIVERGING, vmin=-top, vmax=top)
        for (i, j), value in np.ndenumerate(image):
            # Dark ink on the pale middle of the colours, white at their ends; in either theme.
            ink = "#fefefe" if abs(value) > 0.6 * top else "#101010"
            ax.text(
                j,
                i,
                f"{round(value, 2) + 0.0:.2f}",
                ha="center",
                va="center",
                fontsize=6,
                color=ink,
            )
        ax.set(xticks=[], yticks=[], title=name)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    return fig


def relaxation(table: pd.DataFrame, layout: str, *, decay: float) -> Figure:
    """Draw how the imbalance of the layers relaxes, against exp(-2 lambda t) and its noise.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``noise`` (in words; a panel each), ``N``, ``t``, ``D`` (over its
        value at the start) and ``floor`` (the predicted size of its noise, 0 without).
    layout : "wide" or "narrow"
    decay : float
        lambda.
    """
    kinds = list(table["noise"].unique())
    fig, axes = new_figure(layout, len(kinds), ratio=(0.8, 0.75), sharey=True)
    style = group_styles(table["N"].unique())
    for ax, kind in zip(axes, kinds, strict=True):
        part = table[table["noise"] == kind]
        median_band(ax, part, "t", "D", "N", label="N = {}", band=(0, 1))
        t = np.linspace(0, part["t"].max(), 50)
        ax.plot(t, np.exp(-2 * decay * t), color=INK, linestyle=":", lw=1.6,
                label=r"$e^{-2\lambda t}$")  # fmt: skip
        # The noise is at its size once the start is forgotten.
        for N, rows in part[part["t"] > part["t"].max() / 2].groupby("N"):
            floor = rows.groupby("t")["floor"].median()
            if floor.max() > 0:
                ax.plot(floor.index, floor, linestyle="none", color=style[N]["color"],
                        marker=style[N]["marker"], markersize=4, markerfacecolor="none",
                        label=f"predicted, N = {N}")  # fmt: skip
        ax.set(yscale="log", xlabel="time $t$", title=kind)
    axes[0].set_ylabel(r"$\Vert D(t)\Vert_F\,/\,\Vert D(0)\Vert_F$")
    shared_legend(fig, layout)
    return fig


def residual(table: pd.DataFrame, layout: str, *, panels: Mapping[str, str]) -> Figure:
    """Draw the residual of the identity over a sweep: mean and spread of runs, and predicted.

    Parameters
    ----------
    table : DataFrame
        One row a run: ``sweep`` (a key of ``panels``), ``value`` (of what is swept), ``residual``
        and ``predicted``.
    layout : "wide" or "narrow"
    panels : mapping
        The sweeps, and how each is named on its axis.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(0.75, 0.72), sharey=True)
    for ax, (sweep, name) in zip(axes, panels.items(), strict=True):
        part = table[table["sweep"] == sweep]
        runs = part.groupby("value")["residual"]
        middle = runs.median()
        around = [middle - runs.min(), runs.max() - middle]
        ax.errorbar(middle.index, middle, yerr=around, color=COLOURS[0], linestyle="none",
                    marker="o", capsize=3, label="median and range of the runs")  # fmt: skip
        expected = part.groupby("value")["predicted"].median()
        ax.plot(expected.index, expected, color=INK, linestyle=":", label="predicted")
        ax.set(xscale="log", yscale="log", xlabel=name)
    axes[0].set_ylabel("residual, relative")
    shared_legend(fig, layout, axes[:1])
    return fig


def unequal(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the identity's residual over time for pairs of weight decays, and with W fixed.

    Parameters
    ----------
    table : DataFrame
        One row a run and time: ``setting`` (in words), ``t``, ``residual``.
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.45, 0.75))
    median_band(ax, table, "t", "residual", "setting", band=(0, 1))
    ax.set(yscale="log", xlabel="time $t$", ylabel="residual, relative")
    shared_legend(fig, layout, title=r"$\lambda_\rho$, $\lambda_W$")
    return fig


def balance(table: pd.DataFrame, layout: str) -> Figure:
    """Draw NB over time, and what it ends at against beta.

    Parameters
    ----------
    table : DataFrame
        ``kind`` ("run", "limit" or "particles"), ``setting`` (in words), ``t`` or ``beta`` and
        ``NB``.
    layout : "wide" or "narrow"
    """
    fig, (left, right) = new_figure(layout, 2, ratio=(0.8, 0.75))
    kinds = dict(list(table.groupby("kind")))
    median_band(left, kinds["run"], "t", "NB", "setting", band=(0, 1))
    left.set(yscale="log", xlabel="time $t$", ylabel="NB")
    limit, ends = kinds["limit"], kinds["particles"]
    right.loglog(limit["beta"], limit["NB"], color=INK, linestyle=":", label="stationary law")
    right.loglog(ends["beta"], ends["NB"], linestyle="none", marker="o", color=COLOURS[4],
                 markerfacecolor="none", label="particles")  # fmt: skip
    right.set(xlabel=r"inverse temperature $\beta$", ylabel="NB at the end")
    shared_legend(fig, layout)
    return fig
