"""The barcode of the unconstrained features model: its sum of squares, its path, its components."""

import math

import pytest
import torch

from ncbook.dynamics.flow import adaptive_flow
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.runtime import Runtime
from ncbook.theory.ufm import barcode

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def parts(H, W, b):
    """The four squares of the module's docstring, whose sum is the risk, by name."""
    C, n = W.shape[-2], H.shape[-1]
    N, Q = n // C, barcode.complement(C, W)
    T = Q.mT.repeat_interleave(N, dim=-1)
    A, mean = Q.mT @ W, H.mean(-1, keepdim=True)
    G = (H - mean) @ T.mT / N
    along = W.sum(-2, keepdim=True) @ H + b.sum(-1)[..., None, None] - 1
    return {
        "product": N / 2 * (A @ G - torch.eye(C - 1).to(W)).square().sum((-2, -1)),
        "scatter": (A @ (H - mean - G @ T)).square().sum((-2, -1)) / 2,
        "mean": n / 2 * (A @ mean + (b @ Q)[..., None]).square().sum((-2, -1)),
        "ones": along.square().sum((-2, -1)) / (2 * C),
    }


def test_the_bars():
    assert barcode.barcode(4, 3, 1) == [(3.0, math.inf)]
    assert barcode.barcode(4, 3, 3) == [(0.0, math.inf), (0.0, 1.5)]
    assert barcode.barcode(4, 3, 4) == barcode.barcode(4, 3, 15) == [(0.0, math.inf)]
    assert barcode.barcode(2, 1, 1) == [(0.0, math.inf), (0.0, 0.5)]


@pytest.mark.parametrize(("C", "N", "p"), [(2, 1, 1), (3, 4, 2), (4, 3, 7), (5, 2, 3)])
def test_the_risk_is_the_sum_of_its_parts(C, N, p):
    model = UnconstrainedFeatures(C, N, p)
    z = RUN.normal(range(5), model.size)
    found = parts(*model.unpack(z))
    torch.testing.assert_close(sum(found.values()), model.risk(z), rtol=1e-13, atol=0)
    assert all(bool((part >= 0).all()) for part in found.values())
    # Each is needed, but the scatter of one example a class, which is none.
    for name, part in found.items():
        assert bool((part > 1e-3).all()) or (name == "scatter" and N == 1)


@pytest.mark.parametrize(("C", "N"), [(2, 1), (4, 3)])
def test_the_path_over_the_saddle(C, N):
    model, s = UnconstrainedFeatures(C, N, C - 1), torch.linspace(-1, 1, 21, dtype=torch.float64)
    H, W, b = barcode.across(C, N, s)
    torch.testing.assert_close(
        model.risk(model.pack(H, W, b)), N / 2 * (1 - s**2) ** 2, rtol=1e-12, atol=1e-14
    )
    assert torch.equal(barcode.component(W[s != 0]), s[s != 0].sign() * barcode.component(W[-1]))
    # Its top is a stationary point.
    assert float(model.field(model.pack(H, W, b))[10].abs().max()) < 1e-14


def test_below_the_bar_flow_keeps_the_component_and_above_it_need_not():
    C, N = 3, 2
    model = UnconstrainedFeatures(C, N, C - 1)
    z = RUN.normal(range(200), model.size)
    ran = adaptive_flow(model.field, z, [0.0, 2.0], rtol=1e-6, atol=1e-8)
    before, after = (barcode.component(model.unpack(one)[1]) for one in (z, ran.final))
    # The flow goes down: what is below the bar at the start stays in its component.
    low = model.risk(ran.final) < N / 2
    later = adaptive_flow(model.field, ran.final[low], [0.0, 20.0], rtol=1e-6, atol=1e-8).final
    assert int(low.sum()) > 50
    assert torch.equal(barcode.component(model.unpack(later)[1]), after[low])
    assert not torch.equal(before, after)


def test_the_basis_is_orthonormal_and_centred():
    Q = barcode.complement(5)
    torch.testing.assert_close(Q.T @ Q, torch.eye(4).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(Q.sum(0), torch.zeros(4).double(), rtol=0, atol=1e-14)


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match="C is 1"):
        barcode.barcode(1, 2, 3)
    with pytest.raises(ValueError, match="the one number of features"):
        barcode.component(torch.zeros(3, 3))
