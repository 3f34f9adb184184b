"""The scalar problem against a search by brute force, and the class problem against matrices."""

import pytest
import torch
from scipy.optimize import brentq

from ncbook.theory.deep import classes, scalar
from ncbook.theory.deep.classes import ClassProblem

LAYERS = [1, 2, 3, 4, 6]
GRID = torch.linspace(0, 1, 20001, dtype=torch.float64)


@pytest.mark.parametrize("M", LAYERS)
def test_the_reduced_risk_is_the_risk(M):
    y, N, decay, sigma = 3.0, 40, 1e-6, 2.1
    phi = (sigma - y) ** 2 / (2 * N) + (M + 1) / 2 * (decay * sigma**2) ** (1 / (M + 1))
    c = scalar.cost(y, N, decay, M)
    assert float(y**2 / N * scalar.risk(sigma / y, c, M)) == pytest.approx(phi, rel=1e-14)
    assert float(scalar.decay_at(c, y, N, M)) == pytest.approx(decay, rel=1e-13)


@pytest.mark.parametrize("M", LAYERS)
def test_the_slope_is_the_derivative(M):
    s = torch.tensor([0.01, 0.3, 0.9], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(scalar.risk(s, 0.2, M).sum(), s)
    assert torch.allclose(gradient, scalar.slope(s.detach(), 0.2, M), rtol=1e-12)


@pytest.mark.parametrize("M", LAYERS)
def test_roots_are_stationary_and_the_output_is_least(M):
    c = torch.linspace(0.02, 1.2, 60, dtype=torch.float64) * scalar.spinodal(M)
    kept, barrier = scalar.kept(c, M), scalar.barrier(c, M)
    there = c <= scalar.spinodal(M)
    assert (kept.isnan() == ~there).all()
    assert scalar.slope(kept[there], c[there], M).abs().max() < 1e-13
    if M > 1:
        assert (barrier.isnan() == ~there).all()
        assert (barrier < kept)[there].all()
        wrong = c[there] - (1 - barrier[there]) * barrier[there] ** ((M - 1) / (M + 1))
        assert wrong.abs().max() < 1e-14
    else:
        assert barrier.isnan().all()
    by_search = scalar.risk(GRID, c[:, None], M).amin(-1)
    least = scalar.least(c, M)
    assert (least <= by_search + 1e-15).all()
    assert (by_search - least < 1e-7).all()


@pytest.mark.parametrize("M", [2, 3, 4, 6])
def test_threshold_jump_and_spinodal_against_bisection(M):
    found = brentq(
        lambda c: float(scalar.risk(scalar.kept(c, M), c, M)) - 0.5, 1e-3, scalar.spinodal(M)
    )
    assert found == pytest.approx(scalar.threshold(M), rel=1e-10)
    assert float(scalar.output(scalar.threshold(M) * (1 - 1e-12), M)) == pytest.approx(
        scalar.jump(M), rel=1e-9
    )
    assert float(scalar.output(scalar.threshold(M) * (1 + 1e-12), M)) == 0.0
    height = (1 - GRID) * GRID ** ((M - 1) / (M + 1))
    assert float(height.max()) == pytest.approx(scalar.spinodal(M), rel=1e-8)
    assert float(scalar.kept(scalar.spinodal(M) * (1 - 1e-13), M)) == pytest.approx(
        (M - 1) / (2 * M), rel=1e-5
    )
    # In decays: the two formulas of the digest, for a class of n of N samples.
    n, N = 50, 400
    decay = float(scalar.decay_at(scalar.threshold(M), n**0.5, N, M))
    assert decay == pytest.approx(
        (M - 1) ** (M - 1) / M ** (2 * M) * n**M / N ** (M + 1), rel=1e-12
    )


def test_one_layer_is_a_soft_threshold():
    c = torch.tensor([0.0, 0.3, 0.999, 1.001, 3.0], dtype=torch.float64)
    assert torch.allclose(scalar.output(c, 1), (1 - c).clamp(min=0), atol=1e-15)
    assert scalar.threshold(1) == scalar.spinodal(1) == 1
    assert scalar.jump(1) == 0
    assert float(scalar.least(0.3, 1)) == pytest.approx((2 * 0.3 - 0.3**2) / 2)


@pytest.mark.parametrize("layers", [0, 1.5, True])
def test_layers_are_a_positive_integer(layers):
    with pytest.raises(ValueError, match="layers"):
        scalar.threshold(layers)


# --- Classes --------------------------------------------------------------------------------------


def test_outputs_obey_the_equation_of_the_code_of_dang_et_al():
    sizes, lam = [200, 100, 50, 50], 0.012
    for M in (1, 2, 3):
        problem = ClassProblem(sizes, [lam] * (M + 1))
        s = problem.output()
        x = (s / (1 - s)) ** (1 / M)
        n, N = torch.tensor(sizes).double(), problem.samples
        b = M * N * (N * lam ** (M + 1)) ** (1 / M)
        assert torch.allclose(b / n, M * x ** (M - 1) / (x**M + 1).square(), rtol=1e-12)


def test_the_risk_is_that_of_matrices_with_these_singular_values():
    problem = ClassProblem([5, 3, 2], [0.02, 0.03, 0.05])
    s = torch.tensor([0.8, 0.5, 0.0], dtype=torch.float64)
    a = problem.shares(s)
    W1, W2, H = ((a / decay).sqrt().diag() for decay in problem.decays)
    n = torch.tensor(problem.sizes).double()
    H = H / n.sqrt()  # a column for each sample of the class
    fit = (n * (W2 @ W1 @ H - torch.eye(3).double()).square().sum(0)).sum() / (2 * problem.samples)
    decays = sum(
        decay * value / 2
        for decay, value in zip(
            problem.decays,
            (W1.square().sum(), W2.square().sum(), (n * H.square().sum(0)).sum()),
            strict=True,
        )
    )
    assert float(problem.risk(s)) == pytest.approx(float(fit + decays), rel=1e-13)
    assert torch.allclose(problem.features(s), H.square().sum(0), rtol=1e-13)
    assert torch.allclose(problem.weights(s), W2.square().sum(1), rtol=1e-13)


def test_there_is_a_level_for_each_number_of_kept_classes():
    problem = ClassProblem([50, 200, 100, 50], [0.0137] * 3)
    levels, kept = problem.levels(), problem.kept()
    order = [1, 2, 0, 3]  # descending
    for r in range(5):
        s = torch.zeros(4).double()
        s[order[:r]] = kept[order[:r]]
        assert float(levels[r]) == pytest.approx(float(problem.risk(s)), rel=1e-14)
    assert len(levels) == 5
    assert float(levels[0]) == pytest.approx(0.5)
    assert float(levels.min()) == pytest.approx(float(problem.least_risk()), rel=1e-14)
    # The small classes have passed the threshold, not the spinodal: to keep them costs more.
    assert float(levels[4]) > float(levels[3]) > float(levels[2])
    assert len(ClassProblem([200, 100, 50, 50], [0.018] * 3).levels()) == 3, "two can be kept"
    (one,) = ClassProblem([200, 100, 50, 50], [0.018] * 2).levels()
    assert float(one) == pytest.approx(
        float(ClassProblem([200, 100, 50, 50], [0.018] * 2).least_risk())
    )


def test_below_k_dimensions_the_largest_are_kept():
    problem = ClassProblem([3, 9, 5], [1e-3] * 3, width=2)
    assert (problem.output() > 0).tolist() == [False, True, True]
    assert len(problem.levels()) == 3
    wide = ClassProblem([3, 9, 5], [1e-3] * 3, width=8)
    assert float(wide.least_risk()) < float(problem.least_risk())


def test_a_free_bias_centres_the_targets():
    sizes = [7, 4, 2]
    Y = torch.eye(3).double().repeat_interleave(torch.tensor(sizes), dim=1)
    by_svd = torch.linalg.svdvals(Y - Y.mean(1, keepdim=True))
    y = classes.singular_values(sizes, free_bias=True)
    assert torch.allclose(y, by_svd, atol=1e-14)
    problem = ClassProblem(sizes, [1e-3] * 2, free_bias=True)
    assert float(problem.output()[-1]) == 0
    assert bool(problem.least_risk().isfinite())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([3, 0], [0.1, 0.1]), "class size"),
        (([3, 2], [0.1]), "decays"),
        (([3, 2], [0.1, 0.0]), "decays"),
        (([3, 2], [0.1, 0.1], False, 0), "width"),
    ],
)
def test_what_is_no_problem_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        ClassProblem(*arguments)
