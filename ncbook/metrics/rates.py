"""Rates: the slope of a logarithm."""

from torch import Tensor


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
        Fewer than two points.
    """
    if x.shape[-1] < 2:
        raise ValueError(f"A slope needs at least 2 points; got {x.shape[-1]}.")
    dx = x - x.mean(-1, keepdim=True)
    dy = y - y.mean(-1, keepdim=True)
    return (dx * dy).sum(-1) / dx.square().sum(-1)
