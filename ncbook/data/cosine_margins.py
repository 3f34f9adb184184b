"""How far given data are from orthogonal separability.

Min, Zhu and Vidal (NeurIPS 2025), Assumption 1; :mod:`ncbook.data.synthetic` says what it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ncbook.runtime import label_tensor, tensors, whole

CHUNK = 2**24  # inner products that are held at once


@dataclass(frozen=True)
class CosineMargins:
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
def cosine_margins(X: Tensor, y: Sequence[int] | Tensor) -> CosineMargins:
    """Measure the separation margins of labelled points, and how many pairs have the right sign.

    Min, Zhu and Vidal, Assumption 1. The products are made in pieces; a whole ``(n, n)`` matrix is
    never held.

    Parameters
    ----------
    X : Tensor
        Shape ``(..., n, D)``, floating point.
    y : sequence of int or Tensor
        Shape ``(n,)``, whole numbers. Classes without a point do not matter.

    Returns
    -------
    CosineMargins
        Each field has the shape ``...``.

    Raises
    ------
    ValueError
        X is no tensor, the shapes do not fit, there are fewer than two classes, or a point is
        zero or not finite.
    """
    tensors(X=X)
    classes = _classes(X, y)
    U, norms = _directions(X)
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
    return CosineMargins(
        mu_s=mu_s,
        mu_d=mu_d,
        X_min=norms.amin((-2, -1)),
        X_max=norms.amax((-2, -1)),
        same_positive=positive / same if same else torch.full_like(positive, torch.nan),
        different_negative=negative / different,
    )


@torch.no_grad()
def largest_constant(X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return the constant coordinate below which augmented data stay orthogonally separable.

    Min, Zhu and Vidal, Appendix A: with biases, the data with a constant coordinate c must be
    orthogonally separable. This adds c^2 to every product, so products between classes stay
    negative for c^2 below the least of their -<x_i, x_j>, and products within a class only grow.

    Parameters
    ----------
    X, y : Tensor
        As for :func:`cosine_margins`.

    Returns
    -------
    Tensor
        Shape ``...``; 0 where a product between classes is not negative, so that no constant
        serves.

    Raises
    ------
    ValueError
        As for :func:`cosine_margins`, except that points may be zero.
    """
    tensors(X=X)
    greatest = X.new_full(X.shape[:-2], -torch.inf)
    for k, l, _, products in _products(X, _classes(X, y)):
        if k != l:
            greatest = torch.maximum(greatest, products.amax((-2, -1)))
    return (-greatest).clamp(min=0).sqrt()


@torch.no_grad()
def smallest_constant(X: Tensor, y: Sequence[int] | Tensor) -> Tensor:
    """Return the constant coordinate above which products within the classes are positive.

    The other end of the window that :func:`largest_constant` closes: data are orthogonally
    separable with every constant between the two, and with none if there is nothing between.

    Parameters
    ----------
    X, y : Tensor
        As for :func:`cosine_margins`.

    Returns
    -------
    Tensor
        Shape ``...``; 0 where no product within a class is negative.

    Raises
    ------
    ValueError
        As for :func:`largest_constant`.
    """
    tensors(X=X)
    least = X.new_zeros(X.shape[:-2])
    for k, l, _, products in _products(X, _classes(X, y)):
        if k == l:
            least = torch.minimum(least, products.amin((-2, -1)))
    return (-least).sqrt()


