"""Paths between states along which a risk stays low: the string method, over a batch of pairs.

E, Ren and Vanden-Eijnden, Simplified and improved string method for computing the minimum energy
paths in barrier-crossing events, J. Chem. Phys. 126, 2007: every point of a path follows the
gradient, then the points are spread anew along the path, with equal distances. The highest point
of a path is an upper bound of the level at which its ends are joined, and no more: it moves with
the steps that are spent.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ncbook.runtime import halved, whole


class Problem(Protocol):
    """A risk and minus its gradient, as the models of the book have them."""

    def risk(self, z: Tensor) -> Tensor:
        """Return the risk of each state, ``(R, P)`` to ``(R,)``."""

    def field(self, z: Tensor) -> Tensor:
        """Return minus its gradient, ``(R, P)`` to ``(R, P)``."""


def straight(first: Tensor, last: Tensor, points: int) -> Tensor:
    """Return straight paths with evenly spaced points.

    Parameters
    ----------
    first, last : Tensor
        The ends, ``(R, P)``.
    points : int
        Points of a path, its ends included, at least 2.

    Returns
    -------
    Tensor
        ``(R, points, P)``.

    Raises
    ------
    ValueError
        The ends' shapes differ, or there are fewer than two points.
    """
    points = whole("points", points, 2)
    if first.shape != last.shape or first.ndim != 2:
        raise ValueError(
            f"The ends have shapes {tuple(first.shape)} and {tuple(last.shape)}: expected (R, P) "
            "twice, a row a pair."
        )
    share = torch.linspace(0, 1, points, dtype=first.dtype, device=first.device)[:, None]
    return first[:, None] * (1 - share) + last[:, None] * share


def string(
    field: Callable[[Tensor], Tensor],
    path: Tensor,
    step: float,
    steps: int,
    momentum: float = 0.0,
) -> Tensor:
    """Relax paths by the string method; their ends stay where they are.

    Parameters
    ----------
    field : callable
        Minus the gradient: ``(R', P)`` to ``(R', P)``, each row by itself.
    path : Tensor
        ``(R, points, P)``, not changed; see :func:`straight`.
    step : float
        Of the descent, positive.
    steps : int
        Steps; after each the points are spread anew.
    momentum : float
        In [0, 1): v <- momentum v + field(z), z <- z + step v, with v = 0 at first.

    Returns
    -------
    Tensor
        ``(R, points, P)``. A path that ceases to be finite does not touch the others.

    Raises
    ------
    ValueError
        A path has no interior, the step or the number of steps is not positive, or the momentum is
        out of its range.

    Examples
    --------
    (wh - 1)^2 / 2 has a minimum on each branch of wh = 1, and its saddle at the origin is 1/2 high.
    The straight path from (2, 1/2) to (-1/2, -2) passes at 1.22:

    >>> def risk(z):
    ...     return (z.prod(-1) - 1).square() / 2
    >>> def field(z):
    ...     return (1 - z.prod(-1, keepdim=True)) * z.flip(-1)
    >>> ends = torch.tensor([[2.0, 0.5]]), torch.tensor([[-0.5, -2.0]])
    >>> path = straight(*ends, points=21)
    >>> [round(float(peak(risk, one)), 2) for one in (path, string(field, path, 0.05, 400))]
    [1.22, 0.5]
    """
    steps = whole("steps", steps, 1)
    if path.ndim != 3 or path.shape[1] < 3:
        raise ValueError(
            f"path has shape {tuple(path.shape)}: expected (R, points, P) with at least one point "
            "between the ends."
        )
    if not 0 < step < math.inf or not 0 <= momentum < 1:
        raise ValueError(
            f"step = {step}, momentum = {momentum}: expected a positive step and 0 <= momentum < 1."
        )
    path = path.clone()
    inner = path[:, 1:-1]
    velocity = torch.zeros_like(inner)
    for _ in range(steps):
        velocity.mul_(momentum).add_(field(inner.flatten(0, 1)).view(inner.shape))
        inner.add_(velocity, alpha=step)
        inner.copy_(_spread(path))
    return path


def _spread(path: Tensor) -> Tensor:
    """Return the points between the ends that divide each path, a polygon, into equal lengths."""
    lengths = path.diff(dim=1).norm(dim=-1)
    # Their sums from the first on, for which a graphics processor has no order of its own.
    along = lengths @ lengths.new_ones(lengths.shape[1], path.shape[1]).triu(1)
    wanted = torch.linspace(0, 1, path.shape[1], dtype=path.dtype, device=path.device)[1:-1]
    wanted = along[:, -1:] * wanted
    before = (torch.searchsorted(along, wanted, right=True) - 1).clamp(0, path.shape[1] - 2)
    ends = along.gather(1, before), lengths.gather(1, before)
    share = torch.where(ends[1] > 0, (wanted - ends[0]) / ends[1], 0.0)
    rows = torch.arange(len(path), device=path.device)[:, None]
    return torch.lerp(path[rows, before], path[rows, before + 1], share[..., None])


def profile(risk: Callable[[Tensor], Tensor], path: Tensor, between: int = 4) -> Tensor:
    """Return the risk along each path, read at its points and at others evenly between them.

    Parameters
    ----------
    risk : callable
        States ``(R', P)`` to their risks, ``(R',)``.
    path : Tensor
        ``(R, points, P)``.
    between : int
        Pieces into which each stretch is divided, at least 1. In a run with all steps halved it
        is divided into twice as many.

    Returns
    -------
    Tensor
        ``(R, (points - 1) between + 1)``.
    """
    between = whole("between", between, 1) * (2 if halved() else 1)
    shares = torch.arange(between, dtype=path.dtype, device=path.device) / between
    read = torch.lerp(path[:, :-1, None], path[:, 1:, None], shares[:, None]).flatten(1, 2)
    read = torch.cat([read, path[:, -1:]], 1)
    return risk(read.flatten(0, 1)).view(read.shape[:2])


def peak(risk: Callable[[Tensor], Tensor], path: Tensor, between: int = 4) -> Tensor:
    """Return the highest risk along each path, ``(R,)``, as :func:`profile` reads it."""
    return profile(risk, path, between).max(-1).values


def heights(
    problem: Problem,
    first: Tensor,
    last: Tensor,
    *,
    points: int,
    step: float,
    budget: Sequence[int],
    momentum: float = 0.0,
    between: int = 4,
) -> Tensor:
    """Return the highest risk along paths after each of several numbers of steps.

    Parameters
    ----------
    problem : object
        Has ``risk`` and ``field``, minus its gradient, as :func:`peak` and :func:`string` take
        them.
    first, last, points
        Of the straight paths with which it begins.
    step, momentum, between
        As of :func:`string` and :func:`peak`.
    budget : sequence of int
        Numbers of steps, increasing from 0 on, at which to read; 0 is the straight path. At each
        the momentum begins anew.

    Returns
    -------
    Tensor
        ``(len(budget), R)``.

    Raises
    ------
    ValueError
        The numbers of steps do not increase from 0 on, or something else is not as described.
    """
    budget = [whole("budget", steps, 0) for steps in budget]
    if not budget or budget != sorted(set(budget)):
        raise ValueError(f"budget is {budget}: expected numbers of steps that increase from 0 on.")
    path, spent, found = straight(first, last, points), 0, []
    for steps in budget:
        if steps > spent:
            path, spent = string(problem.field, path, step, steps - spent, momentum), steps
        found.append(peak(problem.risk, path, between))
    return torch.stack(found)
