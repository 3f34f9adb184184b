"""What Min, Zhu and Vidal (2025) assume of data and starts, as checks.

Shapes as in the network: samples ``(*batch, n, D)`` by rows, labels ``(n,)`` from 0 to K - 1, W
``(*batch, D, h)`` and V ``(*batch, d_y, h)`` with neuron pairs in their columns. A scalar output
(d_y = 1) is for K = 2, with y = +1 for class 0 and -1 for class 1; else d_y = K. Every check is
batched, a boolean for each run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.runtime import tensors
from ncbook.theory.relu.alignment import alignment_points, labels_of, unit_columns
from ncbook.theory.relu.semi_local import safe_cosine

ROUNDING = 256  # in eps: what counts as equal


def orthogonally_separable(
    X: Tensor, y: Sequence[int] | Tensor, mu_s: float, mu_d: float
) -> Tensor:
    """Return whether Assumption 1 holds with the given margins, shape ``batch``.

    All cosines within a class are at least mu_s, all between classes at most -mu_d (to rounding).

    Raises
    ------
    ValueError
        A margin is not positive: orthogonal separability asks for mu_s, mu_d > 0.
    """
    tensors(X=X)
    if not (mu_s > 0 and mu_d > 0):
        raise ValueError(
            f"mu_s = {mu_s}, mu_d = {mu_d}: orthogonal separability has positive margins."
        )
    unit = unit_columns(X.mT)
    cosines = unit.mT @ unit
    labels = labels_of(X, y)
    same = labels.unsqueeze(-1) == labels
    near = ROUNDING * torch.finfo(X.dtype).eps
    fine = torch.where(same, cosines >= mu_s - near, cosines <= -mu_d + near)
    return fine.all(-1).all(-1)


def balanced(W: Tensor, V: Tensor) -> Tensor:
    """Return whether Assumption 2 holds, ``|w_j| = |v_j|`` to rounding for all j, ``batch``.

    Gradient flow keeps ``|w_j|^2 - |v_j|^2``, so what is balanced stays so.
    """
    w, v = (torch.linalg.vector_norm(part, dim=-2) for part in (W, V))
    near = ROUNDING * torch.finfo(W.dtype).eps
    return ((w - v).abs() <= near * torch.maximum(w, v)).all(-1)


def non_degenerate(W: Tensor, V: Tensor, X: Tensor, y: Sequence[int] | Tensor) -> dict[str, Tensor]:
    """Return which parts of Assumption 3 hold for a start, K = 2, each of shape ``batch``.

    ``signs``: output weights of both signs. ``repelled``: no neuron points at the mean of the class
    that it must turn away from, the other class's (to rounding of the cosine): there its direction
    stands still and it shrinks for ever. ``alive``: of each sign at least one neuron is active on
    a sample of its own class; it stays active on that sample, so that not all of a sign die (other
    neurons may come alive or die). ``all``: all three.

    Source: Min, Zhu and Vidal (2025), Assumption 3.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, 1, h)``.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 for y = +1 and 1 for y = -1.

    Raises
    ------
    ValueError
        The output is not scalar.
    """
    tensors(X=X)
    if V.shape[-2] != 1:
        raise ValueError(
            f"V has shape {tuple(V.shape)}: Assumption 3 is for a scalar output, (..., 1, h); "
            "check semi_local for K outputs."
        )
    means, _, _ = alignment_points(X, y, outputs=1)
    group = (V.squeeze(-2) < 0).long()
    cosines = means.mT @ unit_columns(W)
    of_other = torch.where(one_hot(group, 2).mT.bool(), -1, cosines).amax(-2)
    own = labels_of(X, y).unsqueeze(-1) == group.unsqueeze(-2)
    on_own = ((X @ W > 0) & own).any(-2)
    signed = torch.stack([V.squeeze(-2) > 0, V.squeeze(-2) < 0])
    parts = {
        "signs": signed.any(-1).all(0),
        "repelled": (of_other < 1 - ROUNDING * torch.finfo(W.dtype).eps).all(-1),
        "alive": (signed & on_own).any(-1).all(0),
    }
    return parts | {"all": torch.stack(torch.broadcast_tensors(*parts.values())).all(0)}


@dataclass(frozen=True)
class SemiLocal:
    """How a start stands to Assumption 4, neuron by neuron.

    Attributes
    ----------
    group : Tensor
        k of the pseudo-label nearest to v_j, ``(*batch, h)``.
    cosine : Tensor
        B_k, that of v_j and e~_k, ``(*batch, h)``.
    own, others : Tensor
        A_k and the sum of A_k' over the other classes, ``(*batch, h)``: how much of the classes
        w_j / ``|w_j|`` sees.
    threshold : float
        1 - 1/(2(K - 1)^2), which the cosine must exceed (``safe_cosine``).
    holds : Tensor
        Boolean, ``batch``: B_k > threshold and A_k > 2 sum A_k' for each neuron, and no group
        is empty.
    """

    group: Tensor
    cosine: Tensor
    own: Tensor
    others: Tensor
    threshold: float
    holds: Tensor


def semi_local(W: Tensor, V: Tensor, X: Tensor, y: Sequence[int] | Tensor) -> SemiLocal:
    """Return how a start stands to Assumption 4, K outputs.

    Source: Min, Zhu and Vidal (2025), Assumption 4; the threshold is our reconstruction, the least
    of this kind for which no counterexample was found (:mod:`ncbook.theory.relu.semi_local`).
    Starts drawn from the pairs (x_i, e~_{y_i}) satisfy it: their B is 1, their A of other classes
    0.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, K, h)``.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.

    Raises
    ------
    ValueError
        The labels do not fit the outputs.
    """
    tensors(X=X)
    K = V.shape[-2]
    _, labels, _ = alignment_points(X, y, outputs=K)
    cosine, group = (labels.mT @ unit_columns(V)).max(-2)
    seen = (X @ unit_columns(W)).clamp_min(0)
    by_class = one_hot(labels_of(X, y), K).mT.to(seen) @ seen
    member = one_hot(group, K).mT
    own = (by_class * member.to(seen)).sum(-2)
    others = by_class.sum(-2) - own
    threshold = safe_cosine(K)
    each = (cosine > threshold) & (own > 2 * others)
    filled = member.any(-1)
    return SemiLocal(group, cosine, own, others, threshold, each.all(-1) & filled.all(-1))


def separation_condition(
    X: Tensor, K: int, mu_s: float | Tensor, mu_d: float | Tensor
) -> tuple[Tensor, float]:
    """Return the two sides of Proposition 1's condition for K > 3: it holds if left < right.

    X_max^2 mu_d / (X_min^2 mu_s^2), of shape ``batch`` (of X ``(*batch, n, D)``, with one pair of
    margins for all data sets or one for each), and 2/(K - 3), infinity for K <= 3 where
    nothing is asked. At equal norms it holds whenever mu_s^2 > (K - 3) / (2 (K - 1)), because
    mu_d <= 1/(K - 1). Data that satisfy Assumption 1 with mu_d do so with any smaller one, so
    as it stands the condition can always be met by claiming less separation; what it says of given
    data is what it says of their largest mu_d.

    Source: Min, Zhu and Vidal (2025), Proposition 1.

    Raises
    ------
    ValueError
        X is no tensor.
    """
    tensors(X=X)
    norms = torch.linalg.vector_norm(X, dim=-1)
    left = norms.amax(-1).square() * mu_d / (norms.amin(-1).square() * mu_s**2)
    return left, 2 / (K - 3) if K > 3 else math.inf
