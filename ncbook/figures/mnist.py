"""Three digits in a two-layer network: the panels of Figure 3, and why features leave their rays.

Source: Min, Zhu and Vidal (2025), Figure 3; the figures behind it are this book's.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from ncbook.figures.style import (
    COLOURS,
    INK,
    SIGNED,
    WIDTHS,
    group_styles,
    new_figure,
    shared_legend,
)

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
    fig, (ax,) = new_figure(layout, 1, ratio=(0.68, 0.98))
    ax.imshow(matrix, cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
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
    for value, name in ((1.0, "cosine 1"), (-1.0, "cosine -1")):
        ax.plot([], [], color=SIGNED((value + 1) / 2), ls="none", marker="s", label=name)
    shared_legend(fig, layout)
    return fig


# --- Panel (b) ----------------------------------------------------------------------------------


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
        ax.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        ax.spines[:].set(visible=True, alpha=0.4)
        if i == 0:
            ax.set_title(columns[j])
        if j == 0:
            ax.set_ylabel(rows[i])
        if notes and (rows[i], columns[j]) in notes:
            ax.set_xlabel(notes[rows[i], columns[j]])
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
        One row a run and an epoch: ``start``, ``rate``, ``epoch``, ``pca`` (a share).
    layout : "wide" or "narrow"
    end : float
        Rate times epochs where the paper's run ends.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.56, 0.95))
    sizes = list(table["start"].unique())
    rates = group_styles(table["rate"].unique())
    for colour, start in zip(COLOURS, sizes, strict=False):
        part = table[table["start"] == start]
        for rate, run in part[part["epoch"] > 0].groupby("rate", sort=False):
            ax.plot(run["rate"] * run["epoch"], 100 * run["pca"], color=colour, lw=1.1,
                    ls=rates[rate]["linestyle"], marker=rates[rate]["marker"], ms=3.2)  # fmt: skip
        if part["pca"].isna().all():
            continue  # every run from there diverged at once
        low = part.loc[part["pca"].idxmin()]
        ax.annotate(f"start $10^{{{np.log10(start):.0f}}}$",
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
