"""Figures of chapter 1: what they draw is what their tables say."""

import json

import numpy as np
import pandas as pd
import pytest

from ncbook.figures import emergence
from ncbook.figures.style import LAYOUTS, settings

EPOCHS = [0, 1, 3, 10, 30]
CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = {name for _, columns, _ in emergence.PANELS for name in columns}
    names |= set(emergence.DEFINITIONS) | {"ratio"}
    table = pd.MultiIndex.from_product(
        [["normalised", "plain"], [0, 1, 2], EPOCHS], names=["network", "seed", "epoch"]
    ).to_frame(index=False)
    for name in sorted(names):
        table[name] = np.exp(rng.normal(size=len(table)))
    table["error"] = np.where(table["epoch"] >= 10, 0.0, 0.1)
    table.loc[(table["seed"] == 1) & (table["epoch"] == 3), "error"] = 0.0
    table["nc4.train"] = table["error"]
    return table


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    """Five epochs of 5 classes in R^8: noise, then a simplex with less and less noise."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 6)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    noise = rng.normal(size=(len(EPOCHS), len(labels), 8))
    scales = np.array([0, 1, 2, 3, 7.0])[:, None, None]
    noise[-1] = 0
    return 5 + scales * basis[labels] + noise / (1 + scales) ** 2, labels


# --- The simplex --------------------------------------------------------------------------------


def test_tetrahedron_draws_each_vector_and_each_edge():
    table = pd.DataFrame(CORNERS, columns=["x", "y", "z"])
    table.insert(0, "vector", list("abcd"))
    fig = emergence.tetrahedron(table)
    edges, *arrows, names = fig.data
    assert len(arrows) == 4
    for arrow, row in zip(arrows, table.itertuples(index=False), strict=True):
        assert (arrow.x[0], arrow.y[0], arrow.z[0]) == (0, 0, 0)
        np.testing.assert_allclose([arrow.x[1], arrow.y[1], arrow.z[1]], row[1:], rtol=1e-3)
        assert arrow.name == row.vector
    assert len({arrow.marker.symbol for arrow in arrows}) == 4
    assert len({arrow.line.color for arrow in arrows}) == 4
    assert edges.x.count(None) == 6  # one gap after each of the six edges
    assert list(names.text) == list("abcd")


# --- Measures over training ---------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_collapse_draws_the_medians_of_every_column(runs, layout):
    table = runs[runs["network"] == "normalised"]
    fig = emergence.collapse(table, layout)
    assert len(fig.axes) == len(emergence.PANELS)
    for ax, (_, columns, _) in zip(fig.axes, emergence.PANELS, strict=True):
        lines = [line for line in ax.lines if len(line.get_xdata()) > 2]
        assert len(lines) == len(columns)
        for line, name in zip(lines, columns, strict=True):
            expected = table[table["epoch"] > 0].groupby("epoch")[name].median()
            np.testing.assert_array_equal(line.get_xdata(), expected.index)
            np.testing.assert_allclose(line.get_ydata(), expected)
        assert len(ax.collections) == len(columns)  # one band each


def test_terminal_phase_begins_at_the_median_first_epoch_without_error(runs):
    table = runs[runs["network"] == "plain"]
    assert emergence.terminal_phase(table) == 10
    assert emergence.terminal_phase(table[table["seed"] == 1]) == 3
    never = table.assign(error=0.1)
    assert np.isnan(emergence.terminal_phase(never))
    assert not emergence.collapse(never, "wide").axes[0].patches  # nothing is shaded
    assert emergence.collapse(table, "wide").axes[0].patches


@pytest.mark.parametrize("layout", LAYOUTS)
def test_definitions_draws_each_network_and_the_quotient(runs, layout):
    fig = emergence.definitions(runs, layout, limit=0.9)
    *panels, last = fig.axes
    assert len(panels) == 2
    for ax, network in zip(panels, ("normalised", "plain"), strict=True):
        part = runs[(runs["network"] == network) & (runs["epoch"] > 0)]
        assert len(ax.lines) == 3
        for line, name in zip(ax.lines, emergence.DEFINITIONS, strict=True):
            np.testing.assert_allclose(line.get_ydata(), part.groupby("epoch")[name].median())
    assert [line.get_label() for line in last.lines] == ["normalised", "plain", "simplex, at most"]
    part = runs[(runs["network"] == "plain") & (runs["epoch"] > 0)]
    np.testing.assert_allclose(last.lines[1].get_ydata(), part.groupby("epoch")["ratio"].median())
    assert set(last.lines[2].get_ydata()) == {0.9}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_measures_that_are_never_finite_have_their_panels(runs, layout):
    nothing = runs.assign(ratio=np.nan, loss=np.nan)
    with settings():
        *_, last = emergence.definitions(nothing, layout, limit=0.9).axes
        assert last.get_yscale() == "log"
        assert "Loss" in [ax.get_title() for ax in emergence.collapse(nothing, layout).axes]


def test_endpoints_takes_the_first_epoch_without_error_and_the_last(runs):
    summary = emergence.endpoints(runs, {"nc1.papyan": "NC1", "nc3.papyan": "NC3"})
    assert list(summary.index) == ["NC1", "NC3"]
    part = runs[runs["network"] == "plain"]
    last = part[part["epoch"] == 30]["nc1.papyan"]
    assert summary.loc["NC1", ("plain", "at the end")] == (
        f"{last.median():.2g} ({last.min():.2g} to {last.max():.2g})"
    )
    first = pd.concat(
        [
            part[(part["seed"] == 1) & (part["epoch"] == 3)],
            part[(part["seed"] != 1) & (part["epoch"] == 10)],
        ]
    )["nc3.papyan"]
    assert summary.loc["NC3", ("plain", "at error 0")].startswith(f"{first.median():.2g} (")
    never = emergence.endpoints(runs.assign(error=0.1), {"nc1.papyan": "NC1"})
    assert never.loc["NC1", ("plain", "at error 0")] == "never"


# --- Features over training ---------------------------------------------------------------------


def test_projected_is_an_isometry_up_to_its_scale(features):
    values, labels = features
    table = emergence.projected(values, labels, EPOCHS, [0, 1, 2, 4], points=6)
    assert list(table.columns) == ["epoch", "class", "example", "x", "y", "z"]
    assert len(table) == len(EPOCHS) * 4 * 7
    for time, (_, part) in enumerate(table.groupby("epoch")):
        means = part[part["example"] == -1][["x", "y", "z"]].to_numpy()
        assert np.square(means).sum(-1).mean() == pytest.approx(1)
        true = np.stack([values[time, labels == k].mean(0) for k in (0, 1, 2, 4)])
        true = true - true.mean(0)
        gram = true @ true.T / np.square(true).sum(-1).mean()
        np.testing.assert_allclose(means @ means.T, gram, atol=1e-12)
        # Projected points of a class keep their mean.
        inside = part[part["example"] >= 0].groupby("class")[["x", "y", "z"]].mean()
        np.testing.assert_allclose(inside, means, atol=1e-12)


def test_projected_lies_at_the_corners_of_a_collapsed_simplex(features):
    values, labels = features
    table = emergence.projected(values, labels, EPOCHS, [0, 1, 2, 4], points=6)
    end = table[table["epoch"] == 30]
    for corner, (_, part) in zip(CORNERS, end.groupby("class"), strict=True):
        np.testing.assert_allclose(part[["x", "y", "z"]], np.tile(corner, (7, 1)), atol=1e-12)
    begin = table[table["epoch"] == 0]
    assert np.abs(begin[["x", "y", "z"]].to_numpy()).max() > 1.5  # control: noise is elsewhere


@pytest.mark.parametrize(
    ("classes", "points"), [([0, 1, 2], 3), ([0, 1, 2, 2], 3), ([0, 1, 2, 3], 7)]
)
def test_projected_refuses_what_it_cannot_show(features, classes, points):
    with pytest.raises(ValueError, match="expected four different classes"):
        emergence.projected(*features, EPOCHS, classes, points)


def test_scrub_has_a_step_an_epoch_and_shows_the_last(features):
    table = emergence.projected(*features, EPOCHS, [0, 1, 2, 4], points=5)
    fig = emergence.scrub(table)
    (slider,) = fig.layout.sliders
    assert [step.label for step in slider.steps] == [str(epoch) for epoch in EPOCHS]
    assert slider.active == len(EPOCHS) - 1
    assert slider.currentvalue.prefix == "epoch "
    assert len(fig.data) == 1 + 2 * 4
    assert [trace.name for trace in fig.data if trace.showlegend is None] == ["0", "1", "2", "4"]
    for epoch, step in zip(EPOCHS, slider.steps, strict=True):
        moved, traces = step.args
        assert list(traces) == list(range(1, 9))
        for index, k in enumerate((0, 1, 2, 4)):
            part = table[(table["epoch"] == epoch) & (table["class"] == k)]
            for axis in "xyz":
                points, mean = moved[axis][2 * index], moved[axis][2 * index + 1]
                np.testing.assert_allclose(points, part[part["example"] >= 0][axis], rtol=1e-3)
                np.testing.assert_allclose(mean[1], part[part["example"] < 0][axis], rtol=1e-3)
    # What is drawn at first is the last step.
    assert list(fig.data[1].x) == list(slider.steps[-1].args[0]["x"][0])


def test_scrub_of_the_chapters_size_is_small(features):
    rng = np.random.default_rng(2)
    values, labels = rng.normal(size=(24, 120, 16)), np.repeat(np.arange(4), 30)
    table = emergence.projected(values, labels, range(24), [0, 1, 2, 3], points=25)
    assert len(json.dumps(emergence.scrub(table).to_plotly_json())) < 200_000
