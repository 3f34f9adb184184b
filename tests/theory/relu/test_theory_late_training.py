"""The slow turn to the max-margin direction, against the flow of one class to R = 1e7."""

import math

import pytest
import torch
from relu_cases import cone_data, one_class_flow, unit
from scipy.optimize import brentq
from scipy.special import expi
from theory_cases import normal

from ncbook.theory.relu.late_training import class_vectors, late_training, loss_shares, loss_tail
from ncbook.theory.relu.one_class_svm import one_class_svm


def one_class(seed: int, n: int, D: int) -> torch.Tensor:
    """Samples of norm 1 about an axis: several support vectors."""
    X = 0.4 * normal(seed, n, D)
    X[:, 0] = 1
    return unit(X.mT).mT


def flow_of(X, loss, K, R, seed=60):
    """Each class has the samples X; the constants and the flow of one class at about these R."""
    factor, c = loss_tail(loss, K)
    found = one_class_svm(X, [0] * len(X))
    u, gamma = found.directions[0], float(found.margins)
    start = 2 * (u + 0.1 * normal(seed, X.shape[1]))
    rho = (torch.tensor(R, dtype=torch.float64) / (c * gamma)).sqrt()
    across, norms, R = one_class_flow(X, u, start, factor, c, rho)
    all_X, y = torch.cat([X] * K), torch.arange(K).repeat_interleave(len(X))
    last = (rho[-1] * u + across[-1]).expand(K, -1)
    late = late_training(all_X, y, one_class_svm(all_X, y), last, loss)
    return late, torch.atan(across.norm(dim=1) / rho), across, norms, R


CASES = [(2, 8, 4, "exponential", 2), (8, 5, 6, "cross-entropy", 3), (2, 8, 4, "logistic", 2)]


@pytest.mark.parametrize(("seed", "n", "D", "loss", "K"), CASES)
def test_the_angle_and_the_scale(seed, n, D, loss, K):
    late, angle, _, norms, R = flow_of(one_class(seed, n, D), loss, K, [1e3, 1e4, 1e5, 1e6, 1e7])
    A, B, shift = float(late.C_perp[0]), float(late.C_delta[0]), float(late.shift[0])
    assert A > 0.02 and B > 1
    error = (angle / late.angle(R[:, None])[:, 0] - 1).abs()
    assert float(error[0]) < 0.05 and bool((error[2:] * R[2:] < 3).all())
    # Controls: the parts do not add up without squares, and neither is all.
    for wrong in (A / R.sqrt() + B / R, A / R.sqrt()):
        assert float((angle / wrong - 1).abs()[:2].max()) > 0.02
    ratio = late.c * float(late.margins[0]) * norms.square() / R - 1
    assert bool((ratio > 0).all()) and float(ratio[-1]) < 1e-6
    assert torch.allclose(ratio[2:] * R[2:], torch.full((3,), shift).double(), rtol=1e-4)
    scale = late.squared_scale(R[:, None])[:, 0]
    assert bool(((norms.square() / scale - 1).abs() < 20 / R**2 + 1e-10).all())


def test_where_the_margin_spans_everything_the_angle_falls_as_B_over_R():
    late, angle, across, norms, R = flow_of(one_class(3, 10, 3), "cross-entropy", 4, [1e4, 1e6])
    B = float(late.C_delta[0])
    assert float(late.C_perp[0]) < 1e-9
    assert float(angle[1] * R[1]) == pytest.approx(B, rel=1e-4)
    assert float(angle[0] * R[0]) == pytest.approx(B, rel=1e-2)
    # The offset itself, not only its norm, and whatever the start was.
    assert float((norms[1] * across[1] - late.offset[0]).norm() / late.offset[0].norm()) < 1e-4
    other = flow_of(one_class(3, 10, 3), "cross-entropy", 4, [1e4, 1e6], seed=99)
    assert float(other[1][1] * other[4][1]) == pytest.approx(B, rel=1e-4)


def test_the_offset_from_the_duals():
    """<delta, x_i> = (kappa - log alpha_i)/c on the support vectors, and delta across u."""
    X = torch.cat([one_class(seed, 9, 4) for seed in (1, 2, 4)])
    y = torch.arange(3).repeat_interleave(9)
    found = one_class_svm(X, y)
    late = late_training(X, y, found, found.directions, "cross-entropy")
    assert float(late.C_perp.max()) < 1e-12 and late.c == math.sqrt(1.5)
    for k in range(3):
        support = found.support() & (y == k)
        assert int(support.sum()) > 2
        sides = X[support] @ late.offset[k] * late.c + found.duals[support].log()
        assert float(sides.max() - sides.min()) < 1e-10
        assert float(late.offset[k] @ found.directions[k]) == pytest.approx(0, abs=1e-12)
        assert float(late.C_delta[k]) == pytest.approx(
            late.c * float(found.margins[k]) * float(late.offset[k].norm())
        )
        wrong = X[support] @ late.offset[k] + found.duals[support].log()
        assert float(wrong.max() - wrong.min()) > 1e-3
    batch = late_training(
        torch.stack([X, 2 * X]),
        y,
        one_class_svm(torch.stack([X, 2 * X]), y),
        found.directions,
        "cross-entropy",
    )
    assert torch.allclose(batch.offset[0], late.offset) and batch.C_delta.shape == (2, 3)
    assert torch.allclose(batch.C_delta[1], late.C_delta)  # delta halves, gamma doubles


