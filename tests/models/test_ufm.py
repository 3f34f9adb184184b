"""The unconstrained features model: its gradients, its batches, its starts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime, available_devices, generator, start

RUN = Runtime(torch.device("cpu"), torch.float64, 1)

few = settings(max_examples=20)


@st.composite
def models(draw, balanced: bool = False) -> UnconstrainedFeatures:
    """Small models, with classes of different sizes unless ``balanced``."""
    C = draw(st.integers(2, 5))
    sizes = st.integers(1, 4)
    N = draw(sizes) if balanced else draw(st.lists(sizes, min_size=C, max_size=C))
    return UnconstrainedFeatures(C, N, draw(st.integers(1, 6)))


def states(model: UnconstrainedFeatures, *batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*batch, model.size, generator=generator(seed), dtype=torch.float64)


def closeness(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, relative to the size of ``b``."""
    return float((a - b).abs().max() / b.abs().max())


# --- Risk and field -----------------------------------------------------------------------------


def risk_by_examples(model: UnconstrainedFeatures, z: torch.Tensor) -> torch.Tensor:
    """The definition, one example at a time, for one state of shape (P,)."""
    H = z[: model.p * model.n].reshape(model.p, model.n)
    W = z[model.p * model.n : -model.C].reshape(model.C, model.p)
    b = z[-model.C :]
    risk, column = z.new_zeros(()), 0
    for k, size in enumerate(model.sizes):
        target = torch.eye(model.C, dtype=z.dtype)[k]
        for _ in range(size):
            risk = risk + (W @ H[:, column] + b - target).square().sum() / 2
            column += 1
    return risk


@few
@given(models(), st.integers(0, 2**32))
def test_the_risk_is_the_sum_over_examples(model, seed):
    z = states(model, seed=seed)
    assert model.risk(z).item() == pytest.approx(risk_by_examples(model, z).item(), rel=1e-12)


@few
@given(models(), st.integers(0, 2**32))
def test_the_field_is_minus_the_gradient_by_autograd(model, seed):
    z = states(model, seed=seed).requires_grad_()
    (gradient,) = torch.autograd.grad(risk_by_examples(model, z), z)
    assert closeness(model.field(z.detach()[None])[0], -gradient) < 1e-12
    # Control: a gradient that leaves out b's share of the residual does not pass.
    H, W, _ = model.unpack(z.detach())
    E = W @ H - model.Y
    wrong = model.pack(-W.mT @ E, -E @ H.mT, -E.sum(-1))
    assert closeness(wrong, -gradient) > 1e-6


