"""The direction that has the largest margin on one class alone, and its support vectors.

gamma_k = max over unit u of the least <x_i, u>, i in class k. The same problem is the shortest
vector z_k of the convex hull of the class (u_k = z_k / gamma_k, gamma_k = ``|z_k|``), and the
support vector machine without bias whose labels are all +1: minimise ``|w|^2 / 2`` subject to
<w, x_i> >= 1. Its solution is w = u_k / gamma_k = sum_i alpha_i x_i with duals alpha >= 0 that add
up to 1 / gamma_k^2.

Min, Zhu, Vidal (2025), Theorem 1 and Proposition 2. Shapes: data ``(*batch, n, D)`` by rows, labels
``(n,)`` from 0 to K - 1, each class at least once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lstsq
from scipy.optimize import nnls
from torch import Tensor

from ncbook.runtime import label_tensor, tensors

# Relative to the largest norm of a class: a margin below is none, a distance from the margin below
# is zero. Both stand far above the rounding of the solution (1e-15) and far below what data have.
NO_MARGIN = 1e-9
ON_MARGIN = 1e-9


@dataclass(frozen=True)
class MaxMargin:
    """The max-margin direction of each class.

    Attributes
    ----------
    directions : Tensor
        u_k, unit vectors, ``(*batch, K, D)``.
    margins : Tensor
        gamma_k > 0, ``(*batch, K)``.
    duals : Tensor
        alpha_i >= 0 of each sample in its own class's problem, ``(*batch, n)``. Unique if the
        samples on the margin are linearly independent.
    on_margin : Tensor
        Boolean, ``(*batch, n)``: <x_i, u_k> = gamma_k. Holds for every alpha_i > 0.
    residual : Tensor
        How far the KKT conditions are from holding, ``(*batch, K)``: the largest of
        ``|sum_i alpha_i gamma_k x_i - u_k|``, the violations of <x_i, u_k> >= gamma_k, and the
        distances of support vectors from the margin, the last two over the class's largest norm.
    """

    directions: Tensor
    margins: Tensor
    duals: Tensor
    on_margin: Tensor
    residual: Tensor

    def support(self) -> Tensor:
        """Return which samples are support vectors, alpha_i > 0, ``(*batch, n)``."""
        return self.duals > 0


def class_indices(y: Sequence[int] | Tensor, samples: int) -> list[np.ndarray]:
    """Return the samples of each class, by number.

    Raises
    ------
    ValueError
        ``y`` is not one label for each sample, or a class from 0 to the largest label is empty.
    """
    labels = label_tensor(y, "cpu").numpy()
    K = int(labels.max()) + 1 if labels.size else 0
    present = set(labels.tolist())
    if labels.shape != (samples,) or present != set(range(K)):
        raise ValueError(
            f"The labels have shape {labels.shape} and values {sorted(present)} for {samples} "
            "samples: expected one label for each sample, and each class from 0 to K - 1 at least "
            "once."
        )
    return [np.flatnonzero(labels == k) for k in range(K)]


def one_class_svm(X: Tensor, y: Sequence[int] | Tensor) -> MaxMargin:
    """Return the max-margin direction of each class alone.

    Lawson and Hanson's active set method finds the support vectors: the shortest vector of the
    hull of the points p_i is that of nonnegative least squares, min ``|sum_i a_i p_i|^2 +
    (sum_i a_i - 1)^2`` up to scale. The linear equations <w, x_i> = 1 on these then give w and
    alpha to rounding.

    Source: Min, Zhu and Vidal (2025), Theorem 1, the definition of u_k and gamma_k.

    Parameters
    ----------
    X : Tensor
        Shape ``(*batch, n, D)``.
    y : sequence of int or Tensor
        Shape ``(n,)``, 0 to K - 1.

    Returns
    -------
    MaxMargin

    Raises
    ------
    ValueError
        A class has no direction of positive margin: its hull holds the origin (to
        1e-9 of its largest norm). Or the labels are not as described.
    """
    tensors(X=X)
    classes = class_indices(y, X.shape[-2])
    points = X.detach().cpu().double().reshape(-1, *X.shape[-2:]).numpy()
    B, n, D = points.shape
    K = len(classes)
    directions, margins = np.zeros((B, K, D)), np.zeros((B, K))
    duals, on_margin = np.zeros((B, n)), np.zeros((B, n), dtype=bool)
    residual = np.zeros((B, K))
    for b in range(B):
        for k, members in enumerate(classes):
            try:
                solution = _one_class(points[b, members])
            except ValueError as error:
                run = f" of data set {b}" if X.ndim > 2 else ""
                raise ValueError(f"Class {k}{run}: {error}") from None
            directions[b, k], margins[b, k], alpha, touching, residual[b, k] = solution
            duals[b, members], on_margin[b, members] = alpha, touching

    def tensor(values: np.ndarray) -> Tensor:
        values = torch.from_numpy(values.reshape(*X.shape[:-2], *values.shape[1:]))
        return values.to(X.device) if values.dtype == torch.bool else values.to(X)

    return MaxMargin(*map(tensor, (directions, margins, duals, on_margin, residual)))


def _one_class(points: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
    """Return u, gamma, alpha, which points lie on the margin, and the KKT residual."""
    scale = np.linalg.norm(points, axis=1).max()
    if not scale > 0 or not np.isfinite(points).all():
        raise ValueError("its samples are all zero, or not all finite; no direction separates it.")
    P = points / scale
    target = np.zeros(P.shape[1] + 1)
    target[-1] = 1
    hull, _ = nnls(np.vstack([P.T, np.ones(len(P))]), target)
    support = np.flatnonzero(hull > 0)
    # Lawson and Hanson keep the support's columns independent: these systems have one solution.
    w = lstsq(P[support], np.ones(len(support)))[0]
    length = np.linalg.norm(w)
    gamma = 1 / length if length > 0 else 0.0
    heights = P @ w * gamma
    if not (gamma > NO_MARGIN and heights.min() > 0):
        raise ValueError(
            "no direction has a positive margin on all of its samples, because their convex hull "
            "holds the origin. Give a class that lies in an open half-space, as orthogonally "
            "separable classes do."
        )
    alpha = np.zeros(len(P))
    alpha[support] = lstsq(P[support].T, w)[0]
    u = w * gamma
    touching = heights < gamma + ON_MARGIN
    residual = max(
        np.linalg.norm(alpha @ P * gamma - u),
        (gamma - heights).max(),
        np.abs(heights[alpha > 0] - gamma).max(),
        -alpha.min(),
    )
    return u, gamma * scale, np.maximum(alpha, 0) / scale**2, touching, float(residual)
