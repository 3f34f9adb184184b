"""The simplex frame and the projection that centres: what every room may take from one place."""

import torch
from torch import Tensor

from ncbook.runtime import whole


def centring(K: int, like: Tensor | None = None) -> Tensor:
    """Return Pi = I - 1 1^T / K, the projection onto the complement of 1, shape ``(K, K)``.

    It has the dtype and the device of ``like``, without which it is float64 on the CPU.
    """
    # Ones and zeros are exact in every dtype; a device without float64 could not take that.
    return torch.eye(K).to(torch.float64 if like is None else like) - 1 / K


def simplex_etf(K: int, D: int) -> Tensor:
    """Return K unit vectors in R^D whose pairwise cosines are all -1/(K - 1), as rows.

    The most opposed that K directions can be. The first is the first coordinate axis; only the
    first K - 1 coordinates are used.

    Papyan, Han, Donoho (2020), Definition of the standard simplex equiangular tight frame, up to a
    rotation.

    Returns
    -------
    Tensor
        Shape ``(K, D)``, float64.

    Raises
    ------
    ValueError
        K or D is no integer, K < 2, or D < K - 1: the vectors span K - 1 dimensions.
    """
    K, D = whole("K", K), whole("D", D)
    if K < 2 or D < K - 1:
        raise ValueError(
            f"K = {K} classes in D = {D} dimensions: expected K >= 2 and D >= K - 1, because K "
            "directions that are pairwise opposed span at least K - 1 dimensions."
        )
    axes = torch.zeros(K, D, dtype=torch.float64)
    for k in range(K - 1):
        # What earlier coordinates leave of the norm; then the same product with all later ones.
        axes[k, k] = (1 - axes[k, :k].square().sum()).sqrt()
        axes[k + 1 :, k] = (-1 / (K - 1) - axes[k + 1, :k] @ axes[k, :k]) / axes[k, k]
    return axes
