"""How well a few dimensions hold a set of vectors: what principal components leave out."""

import torch
from torch import Tensor

from ncbook.metrics import _checks
from ncbook.metrics.frames import frobenius_unit


@torch.no_grad()
def rank_error(rows: Tensor, rank: int, *, centred: bool = True, squared: bool = True) -> Tensor:
    r"""Return the relative error of the best approximation of rank r, in the Frobenius norm.

    .. math:: \frac{\|A - A_r\|_F^2}{\|A\|_F^2} = \frac{\sum_{i > r} s_i^2}{\sum_i s_i^2}

    with the singular values :math:`s_1 \ge s_2 \ge \dots` of :math:`A`, the rows, less their mean
    if centred: the share of the variance that principal component analysis with r components
    leaves out (Eckart and Young, 1936). Never negative, because it is a sum of squares.

    Source: Min, Zhu and Vidal (2025), Figure 3, which gives "the relative approximation error" of
    three components. The paper does not say whether the norm is squared or the features are
    centred, so both can be chosen.

    Parameters
    ----------
    rows
        (..., n, D).
    rank
        r, at least 0.
    centred
        Take the mean of the rows from each first.
    squared
        Of the norms; without it the square root is returned.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where all rows are 0 or one is not finite.

    Raises
    ------
    ValueError
        ``rows`` is not a floating-point (..., n, D), or ``rank`` is no integer of at least 0.
    """
    _check(rows, rank)
    if centred:
        rows = rows - rows.mean(-2, keepdim=True)
    unit = frobenius_unit(rows)
    finite = _checks.finite(unit)
    # A decomposition refuses the whole batch where one matrix is not finite.
    singular = torch.linalg.svdvals(torch.where(finite[..., None, None], unit, 0))
    value = singular[..., rank:].square().sum(-1)
    return torch.where(finite, value if squared else value.sqrt(), torch.nan)


@torch.no_grad()
def rank_residual(rows: Tensor, rank: int, *, centred: bool = True) -> Tensor:
    """Return what the best approximation of rank r leaves of each row: (..., n, D).

    The squares of its entries, summed over rows, say which of the D coordinates the error of
    :func:`rank_error` is made of; summed over coordinates, which rows.

    Parameters
    ----------
    rows, rank, centred
        As in :func:`rank_error`. What is not finite has a residual of NaN throughout.

    Raises
    ------
    ValueError
        As in :func:`rank_error`.
    """
    _check(rows, rank)
    if centred:
        rows = rows - rows.mean(-2, keepdim=True)
    # A decomposition refuses the whole batch where one matrix is not finite.
    finite = _checks.finite(rows)[..., None, None]
    clean = torch.where(finite, rows, 0)
    axes = torch.linalg.svd(clean, full_matrices=False).Vh[..., :rank, :]
    return torch.where(finite, clean - clean @ axes.mT @ axes, torch.nan)


def _check(rows: Tensor, rank: int) -> None:
    _checks.floating("rows", rows, "(..., n, D)")
    _checks.count("rank", rank, 0)
