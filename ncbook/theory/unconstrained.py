"""What is known of the unconstrained features model without integrating it.

Mixon, Parshall, Pi (2022) for the model, the subspace S and strong neural collapse. The
linearisation, the logistic curves, the spectra and the first-order constants are worked out for
this book from the paper's model. Shapes throughout: H ``(*batch, p, CN)`` with columns grouped by
class, W ``(*batch, C, p)``, b ``(*batch, C)``; classes are balanced.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ncbook.frames import centring
from ncbook.runtime import finer


def class_means(H: Tensor, C: int) -> Tensor:
    """Return the class means of features grouped by class, ``(*batch, p, C)``."""
    return H.unflatten(-1, (C, -1)).mean(-1)


def lift(W: Tensor, N: int) -> Tensor:
    """Return (1/sqrt(N)) (W (x) 1_N)^T, the features that belong to W on S, ``(*batch, p, CN)``."""
    return W.mT.repeat_interleave(N, dim=-1) / math.sqrt(N)


def project_onto_S(H: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the orthogonal projection of (H, W, b) onto the invariant subspace S.

    S = {1^T W = 0, H = lift(W), b in span(1)}. The lift is an isometry, so the nearest W is the
    mean of Pi W and of what H says of it, Pi sqrt(N) Hbar^T.
    """
    C = W.shape[-2]
    N = H.shape[-1] // C
    nearest = centring(C, W) @ (W + math.sqrt(N) * class_means(H, C).mT) / 2
    return lift(nearest, N), nearest, b.mean(-1, keepdim=True).expand_as(b)


