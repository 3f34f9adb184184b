r"""What a nearly stationary law of the particles says about the features, W given.

Wu and Mondelli (2025), Theorem 4.2, Lemma 4.3 and Corollary 4.4. The features are H = E[a s(u)^T]
with s(u) = sigma(X u), the kernel is K = E[s s^T], the loss is L_n = ``|R|^2 / (2n)`` with the
residual R = gamma W^T H - Y, the law of theta = (a, u) has the weight decay lambda and the noise
sqrt(2/beta) dB. Shapes: H ``(*batch, p, n)``, kernel ``(*batch, n, n)``, W ``(*batch, p, q)`` with
p >= q, Y ``(q, n)`` or ``(*batch, q, n)`` one-hot by columns; numbers a run are ``(*batch,)``.

What follows is worked out here; it gives the paper's results with sharper constants.

**The drift.** Let g = (g_a, g_u) be the gradient in theta of the first variation of the free
energy, so that eps_S^2 = ``E|g|^2``. Its part in a is (gamma/n) W R s + lambda a + grad_a log rho /
beta. Multiplied by s^T and averaged, the last term vanishes: integrate by parts, as s does not
depend on a. Hence, with noise and without,

.. math:: \Delta := E[g_a s^T] = T(H) - \tfrac{\gamma}{n} W Y K, \qquad
    T(H) = \tfrac{\gamma^2}{n} W W^T H K + \lambda H .

**E_1.** H = T^{-1}[(gamma/n) W Y K] + E_1, whose first term is the theorem's first form, and
E_1 = T^{-1} Delta exactly. No eigenvalue of T is below lambda, and by Cauchy and Schwarz

.. math:: \|E_1\|^2 \le \|\Delta\|^2 / \lambda^2 \le \epsilon_S^2 \operatorname{Tr} K / \lambda^2 .

**E_2.** Let P be the projection onto the range of W. P H = W (W^T W)^{-1} W^T H, and
T commutes with P, so that (I - P) H = (I - P) Delta / lambda. Pythagoras gives, exactly,

.. math:: \|E_2\|^2 = \gamma^{-2} \|W (W^T W)^{-1} R\|^2 + \|(I - P) \Delta\|^2 / \lambda^2
    \le \frac{2 n L_n}{\gamma^2 \sigma_{min}^2}
    + \frac{\epsilon_S^2 \operatorname{Tr} K}{\lambda^2},

the first term for any H, stationary or not.

**NC1.** It is the squared sine of the angle between the centred H and the matrices that are
constant on classes. The signal S = gamma^{-1} W (W^T W)^{-1} Y, centred, is one of them, so that
NC1 is at most ``|E_2|^2 / |S_c|^2``, where for balanced classes ``|S_c|^2`` >=
(q-1) n / (q gamma^2 sigma_max^2). With kappa = sigma_max / sigma_min,

.. math:: NC1 \le \frac{q}{q-1} \Big( 2 \kappa^2 L_n
    + \frac{\gamma^2 \sigma_{max}^2}{\lambda^2} \frac{\operatorname{Tr} K}{n} \epsilon_S^2 \Big) .

For orthonormal W and eps_S = 0 it reads NC1 <= 2 q/(q-1) L_n, and it is nearly an equality where
the residual is small and has hardly any part that is constant on classes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.frames import centring

Number = float | Tensor


class Bounds(NamedTuple):
    """The paper's bound and the one worked out here, of the same quantity, each ``(*batch,)``."""

    paper: Tensor
    derived: Tensor


# --- Stationarity -------------------------------------------------------------------------------


