r"""How fast the weights grow: like the square root of log t.

Late in training class k alone has dR_k/dt = 2 c gamma_k R_k e^{-R_k} with R_k = log(1/L_k) and
s_k^2 = R_k / (c gamma_k), both up to a relative O(1/R). Hence e^{R_k} = 2 c gamma_k t R_k, and the
sum over the classes, L = sum_k L_k, gives

.. math:: R = \log t + \log R + \log\frac{2c}{\sum_k 1/\gamma_k}, \qquad
    \|\theta\|^2 = 2\sum_k s_k^2 = \frac{2R}{c} \sum_k \frac1{\gamma_k},

the first up to O(1/R), the second up to O(1).

Source: derived here from Proposition 2 of Min, Zhu and Vidal (2025).
"""

import math

import torch
from torch import Tensor


def squared_norm(R: Tensor | float, margins: Tensor, c: float) -> Tensor:
    """Return the leading ``|theta|^2`` at R = log(1/L), (2 R / c) sum_k 1/gamma_k.

    Parameters
    ----------
    R : Tensor or float
        Broadcasts with ``batch``.
    margins : Tensor
        gamma_k, ``(*batch, K)``.
    c : float
        1 for a scalar output, sqrt(K/(K-1)) for cross-entropy.
    """
    return 2 * R / c * (1 / margins).sum(-1)


def log_time(R: Tensor | float, margins: Tensor, c: float) -> Tensor:
    """Return log t at R = log(1/L) > 0, right to O(1/R).

    Parameters
    ----------
    R : Tensor or float
        Broadcasts with ``batch``.
    margins : Tensor
        gamma_k, ``(*batch, K)``.
    c : float
        1 for a scalar output, sqrt(K/(K-1)) for cross-entropy.
    """
    R = torch.as_tensor(R).to(margins)
    return R - R.log() - math.log(2 * c) + (1 / margins).sum(-1).log()