def test_autograd_goes_through_the_risk_and_the_field():
    model = UnconstrainedFeatures(3, [1, 2, 1], 2)
    z = states(model, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(model.risk(z).sum(), z)
    assert closeness(model.field(z.detach()), -gradient) < 1e-12
    for row in z.detach():
        jacobian = torch.autograd.functional.jacobian(lambda x: model.field(x[None])[0], row)
        assert closeness(jacobian, jacobian.T) < 1e-12, "minus a Hessian is symmetric"


@few
@given(models(), st.integers(1, 4), st.integers(1, 3))
def test_a_batch_is_a_loop(model, A, S):
    z = states(model, A, S)
    shapes = {
        "field": (A, S, model.size),
        "residual": (A, S, model.C, model.n),
        "risk": (A, S),
    }
    for name, shape in shapes.items():
        f = getattr(model, name)
        together = f(z)
        assert together.shape == shape
        flat = f(z.reshape(A * S, -1)).reshape(shape)
        single = torch.stack([torch.stack([f(row) for row in rows]) for rows in z])
        one_by_one = torch.stack([torch.cat([f(row[None]) for row in rows]) for rows in z])
        for other in (flat, single, one_by_one):
            assert closeness(other, together) < 1e-14


def test_a_state_is_not_changed_by_looking_at_it():
    model = UnconstrainedFeatures(3, 2, 4)
    z = states(model, 5)
    before = z.clone()
    first = model.field(z)
    copy = first.clone()
    model.risk(z)
    model.field(2 * z)
    assert torch.equal(z, before)
    assert torch.equal(first, copy), "a field must not be a buffer that the next call fills"


def test_a_state_that_is_not_finite_does_not_touch_its_neighbours():
    model = UnconstrainedFeatures(3, 3, 5)
    z = states(model, 6)
    clean = model.field(z)
    z[2], z[4] = math.inf, math.nan
    spoilt = model.field(z)
    assert not spoilt[2].isfinite().any() and not spoilt[4].isfinite().any()
    others = [0, 1, 3, 5]
    assert torch.equal(spoilt[others], clean[others])


@few
@given(models())
def test_packing_and_unpacking_are_inverse(model):
    z = states(model, 2, 3)
    H, W, b = model.unpack(z)
    assert H.shape == (2, 3, model.p, model.n)
    assert W.shape == (2, 3, model.C, model.p)
    assert b.shape == (2, 3, model.C)
    assert torch.equal(model.pack(H, W, b), z)
    assert model.size == z.shape[-1]


def test_the_targets_group_the_classes():
    model = UnconstrainedFeatures(3, [2, 1, 3], 2)
    expected = [[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    assert model.Y.tolist() == expected
    balanced = UnconstrainedFeatures(3, 2, 2)
    kron = torch.kron(torch.eye(3, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))
    assert torch.equal(balanced.Y, kron)


@pytest.mark.parametrize("device", available_devices())
def test_every_device_has_the_same_field(device):
    run = start(device)
    z = states(UnconstrainedFeatures(3, 3, 15), 10)
    here = UnconstrainedFeatures(3, 3, 15, run.device, run.dtype).field(run.tensor(z))
    exact = UnconstrainedFeatures(3, 3, 15).field(z)
    assert closeness(here.cpu().double(), exact) < (1e-14 if run.dtype == torch.float64 else 1e-5)


# --- Starts -------------------------------------------------------------------------------------


@few
@given(models())
def test_a_small_start_has_the_norms_that_were_asked_for(model):
    eps = torch.tensor([1.0, 1e-3, 1e-6], dtype=torch.float64)
    z = model.small_start(eps, [5, 6], RUN)
    assert z.shape == (3, 2, model.size)
    H, W, b = model.unpack(z)
    for part in (H, W):
        norms = torch.linalg.matrix_norm(part)
        assert closeness(norms / eps[:, None], torch.ones(3, 2)) < 1e-14
    assert not b.any()
    # A seed's direction is the same at every eps and beside any other seeds.
    assert closeness(z[2] / 1e-6, z[0]) < 1e-14
    assert torch.equal(z[:, 1:], model.small_start(eps, [6], RUN))
    assert closeness(z[0, 0], z[0, 1]) > 1e-3


def test_the_directions_are_uniform_on_the_sphere():
    model = UnconstrainedFeatures(2, 1, 2)
    z = model.small_start(torch.ones(1, dtype=torch.float64), range(4000), RUN)
    for part in model.unpack(z)[:2]:
        rows = part.flatten(-2)[0]
        # Four entries of a unit vector: mean 0 and second moments I / 4, known to about 0.004.
        assert float(rows.mean(0).abs().max()) < 0.035
        moments = rows.T @ rows / 4000
        assert float((moments - torch.eye(4) / 4).abs().max()) < 0.02


# --- Bad arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("C", "N", "p", "words"),
    [
        (1, 3, 2, "C is 1: expected an integer of at least 2"),
        (3, 0, 2, "N is 0: expected an integer of at least 1"),
        (3, 3, 0, "p is 0: expected an integer of at least 1"),
        (3, [1, 2], 2, r"N = \[1, 2\] has 2 sizes: .* C = 3 numbers"),
        (3, [1, 0, 2], 2, "N is 0: expected"),
        (3, [], 2, r"N = \[\] has 0 sizes"),
        (3, 2.5, 2, "N is 2.5: expected"),
        (2.5, 2, 2, "C is 2.5: expected"),
        (3, 2, 1.5, "p is 1.5: expected"),
    ],
)
def test_sizes_that_make_no_sense_are_named(C, N, p, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        UnconstrainedFeatures(C, N, p)


def test_integers_of_other_libraries_are_sizes():
    expected = UnconstrainedFeatures(2, (3, 3), 4)
    for whole in (np.int64, np.uint8, torch.tensor):
        made = UnconstrainedFeatures(whole(2), whole(3), whole(4))
        assert made.sizes == expected.sizes and made.size == expected.size
        assert {type(number) for number in (made.C, made.p, *made.sizes)} == {int}


def test_unbalanced_classes_have_no_common_size():
    assert UnconstrainedFeatures(3, [2, 2, 2], 4).N == 2
    model = UnconstrainedFeatures(3, [2, 1, 2], 4)
    assert model.n == 5
    with pytest.raises(ValueError, match=r"sizes \(2, 1, 2\): there is no common N"):
        _ = model.N
