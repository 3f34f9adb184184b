"""The invariant subspace S: its projection, its tangent field, the split of the risk on it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theory_cases import (
    GRID,
    centred_identity,
    distance,
    few,
    normal,
    random_parts,
    seeds,
    sizes,
    start_on_S,
)

from ncbook.dynamics.flow import flow
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.theory.ufm import subspace


def dense(parts_map, C: int, N: int, p: int) -> torch.Tensor:
    """The matrix of a linear map of (H, W, b)."""
    model = UnconstrainedFeatures(C, N, p)
    basis = torch.eye(model.size, dtype=torch.float64)
    return model.pack(*parts_map(*model.unpack(basis))).T


def oblique(H, W, b):
    """Control: idempotent and onto S, but it takes W's word alone, so it is not orthogonal."""
    C, N = W.shape[-2], H.shape[-1] // W.shape[-2]
    nearest = centred_identity(C) @ W
    return subspace.lift(nearest, N), nearest, b.mean(-1, keepdim=True).expand_as(b)


# --- The projection -----------------------------------------------------------------------------


@few
@given(sizes())
def test_the_projection_onto_S_is_orthogonal(case):
    C, N, p = case
    P = dense(subspace.project_onto_S, C, N, p)
    assert float((P @ P - P).abs().max()) < 1e-12
    assert float((P - P.T).abs().max()) < 1e-12
    assert float(P.trace()) == pytest.approx(p * (C - 1) + 1, abs=1e-12), "the dimension of S"
    wrong = dense(oblique, C, N, p)
    assert float((wrong @ wrong - wrong).abs().max()) < 1e-12
    assert float((wrong - wrong.T).abs().max()) > 0.1


@few
@given(sizes(), seeds)
def test_the_projection_maps_into_S_and_keeps_S(case, seed):
    C, N, p = case
    H, W, b = subspace.project_onto_S(*random_parts(C, N, p, seed))
    assert float(W.sum(0).abs().max()) < 1e-12
    assert float((H - torch.kron(W, torch.ones(N, 1)).T / math.sqrt(N)).abs().max()) < 1e-12
    assert float((b - b[0]).abs().max()) == 0
    on_S = start_on_S(C, N, p, seed, beta=0.3)
    assert distance(subspace.project_onto_S(*on_S), on_S) < 1e-12


@few
@given(sizes(), seeds)
def test_nothing_on_S_is_nearer_than_the_projection(case, seed):
    C, N, p = case
    parts = random_parts(C, N, p, seed)
    nearest = subspace.project_onto_S(*parts)
    away = [x - y for x, y in zip(parts, nearest, strict=True)]
    other = start_on_S(C, N, p, seed + 1, norm=1.0, beta=-1.0)
    product = sum(float((x * y).sum()) for x, y in zip(away, other, strict=True))
    assert abs(product) < 1e-12, "what is left over must be orthogonal to all of S"
    wrong = [x - y for x, y in zip(parts, oblique(*parts), strict=True)]
    product = sum(float((x * y).sum()) for x, y in zip(wrong, other, strict=True))
    assert abs(product) > 1e-6


@few
@given(sizes(), seeds)
def test_the_projection_of_a_batch_is_a_loop(case, seed):
    H, W, b = random_parts(*case, seed, 2, 3)
    together = subspace.project_onto_S(H, W, b)
    for i in range(2):
        for j in range(3):
            single = subspace.project_onto_S(H[i, j], W[i, j], b[i, j])
            assert distance([part[i, j] for part in together], single) < 1e-14


@few
@given(sizes(), seeds)
def test_the_lift_is_an_isometry_and_class_means_undo_it(case, seed):
    C, N, p = case
    W = normal(seed, 4, C, p)
    H = subspace.lift(W, N)
    assert torch.linalg.matrix_norm(H) == pytest.approx(torch.linalg.matrix_norm(W), rel=1e-12)
    assert float((subspace.class_means(H, C) * math.sqrt(N) - W.mT).abs().max()) < 1e-12
    for one, lifted in zip(W, H, strict=True):
        kron = torch.kron(one, torch.ones(N, 1, dtype=torch.float64)).T / math.sqrt(N)
        assert float((lifted - kron).abs().max()) < 1e-14


# --- The field on S -----------------------------------------------------------------------------