def stationarity(gradient_A: Tensor, gradient_U: Tensor) -> Tensor:
    """Return eps_S of a law of N points without noise: the root of the mean squared gradient.

    With noise eps_S holds the score of the density, which points do not have: use
    :func:`stationarity_floor`.

    Source: Wu and Mondelli (2025), the definition of an eps_S-stationary point.

    Parameters
    ----------
    gradient_A, gradient_U : Tensor
        Mean-field scaled, ``(*batch, p, N)`` and ``(*batch, d, N)``: N times the gradient in the
        parameters, column j that of particle j.
    """
    squares = gradient_A.square().sum((-2, -1)) + gradient_U.square().sum((-2, -1))
    return (squares / gradient_A.shape[-1]).sqrt()


def drift(
    H: Tensor, kernel: Tensor, W: Tensor, Y: Tensor, *, gamma: Number = 1.0, decay: Number
) -> Tensor:
    """Return Delta = (gamma^2/n) W W^T H K + lambda H - (gamma/n) W Y K, ``(*batch, p, n)``.

    Without noise and for N points it is the mean of their gradients in a times s(u)^T, exactly.

    Source: derived here; see the head of the module.
    """
    gamma, decay = _matrix(gamma, H), _matrix(decay, H)
    n = kernel.shape[-1]
    return gamma / n * (W @ (gamma * (W.mT @ H) - Y) @ kernel) + decay * H


def stationarity_floor(delta: Tensor, kernel: Tensor) -> Tensor:
    """Return a lower bound of eps_S that needs no density: ``|Delta| / sqrt(Tr K)``.

    Source: derived here, by the inequality of Cauchy and Schwarz.

    Parameters
    ----------
    delta : Tensor
        Of :func:`drift`.
    kernel : Tensor
        ``(*batch, n, n)``.
    """
    return torch.linalg.matrix_norm(delta) / _trace(kernel).sqrt()


# --- Theorem 4.2 --------------------------------------------------------------------------------


def stationary_features(
    kernel: Tensor, W: Tensor, Y: Tensor, *, gamma: Number = 1.0, decay: Number
) -> Tensor:
    """Return the first form, gamma (K/n x W) (gamma^2 K/n x W^T W + lambda I)^-1 vec(Y).

    As a matrix, ``(*batch, p, n)``. It is (gamma/n) W Z K with Z from q systems of size n, one an
    eigenvalue of W^T W; a matrix of size n q is never formed.

    Source: Wu and Mondelli (2025), Theorem 4.2.

    Raises
    ------
    ValueError
        ``decay`` is not positive.
    """
    Z = _resolve(Y.to(W), kernel, W, gamma, decay)
    return _matrix(gamma, W) / kernel.shape[-1] * (W @ Z @ kernel)


def collapsed_features(W: Tensor, Y: Tensor, *, gamma: Number = 1.0) -> Tensor:
    """Return the second form, gamma^-1 W (W^T W)^-1 Y, ``(*batch, p, n)``: it has NC1 = 0.

    Infinite or NaN where W has dependent columns.

    Source: Wu and Mondelli (2025), Theorem 4.2.
    """
    U, s, Vh = torch.linalg.svd(W, full_matrices=False)
    return (U / s.unsqueeze(-2)) @ (Vh @ Y) / _matrix(gamma, W)


def first_error(
    delta: Tensor, kernel: Tensor, W: Tensor, *, gamma: Number = 1.0, decay: Number
) -> Tensor:
    """Return E_1 = T^-1(Delta), ``(*batch, p, n)``, which H has beyond the first form, exactly.

    Source: derived here; Wu and Mondelli (2025), Theorem 4.2, bound its norm.

    Raises
    ------
    ValueError
        ``decay`` is not positive.
    """
    Z = _resolve(W.mT @ delta, kernel, W, gamma, decay)
    seen = _matrix(gamma, W).square() / kernel.shape[-1] * (W @ Z @ kernel)
    return (delta - seen) / _matrix(decay, W)