def test_samples_given_twice_count_twice():
    """The duals are not unique, the offset is: double samples pull with double weight."""
    X = torch.tensor([[1.0, 0.5], [1.0, -0.5]], dtype=torch.float64)
    twice = X[[0, 0, 1]]
    late, angle, across, norms, R = flow_of(twice, "exponential", 2, [1e4, 1e6])
    # e^{-delta/2} of two samples balances e^{delta/2} of one.
    assert late.offset[0].tolist() == pytest.approx([0, math.log(2)], abs=1e-12)
    assert float((norms[1] * across[1])[1]) == pytest.approx(math.log(2), rel=1e-4)
    assert float(flow_of(X, "exponential", 2, [1e2])[0].C_delta[0]) < 1e-12
    # Without an offset and without a rest outside the span, less than any power of R is left.
    assert float(angle[1] * R[1]) == pytest.approx(float(late.C_delta[0]), rel=1e-4)


def test_one_support_vector_leaves_the_whole_rest():
    X = torch.tensor([[1.0, 0, 0], [3, 1, 1]], dtype=torch.float64)
    late, angle, across, _, R = flow_of(X, "exponential", 2, [1e3, 1e6])
    assert float(late.C_delta[0]) == 0 and float(late.forgetting[0]) == math.inf
    assert float(late.C_perp[0]) == pytest.approx(float(across[0].norm()), rel=1e-6)
    assert torch.allclose(angle, late.C_perp[0] / R.sqrt(), rtol=1e-3)


def test_another_offset_is_forgotten_at_the_predicted_rate():
    """Two samples about u: the gap to the offset falls by e^{-forgetting (R - R')}."""
    X = torch.tensor([[1.0, 0.05], [1.0, -0.05]], dtype=torch.float64)
    late, _, across, norms, R = flow_of(X, "exponential", 2, [2e3, 4e3, 6e3])
    assert float(late.forgetting[0]) == pytest.approx(0.05**2 / 2)
    gap = (norms * across[:, 1]).abs()
    rates = -(gap[1:] / gap[:-1]).log() / (R[1:] - R[:-1])
    # |w| d has the factor |w|, of the root of R, beside the exponential of d.
    rates = rates + 0.5 * (R[1:] / R[:-1]).log() / (R[1:] - R[:-1])
    assert torch.allclose(rates, late.forgetting[0].expand(2), rtol=1e-2)


@pytest.mark.parametrize("degenerate", [0.0, 1e-11])
def test_a_sample_on_the_margin_with_dual_zero_is_refused(degenerate):
    X = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    X[1, 0] += degenerate
    found = one_class_svm(torch.cat([X, X]), [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"^Class 0: a sample on its margin has the dual weight 0"):
        late_training(torch.cat([X, X]), [0, 0, 1, 1], found, found.directions, "exponential")


def test_the_tails_of_the_losses():
    z = 20.0
    factor, c = loss_tail("cross-entropy", 4)
    E = math.sqrt(4 / 3) * (torch.eye(4, dtype=torch.float64) - 1 / 4)
    exact = float(torch.nn.functional.cross_entropy(z * E[:1], torch.tensor([0])))
    assert factor * math.exp(-c * z) == pytest.approx(exact, rel=1e-6)
    assert loss_tail("logistic", 2)[0] * math.exp(-z) == pytest.approx(2 * math.log1p(math.exp(-z)))
    assert loss_tail("exponential", 2) == (1, 1)
    for loss, K in (("logistic", 3), ("hinge", 2)):
        with pytest.raises(ValueError, match="There is no loss"):
            loss_tail(loss, K)


def test_the_shares_of_the_loss():
    """One sample a class: e^R R' = 2 c gamma R is solved by the exponential integral."""
    gammas = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    errors = []
    for log_t in (1e2, 6e2):
        target = [math.log(2 * g) + log_t for g in gammas.tolist()]
        R = [brentq(lambda r, s=s: math.log(expi(r)) - s, 1, 700) for s in target]
        shares = torch.softmax(-torch.tensor(R, dtype=torch.float64), 0)
        errors.append(float((shares / loss_shares(gammas) - 1).abs().max()))
    assert errors[1] < 4e-3 and errors[0] / errors[1] == pytest.approx(6, rel=0.1)
    assert float(loss_shares(gammas).sum()) == pytest.approx(1)
    assert float((loss_shares(gammas) - 1 / 3).abs().max()) > 0.1


def test_class_vectors_undo_a_separated_network():
    X, y = cone_data(4, 3, 5)
    u = one_class_svm(X, y).directions
    phi = torch.block_diag(*[normal(k, 1, 4).abs() for k in range(3)])
    phi = torch.cat([phi / phi.norm(dim=1, keepdim=True), torch.zeros(3, 2)], dim=1)
    scales = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    W = (scales[:, None] * u).mT @ phi
    W[:, -1] = -X.sum(0) * 0
    w, found = class_vectors(torch.stack([W, 2 * W]), X, y)
    assert torch.allclose(found[0], phi) and torch.allclose(found[1], phi)
    assert torch.allclose(w[0], scales[:, None] * u) and torch.allclose(w[1], 2 * w[0])
    w, found = class_vectors(torch.where(phi[0] > 0, 0.0, W), X, y)
    assert not found[0].any() and not w[0].any() and torch.allclose(found[1:], phi[1:])
