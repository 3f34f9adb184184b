r"""The line in dimension and signal between data that collapse and data that cannot.

Samples of class l are :math:`\mu_l` plus standard normal noise in d dimensions, n of each class.
Class k's program (:mod:`ncbook.theory.relu.collapse_program`) asks for beta with X_k beta = 1 and
X_l beta <= 0. As n and d grow with d/n -> delta, it has a solution with a probability that tends to
1 if delta > delta* and to 0 if delta < delta*, where

.. math:: \delta^* = \min_{b, b_0} (1 + |b|^2) \Bigl[1 + (c_k)_-^2
    + \sum_{l \ne k} \varphi(c_l)\Bigr], \qquad
    c_l = -\frac{\langle \mu_l, b \rangle + b_0}{\sqrt{1 + |b|^2}},

with b in the span of the means, b_0 a bias (0 without one), :math:`(c)_-` the negative part and
:math:`\varphi(c) = E (g + c)_+^2 = (1 + c^2) \Phi(c) + c \Phi'(c)` of a standard normal g.

Why: with Z the noise across the span of the means, whose range L is a random subspace of R^N of
d - dim span dimensions, the program asks that L meets the cone of all u - B b with u = t 1 on class
k, t > 0, and u <= 0 elsewhere, B the rest of the data. A random subspace meets a cone if its
dimension exceeds N less the cone's statistical dimension, which is the mean squared distance of a
normal vector from the cone, and misses it if it is less (Amelunxen, Lotz, McCoy, Tropp, Living on
the edge, 2014). The distance, over n, tends to the minimum above.

Without signal and bias the probability is exact for every n (:func:`chance_without_signal`).

Source: the question is Hong and Ling's (2026); line, proof and exact count are derived here.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import ndtr
from scipy.stats import binom
from torch import Tensor

from ncbook.runtime import tensors, whole


def positive_part_square(c: np.ndarray) -> np.ndarray:
    """Return phi(c) = E (g + c)_+^2 of a standard normal g, elementwise."""
    c = np.asarray(c, dtype=float)
    return (1 + c**2) * ndtr(c) + c * np.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)


def collapse_line(means: Tensor, k: int = 0, bias: bool = False) -> Tensor:
    """Return delta*, d/n on the line between data that collapse and data that cannot.

    The minimum of a smooth, convex function of dim + 1 variables, by BFGS.

    Source: derived here; see the module.

    Parameters
    ----------
    means : Tensor
        mu_l by rows, in units of the noise, ``(*batch, K, dim)``; coordinates of their span will
        do.
    k : int
        The class whose program it is.
    bias : bool
        Whether hidden units have biases.

    Returns
    -------
    Tensor
        Shape ``batch``.

    Raises
    ------
    ValueError
        There are fewer than two classes, or k is none of them.
    """
    tensors(means=means)
    K, dim = means.shape[-2:]
    if K < 2 or not 0 <= whole("k", k) < K:
        raise ValueError(f"k = {k} of {K} classes: expected one of at least two, from 0 on.")
    others = [l for l in range(K) if l != k]

    def distance(z: np.ndarray, mu: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the function and its gradient: z = (b, b_0)."""
        b, b0 = z[:dim], z[dim] if bias else 0.0
        square = 1 + b @ b
        root, heights = math.sqrt(square), mu @ b + b0
        c = -heights / root
        own = max(heights[k], 0.0)
        value = square + own**2 + square * positive_part_square(c[others]).sum()
        # phi' = 2 E (g + c)_+, and d(square phi(c)) = phi d square + square phi' dc.
        first = c * ndtr(c) + np.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        by_height = -2 * root * first
        by_height[k] = 2 * own
        along = 2 + 2 * (positive_part_square(c) - c * first)[others].sum()
        grad = along * b + mu.T @ by_height
        return value, np.append(grad, by_height.sum() if bias else 0.0)

    tables = means.detach().cpu().double().reshape(-1, K, dim).numpy()
    start = np.zeros(dim + 1)
    found = [
        minimize(distance, start, (mu,), jac=True, method="BFGS", options={"gtol": 1e-10}).fun
        for mu in tables
    ]
    return torch.tensor(found, dtype=torch.float64).reshape(means.shape[:-2]).to(means)


def chance_without_signal(K: int, n: int, d: int) -> float:
    """Return the probability that one class's program has a solution if all means are equal to 0.

    P(Bin(N - n, 1/2) <= d - n) with N = K n, for standard normal data (or any whose rows are
    independent, rotation-invariant within class k and symmetric elsewhere) and no bias. In a basis
    of R^n that begins with 1, X_k beta = t 1 is n - 1 equations and one sign; on the d - n + 1
    dimensions that are left N - n + 1 normal vectors have prescribed signs, and Wendel's count of
    the cones that hyperplanes in general position cut gives the probability.

    Source: Wendel, A problem in geometric probability (1962), for the count; derived here.

    Raises
    ------
    ValueError
        K < 2, or n or d is not positive.
    """
    K, n, d = whole("K", K, 2), whole("n", n, 1), whole("d", d, 1)
    return float(binom.cdf(d - n, (K - 1) * n, 0.5))
