"""The subspace S of the unconstrained features model: the flow on it, and strong neural collapse.

Mixon, Parshall, Pi (2022) for the model, S and strong neural collapse; the logistic curves are
worked out for this book from the paper's model. Shapes throughout: H ``(*batch, p, CN)`` with
columns grouped by class, W ``(*batch, C, p)``, b ``(*batch, C)``; classes are balanced.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.frames import centring


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
    U, s, Vh = reduced_svd(centring(C, W) @ W)
    if bool((s[..., -1] <= 1e-12 * s[..., 0]).any()):
        raise ValueError(
            f"W has rank below C - 1 = {C - 1} on the complement of 1 "
            f"(smallest singular value {float(s[..., -1].min()):.1e}): its flow on S ends at a "
            "saddle, not in strong collapse. Give a W of full rank."
        )
    W = N**0.25 * U @ Vh
    return lift(W, N), W, W.new_full((*W.shape[:-2], C), 1 / C)


def reduced_svd(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the singular value decomposition without the direction 1 that Pi removed.

    NaN for a matrix that is not finite, such as that of a run that diverged.
    """
    finite = A.isfinite().all(-1).all(-1)
    U, s, Vh = torch.linalg.svd(A.where(finite[..., None, None], 0), full_matrices=False)
    s = s.where(finite[..., None], torch.nan)
    U, Vh = (x.where(finite[..., None, None], torch.nan) for x in (U, Vh))
    rank = min(A.shape[-2] - 1, A.shape[-1])
    return U[..., :rank], s[..., :rank], Vh[..., :rank, :]


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
    U, s, Vh = reduced_svd(W0)
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
    # M M^T = A A^T for this A of C columns; a root of eigenvalues would make 1e-8 of rounding.
    A = torch.diag(n.sqrt()) - torch.outer(n / n.sum(), n.sqrt())
    left, s, _ = torch.linalg.svd(A)
    return (left * s) @ left.T
