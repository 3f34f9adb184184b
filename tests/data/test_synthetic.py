"""Orthogonally separable data: the margins, norms and support vectors asked for, and what cannot be
asked for."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from ncbook.data.cosine_margins import cosine_margins
from ncbook.data.synthetic import Labelled, augment, orthogonally_separable, plane_sectors
from ncbook.frames import simplex_etf
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
ROUND = 1e-12

few = settings(max_examples=60)


def max_margin(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The max-margin direction of points and their weights: the least point of their hull.

    Least squares of (X^T a, 1 - sum a) over a >= 0 has that point's direction.
    """
    weights, _ = nnls(np.vstack([X.T, np.ones(len(X))]), np.append(np.zeros(X.shape[1]), 1.0))
    direction = X.T @ weights
    return direction / np.linalg.norm(direction), weights / weights.sum()


# --- The bounds ---------------------------------------------------------------------------------


@few
@given(st.integers(2, 6), st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32))
def test_no_data_exceed_either_bound(K, D, per_class, seed):
    X = torch.randn(K * per_class, D, generator=generator(seed), dtype=torch.float64)
    y = torch.arange(K).repeat_interleave(per_class)
    measured = cosine_margins(X, y)
    assert measured.mu_d <= 1 / (K - 1) + ROUND
    # Two points of each class, at any cosines: the bound of the module with their mean.
    unit = X / X.norm(dim=1, keepdim=True)
    firsts, lasts = unit[::per_class], unit[per_class - 1 :: per_class]
    cosine = (firsts * lasts).sum(1).mean()
    assert measured.mu_d <= (1 + cosine) / (2 * (K - 1)) + ROUND


@pytest.mark.parametrize("K", [2, 3, 4, 5, 8])
def test_both_bounds_are_attained(K):
    rays = orthogonally_separable(RUN, [0, 1], K, K - 1, 3, mu_d=1 / (K - 1), norms=(0.5, 2))
    measured = cosine_margins(rays.X, rays.y)
    assert (measured.mu_d - 1 / (K - 1)).abs().max() < 1e-14
    assert (measured.mu_s - 1).abs().max() < 1e-14
    # Two points a class at the cosine 0.4, in private coordinates.
    bound = 1.4 / (2 * (K - 1))
    pairs = orthogonally_separable(RUN, [0, 1], K, 2 * K - 1, 2, mu_s=0.4, mu_d=bound)
    measured = cosine_margins(pairs.X, pairs.y)
    assert (measured.mu_d - bound).abs().max() < 1e-14
    assert (measured.mu_s - 0.4).abs().max() < 1e-14


# --- What is asked for is what comes ------------------------------------------------------------


@st.composite
def requests(draw) -> dict:
    """Requests, most of which can be met."""
    K = draw(st.integers(2, 5))
    D = draw(st.integers(K - 1, 3 * K + 2))
    per_class = draw(st.integers(3, 8))
    low = draw(st.floats(0.1, 2))
    return {
        "K": K,
        "D": D,
        "per_class": per_class,
        "mu_s": draw(st.none() | st.floats(0.05, 1)),
        "mu_d": draw(st.none() | st.floats(0.01, 1).map(lambda share: share / (K - 1))),
        "norms": (low, low * draw(st.floats(1, 3))),
        "support": draw(st.none() | st.integers(1, 4)),
    }


@settings(few, max_examples=150)
@given(requests(), st.integers(0, 2**32))
def test_margins_norms_and_support_vectors_are_as_asked(request, seed):
    try:
        data = orthogonally_separable(RUN, [seed, seed + 1], **request)
    except ValueError:
        assume(False)
    K, D, n = request["K"], request["D"], request["per_class"]
    low, high = request["norms"]
    measured = cosine_margins(data.X, data.y)
    assert (data.K, data.D, data.n) == (K, D, K * n)
    assert data.X.shape == (2, K * n, D) and data.X.dtype == torch.float64
    assert data.y.tolist() == [k for k in range(K) for _ in range(n)]
    assert measured.holds.all()
    if request["mu_s"] is not None:
        assert (measured.mu_s >= request["mu_s"] - ROUND).all()
        # Every class attains it, not just the data.
        for k in range(K):
            unit = data.X[:, data.y == k] / data.X[:, data.y == k].norm(dim=-1, keepdim=True)
            least = (unit @ unit.mT).amin((-2, -1))
            assert (least - request["mu_s"]).abs().max() < ROUND
    if request["mu_d"] is not None:
        assert (measured.mu_d >= request["mu_d"] - ROUND).all()
    assert (measured.X_min >= low * (1 - ROUND)).all()
    assert (measured.X_max <= high * (1 + ROUND)).all()
    # Control: with two points of different classes exchanged, nothing is separable.
    y = data.y.clone()
    y[[0, -1]] = y[[-1, 0]]
    assert not cosine_margins(data.X, y).holds.any()


