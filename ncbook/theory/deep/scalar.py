r"""The one scalar problem behind deep unconstrained features, linear or collapsed.

M weight matrices and free features, N samples, decays :math:`\lambda_1, \dots, \lambda_M` and
:math:`\lambda_H`, :math:`\Lambda = \lambda_1 \cdots \lambda_M \lambda_H`. The cheapest factors of a
linear map Z cost :math:`\frac{M+1}2 \sum_i (\Lambda \sigma_i(Z)^2)^{1/(M+1)}`, and by von Neumann's
inequality its distance from targets with singular values :math:`y_i` is at least
:math:`\sum_i (\sigma_i - y_i)^2`. So the risk falls apart into

.. math:: \phi(\sigma; y) = \frac{(\sigma - y)^2}{2N}
    + \frac{M+1}2 (\Lambda\sigma^2)^{1/(M+1)}
    = \frac{y^2}N f(s; c), \qquad
    f(s; c) = \frac{(1-s)^2}2 + \frac{M+1}2\, c\, s^{2/(M+1)},

with the *output* :math:`s = \sigma/y` and the *cost* :math:`c = N \Lambda^{1/(M+1)} y^{-2M/(M+1)}`.
One class of n samples has y = sqrt(n). All functions below but :func:`cost` and its inverse are of
f: c is their only parameter. Where the output is zero at the minimum the class is *lost*, and
*kept* otherwise.

With M = 1 the kept minimum goes to zero continuously at c = 1. With M >= 2 there is always a
minimum at s = 0; the kept one exists up to the *spinodal* cost and is the lower one up to the
*threshold*, where s jumps from (M - 1)/M to 0.

Source: worked out for this book; the stationary equation is that of the code of Dang et al.
(2023), solved for s = x^M / (1 + x^M).
"""

import torch
from torch import Tensor

from ncbook.runtime import whole

HALVINGS = 60  # of an interval of length 1 at most: below what float64 can tell apart


def cost(y: Tensor | float, samples: int, decay: Tensor | float, layers: int) -> Tensor:
    """Return c = N Lambda^(1/(M+1)) y^(-2M/(M+1)) for targets with singular values y.

    Parameters
    ----------
    y : Tensor or float
        Singular values of the one-hot targets, at least 0; sqrt(n) for a class of n samples. They
        broadcast with ``decay``. Of y = 0 the cost is infinite.
    samples : int
        N.
    decay : Tensor or float
        Lambda, the product of all decays, of features and of every weight matrix.
    layers : int
        M, the weight matrices.
    """
    M = whole("layers", layers, 1)
    y, decay = _pair(y, decay)
    return whole("samples", samples, 1) * decay ** (1 / (M + 1)) * y ** (-2 * M / (M + 1))


def decay_at(c: Tensor | float, y: Tensor | float, samples: int, layers: int) -> Tensor:
    """Return the product of decays at which the cost is c: the inverse of :func:`cost`."""
    M = whole("layers", layers, 1)
    c, y = _pair(c, y)
    return (c / whole("samples", samples, 1)) ** (M + 1) * y ** (2 * M)


def risk(s: Tensor | float, c: Tensor | float, layers: int) -> Tensor:
    """Return f(s; c); times y^2/N it is the share of the risk. Arguments broadcast."""
    M = whole("layers", layers, 1)
    s, c = _pair(s, c)
    # Nothing costs nothing, even where a target of zero makes c infinite.
    price = torch.where(s == 0, torch.zeros_like(s), c * s ** (2 / (M + 1)))
    return (1 - s).square() / 2 + (M + 1) / 2 * price


def slope(s: Tensor | float, c: Tensor | float, layers: int) -> Tensor:
    """Return f'(s; c) for s > 0; it vanishes where (1 - s) s^((M-1)/(M+1)) = c."""
    M = whole("layers", layers, 1)
    s, c = _pair(s, c)
    return s - 1 + c * s ** ((1 - M) / (1 + M))


def threshold(layers: int) -> float:
    """Return the cost at which kept and lost have the same risk; above it the class is lost."""
    M = whole("layers", layers, 1)
    return ((M - 1) ** (M - 1) / M ** (2 * M)) ** (1 / (M + 1))


def spinodal(layers: int) -> float:
    """Return the cost up to which there is a kept minimum; its output there is (M-1)/(2M)."""
    M = whole("layers", layers, 1)
    turn = (M - 1) / (2 * M)
    return (1 - turn) * turn ** ((M - 1) / (M + 1))


def kept(c: Tensor | float, layers: int) -> Tensor:
    """Return the output at the kept minimum, the larger root; NaN beyond the spinodal."""
    M = whole("layers", layers, 1)
    c = _tensor(c)
    turn = (M - 1) / (2 * M)
    s = _bisect(lambda s: (1 - s) * s ** ((M - 1) / (M + 1)) - c, turn, 1.0, c)
    return torch.where((c >= 0) & (c <= spinodal(M)), s, torch.nan)


def barrier(c: Tensor | float, layers: int) -> Tensor:
    """Return the output at the maximum between lost and kept, the smaller root.

    NaN beyond the spinodal, and for one layer, which has no barrier.
    """
    M = whole("layers", layers, 1)
    c = _tensor(c)
    if M == 1:
        return torch.full_like(c, torch.nan)
    power = (M - 1) / (M + 1)
    # In u = s^power, in which a root near zero is near c and well resolved.
    turn = ((M - 1) / (2 * M)) ** power
    u = _bisect(lambda u: c - (1 - u ** (1 / power)) * u, 0.0, turn, c)
    return torch.where((c >= 0) & (c <= spinodal(M)), u ** (1 / power), torch.nan)


def output(c: Tensor | float, layers: int) -> Tensor:
    """Return the output at the global minimum, 0 above the threshold (at it, the kept one)."""
    c = _tensor(c)
    return torch.where(c <= threshold(layers), kept(c, layers), 0.0)


def least(c: Tensor | float, layers: int) -> Tensor:
    """Return the least f over s; 1/2 above the threshold."""
    return risk(output(c, layers), c, layers)


def jump(layers: int) -> float:
    """Return the output from which a class is lost, (M - 1)/M: 0, so no jump, for one layer."""
    M = whole("layers", layers, 1)
    return (M - 1) / M


def _bisect(f, low: float, high: float, like: Tensor) -> Tensor:
    """Return the root of a function that falls through zero between two numbers."""
    low, high = torch.full_like(like, low), torch.full_like(like, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = f(middle) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2


def _tensor(value: Tensor | float) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else value.double()
    return torch.as_tensor(value, dtype=torch.float64)


def _pair(a: Tensor | float, b: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return two tensors on one device and of one dtype, that of whichever was given as one."""
    like = next((v for v in (a, b) if isinstance(v, Tensor) and v.is_floating_point()), None)
    a, b = _tensor(a), _tensor(b)
    return (a, b) if like is None else torch.broadcast_tensors(a.to(like), b.to(like))
