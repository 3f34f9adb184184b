r"""Imbalance of two layers: how far E[a a^T] is from a multiple of W W^T (Wu, Mondelli 2025)."""

import torch
from torch import Tensor

from ncbook.metrics import _checks


@torch.no_grad()
def imbalance(second_moment: Tensor, W: Tensor) -> Tensor:
    r"""NB, how far two layers are from balanced.

    .. math:: \frac{\|\mathbb E[aa^T] - c^* W W^T\|_{op}}{\|\mathbb E[aa^T]\|_{op}}, \qquad
        c^* = \operatorname{argmin}_c \|\mathbb E[aa^T] - c W W^T\|_F^2

    It depends on the shapes of the two matrices alone: the scales of W and of E[a a^T] cancel.
    It is 0 for balanced layers. It may exceed 1, as :math:`c^*` minimises another norm.

    Source: Wu and Mondelli (2025), Figures 1 and 2, the metric of balancedness.

    Parameters
    ----------
    second_moment
        (..., p, p), E[a a^T], symmetric.
    W
        (..., p, K).

    Returns
    -------
    Tensor
        (...), at least 0; NaN where W or the second moment is 0 or not finite.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    _check(second_moment, W)
    second_moment, W = _unit(second_moment)[0], _unit(W)[0]
    factor = balance_factor(second_moment, W)
    known = factor.isfinite()
    difference = second_moment - _matrix(torch.where(known, factor, 0)) * (W @ W.mT)
    value = _norm(difference) / _norm(second_moment)
    return torch.where(known, value, torch.nan)


@torch.no_grad()
def balance_factor(second_moment: Tensor, W: Tensor) -> Tensor:
    r"""The factor c* of the multiple of W W^T nearest to E[a a^T] in Frobenius norm.

    .. math:: c^* = \frac{\langle \mathbb E[aa^T], W W^T\rangle}{\|W W^T\|_F^2}
        = \frac{\operatorname{Tr}(W^T \mathbb E[aa^T] W)}{\|W^T W\|_F^2}

    Source: Wu and Mondelli (2025), the metric of balancedness; the closed form is a projection.

    Parameters
    ----------
    second_moment, W
        As of :func:`imbalance`.

    Returns
    -------
    Tensor
        (...); NaN where W is 0.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    _check(second_moment, W)
    (second_moment, of_moment), (W, of_W) = _unit(second_moment), _unit(W)
    overlap = (W * (second_moment @ W)).sum((-2, -1))
    return overlap / (W.mT @ W).square().sum((-2, -1)) * (of_moment / of_W / of_W)


def _check(second_moment: Tensor, W: Tensor) -> None:
    _checks.floating("second_moment", second_moment, "(..., p, p)")
    p = W.shape[-2] if W.ndim > 1 else None
    if second_moment.shape[-2:] != (p, p):
        raise ValueError(
            f"second_moment has shape {tuple(second_moment.shape)} and W {tuple(W.shape)}, but "
            "(..., p, p) and (..., p, K) are expected; W's columns are the classes."
        )


def _unit(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix over a power of 2 that brings its fourth powers into range, and that."""
    scale = _checks.scale(matrix, power=4)
    return matrix / _matrix(scale), scale


def _matrix(value: Tensor) -> Tensor:
    """Return a number a run in a shape that broadcasts against its matrices."""
    return value[..., None, None]


def _norm(symmetric: Tensor) -> Tensor:
    """Return the operator norm of each symmetric matrix; NaN where it is not finite."""
    finite = _checks.finite(symmetric)
    # LAPACK would raise, and take the other runs with it.
    clean = torch.where(_matrix(finite), symmetric, 0)
    return torch.where(finite, torch.linalg.eigvalsh(clean).abs().amax(-1), torch.nan)
