r"""What a finite number of particles adds to the mean-field limit, and the gamma that W needs.

The model is f(x) = gamma W^T h(x), h(x) = (1/N) sum_j a_j sigma(<u_j, x>), trained with the loss
``|gamma W^T H - Y|_F^2 / (2n)`` + weight decay lambda, particles at N times their gradient and with
the noise sqrt(2/beta) dB. What follows is worked out here.

**The loss.** With W and the u_j held, A is Gaussian in equilibrium, with the density
exp(-beta N L). In the eigenbases of W^T W (values s) and of the kernel K = S S^T / N (values
kappa), S the hidden activations (n, N), the mean of A is the ridge solution and leaves of Y the
share 1/(1 + gamma^2 s kappa/(n lambda)); the fluctuations add 1/(2 beta N) for each direction that
the data fix:

.. math:: E[L_n] = \frac1{2n} \sum_{s, \kappa} \frac{y_{s\kappa}^2}{(1 + \mu)^2}
    + \frac1{2 \beta N} \sum_{s, \kappa} \frac{\mu}{1 + \mu}, \qquad
    \mu = \frac{\gamma^2 s \kappa}{n \lambda} .

**NC1.** The part of a_j outside the range of a fixed W is not felt by the loss: a_perp' =
-lambda a_perp + noise, and u_j does not feel it. The features have there the covariance
variance * K / N, in each of p - K directions, and with them a scatter within the classes. In
equilibrium all of NC1 follows: in the eigenbasis of W W^T (values s, p - K of them 0) the rows of
H are independent Gaussians, of means and covariances

.. math:: m_s = \frac{\gamma \sqrt s}{n} \,
    K \Bigl( \frac{\gamma^2 s}{n} K + \lambda I \Bigr)^{-1} y_s, \qquad
    C_s = \frac1{\beta N} \, K \Bigl( \frac{\gamma^2 s}{n} K + \lambda I \Bigr)^{-1} .
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.runtime import label_tensor


class ExpectedLoss(NamedTuple):
    """L_n of N particles in equilibrium, given W and their kernel.

    Attributes
    ----------
    ridge : Tensor
        The loss at the mean of A, ``(*batch,)``.
    freedom : Tensor
        df, how many directions of A the data fix, ``(*batch,)``: at most ``K n``.
    loss : Tensor
        ridge + df/(2 beta N), ``(*batch,)``.
    """

    ridge: Tensor
    freedom: Tensor
    loss: Tensor


def expected_loss(
    kernel: Tensor,
    W: Tensor,
    Y: Tensor,
    *,
    N: int,
    beta: float | Tensor,
    gamma: float | Tensor = 1.0,
    decay: float | Tensor,
) -> ExpectedLoss:
    """Return the mean of L_n over the noise on A, W and the particles' u given.

    Source: derived here, for the dynamics of Wu and Mondelli (2025). Infinite ``beta`` or ``N``
    leaves the ridge loss.

    Parameters
    ----------
    kernel : Tensor
        K = sigma(X U) sigma(X U)^T / N, ``(*batch, n, n)``.
    W : Tensor
        ``(*batch, p, K)``.
    Y : Tensor
        One-hot labels as columns, ``(*batch, K, n)``.
    N : int
        Particles.
    beta, gamma, decay : float or Tensor
        1/temperature, the factor, lambda of the particles; numbers or ``(*batch,)``.
    """
    n = kernel.shape[-1]
    beta, gamma, decay = (_like(kernel, value) for value in (beta, gamma, decay))
    s, left = torch.linalg.eigh(W.mT @ W)
    kappa, right = torch.linalg.eigh(kernel)
    scale = (gamma.square() / (n * decay))[..., None, None]
    mu = scale * s.clamp_min(0).unsqueeze(-1) * kappa.clamp_min(0).unsqueeze(-2)
    ridge = ((left.mT @ Y @ right) / (1 + mu)).square().sum((-2, -1)) / (2 * n)
    freedom = (mu / (1 + mu)).sum((-2, -1))
    return ExpectedLoss(ridge, freedom, ridge + freedom / (2 * beta * N))


def null_space_variance(
    start: float | Tensor,
    decay: float | Tensor,
    time: float | Tensor,
    temperature: float | Tensor = 0.0,
) -> Tensor:
    """Return the variance of an entry of a in the null space of W^T: weight decay and noise alone.

    start^2 exp(-2 lambda t) + temperature/lambda (1 - exp(-2 lambda t)).

    Source: derived here.

    Parameters
    ----------
    start : float or Tensor
        s_a, the standard deviation at time 0.
    decay : float or Tensor
        lambda, positive.
    time : float or Tensor
        Of the flow in which a particle moves by N times its gradient: for a descent, the sum of
        the learning rates.
    temperature : float or Tensor
        1/beta.
    """
    given = (start, decay, time, temperature)
    single = any(isinstance(x, torch.Tensor) and x.device.type == "mps" for x in given)
    dtype = torch.float32 if single else torch.float64
    start, decay, time, temperature = (torch.as_tensor(x, dtype=dtype) for x in given)
    factor = torch.exp(-2 * decay * time)
    return start.square() * factor - temperature / decay * torch.expm1(-2 * decay * time)


def nc1_floor(
    kernel: Tensor,
    H: Tensor,
    y: Sequence[int] | Tensor,
    *,
    nullity: int,
    variance: float | Tensor,
    N: int,
) -> Tensor:
    r"""Return the part of NC1 that comes from the null space of W^T.

    .. math:: \frac{(p - K) \cdot \text{variance} \cdot \operatorname{Tr} K_{within}}
        {N \lVert H_c \rVert_F^2}

    with K_within the kernel less its class means on both sides and H_c the features less their
    mean. It is the mean over the start, for a fixed W; training W moves its range a little.

    Source: derived here, for NC1 of Wu and Mondelli (2025).

    Parameters
    ----------
    kernel : Tensor
        sigma(X U) sigma(X U)^T / N, ``(*batch, n, n)``.
    H : Tensor
        Features as columns, ``(*batch, p, n)``.
    y : sequence of int or Tensor
        ``(n,)`` or ``(*batch, n)``, 0 to K - 1.
    nullity : int
        p - K, the dimension of the null space of W^T.
    variance : float or Tensor
        Of an entry of a in such a direction, ``(*batch,)``: :func:`null_space_variance`.
    N : int
        Particles.
    """
    onehot = torch.nn.functional.one_hot(label_tensor(y, kernel.device)).to(kernel)
    counts = onehot.sum(-2)
    # Tr of the kernel less the sum over classes of its mean over pairs times the class's size.
    sums = torch.einsum("...ik,...ij,...jk->...k", onehot, kernel, onehot)
    within = kernel.diagonal(dim1=-2, dim2=-1).sum(-1) - (sums / counts).sum(-1)
    spread = (H - H.mean(-1, keepdim=True)).square().sum((-2, -1))
    return nullity * _like(kernel, variance) * within / (N * spread)


def expected_nc1(
    kernel: Tensor,
    W: Tensor,
    y: Sequence[int] | Tensor,
    *,
    N: int | float,
    beta: float | Tensor,
    gamma: float | Tensor = 1.0,
    decay: float | Tensor,
) -> Tensor:
    """Return NC1 over the noise on A, W and the particles' u given: shape ``batch``.

    The quotient of the means of its two parts, the scatter within classes and in all; each is a
    sum of many squares and close to its mean. Infinite ``N`` leaves NC1 of the ridge solution.

    Source: derived here, for NC1 and the dynamics of Wu and Mondelli (2025).

    Parameters
    ----------
    kernel, N, beta, gamma, decay
        As of :func:`expected_loss`.
    W : Tensor
        ``(*batch, p, K)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.
    """
    n, K = kernel.shape[-1], W.shape[-1]
    beta, gamma, decay = (_like(kernel, value)[..., None, None] for value in (beta, gamma, decay))
    onehot = torch.nn.functional.one_hot(label_tensor(y, kernel.device), K).to(kernel)
    _, root, right = torch.linalg.svd(W, full_matrices=False)
    s = torch.nn.functional.pad(root.square(), (0, W.shape[-2] - K)).unsqueeze(-1)
    kappa, basis = torch.linalg.eigh(kernel)
    kappa = kappa.clamp_min(0).unsqueeze(-2)
    filtered = kappa / (gamma.square() * s * kappa / n + decay)  # (p, n)
    # Means of the K rows that W sees, in the kernel's basis.
    mean = (gamma / n) * root.unsqueeze(-1) * (right @ onehot.mT @ basis) * filtered[..., :K, :]
    # Of a direction of the basis: what lies between classes, and along the constant.
    between = (onehot.mT @ basis / onehot.sum(0).sqrt().unsqueeze(-1)).square().sum(-2)
    constant = basis.sum(-2).square() / n
    fluctuation = filtered.sum(-2) / (beta.squeeze(-1) * N)
    H = mean @ basis.mT
    means = H @ onehot / onehot.sum(0)
    within = (H - means @ onehot.mT).square().sum((-2, -1))
    whole = (H - H.mean(-1, keepdim=True)).square().sum((-2, -1))
    return (within + (fluctuation * (1 - between)).sum(-1)) / (
        whole + (fluctuation * (1 - constant)).sum(-1)
    )


def critical_gamma(
    kernel: Tensor, Y: Tensor, *, decay: float | Tensor, decay_W: float | Tensor | None = None
) -> Tensor:
    r"""Return gamma_c, above which W = 0 is no minimum of the free energy in the mean-field limit.

    At W = 0 the particles are N(0, I/(beta lambda)) and the residual is -Y, so that to second
    order the least free energy over rho is a constant plus

    .. math:: \tfrac12 \operatorname{Tr} W (\lambda_W I - \tfrac{\gamma^2}{n^2 \lambda_\rho}
        Y K Y^T) W^T , \qquad \gamma_c = n \sqrt{\lambda_\rho \lambda_W / \lambda_1(Y K Y^T)} .

    With lambda_rho = lambda_W = 1/beta it is n/(beta sqrt(lambda_1)).

    Source: derived here; Theorem 4.8 of Wu and Mondelli (2025) asks for gamma > C_3.

    Parameters
    ----------
    kernel : Tensor
        E[sigma sigma^T] for u ~ N(0, I/(beta lambda)), ``(*batch, n, n)``.
    Y : Tensor
        One-hot labels as columns, ``(K, n)`` or ``(*batch, K, n)``.
    decay, decay_W : float or Tensor
        lambda_rho and lambda_W; without the second they are equal.
    """
    decay = _like(kernel, decay)
    decay_W = decay if decay_W is None else _like(kernel, decay_W)
    largest = torch.linalg.eigvalsh(Y @ kernel @ Y.mT)[..., -1]
    return kernel.shape[-1] * (decay * decay_W / largest).sqrt()


def _like(kernel: Tensor, value: float | Tensor) -> Tensor:
    """Return a number, or one a run, in the kernel's dtype."""
    return torch.as_tensor(value, dtype=kernel.dtype, device=kernel.device)
