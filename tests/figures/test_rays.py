"""Figures of chapter 1 of Part III: what they draw is what they are given."""

import numpy as np
import pytest
import torch

from ncbook.figures import Scene, rays


def test_a_shape_keeps_directions_and_proportions():
    labels = np.arange(3).repeat(4)
    lengths = np.linspace(1, 3, 12)
    features = lengths[:, None] * np.eye(3)[labels]
    rows = 5 * (np.eye(3) - 1 / 3)
    scene = Scene(["points", "rays"], ["as they are", "normalised"])
    rays.add_shape(scene, 0, np.eye(3)[labels], labels, rows)
    rays.add_shape(scene, 1, np.stack([features, 7 * np.eye(3)[labels]]), labels, rows)
    table = scene.table
    part = table[(table["panel"] == "rays") & (table["kind"] == "points")]
    for frame, wanted in (("as they are", features / 3), ("normalised", np.eye(3)[labels])):
        drawn = part[part["frame"] == frame]
        np.testing.assert_allclose(drawn[["x", "y", "z"]], wanted)
        assert list(drawn["name"]) == [f"features of class {k}" for k in labels]
    words = table[(table["panel"] == "rays") & (table["kind"] == "words")]
    drawn = words[["x", "y", "z"]].to_numpy() / 1.12
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
