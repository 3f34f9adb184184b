"""Whether a sample follows a law."""

import torch
from torch import Tensor

from ncbook.metrics import _checks


def ks_statistic(shares: Tensor) -> Tensor:
    r"""Return :math:`\sqrt n \sup |F_n - F|` of a sample, the statistic of Kolmogorov and Smirnov.

    For n independent draws from the law it exceeds 1.36 in 5 per cent of all samples, 1.63 in one
    per cent and 1.95 in one of a thousand, whatever the law and nearly whatever n; under another
    law it grows like :math:`\sqrt n`. (Kolmogorov 1933.)

    Parameters
    ----------
    shares : Tensor
        Shape ``(..., n)``: the law's distribution function F at each of the n draws.

    Returns
    -------
    Tensor
        Shape ``(...)``. NaN where a share is NaN.

    Raises
    ------
    ValueError
        ``shares`` is no tensor of floating-point numbers.
    """
    _checks.floating("shares", shares, "(..., n)")
    n = shares.shape[-1]
    ordered = shares.sort(-1).values
    steps = torch.arange(n + 1, dtype=shares.dtype, device=shares.device) / n
    above = (steps[1:] - ordered).amax(-1)
    below = (ordered - steps[:-1]).amax(-1)
    return n**0.5 * torch.maximum(above, below)
