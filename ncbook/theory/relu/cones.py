"""Directions as opposed as they can be, and the cones that fit between them.

Orthogonally separable classes (Min, Zhu and Vidal, 2025, Assumption 1) may fill cones. K equal
circular cones of half-angle b around axes at angles of at least theta have points of different
classes at angles of theta - 2b and more. No K axes are all further apart than
theta_K = arccos(-1/(K-1)), so cosines of at most -mu_d allow

.. math:: 2 b \\le \\theta_K - \\arccos(-\\mu_d),

in any number of dimensions from 2 and K - 1 on. Classes that are no circular cones may be wider:
see :mod:`ncbook.theory.relu.separability_bounds`. Derived for this book.
"""

import math

import torch
from torch import Tensor

from ncbook.runtime import tensors


def half_angle(K: int, mu_d: float) -> float:
    """Return the largest half-angle, in radians, of K equal circular cones with margin mu_d.

    Below 45 degrees for two classes, 15 for three, and about 1/(2(K-1)) for many. In the plane,
    where K is 2 or 3, no classes of any shape have a mean half-angle above this.

    Raises
    ------
    ValueError
        K < 2, or mu_d is not in [0, 1/(K-1)].
    """
    if K < 2 or not 0 <= mu_d <= (1 + 1e-12) / (K - 1):
        raise ValueError(
            f"K = {K}, mu_d = {mu_d}: expected K >= 2 and mu_d from 0 to 1/(K-1), because no K "
            "directions are more opposed."
        )
    return max(math.acos(-1 / (K - 1)) - math.acos(-min(mu_d, 1 / (K - 1))), 0.0) / 2


def repelled(directions: Tensor, steps: int) -> Tensor:
    """Return directions after they have repelled each other on the sphere.

    Descent of the sum of exp(cosine) over all pairs, with a step of 1/5. By Jensen's inequality
    and the bound on the sum of the cosines no directions have less energy than those whose
    cosines are all -1/(K-1), so this looks for the largest mu_d without knowing it.

    Parameters
    ----------
    directions : Tensor
        Shape ``(..., K, D)``, unit vectors, D >= 2 and D >= K - 1.
    steps : int
        Number of steps.
    """
    off = 1 - torch.eye(directions.shape[-2], dtype=directions.dtype, device=directions.device)
    for _ in range(steps):
        push = ((directions @ directions.mT).exp() * off) @ directions
        directions = directions - push / 5
        directions = directions / torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    return directions


def spread_in_the_plane(X: Tensor) -> Tensor:
    """Return half the angle that points in the plane span as seen from the origin, ``batch``.

    Half of 360 degrees less the widest gap between neighbouring directions.

    Parameters
    ----------
    X : Tensor
        Shape ``(*batch, n, 2)``.

    Raises
    ------
    ValueError
        The points are not in the plane.
    """
    tensors(X=X)
    if X.shape[-1] != 2:
        raise ValueError(
            f"X has shape {tuple(X.shape)}: expected points in the plane, (..., n, 2)."
        )
    angles = torch.atan2(X[..., 1], X[..., 0]).sort(-1).values
    around = torch.cat([angles, angles[..., :1] + 2 * math.pi], -1)
    return math.pi - around.diff(dim=-1).amax(-1) / 2
