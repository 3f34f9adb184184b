"""One look for every figure: readable in light and dark, wide and narrow, seen or read aloud.

A figure is a function ``draw(table, layout, **options)`` that makes a matplotlib ``Figure`` from
a tidy table. :func:`show` calls it twice, once for a wide and once for a narrow page, and puts the
numbers behind the figure under it and into a CSV file.
"""

import html
import io
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal
from matplotlib.text import Text

from ncbook import files

# Blue, vermilion, green, pink, ochre, violet, grey: after Okabe and Ito's set, with the bright
# ones darkened. Each has a contrast of at least 3 to 1 against white and against #121212.
GREY = "#808080"  # seen on light and on dark
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#8a63d2", GREY)
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)),
         (0, (3, 1, 1.2, 1, 1.2, 1)), (0, (2.5, 2.5)))  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "cividis"  # for images: ordered, and the same to colour-blind eyes
DIVERGING = "RdBu_r"  # for images of signed values; centre it on zero
# The same without a ground of its own: 0 is the page, light or dark, 1 is vermilion, -1 blue.
SIGNED = ListedColormap(
    [(*to_rgb(COLOURS[int(x > 0)]), abs(x)) for x in np.linspace(-1, 1, 255)], name="signed"
)

LAYOUTS = ("wide", "narrow")
WIDTHS = {"wide": 7.2, "narrow": 3.5}  # inches
NARROW_BELOW = 576  # CSS pixels: pages narrower than this show the narrow layout

# Text and axes are drawn in this colour, which no figure uses; it becomes currentColor, the colour
# of the text around the figure.
INK = "#010203"

_RC = {
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.formatter.use_mathtext": True,
    "axes.prop_cycle": mpl.cycler(color=COLOURS, linestyle=LINES),
    "boxplot.flierprops.markeredgecolor": INK,
    "boxplot.boxprops.color": INK,
    "boxplot.capprops.color": INK,
    "boxplot.whiskerprops.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.6,
    "hatch.color": INK,
    "patch.edgecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "mathtext.fontset": "dejavusans",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.title_fontsize": 8,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "image.cmap": SEQUENTIAL,
    "svg.fonttype": "none",
    "svg.hashsalt": "ncbook",
}


