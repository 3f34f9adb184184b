"""Rays behind LayerNorm, against the layer of torch itself."""

import pytest
import torch
from theory_cases import normal

from ncbook.theory.relu.normalised import layer_norm_cosines, layer_norm_shares


def frame(seed: int, groups: list[int]) -> torch.Tensor:
    """Orthonormal rows with disjoint supports of the given sizes, not negative."""
    rows = torch.block_diag(*[normal(seed + k, 1, n).abs() for k, n in enumerate(groups)])
    return rows / rows.norm(dim=1, keepdim=True)


def behind(phi: torch.Tensor) -> torch.Tensor:
    """Cosines of torch's own LayerNorm of rays at any lengths."""
    lengths = torch.linspace(0.3, 5, len(phi), dtype=phi.dtype)[:, None]
    points = torch.nn.functional.layer_norm(lengths * phi, phi.shape[-1:], eps=0.0)
    points = points / points.norm(dim=1, keepdim=True)
    return points @ points.T


@pytest.mark.parametrize("groups", [[1, 1, 1], [2, 5, 3], [4, 4, 4, 4], [1, 9]])
def test_cosines_are_those_of_the_layer(groups):
    phi = frame(3, groups)
    torch.testing.assert_close(layer_norm_cosines(phi), behind(phi), atol=1e-12, rtol=0)
    # Control: they depend on the sizes of the neurons.
    other = layer_norm_cosines(frame(11, groups))
    assert max(groups) == 1 or float((other - behind(phi)).abs().max()) > 1e-3


def test_a_coordinate_that_no_class_uses_counts():
    phi = torch.cat([frame(5, [2, 3, 3]), torch.zeros(3, 4, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(layer_norm_cosines(phi), behind(phi), atol=1e-12, rtol=0)
    assert float(layer_norm_shares(phi).sum()) < 8 / 12 + 1e-12


@pytest.mark.parametrize("K", [2, 3, 5, 10])
def test_equal_groups_of_equal_neurons_become_a_simplex(K):
    phi = torch.eye(K, dtype=torch.float64).repeat_interleave(4, dim=1) / 2
    torch.testing.assert_close(layer_norm_shares(phi), torch.full((K,), 1 / K, dtype=torch.float64))
    expected = torch.full((K, K), -1 / (K - 1), dtype=torch.float64).fill_diagonal_(1)
    torch.testing.assert_close(layer_norm_cosines(phi), expected)


def test_runs_are_a_batch():
    phi = torch.stack([frame(seed, [2, 3, 4]) for seed in (1, 2)])
    each = torch.stack([layer_norm_cosines(one) for one in phi])
    torch.testing.assert_close(layer_norm_cosines(phi), each)
