"""Three digits in a two-layer network: the panels of Figure 3, and why features leave their rays.

Source: Min, Zhu and Vidal (2025), Figure 3; the figures behind it are this book's.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter

from ncbook.figures.emergence import SIZES, SYMBOLS
from ncbook.figures.style import (
    COLOURS,
    DIVERGING,
    INK,
    WIDTHS,
    group_styles,
    median_band,
    new_figure,
    shared_legend,
)

POINTS, WEIGHTS = "digit", "row of V"
CROSSES = ("x", "+", "1")
PAPER = 0.2  # per cent: the paper's error of the features

# --- Panel (a) ----------------------------------------------------------------------------------


def correlation_rows(cosines: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """Return the lower triangle of a matrix of cosines, ordered by class, one row a pair.

    Parameters
    ----------
    cosines : ndarray
        ``(n, n)``, symmetric.
    labels : ndarray
        ``(n,)``.
    """
    order = np.argsort(labels, kind="stable")
    i, j = np.tril_indices(len(order))
    ordered = cosines[np.ix_(order, order)][i, j].round(2)
    return pd.DataFrame({"first": i, "second": j, "class": labels[order][i], "cosine": ordered})


def correlations(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the matrix of :func:`correlation_rows` with lines between the classes."""
    n = int(table["first"].max()) + 1
    matrix = np.zeros((n, n))
    i, j = table["first"].to_numpy(), table["second"].to_numpy()
    matrix[i, j] = matrix[j, i] = table["cosine"]
    fig, (ax,) = new_figure(layout, 1, ratio=(0.72, 0.98))
    image = ax.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
    sizes = table[table["first"] == table["second"]].groupby("class").size()
    ends = sizes.cumsum()
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color=INK, lw=1)
        ax.axvline(end - 0.5, color=INK, lw=1)
    middles, names = ends - sizes / 2, [f"digit {k}" for k in sizes.index]
    ax.set_xticks(middles, names)
    ax.set_yticks(middles, names, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=ax, label="cosine", shrink=0.85)
    return fig


# --- Panel (b) ----------------------------------------------------------------------------------


def neuron_rows(V: np.ndarray, pseudo_labels: np.ndarray, names: Sequence) -> pd.DataFrame:
    """Return output weights in the plane orthogonal to 1, in which the first e~_k points right.

    Parameters
    ----------
    V : ndarray
        ``(3, h)``.
    pseudo_labels : ndarray
        ``(3, 3)``, the e~_k as columns, of norm 1.
    names : sequence
        Names of the three classes.

    Returns
    -------
    DataFrame
        ``kind`` ("neuron" or "direction"), ``class`` (of a neuron: of its group), ``x``, ``y``.
    """
    across = pseudo_labels[:, 1] - pseudo_labels[:, 2]
    plane = np.stack([pseudo_labels[:, 0], across / np.linalg.norm(across)])
    groups = (pseudo_labels.T @ V).argmax(0)
    parts = [("neuron", V, groups), ("direction", pseudo_labels, np.arange(3))]
    rows = []
    for kind, vectors, classes in parts:
        x, y = plane @ vectors
        rows.append({"kind": kind, "class": [names[k] for k in classes], "x": x, "y": y})
    return pd.concat([pd.DataFrame(row) for row in rows], ignore_index=True)


def neurons(table: pd.DataFrame, layout: str) -> Figure:
    """Draw output weights as crosses, with a line along each e~_k (:func:`neuron_rows`)."""
    fig, (ax,) = new_figure(layout, 1, ratio=(0.6, 1.0))
    crosses = table[table["kind"] == "neuron"]
    reach = 1.12 * np.hypot(crosses["x"], crosses["y"]).max()
    arrows = table[table["kind"] == "direction"]
    for index, row in enumerate(arrows.itertuples()):
        ax.plot([0, reach * row.x], [0, reach * row.y], color=INK, lw=1, ls=":")
        ax.annotate(f"$\\tilde e$ of {row[2]}", (1.1 * reach * row.x, 1.1 * reach * row.y),
                    ha="left" if row.x > 0 else "center", va="center")  # fmt: skip
        group = crosses[crosses["class"] == row[2]]
        ax.plot(group["x"], group["y"], ls="none", marker=CROSSES[index], ms=7, mew=1.4,
                color=COLOURS[index], label=f"group of {row[2]}: {len(group)} neurons")  # fmt: skip
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.14)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    shared_legend(fig, layout)
    return fig


