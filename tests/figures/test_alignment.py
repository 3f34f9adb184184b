"""Figures of the alignment phase: what they draw is what they are given."""

import numpy as np
import pandas as pd
import pytest
import torch

from ncbook.figures import Scene, alignment
from ncbook.figures.scene import from_origin
from ncbook.figures.style import LAYOUTS, svg


def test_neurons_have_their_direction_and_the_logarithm_of_their_norm():
    vectors = torch.tensor([[[1e-6, 0.0, 0.0], [0.0, 1.0, 1e-30]]], dtype=torch.float64)
    groups, dead = torch.tensor([[0, 1, 1]]), torch.tensor([[False, False, True]])
    scene = Scene(["w"], dimensions=2)
    alignment.add_neurons(scene, 0, vectors, groups, dead)
    points = scene.table[scene.table["kind"] == "points"].set_index("name")[["x", "y"]]
    assert points.loc["neurons of class 0"].tolist() == pytest.approx([0.4, 0])
    assert points.loc["neurons of class 1"].tolist() == pytest.approx([0, 1])
    assert points.loc["dead neurons"].tolist() == pytest.approx([0, 0.15])


def test_a_neuron_that_dies_changes_its_kind():
    vectors = torch.ones(2, 2, 1, dtype=torch.float64)
    dead = torch.tensor([[False], [True]])
    scene = Scene(["w"], [0, 1], dimensions=2)
    alignment.add_neurons(scene, 0, vectors, torch.zeros(2, 1, dtype=torch.long), dead)
    points = scene.table[scene.table["kind"] == "points"]
    shown = points.dropna()[["name", "frame"]].to_numpy().tolist()
    assert shown == [["neurons of class 0", 0], ["dead neurons", 1]]


def test_strokes_begin_at_the_origin():
    strokes = from_origin([[1.0, 2.0], [3.0, 4.0]])
    assert strokes[[0, 3]].tolist() == [[0, 0], [0, 0]] and np.isnan(strokes[[2, 5]]).all()
    assert strokes[[1, 4]].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("angles", "want"),
    [
        ((0, 10), (100, 270)),
        ((-20, 20, 350), (110, 250)),
        ((0, 120, 240), None),
        ((90,), (180, 360)),
    ],
)
def test_the_dead_sector_sees_no_sample(angles, want):
    found = alignment.dead_sector(angles)
    if want is None:
        assert found is None
        return
    begin, end = (angle % 360 for angle in found)
    assert (begin, end or 360) == pytest.approx(want)
    inside = np.linspace(found[0], found[1], 9)
    assert (np.cos(np.radians(inside[:, None] - np.array(angles))) < 1e-9).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_ring_has_a_piece_for_each_fate(layout):
    alive, dies, dead = alignment.FATES
    table = pd.DataFrame({"sign": "v > 0", "start": [45.0, 135, 225, 315],
                          "end": [90.0, 90, 180, 315],
                          "fate": [alive, alive, dies, dead]})  # fmt: skip
    samples = pd.DataFrame({"class": [0, 1], "x": [0.0, 0.0], "y": [1.0, -1.0]})
    fig = alignment.ring(table, layout, samples=samples)
    (ax,) = fig.axes
    pieces = [(patch.theta1 % 360, patch.theta2 - patch.theta1) for patch in ax.patches[:3]]
    assert pieces == [(0, 180), (180, 90), (270, 90)]
    arrows = [text for text in ax.texts if text.arrow_patch is not None]
    assert len(arrows) == 3  # not of the one that stays
    assert svg(fig, prefix="r", alt="a ring", layout=layout).startswith("<svg")
