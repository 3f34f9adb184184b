r"""The kernel of Gaussian hidden weights, K(x, x') = E[sigma(<u, x>) sigma(<u, x'>)].

For the ReLU it has a closed form. For tanh and the sigmoid it is a series: with xi standard
normal, r = scale ``|x|`` and He_k the orthonormal Hermite polynomials, Mehler's formula gives

.. math:: K(x, x') = \sum_k c_k(r)\, c_k(r')\, \cos^k\!\angle(x, x'), \qquad
    c_k(r) = E[\sigma(r\xi)\, He_k(\xi)] ,

so that n points need n one-dimensional integrals a term, in the place of n^2 two-dimensional ones.
Each term is positive semidefinite (Schur), and so is the rest that is cut off. Its entries are at
most the rest of Parseval's sum, E[sigma(r xi)^2] - sum_k c_k(r)^2, largest over the points.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.runtime import tensors

# sigma, and the share by which the poles of sigma(r z) are further than those of tanh(r z).
_SIGMA = {"tanh": (torch.tanh, 1.0), "sigmoid": (torch.sigmoid, 2.0)}
ACTIVATIONS = ("relu", *_SIGMA)

TERMS = 256
# The trapezoidal rule, which for a normal weight has an error exp(-2 pi b / h) with b = pi/(2 r)
# the height of the poles of tanh(r z): 1e-17 at step h = 1/20 for r up to 5. Beyond 16 the product
# of He_k and the density is below 1e-16 for all the terms.
_END, _STEP = 16.0, 1 / 20
LARGEST = 5.0  # of r for tanh


class GaussianKernel(NamedTuple):
    """The kernel of Gaussian hidden weights on a set of points.

    Attributes
    ----------
    values : Tensor
        K, ``(*batch, n, n)``, positive semidefinite up to rounding.
    error : Tensor
        ``(*batch,)``. K less its values is positive semidefinite, with entries of at most this
        size; rounding, about 1e-16 times the largest entry, comes on top. 0 for a closed form.
    """

    values: Tensor
    error: Tensor


def gaussian_kernel(X: Tensor, activation: str, scale: float = 1.0) -> GaussianKernel:
    """Return E[sigma(X u) sigma(X u)^T] for u ~ N(0, scale^2 I).

    Source: the kernel of Lemma 4.7 of Wu and Mondelli (2025); the ReLU's closed form is Cho and
    Saul's arc-cosine kernel of degree 1 (2009).

    Parameters
    ----------
    X : Tensor
        Points as rows, ``(*batch, n, d)``.
    activation : {"relu", "tanh", "sigmoid"}
        sigma.
    scale : float
        Standard deviation of each entry of u, positive.

    Raises
    ------
    ValueError
        The activation is unknown, ``scale`` is not positive, or the points are so long that the
        quadrature would not resolve the activation.
    """
    tensors(X=X)
    if activation not in ACTIVATIONS or not scale > 0:
        raise ValueError(
            f"activation = {activation!r}, scale = {scale}: expected one of "
            f"{', '.join(ACTIVATIONS)}, and a positive scale."
        )
    r = scale * torch.linalg.vector_norm(X, dim=-1)
    unit = torch.where(r.unsqueeze(-1) > 0, scale * X / r.unsqueeze(-1), 0)
    cosine = (unit @ unit.mT).clamp(-1, 1)
    if activation == "relu":
        angle = cosine.acos()
        lengths = r.unsqueeze(-1) * r.unsqueeze(-2)
        values = lengths * (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)
        return GaussianKernel(values, values.new_zeros(values.shape[:-2]))
    sigma, further = _SIGMA[activation]
    if bool((r > further * LARGEST * (1 + 1e-9)).any()):
        raise ValueError(
            f"A point has the length {float(r.max()) / scale:.3g} and scale is {scale:.3g}: the "
            f"quadrature resolves {activation} up to a product of {further * LARGEST:g}. Scale "
            "the points down."
        )
    count = round(2 * _END / _STEP) + 1
    nodes = torch.linspace(-_END, _END, count, dtype=X.dtype, device=X.device)
    weights = _STEP * torch.exp(-nodes.square() / 2) / math.sqrt(2 * math.pi)
    activations = sigma(r.unsqueeze(-1) * nodes)  # (*batch, n, Q)
    left = activations.square() @ weights
    values, power = torch.zeros_like(cosine), torch.ones_like(cosine)
    before, polynomial = torch.zeros_like(nodes), torch.ones_like(nodes)
    for k in range(TERMS):
        c = activations @ (weights * polynomial)
        values = values + c.unsqueeze(-1) * c.unsqueeze(-2) * power
        left = left - c.square()
        power = power * cosine
        after = (nodes * polynomial - math.sqrt(k) * before) / math.sqrt(k + 1)
        before, polynomial = polynomial, after
    return GaussianKernel(values, left.amax(-1).clamp_min(0))


def smallest_eigenvalue(kernel: GaussianKernel) -> tuple[Tensor, Tensor]:
    """Return bounds, lower and upper, of the smallest eigenvalue of K, each ``(*batch,)``.

    What is cut off is positive semidefinite with a trace of at most n times ``error``. Rounding
    adds about 1e-16 times the largest eigenvalue on either side.

    Source: Lemma 4.7 of Wu and Mondelli (2025) says that it is positive; the bounds are ours.

    Parameters
    ----------
    kernel : GaussianKernel
        Of :func:`gaussian_kernel`.
    """
    low = torch.linalg.eigvalsh(kernel.values)[..., 0]
    return low, low + kernel.values.shape[-1] * kernel.error


def frozen_loss(
    kernel: Tensor, W: Tensor, y: Tensor, times: Tensor, *, gamma: float = 1.0
) -> Tensor:
    r"""Return L_n over time in gradient flow, if kernel and classifier stayed as they start.

    Where a is independent of u with mean 0 and E[a a^T] = I, the residual starts at -Y and moves as
    :math:`\dot R = -\frac{\gamma^2}n W^\top W R (K + K')`, K' as
    :meth:`~ncbook.models.mean_field.MeanField.slope_kernel` has it. With both factors frozen, each
    part of Y along eigenvectors of them, with eigenvalues s and k, decays as
    :math:`e^{-\gamma^2 s k t/n}`.

    Source: ours, after Wu and Mondelli (2025), Theorem 4.8.

    Parameters
    ----------
    kernel : Tensor
        K + K', or K where u is held, ``(*batch, n, n)``, symmetric.
    W : Tensor
        ``(*batch, p, K)``.
    y : Tensor
        Labels, int64, ``(n,)``.
    times : Tensor
        ``(T,)``.
    gamma : float
        The factor in front of the output.

    Returns
    -------
    Tensor
        ``(*batch, T)``.
    """
    n, K = kernel.shape[-1], W.shape[-1]
    s, Q = torch.linalg.eigh(W.mT @ W)
    k, V = torch.linalg.eigh(kernel)
    parts = (Q.mT @ one_hot(y, K).mT.to(kernel) @ V).square().flatten(-2)
    rates = (s.unsqueeze(-1) * k.unsqueeze(-2)).flatten(-2)
    left = torch.exp(-2 * gamma**2 / n * times.unsqueeze(-1) * rates.unsqueeze(-2))
    return (left @ parts.unsqueeze(-1)).squeeze(-1) / (2 * n)
