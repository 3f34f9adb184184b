"""Balance: the closed form against a search, what is known of it, and what must not pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.metrics.imbalance import balance_factor, imbalance
from ncbook.runtime import generator


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def moment(*shape: int, seed: int = 1) -> torch.Tensor:
    A = normal(*shape, seed=seed)
    return A @ A.mT / shape[-1]


def test_the_factor_minimises_the_distance():
    M, W = moment(5, 4, 9), normal(5, 4, 3)
    c = balance_factor(M, W)
    for run in range(5):
        B = W[run] @ W[run].T
        distance = lambda x, M=M[run], B=B: float((M - x * B).square().sum())  # noqa: E731
        here = distance(float(c[run]))
        grid = torch.linspace(-1, 3, 4001, dtype=torch.float64)
        assert here <= min(distance(x) for x in grid.tolist()) + 1e-12
        # Control: a step of a thousandth away it is larger by (1e-3)^2 |B|^2.
        for x in (float(c[run]) - 1e-3, float(c[run]) + 1e-3):
            assert distance(x) - here == pytest.approx(1e-6 * float(B.square().sum()), rel=1e-6)
        difference = M[run] - c[run] * B
        eigenvalues = torch.linalg.eigvalsh(difference).abs().max()
        expected = eigenvalues / torch.linalg.eigvalsh(M[run]).max()
        assert float(imbalance(M, W)[run]) == pytest.approx(float(expected), rel=1e-12)


def test_balanced_layers_have_zero():
    W = normal(3, 5, 2)
    B = W @ W.mT
    assert float(imbalance(0.7 * B, W).max()) < 1e-14
    assert torch.allclose(balance_factor(0.7 * B, W), torch.full((3,), 0.7, dtype=torch.float64))
    # Control: with the ridge of a temperature they are not.
    eye = torch.eye(5, dtype=torch.float64)
    assert float(imbalance(B + 0.1 * eye, W).min()) > 1e-3


@settings(max_examples=25)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_scales_cancel(a, b):
    M, W = moment(4, 9), normal(4, 3)
    assert float(imbalance(a * M, b * W)) == pytest.approx(float(imbalance(M, W)), rel=1e-9)


def test_the_value_at_a_stationary_point():
    """E[a a^T] = W W^T + ridge I with W^T W = s^2 I: NB = ridge / (ridge + s^2) if p > K."""
    Q = torch.linalg.qr(normal(6, 6))[0]
    for ridge, s in ((0.1, 2.0), (3.0, 0.5)):
        for K in (3, 6):
            W = s * Q[:, :K]
            M = W @ W.T + ridge * torch.eye(6, dtype=torch.float64)
            assert float(balance_factor(M, W)) == pytest.approx(1 + ridge / s**2, rel=1e-12)
            expected = ridge / (ridge + s**2) if K < 6 else 0
            assert float(imbalance(M, W)) == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_it_may_exceed_one():
    W = torch.diag(torch.tensor([1.0, *[0.1**0.5] * 100], dtype=torch.float64))
    assert float(imbalance(torch.eye(101, dtype=torch.float64), W)) == pytest.approx(4.5)


def test_nothing_to_compare_is_nan_and_wrong_shapes_are_refused():
    M, W = moment(4, 9), normal(4, 3)
    assert bool(imbalance(M, 0 * W).isnan()) and bool(balance_factor(M, 0 * W).isnan())
    assert bool(imbalance(0 * M, W).isnan())
    mixed = torch.stack([M, torch.full_like(M, torch.nan), M])
    found = imbalance(mixed, W)
    assert found.isnan().tolist() == [False, True, False] and found[0] == imbalance(M, W)
    for bad in (normal(3, 4), normal(4)):
        with pytest.raises(ValueError, match="W's columns are the classes"):
            imbalance(M, bad)
    with pytest.raises(ValueError, match="second_moment"):
        imbalance(M.long(), W)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e20), (torch.float32, 1e-23), (torch.float32, 1e-30),
        (torch.float64, 1e160), (torch.float64, 1e-160), (torch.float64, 1e-290),
    ],
)  # fmt: skip
def test_the_scales_of_both_matrices_cancel(dtype, scale):
    draw = torch.Generator().manual_seed(2)
    A, W = (torch.randn(6, n, generator=draw, dtype=torch.float64) for n in (9, 4))
    moment = A @ A.mT
    right, factor = imbalance(moment, W), balance_factor(moment, W)
    rtol = 1e-5 if dtype == torch.float32 else 1e-12
    for s, w in ((scale, scale**0.5), (scale, 1.0), (1.0, scale), (scale, scale)):
        moved = (moment * s).to(dtype), (W * w).to(dtype)
        torch.testing.assert_close(imbalance(*moved).double(), right, rtol=rtol, atol=0)
    moved = (moment * scale).to(dtype), (W * scale**0.5).to(dtype)
    torch.testing.assert_close(balance_factor(*moved).double(), factor, rtol=rtol, atol=0)
