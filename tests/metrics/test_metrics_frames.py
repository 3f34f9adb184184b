"""Cosines, angles and distances from frames: definitions, closed forms, digits, awkward input."""

import metrics_reference as ref
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook import metrics

PROPERTY = settings(max_examples=30)


def rows_of(seed, k, d, lead=()):
    rows = np.random.default_rng(seed).normal(size=(*lead, k, d))
    return rows, torch.as_tensor(rows)


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.integers(2, 7), st.integers(1, 9))
def test_against_the_definitions(seed, k, d):
    rows, t = rows_of(seed, k, d)
    cosines = np.array([[ref.cosine(a, b) for b in rows] for a in rows])
    np.testing.assert_allclose(metrics.cosines(t), cosines, atol=1e-14)
    np.testing.assert_allclose(
        metrics.angles(t), np.arccos(cosines.clip(-1, 1)), atol=3e-7
    )  # the arc cosine is the coarse one
    np.testing.assert_allclose(metrics.off_diagonal(metrics.cosines(t)), ref.pair_cosines(rows))
    for name in ("equinorm", "equiangularity", "max_angle"):
        value = getattr(metrics, name)(t)
        np.testing.assert_allclose(value, getattr(ref, name)(rows), rtol=1e-10, atol=1e-14)
    gram = rows @ rows.T
    unit = gram / np.linalg.norm(gram)
    etf = np.eye(k) - 1 / k
    np.testing.assert_allclose(
        metrics.simplex_distance(t @ t.mT),
        np.linalg.norm(unit - etf / np.linalg.norm(etf)),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        metrics.orthogonal_distance(t @ t.mT),
        np.linalg.norm(unit - np.eye(k) / np.linalg.norm(np.eye(k))),
        rtol=1e-12,
    )