def tile_rows(images: np.ndarray, shape: tuple[int, int], rows: Sequence, columns: Sequence):
    """Return pictures as one table: a row a pixel.

    Parameters
    ----------
    images : ndarray
        ``(rows, columns, pixels)``.
    shape : pair of int
        Rows and columns of one picture's pixels.
    rows, columns : sequence of str
        Names of the rows and columns of pictures.
    """
    index = pd.MultiIndex.from_product(
        [rows, columns, range(shape[0]), range(shape[1])], names=["row", "column", "y", "x"]
    )
    return pd.DataFrame({"value": images.reshape(-1)}, index=index).reset_index()


def tiles(
    table: pd.DataFrame, layout: str, *, notes: dict[tuple[str, str], str] | None = None
) -> Figure:
    """Draw the pictures of :func:`tile_rows`, each on a scale of its own with 0 in the middle.

    Parameters
    ----------
    table : DataFrame
    layout : "wide" or "narrow"
    notes : dict, optional
        (row, column) -> a few words below that picture.
    """
    rows, columns = list(table["row"].unique()), list(table["column"].unique())
    width = WIDTHS[layout] * (0.75 if layout == "wide" else 1)
    # Height of a picture: what the names at the left leave, and a line of text below.
    tile = (width - 0.35) / len(columns)
    fig = Figure(figsize=(width, len(rows) * (tile + 0.12) + 0.25), layout="constrained")
    axes = fig.subplots(len(rows), len(columns), squeeze=False)
    pictures = table.groupby(["row", "column"], sort=False)["value"]
    height = int(table["y"].max()) + 1
    for (i, j), ax in np.ndenumerate(axes):
        picture = pictures.get_group((rows[i], columns[j])).to_numpy().reshape(height, -1)
        limit = np.abs(picture).max()
        ax.imshow(picture, cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        ax.spines[:].set_visible(False)
        if i == 0:
            ax.set_title(columns[j])
        if j == 0:
            ax.set_ylabel(rows[i])
        if notes and (rows[i], columns[j]) in notes:
            ax.set_xlabel(notes[rows[i], columns[j]])
    return fig


# --- Panels (c) and (d) -------------------------------------------------------------------------


def cloud_rows(
    values: np.ndarray,
    labels: np.ndarray,
    names: Sequence,
    points: int,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return points in their three main directions, with the rows of V, scaled to fit.

    The directions are those of the largest singular values of all the values, which are not
    centred: the origin stays where it is.

    Parameters
    ----------
    values : ndarray
        ``(n, D)``.
    labels : ndarray
        ``(n,)``, classes 0, 1, ...
    names : sequence
        Names of the classes.
    points : int
        How many points to return, the first ones.
    weights : ndarray, optional
        ``(K, D)``: more vectors, one a class, scaled together so that the longest projection has
        the length of the longest projected point.

    Returns
    -------
    DataFrame
        ``kind``, ``class``, ``x``, ``y``, ``z``.
    """
    axes = np.linalg.eigh(values.T @ values).eigenvectors[:, :-4:-1]
    axes = axes * np.sign((values.mean(0) + values[0]) @ axes)  # a sign is arbitrary: fix it
    cloud = values[:points] @ axes
    parts = [(POINTS, cloud, labels[:points])]
    if weights is not None:
        arms = weights @ axes
        arms *= np.linalg.norm(cloud, axis=1).max() / np.linalg.norm(arms, axis=1).max()
        parts.append((WEIGHTS, arms, np.arange(len(arms))))
    rows = []
    for kind, places, classes in parts:
        x, y, z = places.T.round(3)
        rows.append({"kind": kind, "class": [names[k] for k in classes], "x": x, "y": y, "z": z})
    return pd.concat([pd.DataFrame(row) for row in rows], ignore_index=True)


def cloud(table: pd.DataFrame) -> go.Figure:
    """Draw the table of :func:`cloud_rows`: points by class, rows of V as lines from the origin."""
    fig = go.Figure()
    for index, (name, part) in enumerate(table.groupby("class", sort=True)):
        digits = part[part["kind"] == POINTS]
        look = {"color": COLOURS[index], "symbol": SYMBOLS[index]}
        fig.add_scatter3d(
            x=digits["x"].tolist(), y=digits["y"].tolist(), z=digits["z"].tolist(),
            mode="markers", marker={"size": 3 * SIZES[index], "opacity": 0.7, **look},
            name=f"digit {name}", hoverinfo="name",
        )  # fmt: skip
        for row in part[part["kind"] == WEIGHTS].itertuples():
            fig.add_scatter3d(
                x=[0, row.x], y=[0, row.y], z=[0, row.z], mode="lines+text",
                line={"color": COLOURS[index], "width": 7}, text=["", f"v of {name}"],
                textfont={"color": COLOURS[index]}, name=f"row of V, {name}", showlegend=False,
                hoverinfo="name",
            )  # fmt: skip
    fig.update_layout(
        height=460,
        scene={
            **{f"{axis}axis": {"title": {"text": f"component {number}"}, "showticklabels": False}
               for number, axis in enumerate("xyz", 1)},
            "aspectmode": "data",
        },
        legend={"itemsizing": "constant"},
    )  # fmt: skip
    return fig


# --- Over training ------------------------------------------------------------------------------

COURSE = (
    ("What 3 components leave out, %", {"pca": "centred", "pca.uncentred": "not centred"}),
    ("NC1, NC2, NC3", {"nc1": "NC1", "nc2": "NC2", "nc3": "NC3"}),
    ("Error rate, %", {"error": "training", "error.test": "test"}),
    ("Cosines", {"cos.v": "$v_j$ and $\\tilde e_k$", "cos.w": "weights and class mean"}),
)


def course(table: pd.DataFrame, layout: str) -> Figure:
    """Draw errors and measures over the epochs: the median of the runs and their whole range.

    Parameters
    ----------
    table : DataFrame
        One row a run and an epoch: ``epoch`` and the columns named in ``COURSE``; those of the
        panels in per cent as shares.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, len(COURSE), columns=2, ratio=(0.66, 0.66))
    for ax, (title, columns) in zip(axes, COURSE, strict=True):
        part = table[table["epoch"] > 0]
        if title.endswith("%"):
            part = part.assign(**{name: 100 * part[name] for name in columns})
        long = part.melt("epoch", list(columns), "measure")
        median_band(ax, long, "epoch", "value", "measure", band=(0, 1), label=columns.get)
        ax.set_title(title)
        ax.set_xlabel("epoch")
        if title != "Cosines":
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
    axes[0].axhline(PAPER, color=INK, ls=":", lw=1.2, label="the paper's 0.2%")
    axes[0].yaxis.set_major_locator(LogLocator())
    for ax in axes:
        ax.legend()
    return fig


# --- Where 0.2% is reached ----------------------------------------------------------------------


def windows(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return, for each run, when the features' error is at most 0.2%, and its least value.

    Parameters
    ----------
    table : DataFrame
        One row a run and an epoch: ``epoch``, ``pca`` (a share) and the columns that name the run.
        Between two recorded epochs the error is taken to be exponential.
    by : sequence of str
        The columns that name the run.

    Returns
    -------
    DataFrame
        The columns that name the run, ``enters`` and ``leaves`` in epochs (NaN where it does not),
        and ``least`` in per cent.
    """
    rows = []
    for run, part in table.groupby(list(by), sort=False):
        error, epoch = part["pca"].to_numpy() * 100, part["epoch"].to_numpy(float)
        low = int(error.argmin())
        enters = leaves = np.nan
        if error[low] <= PAPER:
            first = int((error <= PAPER).argmax())
            enters = _crossing(epoch, error, first - 1)
            after = np.nonzero(error[low:] > PAPER)[0]
            if len(after):
                leaves = _crossing(epoch, error, low + after[0] - 1)
        rows.append([*run, enters, leaves, error[low]])
    return pd.DataFrame(rows, columns=[*by, "enters", "leaves", "least"])


def _crossing(epoch: np.ndarray, error: np.ndarray, before: int) -> float:
    """Return where the error is the paper's, between an epoch and the next recorded one."""
    if before < 0:
        return epoch[0]
    a, b = np.log(error[before : before + 2])
    return epoch[before] + (np.log(PAPER) - a) / (b - a) * (epoch[before + 1] - epoch[before])


def passage(table: pd.DataFrame, layout: str, *, end: float) -> Figure:
    """Draw the features' error against rate times epochs, for starts of several sizes and rates.

    Parameters
    ----------
    table : DataFrame
        One row a run and an epoch: ``sigma``, ``rate``, ``epoch``, ``pca`` (a share).
    layout : "wide" or "narrow"
    end : float
        Rate times epochs where the paper's run ends.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.56, 0.95))
    sizes = list(table["sigma"].unique())
    rates = group_styles(table["rate"].unique())
    for colour, sigma in zip(COLOURS, sizes, strict=False):
        part = table[table["sigma"] == sigma]
        for rate, run in part[part["epoch"] > 0].groupby("rate", sort=False):
            ax.plot(run["rate"] * run["epoch"], 100 * run["pca"], color=colour, lw=1.1,
                    ls=rates[rate]["linestyle"], marker=rates[rate]["marker"], ms=3.2)  # fmt: skip
        if part["pca"].isna().all():
            continue  # every run from there diverged at once
        low = part.loc[part["pca"].idxmin()]
        ax.annotate(f"start $10^{{{np.log10(sigma):.0f}}}$",
                    (low["rate"] * low["epoch"], 100 * low["pca"]), xytext=(3, -6),
                    textcoords="offset points", color=colour, va="top", zorder=5,
                    path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
    for rate, look in rates.items():
        ax.plot([], [], color=INK, lw=1.1, ms=3.2, ls=look["linestyle"], marker=look["marker"],
                label=f"rate {rate:g}")  # fmt: skip
    ax.axhline(PAPER, color=INK, ls=":", lw=1.2, label="the paper's 0.2%")
    ax.axvline(end, color=INK, ls="-.", lw=0.9, label="the paper's end")
    ax.set_yscale("log")
    ax.set_xlabel("learning rate times epochs")
    ax.set_ylabel("what 3 components leave out, %")
    ax.margins(y=0.1)
    shared_legend(fig, layout)
    return fig


# --- Why it leaves ------------------------------------------------------------------------------


def blame(table: pd.DataFrame, layout: str) -> Figure:
    """Draw whose share the error is, by group of neurons and by digit, over the epochs.

    Parameters
    ----------
    table : DataFrame
        One row a run, an epoch and a class: ``epoch``, ``class``, ``neurons``, ``images``
        (shares).
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, 2, sharey=True, ratio=(0.72, 0.62))
    panels = (("neurons", "By group of neurons"), ("images", "By digit"))
    for ax, (column, title) in zip(axes, panels, strict=True):
        median_band(ax, table, "epoch", column, "class", band=(0, 1), label="digit {}")
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("share of the error")
    shared_legend(fig, layout, axes[:1])
    return fig


def patterns(table: pd.DataFrame, layout: str) -> Figure:
    """Draw the error after the activation patterns were frozen, against that of a free run.

    Parameters
    ----------
    table : DataFrame
        One row a run and an epoch: ``pattern``, ``epoch``, ``pca`` (a share).
    layout : "wide" or "narrow"
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.85))
    part = table.assign(pca=100 * table["pca"])
    median_band(ax, part, "epoch", "pca", "pattern", band=(0, 1), markers=True)
    _log(ax)
    ax.set_xlabel("epoch")
    ax.set_ylabel("what 3 components leave out, %")
    shared_legend(fig, layout)
    return fig


def _log(ax: Axes) -> None:
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
