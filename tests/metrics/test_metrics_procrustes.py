"""Distance of features up to a turn of their space."""

import math

import pytest
import torch

from ncbook import metrics


def random(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def test_a_turn_or_a_mirror_costs_nothing():
    H = random(4, 3, 7)
    Q = torch.linalg.qr(random(4, 3, 3, seed=1)).Q
    assert metrics.procrustes_distance(Q @ H, H) == pytest.approx(torch.zeros(4), abs=1e-12)
    assert float(torch.linalg.matrix_norm(Q @ H - H).min()) > 0.5


def test_no_turn_is_better():
    H, G = random(2, 9), random(2, 9, seed=1)
    turns = []
    for k in range(720):
        c, s = math.cos(math.pi * k / 360), math.sin(math.pi * k / 360)
        for mirror in (1, -1):
            R = torch.tensor([[c, -s], [s, c]]) @ torch.diag(torch.tensor([1.0, mirror]))
            turns.append(float(torch.linalg.matrix_norm(R.double() @ H - G)))
    found = float(metrics.procrustes_distance(H, G))
    assert found <= min(turns) and found == pytest.approx(min(turns), rel=1e-4)


def test_other_lengths_cannot_be_turned_away():
    H = random(3, 5)
    distance = metrics.procrustes_distance(2 * H, H)
    assert float(distance) == pytest.approx(float(torch.linalg.matrix_norm(H)))


def test_leading_dimensions_broadcast_and_a_bad_run_is_nan_alone():
    H = random(2, 3, 3, 5)
    H[0, 1, 0, 0] = torch.nan
    distance = metrics.procrustes_distance(H, H[1:, :1])
    assert distance.shape == (2, 3)
    assert distance.isnan().tolist() == [[False, True, False], [False, False, False]]
    assert float(distance[1, 0]) == pytest.approx(0, abs=1e-12)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="the same p and n"):
        metrics.procrustes_distance(random(3, 5), random(3, 4))
