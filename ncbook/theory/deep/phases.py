"""Which of the shapes that we know is cheapest, for each number of classes and of layers."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from ncbook.runtime import whole
from ncbook.theory.deep import fan, graph, shapes
from ncbook.theory.deep.shapes import Shape


@cache
def known(K: int) -> tuple[Shape, ...]:
    """Return collapse, and for K >= 3 the cheapest graphs and the fan."""
    K = whole("K", K, 2)
    collapse = shapes.collapse(K)
    return (collapse, *graph.cheapest(K), fan.fan(K)) if K > 2 else (collapse,)


def cheapest(K: int, layers: int) -> Shape:
    """Return the cheapest of them; collapse where none costs less."""
    return min(known(K), key=lambda one: float(shapes.kappa(one, layers)))


def phases(classes: Iterable[int], layers: Iterable[int]) -> list[dict[str, Any]]:
    """Return a row for each pair, by classes: ``classes``, ``layers``, ``rank``, ``kappa``.

    The rank is that of the cheapest shape's points, all classes for collapse; kappa is its cost
    over that of collapse.
    """
    layers, rows = list(layers), []
    for K in classes:
        for L in layers:
            one = cheapest(K, L)
            kappa = float(shapes.kappa(one, L))
            rows.append({"classes": K, "layers": L, "rank": one.dimensions, "kappa": kappa})
    return rows