def first_error_bounds(
    kernel: Tensor, W: Tensor, eps: Number, *, gamma: Number = 1.0, decay: Number
) -> Bounds:
    """Return bounds of ``|E_1|^2``.

    The paper's is 2 (lambda^-4 gamma^4 C_1^2 sigma_max^4 + lambda^-2) C_1^2 n eps_S^2, ours
    eps_S^2 Tr K / lambda^2. C_1 is 1: what counts here is a bound of ``|sigma|``, which is 1 for
    tanh and the sigmoid. (The paper's C_1 bounds derivatives, too, and is larger for tanh.)

    Source: Wu and Mondelli (2025), Theorem 4.2; derived here.

    Parameters
    ----------
    kernel, W : Tensor
    eps : float or Tensor
        eps_S, ``(*batch,)``.
    gamma, decay : float or Tensor
    """
    eps, gamma, decay = (_like(value, kernel) for value in (eps, gamma, decay))
    widest, _ = _extremes(W)
    n = kernel.shape[-1]
    paper = 2 * (gamma**4 * widest**4 / decay**4 + 1 / decay**2) * n * eps**2
    return Bounds(paper, eps**2 * _trace(kernel) / decay**2)


def second_error_parts(H: Tensor, W: Tensor, Y: Tensor, *, gamma: Number = 1.0) -> Tensor:
    """Return the two parts of ``|E_2|^2``, ``(*batch, 2)``: what W sees of it, and what not.

    gamma^-2 ``|W (W^T W)^-1 R|^2`` and ``|(I - P) H|^2``; their sum is ``|E_2|^2``.

    Source: derived here; see the head of the module.
    """
    U, s, Vh = torch.linalg.svd(W, full_matrices=False)
    seen = U.mT @ H
    residual = seen - (Vh @ Y) / (s.unsqueeze(-1) * _matrix(gamma, H))
    return torch.stack([_squares(residual), _squares(H - U @ seen)], dim=-1)


def second_error_bounds(
    kernel: Tensor, W: Tensor, eps: Number, loss: Tensor, *, gamma: Number = 1.0, decay: Number
) -> Bounds:
    """Return bounds of ``|E_2|^2``.

    The paper's is that of E_1 plus (2 n gamma^-2 L_n + 2 lambda^-2 sigma_max^2 C_1^2 n eps_S^2) /
    sigma_min^2, ours 2 n L_n / (gamma sigma_min)^2 + eps_S^2 Tr K / lambda^2, which is no larger
    in any term. C_1 is 1, as in :func:`first_error_bounds`.

    Source: Wu and Mondelli (2025), Theorem 4.2; derived here.

    Parameters
    ----------
    kernel, W : Tensor
    eps, loss : float or Tensor
        eps_S and L_n, ``(*batch,)``.
    gamma, decay : float or Tensor
    """
    first = first_error_bounds(kernel, W, eps, gamma=gamma, decay=decay)
    eps, loss, gamma, decay = (_like(value, kernel) for value in (eps, loss, gamma, decay))
    widest, least = _extremes(W)
    n = kernel.shape[-1]
    misfit = 2 * n * loss / gamma**2
    rest = (misfit + 2 * widest**2 * n * eps**2 / decay**2) / least**2
    return Bounds(first.paper + rest, first.derived + misfit / least**2)


class Fluctuations(NamedTuple):
    """Mean squares over the noise for N particles: of Delta and of E_1, each ``(*batch,)``."""

    drift: Tensor
    error: Tensor


