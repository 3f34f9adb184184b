"""Pictures of the mean-field network: its particles in the plane, and matrices as numbers."""

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ncbook.figures.style import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    new_figure,
    shared_legend,
)


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


def matrices(table: pd.DataFrame, layout: str) -> Figure:
    """Draw square matrices as images, and their numbers: red above zero, blue below.

    A colour fades with its number into the page, whatever the page's colour is.

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
        values = part.pivot(index="row", columns="column", values="value").to_numpy()
        colours = np.where(
            values > 0, *(np.array(to_rgb(COLOURS[k]))[:, None, None] for k in (1, 0))
        )
        ax.imshow(np.dstack([*colours, 0.8 * np.abs(values) / top]))
        for (i, j), value in np.ndenumerate(values):
            number = f"{round(value, 2) + 0.0:.2f}"
            ax.text(j, i, number, ha="center", va="center", fontsize=6, color=INK)
        ax.set(xticks=[], yticks=[], title=name)
        ax.grid(False)
        ax.spines[:].set(visible=True, linewidth=0.6)
    return fig
