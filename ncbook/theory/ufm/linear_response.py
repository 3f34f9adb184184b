"""How a vanishing start shows in the limit: the linear response of the errors to its size.

Worked out for this book from the model of Mixon, Parshall, Pi (2022). Shapes throughout: H
``(*batch, p, CN)`` with columns grouped by class, W ``(*batch, C, p)``, b ``(*batch, C)``; classes
are balanced.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ncbook.frames import centring
from ncbook.runtime import finer
from ncbook.theory.ufm.subspace import class_means, lift, reduced_svd


@dataclass(frozen=True)
class LinearResponse:
    """Leading coefficients of the errors for a start eps (H_0, W_0), b_0 = beta_0 1, as eps -> 0.

    Attributes
    ----------
    frame : Tensor
        ||W W^T - sqrt(N) Pi||_F / eps^2 as eps -> 0.
    duality : Tensor
        ||H - lift(W)||_F / (||H||_F eps).
    bias : Tensor
        ||b - 1/C||_2 / eps.
    distance : Tensor
        ||Z - P_S Z||_E / (||Z||_E eps).
    """

    frame: Tensor
    duality: Tensor
    bias: Tensor
    distance: Tensor


def mean_transfer(C: int, N: int) -> tuple[float, float]:
    """Return (y_f, d_f), what remains of a unit offset of the features' mean, and of b's.

    The end of y' = -s (s y + CN d), d' = -(s y + CN d), y = 1, d = 0 at the start, where s^2 is the
    logistic curve from 0 to sqrt(N).
    """
    rate = math.sqrt(N)

    def field(t: float, state: np.ndarray) -> np.ndarray:
        s = math.sqrt(rate / (1 + math.exp(-2 * rate * t)))
        flux = s * state[0] + C * N * state[1]
        return np.array([-s * flux, -flux])

    reach = 20 / rate  # s^2 starts at e^-40 of its end
    end = reach + 40 / (C * N + rate)
    solution = solve_ivp(
        field, (-reach, end), [1.0, 0.0], method="DOP853", rtol=finer(1e-12), atol=finer(1e-14)
    )
    return float(solution.y[0, -1]), float(solution.y[1, -1])


def linear_response(
    H0: Tensor, W0: Tensor, beta0: float = 0.0, *, limit_in_time: bool = False
) -> LinearResponse:
    """Predict the leading coefficients of the errors from the start's direction.

    Derivation. (i) While b relaxes to 1/C, only the features' mean h = H_0 1/sqrt(CN) and
    w = W_0^T 1/sqrt(C) feel it, through the hyperbolic rotation by
    kappa = (1 - C beta_0)/(C sqrt(N)). (ii) The growing part (1/2) Pi (W_0 + sqrt(N) Hbar^T) =
    U S V^T fixes the frame of the limit. (iii) Small displacements from the orbit on S: what V
    spans decays, what Q = I - V V^T spans stays; the features' mean along V ends at the fraction
    y_f and pushes b by d_f (``mean_transfer``). (iv) D = W^T W - H H^T is conserved, and on the
    plateau (W W^T)^2 = N Pi + CN db db^T + W D W^T up to higher orders, which gives the frame error
    at order eps^2 on the complement of 1; along 1 it is ``|Q w|^2``. (v) The plateau holds for
    log(1/eps) << t << 1/eps^2. There E = eps^2 1 (Q w)^T K / sqrt(C) with K the features of Q
    within the classes, and over times of order 1/eps^2 the flow (Q w)' = -K K^T Q w,
    K' = -Q w (Q w)^T K removes it. It conserves Delta = Q w (Q w)^T - K K^T, so it ends with
    Q w (Q w)^T the positive part of Delta and K K^T the negative one.

    What the coefficients miss is of relative order eps^2. They are the flow's: gradient descent
    with step h shrinks the part of D between growing and decaying modes by 1 - h^2 N an iteration
    until the growing one is of size 1, which changes ``frame`` (``drop_decaying_modes``).

    Parameters
    ----------
    H0 : Tensor
        Shape ``(*batch, p, CN)``, of norm 1 where the coefficients are to be per eps.
    W0 : Tensor
        Shape ``(*batch, C, p)``, likewise.
    beta0 : float
        b_0 = beta_0 1.
    limit_in_time : bool
        The coefficients of the limit t -> oo, not of the plateau.

    Returns
    -------
    LinearResponse
        Each coefficient of shape ``batch``.

    Raises
    ------
    ValueError
        p < C - 1: the limit has no room for the simplex and none of this holds.
    """
    C, p = W0.shape[-2:]
    N = H0.shape[-1] // C
    if p < C - 1:
        raise ValueError(f"p = {p} < C - 1 = {C - 1}: the simplex does not fit; choose p >= C - 1.")
    Pi = centring(C, W0)
    kappa = (1 - C * beta0) / (C * math.sqrt(N))
    h, w = H0.sum(-1) / math.sqrt(C * N), W0.sum(-2) / math.sqrt(C)
    h, w = (
        math.cosh(kappa) * h + math.sinh(kappa) * w,
        math.cosh(kappa) * w + math.sinh(kappa) * h,
    )
    U, _, Vh = reduced_svd(Pi @ (W0 + math.sqrt(N) * class_means(H0, C).mT) / 2)
    V = Vh.mT

    def off_frame(columns: Tensor) -> Tensor:  # Q applied to the columns of a (p, k) matrix
        return columns - V @ (Vh @ columns)

    y = math.sqrt(C * N) * h.unsqueeze(-1)
    y_left, d_left = mean_transfer(C, N)
    mean = off_frame(y) + y_left * (y - off_frame(y))  # the final features' sum H 1
    qw = off_frame(w.unsqueeze(-1))
    K = off_frame(H0 - class_means(H0, C).repeat_interleave(N, dim=-1))
    scatter = K.square().sum(dim=(-2, -1))
    if limit_in_time:
        values, vectors = torch.linalg.eigh(qw @ qw.mT - K @ K.mT)
        scatter = values.clamp_max(0).sum(-1).neg()
        top = vectors[..., -1:]
        qw = values[..., -1:, None].clamp_min(0).sqrt() * torch.sign(top.mT @ qw) * top
    db = d_left * (U @ (Vh @ y)).squeeze(-1)
    # D is conserved from the very start; only its part in the frame's span counts.
    D = W0.mT @ W0 - H0 @ H0.mT
    Z = C * N * db.unsqueeze(-1) * db.unsqueeze(-2) + math.sqrt(N) * U @ (Vh @ D @ V) @ U.mT
    inside = Z.square().sum(dim=(-2, -1)) / (4 * N)
    along_1 = qw.square().sum(dim=(-2, -1))
    across = (mean - math.sqrt(C * N) * qw).square().sum(dim=(-2, -1)) / (C * N)
    # What lies outside S: the scatter, the features' mean, 1^T W, and b across 1.
    outside = scatter + mean.square().sum(dim=(-2, -1)) / (C * N) + along_1 + db.square().sum(-1)
    return LinearResponse(
        frame=(inside + along_1.square()).sqrt(),
        duality=(scatter + across).sqrt() / (N**0.25 * math.sqrt(C - 1)),
        bias=db.norm(dim=-1),
        distance=(outside / (2 * math.sqrt(N) * (C - 1) + 1 / C)).sqrt(),
    )


def drop_decaying_modes(H0: Tensor, W0: Tensor, step: float, eps: float) -> tuple[Tensor, Tensor]:
    """Return the start whose flow ends, to first order, where descent from (H0, W0) does.

    An iteration multiplies growing parts by 1 + step sqrt(N) and decaying ones by
    1 - step sqrt(N). Their product, which D = W^T W - H H^T holds, shrinks by 1 - step^2 N where
    the flow would keep it, for as many iterations as the growing part takes to reach size 1. So
    the decaying part counts only for (1 - step^2 N)^iterations of itself.

    Parameters
    ----------
    H0 : Tensor
        Shape ``(*batch, p, CN)``, of norm 1.
    W0 : Tensor
        Shape ``(*batch, C, p)``, of norm 1.
    step : float
        Step of gradient descent, below 1/sqrt(N), as every stable one is; beyond it there is no
        such start, and the result is NaN.
    eps : float
        Size of the start.
    """
    C = W0.shape[-2]
    N = H0.shape[-1] // C
    of_H = math.sqrt(N) * class_means(H0, C).mT
    growing, decaying = (centring(C, W0) @ part / 2 for part in (W0 + of_H, W0 - of_H))
    size = eps * torch.linalg.matrix_norm(growing, keepdim=True)
    iterations = -torch.log(size) / math.log1p(step * math.sqrt(N))
    forgotten = (1 - (1 - step**2 * N) ** iterations) * decaying
    return H0 + lift(forgotten, N), W0 - forgotten
