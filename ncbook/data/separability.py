"""How far given data are from orthogonal separability.

Min, Zhu and Vidal (NeurIPS 2025), Assumption 1; :mod:`ncbook.data.synthetic` says what it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 2**24  # inner products that are held at once


@dataclass(frozen=True)
class Separability:
    """What the pairs of points say; every field has the leading dimensions of the data.

    Attributes
    ----------
    mu_s : Tensor
        Least cosine within a class. A point with itself counts, as in the assumption; so classes
        of one point each have 1.
    mu_d : Tensor
        Least of minus the cosine between classes.
    X_min, X_max : Tensor
        Least and greatest norm.
    same_positive : Tensor
        Share of the pairs of two points of one class with a positive product; NaN where every
        class has one point.
    different_negative : Tensor
        Share of the pairs of points of different classes with a negative product.
    """

    mu_s: Tensor
    mu_d: Tensor
    X_min: Tensor
    X_max: Tensor
    same_positive: Tensor
    different_negative: Tensor

    @property
    def holds(self) -> Tensor:
        """Whether the data are orthogonally separable: both margins are positive."""
        return (self.mu_s > 0) & (self.mu_d > 0)


@torch.no_grad()
def separability(X: Tensor, y: Tensor) -> Separability:
    """Measure the separation margins of labelled points, and how many pairs have the right sign.

    Min, Zhu and Vidal, Assumption 1. The products are made in pieces; a whole ``(n, n)`` matrix is
    never held.

    Parameters
    ----------
    X : Tensor
        Shape ``(..., n, D)``, floating point.
    y : Tensor
        Shape ``(n,)``, whole numbers. Classes without a point do not matter.

    Returns
    -------
    Separability
        Each field has the shape ``...``.

    Raises
    ------
    ValueError
        The shapes do not fit, there are fewer than two classes, or a point is zero or not finite.
    """
    classes = _classes(X, y)
    norms = torch.linalg.vector_norm(X, dim=-1, keepdim=True)
    if not (norms > 0).all():
        raise ValueError(
            f"{int((norms == 0).sum())} of the points are zero and have no direction; leave them "
            "out, or shift the data."
        )
    U = X / norms
    batch = X.shape[:-2]
    mu_s, mu_d = U.new_ones(batch), U.new_ones(batch)
    positive, negative = U.new_zeros(batch), U.new_zeros(batch)
    same = different = 0
    for k, l, start, cosines in _products(U, classes):
        rows, columns = cosines.shape[-2:]
        if k == l:
            # A point's product with itself is no pair.
            cosines.diagonal(start, dim1=-2, dim2=-1).fill_(1)
            mu_s = torch.minimum(mu_s, cosines.amin((-2, -1)))
            positive += (cosines > 0).sum((-2, -1)) - rows
            same += rows * (columns - 1)
        else:
            mu_d = torch.minimum(mu_d, -cosines.amax((-2, -1)))
            negative += (cosines < 0).sum((-2, -1))
            different += rows * columns
    return Separability(
        mu_s=mu_s,
        mu_d=mu_d,
        X_min=norms.amin((-2, -1)),
        X_max=norms.amax((-2, -1)),
        same_positive=positive / same if same else torch.full_like(positive, torch.nan),
        different_negative=negative / different,
    )


@torch.no_grad()
def largest_constant(X: Tensor, y: Tensor) -> Tensor:
    """Return the constant coordinate below which augmented data stay orthogonally separable.

    Min, Zhu and Vidal, Appendix A: with biases, the data with a constant coordinate c must be
    orthogonally separable. This adds c^2 to every product, so products between classes stay
    negative for c^2 below the least of their -<x_i, x_j>, and products within a class only grow.

    Parameters
    ----------
    X, y : Tensor
        As for :func:`separability`.

    Returns
    -------
    Tensor
        Shape ``...``; 0 where a product between classes is not negative, so that no constant
        serves.

    Raises
    ------
    ValueError
        As for :func:`separability`, except that points may be zero.
    """
    greatest = X.new_full(X.shape[:-2], -torch.inf)
    for k, l, _, products in _products(X, _classes(X, y)):
        if k != l:
            greatest = torch.maximum(greatest, products.amax((-2, -1)))
    return (-greatest).clamp(min=0).sqrt()


def _classes(X: Tensor, y: Tensor) -> list[Tensor]:
    """Return the indices of each class that has points."""
    if X.dim() < 2 or y.dim() != 1 or X.shape[-2] != len(y):
        raise ValueError(
            f"X has the shape {tuple(X.shape)} and y {tuple(y.shape)}: expected (..., n, D) and "
            "(n,)."
        )
    if not X.is_floating_point() or y.is_floating_point():
        raise ValueError(
            f"X is {X.dtype} and y is {y.dtype}: expected floating point for X and whole numbers "
            "for y."
        )
    if not X.isfinite().all():
        raise ValueError("X holds numbers that are not finite; find out where they come from.")
    present = y.unique().tolist()
    if len(present) < 2:
        raise ValueError(
            f"y has {len(present)} classes: expected at least two, because the margin mu_d is one "
            "between classes."
        )
    return [(y == k).nonzero().flatten() for k in present]


def _products(X: Tensor, classes: list[Tensor]) -> Iterator[tuple[int, int, int, Tensor]]:
    """Yield k, l >= k, a first row, and products of some rows of class k with all of class l."""
    batch = max(X.shape[:-2].numel(), 1)
    for l, columns in enumerate(classes):
        right = X[..., columns, :].mT
        step = max(CHUNK // (batch * len(columns)), 1)
        for k, rows in enumerate(classes[: l + 1]):
            for start in range(0, len(rows), step):
                yield k, l, start, X[..., rows[start : start + step], :] @ right
