"""How well the features of a layer separate classes, and how well linear layers could."""

import torch
from torch import Tensor

from ncbook.metrics.collapse import _inverse_svd, nc1_papyan
from ncbook.metrics.statistics import ClassStatistics


def fuzziness(statistics: ClassStatistics) -> Tensor:
    r"""Separation fuzziness of He and Su: K times NC1 of Papyan, Han and Donoho.

    .. math:: D = \operatorname{Tr}(\Sigma_W \Sigma_B^+)

    with both averages over samples. Source: He and Su (2023).

    Parameters
    ----------
    statistics
        The class statistics, made with ``scatter=True``.

    Returns
    -------
    Tensor
        (...), at least 0.

    Raises
    ------
    ValueError
        The statistics lack the scatter.
    """
    return statistics.num_classes * nc1_papyan(statistics, weighting="sample")


def linear_floor(statistics: ClassStatistics) -> Tensor:
    r"""Return the least fuzziness that linear maps of the features can come to.

    .. math:: D^* = \min_M D(M x) = \sum_i 1 / \lambda_i

    over all M that keep the class means apart, with :math:`\lambda_i` the K - 1 positive
    eigenvalues of :math:`\Sigma_W^{-1} \Sigma_B`. It is computed from the singular values
    :math:`\sigma_i` of the whitened class means, :math:`\sigma_i^2 = \lambda_i / (1 + \lambda_i)`,
    for which the within-class scatter need not be invertible. Derived here.

    Parameters
    ----------
    statistics
        The class statistics, made with ``scatter=True``.

    Returns
    -------
    Tensor
        (...), at least 0; 0 where a linear map can collapse all classes, as where there are more
        dimensions than samples.

    Raises
    ------
    ValueError
        The statistics lack the scatter.
    """
    if statistics.factor is None:
        raise ValueError(
            "The statistics were made with scatter=False, but linear_floor needs the within-class "
            "scatter; make them with scatter=True."
        )
    weights = statistics.class_weights("sample").sqrt().unsqueeze(-1)
    between = weights * statistics.centred_means("sample")
    within = statistics.factor / statistics.samples[..., None, None].to(between).sqrt()
    _, inverse, vh = _inverse_svd(torch.cat([within, between], -2), None)
    whitened = between @ (vh.mT * inverse.unsqueeze(-2))
    _, inverse, _ = _inverse_svd(whitened, None, max_rank=statistics.num_classes - 1)
    return torch.where(inverse == 0, 0, inverse.square() - 1).clamp_min(0).sum(-1)