@PROPERTY
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(2, 8), st.floats(1e-3, 1e3))
def test_invariances(seed, k, d, scale):
    rows, t = rows_of(seed, k, d)
    rng = np.random.default_rng(seed + 1)
    turned = torch.as_tensor(scale * rows @ ref.rotation(rng, d))
    order = torch.as_tensor(rng.permutation(k))
    for other in (turned, t[order]):
        for measure in (metrics.equinorm, metrics.equiangularity, metrics.max_angle):
            torch.testing.assert_close(measure(other), measure(t), rtol=1e-10, atol=1e-13)
        for measure in (metrics.simplex_distance, metrics.orthogonal_distance):
            expected = measure(t @ t.mT)
            torch.testing.assert_close(measure(other @ other.mT), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("k, d", [(2, 1), (3, 2), (3, 7), (8, 8)])
def test_simplex(k, d):
    t = torch.as_tensor(4.0 * ref.simplex(k, d))
    torch.testing.assert_close(
        metrics.off_diagonal(metrics.cosines(t)),
        torch.full((k * (k - 1),), -1 / (k - 1), dtype=t.dtype),
    )
    assert metrics.simplex_distance(t @ t.mT) < 1e-14
    assert metrics.max_angle(t) < 1e-14 and metrics.equinorm(t) < 1e-14
    gap = np.sqrt(2 - 2 * np.sqrt((k - 1) / k))  # between the two unit targets
    np.testing.assert_allclose(metrics.orthogonal_distance(t @ t.mT), gap, rtol=1e-12)
    longer = t.clone()
    longer[0] *= 1.05
    assert metrics.simplex_distance(longer @ longer.mT) > 1e-2
    assert metrics.simplex_distance(metrics.cosines(longer)) < 1e-14  # lengths do not count


def test_orthogonal_frame():
    k, d = 4, 6
    t = torch.as_tensor(0.1 * ref.rotation(np.random.default_rng(0), d)[:k])
    assert metrics.orthogonal_distance(t @ t.mT) < 1e-14
    np.testing.assert_allclose(metrics.max_angle(t), 1 / (k - 1), rtol=1e-12)
    assert metrics.equiangularity(t) < 1e-14
    tilted = t + 0.1 * t.roll(1, 0)
    assert metrics.orthogonal_distance(tilted @ tilted.mT) > 0.05


def test_angles_keep_their_digits():
    small = 1e-9
    rows = torch.tensor([[1.0, 0.0], [1.0, small], [-1.0, small]], dtype=torch.float64)
    angles = metrics.angles(rows)
    np.testing.assert_allclose(angles[0, 1], small, rtol=1e-12)
    np.testing.assert_allclose(np.pi - angles[0, 2].item(), small, rtol=1e-6)
    assert torch.equal(angles.diagonal(), torch.zeros(3, dtype=torch.float64))
    assert metrics.cosines(rows)[0, 1].arccos() == 0  # the naive way sees nothing


def test_two_sets_of_rows_and_runs():
    a, ta = rows_of(0, 3, 5, (2, 4))
    b, tb = rows_of(1, 6, 5, (2, 4))
    values = metrics.cosines(ta, tb)
    assert values.shape == metrics.angles(ta, tb).shape == (2, 4, 3, 6)
    np.testing.assert_allclose(values[1, 2, 0, 5], ref.cosine(a[1, 2, 0], b[1, 2, 5]), rtol=1e-13)
    torch.testing.assert_close(metrics.angles(ta, tb).cos(), values)
    for measure in (metrics.equinorm, metrics.equiangularity, metrics.max_angle):
        torch.testing.assert_close(measure(ta)[1, 3], measure(ta[1, 3]))
    gram = ta @ ta.mT
    torch.testing.assert_close(
        metrics.simplex_distance(gram)[0, 1], metrics.simplex_distance(gram[0, 1])
    )


def test_off_diagonal():
    matrix = torch.arange(9.0).view(3, 3)
    assert metrics.off_diagonal(matrix).tolist() == [1, 2, 3, 5, 6, 7]
    assert metrics.off_diagonal(matrix.mT).tolist() == [3, 6, 1, 7, 2, 5]
    batch = torch.stack([matrix, matrix + 9]).mT
    assert metrics.off_diagonal(batch)[1].tolist() == [12, 15, 10, 16, 11, 14]


def test_zero_rows_tiny_rows_and_dtype():
    rows = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
    cosines = metrics.cosines(rows)
    assert cosines.dtype == torch.float32
    assert torch.isnan(cosines[1]).all() and torch.isnan(cosines[:, 1]).all()
    assert abs(cosines[0, 2]) < 1e-6
    assert torch.isnan(metrics.max_angle(rows)) and torch.isnan(metrics.angles(rows)[0, 1])
    assert torch.isnan(metrics.equinorm(0 * rows))
    assert torch.isnan(metrics.simplex_distance(torch.zeros(3, 3)))
    _, t = rows_of(2, 4, 3)
    for scale in (1e-200, 1e200):
        torch.testing.assert_close(metrics.cosines(scale * t), metrics.cosines(t))
    assert metrics.cosines(t).abs().max() <= 1


R = torch.eye(3)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: metrics.cosines(R[0]), r"rows has shape \(3,\)"),
        (lambda: metrics.cosines(R.long()), "floating-point"),
        (lambda: metrics.cosines(R, R[:, :2]), "same last dimension"),
        (lambda: metrics.angles(R, R.double()), "one dtype"),
        (lambda: metrics.equinorm(R[:1]), "at least 2"),
        (lambda: metrics.max_angle(R[:1]), "at least 2"),
        (lambda: metrics.equiangularity(R[:1]), "at least 2"),
        (lambda: metrics.off_diagonal(R[:2]), "square"),
        (lambda: metrics.simplex_distance(R[:2]), "square"),
        (lambda: metrics.orthogonal_distance(R[:1, :1]), "at least 2"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert str(caught.value).endswith(".")


def test_class_plane_is_that_of_the_means():
    y = torch.arange(3).repeat_interleave(4)
    angle = torch.tensor([90.0, 210.0, 330.0]).deg2rad()
    centres = torch.stack([angle.cos(), torch.zeros(3), angle.sin()], 1)
    shifts = torch.tensor([[0.1, 1, 0], [-0.1, -1, 0], [0, 1, 0.1], [0, -1, -0.1]])
    plane = metrics.class_plane(centres[y] + shifts.repeat(3, 1) + 5, y)
    means = torch.stack([plane[y == k].mean(0) for k in range(3)])
    expected = torch.tensor([[1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    assert torch.allclose(means, expected, atol=1e-5)
    # What lies outside the plane is gone, what lies in it is kept.
    assert torch.allclose((plane - means[y]).norm(dim=-1), torch.full((12,), 0.1), atol=1e-5)
    with pytest.raises(ValueError, match="three means"):
        metrics.class_plane(centres, torch.tensor([0, 1, 1]))
