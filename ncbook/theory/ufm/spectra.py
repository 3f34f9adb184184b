"""The unconstrained features model near the origin and at collapse: modes, spectra, steps.

Worked out for this book from the model of Mixon, Parshall, Pi (2022). Shapes throughout: H
``(*batch, p, CN)`` with columns grouped by class, W ``(*batch, C, p)``, b ``(*batch, C)``; classes
are balanced.
"""

import math

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.theory.ufm.subspace import class_means, lift


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
