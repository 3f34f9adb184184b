"""One look for every figure: readable in light and dark, wide and narrow, seen or read aloud.

A figure is drawn once for a wide and once for a narrow page (:mod:`ncbook.figures.show`). Here is
what the drawings share, and how one becomes SVG.
"""

import html
import io
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal
from matplotlib.text import Text

# Blue, vermilion, green, pink, ochre, violet, grey: after Okabe and Ito's set, with the bright
# ones darkened. Each has a contrast of at least 3 to 1 against white and against #121212.
GREY = "#808080"  # seen on light and on dark
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a67c00", "#8a63d2", GREY)
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)),
         (0, (3, 1, 1.2, 1, 1.2, 1)), (0, (2.5, 2.5)))  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "cividis"  # for images: ordered, and the same to colour-blind eyes
# For images of signed values, without a ground of its own: 0 is the page, light or dark, 1 is
# vermilion, -1 blue.
SIGNED = ListedColormap(
    [(*to_rgb(COLOURS[int(x > 0)]), abs(x)) for x in np.linspace(-1, 1, 255)], name="signed"
)

LAYOUTS = ("wide", "narrow")
WIDTHS = {"wide": 7.2, "narrow": 3.5}  # inches

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


# ---------------------------------------------------------------- how it is done


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
        say_nothing_is_finite(ax)


def say_nothing_is_finite(ax: Axes) -> None:
    """Write so into a panel."""
    ax.text(0.5, 0.5, "no finite value", ha="center", va="center", transform=ax.transAxes)


def _check_layout(layout) -> None:
    if layout not in LAYOUTS:
        raise ValueError(f"The layout is {layout!r}; it is one of {', '.join(LAYOUTS)}.")


def _short(number: str) -> str:
    text = f"{float(number):.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _rounded(match: re.Match) -> str:
    numbers = re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: _short(m[0]), match[2])
    return f'{match[1]}="{" ".join(numbers.split())}"'
