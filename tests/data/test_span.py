"""Data on their span: nothing that a network sees of them changes."""

import pytest
import torch

from ncbook.data.pretrained import pretrained_features
from ncbook.data.span import onto_span
from ncbook.models.mean_field import MeanField
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def samples(n: int, d: int, rank: int, dtype=torch.float64) -> torch.Tensor:
    draw = generator(3)
    left, right = (
        torch.randn(size, generator=draw, dtype=torch.float64) for size in ((n, rank), (rank, d))
    )
    return (left @ right).to(dtype)


@pytest.mark.parametrize("n,d,rank", [(6, 20, 6), (6, 20, 3), (20, 6, 6), (20, 6, 2), (5, 5, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_gram_matrix_stays_and_the_dimensions_are_the_rank(n, d, rank, dtype):
    X = samples(n, d, rank, dtype)
    Z = onto_span(X)
    assert Z.shape == (n, rank) and Z.dtype == dtype
    error = (Z @ Z.T - X @ X.T).abs().max() / (X @ X.T).abs().max()
    assert error < 64 * torch.finfo(dtype).eps


def test_the_features_that_ship_lose_nothing():
    X = pretrained_features(RUN).train[::5]
    Z = onto_span(X)
    assert Z.shape == (300, 300)
    assert (Z @ Z.T - X @ X.T).abs().max() < 1e-12  # the longest has norm 1
    # Control: with a dimension less something is lost.
    assert (Z[:, :-1] @ Z[:, :-1].T - X @ X.T).abs().max() > 1e-8


def test_the_network_on_the_span_moves_as_the_network_does():
    """The derivation: outputs and gradients on the span agree, and the rest of u only decays."""
    X, y = samples(8, 12, 5), torch.arange(8) % 2
    Z = onto_span(X)
    V = torch.linalg.pinv(X) @ Z
    full, small = (MeanField(data, y, 2, p=3, N=7, decay=0.1) for data in (X, Z))
    state = RUN.normal([0], full.size)[0]
    W, A, U = full.unpack(state)
    same = small.pack(W, A, V.T @ U)
    dW, dA, dU = full.unpack(full.gradient(state))
    sW, sA, sU = small.unpack(small.gradient(same))
    torch.testing.assert_close(full.data_loss(state), small.data_loss(same), rtol=1e-12, atol=0)
    for large, little in ((dW, sW), (dA, sA), (V.T @ dU, sU)):
        torch.testing.assert_close(large, little, rtol=0, atol=1e-13)
    rest = U - V @ (V.T @ U)
    torch.testing.assert_close(dU - V @ (V.T @ dU), 0.1 * rest, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "X",
    [torch.zeros(3, 2), torch.ones(3), torch.ones(2, 2).long(), torch.tensor([[1.0, torch.nan]])],
)
def test_what_is_no_data_is_refused(X):
    with pytest.raises(ValueError, match="expected a matrix of finite"):
        onto_span(X)
