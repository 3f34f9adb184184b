"""The figure of what late training needs: what it draws is what its table holds."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import late
from ncbook.figures.style import LAYOUTS

KINDS = ["1", "as drawn"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_needed_has_a_point_a_class_and_counts_digits(layout):
    index = pd.MultiIndex.from_product([["1°", "0.1°"], KINDS, [5.0, 50.0]])
    table = index.to_frame(index=False, name=["within", "samples", "R"])
    fig = late.needed(table, layout, marks={"here": 27.6})
    ax = fig.axes[0]
    points = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_marker() != ""]
    points = [line for line in points if line.get_linestyle() == "None"]
    assert len(points) == 4
    assert all(line.get_xdata().tolist() == [5.0, 50.0] for line in points)
    assert [text.get_text() for text in ax.get_yticklabels()] == KINDS
    (mark,) = [line for line in ax.lines if line.get_label() == "here"]
    assert mark.get_xdata()[0] == 27.6
    (above,) = ax.child_axes
    assert above._functions[0](np.log(10) * 42) == pytest.approx(42)
    assert above._functions[1](above._functions[0](7.0)) == pytest.approx(7)
