"""The error of the best rank-r approximation: against projections, closed forms, scales."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.metrics.approximation import rank_error, rank_residual
from ncbook.runtime import generator


def rows(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_known_singular_values():
    values = torch.tensor([4.0, 2.0, 2.0, 1.0], dtype=torch.float64)  # squares 16, 4, 4, 1 of 25
    left = torch.linalg.qr(rows(0, 9, 4)).Q
    right = torch.linalg.qr(rows(1, 6, 4)).Q
    matrix = left @ torch.diag(values) @ right.T
    for rank, tail in enumerate((25, 9, 5, 1, 0, 0)):
        error = rank_error(matrix, rank, centred=False)
        assert error.item() == pytest.approx(tail / 25, abs=1e-14)
        root = rank_error(matrix, rank, centred=False, squared=False)
        assert root.item() == pytest.approx((tail / 25) ** 0.5, abs=1e-7)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_it_is_what_the_principal_components_leave_out(seed, rank):
    """Independently: eigenvectors of the covariance, and the residual of the projection."""
    matrix = rows(seed, 12, 5) + 3 * rows(seed + 1, 1, 5)
    deviations = matrix - matrix.mean(0)
    axes = torch.linalg.eigh(deviations.T @ deviations).eigenvectors[:, -rank:]
    residual = deviations - deviations @ axes @ axes.T
    expected = residual.square().sum() / deviations.square().sum()
    assert rank_error(matrix, rank).item() == pytest.approx(expected.item(), abs=1e-12)
    # Control: no other plane does better, and without centring it is another number.
    other = torch.linalg.qr(rows(seed + 2, 5, rank)).Q
    worse = (deviations - deviations @ other @ other.T).square().sum() / deviations.square().sum()
    assert worse >= expected
    assert abs(rank_error(matrix, rank, centred=False) - expected) > 1e-6


@settings(max_examples=20)
@given(st.floats(-150, 150), st.integers(0, 10_000))
def test_scale_shift_and_rotation_do_not_matter(exponent, seed):
    matrix = rows(seed, 8, 4)
    turned = matrix @ torch.linalg.qr(rows(seed + 1, 4, 4)).Q
    expected = rank_error(matrix, 2)
    for other in (matrix * 10.0**exponent, turned, matrix + 5):
        torch.testing.assert_close(rank_error(other, 2), expected, rtol=1e-9, atol=1e-12)


def test_rays_have_as_many_dimensions_as_there_are():
    """Three rays: rank 3 from the origin, and from their mean too; two do not hold them."""
    rays = torch.eye(3, 7, dtype=torch.float64).repeat(20, 1)
    features = rays * (1 + rows(4, 60, 1).abs())
    assert rank_error(features, 3, centred=False) < 1e-28
    assert rank_error(features, 3) < 1e-28
    assert rank_error(features, 2, centred=False) > 0.2


@pytest.mark.parametrize("centred", [True, False])
def test_the_residual_is_what_the_error_measures(centred):
    matrix = rows(6, 2, 11, 5) + 1
    left = rank_residual(matrix, 2, centred=centred)
    whole = matrix - matrix.mean(-2, keepdim=True) if centred else matrix
    shares = left.square().sum((-2, -1)) / whole.square().sum((-2, -1))
    torch.testing.assert_close(shares, rank_error(matrix, 2, centred=centred))
    # What was taken away has rank 2, and lies in other dimensions than what is left.
    taken = whole - left
    assert torch.linalg.matrix_rank(taken).tolist() == [2, 2]
    assert (left @ taken.mT).abs().max() < 1e-12
    # Control: what another rank leaves is not orthogonal to it.
    assert (rank_residual(matrix, 1, centred=centred) @ taken.mT).abs().max() > 1e-2


def test_leading_dimensions_are_runs_and_bad_ones_stay_alone():
    batch = rows(5, 2, 3, 10, 4)
    together = rank_error(batch, 1)
    assert together.shape == (2, 3)
    torch.testing.assert_close(together[1, 2], rank_error(batch[1, 2], 1))
    batch[0, 0, 0, 0], batch[0, 1] = torch.inf, 0.0
    spoilt = rank_error(batch, 1)
    assert spoilt[0, :2].isnan().all()
    torch.testing.assert_close(spoilt[1], together[1])


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rank is -1"):
        rank_error(rows(0, 3, 3), -1)
    with pytest.raises(ValueError, match="floating-point"):
        rank_error(torch.ones(3, 3, dtype=torch.int64), 1)


def test_a_run_that_is_not_finite_leaves_nothing_of_the_others():
    rows = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alone = rank_residual(rows, 2)
    rows[1, 2, 3] = torch.inf
    found = rank_residual(rows, 2)
    assert torch.equal(found[[0, 2]], alone[[0, 2]]) and found[1].isnan().all()
