"""Collapse as it emerges in training: the simplex, the measures over time, the features."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ncbook.figures.style import (
    COLOURS,
    GREY,
    LINES,
    median_band,
    new_figure,
    shared_legend,
    slider,
)

# Those that plotly draws filled in 3-D, with factors that make them look equally large.
SYMBOLS = ("circle", "square", "diamond", "cross")
SIZES = (1.0, 0.9, 1.0, 1.7)

MEANS, WEIGHTS = "class means", "classifiers"

# Panels of the measures over training: title, columns of the table with their names, and the
# smallest step where 0 can occur.
PANELS = (
    ("Error rate", {"error": "training", "error.test": "test"}, True),
    ("Loss", {"loss": None}, False),
    ("NC1: within over between", {"nc1.papyan": None}, False),
    ("NC3: classifiers off means", {"nc3.papyan": None}, False),
    ("NC2: unequal lengths", {"nc2.equinorm.means": MEANS, "nc2.equinorm.weights": WEIGHTS}, False),
    (
        "NC2: unequal angles",
        {"nc2.equiangularity.means": MEANS, "nc2.equiangularity.weights": WEIGHTS},
        False,
    ),
    (
        "NC2: angles off the largest",
        {"nc2.max-angle.means": MEANS, "nc2.max-angle.weights": WEIGHTS},
        False,
    ),
    ("NC4: decisions that differ", {"nc4.train": "training", "nc4.test": "test"}, True),
)

DEFINITIONS = {
    "nc1.papyan": "Papyan, Han, Donoho",
    "nc1.min-zhu-vidal": "Min, Zhu, Vidal",
    "nc1.wu-mondelli": "Wu, Mondelli",
}


def tetrahedron(table: pd.DataFrame) -> go.Figure:
    """Draw up to four vectors of R^3 from the origin, with the edges between their ends.

    Parameters
    ----------
    table : DataFrame
        Columns ``vector`` (its name), ``x``, ``y``, ``z``.
    """
    points = table[["x", "y", "z"]].to_numpy()
    fig = go.Figure(_edges(points))
    for index, (name, point) in enumerate(zip(table["vector"], points, strict=True)):
        x, y, z = _rounded(np.stack([np.zeros(3), point]).T)
        fig.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="lines+markers",
            line={"color": COLOURS[index], "width": 7},
            marker={
                "color": COLOURS[index],
                "size": [0, 8 * SIZES[index]],
                "symbol": SYMBOLS[index],
            },
            name=str(name),
            hovertemplate="%{x:.3f}, %{y:.3f}, %{z:.3f}<extra>%{fullData.name}</extra>",
            showlegend=False,
        )
    x, y, z = _rounded(1.22 * points.T)
    fig.add_scatter3d(
        x=x,
        y=y,
        z=z,
        mode="text",
        text=table["vector"].tolist(),
        textposition="middle center",
        textfont={"color": GREY, "size": 14},
        hoverinfo="skip",
        showlegend=False,
    )
    scene = _scene(1.35, (1.05, -1.1, 0.5), 1.35)
    scene["camera"]["center"] = {"x": 0, "y": 0, "z": -0.15}  # the middle of corners and origin
    fig.update_layout(scene=scene, height=340)
    return fig


def collapse(table: pd.DataFrame, layout: str) -> Figure:
    """Draw errors and NC1 to NC4 over training: the median of the runs and their whole range.

    Parameters
    ----------
    table : DataFrame
        One row a run and an epoch: ``seed``, ``epoch`` and the columns named in ``PANELS``.
    layout : "wide" or "narrow"
    """
    fig, axes = new_figure(layout, len(PANELS), columns=2, ratio=(0.5, 0.62))
    shown = table[table["epoch"] > 0]
    begins = terminal_phase(table)
    for ax, (title, columns, has_zero) in zip(axes, PANELS, strict=True):
        _lines(ax, shown, columns)
        _log_epochs(ax, shown)
        _log_values(ax, shown[list(columns)].to_numpy(), has_zero)
        if np.isfinite(begins):
            ax.axvspan(begins, shown["epoch"].max(), color=GREY, alpha=0.12, linewidth=0)
        ax.set_title(title)
        if len(columns) > 1:
            ax.legend(loc="upper right" if has_zero else "lower left", handlelength=2)
    return fig


def terminal_phase(table: pd.DataFrame) -> float:
    """Return the median, over the runs that reach it, of the first epoch with training error 0.

    NaN if none does.

    Parameters
    ----------
    table : DataFrame
        Columns ``seed``, ``epoch``, ``error``.
    """
    return float(table[table["error"] == 0].groupby("seed")["epoch"].min().median())


def definitions(table: pd.DataFrame, layout: str, limit: float) -> Figure:
    """Draw NC1 as three papers define it, for each network, and the ratio of two of them.

    Parameters
    ----------
    table : DataFrame
        One row a network, run and epoch: ``network``, ``seed``, ``epoch``, the columns named in
        ``DEFINITIONS``, and ``ratio``.
    layout : "wide" or "narrow"
    limit : float
        The greatest ratio that class means at a simplex allow.
    """
    networks = list(table["network"].unique())
    fig, axes = new_figure(layout, len(networks) + 1, columns=3, ratio=(1.05, 0.72))
    shown = table[table["epoch"] > 0]
    for ax, name in zip(axes, networks, strict=False):
        _lines(ax, shown[shown["network"] == name], DEFINITIONS)
        _log_epochs(ax, shown)
        _log_values(ax, shown[list(DEFINITIONS)].to_numpy(), False)
        ax.set_title(f"NC1, {name} network")
    last = axes[-1]
    for index, name in enumerate(networks):
        median_band(last, shown[shown["network"] == name], "epoch", "ratio", band=(0, 1))
        # Colours of their own: these lines are networks, not definitions.
        line, band = last.lines[-1], last.collections[-1]
        line.set(color=COLOURS[3 + index], linestyle=LINES[index], label=name)
        band.set_facecolor(COLOURS[3 + index])
    last.axhline(limit, color=GREY, linewidth=1.2, linestyle=":", label="simplex, at most")
    _log_epochs(last, shown)
    _log_values(last, shown["ratio"].to_numpy(), False)
    low, high = last.get_ylim()
    last.set_ylim(low, high * 1.9)  # room for the legend
    last.set_title("First over second")
    last.legend(loc="upper right")
    shared_legend(fig, layout, axes[:1])
    return fig


def projected(
    features: np.ndarray,
    labels: np.ndarray,
    epochs: Sequence[int],
    classes: Sequence[int],
    points: int,
) -> pd.DataFrame:
    """Return the features of four classes, seen in the space of the four class means, over time.

    At each epoch the features, less the mean of the four class means, are projected isometrically
    to R^3 such that the class means come as close as they can to the corners of a regular
    tetrahedron (the polar factor of the product of the two, as in the orthogonal Procrustes
    problem). Then all are divided by the root mean square length of the four centred means, so
    that at collapse the means lie at the corners. The projection hides what is orthogonal to the
    class means.

    Parameters
    ----------
    features : ndarray
        ``(T, n, D)``, D >= 3: one run.
    labels : ndarray
        ``(n,)``.
    epochs : sequence of int
        T of them.
    classes : sequence of int
        Four classes.
    points : int
        How many examples of each class to return, the first ones.

    Returns
    -------
    DataFrame
        Columns ``epoch``, ``class``, ``example`` (0, 1, ..., or -1 for the class mean), ``x``,
        ``y``, ``z``.

    Raises
    ------
    ValueError
        There are not four different classes, or one has fewer examples than ``points``.
    """
    classes = list(classes)
    counts = [int((labels == k).sum()) for k in classes]
    if len(set(classes)) != 4 or min(counts) < max(points, 1):
        raise ValueError(
            f"classes = {classes} with {counts} examples, points = {points}: expected four "
            "different classes with at least that many examples each."
        )
    means = np.stack([features[:, labels == k].mean(1) for k in classes], 1)  # (T, 4, D)
    centre = means.mean(1, keepdims=True)
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    left, _, right = np.linalg.svd((means - centre).swapaxes(1, 2) @ corners, full_matrices=False)
    length = np.sqrt(np.square(means - centre).sum(-1).mean(-1))[:, None, None]
    isometry = left @ right / length  # (T, D, 3)
    rows = []
    for position, k in enumerate(classes):
        members = features[:, labels == k][:, :points]
        group = np.concatenate([means[:, position : position + 1], members], 1)
        places = (group - centre) @ isometry  # (T, 1 + points, 3)
        examples = np.arange(-1, points)
        for epoch, place in zip(epochs, places, strict=True):
            x, y, z = place.T
            rows.append({"epoch": epoch, "class": k, "example": examples, "x": x, "y": y, "z": z})
    table = pd.concat([pd.DataFrame(row) for row in rows], ignore_index=True)
    return table.sort_values(["epoch", "class", "example"], ignore_index=True)


def scrub(table: pd.DataFrame) -> go.Figure:
    """Draw the table of :func:`projected` with a slider over the epochs; it can be turned.

    Classes differ in colour and symbol; class means are large, with a line from the centre.
    The edges of the regular tetrahedron stay where they are.
    """
    epochs = list(table["epoch"].unique())
    classes = list(table["class"].unique())
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    fig = go.Figure(_edges(corners))
    frames = [_frame(part) for _, part in table.groupby("epoch", sort=False)]
    for index, k in enumerate(classes):
        look = {"color": COLOURS[index], "symbol": SYMBOLS[index]}
        (x, y, z), (mx, my, mz) = frames[-1][2 * index], frames[-1][2 * index + 1]
        fig.add_scatter3d(
            x=x,
            y=y,
            z=z,
            mode="markers",
            marker={"size": 4 * SIZES[index], "opacity": 0.75, **look},
            name=str(k),
            legendgroup=str(k),
            hoverinfo="name",
        )
        fig.add_scatter3d(
            x=mx,
            y=my,
            z=mz,
            mode="lines+markers",
            line={"color": COLOURS[index], "width": 5},
            marker={"size": [0, 9 * SIZES[index]], **look},
            name=f"mean of {k}",
            legendgroup=str(k),
            showlegend=False,
            hoverinfo="name",
        )
    traces = list(range(1, 1 + 2 * len(classes)))  # 0 is the tetrahedron
    steps = [
        {
            "label": str(epoch),
            "method": "restyle",
            "args": [{axis: [trace[i] for trace in frame] for i, axis in enumerate("xyz")}, traces],
        }
        for epoch, frame in zip(epochs, frames, strict=True)
    ]
    reach = float(np.abs(table.loc[table["example"] >= 0, ["x", "y", "z"]].to_numpy()).max())
    fig.update_layout(
        scene=_scene(min(reach, 1.8), (1.1, 0.75, 0.5), 1.45),
        sliders=[slider(steps, len(steps) - 1, "epoch ")],
        height=520,
        legend={
            "title": {"text": "digit ", "side": "left"},
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": 1.02,
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
    )
    return fig


def endpoints(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Return a table in words: each measure where the terminal phase begins and at the end.

    Parameters
    ----------
    table : DataFrame
        One row a network, run and epoch: ``network``, ``seed``, ``epoch``, ``error`` and the
        measures.
    names : mapping
        The measures' columns and how to call them.

    Returns
    -------
    DataFrame
        A row a measure, two columns a network; "median (least to greatest)" over the runs that
        reach error 0, or "never", and over all of them at the end.
    """
    columns = {}
    for network, part in table.groupby("network", sort=False):
        ordered = part.sort_values("epoch")
        for when, rows in (
            ("at error 0", ordered[ordered["error"] == 0].groupby("seed").first()),
            ("at the end", ordered.groupby("seed").last()),
        ):
            columns[network, when] = [
                f"{v.median():.2g} ({v.min():.2g} to {v.max():.2g})" if len(v) else "never"
                for v in (rows[name] for name in names)
            ]
    return pd.DataFrame(columns, index=pd.Index(names.values(), name="measure"))


