"""Strong collapse and the distance from S: definitions, the projector itself, closed forms."""

import metrics_reference as ref
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook import metrics
from ncbook.metrics import strong_collapse, subspace_distance

PROPERTY = settings(max_examples=30)
SIZES = st.tuples(st.integers(2, 4), st.integers(1, 4), st.integers(1, 6))


def start(seed, c, n, p, lead=()):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(*lead, *s)) for s in ((p, c * n), (c, p), (c,)))


def lift(w, n):
    return np.kron(w, np.ones((n, 1))).T / np.sqrt(n)


def collapsed(c, n, p, seed=0):
    """Strong collapse: W W^T = sqrt(N) (I - 11^T/C) needs p >= C - 1."""
    w = n**0.25 * np.sqrt((c - 1) / c) * ref.simplex(c, p, seed)
    return lift(w, n), w, np.full(c, 1 / c)


def projector(c, n, p, with_b):
    """The orthogonal projector onto S from a spanning set, as a matrix on stacked (H, W, b)."""
    spanning = []
    for i in range(c):
        for j in range(p):
            w = np.zeros((c, p))
            w[i, j] = 1
            w -= w.mean(0)
            spanning.append(np.concatenate([lift(w, n).ravel(), w.ravel(), np.zeros(c)]))
    spanning.append(np.concatenate([np.zeros(p * c * n + c * p), np.ones(c)]))
    basis = np.stack(spanning, 1)[: None if with_b else -c]  # without b: its rows left out
    u, s, _ = np.linalg.svd(basis, full_matrices=False)
    u = u[:, s > 1e-10]
    return u @ u.T


@PROPERTY
@given(st.integers(0, 2**32 - 1), SIZES)
def test_residuals_against_the_definitions(seed, sizes):
    c, n, p = sizes
    h, w, b = start(seed, c, n, p)
    r = strong_collapse(*ref.tensors(h, w, b))
    target = np.sqrt(n) * (np.eye(c) - np.ones((c, c)) / c)
    np.testing.assert_allclose(r.frame, np.linalg.norm(w @ w.T - target), rtol=1e-12)
    duality = np.linalg.norm(h - lift(w, n)) / np.linalg.norm(h)
    np.testing.assert_allclose(r.duality, duality, rtol=1e-12)
    np.testing.assert_allclose(r.bias, np.linalg.norm(b - np.ones(c) / c), rtol=1e-12)


@PROPERTY
@given(st.integers(0, 2**32 - 1), SIZES)
def test_distance_against_the_projector(seed, sizes):
    c, n, p = sizes
    h, w, b = start(seed, c, n, p)
    for with_b in (True, False):
        z = np.concatenate([h.ravel(), w.ravel(), *([b] if with_b else [])])
        off = z - projector(c, n, p, with_b) @ z
        value = subspace_distance(*ref.tensors(h, w, *([b] if with_b else [])))
        np.testing.assert_allclose(value, np.linalg.norm(off) / np.linalg.norm(z), rtol=1e-11)
        assert 0 <= value <= 1


@pytest.mark.parametrize("c, n, p", [(3, 3, 15), (4, 5, 6), (2, 7, 1), (5, 1, 4)])
def test_strong_collapse_is_zero_and_lies_on_s(c, n, p):
    h, w, b = collapsed(c, n, p)
    np.testing.assert_allclose(  # and it fits the labels, as the paper says
        w @ h + b[:, None], np.kron(np.eye(c), np.ones(n)), atol=1e-13
    )
    z = ref.tensors(h, w, b)
    assert all(0 <= value < 1e-13 for value in strong_collapse(*z))
    assert subspace_distance(*z) < 1e-15 and subspace_distance(*z[:2]) < 1e-15
    # Any W with centred columns, its lift and a constant b are on S without collapse.
    rng = np.random.default_rng(0)
    w2 = rng.normal(size=(c, p))
    w2 -= w2.mean(0)
    on = ref.tensors(lift(w2, n), w2, np.full(c, 0.7))
    assert subspace_distance(*on) < 1e-15
    assert strong_collapse(*on).frame > 0.1 and strong_collapse(*on).bias > 0.1
    # Controls: a scale, a sign, one entry.
    assert strong_collapse(z[0], 1.01 * z[1], z[2]).frame > 0.01
    assert subspace_distance(-z[0], z[1], z[2]) > 0.5
    moved = z[0].clone()
    moved[0, 0] += 0.1
    assert strong_collapse(moved, *z[1:]).duality > 1e-3
    assert subspace_distance(moved, *z[1:]) > 1e-3


@pytest.mark.parametrize("c, n, p", [(3, 3, 15), (4, 5, 3)])
def test_strong_collapse_implies_collapse(c, n, p):
    h, w, b = ref.tensors(*collapsed(c, n, p))
    labels = torch.arange(c).repeat_interleave(n)
    s = metrics.class_statistics(h.mT, labels)
    table = metrics.measures(s, w)
    orthogonal = {"nc2.min-zhu-vidal", "nc3.min-zhu-vidal"}  # another paper's limit
    assert all(0 <= table[key] < 1e-13 for key in table.keys() - orthogonal)
    assert table["nc2.min-zhu-vidal"] > 0.1
    assert (
        metrics.nc4_papyan(s, w, b, h.new_tensor(np.random.default_rng(0).normal(size=(99, p))))
        == 0
    )
    mixed = metrics.class_statistics(h.mT, labels.roll(1))
    assert metrics.nc1_wu_mondelli(mixed) > 0.1


