r"""What a collapsed solution of the deep unconstrained features model with ReLUs costs.

K classes of n samples, L weight matrices without biases, a ReLU between any two. A *shape* is how
the class means lie where they lie in few dimensions, and how they are brought apart at the end:

- *points* P, K columns in r dimensions without negative entries: what layers 2 to L - 1 carry;
- *units* U, K rows: the last hidden layer. It makes A = max(U P, 0), which must be invertible, and
  the last matrix makes the identity of it.

Deep neural collapse is the shape P = U = I. With the units' lengths at their best the squared norms
of all factors that make the identity have the product

.. math:: \Pi = r^{L-3} \|P\|_*^2 \Bigl(\sum_k |u_k| |A^{-1} e_k|\Bigr)^2 ,

and the least risk over all multiples of the factors is that of the scalar problem
(:mod:`ncbook.theory.deep.scalar`) at the cost :math:`c = (n \Lambda \Pi)^{1/(L+1)}`, Lambda the
product of all decays. Collapse has :math:`\Pi = K^{L+1}`, so that

.. math:: \kappa = \Pi^{1/(L+1)} / K

compares a shape with collapse, whatever n and the decays: below 1 it has the lower risk.

Worked out for this book; the shapes are those of Sukenik, Lampert, Mondelli (2024) and others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.runtime import whole

LEAST = 3  # layers that a shape needs: one makes the points, one the units, one the output


@dataclass(frozen=True)
class Shape:
    """Points ``(r, K)`` and units ``(K, r)`` of a collapsed solution.

    Raises
    ------
    ValueError
        The sizes do not agree, or a point has a negative entry, which no ReLU lets through.
    """

    points: Tensor
    units: Tensor

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.units.shape != self.points.mT.shape:
            raise ValueError(
                f"points of shape {tuple(self.points.shape)} and units of shape "
                f"{tuple(self.units.shape)}: expected (r, K) and (K, r)."
            )
        if bool((self.points < 0).any()):
            raise ValueError("A point has a negative entry: expected what a ReLU lets through.")

    @property
    def dimensions(self) -> int:
        """The number r of dimensions that the layers in between keep."""
        return self.points.shape[0]

    @property
    def classes(self) -> int:
        """The number K."""
        return self.points.shape[1]

    def opened(self) -> Tensor:
        """Return A = max(U P, 0), shape ``(K, K)``: what the last hidden layer makes of P."""
        return (self.units @ self.points).relu()


def collapse(K: int) -> Shape:
    """Return deep neural collapse, the identity everywhere."""
    eye = torch.eye(whole("K", K, 2), dtype=torch.float64)
    return Shape(eye, eye)


def log_product(shape: Shape, layers: int) -> Tensor:
    """Return log Pi, the product of the squared norms of all factors at output one.

    Raises
    ------
    ValueError
        There are less than three layers, or A is not invertible.
    """
    L = whole("layers", layers, LEAST)
    back = _last(shape)
    opening = (shape.units.norm(dim=1) * back.norm(dim=0)).sum()
    nuclear = torch.linalg.matrix_norm(shape.points, "nuc")
    return (L - 3) * math.log(shape.dimensions) + 2 * nuclear.log() + 2 * opening.log()


def kappa(shape: Shape, layers: int) -> Tensor:
    """Return the cost of a shape over that of deep neural collapse."""
    return (log_product(shape, layers) / (layers + 1)).exp() / shape.classes


def factors(
    shape: Shape, layers: int, output: float, decays: Sequence[float], samples: int = 1
) -> tuple[Tensor, list[Tensor]]:
    """Return the features H and W_1, ..., W_L of a shape, balanced, with output s times identity.

    Parameters
    ----------
    shape : Shape
    layers : int
        L >= 3.
    output : float
        s > 0.
    decays : sequence of float
        lambda_1, ..., lambda_L and lambda_H, positive.
    samples : int
        n of each class, for which a column of H stands.

    Returns
    -------
    H : Tensor
        Shape ``(r, K)``.
    W : list of Tensor
        Shapes ``(r, r)``, ..., ``(K, r)``, ``(K, K)``.

    Raises
    ------
    ValueError
        As :func:`log_product`; or not L + 1 decays, or output or a decay is not positive.
    """
    L = whole("layers", layers, LEAST)
    if len(decays) != L + 1 or not min(output, *decays) > 0:
        raise ValueError(
            f"output = {output}, decays = {list(decays)}: expected a positive output and L + 1 = "
            f"{L + 1} positive decays."
        )
    back = _last(shape)
    lengths = (back.norm(dim=0) / shape.units.norm(dim=1)).sqrt()
    left, values, right = torch.linalg.svd(shape.points, full_matrices=False)
    between = torch.eye(shape.dimensions, dtype=back.dtype, device=back.device)
    W = [left * values.sqrt(), *[between] * (L - 3)]
    W += [lengths[:, None] * shape.units, back / lengths]
    H = values.sqrt()[:, None] * right
    weights = [*decays[:-1], whole("samples", samples, 1) * decays[-1]]
    shares = [decay * one.square().sum() for decay, one in zip(weights, [*W, H], strict=True)]
    # Each factor pays the same: the product of the multiples is the output.
    each = (output**2 * math.prod(shares)) ** (1 / (L + 1))
    *W, H = ((each / share).sqrt() * one for one, share in zip([*W, H], shares, strict=True))
    return H, W


def _last(shape: Shape) -> Tensor:
    """Return the inverse of A."""
    back, fault = torch.linalg.inv_ex(shape.opened())
    if int(fault):
        raise ValueError(
            "The units' outputs max(U P, 0) are a singular matrix: expected units that tell all "
            "classes apart."
        )
    return back
