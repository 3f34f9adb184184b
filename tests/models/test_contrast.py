"""The supervised contrastive loss: its definition, its gradient, its certificate."""

import math

import pytest
import torch

from ncbook.dynamics.minimise import minimise
from ncbook.frames import simplex_etf
from ncbook.models.contrast import SupervisedContrast
from ncbook.runtime import Runtime
from ncbook.theory.linear import least_curvature

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
SIZES = [3, 2, 4]
forms = pytest.mark.parametrize("decay", [None, 0.3])
kinds = pytest.mark.parametrize("collapsed", [False, True])


def by_pairs(H: torch.Tensor, labels: list[int], temperature: float) -> float:
    """The definition, a pair at a time."""
    total, N = 0.0, len(labels)
    for i in range(N):
        positives = [j for j in range(N) if j != i and labels[j] == labels[i]]
        others = torch.stack([H[other] for other in range(N) if other != i])
        for j in positives:
            ratio = ((others - H[j]) @ H[i] / temperature).exp().sum()
            total += math.log(float(ratio)) / len(positives) / N
    return total


@forms
def test_the_risk_is_the_mean_over_pairs(decay):
    model = SupervisedContrast(SIZES, 3, 0.7, decay)
    z = model.start([5], RUN)
    H = z.view(9, 3)
    H = H if decay else H / H.norm(dim=1, keepdim=True)
    expected = by_pairs(H, [0, 0, 0, 1, 1, 2, 2, 2, 2], 0.7)
    expected += (decay or 0) / 18 * float(H.square().sum())
    assert float(model.risk(z)) == pytest.approx(expected, rel=1e-13)
    # Control: another temperature.
    assert float(SupervisedContrast(SIZES, 3, 0.8, decay).risk(z)) != pytest.approx(expected, 1e-3)


@forms
@kinds
def test_the_field_is_minus_the_gradient(decay, collapsed):
    model = SupervisedContrast(SIZES, 3, 0.7, decay, collapsed)
    z = model.start(range(4), RUN).requires_grad_()
    (gradient,) = torch.autograd.grad(model.risk(z).sum(), z)
    assert torch.allclose(model.field(z), -gradient, rtol=0, atol=1e-14)
    along = model.start([9], RUN)[0]
    ahead, back = (model.risk(z.detach() + h * along) for h in (1e-5, -1e-5))
    assert torch.allclose((ahead - back) / 2e-5, gradient @ along, rtol=1e-7)
    one_by_one = torch.stack([model.field(row[None])[0] for row in z.detach()])
    assert torch.allclose(one_by_one, model.field(z.detach()), rtol=0, atol=1e-15)


@forms
def test_a_vector_may_stand_for_its_class(decay):
    whole = SupervisedContrast(SIZES, 3, 0.7, decay)
    short = SupervisedContrast(SIZES, 3, 0.7, decay, collapsed=True)
    z = short.start(range(4), RUN)
    rows = z.view(4, 3, 3).repeat_interleave(torch.tensor(SIZES), 1).flatten(1)
    assert torch.allclose(short.risk(z), whole.risk(rows), rtol=1e-14)
    scattered = rows + 0.1 * whole.start([1], RUN)
    assert (short.risk(z) - whole.risk(scattered)).abs().min() > 1e-4


@forms
@kinds
def test_the_certificate_tells_a_global_minimum_from_a_spurious_one(decay, collapsed):
    model = SupervisedContrast([3] * 4, 4, 0.7, decay, collapsed)
    found = minimise(model.risk, model.start(range(4), RUN))
    assert bool((found.status == "converged").all())
    assert model.certificate(found.final).min() > -1e-7
    # Four classes in a plane are at a square, whose risk one more dimension lowers.
    flat = SupervisedContrast([3] * 4, 2, 0.7, decay, collapsed)
    square = minimise(flat.risk, flat.start(range(4), RUN))
    assert bool((square.status == "converged").all())
    assert flat.certificate(square.final).max() < -1e-4
    gap = flat.risk(square.final).min() - model.risk(found.final).min()
    assert gap > 1e-3
    if not decay:
        assert gap <= -flat.points * flat.certificate(square.final).max()


def test_the_certificate_annuls_the_features_at_a_simplex():
    model = SupervisedContrast([5] * 4, 3, 0.5, collapsed=True)
    z = simplex_etf(4, 3).flatten()[None]
    assert model.field(z).abs().max() < 1e-15
    assert model.certificate(z).abs() < 1e-15


def test_two_simplices_are_stationary_and_a_minimum_of_their_dimension():
    still = 6 * 3 + 4 * 3 // 2  # lengths and rotations
    for k in (2, 3):
        model = SupervisedContrast([3] * 6, 4, 0.5)
        z = model.two_simplices(k)
        H = model.features(z)
        gram = H[::3] @ H[::3].T
        assert torch.allclose(gram[:k, k:], torch.zeros(k, 6 - k, dtype=torch.float64))
        assert gram[0, 1] == pytest.approx(-1 / (k - 1))
        assert model.field(z).abs().max() < 1e-15
        assert least_curvature(model.field, z, still) > 1e-3
        # With one dimension more it is a saddle, and a certificate says so.
        wider = SupervisedContrast([3] * 6, 5, 0.5)
        assert least_curvature(wider.field, wider.two_simplices(k)) < -1e-3
        assert model.certificate(z) < -1e-3
    with pytest.raises(ValueError, match="k from 2"):
        model.two_simplices(5)
    with pytest.raises(ValueError, match="K - 2 dimensions or more"):
        SupervisedContrast([3] * 6, 3, 0.5).two_simplices(3)


def test_what_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        SupervisedContrast([3, 1], 2, 1.0)
    with pytest.raises(ValueError, match="two or more classes"):
        SupervisedContrast([3], 2, 1.0)
    with pytest.raises(ValueError, match="positive numbers"):
        SupervisedContrast([3, 3], 2, 0.0)
    with pytest.raises(ValueError, match="positive numbers"):
        SupervisedContrast([3, 3], 2, 1.0, decay=0.0)
    with pytest.raises(ValueError, match="d is 0"):
        SupervisedContrast([3, 3], 0, 1.0)
