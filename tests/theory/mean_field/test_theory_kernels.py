"""The kernel of Gaussian hidden weights, against quadrature in the plane and Monte Carlo."""

import math

import pytest
import torch
from hypothesis import given
from scipy.integrate import quad
from theory_cases import few, normal, seeds

from ncbook.models.mean_field import MeanField
from ncbook.theory.mean_field import kernels
from ncbook.theory.mean_field.kernels import (
    ACTIVATIONS,
    frozen_loss,
    gaussian_kernel,
    smallest_eigenvalue,
)

SIGMA = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
SMOOTH = ["tanh", "sigmoid"]


def unit(seed: int, *shape: int) -> torch.Tensor:
    X = normal(seed, *shape)
    return X / X.norm(dim=-1, keepdim=True)


def in_the_plane(X: torch.Tensor, activation: str, scale: float) -> torch.Tensor:
    """The expectation over u in R^2 by the trapezoidal rule on a square grid."""
    step = 0.05
    z = torch.arange(-9, 9 + step / 2, step, dtype=X.dtype)
    weight = step * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    u = scale * torch.cartesian_prod(z, z)
    S = SIGMA[activation](X @ u.T)
    return (S * torch.outer(weight, weight).flatten()) @ S.T


@few
@given(seed=seeds)
@pytest.mark.parametrize("activation", SMOOTH)
def test_the_series_is_the_expectation(activation, seed):
    X = unit(seed, 4, 2) * torch.tensor([[0.3], [1.0], [1.5], [0.0]], dtype=torch.float64)
    exact = in_the_plane(X, activation, 1.2)
    assert torch.allclose(gaussian_kernel(X, activation, 1.2).values, exact, rtol=0, atol=1e-12)
    # Control: a slightly larger scale is another kernel.
    assert not torch.allclose(gaussian_kernel(X, activation, 1.21).values, exact, atol=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_against_random_weights_in_many_dimensions(activation):
    X = unit(1, 5, 20)
    draws = normal(2, 20, 400_000)
    S = SIGMA[activation](0.7 * X @ draws)
    mean = S @ S.T / S.shape[1]
    scatter = ((S.square() @ S.square().T) / S.shape[1] - mean.square()).sqrt()
    deviations = (gaussian_kernel(X, activation, 0.7).values - mean) / scatter * 400_000**0.5
    assert float(deviations.abs().max()) < 4.5
    wrong = (gaussian_kernel(X, activation, 0.8).values - mean) / scatter * 400_000**0.5
    assert float(wrong.abs().max()) > 9


def test_relu_where_the_angle_is_known():
    x = torch.tensor([2.0, 0.0], dtype=torch.float64)
    X = torch.stack([x, 3 * x, torch.tensor([0.0, 1.0]), -x, torch.zeros(2)])
    K = gaussian_kernel(X, "relu", 0.5)
    expected = [0.5, 1.5, 0.5 * 1 / (2 * math.pi) * 1.0, 0.0, 0.0]
    # Half of E[z^2] on parallel points, |x||x'|/(2 pi) on orthogonal ones, 0 on antipodal ones.
    expected[2] = 0.25 * 2 * 1 / (2 * math.pi)
    assert torch.allclose(K.values[0], torch.tensor(expected, dtype=torch.float64), atol=1e-15)
    assert float(K.error) == 0


@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("r", [0.2, 1.0, 4.0])
def test_the_diagonal_is_an_integral(activation, r):
    sigma = SIGMA[activation]
    value, _ = quad(
        lambda z: (
            float(sigma(torch.tensor(r * z, dtype=torch.float64))) ** 2
            * math.exp(-z * z / 2)
            / math.sqrt(2 * math.pi)
        ),
        -12,
        12,
        epsabs=1e-13,
        limit=200,
    )
    K = gaussian_kernel(torch.tensor([[r]], dtype=torch.float64), activation)
    assert abs(float(K.values[0, 0]) - value) <= float(K.error) + 1e-11


def test_the_error_bounds_what_is_cut_off(monkeypatch):
    X = unit(3, 6, 2)
    exact = in_the_plane(X, "tanh", 4.0)
    errors = []
    for terms in (16, 64, 256):
        monkeypatch.setattr(kernels, "TERMS", terms)
        K = gaussian_kernel(X, "tanh", 4.0)
        gap = exact - K.values
        # The largest gap is on the diagonal, and the bound is sharp there.
        assert float(gap.abs().max()) == pytest.approx(float(K.error), rel=1e-3, abs=1e-10)
        assert float(torch.linalg.eigvalsh(gap)[0]) > -1e-10
        low, high = smallest_eigenvalue(K)
        true = torch.linalg.eigvalsh(exact)[0]
        assert low - 1e-10 <= true <= high + 1e-10
        errors.append(float(K.error))
    assert errors[0] > 10 * errors[1] > 100 * errors[2] > 0


def test_the_sigmoid_is_half_a_tanh():
    X = unit(4, 7, 3)
    K = gaussian_kernel(X, "sigmoid").values
    T = gaussian_kernel(X, "tanh", 0.5).values
    assert torch.allclose(K, (1 + T) / 4, rtol=0, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_makes_the_kernel_singular(activation):
    """Antipodal points for tanh, two pairs of them for the sigmoid, parallel ones for the ReLU."""
    X = unit(5, 3, 4)
    cases = {
        "in general position": X,
        "parallel": torch.cat([X, X[:1] / 2]),
        "antipodal": torch.cat([X, -X[:1]]),
        "two antipodal pairs": torch.cat([X, -X[:2]]),
    }
    least = {
        name: float(smallest_eigenvalue(gaussian_kernel(points, activation))[0])
        for name, points in cases.items()
    }
    singular = {
        "relu": {"parallel"},
        "tanh": {"antipodal", "two antipodal pairs"},
        "sigmoid": {"two antipodal pairs"},
    }[activation]
    for name, value in least.items():
        assert abs(value) < 1e-14 if name in singular else value > 1e-7, name


def test_a_batch_is_its_parts():
    X = unit(6, 2, 3, 5, 4)
    for activation in ACTIVATIONS:
        whole = gaussian_kernel(X, activation)
        assert whole.values.shape == (2, 3, 5, 5) and whole.error.shape == (2, 3)
        low, high = smallest_eigenvalue(whole)
        assert low.shape == high.shape == (2, 3)
        part = gaussian_kernel(X[1, 2], activation)
        assert torch.allclose(whole.values[1, 2], part.values, rtol=0, atol=1e-15)


def test_wrong_arguments_are_named():
    X = unit(7, 3, 2)
    with pytest.raises(ValueError, match="relu, tanh, sigmoid"):
        gaussian_kernel(X, "erf")
    with pytest.raises(ValueError, match="positive scale"):
        gaussian_kernel(X, "relu", 0.0)
    with pytest.raises(ValueError, match="Scale the points down"):
        gaussian_kernel(X, "tanh", 6.0)
    assert gaussian_kernel(X, "sigmoid", 6.0).values.isfinite().all()


# --- The loss with the kernel of the start -------------------------------------------------------


def isotropic(held: bool = False) -> tuple[MeanField, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A network whose a has mean 0 and E[a a^T] = I for every u, exactly; its kernel and labels."""
    X, U, W = normal(5, 9, 4), normal(6, 4, 6), normal(7, 3, 2)
    p, y = 3, torch.arange(9) % 2
    A = math.sqrt(p) * torch.cat([torch.eye(p), -torch.eye(p)], 1).double()
    model = MeanField(X, y, 2, p, 36, "tanh", gamma=1.5, decay=0.0)
    state = model.pack(W, A.repeat_interleave(6, 1), U.repeat(1, 6))
    kernel = model.kernel(state) + (0 if held else model.slope_kernel(state))
    return model, state, kernel, y


def test_the_loss_begins_to_fall_as_the_frozen_kernel_says():
    model, state, kernel, y = isotropic()
    W = model.unpack(state)[0]
    g = model.unpack(model.gradient(state))
    # A particle's part of `gradient` is N times its gradient.
    slope = -(g[0].square().sum() + (g[1].square().sum() + g[2].square().sum()) / model.N)
    times = torch.tensor([0.0, 1e-5], dtype=torch.float64)
    loss = frozen_loss(kernel, W, y, times, gamma=1.5)
    assert float(loss[0]) == pytest.approx(float(model.data_loss(state)), rel=1e-12)
    assert float((loss[1] - loss[0]) / 1e-5) == pytest.approx(float(slope), rel=1e-3)
    # Control: with u held it falls more slowly.
    held = frozen_loss(isotropic(held=True)[2], W, y, times, gamma=1.5)
    assert float((held[1] - held[0]) / 1e-5) > 0.9 * float(slope)


def test_with_one_eigenvalue_the_frozen_loss_is_one_exponential():
    y, times = torch.arange(6) % 3, torch.tensor([0.0, 1.0, 7.0], dtype=torch.float64)
    W = torch.eye(4, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0]).double()[:, None, None]
    loss = frozen_loss(0.3 * torch.eye(6, dtype=torch.float64), W, y, times)
    rates = 2 * 0.3 * torch.tensor([[1.0], [4.0]]).double() / 6
    torch.testing.assert_close(loss, torch.exp(-rates * times) / 2, rtol=1e-12, atol=0)
