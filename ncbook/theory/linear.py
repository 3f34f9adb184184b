"""Linear algebra about a point: the Jacobian of a field, its spectrum, angles of subspaces."""

from collections.abc import Callable

import torch
from torch import Tensor


def jacobian(field: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the Jacobian of a field at one state.

    Parameters
    ----------
    field : callable
        ``(R, P)`` to ``(R, P)``.
    z : Tensor
        Shape ``(P,)``.

    Returns
    -------
    Tensor
        Shape ``(P, P)``, by automatic differentiation.
    """
    return torch.autograd.functional.jacobian(lambda state: field(state[None])[0], z)


def sharpness(field: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Return the largest eigenvalue of the Hessian at z, for a field that is minus a gradient.

    A scalar; NaN where the state is not finite.
    """
    if not z.isfinite().all():
        return z.new_tensor(torch.nan)
    return torch.linalg.eigvalsh(-jacobian(field, z))[-1]


def least_curvature(field: Callable[[Tensor], Tensor], z: Tensor, still: int = 0) -> Tensor:
    """Return the least eigenvalue of the Hessian at z that is not among ``still`` that are zero.

    For a field that is minus a gradient whose potential does not change along ``still`` dimensions,
    such as those of a rotation: as many eigenvalues, the smallest in size, are left out. A scalar,
    positive at a minimum and negative at a saddle.

    Shapes as in :func:`jacobian`; ``still`` is from 0 to P - 1.
    """
    values = torch.linalg.eigvalsh(-jacobian(field, z))
    return values[values.abs().argsort()[still:]].min()


def spectrum_table(spectrum: list[tuple[float, int]]) -> Tensor:
    """Return a spectrum given as (eigenvalue, multiplicity) as one ascending list."""
    values = [value for value, count in spectrum for _ in range(count)]
    return torch.tensor(sorted(values), dtype=torch.float64)


def sin_largest_principal_angle(A: Tensor, B: Tensor) -> Tensor:
    """Return the sine of the largest principal angle between two column spaces.

    0 when they are the same space, 1 when one holds a direction orthogonal to the other, or when
    their dimensions differ.

    Parameters
    ----------
    A, B : Tensor
        Shapes ``(P, a)`` and ``(P, b)``, of full column rank.
    """
    if A.shape[-1] != B.shape[-1]:
        return A.new_ones(())
    A, B = torch.linalg.qr(A).Q, torch.linalg.qr(B).Q
    # The norm of what B misses of A: exact for small angles, where the cosine rounds to 1.
    return torch.linalg.matrix_norm(A - B @ (B.T @ A), 2)
