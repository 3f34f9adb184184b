"""The margin of given data against closed forms, a general solver, and its definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from ncbook.runtime import generator
from ncbook.theory.mean_field.one_vs_rest import one_vs_rest_margins

few = settings(max_examples=60)


def test_two_points():
    X = torch.tensor([[3.0, 4.0], [-3.0, -4.0]], dtype=torch.float64)
    y = torch.tensor([0, 1])
    assert one_vs_rest_margins(X, y, 2).tolist() == pytest.approx([5, 5])
    assert one_vs_rest_margins(1e-6 * X, y, 2).tolist() == pytest.approx([5e-6, 5e-6])
    # Points x and -x of one class: no half-space holds both.
    assert one_vs_rest_margins(X.repeat(2, 1), torch.tensor([0, 0, 1, 1]), 2).max() < 1e-12


def test_points_at_an_angle():
    angle = math.radians(50)
    X = torch.tensor([[1, 0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    # x and -z stand at 130 degrees: the bisector has the cosine of 65.
    expected = math.cos(math.radians(65))
    assert one_vs_rest_margins(X, torch.tensor([0, 1]), 2).tolist() == pytest.approx([expected] * 2)


def planted(seed: int, n: int = 30, d: int = 4, K: int = 3):
    rng = generator(seed)
    X = torch.randn(n, d, generator=rng, dtype=torch.float64)
    y = torch.cat([torch.arange(K), torch.randint(0, K, (n - K,), generator=rng)])
    return X + 3 * torch.eye(K, d, dtype=torch.float64)[y] - 1, y


@few
@given(st.integers(0, 2**32), st.integers(4, 40), st.integers(3, 6))
def test_a_solver_for_programs_and_the_definition_agree(seed, n, d):
    X, y = planted(seed, n, d)
    margins = one_vs_rest_margins(X, y, 3).numpy()
    others = torch.randn(200, d, generator=generator(seed), dtype=torch.float64).numpy()
    for k in range(3):
        Z = np.where(y == k, 1.0, -1.0)[:, None] * X.numpy()
        feasible = linprog(np.zeros(d), A_ub=-Z, b_ub=-np.ones(n), bounds=(None, None)).status == 0
        assert feasible == (margins[k] > 1e-9)
        # The shortest w with <w, z_i> >= 1, of which 1/|w| is the margin.
        found = minimize(
            lambda w: w @ w / 2,
            Z.mean(0),
            jac=lambda w: w,
            constraints={"type": "ineq", "fun": lambda w, Z=Z: Z @ w - 1, "jac": lambda _, Z=Z: Z},
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        if feasible:
            assert (Z @ found.x).min() > 1 - 1e-6
            assert margins[k] == pytest.approx(1 / np.linalg.norm(found.x), rel=1e-5)
        # No unit vector has more, whatever it is.
        vectors = np.vstack([others, found.x])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        assert (Z @ vectors.T).min(0).max() <= margins[k] * (1 + 1e-5) + 1e-9


def test_labels_and_data_of_each_run():
    (X0, y0), (X1, y1) = planted(0), planted(1)
    X = torch.stack([X0, X1])
    own = one_vs_rest_margins(X, torch.stack([y0, y1]), 3)
    assert own.shape == (2, 3)
    assert torch.equal(own[0], one_vs_rest_margins(X0, y0, 3))
    assert torch.equal(own[1], one_vs_rest_margins(X1, y1, 3))
    shared = one_vs_rest_margins(X, y0, 3)
    assert torch.equal(shared[0], own[0])
    assert not torch.equal(shared[1], own[1])  # control


@pytest.mark.parametrize(
    ("y", "K"),
    [
        (torch.tensor([0, 1, 2]), 3),
        (torch.tensor([0, 1, 1, 0]), 3),
        (torch.tensor([0, 1, 2, 3]), 3),
        (torch.tensor([0.0, 1, 2, 0]), 3),
        (torch.tensor([0, 0, 0, 0]), 1),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, K):
    with pytest.raises(ValueError, match=f"K = {K} and labels"):
        one_vs_rest_margins(torch.ones(4, 2, dtype=torch.float64), y, K)


def test_samples_that_are_not_finite_are_refused():
    X, y = planted(0)
    X[3, 1] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        one_vs_rest_margins(X, y, 3)
