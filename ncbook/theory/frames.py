"""Frames: the geometries that classes collapse to."""

import torch
from torch import Tensor


def simplex_etf(C: int, p: int) -> Tensor:
    """Return C unit vectors in R^p whose pairwise cosines are all -1/(C-1), as rows.

    Papyan, Han, Donoho (2020), Definition of the standard simplex equiangular tight frame, up to a
    rotation.

    Returns
    -------
    Tensor
        Shape ``(C, p)``, float64.

    Raises
    ------
    ValueError
        C < 2, or p < C - 1: the vectors span C - 1 dimensions.
    """
    if C < 2 or p < C - 1:
        raise ValueError(
            f"No simplex of C = {C} vectors in p = {p} dimensions: expected C >= 2 and p >= C - 1."
        )
    # Rows of the Helmert basis of the complement of 1, scaled to unit columns.
    helmert = torch.zeros(C - 1, C, dtype=torch.float64)
    for k in range(1, C):
        helmert[k - 1, :k] = 1.0
        helmert[k - 1, k] = -float(k)
        helmert[k - 1] /= (k * (k + 1)) ** 0.5
    vectors = torch.zeros(C, p, dtype=torch.float64)
    vectors[:, : C - 1] = helmert.T * (C / (C - 1)) ** 0.5
    return vectors


def orthogonal_frame(C: int, p: int) -> Tensor:
    """Return C orthonormal vectors in R^p, as rows, shape ``(C, p)``, float64.

    Raises
    ------
    ValueError
        C < 1 or p < C.
    """
    if C < 1 or p < C:
        raise ValueError(f"No {C} orthonormal vectors in p = {p} dimensions: expected 1 <= C <= p.")
    return torch.eye(C, p, dtype=torch.float64)


def centring(C: int) -> Tensor:
    """Return Pi = I - 1 1^T / C, the projection onto the complement of 1, shape ``(C, C)``."""
    return torch.eye(C, dtype=torch.float64) - 1 / C
