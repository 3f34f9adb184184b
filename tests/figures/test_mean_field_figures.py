"""The figures of the mean-field chapters: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import mean_field
from ncbook.figures.style import LAYOUTS, svg


def grid(function, **axes) -> pd.DataFrame:
    """A table of one value a combination of the axes."""
    table = pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)
    return table.assign(**{k: [f(*row) for row in table.itertuples(index=False)]
                           for k, f in function.items()})  # fmt: skip


def drawn(draw, *args, layout: str, **kwargs):
    fig = draw(*args, layout, **kwargs)
    svg(fig, prefix="f", alt="a b c", layout=layout)
    return fig


@pytest.mark.parametrize("layout", LAYOUTS)
def test_particles_shows_classes_samples_and_the_law(layout):
    x = np.linspace(-2, 2, 5)
    law = pd.DataFrame({"x": np.repeat(x, 5), "y": np.tile(x, 5)})
    law["value"] = np.exp(-((law["x"] - 1) ** 2) - law["y"] ** 2)
    points = pd.DataFrame({"class": [0, 1, 1], "x": [0.1, 0.2, 0.3], "y": [1.0, 2.0, 3.0]})
    sample = pd.DataFrame({"class": [0], "x": [0.5], "y": [-0.5]})
    parts = [
        rows.assign(panel=panel, kind=kind)
        for panel in ("start", "end")
        for kind, rows in (("particle", points), ("sample", sample))
    ]
    table = pd.concat([*parts, law.assign(panel="end", kind="law")], ignore_index=True)
    fig = drawn(mean_field.particles, table, layout=layout, reach=3.0)
    start, end = fig.axes
    offsets = {c.get_label(): c.get_offsets().tolist() for c in start.collections}
    assert offsets["speaks for class 1"] == [[0.2, 2.0], [0.3, 3.0]]
    assert offsets["samples $x_i$"] == [[0.5, -0.5]]
    # The contours go round the law's top, at (1, 0), not round its mirror image.
    inner = end.collections[-1].get_paths()[-1].vertices
    assert inner.mean(0) == pytest.approx([1, 0], abs=0.2)
    assert len(start.collections) == 3 and len(end.collections) == 4
    assert start.get_xlim() == (-3, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_matrices_shows_every_number_in_its_place(layout):
    values = np.array([[1.0, -0.004], [0.25, -2.0]])
    table = grid({"value": lambda i, j: values[i, j]}, row=range(2), column=range(2))
    fig = drawn(
        mean_field.matrices,
        pd.concat([table.assign(matrix="A"), table.assign(matrix="B", value=0.5)]),
        layout=layout,
    )
    first, second = fig.axes
    texts = {text.get_position(): text.get_text() for text in first.texts}
    assert texts == {(0, 0): "1.00", (1, 0): "0.00", (0, 1): "0.25", (1, 1): "-2.00"}
    # One scale for all: a colour fades with its number into the page, red above zero, blue below.
    colours = np.asarray(first.images[0].get_array())
    assert colours[..., 3] == pytest.approx(0.4 * np.abs(values))
    assert colours[0, 0, 0] > colours[0, 0, 2] and colours[1, 1, 0] < colours[1, 1, 2]
    assert np.asarray(second.images[0].get_array())[..., 3] == pytest.approx(0.2)
    assert second.get_title() == "B"
