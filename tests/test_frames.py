"""The frames by the identities that define them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.frames import centring, simplex_etf

few = settings(max_examples=20)


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    return unit @ unit.T


@few
@given(st.integers(2, 30), st.integers(0, 5))
def test_a_simplex_has_unit_vectors_of_equal_angles_that_add_up_to_zero(C, room):
    vectors = simplex_etf(C, C - 1 + room)
    assert vectors.shape == (C, C - 1 + room) and vectors.dtype == torch.float64
    expected = torch.full((C, C), -1 / (C - 1), dtype=torch.float64).fill_diagonal_(1.0)
    assert float((vectors @ vectors.T - expected).abs().max()) < 1e-12
    assert float(vectors.sum(0).abs().max()) < 1e-12
    assert vectors[0, 0] == 1
    assert torch.linalg.matrix_rank(vectors) == C - 1
    # Equiangular and tight: V^T V is a multiple of a projection of rank C - 1.
    moment = vectors.T @ vectors * ((C - 1) / C)
    assert float((moment @ moment - moment).abs().max()) < 1e-12
    # Control: an orthonormal basis has other angles, and becomes the simplex when it is centred.
    basis = torch.eye(C, dtype=torch.float64)
    assert float((cosines(basis) - expected).abs().max()) >= 1 / (C - 1) - 1e-12
    assert float((cosines(centring(C) @ basis) - expected).abs().max()) < 1e-12


@few
@given(st.integers(1, 30))
def test_centring_is_the_projection_that_removes_the_mean(C):
    Pi = centring(C)
    x = torch.linspace(-1, 3, C, dtype=torch.float64).square()
    assert float((Pi @ x - (x - x.mean())).abs().max()) < 1e-12
    assert float((Pi @ Pi - Pi).abs().max()) < 1e-14
    assert torch.equal(Pi, Pi.T)
    assert float(Pi.trace()) == pytest.approx(C - 1, abs=1e-12)
    # In single precision it is made there, from the same ones and zeros.
    single = centring(C, torch.zeros(2))
    assert single.dtype == torch.float32
    assert float((single - Pi).abs().max()) < 1e-7


@pytest.mark.parametrize(("C", "p"), [(1, 3), (0, 2), (4, 2), (2, 0)])
def test_a_simplex_without_room_is_refused(C, p):
    with pytest.raises(ValueError, match=f"K = {C} classes in D = {p} dimensions: expected K >= 2"):
        simplex_etf(C, p)
