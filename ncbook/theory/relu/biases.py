"""What a constant coordinate does to orthogonally separable data.

Biases in a layer are weights of a constant coordinate c, which Min, Zhu and Vidal (2025, Appendix
A) append to the data: every inner product rises by c^2. What follows from that is derived here.

- For a point p of class k's hull and (p, c), the same combination of the class's augmented
  points, ``<(p, c), (x_j, c)> = <p, x_j> + c^2``. So a neuron at (p, c) is silent on the other
  classes if and only if c^2 is below the least of -<p, x_j> over them.
- ``|(p, c)|^2 = |p|^2 + c^2``, so the shortest vector of the hull stays the same combination, and
  the margin gamma_k of a class alone becomes sqrt(gamma_k^2 + c^2).
- At equal norms r, cosines m become (m + c^2/r^2) / (1 + c^2/r^2).

Shapes: data ``(*batch, n, D)`` by rows, labels ``(n,)`` from 0 to K - 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.runtime import label_tensor, tensors
from ncbook.theory.relu.one_class_svm import class_indices, one_class_svm


def cosine_with_constant(cosine: Tensor, ratio: Tensor) -> Tensor:
    """Return the cosine of two points of equal norms with a constant coordinate appended.

    (m + q^2) / (1 + q^2). It rises with q towards 1. For the margins: mu_s grows, and mu_d, minus
    the greatest cosine between classes, shrinks and is 0 at q = sqrt(mu_d).

    Parameters
    ----------
    cosine : Tensor
        m, of the points as they were.
    ratio : Tensor
        q, the constant over the norm; broadcasts.
    """
    square = torch.as_tensor(ratio).square()
    return (cosine + square) / (1 + square)


def silent_below(P: Tensor, X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return the constant below which neurons at given points are silent on all other classes.

    The square root of the least -<p_k, x_j> over all k and all samples j of other classes.

    Parameters
    ----------
    P : Tensor
        Shape ``(*batch, K, D)``: of each class a convex combination of its samples.
    X : Tensor
        Shape ``(*batch, n, D)``.
    y : sequence of int or Tensor
        Shape ``(n,)``, 0 to K - 1.

    Returns
    -------
    Tensor
        Shape ``batch``; 0 where some product is not negative.

    Raises
    ------
    ValueError
        The labels do not fit the samples, or P is not one point a class.
    """
    tensors(X=X)
    classes = len(class_indices(y, X.shape[-2]))
    if P.shape[-2:] != (classes, X.shape[-1]):
        raise ValueError(
            f"P has shape {tuple(P.shape)}: expected (..., {classes}, {X.shape[-1]}), one point "
            "for each class of the samples."
        )
    labels = label_tensor(y, X.device)
    own = labels == torch.arange(classes, device=X.device).unsqueeze(-1)
    greatest = (P @ X.mT).masked_fill(own, -torch.inf).amax((-1, -2))
    return (-greatest).clamp_min(0).sqrt()


def class_means(X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return the mean of each class, ``(*batch, K, D)``: where aligned neurons point.

    Source: Min, Zhu and Vidal (2025), the attractors of the alignment phase.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    tensors(X=X)
    return torch.stack([X[..., members, :].mean(-2) for members in class_indices(y, X.shape[-2])],
                       dim=-2)  # fmt: skip


def shortest_vectors(X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return gamma_k u_k, the shortest vector of each class's hull, ``(*batch, K, D)``.

    Where neurons point in the end. With a constant coordinate c it becomes (gamma_k u_k, c).

    Source: Min, Zhu and Vidal (2025), Theorem 1; the second sentence is derived here.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    solution = one_class_svm(X, y)
    return solution.directions * solution.margins.unsqueeze(-1)
