"""The line between data that collapse and data that cannot, and the exact count without signal."""

import math

import numpy as np
import pytest
import torch
from relu_cases import simplex_rows
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from theory_cases import normal

from ncbook.theory.relu.collapse_line import (
    chance_without_signal,
    collapse_line,
    positive_part_square,
)
from ncbook.theory.relu.collapse_program import smallest_weights


def eye(K):
    return torch.eye(K, dtype=torch.float64)


@pytest.mark.parametrize("c", [-3.0, -0.4, 0.0, 1.3])
def test_phi_is_the_mean_that_it_says(c):
    def part(g):
        return max(g + c, 0) ** 2 * math.exp(-g * g / 2) / math.sqrt(2 * math.pi)

    assert positive_part_square(c) == pytest.approx(quad(part, -c, 12)[0], rel=1e-8)


def one_variable(K, rho, weight):
    """The formula of frames without biases, weight c^2 of the means' squares."""

    def value(c):
        return (1 + (K - 1) * float(positive_part_square(c))) / (1 - weight * c * c / rho)

    end = math.sqrt(rho / weight) * (1 - 1e-9)
    options = {"xatol": 1e-12}
    return minimize_scalar(value, bounds=(-end, 0), method="bounded", options=options).fun


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("rho", [0.3, 4.0, 64.0])
def test_frames_without_biases_have_a_formula_in_one_variable(K, rho):
    root = math.sqrt(rho)
    line = float(collapse_line(root * simplex_rows(K)))
    assert line == pytest.approx(one_variable(K, rho, (K - 1) ** 2), rel=1e-7)
    orthogonal = float(collapse_line(root * eye(K)))
    assert orthogonal == pytest.approx(one_variable(K, rho, K - 1), rel=1e-7)
    # Control: for more than two classes orthogonal means are seen better.
    assert orthogonal < line - 1e-3 if K > 2 else orthogonal == pytest.approx(line)


def test_numbers_of_three_classes():
    """Both frames, without and with biases, as a minimiser by hand had them."""
    rho = torch.tensor([0.0, 1, 4, 16, 64, 1000], dtype=torch.float64)
    scale = rho.sqrt()[:, None, None]
    wanted = {
        (True, False): [2.000, 1.927, 1.763, 1.462, 1.202, 1.026],
        (False, False): [2.000, 1.864, 1.622, 1.315, 1.125, 1.015],
        (True, True): [1.663, 1.478, 1.270, 1.112, 1.040, 1.004],
        (False, True): [1.663, 1.527, 1.332, 1.148, 1.055, 1.006],
    }
    for (simplex, bias), numbers in wanted.items():
        line = collapse_line(scale * (simplex_rows(3) if simplex else eye(3)), bias=bias)
        assert line.tolist() == pytest.approx(numbers, abs=1e-3)


@pytest.mark.parametrize("K", [2, 3, 7])
def test_the_ends(K):
    assert float(collapse_line(0 * eye(K))) == pytest.approx((K + 1) / 2, rel=1e-12)
    for bias in (False, True):
        assert 1 <= float(collapse_line(300 * eye(K), bias=bias)) < 1.02


def test_a_class_has_a_line_of_its_own():
    means = torch.tensor([[3.0, 0.0], [2.5, 0.0], [0.0, 4.0]], dtype=torch.float64)
    near, _, far = (float(collapse_line(means, k)) for k in range(3))
    assert near > far + 0.1
    rotated = means @ torch.linalg.qr(normal(1, 2, 2))[0]
    assert float(collapse_line(rotated, 0)) == pytest.approx(near, rel=1e-9)


@pytest.mark.parametrize(("q", "most", "least"), [(0.75, 0.05, 0), (1.3, 1, 0.95)])
def test_samples_know_the_line(q, most, least):
    K, n = 2, 30
    means = 1.5 * simplex_rows(K)
    d = round(q * float(collapse_line(means)) * n)
    X = normal(3, 20, K * n, d)
    X[..., :K] += means.repeat_interleave(n, 0)
    y = torch.arange(K).repeat_interleave(n)
    assert least <= float(smallest_weights(X, y).feasible.double().mean()) <= most


@pytest.mark.parametrize(("K", "n", "d"), [(2, 4, 5), (2, 4, 6), (3, 3, 6), (4, 2, 5)])
def test_the_count_without_signal(K, n, d):
    draws = 400
    y = torch.arange(K).repeat_interleave(n)
    share = float(smallest_weights(normal(d, draws, K * n, d), y, [0]).feasible.double().mean())
    chance = chance_without_signal(K, n, d)
    assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / draws)
    # Control: without the equations it would be Wendel's count of half-spaces in d dimensions.
    half = sum(math.comb(K * n - 1, i) for i in range(d)) / 2 ** (K * n - 1)
    assert abs(share - half) > 0.08


def test_the_count_ends_where_it_must():
    assert chance_without_signal(3, 5, 4) == 0 and chance_without_signal(3, 5, 15) == 1
    middle = [chance_without_signal(3, n, 2 * n) for n in (5, 50, 5000)]
    assert np.all(np.diff(np.abs(np.array(middle) - 0.5)) < 0) and abs(middle[-1] - 0.5) < 5e-3


def test_what_is_refused():
    with pytest.raises(ValueError, match="k = 3 of 3 classes"):
        collapse_line(eye(3), 3)
    with pytest.raises(ValueError, match="at least 2"):
        chance_without_signal(1, 3, 4)
