"""A job's result in a file: labelled runs, to the bit."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ncbook.runs import label

FILE = "result.npz"


def dataset(value: Any) -> xr.Dataset:
    """Return what a job returned as labelled runs: a Dataset as it is, a dict of numbers as one.

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(value, xr.Dataset):
        return value
    if isinstance(value, Mapping):
        return label(value)
    raise TypeError(
        f"it returned {type(value).__name__}; expected an xarray Dataset or a dict of numbers"
    )


def write(path: Path, data: xr.Dataset) -> None:
    """Write labelled runs into a file.

    Raises
    ------
    TypeError
        A variable is made of objects, or an attribute is nothing that JSON can hold.
    """
    arrays, table = {}, []
    for number, (name, variable) in enumerate(data.variables.items()):
        values = variable.values
        if values.dtype.kind in "OT" and all(isinstance(one, str) for one in values.flat):
            values = values.astype(str)
        if values.dtype == object:
            raise TypeError(f"its variable {name!r} holds objects; expected numbers or texts")
        arrays[f"a{number}"] = values
        table.append([name, variable.dims, dict(variable.attrs), name in data.coords])
    arrays["header"] = np.array(json.dumps({"variables": table, "attrs": dict(data.attrs)}))
    np.savez(path, **arrays)


def read(path: Path) -> xr.Dataset:
    """Read what :func:`write` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        header = json.loads(str(arrays["header"]))
        variables, coordinates = {}, {}
        for number, (name, dims, attrs, is_label) in enumerate(header["variables"]):
            (coordinates if is_label else variables)[name] = (dims, arrays[f"a{number}"], attrs)
    return xr.Dataset(variables, coordinates, header["attrs"])