def strong_collapse(W: Tensor, N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the strong collapse (H, W, b) nearest in direction to W.

    W is replaced by N^(1/4) U V^T, from the singular value decomposition of Pi W: the end of the
    flow from (lift(W), W) on S.

    Raises
    ------
    ValueError
        Pi W has rank below C - 1 (always so for p < C - 1): the flow on S then ends at a saddle
        instead.
    """
    C, p = W.shape[-2:]
    if p < C - 1:
        raise ValueError(f"p = {p} < C - 1 = {C - 1}: the simplex does not fit; choose p >= C - 1.")
    U, s, Vh = _reduced_svd(centring(C, W) @ W)
    if bool((s[..., -1] <= 1e-12 * s[..., 0]).any()):
        raise ValueError(
            f"W has rank below C - 1 = {C - 1} on the complement of 1 "
            f"(smallest singular value {float(s[..., -1].min()):.1e}): its flow on S ends at a "
            "saddle, not in strong collapse. Give a W of full rank."
        )
    W = N**0.25 * U @ Vh
    return lift(W, N), W, W.new_full((*W.shape[:-2], C), 1 / C)


def _reduced_svd(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the singular value decomposition without the direction 1 that Pi removed.

    NaN for a matrix that is not finite, such as that of a run that diverged.
    """
    finite = A.isfinite().all(-1).all(-1)
    U, s, Vh = torch.linalg.svd(A.where(finite[..., None, None], 0), full_matrices=False)
    s = s.where(finite[..., None], torch.nan)
    U, Vh = (x.where(finite[..., None, None], torch.nan) for x in (U, Vh))
    rank = min(A.shape[-2] - 1, A.shape[-1])
    return U[..., :rank], s[..., :rank], Vh[..., :rank, :]


# --- The linearisation about the origin ---------------------------------------------------------


def linear_field(H: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the flow's linearisation about H = 0, W = 0, b = 1/C, applied to a displacement.

    H' = W^T M, W' = M H^T, b' = -C N b with M = (I - 11^T/C) (x) 1_N^T.
    """
    C = W.shape[-2]
    N = H.shape[-1] // C
    M = centring(C, W).repeat_interleave(N, dim=-1)
    return W.mT @ M, M @ H.mT, -C * N * b


def modes(H: Tensor, W: Tensor) -> dict[str, Tensor]:
    """Return the norms of the parts of (H, W) that grow, decay and stand in the linearisation.

    The three parts are orthogonal: ``growing`` is the part in S, ``decaying`` its mirror image
    (H = -lift(W)), ``standing`` the rest (rate 0): W along 1, H's mean over all examples and H
    within the classes. Each of shape ``batch``.
    """
    C = W.shape[-2]
    N = H.shape[-1] // C
    Pi = centring(C, W)
    means = class_means(H, C)
    of_W, of_H = Pi @ W, Pi @ (math.sqrt(N) * means.mT)
    within = H - means.repeat_interleave(N, dim=-1)
    # Each part by itself: a difference of squares would lose the small parts to rounding.
    standing = (
        W.sum(-2).square().sum(-1) / C
        + H.sum(-1).square().sum(-1) / (C * N)
        + within.square().sum(dim=(-2, -1))
    )
    return {
        "growing": torch.linalg.matrix_norm(of_W + of_H) / math.sqrt(2),
        "decaying": torch.linalg.matrix_norm(of_W - of_H) / math.sqrt(2),
        "standing": standing.sqrt(),
    }


def spectrum_at_origin(C: int, N: int, p: int) -> list[tuple[float, int]]:
    """Return the eigenvalues of the linearisation about the origin with their multiplicities.

    The growing eigenspace, at +sqrt(N), is S in (H, W); its mirror image decays at -sqrt(N).
    """
    rate = math.sqrt(N)
    return [
        (rate, p * (C - 1)),
        (-rate, p * (C - 1)),
        (0.0, p * (C * N - C + 2)),
        (-float(C * N), C),
    ]


def growing_space(C: int, N: int, p: int) -> Tensor:
    """Return an orthonormal basis of S in (H, W), flat as H by rows and then W by rows.

    Returns
    -------
    Tensor
        Shape ``(p CN + C p, p (C - 1))``, float64.
    """
    # Orthonormal columns that span the complement of 1, one dimension of the features at a time.
    complement = torch.linalg.eigh(centring(C)).eigenvectors[:, 1:]
    W = torch.einsum("ck,ij->kicj", complement, torch.eye(p, dtype=torch.float64))
    W = W.reshape(-1, C, p) / math.sqrt(2)
    return torch.cat([lift(W, N).flatten(1), W.flatten(1)], dim=1).T


def spectrum_at_collapse(C: int, N: int, p: int) -> list[tuple[float, int]]:
    """Return the eigenvalues of the risk's Hessian at strong collapse with multiplicities.

    With E = 0 the Hessian is J^T J for the map J: (dH, dW, db) -> W dH + dW H + db 1^T. The
    nonzero eigenvalues are those of J J^T: X -> W W^T X + X (H^T H + 1 1^T).

    Raises
    ------
    ValueError
        p < C - 1: there is no strong collapse.
    """
    if p < C - 1:
        raise ValueError(f"p = {p} < C - 1 = {C - 1}: the simplex does not fit; choose p >= C - 1.")
    rate, size = math.sqrt(N), C * N
    nonzero = [
        (rate, (C - 1) * (C * N - C + 1)),
        (2 * rate, (C - 1) ** 2),
        (float(size), 1),
        (size + rate, C - 1),
    ]
    total = p * C * N + C * p + C
    return [(0.0, total - sum(count for _, count in nonzero)), *nonzero]


def largest_stable_step(C: int, N: int) -> float:
    """Return 2/(CN + sqrt(N)): gradient descent is stable at strong collapse below this step."""
    return 2 / (C * N + math.sqrt(N))


# --- The flow on S, solved ----------------------------------------------------------------------


def logistic(u0: Tensor, N: int, t: Tensor) -> Tensor:
    """Return u(t) with u' = 2 sqrt(N) u - 2 u^2, u(0) = u0 >= 0.

    The squared singular values of W on S. Written so that u0 = 0 stays 0.
    """
    decay = torch.exp(-2 * math.sqrt(N) * t)
    u = math.sqrt(N) * u0 / (u0 + (math.sqrt(N) - u0) * decay)
    return torch.where(u0 > 0, u, 0)  # also where the decay has underflowed


def flow_on_S(W0: Tensor, b0: Tensor, N: int, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return W(t) and b(t) of the gradient flow that starts on S from W0 and b0 = beta_0 1.

    W' = sqrt(N) W - W W^T W: the singular vectors stand still, the squared singular values follow
    logistic curves. b(t) = 1/C + (b_0 - 1/C) exp(-CN t). A singular value of W0 that is zero up to
    the rounding of its decomposition is taken for zero: it stays there.

    Parameters
    ----------
    W0 : Tensor
        Shape ``(C, p)`` with 1^T W0 = 0.
    b0 : Tensor
        Shape ``(C,)``, in span(1).
    N : int
        Examples of each class.
    t : Tensor
        Shape ``(T,)``.

    Returns
    -------
    W : Tensor
        Shape ``(T, C, p)``.
    b : Tensor
        Shape ``(T, C)``.

    Raises
    ------
    ValueError
        W0 or b0 is not on S.
    """
    C = W0.shape[-2]
    outside = float(W0.sum(-2).norm())
    spread = float((b0 - b0.mean()).norm())
    near = 4096 * torch.finfo(W0.dtype).eps
    if outside > near * float(W0.norm()) or spread > near * max(1.0, float(b0.norm())):
        raise ValueError(
            f"The start is not on S: ||1^T W|| = {outside:.1e}, b is {spread:.1e} away from "
            "span(1). Project it first (project_onto_S)."
        )
    U, s, Vh = _reduced_svd(W0)
    rounding = max(W0.shape) * torch.finfo(s.dtype).eps * s[..., :1]
    s = torch.where(s > rounding, s, 0)
    values = logistic(s.square(), N, t[:, None]).sqrt()
    W = (U * values[:, None, :]) @ Vh
    b = 1 / C + (b0 - 1 / C) * torch.exp(-C * N * t)[:, None]
    return W, b


def moving_on_S(W: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Return all that moves on S: squared singular values u1 >= u2 >= ... of W, and beta.

    Each of shape ``batch``; C - 1 of the first, or p if that is less.
    """
    count = min(W.shape[-2] - 1, W.shape[-1])
    squares = torch.linalg.svdvals(W).square()[..., :count]
    return {f"u{k + 1}": squares[..., k] for k in range(count)} | {"beta": b.mean(-1)}


def risk_on_S(W: Tensor, b: Tensor, N: int) -> tuple[Tensor, Tensor]:
    """Return the two parts of the risk on S, one of W alone and one of b alone.

    (N/2) ||W W^T / sqrt(N) - Pi||_F^2 and (N/2) (C beta - 1)^2 with b = beta 1.
    """
    C = W.shape[-2]
    gram = W @ W.mT / math.sqrt(N) - centring(C, W)
    offset = b.sum(-1) - 1
    return N / 2 * gram.square().sum(dim=(-2, -1)), N / 2 * offset.square()


def saddle_risk(missing: int, N: int) -> float:
    """Return N/2 a missing direction: the risk where the flow on S ends when W has lost rank.

    A zero singular value of W stays zero, so that class direction keeps its whole share of
    ||Pi||_F^2 in the risk on S.
    """
    return N / 2 * missing


# --- Classes of different sizes -----------------------------------------------------------------


def collapsed_gram(sizes: Sequence[int]) -> Tensor:
    """Return the limit of W W^T from a vanishing start, for classes of any sizes, ``(C, C)``.

    With b at the class frequencies pi = sizes / n the flow near the origin is driven by
    M = Y - pi 1^T, whose singular vectors stand still; a vanishing start keeps W^T W = H H^T, so
    with W H = M at the end W W^T = (M M^T)^(1/2) = (diag(sizes) - n pi pi^T)^(1/2). For balanced
    classes this is sqrt(N) Pi.
    """
    n = torch.tensor(sizes, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(torch.diag(n) - torch.outer(n, n) / n.sum())
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


# --- First-order constants of the limit ---------------------------------------------------------


@dataclass(frozen=True)
class FirstOrder:
    """Leading coefficients of the errors for a start eps (H_0, W_0), b_0 = beta_0 1, as eps -> 0.

    Attributes
    ----------
    left : Tensor
        ||W W^T - sqrt(N) Pi||_F / eps^2 as eps -> 0.
    middle : Tensor
        ||H - lift(W)||_F / (||H||_F eps).
    right : Tensor
        ||b - 1/C||_2 / eps.
    distance : Tensor
        ||Z - P_S Z||_E / (||Z||_E eps).
    """

    left: Tensor
    middle: Tensor
    right: Tensor
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


def first_order(H0: Tensor, W0: Tensor, beta0: float = 0.0, *, settled: bool = False) -> FirstOrder:
    """Predict the leading coefficients of the errors from the start's direction.

    Derivation. (i) While b relaxes to 1/C, only the features' mean h = H_0 1/sqrt(CN) and
    w = W_0^T 1/sqrt(C) feel it, through the hyperbolic rotation by
    kappa = (1 - C beta_0)/(C sqrt(N)). (ii) The growing part (1/2) Pi (W_0 + sqrt(N) Hbar^T) =
    U S V^T fixes the frame of the limit. (iii) Small displacements from the orbit on S: what V
    spans decays, what Q = I - V V^T spans stays; the features' mean along V ends at the fraction
    y_f and pushes b by d_f (``mean_transfer``). (iv) D = W^T W - H H^T is conserved, and on the
    plateau (W W^T)^2 = N Pi + CN db db^T + W D W^T up to higher orders, which gives the left error
    at order eps^2 on the complement of 1; along 1 it is ``|Q w|^2``. (v) The plateau holds for
    1 << t << 1/eps^2. There E = eps^2 1 (Q w)^T K / sqrt(C) with K the features of Q within the
    classes, and over times of order 1/eps^2 the flow (Q w)' = -K K^T Q w, K' = -Q w (Q w)^T K
    removes it. It conserves A = Q w (Q w)^T - K K^T, so it ends with Q w (Q w)^T the positive part
    of A and K K^T the negative one.

    What the coefficients miss is of relative order eps^2. They are the flow's: gradient descent
    with step h shrinks the part of D between growing and decaying modes by 1 - h^2 N an iteration
    until the growing one is of size 1, which changes ``left`` (``forget_decaying``).

    Parameters
    ----------
    H0 : Tensor
        Shape ``(*batch, p, CN)``, of norm 1 where the coefficients are to be per eps.
    W0 : Tensor
        Shape ``(*batch, C, p)``, likewise.
    beta0 : float
        b_0 = beta_0 1.
    settled : bool
        The coefficients of the limit of time, not of the plateau.

    Returns
    -------
    FirstOrder
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
    U, _, Vh = _reduced_svd(Pi @ (W0 + math.sqrt(N) * class_means(H0, C).mT) / 2)
    V = Vh.mT

    def off_frame(columns: Tensor) -> Tensor:  # Q applied to the columns of a (p, k) matrix
        return columns - V @ (Vh @ columns)

    y = math.sqrt(C * N) * h.unsqueeze(-1)
    y_left, d_left = mean_transfer(C, N)
    mean = off_frame(y) + y_left * (y - off_frame(y))  # the final features' sum H 1
    qw = off_frame(w.unsqueeze(-1))
    K = off_frame(H0 - class_means(H0, C).repeat_interleave(N, dim=-1))
    scatter = K.square().sum(dim=(-2, -1))
    if settled:
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
    return FirstOrder(
        left=(inside + along_1.square()).sqrt(),
        middle=(scatter + across).sqrt() / (N**0.25 * math.sqrt(C - 1)),
        right=db.norm(dim=-1),
        distance=(outside / (2 * math.sqrt(N) * (C - 1) + 1 / C)).sqrt(),
    )


def forget_decaying(H0: Tensor, W0: Tensor, step: float, eps: float) -> tuple[Tensor, Tensor]:
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
