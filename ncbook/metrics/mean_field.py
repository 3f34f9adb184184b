"""The measures of Wu and Mondelli of one network: NC1, its part in a null space, the balance."""

import torch
from torch import Tensor

from ncbook.metrics.collapse import nc1_wu_mondelli
from ncbook.metrics.imbalance import imbalance
from ncbook.metrics.null_space import nc1_null_space
from ncbook.metrics.statistics import class_statistics


@torch.no_grad()
def wu_mondelli(H: Tensor, labels: Tensor, W: Tensor, second_moment: Tensor) -> dict[str, Tensor]:
    """Return NC1, the part of it in the null space of W^T, and NB in one dict of tensors (...).

    ``nc1``, ``null_space`` and ``nb``; see :func:`nc1_wu_mondelli`, :func:`nc1_null_space` and
    :func:`imbalance`.

    Source: Wu and Mondelli (2025), Figures 1 and 2.

    Parameters
    ----------
    H
        (..., p, n), features as columns.
    labels
        (n,) or (..., n), integers in 0..K-1.
    W
        (..., p, K), of full rank.
    second_moment
        (..., p, p), E[a a^T].

    Raises
    ------
    ValueError
        The arguments do not fit each other.
    """
    statistics = class_statistics(H.mT, labels)
    return {
        "nc1": nc1_wu_mondelli(statistics),
        "null_space": nc1_null_space(statistics, W),
        "nb": imbalance(second_moment, W),
    }