def test_columns_must_be_grouped_by_class():
    h, w, b = ref.tensors(*collapsed(3, 4, 6))
    mixed = h.unflatten(-1, (3, 4)).mT.flatten(-2)  # sample by sample instead
    assert strong_collapse(mixed, w, b).duality > 0.5
    assert subspace_distance(mixed, w, b) > 0.1


def test_near_s_the_distance_is_linear_and_keeps_its_digits():
    h, w, b = ref.tensors(*collapsed(3, 3, 15))
    gh, gw, gb = (torch.as_tensor(a) for a in start(1, 3, 3, 15))
    unit = subspace_distance(h + 1e-2 * gh, w + 1e-2 * gw, b + 1e-2 * gb)
    for eps in (1e-6, 1e-10):
        value = subspace_distance(h + eps * gh, w + eps * gw, b + eps * gb)
        np.testing.assert_allclose(value / eps, unit / 1e-2, rtol=0.1)


def test_b_hides_what_h_and_w_do():
    h, w, _ = (1e-4 * torch.as_tensor(a) for a in start(2, 3, 3, 15))
    b = torch.full((3,), 1 / 3, dtype=torch.float64)
    assert subspace_distance(h, w, b) < 1e-2
    assert subspace_distance(h, w) > 0.5
    # In (H, W) alone a common scale does not matter; with b it does.
    torch.testing.assert_close(subspace_distance(h, w), subspace_distance(1e4 * h, 1e4 * w))
    assert subspace_distance(1e4 * h, 1e4 * w, b) > 0.5


@PROPERTY
@given(st.integers(0, 2**32 - 1), SIZES)
def test_invariances(seed, sizes):
    c, n, p = sizes
    h, w, b = start(seed, c, n, p)
    rng = np.random.default_rng(seed)
    before = (*strong_collapse(*ref.tensors(h, w, b)), subspace_distance(*ref.tensors(h, w, b)))
    q = ref.rotation(rng, p)
    classes = rng.permutation(c)
    columns = (classes[:, None] * n + rng.permutation(n)).ravel()
    for other in ((q @ h, w @ q.T, b), (h[:, columns], w[classes], b[classes])):
        z = ref.tensors(*other)
        for value, expected in zip(
            (*strong_collapse(*z), subspace_distance(*z)), before, strict=True
        ):
            torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-13)


def test_runs_dtype_and_zero():
    z = ref.tensors(*start(3, 3, 2, 4, (2, 5)))
    many = (*strong_collapse(*z), subspace_distance(*z), subspace_distance(*z[:2]))
    assert all(value.shape == (2, 5) for value in many)
    one = [t[1, 3] for t in z]
    alone = (*strong_collapse(*one), subspace_distance(*one), subspace_distance(*one[:2]))
    for value, expected in zip(many, alone, strict=True):
        torch.testing.assert_close(value[1, 3], expected, rtol=1e-13, atol=0)
    short = [t.float() for t in one]
    assert subspace_distance(*short).dtype == strong_collapse(*short).frame.dtype == torch.float32
    torch.testing.assert_close(subspace_distance(*short), alone[3].float())
    zero = [0 * t for t in one]
    assert torch.isnan(subspace_distance(*zero)) and torch.isnan(strong_collapse(*zero).duality)
    z[0][0, 0, 1, 1] = torch.nan
    broken = subspace_distance(*z)
    assert torch.isnan(broken[0, 0]) and torch.isfinite(broken.flatten()[1:]).all()
    assert not subspace_distance(*(t.requires_grad_() for t in one)).requires_grad


Z = (torch.zeros(4, 6), torch.zeros(3, 4), torch.zeros(3))


@pytest.mark.parametrize(
    "args, words",
    [
        ((Z[0].mT, Z[1], Z[2]), "features as columns"),
        ((Z[0][:, :5], Z[1], Z[2]), "5 columns"),
        ((Z[0][:, :0], Z[1], Z[2]), "0 columns"),
        ((Z[0], Z[1], Z[2][:2]), r"b has shape \(2,\)"),
        ((Z[0], Z[1].double(), Z[2]), "one dtype"),
        ((Z[0], Z[1][:1], Z[2][:1]), "at least 2"),
        ((Z[0].long(), Z[1], Z[2]), "floating-point"),
        ((Z[0][0], Z[1], Z[2]), r"H has shape \(6,\)"),
    ],
)
def test_errors_are_sentences(args, words):
    for call in (strong_collapse, subspace_distance):
        with pytest.raises(ValueError, match=words) as caught:
            call(*args)
        assert str(caught.value).endswith(".")
