"""The plane of signal and dimension: which data let a shallow network collapse."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ncbook.figures.style import COLOURS, LINES, SEQUENTIAL, new_figure, shared_legend


def plane(
    table: pd.DataFrame, layout: str, *, panels: Mapping[str, str], lines: Mapping[str, str]
) -> Figure:
    """Draw numbers from 0 to 1 over the plane, a panel each, and lines through it.

    Parameters
    ----------
    table : DataFrame
        A row a cell: ``rho`` and ``ratio``, the axes, a column for each panel, where a cell without
        a number stays blank, and one for each line: its ``ratio`` at the cell's ``rho``.
    layout : "wide" or "narrow"
    panels, lines : mapping
        Columns and what they are called.
    """
    fig, axes = new_figure(layout, len(panels), ratio=(0.8, 0.72), sharey=True)
    for ax, (name, title) in zip(axes, panels.items(), strict=True):
        grid = table.pivot(index="ratio", columns="rho", values=name)
        edges = np.exp(_edges(np.log(grid.columns.to_numpy(dtype=float))))
        image = ax.pcolormesh(edges, _edges(grid.index.to_numpy(dtype=float)), grid.to_numpy(),
                              cmap=SEQUENTIAL, vmin=0, vmax=1, edgecolor="face")  # fmt: skip
        for k, (line, called) in enumerate(lines.items()):
            heights = table.groupby("rho")[line].first()
            ax.plot(heights.index, heights, color=COLOURS[k + 1], lw=2.4, linestyle=LINES[k],
                    label=called)  # fmt: skip
        ax.set(xscale="log", xlabel=r"signal $\rho$", title=title)
        ax.set(xlim=edges[[0, -1]], ylim=_edges(grid.index.to_numpy(dtype=float))[[0, -1]])
        ax.grid(False)
        if ax is axes[0] or layout == "narrow":
            ax.set_ylabel("dimension $d/n$")
        fig.colorbar(image, ax=ax)
    shared_legend(fig, layout, axes[:1])
    return fig


def _edges(middles: np.ndarray) -> np.ndarray:
    """Return the edges of cells about given middles, those at the ends as far out as inwards."""
    inner = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - inner[0]], inner, [2 * middles[-1] - inner[-1]]])
