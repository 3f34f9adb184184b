"""Rates: the slope of a logarithm, and how sure a success rate is."""

import torch
from torch import Tensor

from ncbook.metrics import _checks

Z = 1.959963984540054  # the normal distribution's quantile for 95 per cent


def slope(x: Tensor, y: Tensor) -> Tensor:
    """Return the least-squares slope of y over x along the last dimension.

    Parameters
    ----------
    x, y : Tensor
        Shapes ``(..., A)`` that broadcast, A >= 2. Give logarithms of both for an exponent, of y
        alone for an exponential rate.

    Returns
    -------
    Tensor
        Shape ``(...)``. NaN where y has a NaN.

    Raises
    ------
    ValueError
        Fewer than two points, or x or y is no tensor of floating-point numbers.
    """
    for name, values in (("x", x), ("y", y)):
        _checks.floating(name, values, "(..., A)")
    if x.shape[-1] < 2:
        raise ValueError(f"A slope needs at least 2 points; got {x.shape[-1]}.")
    dx = x - x.mean(-1, keepdim=True)
    dy = y - y.mean(-1, keepdim=True)
    return (dx * dy).sum(-1) / dx.square().sum(-1)


def shares(successes: Tensor, trials: int | Tensor) -> dict[str, Tensor]:
    """Return success rates with the ends of Wilson's interval at 95 per cent, to be labelled.

    They are on the CPU in float64, whatever the counts are.

    Parameters
    ----------
    successes : Tensor
        Counts, any shape ``(...)``.
    trials : int or Tensor
        Number of trials behind each count: one for all, or a whole number for each.

    Returns
    -------
    dict of Tensor
        ``share``, ``low`` and ``high``, each of shape ``(...)``; NaN where there was no trial.

    Raises
    ------
    ValueError
        As :func:`wilson_interval`, for one number of trials.
    """
    successes = successes.cpu().double()
    if isinstance(trials, int):
        ends = wilson_interval(successes, trials)
    else:
        trials = trials.cpu().double()
        ends = _interval(successes, trials)
    return {"share": successes / trials, "low": ends[..., 0], "high": ends[..., 1]}


def wilson_interval(successes: Tensor, trials: int, z: float = Z) -> Tensor:
    """Return Wilson's confidence interval of a success rate, at 95 per cent by default.

    The rates p for which the measured one lies within z standard deviations of p; never empty and
    never outside [0, 1], also where all trials succeed (Wilson 1927).

    Parameters
    ----------
    successes : Tensor
        Counts, any shape ``(...)``.
    trials : int
        Number of trials behind each count.
    z : float
        Quantile of the normal distribution.

    Returns
    -------
    Tensor
        Shape ``(..., 2)``: lower and upper end.

    Raises
    ------
    ValueError
        A count is negative or larger than the number of trials, or that is no positive integer.
    """
    _checks.is_tensor("successes", successes, "(...)")
    trials = _checks.count("trials", trials, 1)
    if bool(((successes < 0) | (successes > trials)).any()):
        raise ValueError(
            f"Counts from {float(successes.min()):g} to {float(successes.max()):g} in {trials} "
            "trials: expected counts from 0 to the number of trials, which is at least 1."
        )
    return _interval(successes, trials, z)


def _interval(successes: Tensor, trials: int | Tensor, z: float = Z) -> Tensor:
    rate, share = successes / trials, z * z / trials
    middle = rate + share / 2
    half = (share * (rate * (1 - rate) + share / 4)).clamp_min(0).sqrt()
    ends = torch.stack([(middle - half) / (1 + share), (middle + half) / (1 + share)], -1)
    return ends.clamp(0, 1)
