"""The barcode of a landscape from its minima and the levels that join them: the elder rule."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def elder_rule(minima: Tensor, pairs: Tensor | Sequence[Sequence[int]], levels: Tensor) -> Tensor:
    """Return the level at which each minimum's component of the sublevel set joins an older one.

    A component is born at its lowest minimum and is called by it. Where two meet, the one that is
    called by the higher minimum ends (of equal ones that with the higher number), and its bar is
    [minimum, level). The barcode of connected components of a graph whose nodes and edges appear
    at their levels: pairs in the order of their levels, as Kruskal's algorithm takes them.

    Source: Edelsbrunner, Letscher and Zomorodian, Topological persistence and simplification,
    Discrete Comput. Geom. 28, 2002; on minima of a loss Barannikov et al. (2020).

    Parameters
    ----------
    minima : Tensor
        Loss at each minimum, ``(M,)``.
    pairs : Tensor or sequence
        Pairs of numbers of minima, ``(E, 2)``.
    levels : Tensor
        The level at which a pair is joined, ``(..., E)``; where it is less than that of an end, the
        higher end counts.

    Returns
    -------
    Tensor
        ``(..., M)``; infinite for minima that join no older one, of which the lowest is one.

    Raises
    ------
    ValueError
        Shapes do not fit, a pair names no minimum, or a number is not finite.

    Examples
    --------
    Three minima, of which the second is lowest; the first and the third are joined at 5 directly,
    but at 4 by way of the second:

    >>> minima = torch.tensor([1.0, 0.0, 2.0])
    >>> elder_rule(minima, [(0, 1), (1, 2), (0, 2)], torch.tensor([4.0, 3.0, 5.0]))
    tensor([4., inf, 3.])
    """
    pairs = torch.as_tensor(pairs, dtype=torch.int64)
    if minima.ndim != 1 or levels.ndim < 1 or pairs.shape != (levels.shape[-1], 2):
        raise ValueError(
            f"minima, pairs and levels have shapes {tuple(minima.shape)}, {tuple(pairs.shape)} and "
            f"{tuple(levels.shape)}: expected (M,), (E, 2) and (..., E)."
        )
    edges, heights = pairs.tolist(), minima.tolist()
    if any(not 0 <= end < len(heights) for pair in edges for end in pair):
        raise ValueError(f"A pair names a minimum that is none of 0..{len(heights) - 1}.")
    if not (minima.isfinite().all() and levels.isfinite().all()):
        raise ValueError("A minimum or a level is not finite: leave out what was not measured.")
    ends = minima[pairs.to(minima.device)].max(-1).values
    rows = torch.maximum(levels, ends).reshape(math.prod(levels.shape[:-1]), len(edges)).tolist()
    dies = [_deaths(heights, edges, row) for row in rows]
    return minima.new_tensor(dies).view(*levels.shape[:-1], len(heights))


def _deaths(heights: list[float], edges: list[list[int]], joined: list[float]) -> list[float]:
    eldest, dies = list(range(len(heights))), [torch.inf] * len(heights)
    for level, (one, other) in sorted(zip(joined, edges, strict=True)):
        one, other = _root(eldest, one), _root(eldest, other)
        if one != other:
            older, younger = sorted((one, other), key=lambda node: (heights[node], node))
            eldest[younger], dies[younger] = older, level
    return dies


def _root(eldest: list[int], node: int) -> int:
    """Return by which minimum a node's component is called, and shorten the way there."""
    while eldest[node] != node:
        eldest[node] = eldest[eldest[node]]
        node = eldest[node]
    return node
