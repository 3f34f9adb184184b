"""Whether a stationary point is a minimum: the least curvature that is not that of a symmetry."""

from collections.abc import Callable

import torch
from torch import Tensor

from ncbook.theory.linear import jacobian


def least_curvature(field: Callable[[Tensor], Tensor], z: Tensor, still: int = 0) -> Tensor:
    """Return the least eigenvalue of the Hessian at z that is not among ``still`` that are zero.

    For a field that is minus a gradient whose potential does not change along ``still`` dimensions,
    such as those of a rotation: as many eigenvalues, the smallest in size, are left out. A scalar,
    positive at a minimum and negative at a saddle.

    Shapes as in :func:`ncbook.theory.linear.jacobian`; ``still`` is from 0 to P - 1.
    """
    values = torch.linalg.eigvalsh(-jacobian(field, z))
    return values[values.abs().argsort()[still:]].min()