@pytest.mark.parametrize(
    ("K", "D", "support", "norms"),
    [
        (2, 1, 1, (1, 2)),
        (2, 2, 1, (0.5, 3)),
        (2, 2, 2, (1, 1)),
        (2, 4, 4, (1, 1.5)),
        (3, 2, 2, (1, 1)),
        (3, 6, 1, (1, 2)),
        (3, 6, 2, (1, 2)),
        (3, 12, 3, (1, 1)),
        (4, 20, 5, (2, 2)),
    ],
)
def test_each_class_has_the_support_vectors_asked_for(K, D, support, norms):
    data = orthogonally_separable(RUN, range(5), K, D, 8, norms=norms, support=support)
    axes = simplex_etf(K, D).numpy()
    for X in data.X.numpy():
        for k in range(K):
            points = X[data.y.numpy() == k]
            heights = points @ axes[k]
            # At the margin: the first ones, and they alone.
            at = np.isclose(heights, heights.min(), rtol=1e-12)
            assert at.tolist() == [i < support for i in range(8)]
            # An independent solver finds the same direction and the same points, all needed.
            direction, weights = max_margin(points)
            assert direction @ axes[k] == pytest.approx(1, abs=1e-12)
            assert (weights > 1e-8).tolist() == at.tolist()
            assert np.linalg.matrix_rank(points[:support], tol=1e-6) == support
            assert np.linalg.norm(points[:support], axis=1) == pytest.approx(norms[0], rel=1e-12)


def test_without_a_number_the_axis_is_not_the_max_margin_direction():
    """Control of the test above: the data decide, and mostly otherwise."""
    data = orthogonally_separable(RUN, [0], 3, 6, 8, norms=(1, 2))
    direction, _ = max_margin(data.X[0, :8].numpy())
    assert direction @ simplex_etf(3, 6)[0].numpy() < 1 - 1e-4


def test_support_vectors_have_weights_of_their_own():
    """Else quantities that depend on them would vanish by symmetry."""
    data = orthogonally_separable(RUN, [0], 2, 4, 6, support=3)
    _, weights = max_margin(data.X[0, :6].numpy())
    assert np.ptp(weights[:3]) > 0.01


# --- Seeds --------------------------------------------------------------------------------------


def test_a_seed_has_its_data_whatever_the_others():
    one = orthogonally_separable(RUN, [7], 3, 5, 4, norms=(1, 2), support=2)
    many = orthogonally_separable(RUN, [3, 7, 8], 3, 5, 4, norms=(1, 2), support=2)
    assert torch.equal(one.X[0], many.X[1])
    assert not torch.equal(many.X[0], many.X[1])


def test_the_runs_dtype_is_taken():
    single = Runtime(torch.device("cpu"), torch.float32, 1)
    data = orthogonally_separable(single, [0], 2, 3, 4)
    assert data.X.dtype == torch.float32 and data.y.dtype == torch.int64


