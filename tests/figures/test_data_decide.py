"""The plane of signal and dimension: a cell has its number, a line its place."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import data_decide
from ncbook.figures.style import LAYOUTS

rows = [(rho, ratio) for rho in (1.0, 4.0, 16.0) for ratio in (1.0, 2.0)]
TABLE = pd.DataFrame(rows, columns=["rho", "ratio"])
TABLE = TABLE.assign(share=np.arange(6) / 5, error=[np.nan, 0.5] * 3, line=2 - TABLE["rho"] / 16)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cells_and_lines_stand_where_they_belong(layout):
    panels = {"share": "share", "error": "error"}
    fig = data_decide.plane(TABLE, layout, panels=panels, lines={"line": "the line"})
    for ax, name in zip(fig.axes, panels, strict=False):
        mesh = ax.collections[0]
        grid = TABLE.pivot(index="ratio", columns="rho", values=name).to_numpy()
        np.testing.assert_array_equal(np.ma.filled(mesh.get_array(), np.nan), grid)
        edges = mesh.get_coordinates()
        np.testing.assert_allclose(edges[0, :, 0], [0.5, 2, 8, 32])
        np.testing.assert_allclose(edges[:, 0, 1], [0.5, 1.5, 2.5])
        x, y = ax.lines[0].get_data()
        np.testing.assert_allclose(x, [1, 4, 16])
        np.testing.assert_allclose(y, [2 - 1 / 16, 1.75, 1])
