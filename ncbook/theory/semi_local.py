"""How far a semi-local start may lie from the pairs that Assumption 4 is about.

Min, Zhu and Vidal (2025), Assumption 4, asks of a neuron of group k that the cosine B of v and e~_k
exceeds a threshold and that its alignment A_k with class k exceeds twice that with all others
(:func:`ncbook.theory.assumptions.semi_local`). The threshold matters. In the alignment phase
sample i pushes w along x_i with the weight <e~_{y_i}, v>. With unit v

    <e~_l, v> <= (sqrt(1 - B^2) sqrt((K - 1)^2 - 1) - B) / (K - 1),  l other than k,

attained in the plane of e~_k and e~_l: no other class pulls w towards itself if
B^2 >= 1 - 1/(K - 1)^2. A little more is 1 - 1/(2 (K - 1)^2), which follows as well from
``|v - e~_k|`` < 1/(K - 1). Below that bound another class may pull, and harder than class k if its
samples are longer: the neuron can leave its group.

Shapes as in :mod:`ncbook.theory.assumptions`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.theory.alignment import unit_columns
from ncbook.theory.assumptions import semi_local


def safe_cosine(K: int) -> float:
    """Return 1 - 1/(2 (K - 1)^2): beyond it only a neuron's own class pulls at it.

    Source: derived for Assumption 4 of Min, Zhu and Vidal (2025); see the module.

    Raises
    ------
    ValueError
        K < 2.
    """
    if K < 2:
        raise ValueError(f"K = {K}: expected at least two classes.")
    return 1 - 1 / (2 * (K - 1) ** 2)


def edge(
    W: Tensor,
    V: Tensor,
    far_W: Tensor,
    far_V: Tensor,
    X: Tensor,
    y: Sequence[int] | Tensor,
    cosine: float,
) -> tuple[Tensor, Tensor]:
    """Return the starts at the edge of Assumption 4, seen from one that satisfies it.

    Each direction w is turned towards the given far one for as long as A_k > 2 sum A_k' holds, and
    each v for as long as B > ``cosine`` holds and its group stays, to 1e-12 of the way.

    Parameters
    ----------
    W, V : Tensor
        ``(*batch, D, h)`` and ``(*batch, K, h)``, a semi-local start with B > ``cosine``.
    far_W, far_V : Tensor
        The same shapes: where to.
    X : Tensor
        ``(*batch, n, D)``.
    y : sequence of int or Tensor
        ``(n,)``, 0 to K - 1.
    cosine : float
        The threshold of B.

    Returns
    -------
    W, V : Tensor
        Unit columns.

    Raises
    ------
    ValueError
        A neuron of the start that is given does not satisfy the assumption.
    """
    W, V, far_W, far_V = (unit_columns(part) for part in (W, V, far_W, far_V))
    given = semi_local(W, V, X, y)
    if not bool(((given.cosine > cosine) & (given.own > 2 * given.others)).all()):
        raise ValueError(
            f"Some neurons do not satisfy Assumption 4 with the cosine {cosine:g}; begin at a "
            "start whose neurons do, such as pairs (x_i, e~ of its label)."
        )
    share_w, share_v = W.new_zeros(2, *W.shape[:-2], 1, W.shape[-1])
    step = 1.0
    for _ in range(40):
        step /= 2
        w = unit_columns(torch.lerp(W, far_W, share_w + step))
        v = unit_columns(torch.lerp(V, far_V, share_v + step))
        # Each half by itself: w with the given v, and v with the given w.
        of_w, of_v = semi_local(w, V, X, y), semi_local(W, v, X, y)
        fine_w = of_w.own > 2 * of_w.others
        fine_v = (of_v.cosine > cosine) & (of_v.group == given.group)
        share_w = share_w + step * fine_w.unsqueeze(-2)
        share_v = share_v + step * fine_v.unsqueeze(-2)
    return unit_columns(torch.lerp(W, far_W, share_w)), unit_columns(torch.lerp(V, far_V, share_v))


def coverage(share: float, K: int, widths: Sequence[int]) -> list[float]:
    """Return the chance that h independent neurons reach all K classes, for some h.

    sum over j of (-1)^j (K choose j) (1 - j share)^h, where each neuron ends in a given class with
    probability ``share``. While outputs are small neurons do not see each other.

    Source: inclusion and exclusion; derived for random starts.

    Raises
    ------
    ValueError
        The share is not in [0, 1/K].
    """
    if not 0 <= share <= (1 + 1e-12) / K:
        raise ValueError(f"share = {share}: expected a probability up to 1/K = {1 / K:g}.")
    rest = [max(1 - j * share, 0.0) for j in range(K + 1)]
    return [sum((-1) ** j * math.comb(K, j) * rest[j] ** h for j in range(K + 1)) for h in widths]
