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
        self.taken, self.asks = True, {}  # by every run: a step

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

    def hear(self, told: dict) -> None:
        """Take the answer to what it asks for: nothing."""


class Chebyshev:
    """The stabilised method RKC of second order, for steps that stability would limit.

    With m stages it is stable on [-0.65 m^2, 0], where an ordinary method of m stages comes to
    about -0.5 m. The fastest rate of each run is followed by one step of a power iteration a step,
    and decides that run's stages.

    Attributes
    ----------
    taken : Tensor
        Which runs took the last step, boolean ``(R,)``.
    asks : dict of Tensor
        The ``stages`` that it needs of each run, ``(R,)``: a device that computes ahead is to tell
        them now and then, and ``hear`` takes the answer.

    Source: Sommeijer, Shampine and Verwer, RKC: an explicit solver for parabolic PDEs, J. Comput.
    Appl. Math. 88, 1998.
    """

    order = 3

    def __init__(self, like: Tensor) -> None:
        self.direction: Tensor | None = None
        self.bound, self.asks = 0, {}
        self.table = like.new_zeros(0, 0, 5)

    def select(self, stay: Tensor) -> None:
        """Drop what is known of the runs that leave."""
        if self.direction is not None:
            self.direction = self.direction[stay]

    def hear(self, told: dict) -> None:
        """Allow the stages that were needed, and a few more, in which they may grow."""
        if "stages" in told:
            most = int(told.pop("stages").max())
            # A step that was cut short needs few, and the next one may need as many as before.
            self.allow(max(most + most // 8 + 1, self.bound // 2))

    def allow(self, stages: int) -> None:
        """Let steps have up to so many stages."""
        self.bound = min(stages, MOST_STAGES)
        if self.bound < len(self.table):
            return
        # By stages, then by stage: the four weights of each, and with the first that of step 1.
        table = np.zeros((self.bound + 1, self.bound - 1, 5))
        for stages in range(2, self.bound + 1):
            table[stages, 0, 4], table[stages, : stages - 1, :4] = chebyshev_weights(stages)
        self.table = torch.from_numpy(table).to(self.table)

    def fastest(self, field: Field, z: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Return an estimate of each run's fastest rate, ``(R, 1)``, and the next direction."""
        rounds, direction = 1, self.direction
        if direction is None:
            rounds, direction = 20, slope
        info = torch.finfo(z.dtype)
        size = info.eps**0.5 * z.norm(dim=-1, keepdim=True).clamp_min(info.tiny**0.5)
        for _ in range(rounds):
            # A field that does not change has the rate 0, and is asked again from its own value.
            length = direction.norm(dim=-1, keepdim=True)
            direction = torch.where(length > 0, direction, slope)
            direction = direction / direction.norm(dim=-1, keepdim=True).clamp_min(info.tiny)
            direction = (field(z + size * direction)[0] - slope) / size
        return 1.1 * direction.norm(dim=-1, keepdim=True), direction

    def step(self, field: Field, z: Tensor, slope: Tensor, h: Tensor) -> tuple:
        """Return the new state, its slope and what goes with it, and the estimated error.

        On a device, which the host does not ask for the stages that the runs need, those that need
        more than are allowed have taken no step; see ``taken``.
        """
        fastest, direction = self.fastest(field, z, slope)
        rate = (h * fastest).nan_to_num(0.0, 0.0)
        stages = (1 + (1 + 1.54 * rate).sqrt().ceil()).clamp(2, MOST_STAGES).long()
        if z.is_cpu or not self.bound:
            self.allow(int(stages.max()))
        self.taken, self.asks = (stages <= self.bound).squeeze(-1), {"stages": stages.squeeze(-1)}
        if self.direction is not None:
            # A run that takes none is asked again the same, and its next step is as if at once.
            moves = (stages <= self.bound) & (h > 0)
            direction = torch.where(moves, direction, self.direction)
        self.direction, stages = direction, stages.clamp_max(self.bound)
        weights = self.table[stages.squeeze(-1), : self.bound - 1]
        # Displacements from z, so that a neuron that stands still keeps its last bit.
        before, here = torch.zeros_like(z), weights[:, 0, 4:] * h * slope
        for stage, row in enumerate(weights[..., :4].unbind(1), 2):
            mu, nu, mu_field, of_start = row.unsqueeze(-1).unbind(1)
            push = mu_field * field(z + here)[0] + of_start * slope
            after = mu * here + nu * before + h * push
            on = stage <= stages
            before, here = torch.where(on, here, before), torch.where(on, after, here)
        new = z + here
        end, known = field(new)
        return new, end, known, [0.4 * h * (slope + end) - 0.8 * here]


@cache
def chebyshev_weights(stages: int) -> tuple[float, list[list[float]]]:
    """Return the first step's weight, and each further stage's four, of RKC with damping 2/13."""
    w0 = 1 + (2 / 13) / stages**2
    each = np.eye(stages + 1)  # the polynomials, as columns
    T, dT, ddT = (chebyshev.chebval(w0, chebyshev.chebder(each, order)) for order in range(3))
    w1 = dT[-1] / ddT[-1]
    b = np.empty(stages + 1)
    b[2:] = ddT[2:] / dT[2:] ** 2
    b[0], b[1] = b[2], 1 / w0
    a = 1 - b * T
    mu_field = 2 * b[2:] * w1 / b[1:-1]
    rows = 2 * b[2:] * w0 / b[1:-1], -b[2:] / b[:-2], mu_field, -a[1:-1] * mu_field
    return float(b[1] * w1), np.stack(rows, -1).tolist()
