"""The bound on NC1 by fit and balance: it holds, and each of its parts is needed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import few, normal, seeds

from ncbook.theory.deep.balance import collapse_bound

K, n, d = 3, 4, 6
N = K * n
Y = torch.eye(K, dtype=torch.float64).repeat_interleave(n, 1)


def nc1(H: torch.Tensor) -> float:
    means = H.view(d, K, n).mean(-1)
    within = (H.view(d, K, n) - means[..., None]).square().sum() / n
    return float(within / (means - means.mean(-1, keepdim=True)).square().sum())


def network(seed: int, noise: float):
    """Layers that fit Y up to noise, out of balance in the directions that W does not see."""
    Z = normal(seed, N + 2, N)  # any labels can be fitted
    W = normal(seed + 1, K, d)
    target = torch.linalg.pinv(W) @ Y + noise * normal(seed + 2, d, N)
    unseen = torch.eye(d, dtype=torch.float64) - torch.linalg.pinv(W) @ W
    W_below = (target + unseen @ normal(seed + 3, d, N)) @ torch.linalg.pinv(Z)
    return W, W_below, Z, torch.linalg.matrix_norm(W @ W_below @ Z - Y)


@few
@given(seeds, st.floats(0, 0.2))
def test_nc1_is_below_the_bound(seed, noise):
    W, W_below, Z, fit = network(seed, noise)
    assert nc1(W_below @ Z) <= float(collapse_bound(W, W_below, Z, fit)) * (1 + 1e-9)


def test_without_the_imbalance_it_is_no_bound():
    W, W_below, Z, fit = network(0, 0.01)
    assert nc1(W_below @ Z) > 2 * float(collapse_bound(W, W_below, Z, fit, torch.tensor(0.0)))


def test_balanced_layers_that_fit_are_collapsed():
    W = normal(0, K, d)
    Z = torch.linalg.qr(normal(1, N, N)).Q
    # W_below W_below^T = W^T W and W W_below Z = Y, as Z is orthogonal and Y Y^T = n I.
    U, s, V = torch.linalg.svd(W, full_matrices=False)
    W = U @ torch.diag(torch.full_like(s, n**0.25)) @ V
    W_below = torch.linalg.pinv(W) @ Y @ Z.T
    assert torch.allclose(W.T @ W, W_below @ W_below.T)
    fit = torch.linalg.matrix_norm(W @ W_below @ Z - Y)
    assert float(collapse_bound(W, W_below, Z, fit)) < 1e-12
    assert nc1(W_below @ Z) < 1e-20


def test_what_it_says_of_a_bad_fit_and_of_bad_shapes():
    W, W_below, Z, _ = network(0, 0.0)
    assert collapse_bound(W, W_below, Z, torch.tensor(10.0)) == torch.inf
    with pytest.raises(ValueError, match="expected"):
        collapse_bound(W, W_below.T, Z, torch.tensor(1.0))
    with pytest.raises(ValueError, match="K <= d"):
        collapse_bound(W.T, W, W_below, torch.tensor(1.0))
