r"""The margin with which given data are linearly separable.

(tau, M)-linearly separable data have for each class a vector u_k with ``|u_k|`` <= M, whose
products are at least tau on the class and less than -tau on all others (Wu and Mondelli, 2025,
Definition 5.2). With z_i = x_i for the samples of the class and z_i = -x_i for the others the
largest margin of class k is

.. math:: \max_{|u| \le M} \min_i \langle u, z_i \rangle = M g_k, \qquad
    g_k = \min_{a \ge 0, \sum a = 1} \Big| \sum_i a_i z_i \Big|

the distance of the origin from the hull of the z_i: a convex program, the support vector machine
without bias. All tau < M min_k g_k can be had, and no other.
"""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from ncbook.runtime import tensors


def one_vs_rest_margins(X: Tensor, y: Tensor, K: int) -> Tensor:
    """Return the largest margin g_k of each class for vectors of norm at most 1.

    Lawson and Hanson's active set method solves min ``|sum_i a_i z_i|^2 + (sum_i a_i - 1)^2``
    over a >= 0. Its residual r has r^2 = g^2 / (1 + g^2): scale the hull's shortest point by s,
    which gives s^2 g^2 + (1 - s)^2, least at s = 1/(1 + g^2).

    Source: Wu and Mondelli (2025), Definition 5.2.

    Parameters
    ----------
    X : Tensor
        Samples, ``(*batch, n, d)``.
    y : Tensor
        Labels 0 to K - 1, ``(n,)`` or ``(*batch, n)``; each class at least once.
    K : int
        Classes, at least 2.

    Returns
    -------
    Tensor
        Shape ``(*batch, K)``, float64 on the CPU; 0, up to rounding, for a class that no vector
        separates from the others.

    Raises
    ------
    ValueError
        The samples are not finite, or the labels are not as described.
    """
    tensors(X=X, y=y)
    points = X.detach().cpu().double().reshape(-1, *X.shape[-2:]).numpy()
    n = X.shape[-2]
    fits = y.shape in ((n,), X.shape[:-1]) and not y.is_floating_point()
    labels = y.detach().cpu().expand(X.shape[:-1]).reshape(-1, n).numpy() if fits else None
    if K < 2 or not fits or any(set(row) != set(range(K)) for row in labels.tolist()):
        raise ValueError(
            f"K = {K} and labels of shape {tuple(y.shape)} for samples of shape "
            f"{tuple(X.shape)}: expected K >= 2 and a whole number from 0 to K - 1 for each "
            "sample, each of them at least once."
        )
    if not np.isfinite(points).all():
        raise ValueError("X holds numbers that are not finite; find out where they come from.")
    margins = np.zeros((len(points), K))
    for b, (data, own) in enumerate(zip(points, labels, strict=True)):
        # Points of norm 1 or less leave the two parts of the residual of one size.
        scale = np.linalg.norm(data, axis=1).max() or 1.0
        for k in range(K):
            Z = np.where(own == k, 1, -1)[:, None] * data / scale
            target = np.append(np.zeros(Z.shape[1]), 1)
            residual = nnls(np.vstack([Z.T, np.ones(n)]), target)[1]
            margins[b, k] = scale * residual / np.sqrt(1 - residual**2)
    return torch.from_numpy(margins).reshape(*X.shape[:-2], K)
