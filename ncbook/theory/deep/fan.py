"""A shape of rank two for any number of classes: K directions in a quarter of the plane.

Half of the units vanish on all directions above one of them, half on all below, and one unit is
positive on all; so the matrix of the units' outputs is block triangular with a positive diagonal,
and invertible. For three classes it is the path of :mod:`ncbook.theory.deep.graph`. No network
without biases does with less than two dimensions: a ReLU keeps points of one ray on one ray.

Worked out for this book; see :mod:`ncbook.theory.deep.shapes`.
"""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from ncbook.runtime import whole
from ncbook.theory.deep.shapes import Shape, log_product


def fan(K: int) -> Shape:
    """Return the cheapest fan that BFGS finds from equal angles and lengths, for K >= 3 classes.

    Its cost in the dimensions between does not depend on its angles, so it is the cheapest for any
    number of layers.
    """
    K = whole("K", K, 3)

    def cost(x: np.ndarray) -> float:
        return float(log_product(_shape(torch.as_tensor(x), K), 3))

    # Central differences: the minimum is flat, and a few are cheap.
    start = np.concatenate([np.zeros(2 * K - 1), [np.pi / 4]])
    found = minimize(cost, start, jac="3-point", method="BFGS", options={"gtol": 1e-5})
    return _shape(torch.as_tensor(found.x), K)


def _shape(x: Tensor, K: int) -> Shape:
    """Return the fan of K - 1 logarithms of gaps, K of lengths, and an angle."""
    middle, zero = K // 2, x.new_zeros(1)
    angles = torch.cat([zero, x[: K - 1].exp().cumsum(0)])
    angles = angles / angles[-1] * torch.pi / 2
    points = x[K - 1 : 2 * K - 1].exp() * torch.stack([angles.cos(), angles.sin()]).clamp(min=0)
    # A unit before the middle vanishes on the next direction, one behind it on the last before.
    left, right = angles[1 : middle + 1], angles[middle : K - 1]
    units = torch.cat(
        [
            torch.stack([left.sin(), -left.cos()], dim=-1),
            torch.stack([x[-1:].sin(), x[-1:].cos()], dim=-1),
            torch.stack([-right.sin(), right.cos()], dim=-1),
        ]
    )
    return Shape(points, units)
