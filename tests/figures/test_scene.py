"""Scenes: where places stand on the panel, what is before what, what the script is given."""

import json

import numpy as np
import pytest

from ncbook.figures import Scene
from ncbook.figures.scene import HALF, SIZE, as_json, projected

MIDDLE = SIZE / 2


@pytest.mark.parametrize(
    ("view", "place", "seen"),
    [
        # From the end of the x axis y points right and z up.
        ((0, 0), [0, 1, 0], (MIDDLE + HALF, MIDDLE, 0)),
        ((0, 0), [0, 0, 1], (MIDDLE, MIDDLE - HALF, 0)),
        ((0, 0), [1, 0, 0], (MIDDLE, MIDDLE, 1)),
        # From the end of the y axis x points left.
        ((90, 0), [1, 0, 0], (MIDDLE - HALF, MIDDLE, 0)),
        # From above.
        ((0, 90), [0, 0, 1], (MIDDLE, MIDDLE, 1)),
        ((0, 90), [1, 0, 0], (MIDDLE, MIDDLE + HALF, 0)),
    ],
)
def test_an_eye_sees_the_axes_where_they_are(view, place, seen):
    assert projected([place], view, 3)[0] == pytest.approx(seen, abs=1e-9)


def test_turning_keeps_lengths(seed=0):
    places = np.random.default_rng(seed).normal(size=(9, 3))
    x, y, depth = projected(places, (33.0, -21.0), 3).T
    back = np.stack([(x - MIDDLE) / HALF, (MIDDLE - y) / HALF, depth], -1)
    assert np.linalg.norm(back, axis=-1) == pytest.approx(np.linalg.norm(places, axis=-1))


def test_the_plane_is_seen_as_it_is():
    assert projected([[1, 0.5]], (40, 40), 2)[0] == pytest.approx(
        (MIDDLE + HALF, MIDDLE - HALF / 2, 0)
    )


def test_the_still_has_each_mark_once_the_nearest_last():
    scene = Scene(view=(0, 0)).points([[-1, 0, 0], [1, 0.2, 0]], "near and far", 0)
    still = scene.still("x")
    assert still.count("<circle") == 2
    first, last = still.split("<circle")[1:]
    assert 'cx="200.0"' in first
    assert 'cx="2' in last


def test_a_stroke_is_parted_where_it_has_a_gap():
    gap = [np.nan] * 2
    scene = Scene(dimensions=2).strokes([[0, 0], [1, 0], gap, [0, 1], [1, 1], [1, 0]], "two")
    assert scene.still("x").count("<path") == 2


def test_frames_move_what_has_them_and_the_rest_stays():
    scene = Scene(frames=[0, 10], frame_name="epoch", dimensions=2, begin=1)
    scene.points([[[1, 0]], [[0, 1]]], "moves").points([[0.5, 0.5]], "stays")
    table = scene.table
    assert table[table["name"] == "moves"][["frame", "x", "y"]].values.tolist() == [
        [0, 1, 0],
        [10, 0, 1],
    ]
    assert len(table[table["name"] == "stays"]) == 1
    data = json.loads(as_json(scene))
    assert data["frames"] == ["0", "10"]
    assert data["panels"][0]["layers"][0]["places"] == [[[1, 0]], [[0, 1]]]
    assert f'cy="{MIDDLE - HALF:.1f}"' in scene.still("x")  # the second frame


def test_words_cannot_end_the_script_element():
    scene = Scene(dimensions=2).words([[0, 0]], ["</script><b>"])
    assert "</script>" not in as_json(scene)
    assert json.loads(as_json(scene))["panels"][0]["layers"][0]["words"] == ["</script><b>"]
    assert "&lt;/script&gt;" in scene.still("x")


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 4, 3)])
def test_places_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"have shape .*; expected \(n, 3\) or \(3, n, 3\)"):
        Scene(frames=range(3)).points(np.zeros(shape), "a")


@pytest.mark.parametrize(("panels", "dimensions"), [((), 3), (("a",), 4)])
def test_a_scene_has_panels_and_two_or_three_dimensions(panels, dimensions):
    with pytest.raises(ValueError, match="expected at least one panel, and 2 or 3"):
        Scene(panels, dimensions=dimensions)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_place_that_is_not_finite_is_nowhere_and_moves_no_other(bad):
    places = np.array([[1.0, 0.0], [0.5, bad], [0.0, 1.0]])
    scene = Scene(dimensions=2).points(np.full((1, 2), np.nan), "lost").points(places, "seen")
    scene.words([[0.0, bad]], ["lost"])
    drawn = scene.still("a")
    assert drawn.count("<circle") == 2 and "nan" not in drawn
    assert drawn.count(">lost<") == 1, "in the legend alone"
    assert scene.data()["panels"][0]["layers"][1]["places"][0] == [[1, 0], [None, None], [0, 1]]


@pytest.mark.parametrize("begin", [-1, 2])
def test_a_frame_that_is_not_there_cannot_come_first(begin):
    with pytest.raises(ValueError, match=f"begins at frame {begin}, and it has 2 frames"):
        Scene(frames=[0, 1], begin=begin)
