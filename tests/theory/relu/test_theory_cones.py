"""Opposed directions and cones, against points on the cones themselves."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.data.cosine_margins import cosine_margins
from ncbook.frames import simplex_etf
from ncbook.runtime import generator
from ncbook.theory.relu import cones


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def directions(*shape: int, seed: int = 0) -> torch.Tensor:
    return unit(torch.randn(shape, generator=generator(seed), dtype=torch.float64))


def rim(K: int, b: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Each class at the angle b from its axis, towards and away from every other class's axis."""
    axes = simplex_etf(K, max(K - 1, 2))
    points = []
    for k in range(K):
        for other in range(K):
            if other == k:
                continue
            away = axes[other] - axes[k] * (axes[k] @ axes[other])
            away = unit(away) if K > 2 else torch.eye(2, dtype=torch.float64)[1]
            points += [math.cos(b) * axes[k] + s * math.sin(b) * away for s in (1, -1)]
    return torch.stack(points), torch.arange(K).repeat_interleave(2 * (K - 1))


@pytest.mark.parametrize("K", [2, 3, 4, 6])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_cones_of_the_half_angle_have_the_margin_and_wider_ones_do_not(K, share):
    mu_d = share / (K - 1)
    b = cones.half_angle(K, mu_d)
    assert cosine_margins(*rim(K, b)).mu_d.item() == pytest.approx(mu_d, abs=1e-12)
    assert cosine_margins(*rim(K, 1.01 * b)).mu_d < mu_d - 1e-5


def test_half_angles_at_the_ends():
    assert math.degrees(cones.half_angle(2, 0)) == pytest.approx(45)
    assert math.degrees(cones.half_angle(3, 0)) == pytest.approx(15)
    assert cones.half_angle(4, 1 / 3) == 0
    assert cones.half_angle(1000, 0) == pytest.approx(1 / (2 * 999), rel=1e-3)


@pytest.mark.parametrize(("K", "mu_d"), [(1, 0.1), (3, 0.51), (2, -0.1)])
def test_margins_that_no_directions_have_are_refused(K, mu_d):
    with pytest.raises(ValueError, match="no K directions are more opposed"):
        cones.half_angle(K, mu_d)


@pytest.mark.parametrize(("K", "D"), [(2, 2), (3, 2), (4, 3), (5, 9)])
def test_directions_that_repel_each_other_end_at_a_simplex(K, D):
    ends = cones.repelled(directions(4, K, D, seed=1), 1000)
    cosines = ends @ ends.mT
    off = ~torch.eye(K, dtype=torch.bool)
    assert cosines[:, off] == pytest.approx(
        torch.full_like(cosines[:, off], -1 / (K - 1)), abs=1e-13
    )


def test_with_too_few_dimensions_they_do_not():
    cosines = cones.repelled(directions(4, 4, 2), 1000)
    cosines = cosines @ cosines.mT
    assert (cosines[:, ~torch.eye(4, dtype=torch.bool)].view(4, -1).amax(-1) > -0.1).all()


@settings(max_examples=80)
@given(st.sampled_from([2, 3]), st.integers(0, 2**32))
def test_in_the_plane_no_class_shapes_are_wider(K, seed):
    """Random arcs around the simplex, moved and widened; where separable, the bound."""
    g = generator(seed)
    middle = 2 * math.pi * torch.arange(K) / K + 0.3 * torch.randn(K, generator=g)
    width = torch.rand(K, 1, generator=g) * math.pi / K
    angles = (middle[:, None] + width * (torch.rand(K, 5, generator=g) - 0.5)).double()
    X = torch.stack([angles.cos(), angles.sin()], -1)
    y = torch.arange(K).repeat_interleave(5)
    mu_d = cosine_margins(X.flatten(0, 1), y).mu_d.item()
    if mu_d >= 0:
        mean = cones.spread_in_the_plane(X).mean().item()
        assert mean <= cones.half_angle(K, mu_d) + 1e-12


def test_spread_in_the_plane():
    X = torch.tensor([[1.0, 0], [0, 2], [3, 3]])
    assert cones.spread_in_the_plane(X).item() == pytest.approx(math.pi / 4)
    # Across the cut of the angle at 180 degrees.
    X = torch.tensor([[-1.0, 0.1], [-1, -0.1]])
    assert cones.spread_in_the_plane(X).item() == pytest.approx(math.atan(0.1))
    assert cones.spread_in_the_plane(X[:1]) == 0
    with pytest.raises(ValueError, match="points in the plane"):
        cones.spread_in_the_plane(torch.ones(2, 3))
