"""Pictures of nearly stationary points: features beside the forms that they come to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncbook.figures.style import (
    COLOURS,
    INK,
    MARKERS,
    new_figure,
    shared_legend,
)


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
