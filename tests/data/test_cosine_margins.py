"""The measures of orthogonal separability against their definition, pair by pair."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.data import cosine_margins as module
from ncbook.data.cosine_margins import (
    cosine_counts,
    cosine_margins,
    largest_constant,
    separable_part,
    smallest_constant,
)
from ncbook.data.synthetic import augment, orthogonally_separable
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
FIELDS = ("mu_s", "mu_d", "X_min", "X_max", "same_positive", "different_negative")

few = settings(max_examples=60)


def by_pairs(X: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """The definition, one pair at a time, for one data set of shape (n, D)."""
    norms = [math.sqrt(sum(v * v for v in x)) for x in X.tolist()]
    same, different = [], []
    for i in range(len(y)):
        for j in range(i):
            product = sum(a * b for a, b in zip(X[i].tolist(), X[j].tolist(), strict=True))
            (same if y[i] == y[j] else different).append(product / norms[i] / norms[j])
    return {
        "mu_s": min([*same, 1.0]),
        "mu_d": min(-c for c in different),
        "X_min": min(norms),
        "X_max": max(norms),
        "same_positive": sum(c > 0 for c in same) / len(same) if same else math.nan,
        "different_negative": sum(c < 0 for c in different) / len(different),
    }


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@few
@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=12).filter(lambda y: len(set(y)) > 1),
    st.integers(1, 5),
    st.sampled_from([1, 3, 7, 2**24]),
    st.integers(0, 2**32),
)
def test_every_field_is_its_definition_in_any_pieces(y, D, chunk, seed):
    y = torch.tensor(y)
    X = points(2, len(y), D, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        measured = cosine_margins(X, y)
    for run in range(2):
        for field, value in by_pairs(X[run], y).items():
            assert getattr(measured, field)[run].item() == pytest.approx(
                value, rel=1e-12, abs=1e-14, nan_ok=True
            ), field


def test_a_point_in_the_wrong_class_is_seen():
    """Control: the measures depend on the labels."""
    data = orthogonally_separable(RUN, [0], 3, 6, 5, mu_s=0.6, mu_d=0.2)
    good = cosine_margins(data.X, data.y)
    assert good.holds.all() and (good.same_positive == 1).all()
    assert (good.different_negative == 1).all()
    y = data.y.clone()
    y[0] = 1
    bad = cosine_margins(data.X, y)
    assert not bad.holds.any() and bad.mu_s < 0 and bad.mu_d < 0
    assert bad.same_positive < 1 and bad.different_negative < 1


def test_leading_dimensions_are_kept():
    X, y = points(2, 3, 8, 4), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    whole = cosine_margins(X, y)
    for field in FIELDS:
        assert getattr(whole, field).shape == (2, 3)
        assert getattr(cosine_margins(X[1, 2], y), field).shape == ()
        parts = getattr(cosine_margins(X[1, 2], y), field)
        assert getattr(whole, field)[1, 2].item() == pytest.approx(parts.item(), rel=1e-12)


def test_scale_changes_the_norms_alone():
    X, y = points(8, 4), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    scales = torch.linspace(0.5, 3, 8, dtype=torch.float64)[:, None]
    plain, scaled = cosine_margins(X, y), cosine_margins(scales * X, y)
    for field in ("mu_s", "mu_d", "same_positive", "different_negative"):
        assert getattr(scaled, field).item() == pytest.approx(getattr(plain, field).item(), 1e-12)
    assert scaled.X_max != plain.X_max


# --- Classes ------------------------------------------------------------------------------------


def test_absent_classes_do_not_matter():
    X = points(5, 3)
    gaps, dense = torch.tensor([1, 1, 7, 7, 7]), torch.tensor([0, 0, 1, 1, 1])
    for field in FIELDS:
        assert torch.equal(
            getattr(cosine_margins(X, gaps), field), getattr(cosine_margins(X, dense), field)
        )


def test_order_of_the_points_does_not_matter():
    X, y = points(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    order = torch.tensor([5, 3, 1, 0, 2, 4])
    for field in FIELDS:
        a = getattr(cosine_margins(X, y), field)
        assert a.item() == pytest.approx(getattr(cosine_margins(X[order], y[order]), field).item())


def test_classes_of_one_point_have_margin_one_and_no_pairs():
    measured = cosine_margins(torch.tensor([[1.0, 0], [-1, 1]]), torch.tensor([0, 1]))
    assert measured.mu_s == 1 and measured.same_positive.isnan()
    assert measured.mu_d.item() == pytest.approx(math.sqrt(0.5))
    # One class of one point, one of two: the pair counts.
    measured = cosine_margins(torch.tensor([[1.0, 0], [-1, 1], [-1, -1]]), torch.tensor([0, 1, 1]))
    assert measured.mu_s.abs() < 1e-7 and measured.same_positive in (0, 1)


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y", "why"),
    [
        (torch.ones(3, 2), torch.tensor([0, 1]), r"expected \(..., n, D\) and \(n,\)"),
        (torch.ones(3), torch.tensor([0, 1, 1]), r"expected \(..., n, D\) and \(n,\)"),
        (torch.ones(2, 2), torch.tensor([[0, 1]]), r"expected \(..., n, D\) and \(n,\)"),
        (torch.ones(2, 2, dtype=torch.int64), torch.tensor([0, 1]), "floating point for X"),
        (torch.ones(2, 2), torch.tensor([0.0, 1.0]), "whole numbers for y"),
        (torch.ones(2, 2), torch.tensor([1, 1]), "y has 1 classes: expected at least two"),
        (torch.ones(0, 2), torch.tensor([], dtype=torch.int64), "y has 0 classes"),
        (torch.tensor([[1.0, math.nan], [1, 1]]), torch.tensor([0, 1]), "not finite"),
        (torch.tensor([[1.0, math.inf], [1, 1]]), torch.tensor([0, 1]), "not finite"),
        (torch.tensor([[0.0, 0], [1, 1], [0, 0]]), torch.tensor([0, 1, 1]), "^2 of the points"),
    ],
)
def test_data_without_an_answer_are_refused(X, y, why):
    with pytest.raises(ValueError, match=why):
        cosine_margins(X, y)


@pytest.mark.parametrize("whole", [list, np.array, lambda y: np.array(y, np.uint16), torch.tensor])
def test_labels_of_any_library_are_labels(whole):
    X, y = points(6, 3), [0, 1, 0, 1, 2, 2]
    expected = cosine_margins(X, torch.tensor(y))
    for name in FIELDS:
        assert torch.equal(getattr(cosine_margins(X, whole(y)), name), getattr(expected, name))
    assert separable_part(X, whole(y))[1] == separable_part(X, torch.tensor(y))[1]


def test_labels_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="y is a list that makes no tensor"):
        cosine_margins(points(4, 2), list("abab"))


# --- Biases -------------------------------------------------------------------------------------


@few
@given(st.integers(2, 4), st.floats(0.1, 1), st.integers(0, 2**32))
def test_the_largest_constant_is_sharp(K, share, seed):
    data = orthogonally_separable(
        RUN, [seed, seed + 1], K, 2 * K, 4, mu_d=share / (K - 1), norms=(0.5, 2)
    )
    largest = largest_constant(data.X, data.y)
    assert largest.shape == (2,) and (largest > 0).all()
    for X, constant in zip(data.X, largest, strict=True):
        below, above = augment(X, float(constant) * 0.999), augment(X, float(constant) * 1.001)
        assert cosine_margins(below, data.y).holds
        assert not cosine_margins(above, data.y).holds


def test_data_that_are_not_separable_bear_no_constant():
    X, y = torch.tensor([[1.0, 0], [0.9, 0.1], [-1, 0]]), torch.tensor([0, 1, 1])
    assert largest_constant(X, y) == 0
    with pytest.raises(ValueError, match="y has 1 classes"):
        largest_constant(X, torch.tensor([1, 1, 1]))


@few
@given(st.integers(2, 4), st.integers(0, 2**32))
def test_the_window_of_constants_is_sharp_at_both_ends(K, seed):
    y = torch.arange(K).repeat_interleave(3)
    # Opposed classes, each also spread in a private dimension: within a class products may be < 0.
    data = orthogonally_separable(RUN, [seed], K, K + 1, 3, mu_s=0.95)
    private = torch.eye(K, dtype=torch.float64)[y] * points(3 * K, 1, seed=seed) / 2
    X = torch.cat([2 * data.X[0], 3 * private], -1)
    low, high = float(smallest_constant(X, y)), float(largest_constant(X, y))
    for constant in (0.999 * low, 1.001 * low, (low + high) / 2, 0.999 * high, 1.001 * high):
        inside = low < constant < high
        assert bool(cosine_margins(augment(X, constant), y).holds) == inside or constant == low == 0


def test_a_constant_can_make_data_separable_that_are_not():
    X = torch.tensor([[1.0, 2], [1, -2], [-4, 0]])
    y = torch.tensor([0, 0, 1])
    assert not cosine_margins(X, y).holds
    assert smallest_constant(X, y).item() == pytest.approx(3**0.5)
    assert largest_constant(X, y).item() == pytest.approx(2)
    assert cosine_margins(augment(X, 3.5**0.5), y).holds
    assert smallest_constant(X.abs(), y) == 0


# --- Counts -------------------------------------------------------------------------------------


@few
@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=10).filter(lambda y: len(set(y)) > 1),
    st.sampled_from([1, 5, 2**24]),
    st.integers(0, 2**32),
)
def test_counts_are_those_of_a_loop_over_pairs(y, chunk, seed):
    y = torch.tensor(y)
    X = points(len(y), 3, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        counts = cosine_counts(X, y, 8)
    present = y.unique().tolist()
    want = torch.zeros(len(present), len(present), 8, dtype=torch.int64)
    for i in range(len(y)):
        for j in range(i):
            cosine = float(X[i] @ X[j] / X[i].norm() / X[j].norm())
            k, l = sorted((present.index(y[i]), present.index(y[j])))
            want[k, l, min(int((cosine + 1) * 4), 7)] += 1
    assert torch.equal(counts, torch.maximum(want, want.transpose(0, 1)))


def test_the_counts_below_zero_are_the_shares_of_separability():
    X, y = points(30, 4), torch.arange(30) % 3
    counts, measured = cosine_counts(X, y, 20), cosine_margins(X, y)
    off = ~torch.eye(3, dtype=torch.bool)
    negative = counts[..., :10].sum(-1)[off].sum() / counts[off].sum()
    assert negative.item() == pytest.approx(measured.different_negative.item(), abs=1e-6)
    assert negative.item() != pytest.approx(measured.same_positive.item(), abs=1e-3)


@pytest.mark.parametrize("bins", [0, 3, -2])
def test_bins_without_an_edge_at_zero_are_refused(bins):
    with pytest.raises(ValueError, match="even number of bins"):
        cosine_counts(points(4, 2), torch.tensor([0, 0, 1, 1]), bins)


# --- Parts --------------------------------------------------------------------------------------


def largest_part(X: torch.Tensor, y: torch.Tensor) -> int:
    """The size of the largest orthogonally separable part, by trying all."""
    products = X @ X.T
    fine = torch.where(y[:, None] == y, products > 0, products < 0).fill_diagonal_(True)
    n = len(y)
    best = 0
    for subset in range(1, 2**n):
        members = [i for i in range(n) if subset >> i & 1]
        if len(members) > best and bool(fine[members][:, members].all()):
            best = len(members)
    return best


@settings(max_examples=25)
@given(st.integers(4, 9), st.integers(2, 3), st.integers(0, 2**32))
def test_a_part_is_separable_and_the_bound_is_one(n, K, seed):
    X, y = points(n, 3, seed=seed), torch.arange(n) % K
    stay, at_most = separable_part(X, y)
    assert 1 <= int(stay.sum()) <= largest_part(X, y) <= at_most <= n
    if len(y[stay].unique()) > 1:
        assert cosine_margins(X[stay], y[stay]).holds


def test_of_separable_data_all_is_kept_and_of_one_wrong_point_all_others():
    data = orthogonally_separable(RUN, [0], 3, 6, 8)
    X, y = data.X[0], data.y
    stay, at_most = separable_part(X, y)
    assert stay.all() and at_most == 24
    X[3] = -X[3]
    stay, at_most = separable_part(X, y)
    assert stay.sum() == 23 and not stay[3] and at_most == 23


def test_a_part_of_a_batch_is_refused():
    with pytest.raises(ValueError, match="one data set"):
        separable_part(points(2, 4, 3), torch.tensor([0, 0, 1, 1]))
