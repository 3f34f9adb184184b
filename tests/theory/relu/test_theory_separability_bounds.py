"""How far apart classes can be, against random data and data that attain the bounds."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from relu_cases import cone_data, simplex_rows, unit
from theory_cases import few, normal, seeds

from ncbook.theory.relu.one_class_svm import one_class_svm
from ncbook.theory.relu.separability_bounds import largest_mu_d, least_mu_s, widest_data


def cosines(X: torch.Tensor) -> torch.Tensor:
    rows = unit(X.mT).mT
    return rows @ rows.mT


def separation(X: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    """(mu_s, mu_d) by definition."""
    c, same = cosines(X), y[:, None] == y
    return float(c[same].min()), -float(c[~same].max())


@few
@given(st.integers(2, 6), st.integers(1, 5), st.integers(1, 8), seeds)
def test_no_data_pass_the_bounds(K, per_class, D, seed):
    """Data of any kind: the classes need not even be separable where the bound does not ask it."""
    axes = torch.cat([simplex_rows(K), torch.zeros(K, D, dtype=torch.float64)], 1)
    y = torch.arange(K).repeat_interleave(per_class)
    X = axes[y] + 0.3 * float(normal(seed, 1).abs()) * normal(seed + 1, len(y), K + D)
    mu_s, mu_d = separation(X, y)
    try:
        margins = one_class_svm(unit(X.mT).mT, y).margins
    except ValueError:
        margins = None
    assert mu_d <= largest_mu_d(K) + 1e-12
    if mu_d > 0:
        assert margins is None or mu_d <= largest_mu_d(K, margins) + 1e-12
        assert mu_s >= least_mu_s(K, mu_d) - 1e-12


@pytest.mark.parametrize("K", [2, 3, 4, 7])
def test_the_simplex_attains_the_bound_and_nothing_beside_it(K):
    y = torch.arange(K)
    assert separation(simplex_rows(K), y)[1] == pytest.approx(1 / (K - 1), abs=1e-15)
    assert largest_mu_d(K) == pytest.approx(1 / (K - 1), abs=1e-15)
    moved = simplex_rows(K) + 0.1 * normal(K, K, K)
    assert separation(moved, y)[1] < largest_mu_d(K) - 1e-3


@few
@given(st.lists(st.floats(0.3, 1), min_size=2, max_size=6))
def test_the_widest_data_attain_the_bound_for_their_margins(margins):
    K = len(margins)
    X, y = widest_data(margins)
    bound = largest_mu_d(K, margins)
    assert float((X.norm(dim=1) - 1).abs().max()) < 1e-12
    assert torch.allclose(one_class_svm(X, y).margins, torch.tensor(margins).double(), atol=1e-12)
    between = cosines(X)[y[:, None] != y]
    assert float((between + bound).abs().max()) < 1e-12
    total = sum(bound / (gamma**2 + bound) for gamma in margins)
    assert total == pytest.approx(1, abs=1e-12)
    assert bound <= largest_mu_d(K) + 1e-15
    # Control: the bound of equal margins, taken from their mean square, is another one.
    if max(margins) - min(margins) > 0.1 and K == 2:
        mean = (margins[0] ** 2 + margins[1] ** 2) / 2
        assert bound == pytest.approx(margins[0] * margins[1], rel=1e-12)
        assert bound < mean - 1e-3


@pytest.mark.parametrize("K", [2, 3, 5])
def test_the_least_cosine_within_a_class_is_attained(K):
    mu_d = 0.7 / (K - 1)
    mu_s = least_mu_s(K, mu_d)
    X, y = widest_data([math.sqrt((1 + mu_s) / 2), *[1.0] * (K - 1)])
    assert separation(X, y) == pytest.approx((mu_s, mu_d), abs=1e-12)
    assert least_mu_s(K, 0) == -1
    assert least_mu_s(K, 1 / (K - 1)) == pytest.approx(1)
    assert least_mu_s(K, mu_d + 1e-3) > mu_s + 1e-3


def test_spread_costs_separation():
    """The bound from the margins is sharper than 1/(K-1) on cones, and still holds."""
    X, y = cone_data(3, 3, 6)
    bound = largest_mu_d(3, one_class_svm(unit(X.mT).mT, y).margins)
    assert separation(X, y)[1] < bound < 0.5 - 1e-3


def test_what_is_impossible_is_refused():
    for K, margins in ((1, None), (3, [0.5, 0.5]), (2, [0.5, 1.1]), (2, [0.0, 0.5])):
        with pytest.raises(ValueError, match="expected K >= 2 and K margins in"):
            largest_mu_d(K, margins)
    for K, mu_d in ((1, 0.1), (3, 0.51), (3, -0.1)):
        with pytest.raises(ValueError, match="expected K >= 2 and mu_d from 0"):
            least_mu_s(K, mu_d)
    with pytest.raises(ValueError, match="margins in"):
        widest_data([0.5])


def test_margins_that_differ_by_rounding_have_the_bound_of_equal_ones():
    """At the ends of the root's bracket rounding can then hide the change of sign, as here."""
    margins = [*map(float.fromhex, ("0x1.fbfed62c01637p-1", "0x1.fbfed62c01635p-1"))]
    bound = largest_mu_d(3, [margins[0], margins[1], margins[0]])
    assert bound == pytest.approx(margins[0] ** 2 / 2, rel=1e-14)
    clearly = largest_mu_d(3, [margins[0], margins[1] * (1 - 1e-6), margins[0]])
    assert clearly < bound * (1 - 1e-8)
