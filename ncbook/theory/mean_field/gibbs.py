r"""The Gibbs form of the particles' law that minimises the free energy for a fixed W.

Wu and Mondelli (2025), Proposition 5.1: with R = gamma W^T H - Y the residual at the minimum,

.. math:: \rho(a, u) \propto \exp\left(-\frac{\beta\gamma}n a^T W R \, \sigma(X u)
    - \frac{\beta\lambda}2 (|a|^2 + |u|^2)\right) .

The factor lambda in front of the squares follows from the weight decay lambda/2 E``|theta|^2`` of
the free energy. Without truncation of a, which is the case here, the exponent is quadratic in a.
So, as worked out here, a given u is Gaussian, with the covariance I/(beta lambda) for every u and
the mean

.. math:: m(u) = -\frac\gamma{n \lambda} W R \, \sigma(X u),

which lies in the range of W; and u alone has the density, up to its constant,
exp((beta lambda/2) (``|m(u)|^2 - |u|^2``)).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gibbs:
    """The law rho of Proposition 5.1 for a residual, which at the minimum is that of rho itself.

    Its methods take the hidden activations sigma(X u), so that no activation is named here.

    Attributes
    ----------
    W : Tensor
        ``(*batch, p, K)``.
    residual : Tensor
        R = gamma W^T H - Y, ``(*batch, K, n)``.
    beta, gamma, decay : float or Tensor
        1/temperature, the factor, lambda_rho: numbers or ``(*batch,)``.
    """

    W: Tensor
    residual: Tensor
    beta: float | Tensor
    gamma: float | Tensor
    decay: float | Tensor

    def _number(self, name: str, dimensions: int) -> Tensor:
        value = torch.as_tensor(getattr(self, name), dtype=self.W.dtype, device=self.W.device)
        return value[(..., *[None] * dimensions)]

    @property
    def variance(self) -> Tensor:
        """Of each entry of a given u, 1/(beta lambda): ``(*batch,)`` or one number."""
        return 1 / (self._number("beta", 0) * self._number("decay", 0))

    def mean(self, hidden: Tensor) -> Tensor:
        """Return the mean of a given u.

        Parameters
        ----------
        hidden : Tensor
            sigma(X u) for each of N values of u, ``(*batch, n, N)``.

        Returns
        -------
        Tensor
            ``(*batch, p, N)``.
        """
        scale = self._number("gamma", 2) / (self.residual.shape[-1] * self._number("decay", 2))
        return -scale * (self.W @ (self.residual @ hidden))

    def whitened(self, A: Tensor, hidden: Tensor) -> Tensor:
        """Return (a - mean given u) / (standard deviation given u), ``(*batch, p, N)``.

        Under the law its entries are independent standard normal numbers.

        Parameters
        ----------
        A : Tensor
            ``(*batch, p, N)``.
        hidden : Tensor
            ``(*batch, n, N)``.
        """
        return (A - self.mean(hidden)) / self.variance.sqrt()[..., None, None]

    def log_marginal(self, U: Tensor, hidden: Tensor) -> Tensor:
        """Return the log density of u up to its constant, ``(*batch, N)``.

        Parameters
        ----------
        U : Tensor
            ``(*batch, d, N)``.
        hidden : Tensor
            ``(*batch, n, N)``.
        """
        squares = self.mean(hidden).square().sum(-2) - U.square().sum(-2)
        return squares / (2 * self.variance[..., None])

    def log_density(self, A: Tensor, U: Tensor, hidden: Tensor) -> Tensor:
        """Return the log density of (a, u), with the constant of a given u, ``(*batch, N)``.

        Parameters
        ----------
        A : Tensor
            ``(*batch, p, N)``.
        U : Tensor
            ``(*batch, d, N)``.
        hidden : Tensor
            ``(*batch, n, N)``.
        """
        variance = self.variance[..., None]
        squares = self.whitened(A, hidden).square().sum(-2)
        constant = A.shape[-2] * (2 * math.pi * variance).log()
        return self.log_marginal(U, hidden) - (squares + constant) / 2
