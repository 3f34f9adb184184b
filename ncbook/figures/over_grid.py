"""What the claims of a chapter measure over a grid of its parameters."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pandas.api.types import is_numeric_dtype

from ncbook.figures.panels import plain_ticks
from ncbook.figures.style import INK, group_styles, new_figure, shared_legend

WIDE_SPREAD = 30  # values on an axis that spread by more are shown on a logarithmic one


def measured(table: pd.DataFrame, layout: str, *, axes: Sequence[str]) -> Figure:
    """Draw the measured value of each claim over the first parameter, with what is expected.

    A bar goes from the least to the greatest run; the band is where the claim holds.

    Parameters
    ----------
    table : DataFrame
        A column for each parameter, and ``name`` of the claim, ``value``, ``min`` and ``max``, and
        ``low`` and ``high``, between which it holds.
    layout : "wide" or "narrow"
    axes : sequence of str
        The parameters that vary: the first is the horizontal axis, the others tell the groups
        apart.
    """
    first, *others = axes
    names = list(dict.fromkeys(table["name"]))
    groups = [", ".join(f"{name} = {row[name]}" for name in others) for _, row in table.iterrows()]
    style = group_styles(groups)
    fig, panels = new_figure(layout, len(names))
    for ax, name in zip(panels, names, strict=True):
        for group, look in style.items():
            rows = table[(table["name"] == name) & (np.array(groups) == group)]
            rows = rows.sort_values(first) if is_numeric_dtype(rows[first]) else rows
            away = [rows["value"] - rows["min"], rows["max"] - rows["value"]]
            ax.errorbar(rows[first], rows["value"], yerr=away, **look, capsize=2, label=group)
        of_claim = table[table["name"] == name]
        if _spread(table[first]):
            ax.set_xscale("log")
        if _spread(of_claim[["min", "max"]].stack()):
            ax.set_yscale("log")
        bottom, top = ax.get_ylim()
        low, high = max(of_claim["low"].iloc[0], bottom), min(of_claim["high"].iloc[0], top)
        if low < high:
            ax.axhspan(low, high, color=INK, alpha=0.08, lw=0)
        ax.set(title=name, xlabel=first)
        plain_ticks(ax)
    if others:
        shared_legend(fig, layout)
    return fig


def _spread(values: pd.Series) -> bool:
    """Whether values are positive numbers that spread over more than a linear axis shows."""
    if not is_numeric_dtype(values):
        return False
    finite = values[np.isfinite(values)]
    return len(finite) > 0 and finite.min() > 0 and finite.max() > WIDE_SPREAD * finite.min()