def fluctuations(
    kernel: Tensor, W: Tensor, *, N: int, beta: Number, gamma: Number = 1.0, decay: Number
) -> Fluctuations:
    """Return E ``|Delta|^2`` and E ``|E_1|^2`` of N particles in equilibrium with the noise.

    In the limit N to infinity both are 0. For finite N and given U and W, A is Gaussian with the
    density exp(-beta N L). With w^2 the p eigenvalues of W W^T, p - q of which are 0, and k those
    of K, E_1 has the variance k / (beta N (gamma^2 w^2 k/n + lambda)) in each pair, and T turns E_1
    into Delta. The p - q directions that W does not see give (p - q) Tr K / (beta N lambda).

    Source: derived here.

    Parameters
    ----------
    kernel, W : Tensor
        K of the particles, ``(*batch, n, n)``, and W.
    N : int
        Particles.
    beta, gamma, decay : float or Tensor
        1/temperature, the factor, lambda of the particles.
    """
    beta, gamma, decay = (_like(value, kernel) for value in (beta, gamma, decay))
    n, (p, q) = kernel.shape[-1], W.shape[-2:]
    scale = (gamma.square() / n)[..., None, None] * _eigenvalues(W.mT @ W).unsqueeze(-1)
    k = _eigenvalues(kernel).unsqueeze(-2)
    stiffness = scale * k + decay[..., None, None]
    null_space = (p - q) * _trace(kernel)
    error = (k / stiffness).sum((-2, -1)) + null_space / decay
    of_drift = (k * stiffness).sum((-2, -1)) + null_space * decay
    return Fluctuations(of_drift / (beta * N), error / (beta * N))


# --- Corollary 4.4 ------------------------------------------------------------------------------


def signal(W: Tensor, n: int, *, gamma: Number = 1.0) -> Tensor:
    """Return ``|S_c|^2`` of the centred second form for n samples in balanced classes, ``batch``.

    (n/q) gamma^-2 Tr[(W^T W)^-1 (I - 11^T/q)], at least (q-1) n / (q gamma^2 sigma_max^2).

    Source: derived here.
    """
    q = W.shape[-1]
    return n / q * _squares(collapsed_features(W, centring(q, W), gamma=gamma))


def nc1_bounds(error: Tensor, W: Tensor, n: int, *, gamma: Number = 1.0) -> Bounds:
    """Return bounds of NC1 by ``|E_2|^2``, for balanced classes.

    The paper's is 16 ``|E_2|^2`` / (s/2 - 4 ``|E_2|^2``), where ``|E_2|^2`` <= s/8, with s =
    (q-1) n / (q gamma^2 sigma_max^2), the least ``|S_c|^2``; elsewhere it is infinite here, as
    nothing is said. It needs gamma in s: with s at gamma = 1 it is wrong for larger gamma, by a
    factor of up to gamma^2. Ours is ``|E_2|^2 / |S_c|^2``, without a condition.

    Source: Wu and Mondelli (2025), Corollary 4.4; derived here.

    Parameters
    ----------
    error : Tensor
        ``|E_2|^2``, or a bound of it, ``(*batch,)``.
    W : Tensor
    n : int
        Samples.
    gamma : float or Tensor
    """
    q = W.shape[-1]
    widest, _ = _extremes(W)
    least = (q - 1) * n / (q * _like(gamma, W) ** 2 * widest**2)
    applies = error <= least / 8
    paper = torch.where(applies, 16 * error / (least / 2 - 4 * error), torch.inf)
    return Bounds(paper, error / signal(W, n, gamma=gamma))


def nc1_parts(
    kernel: Tensor, W: Tensor, eps: Number, loss: Tensor, *, gamma: Number = 1.0, decay: Number
) -> Tensor:
    """Return the two terms of the bound of NC1, ``(*batch, 2)``: the loss's and the gradient's.

    q/(q-1) 2 kappa^2 L_n and q/(q-1) gamma^2 sigma_max^2 (Tr K / n) eps_S^2 / lambda^2, for
    balanced classes; NC1 is at most their sum.

    Source: derived here; it is Theorem 4.2 and Corollary 4.4 of Wu and Mondelli (2025) in one.

    Parameters
    ----------
    kernel, W : Tensor
    eps, loss : float or Tensor
        eps_S and L_n, ``(*batch,)``.
    gamma, decay : float or Tensor
    """
    eps, loss, gamma, decay = (_like(value, kernel) for value in (eps, loss, gamma, decay))
    widest, least = _extremes(W)
    share = _trace(kernel) / kernel.shape[-1]
    of_gradient = (gamma * widest * eps / decay).square() * share
    q = W.shape[-1]
    terms = torch.broadcast_tensors(2 * (widest / least).square() * loss, of_gradient)
    return q / (q - 1) * torch.stack(terms, dim=-1)


