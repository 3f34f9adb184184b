"""The network with linear layers at its end: its gradient, its balance, its batches."""

from itertools import pairwise

import pytest
import torch

from ncbook.dynamics.descent import descent
from ncbook.dynamics.flow import flow
from ncbook.models.linear_head import LinearHead
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
X, y = RUN.normal([5], 9, 4)[0], [0, 1, 2] * 3
kinds = pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])


@kinds
@pytest.mark.parametrize("widths", [(6, 3), (6, 5, 3), (6, 5, 4, 3)])
def test_the_field_is_minus_the_gradient(activation, widths):
    model = LinearHead(X, y, widths, activation, decay=0.1)
    z = model.start(1.0, range(4), RUN).requires_grad_()
    (gradient,) = torch.autograd.grad(model.risk(z).sum(), z)
    assert torch.allclose(model.field(z), -gradient, rtol=0, atol=1e-14)
    along = model.start(1.0, [9], RUN)[0]
    ahead, back = (model.risk(z.detach() + h * along) for h in (1e-6, -1e-6))
    assert torch.allclose((ahead - back) / 2e-6, gradient @ along, rtol=1e-6)


def test_the_risk_by_its_definition():
    model = LinearHead(X, y, (6, 5, 3), "tanh", decay=0.1)
    z = model.start(1.0, [0], RUN)
    W0, W1, W2 = (weight[0] for weight in model.unpack(z))
    outputs = torch.stack([W2 @ W1 @ torch.tanh(W0 @ x) for x in X])
    error = sum((row - torch.eye(3)[k]).square().sum() for row, k in zip(outputs, y, strict=True))
    assert float(model.risk(z)) == pytest.approx(float(error / 18 + 0.05 * z.square().sum()))
    assert float(model.fit(z)) == pytest.approx(float(error**0.5))
    assert torch.equal(model.pack(model.unpack(z)), z)


def test_balance_relaxes_at_twice_the_decay_and_not_across_the_nonlinear_layer():
    decay = RUN.tensor([0.0, 0.2])
    model = LinearHead(X, y, (6, 5, 4, 3), "tanh", decay)
    z = model.start(1.0, [0], RUN).repeat(2, 1)
    ended = flow(model.field, z, step=0.02, record=[0.0, 3.0], method="DOP853").final
    gone = (-2 * decay * 3).exp()[:, None, None]
    for first, last in zip(model.balance(z), model.balance(ended), strict=True):
        assert torch.allclose(last, gone * first, rtol=0, atol=1e-10)
    assert (model.across(ended) - gone * model.across(z)).abs().amax((-2, -1)).min() > 1e-2


def test_a_step_of_descent_changes_the_balance_as_said():
    model, step = LinearHead(X, y, (6, 5, 4, 3), "relu", 0.1), 0.3
    z = model.start(1.0, range(3), RUN)
    after = descent(model.field, z, step, 1).final
    slopes = model.loss_gradients(z)[1:]
    change = [up.mT @ up - low @ low.mT for low, up in pairwise(slopes)]
    for before, then, more in zip(model.balance(z), model.balance(after), change, strict=True):
        assert torch.allclose(then, (1 - step * 0.1) ** 2 * before + step**2 * more, atol=1e-13)
        assert (then - (1 - step * 0.1) ** 2 * before).abs().max() > 1e-3


def test_a_seed_has_its_directions_at_every_scale_and_its_own_start():
    model = LinearHead(X, y, (6, 5, 3))
    one, two = model.start(0.5, range(3), RUN), model.start(1.0, [2], RUN)
    assert torch.allclose(2 * one[2], two[0])


def test_what_is_refused():
    with pytest.raises(ValueError, match="Unknown activation"):
        LinearHead(X, y, (6, 3), "gelu")
    for widths in ((3,), ()):
        with pytest.raises(ValueError, match="expected two widths"):
            LinearHead(X, y, widths)
    for labels in (y[:-1], [], [-1, *y[1:]], [0.5, *y[1:]], [3, *y[1:]]):
        with pytest.raises(ValueError, match="one whole number from 0 to 2 for each"):
            LinearHead(X, labels, (6, 3))
    with pytest.raises(ValueError, match="at least 0"):
        LinearHead(X, y, (6, 3), decay=-0.1)