# --- What cannot be had -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"K": 1}, "expected K >= 2"),
        ({"D": 1}, "expected K >= 2 and D >= K - 1"),
        ({"per_class": 0}, "at least one of each"),
        ({"seeds": []}, "0 seeds: expected at least one"),
        ({"norms": (0.0, 1.0)}, "expected .low, high. with 0 < low <= high"),
        ({"norms": (2.0, 1.0)}, "expected .low, high. with 0 < low <= high"),
        ({"norms": (1.0, math.inf)}, "expected .low, high. with 0 < low <= high"),
        ({"norms": (1.0, math.nan)}, "expected .low, high. with 0 < low <= high"),
        ({"mu_s": 0.0}, "expected 0 < mu_s <= 1, because it is a cosine"),
        ({"mu_s": 1.01}, "expected 0 < mu_s <= 1, because it is a cosine"),
        ({"mu_s": math.nan}, "expected 0 < mu_s <= 1, because it is a cosine"),
        ({"mu_d": 0.0}, "expected 0 < mu_d <= 0.5"),
        ({"mu_d": 0.5 + 1e-9}, "no 3 directions are more opposed than 1/.K-1."),
        ({"mu_s": 0.5, "mu_d": 0.376}, "two points at the cosine mu_s"),
        ({"mu_s": 0.5, "mu_d": 0.2, "D": 2}, "from D = 5 on, with mu_d <= 0.375"),
        ({"mu_s": 0.5, "D": 2}, "in D = 2 dimensions they are drawn with no mu_d > 0"),
        ({"mu_s": 0.5, "K": 2, "D": 1}, "on a line each class is a ray"),
        ({"support": 0}, "expected from 1 to 4 support vectors"),
        ({"support": 5}, "there are 4 points a class"),
        ({"support": 3, "D": 2}, "no more than 2 are linearly independent"),
        ({"support": 2, "mu_s": 1.0}, "each class is a ray"),
        ({"support": 2, "mu_d": 0.5}, "each class is a ray"),
        ({"support": 1}, "all other points must reach further"),
        ({"support": 1, "norms": (1.0, 1.1), "mu_s": 0.5}, "expected high > 1.1547"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(changed, why):
    given = {"seeds": [0], "K": 3, "D": 6, "per_class": 4, **changed}
    with pytest.raises(ValueError, match=f"(?i){why}"):
        orthogonally_separable(RUN, **given)


def test_just_inside_the_bounds_it_can():
    """Control of the test above."""
    given = {"run": RUN, "seeds": [0], "K": 3, "D": 6, "per_class": 4}
    orthogonally_separable(**given, mu_d=0.5)
    orthogonally_separable(**given, mu_s=0.5, mu_d=0.375)
    orthogonally_separable(**given, support=1, norms=(1.0, 1.1548), mu_s=0.5)


# --- Biases -------------------------------------------------------------------------------------


def test_augmented_points_have_the_constant_last():
    data = orthogonally_separable(RUN, [0, 1], 2, 3, 4)
    longer = augment(data.X, 0.25)
    assert longer.shape == (2, 8, 4) and longer.dtype == data.X.dtype
    assert torch.equal(longer[..., :3], data.X)
    assert (longer[..., 3] == 0.25).all()
    products = data.X @ data.X.mT + 0.25**2
    assert (longer @ longer.mT - products).abs().max() < 1e-14


def test_each_data_set_can_have_its_constants():
    data = orthogonally_separable(RUN, [0, 1], 2, 3, 4)
    constants = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    longer = augment(data.X, constants)
    assert longer.shape == (3, 2, 8, 4)
    for i in range(3):
        for run in range(2):
            want = augment(data.X[run], float(constants[i, run]))
            assert torch.equal(longer[i, run], want)


@pytest.mark.parametrize("constant", [math.nan, math.inf])
def test_a_constant_that_is_no_number_is_refused(constant):
    with pytest.raises(ValueError, match=f"constant = {constant}: expected finite numbers"):
        augment(torch.ones(2, 3), constant)


def test_labelled_counts():
    data = Labelled(torch.zeros(7, 5, 3), torch.tensor([0, 0, 1, 2, 2]))
    assert (data.K, data.n, data.D) == (3, 5, 3)


def test_plane_sectors_are_in_the_disc_about_directions_of_their_own():
    X, y = plane_sectors(RUN, 4, 200)
    norms = X.norm(dim=-1)
    assert X.shape == (800, 2) and norms.min() >= 0.6 and norms.max() <= 1
    assert y.bincount().tolist() == [200] * 4
    means = torch.stack([(X / norms[:, None])[y == k].mean(0) for k in range(4)])
    turn = torch.arange(4) * torch.pi / 2
    axes = torch.stack([turn.cos(), turn.sin()], -1)
    assert torch.allclose(means / means.norm(dim=-1, keepdim=True), axes.to(means), atol=0.1)
    # About exp(-0.35^2/2) of a unit vector is left of each direction.
    assert means.norm(dim=-1).mean() == pytest.approx(0.94, abs=0.02)
    assert torch.equal(plane_sectors(RUN, 4, 200)[0], X)
    assert not torch.equal(plane_sectors(RUN, 4, 200, seed=1)[0], X)
