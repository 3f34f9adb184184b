"""The figures of MNIST in a two-layer network: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import mnist
from ncbook.figures.style import LAYOUTS, svg

RNG = np.random.default_rng(0)


def test_correlations_are_ordered_by_class_and_symmetric():
    x = RNG.normal(size=(7, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.array([2, 0, 1, 0, 2, 1, 0])
    table = mnist.correlation_rows(x @ x.T, labels)
    assert len(table) == 7 * 8 // 2
    order = np.argsort(labels, kind="stable")
    for layout in LAYOUTS:
        (ax,) = mnist.correlations(table, layout).axes
        (image,) = ax.images
        drawn = np.asarray(image.get_array())
        np.testing.assert_allclose(drawn, (x @ x.T)[np.ix_(order, order)], atol=5.1e-3)
        assert not np.allclose(drawn, x @ x.T, atol=0.1)  # control: the order as it was
        assert [line.get_ydata()[0] for line in ax.lines[:4:2]] == [2.5, 4.5]
        assert [text.get_text() for text in ax.get_xticklabels()] == [
            "digit 0", "digit 1", "digit 2"]  # fmt: skip


def test_tiles_show_the_pictures():
    images = RNG.normal(size=(2, 3, 12))
    table = mnist.tile_rows(images, (3, 4), ["mean", "weights"], ["0", "1", "2"])
    for layout in LAYOUTS:
        fig = mnist.tiles(table, layout, notes={("weights", "2"): "cosine .9"})
        assert len(fig.axes) == 6
        for index, ax in enumerate(fig.axes):
            picture = images[index // 3, index % 3]
            np.testing.assert_allclose(ax.images[0].get_array(), picture.reshape(3, 4))
            low, high = ax.images[0].get_clim()
            assert high == -low == np.abs(picture).max()
        assert fig.axes[5].get_xlabel() == "cosine .9" and fig.axes[4].get_xlabel() == ""
        assert "<image" in svg(fig, prefix="tiles", alt="six pictures shown", layout=layout)


def passage_table():
    """Errors exp(-t) down and up again, at a time of rate times epochs."""
    rows = []
    for start, floor in ((1e-2, 1.0), (1e-3, 0.02)):
        for rate in (0.1, 0.2):
            for epoch in range(0, 40):
                time = rate * epoch
                error = floor * np.exp(abs(time - 1.0) * 4)
                rows.append((start, rate, epoch, error / 100))
    return pd.DataFrame(rows, columns=["start", "rate", "epoch", "pca"])


def test_windows_are_where_the_error_is_at_most_the_papers():
    found = mnist.windows(passage_table(), ["start", "rate"]).set_index(["start", "rate"])
    for rate in (0.1, 0.2):
        assert found.loc[(1e-2, rate), ["enters", "leaves"]].isna().all()
        reach = np.log(mnist.PAPER / 0.02) / 4  # in rate times epochs, around 1
        row = found.loc[1e-3, rate]
        assert row["enters"] * rate == pytest.approx(1 - reach, abs=1e-9)
        assert row["leaves"] * rate == pytest.approx(1 + reach, abs=1e-9)
        assert row["least"] == pytest.approx(0.02)
    # Cut off before it leaves, and from the start on below.
    table = passage_table()
    inside = (table["epoch"] * table["rate"]).between(0.9, 1.3)
    cut = mnist.windows(table[inside], ["start", "rate"])
    small = cut[cut["start"] == 1e-3]
    assert small["leaves"].isna().all()
    assert (small["enters"] * small["rate"]).tolist() == pytest.approx([0.9, 1.0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_passage_has_a_line_a_run(layout):
    table = passage_table()
    (ax,) = mnist.passage(table, layout, end=5.0).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 4
    part = table[(table["start"] == 1e-3) & (table["rate"] == 0.2) & (table["epoch"] > 0)]
    np.testing.assert_allclose(lines[3].get_xdata(), 0.2 * part["epoch"])
    np.testing.assert_allclose(lines[3].get_ydata(), 100 * part["pca"])
    diverged = table["pca"].where(table["start"] < 1e-2)
    (ax,) = mnist.passage(table.assign(pca=diverged), layout, end=5.0).axes
    assert [text.get_text() for text in ax.texts] == ["start $10^{-3}$"]
