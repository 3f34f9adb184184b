"""The figure of the choices: what it draws is what its table holds."""

import numpy as np
import pandas as pd

from ncbook.figures import mnist_modulo as figures
from ncbook.figures.style import LAYOUTS, svg

RNG = np.random.default_rng(0)


def test_choices_have_a_row_each_with_the_floor_beside_nc1():
    names = ["as it was", "$p = 8$", "sigmoid"]
    table = pd.DataFrame(
        [
            {"choice": name, "seed": seed, **dict(zip(
                ("nc1", "unseen", "predicted", "nb", "error"), RNG.uniform(0.1, 0.9, 5),
                strict=True))}
            for name in names for seed in range(2)
        ]
    )  # fmt: skip
    panels = {"nc1": "NC1", "nb": "NB", "error": "error"}
    for layout in LAYOUTS:
        fig = figures.choices(table, layout, panels=panels)
        assert [ax.get_title() for ax in fig.axes] == list(panels.values())
        assert [text.get_text() for text in fig.axes[0].get_yticklabels()] == names
        drawn = [line.get_xdata().tolist() for line in fig.axes[0].lines]
        assert drawn == [table[name].tolist() for name in ("nc1", "unseen", "predicted")]
        assert fig.axes[0].lines[0].get_ydata().tolist() == [0, 0, -1, -1, -2, -2]
        assert len(fig.axes[1].lines) == 1  # the floor is NC1's alone
        assert fig.axes[2].get_xlim()[1] > table["error"].max()
        assert [t.get_text() for t in fig.legends[0].get_texts()][-1] == "predicted"
        svg(fig, prefix="x", alt="a figure of a test", layout=layout)
