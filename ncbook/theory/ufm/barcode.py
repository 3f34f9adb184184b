r"""The barcode of the unconstrained features model: which of its minima are apart, and by how much.

With Q an orthonormal basis of the complement of 1 (C x m, m = C - 1), T = Q^T Y, which has
T T^T = N I and T 1 = 0, A = Q^T W, and H = G T + h 1^T + H' with H' orthogonal to 1 and to T's
rows, the risk is a sum of squares,

.. math:: R = \tfrac N2 \|AG - I\|_F^2 + \tfrac12 \|AH'\|_F^2 + \tfrac n2 |Ah + Q^T b|^2
    + \tfrac12 \|w^T H + (\beta - 1/\sqrt C) 1^T\|^2,

with w = W^T 1 / sqrt(C) and beta = 1^T b / sqrt(C). The last three can be brought to 0 without
raising any, so sublevel sets have the components of those of f = N/2 ||AG - I||^2. These are two
for p = C - 1 below the level N/2, told apart by the sign of det A, and one otherwise. Derived here,
for what Barannikov et al. (2020) call the barcode of a loss.
"""

import torch
from torch import Tensor

from ncbook.frames import simplex_etf
from ncbook.runtime import whole
from ncbook.theory.ufm.subspace import lift


def barcode(C: int, N: int, p: int) -> list[tuple[float, float]]:
    """Return the bars (birth, death) of the model's risk, the infinite one first.

    Parameters
    ----------
    C, N, p : int
        Classes, at least 2, examples of each, and the dimension of the features, at least 1.

    Examples
    --------
    >>> [barcode(C=4, N=3, p=p) for p in (2, 3, 4)]
    [[(1.5, inf)], [(0.0, inf), (0.0, 1.5)], [(0.0, inf)]]
    """
    C, N, p = whole("C", C, 2), whole("N", N, 1), whole("p", p, 1)
    least = N / 2 * max(C - 1 - p, 0)
    return [(least, torch.inf)] + ([(0.0, N / 2)] if p == C - 1 else [])


def complement(C: int, like: Tensor | None = None) -> Tensor:
    """Return an orthonormal basis of the complement of 1, as columns, ``(C, C - 1)``."""
    Q = ((C - 1) / C) ** 0.5 * simplex_etf(C, C - 1)
    return Q if like is None else Q.to(like)


def component(W: Tensor) -> Tensor:
    """Return the sign of det(Q^T W), which tells the two components at p = C - 1 apart.

    Parameters
    ----------
    W : Tensor
        ``(..., C, C - 1)``.

    Raises
    ------
    ValueError
        W has not one column less than rows.
    """
    C = W.shape[-2]
    if W.shape[-1] != C - 1:
        raise ValueError(
            f"W has shape {tuple(W.shape)}: expected (..., C, C - 1), the one number of features "
            "for which there are two components."
        )
    return torch.linalg.det(complement(C, W).mT @ W).sign()


def across(C: int, N: int, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return points of the path from one component, s = 1, over the saddle to the other, s = -1.

    Along it the risk is N/2 (1 - s^2)^2 at p = C - 1: W = Q D and H = D Q^T Y with
    D = diag(1, ..., 1, s).

    Parameters
    ----------
    C, N : int
        Classes and examples of each.
    s : Tensor
        ``(...)``.

    Returns
    -------
    Tensor, Tensor, Tensor
        H ``(..., C - 1, C N)``, W ``(..., C, C - 1)`` and b ``(..., C)``.
    """
    C, N = whole("C", C, 2), whole("N", N, 1)
    Q = complement(C, s)
    D = torch.ones(*s.shape, C - 1).to(s)
    D[..., -1] = s
    W = Q * D[..., None, :]
    return N**0.5 * lift(W, N), W, torch.full((*s.shape, C), 1 / C).to(s)
