"""What a constant coordinate does, against the augmented data themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.data.cosine_margins import cosine_margins, largest_constant
from ncbook.data.synthetic import augment, orthogonally_separable
from ncbook.runtime import Runtime
from ncbook.theory.relu import biases
from ncbook.theory.relu.one_class_svm import one_class_svm

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
few = settings(max_examples=30)


@few
@given(st.integers(2, 4), st.floats(0, 3), st.integers(0, 2**32))
def test_margins_of_equal_norms_change_as_said(K, ratio, seed):
    norm = 1.7
    data = orthogonally_separable(RUN, [seed], K, K + 2, 5, norms=(norm, norm))
    before = cosine_margins(data.X, data.y)
    after = cosine_margins(augment(data.X, ratio * norm), data.y)
    q = torch.tensor(ratio, dtype=torch.float64)
    assert after.mu_s.item() == pytest.approx(
        biases.cosine_with_constant(before.mu_s, q).item(), abs=1e-13
    )
    assert -after.mu_d.item() == pytest.approx(
        biases.cosine_with_constant(-before.mu_d, q).item(), abs=1e-13
    )
    if ratio > 0.01:
        assert after.mu_s.item() != pytest.approx(
            biases.cosine_with_constant(before.mu_s, norm * q).item(), abs=1e-9
        )


@few
@given(st.integers(2, 4), st.floats(0, 3), st.integers(0, 2**32))
def test_a_constant_leaves_the_shortest_vectors_where_they_are(K, constant, seed):
    data = orthogonally_separable(RUN, [seed, seed + 1], K, 2 * K, 5, norms=(0.5, 2))
    plain = biases.shortest_vectors(data.X, data.y)
    longer = biases.shortest_vectors(augment(data.X, constant), data.y)
    assert longer[..., :-1] == pytest.approx(plain, abs=1e-12)
    assert longer[..., -1] == pytest.approx(
        torch.full((2, K), constant, dtype=torch.float64), abs=1e-12
    )
    margins = one_class_svm(augment(data.X, constant), data.y).margins
    want = (one_class_svm(data.X, data.y).margins.square() + constant**2).sqrt()
    assert margins == pytest.approx(want, abs=1e-12)


@few
@given(st.integers(2, 4), st.integers(0, 2**32))
def test_silence_ends_at_the_constant_said(K, seed):
    data = orthogonally_separable(RUN, [seed, seed + 1], K, 2 * K, 5, norms=(0.5, 2))
    X, y = data.X, data.y
    for P in (biases.class_means(X, y), biases.shortest_vectors(X, y), X[:, ::5]):
        limit = biases.silent_below(P, X, y)
        # Samples are combinations too, so no combination is heard before every sample is silent.
        assert (limit >= largest_constant(X, y) * (1 - 1e-12)).all()
        for run in range(2):
            for factor, silent in ((0.999, True), (1.001, False)):
                c = float(limit[run]) * factor
                products = augment(P[run], c) @ augment(X[run], c).T
                other = y != torch.arange(K)[:, None]
                assert bool((products[other] < 0).all()) is silent


def test_silence_needs_opposed_classes():
    X, y = torch.tensor([[1.0, 0], [0.0, 1]]), torch.tensor([0, 1])
    assert biases.silent_below(X, X, y) == 0


def test_means_are_those_of_a_loop():
    X, y = torch.arange(12.0).reshape(6, 2), [0, 1, 0, 1, 1, 1]
    means = biases.class_means(X, y)
    assert means.tolist() == [[2, 3], [6.5, 7.5]]


def test_one_point_a_class_is_asked_for():
    X, y = torch.eye(3), [0, 1, 2]
    with pytest.raises(ValueError, match="one point for each class"):
        biases.silent_below(X[:2], X, y)