def _frame(part: pd.DataFrame) -> list[list[list[float]]]:
    """Return, for each class, the points and the stroke from the centre to the mean."""
    traces = []
    for _, group in part.groupby("class", sort=False):
        places = group[["x", "y", "z"]].to_numpy()
        mean, members = places[group["example"] < 0], places[group["example"] >= 0]
        traces.append(_rounded(members.T))
        traces.append(_rounded(np.concatenate([np.zeros((1, 3)), mean]).T))
    return traces


def _edges(points: np.ndarray) -> go.Scatter3d:
    """Return the edges between all points as one thin grey line."""
    gap = np.full((1, 3), np.nan)
    strokes = np.concatenate([[a, b, gap[0]] for a, b in combinations(points, 2)])
    x, y, z = ([None if np.isnan(v) else v for v in axis] for axis in _rounded(strokes.T))
    return go.Scatter3d(
        x=x, y=y, z=z, mode="lines", line={"color": GREY, "width": 2}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip


def _scene(reach: float, eye: tuple[float, float, float], size: float) -> dict:
    """Return a scene without axes (the coordinates mean nothing) that keeps a reader's view."""
    axis = {"visible": False, "range": [-reach, reach]}
    return {
        "xaxis": axis,
        "yaxis": axis,
        "zaxis": axis,
        "aspectmode": "manual",
        # Larger than plotly's cube of side 1, which leaves half of the picture empty.
        "aspectratio": {"x": size, "y": size, "z": size},
        "uirevision": "constant",
        "camera": {"eye": dict(zip("xyz", eye, strict=True))},
        "dragmode": "orbit",
    }


def _rounded(values: np.ndarray) -> list:
    """Return nested lists of numbers with four significant digits, which keep the page small."""
    if values.ndim > 1:
        return [_rounded(part) for part in values]
    return [float(f"{v:.4g}") for v in values]


def _lines(ax: Axes, table: pd.DataFrame, columns: Mapping[str, str | None]) -> None:
    """Draw the median and the whole range of some columns, each as a line with its name."""
    long = table.melt(["epoch"], list(columns), "measure")
    median_band(ax, long, "epoch", "value", "measure", band=(0, 1), label=columns.get)


def _log_epochs(ax: Axes, table: pd.DataFrame) -> None:
    ax.set_xscale("log")
    ax.set_xlim(table["epoch"].min(), table["epoch"].max())
    ax.xaxis.set_major_formatter(_PLAIN)
    ax.set_xlabel("epoch")


def _log_values(ax: Axes, values: np.ndarray, has_zero: bool) -> None:
    """Set a logarithmic scale, below the smallest value continued linearly where 0 occurs."""
    values = values[values > 0]
    if not len(values):  # all zero, or none is finite
        ax.set_yscale("log")
        return
    smallest, largest = values.min(), values.max()
    if has_zero:
        ax.set_yscale("symlog", linthresh=smallest, linscale=0.4)
        ax.set_yticks([0, *(t for t in 10.0 ** np.arange(-5, 1) if smallest < t <= largest)])
        ax.set_ylim(-0.2 * smallest, 1.3 * largest)
    else:
        ax.set_yscale("log")
        # Few decades need more than their powers of ten as ticks.
        steps = (1,) if largest > 300 * smallest else (1, 3)
        ax.yaxis.set_major_locator(LogLocator(subs=steps))
        ax.set_ylim(smallest / 1.3, largest * 1.3)
    ax.yaxis.set_major_formatter(_PLAIN)
    ax.yaxis.set_minor_locator(NullLocator())


_PLAIN = FuncFormatter(lambda value, _: f"{value:g}")
