"""The perceptron in the scalings of its width: its field, its blocks, what its scalings keep."""

import pytest
import torch

from ncbook.models.perceptron import ACTIVATIONS, SCALINGS, Perceptron
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def data(n: int = 7, d: int = 4, K: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = generator(2)
    return tuple(torch.randn(n, size, generator=draw, dtype=torch.float64) for size in (d, K))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_field_is_minus_the_gradient_times_the_rates(activation, scaling, skip):
    model = Perceptron(*data(), [6, 6, 6], activation, scaling, skip)
    z = model.start(range(2), RUN, 1.3, mean=0.2)
    gradient = torch.func.vmap(torch.func.grad(model.loss))(z)
    rates = torch.cat(
        [
            torch.full((o * i,), float(c))
            for (o, i), c in zip(model.shapes, model.rates, strict=True)
        ]
    )
    torch.testing.assert_close(model.field(z), -rates * gradient)
    assert torch.equal(model.pack(model.unpack(z)), z)


def test_features_are_the_definition():
    X, Y = data()
    model = Perceptron(X, Y, [5, 6], "tanh", "features")
    z = model.start([3], RUN)[0]
    W, V, U = model.unpack(z)
    theta = (V @ torch.tanh(W @ X.T)) / 5
    torch.testing.assert_close(model.features(z)[1], theta.T)
    torch.testing.assert_close(model.outputs(z), (U @ torch.tanh(theta) / 6).T)
    torch.testing.assert_close(model.grams(z)[1], torch.tanh(theta).T @ torch.tanh(theta) / 6)
    torch.testing.assert_close(model.loss(z), (model.outputs(z) - Y).square().sum() / 14)
    wide = Perceptron(X, Y, [400, 300], "tanh", "features")
    spreads = [float(w.std()) for w in wide.unpack(wide.start([0], RUN))]
    assert spreads == pytest.approx([0.5, 20.0, 1.0], rel=0.05)


def test_jacobians_and_blocks_are_those_of_autograd():
    model = Perceptron(*data(), [5, 6], "tanh", "lazy")
    z = model.start([0, 1], RUN)
    J = torch.func.jacrev(lambda w: model.outputs(w).flatten())(z[1])
    for k, part in enumerate(model.layers()):
        gauss_newton = J[:, part].T @ J[:, part] / 7
        torch.testing.assert_close(model.block_traces(z)[1, k], gauss_newton.trace())
        torch.testing.assert_close(
            model.block_norms(z)[1, k], torch.linalg.eigvalsh(gauss_newton)[-1]
        )
    last = model.output_jacobians(z)[-1]
    assert last.shape == (2, 7, 3, 3) and torch.equal(last[0, 0], torch.eye(3).double())


@pytest.mark.parametrize("skip", [False, True])
def test_in_the_scaling_of_features_copies_of_units_change_nothing(skip):
    small = Perceptron(*data(), [4, 4, 4], "tanh", "features", skip)
    z = small.start([5], RUN)
    wide, y = small.widened(z, 3)
    torch.testing.assert_close(small.outputs(z), wide.outputs(y))
    torch.testing.assert_close(small.widened(small.field(z), 3)[1], wide.field(y))


@pytest.mark.parametrize("scaling", ["plain", "lazy"])
def test_in_others_they_do(scaling):
    small = Perceptron(*data(), [4, 4], "tanh", scaling)
    z = small.start([5], RUN)
    wide, y = small.widened(z, 3)
    assert not torch.allclose(small.widened(small.field(z), 3)[1], wide.field(y), rtol=0.1)


def test_a_seed_has_its_start_beside_any_others():
    model = Perceptron(*data(), [4, 4])
    assert torch.equal(model.start([3, 8], RUN)[1], model.start([8], RUN)[0])
    torch.testing.assert_close(2 * model.start([3], RUN), model.start([3], RUN, 2.0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation": "sine"}, "Unknown activation 'sine'"),
        ({"scaling": "wide"}, "Unknown scaling 'wide'"),
        ({"hidden": []}, "expected one or more"),
        ({"hidden": [3, 4], "skip": True}, "all the same"),
        ({"hidden": [2.5]}, "a width is 2.5"),
        ({"Y": torch.ones(6, 3).double()}, "expected samples"),
        ({"X": [[1.0]]}, "X is a list"),
    ],
)
def test_what_is_no_network_is_said(changed, message):
    X, Y = data()
    with pytest.raises(ValueError, match=message):
        Perceptron(**{"X": X, "Y": Y, "hidden": [3, 3]} | changed)
