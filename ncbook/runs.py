"""Labelled runs: numbers of a batch of runs with named dimensions, as xarray has them.

A driver's batch has as many leading dimensions as its start. Named, they are looked up, reduced and
tabulated by their names: ``runs.median("seed")``, ``runs.sel(eps=1e-3)``, ``runs.to_dataframe()``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

# Labels that do not agree are an error: xarray would drop what only one side has, without a word.
xr.set_options(arithmetic_join="exact")


def plain(values: Any) -> np.ndarray:
    """Return a tensor, wherever it lives, or any array as numpy has it; reals in float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def label(values: Mapping[str, Any], **axes: Sequence) -> xr.Dataset:
    """Return numbers over a grid of runs with named dimensions.

    Parameters
    ----------
    values : mapping
        Name of a variable to a tensor whose dimensions are the axes, in order.
    **axes : sequence
        For each dimension its name and its labels.

    Raises
    ------
    ValueError
        A tensor's shape is not that of the axes.

    Examples
    --------
    >>> runs = label({"error": [[1.0, 1.2], [0.01, 0.012]]}, eps=[1e-1, 1e-3], seed=range(2))
    >>> round(runs["error"].median("seed").sel(eps=1e-3).item(), 4)
    0.011
    >>> round(slope(runs, "eps")["error"].mean().item(), 4)  # proportional to eps
    1.0
    """
    labels = {name: plain(list(one) if isinstance(one, range) else one)
              for name, one in axes.items()}  # fmt: skip
    shape = tuple(len(one) for one in labels.values())
    data = {}
    for name, value in values.items():
        data[name] = (tuple(labels), plain(value))
        if data[name][1].shape != shape:
            raise ValueError(
                f"{name} has shape {data[name][1].shape}; the axes {', '.join(axes)} make {shape}. "
                "Give one axis for each dimension, in order, with one label an entry."
            )
    return xr.Dataset(data, coords=labels)


def slope(runs: xr.Dataset, along: str) -> xr.Dataset:
    """Return the slope of each variable's logarithm against that of a label, by least squares.

    Raises
    ------
    ValueError
        The label is no dimension, or has less than two values.
    """
    if along not in runs.dims or runs.sizes[along] < 2:
        raise ValueError(
            f"A slope along {along!r} needs at least two of its values; the runs have "
            f"{dict(runs.sizes)}."
        )
    x = np.log(runs[along])
    x = x - x.mean()
    return (np.log(runs) * x).sum(along, skipna=False) / (x**2).sum()


class Sweep:
    """Runs over a grid that are no batch: other sizes, other data, other methods. ::

        sweep = Sweep(classes=[2, 3, 4], rate=[0.1, 0.2])
        for at in sweep:
            sweep.add({"angle": train(**at)}, seed=range(10))
        runs = sweep.dataset()

    Parameters
    ----------
    **axes : sequence
        For each dimension its name and its labels; the last runs fastest.
    """

    def __init__(self, **axes: Sequence) -> None:
        self.axes = {name: list(labels) for name, labels in axes.items()}
        self.parts: list[xr.Dataset] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for count, values in enumerate(product(*self.axes.values()), 1):
            yield dict(zip(self.axes, values, strict=True))
            if len(self.parts) != count:
                raise ValueError(
                    f"{len(self.parts)} results were added for {count} points of the sweep; add "
                    "one for each."
                )

    def add(self, values: Mapping[str, Any] | xr.Dataset, **axes: Sequence) -> None:
        """Enter what came of the point at which the sweep is.

        As :func:`label` takes it; or labelled runs, as they are.
        """
        self.parts.append(values if isinstance(values, xr.Dataset) else label(values, **axes))

    def dataset(self) -> xr.Dataset:
        """Return all results as one data set.

        Raises
        ------
        ValueError
            Not all points have one.
        """
        if len(self.parts) != math.prod(map(len, self.axes.values())):
            raise ValueError("The sweep has not come to its end.")
        found = self.parts
        for name, labels in reversed(self.axes.items()):
            step, dim = len(labels), pd.Index(labels, name=name)
            found = [
                xr.concat(found[i : i + step], dim, join="exact")
                for i in range(0, len(found), step)
            ]
        return found[0]
