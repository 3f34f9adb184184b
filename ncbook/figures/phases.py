"""A phase diagram of solutions over classes and layers: how many dimensions the cheapest keeps."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import INK, SEQUENTIAL, new_figure

PALE, DARK = "#fafafa", "#141414"  # on a cell; black and white themselves take the page's colours


def ranks(table: pd.DataFrame, layout: str) -> Figure:
    """Draw a cell for each number of classes and layers, coloured by cost, with its rank in it.

    A cell whose solution has full rank has no colour, and says NC.

    Parameters
    ----------
    table : DataFrame
        A row a cell: ``classes``, ``layers``, ``rank``, ``kappa``, the cost over that of neural
        collapse, at most 1.
    layout : str
        As of :func:`ncbook.figures.style.new_figure`.
    """
    fig, (ax,) = new_figure(layout, 1, ratio=(0.5, 0.95))
    scale = mpl.colors.Normalize(min(table["kappa"].min(), 0.99), 1)
    colours = mpl.colormaps[SEQUENTIAL]
    small = 8 if layout == "wide" else 6.5
    for row in table.itertuples():
        full = row.rank == row.classes
        place = (row.classes - 0.5, row.layers - 0.5)
        ground = "none" if full else colours(scale(row.kappa))
        ax.add_patch(mpl.patches.Rectangle(place, 1, 1, facecolor=ground, edgecolor=INK, lw=0.4))
        ink = INK if full else (DARK if scale(row.kappa) > 0.5 else PALE)
        ax.text(row.classes, row.layers, "NC" if full else str(row.rank), color=ink,
                ha="center", va="center", fontsize=small)  # fmt: skip
    classes, layers = (sorted(set(table[name])) for name in ("classes", "layers"))
    ax.set(xlim=(classes[0] - 0.5, classes[-1] + 0.5), ylim=(layers[0] - 0.5, layers[-1] + 0.5),
           xticks=classes, yticks=layers, xlabel="classes $K$", ylabel="layers $L$")  # fmt: skip
    ax.grid(False)
    bar = fig.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=ax, pad=0.02,
                       location="right" if layout == "wide" else "bottom")  # fmt: skip
    bar.set_label(r"cost over that of collapse, $\kappa$")
    return fig
