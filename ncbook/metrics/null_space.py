"""The part of NC1 in the null space of the classifier."""

import torch
from torch import Tensor

from ncbook.metrics.statistics import ClassStatistics


@torch.no_grad()
def nc1_null_space(statistics: ClassStatistics, W: Tensor) -> Tensor:
    r"""Return the part of NC1 of Wu and Mondelli from the null space of W^T.

    .. math:: \frac{\sum_i \lVert (I - P_W) (h_i - \mu_{y_i}) \rVert^2}{\lVert H_c \rVert_F^2}

    The rest of NC1 is the same with P_W, the projection onto the range of W. Source: the
    measure of Wu and Mondelli (2025), split here.

    Parameters
    ----------
    statistics
        The class statistics, made with ``scatter=True``.
    W
        (..., D, K), of full rank: the features' coordinates are its rows.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where all features are equal.

    Raises
    ------
    ValueError
        The statistics lack the scatter, or W does not fit the features.
    """
    factor, dimension = statistics.factor, statistics.means.shape[-1]
    if factor is None or W.shape[-2] != dimension:
        raise ValueError(
            f"nc1_null_space needs statistics with scatter=True and W of shape ({dimension}, K), "
            f"for features of dimension {dimension}; got "
            f"{'no scatter' if factor is None else f'W of shape {tuple(W.shape)}'}."
        )
    frame = torch.linalg.qr(W).Q
    outside = (factor - factor @ frame @ frame.mT).square().sum((-2, -1))
    centred = statistics.centred_means("sample").square().sum(-1)
    return outside / (statistics.squares.sum(-1) + (statistics.counts * centred).sum(-1))
