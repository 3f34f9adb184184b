"""Small tables of numbers as a page shows them: three digits, and the labels of their rows."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import display

from ncbook.typeset import typeset


def table(
    data: pd.DataFrame | pd.Series | xr.Dataset,
    names: Mapping[str, str] | None = None,
    digits: int = 3,
) -> None:
    """Show labelled numbers as a table.

    Parameters
    ----------
    data : Dataset, DataFrame or Series
        A row a label, or a combination of labels.
    names : mapping, optional
        The columns that are shown, in order, to their titles; without it all but the runs' status.
    digits : int
        Significant digits.

    Raises
    ------
    ValueError
        There is no such column.
    """
    frame = data.to_dataframe() if isinstance(data, xr.Dataset) else pd.DataFrame(data)
    if names is None:
        frame = frame.drop(columns="status", errors="ignore")
    if names is not None:
        if missing := [name for name in names if name not in frame.columns]:
            raise ValueError(
                f"The table has no column {missing[0]!r}; it has {', '.join(map(str, frame))}."
            )
        frame = frame[list(names)].rename(columns=dict(names))

    def written(value) -> str:
        if isinstance(value, float | np.floating):
            return typeset(_digits(value, digits)) if np.isfinite(value) else "none"
        return str(value)

    frame = frame.map(written)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
        for name in data.indexes if isinstance(data, xr.Dataset) else data.index.names:
            if name in frame:
                frame[name] = frame[name].map(_label)
    page = frame.to_html(index=False, border=0, justify="right")
    display({"text/html": page, "text/plain": frame.to_string(index=False)}, raw=True)


def _digits(value: float, digits: int) -> str:
    """Return a number with so many significant digits; a whole one that is not longer as it is."""
    value = value + 0.0  # minus zero is zero
    if value == round(value) and abs(value) < 10**digits:
        return f"{value:.0f}"
    number, e, power = f"{value:#.{digits}g}".partition("e")
    return number.rstrip(".") + e + power


def _label(one) -> str:
    return typeset(f"{one:g}") if isinstance(one, float | np.floating) else str(one)
