"""Figures of chapter 1 of Part III: what they draw is what their tables say."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import rays
from ncbook.figures.style import LAYOUTS


@pytest.fixture(scope="module")
def vectors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rays on the axes at different lengths, and their lengths less the mean as classifier."""
    labels = torch.arange(3).repeat_interleave(4)
    lengths = torch.linspace(1, 3, 12, dtype=torch.float64)
    features = lengths[:, None] * torch.eye(3, dtype=torch.float64)[labels]
    return features, labels, 5 * (torch.eye(3, dtype=torch.float64) - 1 / 3)


@pytest.fixture(scope="module")
def table(vectors) -> pd.DataFrame:
    features, labels, rows = vectors
    return rays.picture_rows(
        {
            "points": (torch.eye(3)[labels], labels, rows),
            "rays": (features, labels, rows),
            "normalised": (torch.eye(3)[labels], labels, rows),
        }
    )


def test_picture_rows_keep_directions_and_proportions(table, vectors):
    features, labels, rows = (values.numpy() for values in vectors)
    assert len(table) == 3 * (12 + 3)
    part = table[(table["panel"] == "rays") & (table["kind"] == "feature")]
    np.testing.assert_allclose(part[["x", "y", "z"]], features / 3)
    np.testing.assert_array_equal(part["class"], labels)
    part = table[(table["panel"] == "rays") & (table["kind"] == "classifier")]
    drawn = part[["x", "y", "z"]].to_numpy()
    assert np.linalg.norm(drawn, axis=1).max() == pytest.approx(rays.ROW)
    np.testing.assert_allclose(drawn / drawn[0, 0], rows / rows[0, 0])


def test_on_axes_turns_a_simplex_onto_the_centred_axes():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    labels = torch.arange(3).repeat_interleave(2)
    simplex = np.eye(3) - 1 / 3
    features = torch.from_numpy(7 * simplex @ turn)[labels]
    turned, rows = rays.on_axes(features, labels, torch.from_numpy(simplex @ turn))
    np.testing.assert_allclose(turned, 7 * simplex[labels], atol=1e-12)
    np.testing.assert_allclose(rows, simplex, atol=1e-12)
    # Control: lengths and angles are those of any data, simplex or not.
    other = torch.from_numpy(rng.normal(size=(6, 3)))
    turned, _ = rays.on_axes(other, labels, other[:3])
    np.testing.assert_allclose(turned @ turned.T, other @ other.T, atol=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_picture_draws_each_feature_and_each_row(table, layout):
    fig = rays.picture(table, layout)
    assert [ax.get_title() for ax in fig.axes] == ["points", "rays", "normalised"]
    right, up = rays._screen()
    assert abs(right @ up) < 1e-12 and right @ right == pytest.approx(1)
    for ax, (_, part) in zip(fig.axes, table.groupby("panel", sort=False), strict=True):
        drawn = [line for line in ax.lines if line.get_label().startswith("class ")]
        assert len(drawn) == 3
        for line, (_, rows) in zip(drawn, part.groupby("class"), strict=True):
            points = rows.loc[rows["kind"] == "feature", ["x", "y", "z"]].to_numpy()
            np.testing.assert_allclose(line.get_xdata(), points @ right)
            np.testing.assert_allclose(line.get_ydata(), points @ up)
        assert len({line.get_marker() for line in drawn}) == 3
        assert len([x for x in ax.lines if x.get_label().startswith("classifier")]) == 3


def test_turnable_has_two_scenes_and_a_button_a_panel(table):
    fig = rays.turnable(table)
    scenes = {trace.scene for trace in fig.data}
    assert scenes == {"scene", "scene2"}
    (menu,) = fig.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["rays", "normalised"]
    half = len(fig.data) // 2
    for button in menu.buttons:
        moved, title, which = button.args
        assert list(which) == list(range(half, 2 * half))
        assert title == {"annotations[1].text": button.label}
        part = table[(table["panel"] == button.label) & (table["kind"] == "feature")]
        for k, index in enumerate((2, 5, 8)):
            points = part[part["class"] == k]
            for axis in "xyz":
                np.testing.assert_allclose(moved[axis][index], points[axis], atol=1e-4)
    for scene in (fig.layout.scene, fig.layout.scene2):  # nothing is cut off
        for axis in "xyz":
            low, high = scene[f"{axis}axis"].range
            assert low < table[axis].min() and max(table[axis].max(), rays.AXIS) < high
    shown = [trace.name for trace in fig.data if trace.showlegend]
    assert shown == [f"{what} {k}" for k in range(3) for what in ("class", "classifier")]
    assert len(json.dumps(fig.to_plotly_json(), default=str)) < 100_000


@pytest.mark.parametrize("layout", LAYOUTS)
def test_directions_draws_medians_and_slopes(layout):
    grid = pd.MultiIndex.from_product(
        [[1e-2, 1e-3], range(3), [0.0, 1.0, 10.0, 100.0, 1000.0]], names=["eps", "seed", "R"]
    )
    table = grid.to_frame(index=False)
    table["angle"] = table["eps"] * (1 + table["seed"]) / np.sqrt(1 + table["R"])
    left, right = rays.directions(table, layout).axes
    np.testing.assert_allclose(
        left.lines[0].get_ydata(), 2e-2 / np.sqrt(1 + np.array([1, 10, 100, 1000]))
    )
    x, y = left.lines[-1].get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(-0.5)
    assert [line.get_label() for line in right.lines] == ["R = 1", "R = 100", "R = 1000", "slope 1"]
    x, y = right.lines[-1].get_data()
    assert np.diff(np.log(y)) / np.diff(np.log(x)) == pytest.approx(1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lengths_draws_every_sample_at_its_level(layout):
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "R": np.repeat([1.0, 100.0], 6),
            "class": np.tile([0, 0, 1, 1, 2, 2], 2),
            "predicted": rng.uniform(0.5, 1.5, 12),
            "length": rng.uniform(0.5, 1.5, 12),
        }
    )
    fig = rays.lengths(table, layout)
    assert [ax.get_title() for ax in fig.axes] == ["R = 1", "R = 100"]
    for ax, (_, part) in zip(fig.axes, table.groupby("R"), strict=True):
        drawn = [line for line in ax.lines if line.get_label().startswith("class")]
        for line, (_, rows) in zip(drawn, part.groupby("class"), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), rows["predicted"])
            np.testing.assert_array_equal(line.get_ydata(), rows["length"])
