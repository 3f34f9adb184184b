"""Products with a Hessian and their extreme eigenvalues: against the matrix itself."""

import numpy as np
import pytest
import torch

from ncbook.models.perceptron import Perceptron
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, generator
from ncbook.theory import linear
from ncbook.theory.hessian import block, extreme, extremes, gauss_newton, hessian
from ncbook.theory.ufm import spectra

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


@pytest.fixture(scope="module")
def net() -> Perceptron:
    draw = generator(1)
    X = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    return Perceptron(X, torch.randn(9, 3, generator=draw, dtype=torch.float64), [5, 6], "tanh")


@pytest.fixture(scope="module")
def matrix(net) -> torch.Tensor:
    return torch.func.hessian(net.loss)(net.start([0], RUN)[0])


def test_a_product_is_that_with_the_matrix(net, matrix):
    z, v = net.start([0], RUN)[0], RUN.normal([7], net.size)[0]
    torch.testing.assert_close(hessian(net.loss, z)(v), matrix @ v)
    for part in net.layers():
        torch.testing.assert_close(
            block(hessian(net.loss, z), part, net.size)(v[part]), matrix[part, part] @ v[part]
        )


def test_a_gauss_newton_product_is_that_with_the_jacobian(net):
    z, v = net.start([0], RUN)[0], RUN.normal([7], net.size)[0]
    J = torch.func.jacrev(lambda w: net.outputs(w).flatten())(z)
    torch.testing.assert_close(gauss_newton(net.outputs, z)(v), J.T @ (J @ v))


def test_a_function_without_curvature_has_the_product_0():
    z = torch.ones(3, dtype=torch.float64)
    assert hessian(lambda w: (2 * w).sum(), z)(z).tolist() == [0, 0, 0]


def test_both_ends_are_those_of_the_matrix(net, matrix):
    z = net.start([0, 1], RUN)
    ends = torch.linalg.eigvalsh(matrix)
    torch.testing.assert_close(extremes(net.loss, z)[0], ends[-1])
    torch.testing.assert_close(extremes(net.loss, z, "smallest")[0], ends[0])
    assert extremes(net.loss, z[None]).shape == (1, 2)
    part = net.layers()[1]
    of_part = torch.linalg.eigvalsh(matrix[part, part])[-1]
    torch.testing.assert_close(extremes(net.loss, z, part=part)[0], of_part)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("side", "values", "end"),
    [
        ("largest", [-5.0, -1.0, 0.0, 2.0], 2.0),
        ("smallest", [-5.0, -1.0, 0.0, 2.0], -5.0),
        ("largest", [-5.0, -1.0, -0.5, -0.25], -0.25),  # the least in modulus
        ("smallest", [0.0, 0.0, 0.0, 4.0], 0.0),  # a share of 0 would never be met
        ("largest", [0.0, 0.0, 0.0, 0.0], 0.0),
        ("smallest", [3.0, -1.0], -1.0),  # too few for ARPACK
    ],
)
def test_an_end_is_one_by_value(side, values, end, dtype):
    diagonal = torch.tensor(values, dtype=dtype)
    found = extreme(lambda v: diagonal * v, diagonal, side)
    assert found.dtype == dtype and found.shape == ()
    torch.testing.assert_close(found, torch.tensor(end, dtype=dtype), atol=1e-5, rtol=1e-6)


def test_it_does_not_depend_on_the_state_of_numpy(net):
    z, before = net.start([0], RUN), np.random.get_state()
    try:
        found = []
        for seed in (1, 2):
            np.random.seed(seed)  # ARPACK would begin where this says, if nobody else did
            found.append(extremes(net.loss, z))
    finally:
        np.random.set_state(before)
    assert torch.equal(*found)


def test_a_state_that_is_not_finite_has_none(net):
    z = net.start([0, 1], RUN)
    z[0, 0] = torch.nan
    assert extremes(net.loss, z).isnan().tolist() == [True, False]
    assert not extreme(lambda v: v * 1e200, z[1]).isfinite()


def test_the_unconstrained_model_has_its_spectrum():
    model = UnconstrainedFeatures(3, 4, 5)
    origin = torch.zeros(model.size, dtype=torch.float64)
    origin[-3:] = 1 / 3
    expected = linear.spectrum_table(spectra.spectrum_at_origin(3, 4, 5))  # of the flow
    torch.testing.assert_close(extremes(model.risk, origin), -expected[0])
    torch.testing.assert_close(extremes(model.risk, origin, "smallest"), -expected[-1])
    far = extremes(model.risk, origin + 1, "smallest")
    assert abs(far + expected[-1]) > 0.1


@pytest.mark.parametrize(("side", "shape"), [("middle", (4,)), ("largest", (2, 4))])
def test_what_cannot_be_asked_is_said(side, shape):
    with pytest.raises(ValueError, match=r"expected one of largest, smallest, and one vector"):
        extreme(lambda v: v, torch.ones(shape), side)
