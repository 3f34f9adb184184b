"""The alignment phase, against the network's own flow."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from relu_cases import cone_data, random_start, train, unit
from theory_cases import few, normal, seeds

from ncbook.theory.relu.alignment import (
    alignment_points,
    alignment_window,
    direction_field,
    direction_flow,
    label_pull,
    pseudo_labels,
    turning_error,
    turning_rate,
)

CASES = [
    ("exponential", 2, 1),
    ("logistic", 2, 1),
    ("cross-entropy", 3, 3),
    ("cross-entropy", 2, 2),
]


@few
@given(st.integers(2, 8))
def test_the_label_residual_is_the_pull_along_the_pseudo_label(K):
    E = pseudo_labels(K, K)
    assert float((E.norm(dim=0) - 1).abs().max()) < 1e-14
    residual = torch.eye(K, dtype=torch.float64) - 1 / K
    assert float((label_pull(K, K) * E - residual).abs().max()) < 1e-15
    assert pseudo_labels(2, 1).tolist() == [[1, -1]] and label_pull(2, 1) == 1


# --- Lemma 2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "K", "outputs"), CASES)
@pytest.mark.parametrize("eps", [2e-3, 1e-4])
@pytest.mark.parametrize("size", [1.0, 9.0])
def test_norms_and_outputs_stay_in_the_window_of_lemma_2(loss, K, outputs, eps, size):
    """Half of the printed bounds, times the size of the start, where eps is as small as asked."""
    X, y = cone_data(5, K, 3)
    h = 8
    W, V = (math.sqrt(size) * part for part in random_start(1, X.shape[1], h, outputs))
    window = alignment_window(eps, X, K, h, size)
    assert eps <= float(window.largest_eps)
    grid = torch.linspace(0, 1, 5) * window.time
    W, V, f = train(eps * W, eps * V, X, y, loss, grid, rtol=1e-7)
    assert float(W.square().sum(-2).max()) < float(window.norm) / 2
    assert float(f.norm(dim=-1).max()) < float(window.output) / 2


def test_one_sample_shows_what_the_window_needs():
    """The worst case: along one sample the bound without the 2 is reached at 2 T; and with size."""
    h, eps, size = 4, 1e-5, 25.0
    X, y = torch.tensor([[1.5]], dtype=torch.float64), torch.tensor([0])
    W = torch.full((1, h), math.sqrt(size), dtype=torch.float64)
    window = alignment_window(eps, X, 2, h, size)
    grid = [0, float(window.time), 2 * float(window.time), 3 * float(window.time)]
    w, _, f = train(eps * W, eps * W, X, y, "logistic", grid)
    norms = w.square().sum(-2).amax(-1)
    assert float(norms[2] / window.norm) == pytest.approx(0.5, rel=1e-2)
    assert float(f[2].abs().max() / window.output) == pytest.approx(0.5, rel=1e-2)
    assert float(norms[3]) > 10 * float(window.norm)
    # Control: the bounds for a start of size 1 fail for this one.
    assert float(norms[2]) > 5 * float(alignment_window(eps, X, 2, h).norm)


def test_the_window_by_its_formulas():
    X = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    window = alignment_window(torch.tensor([1e-2, 1e-3]), torch.stack([X, 2 * X]), 2, 16, 4.0)
    assert torch.allclose(
        window.time * 8,
        -torch.log(4 * torch.tensor([1e-2, 1e-3]).double()) / torch.tensor([5.0, 10.0]),
    )
    assert torch.allclose(window.norm, torch.tensor([2e-2, 2e-3]).double())
    assert torch.allclose(window.output, torch.tensor([16 * 5 * 2e-2, 16 * 10 * 2e-3]).double())
    expected = math.sqrt(2) / (16 * 4 * 4 * torch.tensor([5.0, 10.0]).double())
    assert torch.allclose(window.largest_eps, expected)
    for eps in (0.25, 0.0, -1.0):
        with pytest.raises(ValueError, match="window is empty"):
            alignment_window(eps, X, 2, 16)


# --- Lemma 3 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "K", "outputs"), CASES)
def test_the_field_is_the_motion_of_the_network_s_directions(loss, K, outputs):
    """A difference quotient of the flow from a tiny start; the other label's field is not it."""
    X, y = cone_data(2, K, 3)
    W0, V0 = random_start(4, X.shape[1], 10, outputs)
    dt, eps = 1e-4, 1e-5
    W, V, _ = train(eps * W0, eps * V0, X, y, loss, [0, dt, 2 * dt])
    dW, dV, growth = direction_field(W[1], V[1], X, y)
    assert float(((unit(W[2]) - unit(W[0])) / (2 * dt) - dW).abs().max()) < 1e-5
    assert float(((unit(V[2]) - unit(V[0])) / (2 * dt) - dV).abs().max()) < 1e-5
    logs = W.norm(dim=-2).log()
    assert float(((logs[2] - logs[0]) / (2 * dt) - growth).abs().max()) < 1e-5
    other = direction_field(W[1], V[1], X, (y + 1) % K)[0]
    assert float((other - dW).abs().max()) > 0.1


