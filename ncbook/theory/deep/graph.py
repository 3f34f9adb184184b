r"""Shapes that are graphs: classes are the edges of a graph on r vertices, loops among them.

A loop at v has the point e_v, an edge uv the point q (e_u + e_v). The unit of an edge is
e_u + e_v less t times its neighbours' axes, that of a loop e_v less its neighbours' axes; so with
t = 1 the unit of an edge is positive on its own class and on the loops at its ends, that of a loop
on its own alone. Three graphs matter:

- K loops and no edge: deep neural collapse;
- the complete graph, K = r (r - 1) / 2: the solution of Sukenik, Lampert, Mondelli (2024), whose
  line graph is strongly regular, at t = 1;
- one edge with a loop at either end, K = 3: the path, the least of the graphs with all loops.

Closed forms worked out for this book; see :mod:`ncbook.theory.deep.shapes` for what they mean.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
from scipy.optimize import minimize_scalar

from ncbook.runtime import whole
from ncbook.theory.deep.shapes import Shape, log_product

Edges = Sequence[tuple[int, int]]


def graph(
    r: int, loops: Sequence[int] = (), edges: Edges = (), q: float = 1.0, tilt: float = 1.0
) -> Shape:
    """Return the shape of a graph: first its loops, then its edges.

    Parameters
    ----------
    r : int
        Vertices 0, ..., r - 1.
    loops : sequence of int
    edges : sequence of pairs of int
    q : float
        Length of an edge's point against that of a loop's, positive.
    tilt : float
        t, from 0 to 1; below 1 an edge's unit answers to edges that touch it, too.

    Raises
    ------
    ValueError
        A vertex is none, there are less than two classes, or q or t is out of its range.
    """
    r = whole("r", r, 1)
    members = [(v,) for v in loops] + [tuple(edge) for edge in edges]
    if len(members) < 2 or not all(0 <= v < r for one in members for v in one):
        raise ValueError(
            f"loops {list(loops)} and edges {list(edges)} on r = {r} vertices: expected at least "
            "two, of vertices from 0 to r - 1."
        )
    if not (q > 0 and 0 <= tilt <= 1):
        raise ValueError(f"q = {q}, tilt = {tilt}: expected q > 0 and a tilt from 0 to 1.")
    own = torch.zeros(r, len(members), dtype=torch.float64)
    for k, one in enumerate(members):
        own[list(one), k] = 1
    joined = torch.zeros(r, r, dtype=torch.float64)
    for u, v in edges:
        joined[u, v] = joined[v, u] = 1
    around = ((joined @ own > 0) & (own == 0)).double()
    lengths, tilts = torch.ones(2, len(members), dtype=torch.float64)
    lengths[len(loops) :], tilts[len(loops) :] = q, tilt
    return Shape(lengths * own, (own - tilts * around).mT.contiguous())


def complete(r: int, tilt: float = 1.0) -> Shape:
    """Return the complete graph on r >= 3 vertices, K = r (r - 1) / 2 classes."""
    return graph(whole("r", r, 3), edges=pairs(r), tilt=tilt)


def with_loops(r: int, q: float = 1.0) -> Shape:
    """Return the complete graph on r >= 2 vertices with a loop at each, K = r (r + 1) / 2."""
    return graph(whole("r", r, 2), range(r), pairs(r), q)


def pairs(r: int) -> list[tuple[int, int]]:
    """Return all edges on r vertices."""
    return list(combinations(range(r), 2))


def complete_kappa(r: int, layers: int, tilt: float = 1.0) -> float:
    r"""Return kappa of the complete graph, in closed form.

    .. math:: \kappa^{L+1} = f \Bigl(\frac2{r-1}\Bigr)^{L-3} h, \quad
        f = \frac1r\Bigl(\sqrt{\tfrac2{r-1}} + \sqrt{r-2}\Bigr)^2, \quad
        h = \frac{2 + (r-2)t^2}r \cdot \frac4K \operatorname{tr}(2I + (1-t)T)^{-2}

    with the adjacency T of the line graph, whose eigenvalues are 2(r - 2), r - 4 and -2; h = 1 at
    t = 1.
    """
    r, L = whole("r", r, 3), whole("layers", layers, 3)
    K = r * (r - 1) // 2
    spectrum = ((2 * (r - 2), 1), (r - 4, r - 1), (-2, K - r))
    trace = sum(count / (2 + (1 - tilt) * value) ** 2 for value, count in spectrum)
    f = (math.sqrt(2 / (r - 1)) + math.sqrt(r - 2)) ** 2 / r
    h = (2 + (r - 2) * tilt**2) / r * 4 / K * trace
    return (f * (2 / (r - 1)) ** (L - 3) * h) ** (1 / (L + 1))


def best_tilt(r: int) -> float:
    """Return the tilt at which the complete graph is cheapest, for any number of layers."""
    return _least(lambda t: complete_kappa(r, 3, t), 0.5, 1.0)


def best_length(r: int, loops: Sequence[int], edges: Edges) -> float:
    """Return the q at which a graph with loops and edges is cheapest, for any number of layers."""
    return _least(lambda q: float(log_product(graph(r, loops, edges, q), 3)), 0.2, 4.0)


def cheapest(K: int) -> list[Shape]:
    """Return the cheapest graph that we know for K classes, for each number of vertices below K.

    Candidates are all loops with some edges, and all edges with some loops or with none.
    """
    found = []
    for r in range(2, K):
        every, tried = pairs(r), []
        if len(every) == K:
            tried.append(complete(r, best_tilt(r)))
        sets = [(range(r), every[: K - r])] if r < K <= r + len(every) else []
        if len(every) < K < r + len(every):
            sets.append((range(K - len(every)), every))
        for loops, edges in sets:
            tried.append(graph(r, loops, edges, best_length(r, loops, edges)))
        if tried:
            found.append(min(tried, key=lambda one: float(log_product(one, 3))))
    return found


def _least(f, low: float, high: float) -> float:
    return float(minimize_scalar(f, bounds=(low, high), options={"xatol": 1e-9}).x)
