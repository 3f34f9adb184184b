"""Measure features that lie in a file: ``python -m ncbook measure features.npz``.

The file is what ``numpy.savez`` writes, with ``features`` (n, D), ``labels`` (n,), integers in
0..K-1 that leave out no class, and, if the classifier is to be measured, ``W`` (K, D) and
``b`` (K,). Measures are computed in float64.
"""

import json
import math
import zipfile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ncbook.files import BookError
from ncbook.metrics import class_statistics, measures, nc4_papyan
from ncbook.metrics.definitions import DEFINITIONS
from ncbook.metrics.directional import directional_collapse

NAMES = ("features", "labels", "W", "b")


class Measured(NamedTuple):
    """The measures of a file: name -> value, and what they are of."""

    file: str
    samples: int
    dimension: int
    classes: int
    ignored: list[str]  # names in the file that are none of NAMES
    measures: dict[str, float]


def measure(path: Path) -> Measured:
    """Return every measure of the features in a file.

    NC4 is that of the samples themselves.

    Raises
    ------
    BookError
        The file is no .npz archive, lacks an array, or holds one that cannot be measured.
    """
    arrays = _read(path)
    features = _real(arrays, "features", "n", "D")
    n, dim = features.shape
    labels = _labels(arrays["labels"], n)
    W, b = _classifier(arrays, dim)
    classes = int(labels.max()) + 1 if W is None else len(W)
    _check_classes(labels, classes, W is not None)
    statistics = class_statistics(features, labels, classes)
    found = measures(statistics, W) | directional_collapse(features, labels, classes)
    if W is not None:
        found["nc4.papyan"] = nc4_papyan(statistics, W, b, features)
    values = {name: float(found[name]) for name in DEFINITIONS if name in found}
    return Measured(path.name, n, dim, classes, sorted(arrays.keys() - set(NAMES)), values)


def show(measured: Measured) -> None:
    """Print the measures with their definitions and sources as a table."""
    ignored = f"; not used: {', '.join(measured.ignored)}" if measured.ignored else ""
    print(
        f"{measured.file}: {measured.samples} samples of {measured.classes} classes in "
        f"{measured.dimension} dimensions{ignored}"
    )
    made = Table("measure", "value", "definition and source", box=box.HORIZONTALS)
    made.columns[0].no_wrap = True
    for name, value in measured.measures.items():
        title, formula, source = DEFINITIONS[name]
        made.add_row(name, f"{value:.4g}", f"{title}\n{formula}\n{source}", end_section=True)
    Console(markup=False, highlight=False).print(made)


def as_json(measured: Measured) -> str:
    """Return the same as JSON; a value that is not finite is null."""
    rows = [
        {"name": name, "value": value if math.isfinite(value) else None}
        | DEFINITIONS[name]._asdict()
        for name, value in measured.measures.items()
    ]
    return json.dumps(measured._asdict() | {"measures": rows}, indent=1, ensure_ascii=False)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise BookError(f"There is no file {path}. Give one that numpy.savez wrote.")
    if not zipfile.is_zipfile(path):
        raise BookError(
            f"{path} is no .npz archive. Write one with numpy.savez({path.stem + '.npz'!r}, "
            "features=..., labels=...)."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BookError(
            f"{path} cannot be read ({error}). Write arrays of numbers with numpy.savez."
        ) from error
    for name in NAMES[:2]:
        if name not in arrays:
            raise BookError(
                f"{path} has no {name!r}, but {', '.join(map(repr, arrays)) or 'nothing'}. "
                "Name the arrays features (n, D), labels (n,) and, if there are, W (K, D), b (K,)."
            )
    return arrays


def _real(arrays: dict[str, np.ndarray], name: str, *shape: str) -> torch.Tensor:
    """Return an array of finite real numbers, of as many dimensions as the shape, in float64."""
    array = arrays[name]
    if array.dtype.kind not in "fiu" or array.ndim != len(shape) or array.size == 0:
        raise BookError(
            f"{name} is an array of {array.dtype} of shape {array.shape}, but real numbers of "
            f"shape ({', '.join(shape)}), at least one, are expected. Convert it before you write "
            "the file."
        )
    finite = np.isfinite(array)
    if not finite.all():
        raise BookError(
            f"{name} has {(~finite).sum()} entries that are not finite, the first in row "
            f"{np.argwhere(~finite)[0, 0]}. Find what made them, or leave those rows out."
        )
    return torch.from_numpy(array.astype(np.float64))


def _labels(labels: np.ndarray, samples: int) -> torch.Tensor:
    if labels.shape != (samples,):
        remedy = "Give one label for each row of features"
        if labels.ndim == 2 and len(labels) == samples:
            call = "ravel()" if labels.shape[1] == 1 else "argmax(1), if they are one-hot"
            remedy = f"Take labels.{call}"
        raise BookError(
            f"labels has shape {labels.shape}, but ({samples},) is expected, as features has "
            f"{samples} rows. {remedy}."
        )
    integers = labels.dtype.kind in "iu"
    if not integers or labels.min() < 0:
        raise BookError(
            f"labels is an array of {labels.dtype}{', some of them negative' if integers else ''}, "
            "but integers from 0 are expected. Number the classes: "
            "numpy.unique(labels, return_inverse=True)[1]."
        )
    return torch.from_numpy(labels.astype(np.int64))


def _classifier(
    arrays: dict[str, np.ndarray], dim: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if "W" not in arrays:
        if "b" in arrays:
            raise BookError("There is b but no W. Give the classifier's weight too, or neither.")
        return None, None
    W = _real(arrays, "W", "K", "D")
    if W.shape[1] != dim:
        raise BookError(
            f"W has shape {tuple(W.shape)}, but (K, {dim}) is expected: a row for each class, of "
            f"as many entries as features. Transpose it, or take the layer behind the features."
        )
    b = _real(arrays, "b", "K") if "b" in arrays else None
    if b is not None and len(b) != len(W):
        raise BookError(f"b has {len(b)} entries, but W has {len(W)} rows. Give one for each row.")
    return W, b


def _check_classes(labels: torch.Tensor, classes: int, rows: bool) -> None:
    present = set(labels.tolist())
    if max(present) >= classes:
        raise BookError(
            f"labels go up to {max(present)}, but W has rows for the classes 0..{classes - 1} "
            "alone. Give a row for each class, or labels that number the rows from 0."
        )
    if classes < 2:
        raise BookError("All labels are 0, but at least two classes are expected. Give all labels.")
    absent = [str(k) for k in islice((k for k in range(classes) if k not in present), 3)]
    if absent:
        also = ", and keep only their rows of W and b" if rows else ""
        raise BookError(
            f"labels has no sample of class {', '.join(absent)}, but each of the classes "
            f"0..{classes - 1} needs one to have a mean. Number those that are there: "
            f"numpy.unique(labels, return_inverse=True)[1]{also}."
        )
