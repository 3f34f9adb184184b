"""Linear algebra about a point, and the spectra at the origin and at strong collapse."""

import math

import pytest
import torch
from hypothesis import given
from theory_cases import GRID, few, normal, random_parts, seeds, sizes

from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.theory.linear import jacobian, sin_largest_principal_angle, spectrum_table
from ncbook.theory.ufm import spectra, subspace


def origin(model: UnconstrainedFeatures) -> torch.Tensor:
    """H = 0, W = 0, b = 1/C."""
    z = torch.zeros(model.size, dtype=torch.float64)
    z[-model.C :] = 1 / model.C
    return z


def spectrum_of(model: UnconstrainedFeatures, z: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(jacobian(model.field, z))


def moved(spectrum: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Control: the same eigenvalues with one multiplicity too many and one too few."""
    (a, i), (b, j), *rest = spectrum
    return [(a, i + 1), (b, j - 1), *rest]


# --- At the origin ------------------------------------------------------------------------------


@few
@given(sizes(), seeds)
def test_the_linearisation_is_the_derivative_of_the_field(case, seed):
    model = UnconstrainedFeatures(*case)
    z = normal(seed, model.size)
    exact = jacobian(model.field, origin(model)) @ z
    linear = model.pack(*spectra.linear_field(*model.unpack(z)))
    assert float((linear - exact).abs().max()) < 1e-12
    wrong = jacobian(model.field, torch.zeros_like(z)) @ z  # b at 0 instead of 1/C
    assert float((linear - wrong).abs().max()) > 1e-3


@few
@given(sizes())
def test_the_spectrum_at_the_origin(case):
    model = UnconstrainedFeatures(*case)
    values = spectrum_of(model, origin(model))
    spectrum = spectra.spectrum_at_origin(*case)
    assert float((values - spectrum_table(spectrum)).abs().max()) < 1e-12 * case[0] * case[1]
    assert float((values - spectrum_table(moved(spectrum))).abs().max()) > 0.5


@few
@given(sizes())
def test_S_is_the_growing_eigenspace(case):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    values, vectors = torch.linalg.eigh(jacobian(model.field, origin(model)))
    growing = vectors[:, (values - math.sqrt(N)).abs() < 1e-9]
    basis = torch.eye(model.size, dtype=torch.float64)
    H, W, b = subspace.project_onto_S(*model.unpack(basis))
    P = model.pack(H, W, torch.zeros_like(b))
    assert float((growing @ growing.T - P).abs().max()) < 1e-12
    # The decaying eigenspace is the mirror image, H = -lift(W); as a control, it is not S.
    decaying = vectors[:, (values + math.sqrt(N)).abs() < 1e-9]
    flip = model.pack(-torch.ones_like(H[0]), torch.ones_like(W[0]), torch.ones_like(b[0]))
    assert float((decaying @ decaying.T - flip[:, None] * P * flip).abs().max()) < 1e-12
    assert float((decaying @ decaying.T - P).abs().max()) > 0.1


@few
@given(sizes(), seeds)
def test_the_modes_are_the_parts_by_eigenspace(case, seed):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    H, W, b = random_parts(C, N, p, seed)
    z = model.pack(H, W, torch.zeros_like(b))
    values, vectors = torch.linalg.eigh(jacobian(model.field, origin(model)))
    modes = spectra.modes(H, W)
    rates = {"growing": math.sqrt(N), "decaying": -math.sqrt(N), "standing": 0.0}
    assert modes.keys() == rates.keys()
    for name, rate in rates.items():
        part = vectors[:, (values - rate).abs() < 1e-9].T @ z
        assert float(modes[name]) == pytest.approx(float(part.norm()), rel=1e-12, abs=1e-14)
    whole = sum(part.square() for part in modes.values()).sqrt()
    assert float(whole) == pytest.approx(float(z.norm()), rel=1e-12)


@pytest.mark.parametrize(("C", "N", "p"), GRID)
def test_small_modes_keep_their_digits(C, N, p):
    """One part of size 1 and another of size 1e-12 do not mix."""
    W = normal(3, C, p)
    W = W - W.mean(0)
    W = W / W.norm() / math.sqrt(2)
    H = subspace.lift(W, N)
    tiny = 1e-12 * torch.ones(p, C * N, dtype=torch.float64) / math.sqrt(p * C * N)
    assert float(spectra.modes(H + tiny, W)["standing"]) == pytest.approx(1e-12, rel=1e-3)
    assert float(spectra.modes(H, W)["growing"]) == pytest.approx(1, rel=1e-12)
    assert float(spectra.modes(H, W)["decaying"]) < 1e-15
    assert float(spectra.modes(-H, W)["growing"]) < 1e-15
    apart = spectra.modes(H, (1 + 2e-12) * W)["decaying"]
    assert float(apart) == pytest.approx(1e-12, rel=1e-3)


# --- At strong collapse -------------------------------------------------------------------------


@few
@given(sizes(roomy=True), seeds)
def test_the_spectrum_at_strong_collapse(case, seed):
    C, N, p = case
    model = UnconstrainedFeatures(C, N, p)
    z = model.pack(*subspace.strong_collapse(normal(seed, C, p), N))
    values = -spectrum_of(model, z).flip(0)
    spectrum = spectra.spectrum_at_collapse(C, N, p)
    assert float((values - spectrum_table(spectrum)).abs().max()) < 1e-12 * C * N
    assert float((values - spectrum_table(moved(spectrum))).abs().max()) > 0.5
    largest = float(values.max())
    assert spectra.largest_stable_step(C, N) == pytest.approx(2 / largest, rel=1e-12)


def test_no_spectrum_where_there_is_no_strong_collapse():
    with pytest.raises(ValueError, match="p = 2 < C - 1 = 3: the simplex does not fit"):
        spectra.spectrum_at_collapse(4, 2, 2)


# --- The tools ----------------------------------------------------------------------------------


def test_the_jacobian_of_a_known_field():
    def field(z):
        return torch.stack([z[:, 0] * z[:, 1], z[:, 1].square(), 3 * z[:, 0]], dim=-1)

    z = torch.tensor([2.0, 5.0, 0.0], dtype=torch.float64)
    assert jacobian(field, z).tolist() == [[5, 2, 0], [0, 10, 0], [3, 0, 0]]


def test_a_spectrum_is_listed_in_order():
    assert spectrum_table([(2.0, 2), (-1.0, 1), (0.0, 0)]).tolist() == [-1, 2, 2]


def test_the_sin_largest_principal_angle_two_spaces():
    A = normal(1, 7, 3)
    assert float(sin_largest_principal_angle(A, A @ normal(2, 3, 3))) < 1e-13
    basis = torch.linalg.qr(normal(3, 7, 7)).Q
    assert float(sin_largest_principal_angle(basis[:, :3], basis[:, 3:6])) == pytest.approx(1)
    assert float(sin_largest_principal_angle(A, A[:, :2])) == 1
    # A small angle keeps its digits: one direction turned by 1e-9.
    turned = basis[:, :3].clone()
    turned[:, 0] = math.cos(1e-9) * basis[:, 0] + math.sin(1e-9) * basis[:, 5]
    assert float(sin_largest_principal_angle(turned, basis[:, :3])) == pytest.approx(1e-9, rel=1e-5)
    assert float(sin_largest_principal_angle(basis[:, :3], turned)) == pytest.approx(1e-9, rel=1e-5)