@pytest.mark.parametrize(("loss", "K", "outputs"), CASES[1:3])
def test_the_flow_of_directions_is_the_limit_of_small_eps(loss, K, outputs):
    X, y = cone_data(2, K, 3)
    W0, V0 = random_start(4, X.shape[1], 8, outputs)
    times = [0.0, 0.05, 0.1]
    limit = direction_flow(W0, V0, X, y, times)
    errors = []
    for eps in (1e-1, 1e-2, 1e-3):
        W, V, _ = train(eps * W0, eps * V0, X, y, loss, times, rtol=1e-8)
        grown = torch.log(W.norm(dim=-2) / eps) - limit.log_growth
        parts = (unit(W) - limit.W, unit(V) - limit.V, grown)
        errors.append(max(float(part.abs().max()) for part in parts))
    # The outputs, which the limit leaves out, are of order eps^2 at a fixed time.
    assert math.log10(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert errors[2] < 3e-6 and errors[0] > 1e-3


def test_batches_and_dead_neurons():
    X, y = cone_data(1, 2, 3)
    X = torch.stack([X, X + 0.01 * normal(3, *X.shape)])
    W, V = random_start(8, X.shape[-1], 6, 1)
    W = torch.stack([W, W.flip(-1)])
    W[0, :, 0] = 0
    flow = direction_flow(W, V.sign(), X, y, [0.2, 0.7])
    assert flow.W.shape == (2, 2, X.shape[-1], 6) and flow.V.shape == (2, 2, 1, 6)
    assert flow.log_growth.shape == (2, 2, 6)
    assert torch.equal(flow.W[0, 0, :, 0], W[0, :, 0]) and float(flow.log_growth[1, 0, 0]) == 0
    alone = direction_flow(W[1], V.sign(), X[1], y, [0.7])
    assert torch.equal(alone.V[0], flow.V[1, 1])
    assert float((alone.W[0] - flow.W[1, 1]).abs().max()) < 1e-8
    assert float((flow.W[1, 1] - flow.W[1, 0]).abs().max()) > 1e-3
    still = direction_flow(W[1], V, X[1], y, [0.0])
    assert float((still.W[0] - unit(W[1])).abs().max()) < 1e-15


def test_a_neuron_slides_where_both_sides_push_towards_a_sample_s_boundary():
    """In the plane, two samples that both repel the neuron, at 0 and at 100 degrees.

    Between them, the first pushes it off at its boundary (90 degrees), and behind the boundary the
    second pushes it back: it slides on the boundary until its output weight has turned.
    """
    angles = torch.tensor([0.0, 100.0, 260.0], dtype=torch.float64).deg2rad()
    X = torch.stack([angles.cos(), angles.sin()], dim=1)
    y = torch.tensor([1, 2, 0])
    V = -(pseudo_labels(3, 3)[:, [1]] + pseudo_labels(3, 3)[:, [2]])
    W = torch.tensor([[math.sin(0.1)], [math.cos(0.1)]], dtype=torch.float64)
    flow = direction_flow(W, V, X, y, [0.05, 0.3, 0.4])
    heights = (X @ flow.W)[:, 0, 0]
    assert float(heights[0]) > 1e-3
    assert float(heights[1:].abs().max()) < 1e-6
    # Control: the field itself does not vanish on either side of the boundary.
    for side in (1e-6, -1e-6):
        near = torch.tensor([[side], [1.0]], dtype=torch.float64)
        dW, _, _ = direction_field(near, flow.V[1], X, y)
        assert float(dW[0, 0]) * side < -1e-8


# --- Where directions settle --------------------------------------------------------------------


@few
@given(st.integers(2, 5), seeds, st.booleans())
def test_the_points_of_alignment_stand_still_attract_and_repel(K, seed, scalar):
    outputs = 1 if scalar and K == 2 else K
    X, y = cone_data(seed, K, 3)
    means, labels, rates = alignment_points(X, y, outputs)
    for sign in (1, -1):
        dW, dV, growth = direction_field(means, sign * labels, X, y)
        assert float(dW.abs().max()) < 1e-12 and float(dV.abs().max()) < 1e-12
        assert torch.allclose(growth, sign * rates)
        shift = 1e-6 * normal(seed, *means.shape)
        shift = shift - means * (means * shift).sum(0)
        dW, dV, _ = direction_field(means + shift, sign * labels, X, y)
        assert torch.allclose(dW, -sign * rates * shift, atol=1e-10)
        if outputs > 1:
            tilt = 1e-6 * normal(seed + 1, *labels.shape)
            tilt = tilt - labels * (labels * tilt).sum(0)
            _, dV, _ = direction_field(means, sign * labels + tilt, X, y)
            assert torch.allclose(dV, -sign * rates * tilt, atol=1e-10)
    # Control: one sample of each class is no such point.
    first = torch.stack([X[y == k][0] for k in range(K)], dim=1)
    dW, _, _ = direction_field(first, labels, X, y)
    assert float(dW.abs().max()) > 1e-6


def test_every_living_neuron_of_two_classes_ends_at_its_class_mean():
    X, y = cone_data(7, 2, 4)
    W, V = random_start(9, X.shape[1], 16, 1)
    means, labels, rates = alignment_points(X, y, 1)
    flow = direction_flow(W, V, X, y, [30 / float(rates.min())])
    own = (V[0] < 0).long()
    alive = (((X @ W) > 0) & (y[:, None] == own)).any(0)
    cosine = (flow.W[0] * means[:, own]).sum(0)
    assert int(alive.sum()) > 4 and float(cosine[alive].min()) > 1 - 1e-9
    at_other = direction_flow(means.flip(1), labels, X, y, [1.0])
    assert float((at_other.W[0] - means.flip(1)).abs().max()) < 1e-9
    assert bool((at_other.log_growth < -1).all())


def test_what_does_not_fit_is_refused():
    X, y = cone_data(1, 3, 2)
    W, V = random_start(1, X.shape[1], 4, 3)
    for labels in (y[:-1], y - 1, y + 0.5):
        with pytest.raises(ValueError, match="expected one whole number from 0 to K - 1"):
            direction_field(W, V, X, labels)
    with pytest.raises(ValueError, match="expected labels from 0 to 1"):
        alignment_points(X, y, 1)
    with pytest.raises(ValueError, match="expected K outputs, or one if K = 2"):
        pseudo_labels(3, 1)
    for times in ([], [-1.0, 1.0], [1.0, 1.0], [[1.0]]):
        with pytest.raises(ValueError, match="expected times that ascend from 0 on"):
            direction_flow(W, V, X, y, times)


def test_the_turning_rate_is_a_difference_quotient_and_blind_to_lost_balance():
    W, V = random_start(3, 4, 5, 3)
    move = normal(9, 4, 5)
    W, V = 1e-3 * W, 1e-3 * V
    found = turning_rate(W, V, move)
    dt = 1e-9
    expected = (unit(W + dt * move) - unit(W - dt * move)) / (2 * dt)
    assert float((found - expected).abs().max()) < 1e-6 * float(expected.abs().max())
    # Along w nothing turns; and a w that is too long by rounding changes nothing.
    assert float(turning_rate(W, V, W).abs().max()) < 1e-12
    assert torch.allclose(turning_rate(1.001 * W, V, move), found, rtol=1e-12)
    assert not torch.allclose(turning_rate(W, 1.001 * V, move), found, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_turning_error_is_zero_on_the_field_and_else_that_of_the_worst_neuron(dtype):
    X, y = cone_data(2, 3, 3)
    W, V = random_start(4, X.shape[1], 10, 3)
    X, W, V = (part.to(dtype) for part in (X, W, V))
    W, V = torch.stack([W, 2 * W]), torch.stack([V, 2 * V])  # runs of two scales, in balance
    rounding = 100 * torch.finfo(dtype).eps
    along = direction_field(W, V, X, y)[0] * V.norm(dim=-2, keepdim=True)
    assert float(turning_error(W, V, along, X, y).max()) < rounding
    across = normal(5, X.shape[1]).to(dtype)
    across = across - W[0, :, 3] * (W[0, :, 3] @ across) / W[0, :, 3].square().sum()
    push = torch.zeros_like(W)
    push[..., 3] = 0.25 * across / across.norm()
    error = turning_error(W, V, along + push * V.norm(dim=-2, keepdim=True), X, y)
    assert error.shape == (2,) and error.dtype == dtype
    assert float((error - 0.25).abs().max()) < rounding
    # Control: a push along the neuron turns nothing, and the other labels' field is far off.
    stretched = along + 0.25 * W
    assert float(turning_error(W, V, stretched, X, y).max()) < rounding
    assert float(turning_error(W, V, along, X, (y + 1) % 3).min()) > 0.1
