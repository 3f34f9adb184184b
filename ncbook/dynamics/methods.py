"""The methods of Runge and Kutta as small objects: coefficients, one step, the next step's length.

A field takes states ``(R, P)`` to their rates and to whatever else it knows of them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from scipy import integrate
from torch import Tensor

Field = Callable[[Tensor], tuple[Tensor, Any]]

# Embedded pairs, with SciPy's coefficients.
PAIRS = {"RK23": integrate.RK23, "RK45": integrate.RK45, "DOP853": integrate.DOP853}

# Methods for a fixed step: (A, b), rows of A by stage. The last is DOP853's eighth-order step.
FIXED = {
    "Euler": ([[]], [1.0]),
    "RK4": ([[], [0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    "DOP853": (
        [integrate.DOP853.A[i, :i].tolist() for i in range(integrate.DOP853.n_stages)],
        integrate.DOP853.B.tolist(),
    ),
}
MOST_STAGES = 250


def fixed_step(
    field: Callable[[Tensor], Tensor], z: Tensor, h: float, A: Sequence, b: Sequence[float]
) -> None:
    """Take one step of a method of :data:`FIXED` in place."""
    slopes: list[Tensor] = []
    for row in A:
        slopes.append(field(_added(z.clone(), slopes, row, h)))
    _added(z, slopes, b, h)


def _added(z: Tensor, slopes: list[Tensor], weights: Sequence[float], h: float) -> Tensor:
    """Add h times the weighted sum of the slopes to ``z`` in place."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            z.add_(slope, alpha=h * weight)
    return z


def next_step(step: Tensor, error: Tensor, order: int) -> Tensor:
    """Return the step that the error of one suggests, where an error of 1 is allowed."""
    factor = (0.9 * error.clamp_min(1e-10) ** (-1 / order)).clamp(0.2, 10)
    return step * torch.where(error.isfinite(), factor, 0.2)


class Embedded:
    """An embedded pair whose last stage is the next step's first.

    ``order`` is that with which the error estimate of a step shrinks.
    """

    def __init__(self, name: str, like: Tensor) -> None:
        solver = PAIRS[name]
        stages = solver.n_stages
        A = np.zeros((stages + 1, stages))
        A[:stages, : solver.A.shape[1]] = solver.A[:stages]
        A[stages] = solver.B
        errors = [solver.E5, solver.E3] if hasattr(solver, "E5") else [solver.E]
        self.A, *self.errors = (torch.as_tensor(x).to(like) for x in (A, *errors))
        self.stages, self.order = stages, solver.error_estimator_order + 1

    def step(self, field: Field, z: Tensor, slope: Tensor, h: Tensor) -> tuple:
        """Return the new state, its slope and what goes with it, and the estimated errors.

        ``h`` has shape ``(R, 1)``. Of DOP853 there are two errors, of the others one.
        """
        slopes = slope.new_empty(len(self.A), *z.shape)
        slopes[0] = slope
        for stage in range(1, len(self.A)):
            move = torch.tensordot(self.A[stage, :stage], slopes[:stage], 1)
            new = torch.addcmul(z, h, move)
            slopes[stage], known = field(new)
        return new, slopes[-1], known, [h * torch.tensordot(e, slopes, 1) for e in self.errors]

    def select(self, stay: Tensor) -> None:
        """Drop what is known of the runs that leave."""


class Chebyshev:
    """The stabilised method RKC of second order, for steps that stability would limit.

    With m stages it is stable on [-0.65 m^2, 0], where an ordinary method of m stages comes to
    about -0.5 m. The fastest rate of each run is followed by one step of a power iteration a step,
    and decides that run's stages.

    Source: Sommeijer, Shampine and Verwer, RKC: an explicit solver for parabolic PDEs, J. Comput.
    Appl. Math. 88, 1998.
    """

    order = 3

    def __init__(self, like: Tensor) -> None:
        self.direction: Tensor | None = None

    def select(self, stay: Tensor) -> None:
        """Drop what is known of the runs that leave."""
        if self.direction is not None:
            self.direction = self.direction[stay]

    def fastest(self, field: Field, z: Tensor, slope: Tensor) -> Tensor:
        """Return an estimate of each run's fastest rate, shape ``(R, 1)``."""
        rounds = 1
        if self.direction is None:
            rounds, self.direction = 20, slope.clone()
        info = torch.finfo(z.dtype)
        size = info.eps**0.5 * z.norm(dim=-1, keepdim=True).clamp_min(info.tiny**0.5)
        for _ in range(rounds):
            # A field that does not change has the rate 0, and is asked again from its own value.
            length = self.direction.norm(dim=-1, keepdim=True)
            direction = torch.where(length > 0, self.direction, slope)
            direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(info.tiny)
            self.direction = (field(z + size * direction)[0] - slope) / size
        return 1.1 * self.direction.norm(dim=-1, keepdim=True)

    def step(self, field: Field, z: Tensor, slope: Tensor, h: Tensor) -> tuple:
        """Return the new state, its slope and what goes with it, and the estimated error."""
        rate = (h * self.fastest(field, z, slope)).nan_to_num(0.0, 0.0)
        stages = (1 + (1 + 1.54 * rate).sqrt().ceil()).clamp(2, MOST_STAGES).long()
        table = [chebyshev_weights(m) for m in stages.flatten().tolist()]
        rows = torch.zeros(len(z), max(len(weights[1]) for weights in table), 4).double()
        for own, weights in zip(rows, table, strict=True):
            own[: len(weights[1])] = torch.tensor(weights[1], dtype=torch.float64)
        first = z.new_tensor([[weights[0]] for weights in table])
        # Displacements from z, so that a neuron that stands still keeps its last bit.
        before, here = torch.zeros_like(z), first * h * slope
        for stage, weights in enumerate(rows.to(z).unbind(1), 2):
            mu, nu, mu_field, of_start = weights.unsqueeze(-1).unbind(1)
            push = mu_field * field(z + here)[0] + of_start * slope
            after = mu * here + nu * before + h * push
            on = stage <= stages
            before, here = torch.where(on, here, before), torch.where(on, after, here)
        new = z + here
        end, known = field(new)
        return new, end, known, [0.4 * h * (slope + end) - 0.8 * here]


@cache
def chebyshev_weights(stages: int) -> tuple[float, list[tuple[float, float, float, float]]]:
    """Return the first step's weight, and each further stage's four, of RKC with damping 2/13."""
    w0 = 1 + (2 / 13) / stages**2
    values = [np.eye(stages + 1)[j] for j in range(stages + 1)]
    T, dT, ddT = (
        np.array([chebyshev.chebval(w0, chebyshev.chebder(c, order)) for c in values])
        for order in range(3)
    )
    w1 = dT[-1] / ddT[-1]
    b = np.empty(stages + 1)
    b[2:] = ddT[2:] / dT[2:] ** 2
    b[0], b[1] = b[2], 1 / w0
    a = 1 - b * T
    rows = []
    for j in range(2, stages + 1):
        mu_field = 2 * b[j] * w1 / b[j - 1]
        row = (2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2], mu_field, -a[j - 1] * mu_field)
        rows.append(tuple(map(float, row)))
    return float(b[1] * w1), rows