# --- Lemma 4.3 ----------------------------------------------------------------------------------


def least_singular_value(
    loss: Tensor, regularised: Tensor, q: int, *, gamma: Number = 1.0, decay: Number
) -> Tensor:
    """Return a lower bound of sigma_min(W) by the losses, for balanced classes, ``(*batch,)``.

    (1/sqrt(q) - sqrt(2 L_n)) / (gamma sqrt(2 (L - L_n) / lambda)), for ``|sigma|`` <= 1. A unit
    vector v has ``|v^T Y| = sqrt(n/q)`` and ``|v^T R| <= sqrt(2 n L_n)``, and their difference is
    at most gamma ``|W v| |H|`` with ``|H|^2 <= n E|a|^2`` and lambda ``E|a|^2`` <= 2 (L - L_n).

    With lambda = 1/beta and L <= B (log beta)^alpha / beta, the premise of the lemma, it falls
    like (log beta)^(-alpha/2): more slowly than any power of beta, which is what the paper states.

    Source: derived here, for Lemma 4.3 of Wu and Mondelli (2025).

    Parameters
    ----------
    loss, regularised : Tensor
        L_n and L, ``(*batch,)``.
    q : int
        Classes.
    gamma, decay : float or Tensor
        The factor, and the weight decay of the particles.
    """
    gamma, decay = _like(gamma, loss), _like(decay, loss)
    room = (2 * (regularised - loss) / decay).sqrt()
    return (1 / math.sqrt(q) - (2 * loss).sqrt()) / (gamma * room)


def _resolve(B: Tensor, kernel: Tensor, W: Tensor, gamma: Number, decay: Number) -> Tensor:
    """Return Z (..., q, n) with (gamma^2/n) W^T W Z K + lambda Z = B.

    One Cholesky factor an eigenvalue of W^T W: for few classes that is cheaper than the
    eigenvectors of K, and needs less memory.
    """
    gamma, decay = _like(gamma, kernel), _like(decay, kernel)
    if not bool((decay > 0).all()):
        raise ValueError(
            f"decay is {decay.tolist()}; Theorem 4.2 needs a positive weight decay: without it "
            "the part of the features that W does not see is free."
        )
    # So that each system has the batch of both.
    gamma, decay = torch.broadcast_tensors(gamma, decay)
    s, V = torch.linalg.eigh(W.mT @ W)
    B = V.mT @ B
    scale = (gamma.square() / kernel.shape[-1]).unsqueeze(-1) * s.clamp_min(0)
    rows = []
    for i in range(W.shape[-1]):
        system = scale[..., i, None, None] * kernel
        diagonal = system.diagonal(dim1=-2, dim2=-1)
        diagonal += decay.unsqueeze(-1)
        factor = torch.linalg.cholesky(system)
        rows.append(torch.cholesky_solve(B[..., i, :, None], factor).squeeze(-1))
    return V @ torch.stack(rows, dim=-2)


def _like(value: Number, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)


def _matrix(value: Number, like: Tensor) -> Tensor:
    """Return a number a run in a shape that broadcasts against its matrices."""
    return _like(value, like)[..., None, None]


def _squares(M: Tensor) -> Tensor:
    return M.square().sum((-2, -1))


def _trace(kernel: Tensor) -> Tensor:
    return kernel.diagonal(dim1=-2, dim2=-1).sum(-1)


def _eigenvalues(M: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(M).clamp_min(0)


def _extremes(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return sigma_max(W) and sigma_min(W) of its q columns."""
    s = torch.linalg.svdvals(W)
    return s[..., 0], s[..., W.shape[-1] - 1]
