"""Growth of norm and time, against the reduced flow of each class integrated by SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ncbook.theory.relu.growth import log_time, squared_norm

MARGINS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
C = math.sqrt(1.5)


def integrated(R_end: float) -> tuple[float, float]:
    """log t and the squared norm at R, of classes with one sample each: |w|' = c gamma |w| p."""

    def field(_, state):  # in the time s with ds = L dt: a_k = |w_k|^2 = z_k/gamma_k, and q = t L
        a, q = state[:3], state[3]
        logs = -C * MARGINS.numpy() * a
        shares = np.exp(logs - np.logaddexp.reduce(logs))
        rate = 2 * C * MARGINS.numpy() * a * shares
        speed = (shares * C * MARGINS.numpy() * rate).sum()
        return np.append(rate, 1 - q * speed)

    def end(_, state):
        logs = -C * MARGINS.numpy() * state[:3]
        return -np.logaddexp.reduce(logs) - R_end

    end.terminal = True
    found = solve_ivp(
        field, (0, 1e4), [0.5, 0.5, 0.5, 0.0], "LSODA", events=end, rtol=1e-10, atol=1e-12
    )
    a, q = found.y[:3, -1], found.y[3, -1]
    return math.log(q) + R_end, 2 * a.sum()


@pytest.mark.parametrize("R", [30.0, 100.0, 1000.0])
def test_time_and_norm_come_from_the_flow(R):
    log_t, norm = integrated(R)
    assert float(log_time(R, MARGINS, C)) == pytest.approx(log_t, abs=4 / R)
    assert float(squared_norm(R, MARGINS, C)) == pytest.approx(norm, abs=10)
    # Control: without the constant or without log R the time is wrong by more than that.
    assert abs(R - math.log(R) - log_t) > 8 / R
    assert abs(float(log_time(R, MARGINS, C)) + math.log(R) - log_t) > 1


def test_error_falls_as_one_over_R():
    errors = [abs(float(log_time(R, MARGINS, C)) - integrated(R)[0]) for R in (100.0, 1000.0)]
    assert errors[1] / errors[0] < 0.2


def test_runs_are_a_batch():
    margins = torch.stack([MARGINS, 2 * MARGINS])
    R = torch.tensor([10.0, 20.0], dtype=torch.float64)
    assert squared_norm(R, margins, C).tolist() == [
        float(squared_norm(10.0, MARGINS, C)),
        float(squared_norm(20.0, 2 * MARGINS, C)),
    ]
    assert log_time(R, margins, C).shape == (2,)
