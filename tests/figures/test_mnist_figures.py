"""The figures of MNIST in a two-layer network: what they draw is what their tables hold."""

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import mnist
from ncbook.figures.style import LAYOUTS, svg

RNG = np.random.default_rng(0)
PSEUDO = np.sqrt(1.5) * (np.eye(3) - 1 / 3)


def test_correlations_are_ordered_by_class_and_symmetric():
    x = RNG.normal(size=(7, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = np.array([2, 0, 1, 0, 2, 1, 0])
    table = mnist.correlation_rows(x @ x.T, labels)
    assert len(table) == 7 * 8 // 2
    order = np.argsort(labels, kind="stable")
    for layout in LAYOUTS:
        ax, _ = mnist.correlations(table, layout).axes
        (image,) = ax.images
        drawn = np.asarray(image.get_array())
        np.testing.assert_allclose(drawn, (x @ x.T)[np.ix_(order, order)], atol=5.1e-3)
        assert not np.allclose(drawn, x @ x.T, atol=0.1)  # control: the order as it was
        assert [line.get_ydata()[0] for line in ax.lines[::2]] == [2.5, 4.5]
        assert [text.get_text() for text in ax.get_xticklabels()] == [
            "digit 0", "digit 1", "digit 2"]  # fmt: skip


def test_the_plane_keeps_lengths_and_angles():
    V = RNG.normal(size=(3, 9))
    table = mnist.neuron_rows(V, PSEUDO, ["4", "5", "6"])
    found = table[table["kind"] == "neuron"][["x", "y"]].to_numpy()
    flat = V - V.mean(0)
    np.testing.assert_allclose(found @ found.T, flat.T @ flat, atol=1e-12)
    arrows = table[table["kind"] == "direction"]
    gram = arrows[["x", "y"]].to_numpy() @ arrows[["x", "y"]].to_numpy().T
    np.testing.assert_allclose(gram, 1.5 * np.eye(3) - 0.5, atol=1e-12)
    assert arrows[["x", "y"]].iloc[0].tolist() == pytest.approx([1, 0])
    # Every neuron is named after the direction that it is nearest to.
    nearest = (found @ arrows[["x", "y"]].to_numpy().T).argmax(1)
    assert table[table["kind"] == "neuron"]["class"].tolist() == ["456"[k] for k in nearest]
    for layout in LAYOUTS:
        (ax,) = mnist.neurons(table, layout).axes
        drawn = {line.get_label(): line for line in ax.lines if line.get_linestyle() == "None"}
        assert sum(len(line.get_xdata()) for line in drawn.values()) == 9
        count = (nearest == 1).sum()
        assert len(drawn[f"group of 5: {count} neurons"].get_xdata()) == count


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


def test_the_cloud_lies_in_its_three_main_directions():
    basis = np.linalg.qr(RNG.normal(size=(8, 3)))[0]
    values = (RNG.normal(size=(30, 3)) * [5, 3, 1]) @ basis.T
    labels = np.arange(30) % 3
    weights = RNG.normal(size=(3, 3)) @ basis.T
    table = mnist.cloud_rows(values, labels, "abc", 12, weights)
    points = table[table["kind"] == mnist.POINTS]
    assert points["class"].tolist() == ["abc"[k] for k in labels[:12]]
    xyz = points[["x", "y", "z"]].to_numpy()
    # All is in three dimensions here: the projection keeps every product.
    np.testing.assert_allclose(xyz @ xyz.T, values[:12] @ values[:12].T, atol=0.05)
    arms = table[table["kind"] == mnist.WEIGHTS][["x", "y", "z"]].to_numpy()
    cosine = xyz @ arms.T / np.outer(*(np.linalg.norm(v, axis=1) for v in (xyz, arms)))
    true = values[:12] @ weights.T
    true /= np.outer(*(np.linalg.norm(v, axis=1) for v in (values[:12], weights)))
    np.testing.assert_allclose(cosine, true, atol=0.01)
    assert np.linalg.norm(arms, axis=1).max() == pytest.approx(
        np.linalg.norm(xyz, axis=1).max(), abs=0.01
    )
    spread = np.square(values @ basis).sum(0)
    assert (np.square(xyz).sum(0)[0] > np.square(xyz).sum(0)[2]) == (spread[0] > spread[2])
    fig = mnist.cloud(table)
    assert [trace.name for trace in fig.data if trace.mode == "markers"] == [
        "digit a", "digit b", "digit c"]  # fmt: skip
    assert sum(len(trace.x) for trace in fig.data if trace.mode == "markers") == 12
    assert sum(trace.mode == "lines+text" for trace in fig.data) == 3
    bare = mnist.cloud(mnist.cloud_rows(values, labels, "abc", 12))
    assert len(bare.data) == 3


def runs(columns, epochs=(0, 1, 2, 4), seeds=3):
    index = pd.MultiIndex.from_product([range(seeds), epochs], names=["seed", "epoch"])
    return pd.DataFrame(
        {name: RNG.uniform(0.001, 0.5, len(index)) for name in columns}, index=index
    ).reset_index()


def test_the_course_has_medians_in_per_cent_where_it_says_so():
    table = runs([name for _, columns in mnist.COURSE for name in columns])
    shown = table[table["epoch"] > 0].groupby("epoch")
    for layout in LAYOUTS:
        axes = mnist.course(table, layout).axes
        for ax, (title, columns) in zip(axes, mnist.COURSE, strict=True):
            factor = 100 if "%" in title else 1
            for line, name in zip(ax.lines, columns, strict=False):
                np.testing.assert_allclose(line.get_ydata(), factor * shown[name].median())
        assert axes[0].lines[-1].get_ydata()[0] == mnist.PAPER


def passage_table():
    """Errors exp(-t) down and up again, at a time of rate times epochs."""
    rows = []
    for sigma, floor in ((1e-2, 1.0), (1e-3, 0.02)):
        for rate in (0.1, 0.2):
            for epoch in range(0, 40):
                time = rate * epoch
                error = floor * np.exp(abs(time - 1.0) * 4)
                rows.append((sigma, rate, epoch, error / 100))
    return pd.DataFrame(rows, columns=["sigma", "rate", "epoch", "pca"])


def test_windows_are_where_the_error_is_at_most_the_papers():
    found = mnist.windows(passage_table(), ["sigma", "rate"]).set_index(["sigma", "rate"])
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
    cut = mnist.windows(table[inside], ["sigma", "rate"])
    small = cut[cut["sigma"] == 1e-3]
    assert small["leaves"].isna().all()
    assert (small["enters"] * small["rate"]).tolist() == pytest.approx([0.9, 1.0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_passage_has_a_line_a_run(layout):
    table = passage_table()
    (ax,) = mnist.passage(table, layout, end=5.0).axes
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 4
    part = table[(table["sigma"] == 1e-3) & (table["rate"] == 0.2) & (table["epoch"] > 0)]
    np.testing.assert_allclose(lines[3].get_xdata(), 0.2 * part["epoch"])
    np.testing.assert_allclose(lines[3].get_ydata(), 100 * part["pca"])
    diverged = table["pca"].where(table["sigma"] < 1e-2)
    (ax,) = mnist.passage(table.assign(pca=diverged), layout, end=5.0).axes
    assert [text.get_text() for text in ax.texts] == ["start $10^{-3}$"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blame_and_patterns_draw_medians(layout):
    table = pd.concat([runs(["neurons", "images"]).assign(**{"class": k}) for k in "012"])
    left, right = mnist.blame(table, layout).axes
    for ax, column in ((left, "neurons"), (right, "images")):
        want = table[table["class"] == "2"].groupby("epoch")[column].median()
        np.testing.assert_allclose(ax.lines[2].get_ydata(), want)
    table = pd.concat([runs(["pca"]).assign(pattern=name) for name in ("free", "one")])
    (ax,) = mnist.patterns(table, layout).axes
    want = table[table["pattern"] == "one"].groupby("epoch")["pca"].median()
    np.testing.assert_allclose(ax.lines[1].get_ydata(), 100 * want)