@contextmanager
def settings() -> Iterator[None]:
    """Draw with matplotlib's own defaults and the book's style, whatever a matplotlibrc says."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        # A panel of zeros shows as much; see _say_what_is_missing.
        warnings.filterwarnings("ignore", "Data has no positive values")
        yield


# ---------------------------------------------------------------- for those who draw


class _Panel(Axes):
    """Axes whose limits, where they are not finite or are the same, are left to the data."""

    def set_xlim(self, left=None, right=None, **options):
        """Set the limits of x as :meth:`Axes.set_xlim` does."""
        pair = _finite_pair(left, right)
        return super().set_xlim(pair, **options) if pair != (None, None) else self.get_xlim()

    def set_ylim(self, bottom=None, top=None, **options):
        """Set the limits of y as :meth:`Axes.set_ylim` does."""
        pair = _finite_pair(bottom, top)
        return super().set_ylim(pair, **options) if pair != (None, None) else self.get_ylim()


def _finite_pair(low, high) -> tuple:
    pair = low if high is None and np.iterable(low) else (low, high)
    pair = tuple(end if end is not None and np.isfinite(end) else None for end in pair)
    return pair if pair[0] != pair[1] else (None, None)


def new_figure(
    layout: str,
    panels: int = 1,
    *,
    columns: int = 3,
    ratio: float | tuple[float, float] | None = None,
    **subplots,
) -> tuple[Figure, np.ndarray]:
    """Make a figure with its panels in rows (wide) or stacked (narrow).

    Parameters
    ----------
    layout : "wide" or "narrow"
        7.2 inches with up to ``columns`` panels in a row, or 3.5 inches with one.
    panels : int
        Number of panels.
    columns : int
        Most panels in a row of the wide layout.
    ratio : float or pair, optional
        Height of a panel over its width, the same for both layouts or (wide, narrow).
    **subplots
        Passed to ``Figure.subplots``: ``sharex``, ``sharey``, ``subplot_kw`` and so on.

    Returns
    -------
    Figure, array of Axes of shape (panels,)

    Raises
    ------
    ValueError
        The layout is unknown, or there is no panel.
    """
    _check_layout(layout)
    if panels < 1:
        raise ValueError(f"A figure needs at least one panel; panels is {panels}.")
    across = min(columns, panels) if layout == "wide" else 1
    down = -(-panels // across)
    width = WIDTHS[layout] / across
    if ratio is None:
        ratio = ({1: 0.5, 2: 0.78}.get(across, 1.05), 0.72)
    if isinstance(ratio, tuple):
        ratio = ratio[LAYOUTS.index(layout)]
    fig = Figure(figsize=(WIDTHS[layout], down * width * ratio), layout="constrained")
    subplots["subplot_kw"] = {"axes_class": _Panel} | subplots.get("subplot_kw", {})
    axes = fig.subplots(down, across, squeeze=False, **subplots).ravel()
    for spare in axes[panels:]:
        spare.remove()
    return fig, axes[:panels]


def group_styles(groups: Sequence) -> dict:
    """Give each group a colour, a line style and a marker, so that colour is never the only cue.

    Parameters
    ----------
    groups : sequence
        The groups in the order in which the legend names them.

    Returns
    -------
    dict
        group -> {"color", "linestyle", "marker"}, ready to be passed to ``Axes.plot``.
    """
    cycle = zip(itertools.cycle(COLOURS), itertools.cycle(LINES), itertools.cycle(MARKERS))
    return {
        group: {"color": colour, "linestyle": line, "marker": marker}
        for group, (colour, line, marker) in zip(dict.fromkeys(groups), cycle, strict=False)
    }


def median_band(
    ax: Axes,
    table: pd.DataFrame,
    x: str,
    y: str,
    group: str | None = None,
    *,
    band: tuple[float, float] = (0.1, 0.9),
    label: Callable | str | None = None,
    markers: bool = False,
) -> None:
    """Draw the median of ``y`` over the rows that share ``x``, with a band of quantiles.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Tidy: one row for each run and each ``x``.
    x, y, group : str
        Columns. Each value of ``group`` gets its own line, in order of appearance.
    band : pair of float
        The band's lower and upper quantile; (0, 1) is the whole range.
    label : function, str, optional
        Makes a group's name in the legend from its value (a str is formatted with it).
    markers : bool
        Mark the points of the line (few points) or not (dense ones).
    """
    parts = [(None, table)] if group is None else list(table.groupby(group, sort=False))
    style = group_styles([value for value, _ in parts])
    for value, part in parts:
        shares = [band[0], 0.5, band[1]]
        quantiles = part.groupby(x)[y].quantile(shares).unstack().reindex(columns=shares)
        low, middle, high = (quantiles.iloc[:, i].to_numpy() for i in range(3))
        where = quantiles.index.to_numpy()
        look = style[value] if markers else {**style[value], "marker": None}
        if label is None:
            text = None if value is None else str(value)
        else:
            text = label.format(value) if isinstance(label, str) else label(value)
        ax.plot(where, middle, label=text, **look)
        ax.fill_between(where, low, high, color=look["color"], alpha=0.22, linewidth=0)


def run_rows(values: Mapping[str, object], **axes: Sequence) -> pd.DataFrame:
    """Return numbers over a grid of runs as one tidy table: a row a combination of the axes.

    Parameters
    ----------
    values : mapping
        Name of a column to a tensor whose dimensions are the axes, in order.
    **axes : sequence
        For each dimension its name and its labels.

    Raises
    ------
    ValueError
        A tensor's shape is not that of the axes.
    """
    shape = tuple(len(labels) for labels in axes.values())
    for name, value in values.items():
        if tuple(value.shape) != shape:
            raise ValueError(
                f"{name} has shape {tuple(value.shape)}; the axes {', '.join(axes)} make {shape}."
            )
    index = pd.MultiIndex.from_product(axes.values(), names=list(axes))
    columns = {name: value.cpu().numpy().reshape(-1) for name, value in values.items()}
    return pd.DataFrame(columns, index=index).reset_index()


def power_law(
    ax: Axes, table: pd.DataFrame, x: str, y: str, power: float, *, median: bool = True
) -> None:
    """Draw a point a run on logarithmic axes, their median, and a line of the slope expected.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Tidy: one row for each run and each ``x``.
    x, y : str
        Columns, positive.
    power : float
        The line's slope; it passes through the median at the smallest ``x``.
    median : bool
        Draw the median with its band, too.
    """
    ax.loglog(table[x], table[y], linestyle="none", marker="o", markersize=3, alpha=0.4,
              color=COLOURS[0], label="one seed")  # fmt: skip
    if median:
        median_band(ax, table, x, y, label="median")
    ends = np.array([table[x].min(), table[x].max()])
    first = table[table[x] == ends[0]][y].median()
    ax.loglog(ends, first * (ends / ends[0]) ** power, color=INK, linestyle=":", lw=1,
              label=f"slope {power:g}")  # fmt: skip


def shared_legend(
    fig: Figure, layout: str, axes: Sequence[Axes] | None = None, *, title: str | None = None,
    columns: int | None = None,
) -> None:  # fmt: skip
    """Put one legend for all panels above them, wrapped so that it fits the layout's width.

    Parameters
    ----------
    fig : Figure
    layout : "wide" or "narrow"
    axes : sequence of Axes, optional
        Where the entries come from (each name once); all panels by default.
    title : str, optional
    columns : int, optional
        Entries in a row; by default as many as their lengths allow.
    """
    _check_layout(layout)
    entries = {}
    for ax in fig.axes if axes is None else axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if not entries:
        raise ValueError("There is nothing to name in the legend; give the lines a label.")
    if columns is None:
        longest = max(len(re.sub(r"\\[a-zA-Z]+|[${}^_]", "", text)) for text in entries)
        inches = 0.55 + 0.075 * longest  # a handle, then 8 pt text
        columns = max(1, min(len(entries), int(WIDTHS[layout] / inches)))
    fig.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=columns,
               title=title)  # fmt: skip


# ---------------------------------------------------------------- for the chapters


def show(
    draw: Callable[..., Figure], table: pd.DataFrame, *, name: str, alt: str, **options
) -> None:
    """Show a figure in both layouts with the numbers behind it, and keep its table.

    Displays one HTML output: two SVGs, of which the page shows the one that fits, and a closed
    box with a summary of the table. Writes the table to
    ``$NCBOOK_OUT/tables/<chapter>/<name>.csv``.

    Parameters
    ----------
    draw : function
        ``draw(table, layout, **options)`` returns a matplotlib ``Figure``.
    table : DataFrame
        Tidy; everything that is drawn.
    name : str
        The figure's name in file names and anchors: lower-case letters, digits and hyphens.
    alt : str
        What the figure shows, in words, for readers who do not see it.
    **options
        Passed to ``draw``.

    Raises
    ------
    ValueError
        The name or the alternative text is not usable.
    TypeError
        ``table`` is no DataFrame, or ``draw`` returned no Figure.
    """
    page = markup(draw, table, name=name, alt=alt, **options)
    _keep(table, name)
    _display(page, f"Figure {name}: {alt}")


def show_interactive(fig, table: pd.DataFrame, *, name: str, alt: str) -> None:
    """Show a plotly figure that a reader can turn, with its numbers, and keep its table.

    In the pipeline (``NCBOOK_OUT`` is set) it becomes HTML that loads plotly from the site itself;
    in a plain Jupyter session plotly shows it in its own way.

    Parameters
    ----------
    fig : plotly.graph_objects.Figure
    table, name, alt
        As in :func:`show`.

    Raises
    ------
    ValueError, TypeError
        As in :func:`show`.
    """
    _check(table, name, alt)
    _keep(table, name)
    fig.update_layout(template=_PLOTLY)
    if "NCBOOK_OUT" not in os.environ:
        fig.show()
        return
    body = fig.to_html(
        full_html=False,
        include_plotlyjs="../../_static/plotly.min.js",
        include_mathjax=False,
        div_id=f"{name}-plot",
        config={"responsive": True, "displayModeBar": False, "scrollZoom": False},
    )
    _display(
        f'<figure class="ncb-figure tex2jax_ignore" id="ncb-{name}">'
        f'<div class="ncb-plotly" role="group" aria-label="{html.escape(alt, quote=True)}">'
        f"{body}</div>{numbers(table, name)}</figure>",
        f"Figure {name}: {alt}",
    )


# ---------------------------------------------------------------- how it is done


def markup(
    draw: Callable[..., Figure], table: pd.DataFrame, *, name: str, alt: str, **options
) -> str:
    """Return a figure's HTML: both layouts and the numbers behind it (see :func:`show`).

    What is not finite is not drawn; a panel without a finite value says so.
    """
    _check(table, name, alt)
    drawn = table.replace([np.inf, -np.inf], np.nan)
    pictures = []
    for layout in LAYOUTS:
        with settings():
            fig = draw(drawn, layout, **options)
            if not isinstance(fig, Figure):
                raise TypeError(
                    f"{getattr(draw, '__name__', draw)} returned {type(fig).__name__} for the "
                    f"{layout} layout; a draw function returns a matplotlib Figure."
                )
            pictures.append(svg(fig, prefix=f"{name}-{layout}", alt=alt, layout=layout))
    return (
        f'<figure class="ncb-figure tex2jax_ignore" id="ncb-{name}">'
        f"{_SWITCH}{''.join(pictures)}{numbers(table, name)}</figure>"
    )


def svg(fig: Figure, *, prefix: str, alt: str, layout: str = "wide") -> str:
    """Return the figure as one line of SVG that takes its ink from the page.

    Parameters
    ----------
    fig : Figure
    prefix : str
        Put before every id, so that figures on one page do not clash.
    alt : str
        Becomes the aria-label.
    layout : "wide" or "narrow"
        Sets the class and the greatest width.
    """
    for ax in fig.axes:
        _say_what_is_missing(ax)
    for text in fig.findobj(Text):
        # Roots, fractions and tall brackets need glyphs that only matplotlib's fonts have: these
        # labels become outlines, all others stay text.
        if re.search(r"\\(sqrt|d?frac|left|\||big|sum|int|prod)", text.get_text()):
            text.set_path_effects([Normal()])
    buffer = io.StringIO()
    with settings():
        # No date and no version: the same numbers give the same text. Figure.savefig would draw
        # twice, the first time for its layout alone, which the one drawing makes as well.
        canvas, dpi = fig.canvas, fig.dpi
        FigureCanvasSVG(fig).print_svg(buffer, metadata={"Date": None, "Creator": None})
        fig.set_canvas(canvas)
        fig.dpi = dpi
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    # This style sheet would hold for the whole page; the root's own style says the same.
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.S)
    text = re.sub(r'\b(d|transform|points|viewBox|x|y|width|height)="([^"]*)"', _rounded, text)
    text = re.sub(r"(?<=[\s:])(\d+\.\d{3,})(?=[;\"\s,p])", lambda m: _short(m[1]), text)
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    used = {one for pair in used for one in pair if one}
    text = re.sub(r'\s+id="([^"]*)"', lambda m: m[0] if m[1] in used else "", text)
    text = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    # Ink and plain black become the page's text; white, as in halos, its background.
    text = re.sub(rf"{INK}|#000000", "currentColor", text)
    text = text.replace("#ffffff", "var(--pst-color-background, var(--jp-layout-color0, Canvas))")
    # Verdana has the widths of DejaVu Sans, which most readers do not have.
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif").replace(
        "sans-serif, sans-serif", "sans-serif"
    )
    text = re.sub(r">\s+<", "><", text).replace("\n", " ").strip()
    head = re.match(r"<svg\b[^>]*>", text)[0]
    box = re.search(r'viewBox="([^"]*)"', head)[1]
    return (
        f'<svg class="ncb-{layout}" role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'viewBox="{box}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" fill="currentColor" '
        'style="stroke-linejoin:round;stroke-linecap:butt;width:100%;height:auto;'
        f'max-width:{WIDTHS[layout] * 1.45:.4g}in">' + text[len(head) :]
    )


def _say_what_is_missing(ax: Axes) -> None:
    """Let a panel without a finite value say so, and keep what cannot be drawn from being drawn."""
    for name, axis, sharing in (
        ("x", ax.xaxis, ax.get_shared_x_axes()),
        ("y", ax.yaxis, ax.get_shared_y_axes()),
    ):
        least = min(getattr(one.dataLim, f"minpos{name}") for one in sharing.get_siblings(ax))
        # Without a positive value a logarithmic axis has no limits and no ticks.
        if axis.get_scale() == "log" and not np.isfinite(least):
            if getattr(ax, f"get_autoscale{name}_on")():
                ax.set(**{f"{name}lim": (1, 10)})
            axis.set_ticks([])
            axis.set_ticks([], minor=True)
    for text in ax.texts:
        places = [*text.get_position(), *getattr(text, "xy", ())]
        if any(isinstance(place, float) and not np.isfinite(place) for place in places):
            text.set_visible(False)
    # What is drawn in ink and grey are predictions and marks, which say nothing of the runs.
    drawn = [line.get_xydata() for line in ax.lines if line.get_color() not in (INK, GREY)]
    drawn += [np.ma.filled(dots.get_offsets(), np.nan) for dots in ax.collections
              if isinstance(dots, PathCollection)]  # fmt: skip
    drawn = [points for points in drawn if len(points)]
    drawn += [np.ma.filled(image.get_array(), np.nan).reshape(-1, 1) for image in ax.images]
    if drawn and not any(np.isfinite(points).all(-1).any() for points in drawn):
        ax.text(0.5, 0.5, "no finite value", ha="center", va="center", transform=ax.transAxes)


def numbers(table: pd.DataFrame, name: str) -> str:
    """Return a closed HTML box with the least, the median and the greatest of every column."""
    rows = []
    for column in table.columns:
        values = table[column]
        head = f'<th scope="row">{html.escape(str(column))}</th>'
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            finite = values[np.isfinite(values.astype(float))]
            three = (finite.min(), finite.median(), finite.max()) if len(finite) else (np.nan,) * 3
            rows.append(head + "".join(f"<td>{_digits(value)}</td>" for value in three))
        else:
            kinds = [str(kind) for kind in pd.unique(values)]
            said = ", ".join(kinds) if len(kinds) <= 6 else f"{len(kinds)} different values"
            rows.append(f'{head}<td colspan="3">{html.escape(said)}</td>')
    count = f"{len(table):,} row" + ("" if len(table) == 1 else "s")
    return (
        '<details class="ncb-numbers"><summary>The numbers behind this figure</summary>'
        f'<div class="ncb-scroll"><table><caption>{name}.csv, {count}</caption><thead><tr>'
        '<th scope="col">column</th><th scope="col">min</th><th scope="col">median</th>'
        '<th scope="col">max</th></tr></thead><tbody>'
        + "".join(f"<tr>{row}</tr>" for row in rows)
        + "</tbody></table></div></details>"
    )


# Greys that can be seen on light and dark; the site's script then puts in the page's own colours.
_AXIS = {"gridcolor": "rgba(128,128,128,0.3)", "zerolinecolor": "rgba(128,128,128,0.5)"}
_PLOTLY = {
    "layout": {
        "colorway": COLOURS,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": GREY, "family": "DejaVu Sans, Verdana, sans-serif"},
        "margin": {"l": 10, "r": 10, "t": 40, "b": 10},
        "xaxis": {**_AXIS, "automargin": True},
        "yaxis": {**_AXIS, "automargin": True},
        "scene": {
            **{axis: {**_AXIS, "showbackground": False} for axis in ("xaxis", "yaxis", "zaxis")},
            # A step back from plotly's own place, so that the axes' titles are in the picture.
            "camera": {"eye": {"x": 1.5, "y": 1.5, "z": 1.1}},
        },
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        # Clear of the axis' own title.
        "sliderdefaults": {"pad": {"t": 50, "b": 10}},
    }
}


def slider(steps: list[dict], active: int = 0, prefix: str = "") -> dict:
    """Return plotly's slider over ``steps``, whose labels are said above it, one at a time.

    Below it they would run into each other.
    """
    return {
        "steps": steps,
        "active": active,
        "currentvalue": {
            "prefix": prefix,
            "xanchor": "center",
            "font": {"size": 14, "color": GREY},
        },
        "pad": {"t": 6, "b": 4},
        "len": 0.92,
        "x": 0.04,
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"size": 1, "color": "rgba(0,0,0,0)"},
        "bordercolor": GREY,
        "bgcolor": GREY,
        "activebgcolor": COLOURS[0],
    }


# Inline, so that a notebook outside the site switches too.
_SWITCH = (
    "<style>.ncb-figure{margin:1rem 0}.ncb-figure .ncb-narrow{display:none}"
    f"@media (max-width:{NARROW_BELOW}px){{.ncb-figure .ncb-wide{{display:none}}"
    ".ncb-figure .ncb-narrow{display:block}}</style>"
)


def _display(markup: str, words: str) -> None:
    display({"text/html": markup, "text/plain": words}, raw=True)


def _keep(table: pd.DataFrame, name: str) -> Path:
    return files.write_atomic(
        files.output_dir() / "tables" / files.chapter_name() / f"{name}.csv",
        table.to_csv(index=False, lineterminator="\n"),
    )


def _check(table, name, alt) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"The table of figure {name!r} is a {type(table).__name__}; give a pandas DataFrame."
        )
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", str(name)):
        raise ValueError(
            f"The figure's name is {name!r}; use lower-case letters, digits and single hyphens."
        )
    if not isinstance(alt, str) or len(alt.split()) < 3:
        raise ValueError(
            f"The alternative text of figure {name!r} is {alt!r}; say in a sentence what it shows."
        )


def _check_layout(layout) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"The layout is {layout!r}; it is one of {', '.join(LAYOUTS)}.")


def _short(number: str) -> str:
    text = f"{float(number):.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _rounded(match: re.Match) -> str:
    numbers = re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: _short(m[0]), match[2])
    return f'{match[1]}="{" ".join(numbers.split())}"'


def _digits(value: float) -> str:
    if not np.isfinite(value):
        return "none"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}"