@torch.no_grad()
def cosine_counts(X: Tensor, y: Sequence[int] | Tensor, bins: int) -> Tensor:
    """Count the pairs of points by the bin of their cosine, for every two classes.

    Parameters
    ----------
    X : Tensor
        Shape ``(n, D)``.
    y : sequence of int or Tensor
        Shape ``(n,)``, whole numbers.
    bins : int
        Bins of equal width from -1 to 1; an even number, so that 0 is an edge. A cosine on an
        edge belongs to the bin above.

    Returns
    -------
    Tensor
        Shape ``(K, K, bins)``, int64, symmetric in the classes (those that have points, in
        order). A point with itself is no pair.

    Raises
    ------
    ValueError
        As for :func:`cosine_margins`; or ``bins`` is odd or not positive, or X has more dimensions.
    """
    tensors(X=X)
    bins = whole("bins", bins)
    if bins < 2 or bins % 2 or X.dim() != 2:
        raise ValueError(
            f"bins = {bins} and X of shape {tuple(X.shape)}: expected an even number of bins, so "
            "that 0 is an edge, and one data set of shape (n, D)."
        )
    classes = _classes(X, y)
    counts = torch.zeros(len(classes), len(classes), bins, dtype=torch.int64, device=X.device)
    for k, l, start, cosines in _products(_directions(X)[0], classes):
        bin_of = ((cosines + 1) * (bins / 2)).floor().long().clamp(0, bins - 1)
        if k == l:
            # Each pair once: the part below the diagonal.
            rows = torch.arange(len(cosines), device=X.device) + start
            bin_of = bin_of[rows[:, None] > torch.arange(cosines.shape[1], device=X.device)]
        counts[k, l] += bin_of.flatten().bincount(minlength=bins)
        counts[l, k] = counts[k, l]
    return counts


@torch.no_grad()
def separable_part(X: Tensor, y: Sequence[int] | Tensor) -> tuple[Tensor, int]:
    """Return a part of the data that is orthogonally separable, and the most that any has.

    A point of the greatest class (of those that still have wrong pairs) goes, the one with the
    most wrong pairs, until no pair is wrong: what stays is roughly equally large in all classes.
    Finding the largest part is hard (an independent set in the graph of wrong pairs), but its size
    has a bound: of each pair in a set of disjoint wrong pairs, here made greedily, one point goes.

    Parameters
    ----------
    X : Tensor
        Shape ``(n, D)``; a matrix of ``n`` by ``n`` is made.
    y : sequence of int or Tensor
        Shape ``(n,)``, whole numbers.

    Returns
    -------
    stay : Tensor
        Boolean, shape ``(n,)``. A class may be gone.
    at_most : int
        No orthogonally separable part has more points than this.

    Raises
    ------
    ValueError
        As for :func:`cosine_margins`; or X has more dimensions.
    """
    tensors(X=X)
    if X.dim() != 2:
        raise ValueError(f"X has shape {tuple(X.shape)}: expected one data set, (n, D).")
    _classes(X, y)
    y = label_tensor(y, X.device)
    products = _directions(X)[0] @ X.T
    same = y[:, None] == y
    wrong = (torch.where(same, products, -products) <= 0).fill_diagonal_(False).cpu().numpy()
    of_class = y.cpu().numpy()
    stay, degree = np.ones(len(y), dtype=bool), wrong.sum(1)
    free = degree > 0
    pairs = 0
    # Those with few wrong pairs first, and with such: they are the hardest to find a partner for.
    for i in np.argsort(degree, kind="stable"):
        partners = np.flatnonzero(wrong[i] & free) if free[i] else []
        if len(partners):
            free[[i, partners[degree[partners].argmin()]]] = False
            pairs += 1
    while (stay & (degree > 0)).any():
        at_fault = stay & (degree > 0)
        sizes = {k: (stay & (of_class == k)).sum() for k in np.unique(of_class[at_fault])}
        greatest = max(sizes, key=sizes.get)
        worst = np.where(at_fault & (of_class == greatest), degree, 0).argmax()
        stay[worst] = False
        degree = degree - wrong[worst]
    return torch.from_numpy(stay).to(X.device), len(y) - pairs


def _directions(X: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points divided by their norms, and the norms ``(..., n, 1)``."""
    # Over a power of 2 near its largest entry, so that a point's square is in range.
    largest = X.abs().amax(-1, keepdim=True)
    scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent - 1)
    X = X / scale
    norms = torch.linalg.vector_norm(X, dim=-1, keepdim=True)
    if not (norms > 0).all():
        raise ValueError(
            f"{int((norms == 0).sum())} of the points are zero and have no direction; leave them "
            "out, or shift the data."
        )
    return X / norms, norms * scale


def _classes(X: Tensor, y: Sequence[int] | Tensor) -> list[Tensor]:
    """Return the indices of each class that has points."""
    y = label_tensor(y, X.device)
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