@few
@given(sizes(), seeds)
def test_the_field_is_tangent_to_S(case, seed):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    H, W, b = start_on_S(C, N, p, seed, norm=1.0, beta=-0.7)

    def leaves(z):
        step = model.unpack(model.field(z[None])[0])
        return distance(subspace.project_onto_S(*step), step)

    assert leaves(model.pack(H, W, b)) < 1e-12
    # Controls: the mirror image of S is not invariant, nor is S shifted out along 1^T W.
    assert leaves(model.pack(-H, W, b)) > 1e-3
    assert leaves(model.pack(H, W + 0.1, b)) > 1e-3


@pytest.mark.parametrize(("C", "N", "p"), GRID)
@pytest.mark.parametrize("method", ["RK4", "DOP853"])
def test_a_fixed_step_stays_on_S(C, N, p, method):
    model = UnconstrainedFeatures(C, N, p)
    z = model.pack(*start_on_S(C, N, p, seed=5, beta=0.1))
    end = flow(model.field, z, step=1 / (C * N + math.sqrt(N)), record=[2.0], method=method).final
    parts = model.unpack(end)
    assert distance(subspace.project_onto_S(*parts), parts) < 1e-13
    assert float((end - z).abs().max()) > 0.05, "and it does move"


@few
@given(sizes(), seeds, st.floats(-1, 1))
def test_the_risk_splits_on_S(case, seed, beta):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    H, W, b = start_on_S(C, N, p, seed, norm=1.0, beta=beta)
    of_W, of_b = subspace.risk_on_S(W, b, N)
    risk = model.risk(model.pack(H, W, b))
    assert float(of_W + of_b) == pytest.approx(float(risk), rel=1e-12)
    # Each part is of its own variable alone: the other at its minimum leaves only that part.
    at_rest = model.risk(model.pack(H, W, torch.full_like(b, 1 / C)))
    assert float(of_W) == pytest.approx(float(at_rest), rel=1e-12)
    # Control: off S the sum of the two is not the risk.
    off = model.risk(model.pack(H + 0.1 * normal(seed, *H.shape), W, b))
    assert abs(float(of_W + of_b - off)) > 1e-6


# --- Strong collapse ----------------------------------------------------------------------------


@few
@given(sizes(roomy=True), seeds)
def test_strong_collapse_is_a_global_minimum_on_S(case, seed):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    H, W, b = subspace.strong_collapse(normal(seed, C, p), N)
    # The paper's three equations.
    assert float((W @ W.T - math.sqrt(N) * centred_identity(C)).abs().max()) < 1e-12
    assert float((H - torch.kron(W, torch.ones(N, 1)).T / math.sqrt(N)).abs().max()) < 1e-12
    assert float((b - 1 / C).abs().max()) < 1e-15
    z = model.pack(H, W, b)
    assert float(model.risk(z)) < 1e-24
    assert float(model.field(z[None]).abs().max()) < 1e-12
    assert distance(subspace.project_onto_S(H, W, b), (H, W, b)) < 1e-12
    # Control: the same with W of another size, as with N for sqrt(N), is no minimum for N > 1.
    if N > 1:
        wrong = model.pack(N**0.25 * H, N**0.25 * W, b)
        assert float(model.field(wrong[None]).abs().max()) > 1e-2


def test_strong_collapse_of_a_batch_is_a_loop():
    W = normal(3, 2, 3, 4, 6)
    together = subspace.strong_collapse(W, 5)
    assert [part.shape for part in together] == [(2, 3, 6, 20), (2, 3, 4, 6), (2, 3, 4)]
    single = subspace.strong_collapse(W[1, 2], 5)
    assert distance([part[1, 2] for part in together], single) < 1e-13


def test_strong_collapse_is_where_the_flow_on_S_ends():
    W0 = start_on_S(4, 5, 6, seed=8, norm=0.1)[1]
    W, b = subspace.flow_on_S(W0, torch.zeros(4), 5, torch.tensor([40.0], dtype=torch.float64))
    _, expected, offset = subspace.strong_collapse(W0, 5)
    assert distance((W[0], b[0]), (expected, offset)) < 1e-12


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_strong_collapse_needs_full_rank(rank):
    W = normal(1, 4, rank) @ normal(2, rank, 6)
    batch = torch.stack([normal(3, 4, 6), W])
    with pytest.raises(ValueError, match="rank below C - 1 = 3") as error:
        subspace.strong_collapse(batch, 2)
    assert "saddle" in str(error.value)
    subspace.strong_collapse(batch[:1], 2)


def test_strong_collapse_needs_room():
    with pytest.raises(ValueError, match="p = 2 < C - 1 = 3: the simplex does not fit"):
        subspace.strong_collapse(normal(1, 4, 2), 2)
