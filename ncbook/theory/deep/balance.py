"""What balanced linear layers at the end of a network say about collapse before the last one.

Jacot, Sukenik, Wang, Mondelli (2025) bound NC1 by the fit and by how far the last linear layers are
from balanced. The bound here has the same form, with its own constants, derived in the chapter
jacot-et-al/01-balance.
"""

import torch
from torch import Tensor


def collapse_bound(
    W: Tensor, W_below: Tensor, Z_below: Tensor, fit: Tensor, imbalance: Tensor | None = None
) -> Tensor:
    r"""Return a bound on NC1 of the features before the last of two linear layers.

    With :math:`H = W_{L-1} Z_{L-2}`, outputs :math:`W_L H` and one-hot labels Y of K balanced
    classes, :math:`\epsilon_1 = \|W_L H - Y\|_F` and
    :math:`\epsilon_2 = \|W_L^T W_L - W_{L-1} W_{L-1}^T\|_{op}`,

    .. math::

        \mathrm{NC1}(H) \le \frac{s_1(W_L)^2 (\epsilon_1^2 / s_K(W_L)^2
        + \epsilon_2 \|Z_{L-2}\|_F^2)}{(\sqrt{N (K-1) / K} - \epsilon_1)^2}.

    Parameters
    ----------
    W : Tensor
        The last layer, ``(..., K, d)``, K <= d.
    W_below : Tensor
        The one before, ``(..., d, e)``.
    Z_below : Tensor
        What enters that, samples as columns, ``(..., e, N)``.
    fit : Tensor
        epsilon_1, ``(...)``.
    imbalance : Tensor, optional
        Of ``(...)``, in place of epsilon_2: what it were if that had another value.

    Returns
    -------
    Tensor
        ``(...)``; infinite where epsilon_1 is so large that nothing follows.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    K, d, N = *W.shape[-2:], Z_below.shape[-1]
    if d < K or W_below.shape[-2] != d or Z_below.shape[-2] != W_below.shape[-1]:
        raise ValueError(
            f"W, W_below and Z_below have shapes {tuple(W.shape)}, {tuple(W_below.shape)} and "
            f"{tuple(Z_below.shape)}: expected (..., K, d) with K <= d, (..., d, e), (..., e, N)."
        )
    if imbalance is None:
        imbalance = torch.linalg.matrix_norm(W.mT @ W - W_below @ W_below.mT, 2)
    s = torch.linalg.svdvals(W)
    off = (fit / s[..., -1]).square() + imbalance * Z_below.square().sum((-2, -1))
    room = (N * (K - 1) / K) ** 0.5 - fit
    return torch.where(room > 0, (s[..., 0] / room).square() * off, torch.inf)
