"""Declared figures: a table, its panels, and layers over them. Most pictures of the book are these.

    Panels(end, {"frame": "frame error", "bias": "bias error"}, x="eps", xscale="log", yscale="log")
        .points(label="a seed").slope({"frame": 2, "bias": 1})

Each panel shows a variable, or the rows with one value of a column (``by``). Each layer draws in
every panel, in the order in which they are named. A figure is drawn once for each layout.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ncbook.figures.style import (
    COLOURS,
    INK,
    LINES,
    MARKERS,
    new_figure,
    say_nothing_is_finite,
    shared_legend,
)

DASHES = ["", *(dashes for _, dashes in LINES[1:])]  # as seaborn has them
PIECE = "a line without a gap"
ALL = None  # the key of a reference that stands in every panel


def tidy(data: pd.DataFrame | xr.Dataset) -> pd.DataFrame:
    """Return labelled numbers as one table: a row a combination of labels.

    Raises
    ------
    TypeError
        It is neither a table nor a data set.
    """
    if isinstance(data, xr.Dataset):
        return data.to_dataframe().reset_index()
    if isinstance(data, pd.DataFrame):
        return data
    raise TypeError(
        f"The numbers of a figure are a {type(data).__name__}; give an xarray Dataset with named "
        "dimensions (ncbook.runs makes one) or a pandas DataFrame."
    )


def power_of_ten(value: Any) -> str:
    """Write a label: powers of ten as such, other numbers with six digits, the rest as it is."""
    if isinstance(value, str | bool | np.bool_) or not np.isscalar(value):
        return str(value)
    exponent = np.log10(value) if value > 0 else np.nan
    if value != 1 and np.isclose(exponent, np.round(exponent), atol=1e-9):
        return rf"$10^{{{exponent:.0f}}}$" if abs(exponent) > 1.5 else f"{value:g}"
    return f"{value:g}"


class Panels:
    """A figure of panels over one table.

    Parameters
    ----------
    data : Dataset or DataFrame
        Labelled numbers.
    panels : mapping
        Variable, or value of the column ``by``, to the title of its panel.
    x : str
        The label or variable along the horizontal axis.
    y : str, optional
        The variable of all panels, where they are the values of ``by``.
    by : str, optional
        The label whose values are the panels.
    hue : str, optional
        The label that colour, line style and marker tell apart, in order of appearance.
    names : mapping or function, optional
        A value of ``hue`` to its name in the legend.
    legend : str, optional
        The legend's title.
    columns, ratio
        As of :func:`ncbook.figures.style.new_figure`.
    share : str
        Axes that the panels share: ``"x"``, ``"y"``, ``"xy"`` or none.
    **axes
        Passed to ``Axes.set`` of each panel: ``xlabel``, ``yscale``, ``ylim`` ...; a mapping gives
        each panel its own.

    Raises
    ------
    ValueError
        A panel, or what the axes show, is not in the data; or two groups have one name.
    """

    def __init__(
        self,
        data: pd.DataFrame | xr.Dataset,
        panels: Mapping[Any, str],
        *,
        x: str,
        y: str | None = None,
        by: str | None = None,
        hue: str | None = None,
        names: Mapping[Any, str] | Callable[[Any], str] = power_of_ten,
        legend: str | None = None,
        columns: int = 3,
        ratio: float | tuple[float, float] | None = None,
        share: str = "",
        **axes: Any,
    ) -> None:
        if (y is None) != (by is None):
            raise ValueError("Panels by the values of a label need both: by and y.")
        self.panels, self.x, self.y, self.by, self.hue = dict(panels), x, y, by, hue
        self.names = names if callable(names) else names.get
        self.legend, self.columns, self.ratio, self.share = legend, columns, ratio, share
        self.axes = axes
        self.layers: list[Callable[[Axes, Any], None]] = []
        self.table = self._table(data)
        if by and (missing := [one for one in panels if one not in set(self.table[by])]):
            raise ValueError(f"No row has {by} = {missing[0]!r}, which is to be a panel.")
        self.hues = [] if hue is None else list(dict.fromkeys(self.table[hue]))
        called = [self.names(value) for value in self.hues]
        if None in called or len({*called}) < len(called):
            raise ValueError(
                f"The groups {self.hues} of {hue} are called {called}; give each a name of its own."
            )

    def _table(self, data) -> pd.DataFrame:
        """Return the columns that can be drawn; a row without a number in ``x`` has no place."""
        table = tidy(data)
        wanted = [self.x, *(one for one in (self.y, self.by, self.hue) if one)]
        wanted += [] if self.by else list(self.panels)
        if missing := [str(name) for name in wanted if name not in table.columns]:
            raise ValueError(
                f"The figure asks for {', '.join(missing)}; the table has "
                f"{', '.join(map(str, table.columns))}."
            )
        return table

    def _rows(self, panel: Any, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """Return the rows of a panel, its groups by their names, and which variable it shows."""
        rows = table if self.by is None else table[table[self.by] == panel]
        rows = rows.replace([np.inf, -np.inf], np.nan)
        if self.hue is not None:
            # Once a value, not a row; of a kind, for 1 and True may be called otherwise.
            called = lru_cache(maxsize=None, typed=True)(self.names)
            rows = rows.assign(**{self.hue: rows[self.hue].map(called)})
        return rows, panel if self.y is None else self.y

    def _looks(self, label: str | None, marks: bool = False, lines: bool = True) -> dict:
        """Return what seaborn is told of colours, dashes, markers and the legend."""
        if self.hue is None:
            plain = {"color": COLOURS[0], "label": label, "legend": False}
            return plain | ({"marker": "o"} if marks and lines else {})
        order = [self.names(value) for value in self.hues]
        count = range(len(order))
        looks = {
            "legend": "full",
            "hue": self.hue,
            "style": self.hue,
            "hue_order": order,
            "style_order": order,
            "palette": [COLOURS[i % len(COLOURS)] for i in count],
            "markers": [MARKERS[i % len(MARKERS)] for i in count] if marks else False,
        }
        return looks | ({"dashes": [DASHES[i % len(DASHES)] for i in count]} if lines else {})

    def _add(self, layer: Callable[[Axes, Any], None]) -> "Panels":
        self.layers.append(layer)
        return self

    # ---------------------------------------------------------------- layers of the data

    def median(
        self,
        band: tuple[float, float] | None = (0.1, 0.9),
        *,
        marks: bool = False,
        label: str | None = None,
        data: pd.DataFrame | xr.Dataset | None = None,
    ) -> "Panels":
        """Draw the median of the rows that share ``x``, and a band between two of their quantiles.

        ``(0, 1)`` is their whole range, None draws no band; ``data`` is another table.
        """
        table = self.table if data is None else self._table(data)

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, table)
            if rows[y].isna().all():
                return
            keys = [self.x] if self.hue is None else [self.hue, self.x]
            grouped = rows.groupby(keys, sort=False)[y]
            middle = _in_pieces(grouped.median().reset_index(), y, keys[:-1])
            sns.lineplot(middle, x=self.x, y=y, units=PIECE, estimator=None, ax=ax,
                         **self._looks(label, marks))  # fmt: skip
            for k, one in enumerate([None] if self.hue is None else map(self.names, self.hues)):
                if band is None:
                    continue
                part = rows if one is None else rows[rows[self.hue] == one]
                low, high = (part.groupby(self.x)[y].quantile(q) for q in band)
                ax.fill_between(low.index.to_numpy(), low.to_numpy(), high.to_numpy(),
                                color=COLOURS[k % len(COLOURS)], alpha=0.22, lw=0)  # fmt: skip

        return self._add(layer)

    def lines(
        self,
        of: str | None = None,
        *,
        label: str | None = None,
        data: pd.DataFrame | xr.Dataset | None = None,
        **look: Any,
    ) -> "Panels":
        """Draw a line for each value of the label ``of``, or one for each group."""
        table = self.table if data is None else self._table(data)

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, table)
            if rows[y].isna().all():
                return
            rows = _in_pieces(rows, y, [one for one in (self.hue, of) if one])
            sns.lineplot(rows, x=self.x, y=y, units=PIECE, estimator=None, sort=False, ax=ax,
                         **self._looks(label) | look)  # fmt: skip

        return self._add(layer)

    def points(
        self,
        *,
        label: str | None = None,
        data: pd.DataFrame | xr.Dataset | None = None,
        size: float = 14,
        alpha: float = 0.5,
        **look: Any,
    ) -> "Panels":
        """Draw a mark for each row."""
        table = self.table if data is None else self._table(data)

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, table)
            rows = rows.dropna(subset=[self.x, y])
            if not rows.empty:  # of another panel alone
                sns.scatterplot(rows, x=self.x, y=y, s=size, alpha=alpha, linewidth=0, ax=ax,
                                **self._looks(label, True, lines=False) | look)  # fmt: skip

        return self._add(layer)

    def intervals(self, low: str, high: str, *, lines: bool = False) -> "Panels":
        """Draw a mark for each row, with a bar between two other variables of the table.

        Groups stand side by side where they share ``x``, on a logarithmic axis, too; ``lines``
        joins the marks of a group.
        """
        if missing := [name for name in (low, high) if name not in self.table]:
            raise ValueError(f"The figure asks for {missing[0]}, which the table does not have.")

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, self.table)
            groups = [None] if self.hue is None else [self.names(value) for value in self.hues]
            aside = (rows[self.x].max() / rows[self.x].min()) if ax.get_xscale() == "log" else None
            for k, group in enumerate(groups):
                part = rows if group is None else rows[rows[self.hue] == group]
                at, step = part[self.x].to_numpy(dtype=float), k - (len(groups) - 1) / 2
                if aside is not None:
                    at = at * aside ** (0.012 * step)
                else:
                    at = at + 0.012 * step * np.ptp(rows[self.x].to_numpy(dtype=float))
                reach = np.clip([part[y] - part[low], part[high] - part[y]], 0, None)
                ax.errorbar(at, part[y], reach, color=COLOURS[k % len(COLOURS)], lw=1.2,
                            marker=MARKERS[k % len(MARKERS)], elinewidth=1, label=group,
                            linestyle=LINES[k % len(LINES)] if lines else "none")  # fmt: skip

        return self._add(layer)

    def predicted(
        self, data: pd.DataFrame | xr.Dataset, label: str = "predicted", *, marks: bool = False
    ) -> "Panels":
        """Draw in ink what is expected: the median along ``x``, as dots, or as crosses."""
        table = self._table(data)

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, table)
            groups = [rows] if self.hue is None else [g for _, g in rows.groupby(self.hue)]
            for rows in groups:
                middle = rows.groupby(self.x)[y].median()
                style = (
                    {"marker": "x", "linestyle": "none"} if marks else {"linestyle": (0, (1, 2))}
                )
                ax.plot(middle.index, middle, color=INK, lw=1.1, label=label, zorder=3, **style)

        return self._add(layer)

    # ---------------------------------------------------------------- references

    def slope(self, power: float | Mapping[Any, float], label: str = "slope {:g}") -> "Panels":
        """Draw on logarithmic axes the line of a slope, through the median at the least ``x``."""

        def layer(ax: Axes, panel: Any) -> None:
            value = _of(power, panel)
            if value is None:
                return
            rows, y = self._rows(panel, self.table)
            ends = np.array([rows[self.x].min(), rows[self.x].max()])
            first = rows[rows[self.x] == ends[0]][y].median()
            ax.plot(ends, first * (ends / ends[0]) ** value, color=INK, linestyle=":", lw=1.1)
            # On the line, above its middle.
            at = np.sqrt(ends[0] * ends[1])
            ax.annotate(label.format(value), (at, first * (at / ends[0]) ** value), (-6, 8),
                        textcoords="offset points", ha="right", color=INK, fontsize=8)  # fmt: skip

        return self._add(layer)

    def level(self, value: float | Mapping[Any, float], label: str | None = None) -> "Panels":
        """Draw a horizontal line, in ink."""
        return self._reference("axhline", value, label)

    def at(self, value: float | Mapping[Any, float], label: str | None = None) -> "Panels":
        """Draw a vertical line, in ink."""
        return self._reference("axvline", value, label)

    def shade(self, low: float, high: float, label: str | None = None) -> "Panels":
        """Shade what lies between two values of ``x``."""

        def layer(ax: Axes, panel: Any) -> None:
            ax.axvspan(low, high, color=INK, alpha=0.12, linewidth=0, label=label)

        return self._add(layer)

    def diagonal(self, label: str | None = None) -> "Panels":
        """Draw where both axes have the same value."""

        def layer(ax: Axes, panel: Any) -> None:
            rows, y = self._rows(panel, self.table)
            both = rows[[self.x, y]].to_numpy(dtype=float)
            ends = [np.nanmin(both), np.nanmax(both)]
            ax.plot(ends, ends, color=INK, linestyle=":", lw=1.1, label=label)

        return self._add(layer)

    def note(self, texts: Mapping[Any, Sequence[tuple[float, float, str]]]) -> "Panels":
        """Write words into panels: (x, y, text) in the axes' own units."""

        def layer(ax: Axes, panel: Any) -> None:
            for x, y, text in texts.get(panel, ()):
                ax.annotate(text, (x, y), color=INK, fontsize=8)

        return self._add(layer)

    def _reference(self, kind: str, value, label: str | None) -> "Panels":
        def layer(ax: Axes, panel: Any) -> None:
            at = _of(value, panel)
            if at is not None:
                getattr(ax, kind)(at, color=INK, linestyle=":", lw=1.1, label=label)

        return self._add(layer)

    # ---------------------------------------------------------------- the figure

    def draw(self, layout: str) -> Figure:
        """Draw for one layout."""
        sharing = {f"share{axis}": axis in self.share for axis in "xy"}
        fig, places = new_figure(
            layout, len(self.panels), columns=self.columns, ratio=self.ratio, **sharing
        )
        for ax, (panel, title) in zip(places, self.panels.items(), strict=True):
            own = {name: _of(value, panel) for name, value in self.axes.items()}
            # The scale comes first, so that what is drawn finds it.
            ax.set(**{name: one for name, one in own.items() if name.endswith("scale") and one})
            for layer in self.layers:
                layer(ax, panel)
            rows, y = self._rows(panel, self.table)
            if not rows[[self.x, y]].notna().all(axis=1).any():  # seaborn draws no line at all
                say_nothing_is_finite(ax)
            if ax.get_legend():
                ax.get_legend().remove()
            ax.set(xlabel=self.x, ylabel="")
            plain_ticks(ax)  # before ticks that the figure asks for
            rest = {name: one for name, one in own.items() if not name.endswith("scale")}
            ax.set(**{name: one for name, one in rest.items() if one is not None})
            for axis in (ax.xaxis, ax.yaxis):
                # Ticks of a logarithmic axis that are chosen are the only ones with a number.
                if own.get(f"{axis.axis_name}ticks") is not None:
                    axis.set_minor_formatter(NullFormatter())
            ax.set_title(title)
        if any(ax.get_legend_handles_labels()[1] for ax in places):
            shared_legend(fig, layout, title=self.legend)
        return fig


def _in_pieces(rows: pd.DataFrame, y: str, by: list[str]) -> pd.DataFrame:
    """Return rows with the stretch that each is of: a line ends where it has a gap."""
    gaps, keys = rows[y].isna(), [rows[one].astype(str) for one in by]
    piece = (gaps.groupby(keys, sort=False).cumsum() if by else gaps.cumsum()).astype(str)
    for key in keys:
        piece = key + ", " + piece
    return rows.assign(**{PIECE: piece})


def plain_ticks(ax: Axes) -> None:
    """Mark 1, 2 and 5 of each power of ten by plain numbers on short logarithmic axes.

    Short is a decade and a half, of numbers that need no power of ten: there matplotlib writes
    2 x 10^-1 at most of the minor ticks, and they overlap.
    """
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        low, high = min(low, high), max(low, high)
        if axis.get_scale() == "log" and low >= 1e-3 and high <= 1e4 and high < 32 * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())


def _of(value: Any, panel: Any) -> Any:
    """Return what a panel has of a setting that may be the same for all."""
    return value.get(panel) if isinstance(value, Mapping) else value
