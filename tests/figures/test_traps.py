"""The figure of wrong measurements: what has a place on its axis, and what stands at its edge."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import deep
from ncbook.figures.style import LAYOUTS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_traps_puts_what_is_far_off_at_the_edge_with_its_value(layout):
    table = pd.DataFrame({
        "trap": ["one", "one", "two"], "way": ["a", "b", "c"],
        "papyan": [1.5, 0.004, -2e8], "min-zhu-vidal": [0.8, 0.001, np.nan],
    })  # fmt: skip
    (ax,) = deep.traps(table, layout).axes
    marks = {
        (line.get_marker(), *line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 1
    }
    low, high = deep.REACH
    assert marks == {("o", 1.5), ("s", 0.8), ("<", low), (">", high)}
    words = {text.get_text() for text in ax.texts}
    assert words >= {"one", "two", "0.004, 0.001", "−2·10⁸"}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # read from above
