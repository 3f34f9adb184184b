"""The level of given gates, against the network itself."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from theory_cases import normal

from ncbook.dynamics.minimise import minimise
from ncbook.models.penalised_relu import PenalisedReLU
from ncbook.theory.relu.collapse_program import least_risk
from ncbook.theory.relu.gates import (
    each_class_covered,
    one_class_each,
    open_gates,
    rest_with_gates,
)

K, n = 3, 6
N = K * n
y = torch.arange(K).repeat_interleave(n)
SERVES = torch.tensor([0, 1, 2, 0, 0])  # three units for class 0
FULL = y[:, None] == SERVES


def split(misses: int) -> torch.Tensor:
    """Each of the units of class 0 misses samples of its own."""
    gates = FULL.clone()
    for place, unit in enumerate((0, 3, 4)):
        gates[place * misses : (place + 1) * misses, unit] = False
    return gates


def test_full_units_have_the_least_risk():
    for decay, feature_decay in ((0.01, 0.01), (0.05, 0.002)):
        rest = rest_with_gates(FULL, decay, feature_decay)
        assert float(rest.risk) == pytest.approx(least_risk(K, decay, feature_decay), rel=1e-12)


@pytest.mark.parametrize("misses", [1, 2])
def test_units_that_miss_as_many_samples_have_a_level_in_one_variable(misses):
    def part(u):
        common = (n - 3 * misses) * 0.01 / (0.01 + 3 * u)
        return (common + 3 * misses * 0.01 / (0.01 + 2 * u)) / (2 * N) + 0.01 * 3 * u / 2

    best = minimize_scalar(part, bounds=(0, 2), method="bounded", options={"xatol": 1e-12}).fun
    rest = rest_with_gates(split(misses), 0.01, 0.01)
    lowest = least_risk(K, 0.01, 0.01)
    assert float(rest.risk) == pytest.approx(best + 2 / 3 * lowest, rel=1e-9)
    assert float(rest.risk) > 1.01 * lowest


def test_a_lost_class_costs_its_share():
    gates = FULL & (y > 0)[:, None]
    rest = rest_with_gates(gates, 0.01, 0.01)
    assert float(rest.risk) == pytest.approx(2 / 3 * least_risk(K, 0.01, 0.01) + 1 / 6, rel=1e-10)
    assert rest.squares[[0, 3, 4]].abs().max() < 1e-9


def network_at(rest, gates, X):
    network = PenalisedReLU(X, y, len(SERVES), 0.01, 0.01)
    A = torch.linalg.pinv(X) @ torch.where(gates, rest.features, -1.0)
    W = rest.squares.sqrt()[:, None] * torch.eye(K, dtype=torch.float64)[SERVES]
    return network, network.pack(A, W)


@pytest.mark.parametrize("gates", [split(1), split(2), FULL & (y > 0)[:, None]])
def test_it_is_a_local_minimum(gates):
    rest = rest_with_gates(gates, 0.01, 0.01)
    network, z = network_at(rest, gates, normal(1, N, N))
    assert float(network.risk(z)) == pytest.approx(float(rest.risk), rel=1e-12)
    assert network.field(z).norm() < 1e-7
    around = z + 1e-3 * normal(2, 20, network.size)
    assert (network.risk(around) > rest.risk).all()
    # From there one comes back to the level, and not to the least risk.
    back = network.risk(minimise(network.risk, around[:3], 1000).final)
    assert back.tolist() == pytest.approx([float(rest.risk)] * 3, rel=1e-9)


def test_a_batch_is_each_by_itself():
    both = torch.stack([FULL, split(1)])
    rest = rest_with_gates(both, 0.02, 0.01)
    for place, gates in enumerate(both):
        alone = rest_with_gates(gates, 0.02, 0.01)
        torch.testing.assert_close(rest.features[place], alone.features)
    assert rest.risk[0] < rest.risk[1] and rest.squares.shape == (2, 5)
    assert rest_with_gates(FULL, 0.1, 0.1, torch.float32).features.dtype == torch.float32


def test_who_is_on_where():
    mixed = FULL.clone()
    mixed[0, 1] = True
    given = torch.stack([FULL, split(1), mixed, FULL & (y > 0)[:, None]])
    assert one_class_each(given, y).tolist() == [True, True, False, True]
    assert each_class_covered(given, y).tolist() == [True, False, True, False]


def test_the_gates_of_a_network_are_read_off():
    rest = rest_with_gates(split(1), 0.01, 0.01)
    network, z = network_at(rest, split(1), normal(3, N, N))
    assert torch.equal(open_gates(network.features(z), network.unpack(z)[1]), split(1))
    W = network.unpack(z)[1].clone()
    W[3] /= 1e3  # on its way to zero
    assert not open_gates(network.features(z), W)[:, 3].any()


def test_what_is_refused():
    with pytest.raises(ValueError, match="expected boolean"):
        rest_with_gates(FULL.double(), 0.1, 0.1)
    with pytest.raises(ValueError, match="expected positive numbers"):
        rest_with_gates(FULL, 0.1, math.inf)
    with pytest.raises(ValueError, match="expected one label"):
        one_class_each(FULL, y[1:])
