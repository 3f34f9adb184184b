r"""How far apart classes can be whose samples all oppose those of other classes.

Orthogonally separable data have cosines of at least mu_s within a class and of at most -mu_d
between classes (Min, Zhu and Vidal, 2025, Assumption 1). The paper says that mu_d is bounded in K;
the bounds here are derived for this book from one expansion. Let z_k be the shortest vector of the
hull of class k's unit directions, so that ``|z_k|`` = gamma_k is the class's margin. Products of
points of two hulls are at most -mu_d too, and with any weights a_k >= 0

.. math:: 0 \le \Big\|\sum_k a_k z_k\Big\|^2
    \le \sum_k a_k^2 (\gamma_k^2 + \mu_d) - \mu_d \Big(\sum_k a_k\Big)^2 .

The best weights, a_k = 1 / (gamma_k^2 + mu_d), give

.. math:: \sum_k \frac{\mu_d}{\gamma_k^2 + \mu_d} \le 1 .

All gamma_k are at most 1, which is mu_d <= 1/(K - 1).
"""

from collections.abc import Sequence

import torch
from scipy.optimize import brentq
from torch import Tensor


def largest_mu_d(K: int, margins: Sequence[float] | Tensor | None = None) -> float:
    """Return the largest mu_d that K classes can have, given their margins if these are known.

    1/(K - 1) without margins, attained by a simplex with one direction a class. With the margins
    gamma_k of the classes' unit directions it is the root of sum_k mu / (gamma_k^2 + mu) = 1:
    gamma^2 / (K - 1) if they agree, gamma_0 gamma_1 for K = 2. ``widest_data`` attains it.

    Source: derived for Assumption 1 of Min, Zhu and Vidal (2025).

    Parameters
    ----------
    K : int
        Classes, at least 2.
    margins : sequence of float or Tensor, optional
        gamma_k in (0, 1], ``(K,)``.

    Raises
    ------
    ValueError
        K < 2, or the margins are not K numbers in (0, 1].
    """
    squares = torch.ones(max(K, 0), dtype=torch.float64)
    if margins is not None:
        given = margins.cpu() if isinstance(margins, torch.Tensor) else margins
        squares = torch.as_tensor(given, dtype=torch.float64).square()
    inside = squares.shape == (K,) and bool(((squares > 0) & (squares <= 1 + 1e-12)).all())
    if K < 2 or not inside:
        raise ValueError(
            f"K = {K} with margins {margins}: expected K >= 2 and K margins in (0, 1], those of "
            "unit vectors."
        )
    low, high = float(squares.min()) / (K - 1), float(squares.max()) / (K - 1)

    def excess(mu: float) -> float:
        return float((mu / (squares + mu)).sum()) - 1

    # Where margins agree to rounding an end is the root, and the change of sign may be lost.
    for end, beyond in ((low, excess(low) >= 0), (high, excess(high) <= 0)):
        if beyond:
            return end
    return brentq(excess, low, high, xtol=1e-300, rtol=1e-15)


def least_mu_s(K: int, mu_d: float) -> float:
    """Return the least cosine that two samples of one class can have, given mu_d.

    2 (K - 1) mu_d^2 / (1 - (K - 2) mu_d) - 1. Two unit vectors at cosine m have the margin
    sqrt((1 + m)/2); with one direction for each other class this is the bound of ``largest_mu_d``.
    It is -1 at mu_d = 0 and 1 at mu_d = 1/(K - 1), where each class is one ray. Where it is
    positive, opposed classes alone make the data orthogonally separable.

    Source: derived for Assumption 1 of Min, Zhu and Vidal (2025).

    Raises
    ------
    ValueError
        K < 2, or mu_d is not in [0, 1/(K - 1)].
    """
    if K < 2 or not 0 <= mu_d <= largest_mu_d(K) * (1 + 1e-12):
        raise ValueError(f"K = {K}, mu_d = {mu_d}: expected K >= 2 and mu_d from 0 to 1/(K - 1).")
    return 2 * (K - 1) * mu_d**2 / (1 - (K - 2) * mu_d) - 1


def widest_data(margins: Sequence[float] | Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors, two a class, that attain ``largest_mu_d`` for these margins.

    The classes' shortest vectors z_k have norms gamma_k and all products -mu_d; they span K - 1
    dimensions. The two samples of a class are z_k plus and minus sqrt(1 - gamma_k^2) in a
    dimension of the class's own. Their cosine is 2 gamma_k^2 - 1.

    Returns
    -------
    X : Tensor
        Shape ``(2K, 2K - 1)``, float64.
    y : Tensor
        Shape ``(2K,)``, 0, 0, 1, 1, ...

    Raises
    ------
    ValueError
        The margins are not at least two numbers in (0, 1].
    """
    margins = torch.as_tensor(margins, dtype=torch.float64)
    K = len(margins)
    mu = largest_mu_d(K, margins)
    squares = margins.square()
    gram = torch.diag(squares + mu) - mu
    values, vectors = torch.linalg.eigh(gram)
    z = vectors[:, 1:] * values[1:].clamp_min(0).sqrt()  # the bound makes the least eigenvalue 0
    spread = torch.diag((1 - squares).clamp_min(0).sqrt())
    X = torch.stack([torch.cat([z, spread], 1), torch.cat([z, -spread], 1)], dim=1)
    return X.flatten(0, 1), torch.arange(K).repeat_interleave(2)
