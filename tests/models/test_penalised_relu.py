"""The two-layer network with penalised features: its risk, its field, its starts."""

import pytest
import torch

from ncbook.models.penalised_relu import PenalisedReLU
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
y = [0, 0, 1, 2, 2]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_the_risk_is_its_definition():
    X, network = normal(1, 5, 4), PenalisedReLU(normal(1, 5, 4), y, 6, 0.3, 0.7)
    z = normal(2, network.size)
    A, W = network.unpack(z)
    H = torch.zeros(5, 6, dtype=torch.float64)
    for i in range(5):
        for j in range(6):
            H[i, j] = max(float(X[i] @ A[:, j]), 0)
    error = H @ W - torch.eye(3, dtype=torch.float64)[y]
    risk = error.square().sum() / 10 + 0.15 * W.square().sum() + 0.07 * H.square().sum()
    assert float(network.risk(z)) == pytest.approx(float(risk), rel=1e-13)
    torch.testing.assert_close(network.features(z), H)
    torch.testing.assert_close(network.outputs(z, X[:2]), (H @ W)[:2])


@pytest.mark.parametrize("shared", [True, False])
def test_the_field_is_minus_the_gradient(shared):
    X = normal(3, 5, 4) if shared else normal(3, 7, 5, 4)
    network = PenalisedReLU(X, y, 6, 0.3, 0.7)
    z = normal(4, 7, network.size).requires_grad_()
    (gradient,) = torch.autograd.grad(network.risk(z).sum(), z)
    torch.testing.assert_close(network.field(z.detach()), -gradient)
    # Control: each penalty enters.
    for changed in ((0.31, 0.7), (0.3, 0.71)):
        other = PenalisedReLU(X, y, 6, *changed)
        assert (other.field(z.detach()) + gradient).abs().max() > 1e-3


def test_a_dead_unit_does_not_move():
    network = PenalisedReLU(normal(5, 5, 8), y, 3, 0.0, 0.1)
    A, W = network.unpack(normal(6, network.size))
    A = A.clone()
    A[:, 1] = torch.linalg.pinv(network.X) @ -torch.ones(5, dtype=torch.float64)
    dA, dW = network.unpack(network.field(network.pack(A, W)))
    assert dA[:, 1].abs().max() == 0 and dW[1].abs().max() == 0 and dA[:, 0].abs().max() > 0


def test_a_seeds_start_does_not_depend_on_its_neighbours():
    network = PenalisedReLU(normal(7, 5, 400), y, 100, 0.1, 0.1)
    both, one = (network.random_start(seeds, RUN) for seeds in ([3, 4], [4]))
    assert torch.equal(both[1], one[0])
    A, W = network.unpack(both)
    assert float(A.std()) == pytest.approx(0.05, rel=0.02)
    assert float(W.std()) == pytest.approx(0.1, rel=0.1)


def test_what_is_refused():
    X = normal(8, 5, 4)
    with pytest.raises(ValueError, match="one whole number"):
        PenalisedReLU(X, y[1:], 3, 0.1, 0.1)
    with pytest.raises(ValueError, match="one whole number"):
        PenalisedReLU(X, [0.5, 0, 1, 2, 2], 3, 0.1, 0.1)
    with pytest.raises(ValueError, match="none to be negative"):
        PenalisedReLU(X, y, 3, -0.1, 0.1)
    with pytest.raises(ValueError, match="at least 1"):
        PenalisedReLU(X, y, 0, 0.1, 0.1)
    with pytest.raises(ValueError, match="convert it"):
        PenalisedReLU(X.tolist(), y, 3, 0.1, 0.1)
