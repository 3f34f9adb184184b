"""Figures of the alignment phase: small neurons that turn."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from ncbook.figures.scene import Scene, from_origin
from ncbook.figures.style import COLOURS, GREY, INK, MARKERS, new_figure, shared_legend

DEAD = COLOURS.index(GREY)
FATES = ("turns to its class mean", "dies on the way", "dead from the start")


def add_neurons(scene: Scene, panel: int, vectors, groups, dead, reach=(1e-6, 1.0)) -> None:
    """Draw neurons in the plane, each in its direction at a length that grows with log of its norm.

    Parameters
    ----------
    scene : Scene
    panel : int
    vectors : Tensor
        Shape ``(frames, 2, h)``.
    groups, dead : Tensor
        Shape ``(frames, h)``: group number, and whether no sample activates the neuron.
    reach : pair of float
        Norms that are drawn at the lengths 0.4 and 1; smaller ones stay at 0.15 or above.
    """
    v, groups, dead = (one.cpu().numpy() for one in (vectors, groups, dead))
    norm = np.linalg.norm(v, axis=1)
    low, high = np.log(reach)
    with np.errstate(divide="ignore"):
        length = 0.4 + 0.6 * (np.log(norm) - low) / (high - low)
    ends = v / np.where(norm > 0, norm, 1)[:, None] * np.maximum(length, 0.15)[:, None]
    kinds = [(f"neurons of class {k}", k, ~dead & (groups == k)) for k in np.unique(groups)]
    for name, colour, shown in [*kinds, ("dead neurons", DEAD, dead)]:
        if not shown.any():
            continue
        # Only those that are of this kind in some frame.
        some = shown.any(0)
        places = np.where(shown[:, some, None], ends.swapaxes(1, 2)[:, some], np.nan)
        scene.strokes(from_origin(places), "", colour, panel=panel, size=1.0)
        scene.points(places, name, colour, panel=panel, size=3.5)


def add_directions(scene: Scene, panel: int, vectors, length: float = 1.1) -> None:
    """Draw a faint line from the origin along each column of ``vectors``, of shape ``(2, K)``."""
    ends = vectors.cpu().numpy().T
    ends = length * ends / np.linalg.norm(ends, axis=1, keepdims=True)
    for k, end in enumerate(ends):
        scene.strokes(from_origin(end[None]), "", k, panel=panel, size=1.6, faint=True)
        scene.words(1.08 * end[None], [f"{k}"], k, panel=panel)


def add_sector(scene: Scene, panel: int, sector: tuple[float, float], radius: float = 1.0) -> None:
    """Draw the outline of the dead region, a sector given by its two angles in degrees."""
    arc = np.radians(np.linspace(*sector, 25))
    places = radius * np.stack([np.cos(arc), np.sin(arc)], 1)
    outline = np.concatenate([np.zeros((1, 2)), places, np.zeros((1, 2))])
    scene.strokes(outline, "dead region", DEAD, panel=panel, size=1.2)


def add_course(scene: Scene, panel: int, times, loss, name: str) -> None:
    """Draw the loss against time, from 0 to 1, with a mark that moves with the frames.

    Parameters
    ----------
    scene : Scene
    panel : int
    times, loss : Tensor
        Shape ``(frames,)``: from 0 on, and over the loss at the start.
    name : str
        Of the curve.
    """
    times, loss = times.cpu().numpy(), loss.cpu().numpy()
    places = np.stack([1.6 * times / times.max() - 0.8, 1.4 * loss - 0.7], 1)
    scene.strokes(np.array([[-0.8, 0.8], [-0.8, -0.7], [0.85, -0.7]]), "", panel=panel, size=1.0)
    scene.strokes(places, name, 3, panel=panel)
    scene.points(places[:, None], "", 3, panel=panel, size=6.0)
    scene.words([[-0.7, 0.84], [0.7, -0.84]], ["loss", f"t = {times.max():g}"], panel=panel)


def dead_sector(angles: Sequence[float]) -> tuple[float, float] | None:
    """Return the sector of the plane that has no acute angle with any sample, in degrees.

    None if there is none: the samples lie in no half-plane.

    Parameters
    ----------
    angles : sequence of float
        The samples' directions in degrees.
    """
    ordered = np.sort(np.mod(np.asarray(angles, dtype=float), 360))
    gaps = np.diff(np.append(ordered, ordered[0] + 360))
    widest = int(gaps.argmax())
    if gaps[widest] < 180:
        return None
    return float(ordered[widest] + 90), float(ordered[widest] + gaps[widest] - 90)


def ring(table: pd.DataFrame, layout: str, *, samples: pd.DataFrame) -> Figure:
    """Draw on a circle what becomes of a neuron that starts in each direction, a panel a sign.

    Parameters
    ----------
    table : DataFrame
        Columns ``sign`` (a panel's title), ``start`` and ``end`` (degrees), ``fate`` (of FATES).
    layout : "wide" or "narrow"
    samples : DataFrame
        Columns ``class``, ``x``, ``y``: in the middle.
    """
    signs = list(table["sign"].unique())
    fig, axes = new_figure(layout, len(signs), ratio=0.95)
    for number, (ax, sign) in enumerate(zip(axes, signs, strict=True)):
        colours = dict(zip(FATES, (COLOURS[number], COLOURS[3], GREY), strict=True))
        rows = table[table["sign"] == sign].sort_values("start")
        half = 180 / len(rows)
        # Neighbours of one fate are one piece of the ring.
        for _, part in rows.groupby((rows["fate"] != rows["fate"].shift()).cumsum()):
            fate = part["fate"].iloc[0]
            ax.add_patch(
                Wedge((0, 0), 1.0, part["start"].min() - half, part["start"].max() + half,
                      width=0.14, color=colours[fate], linewidth=0,
                      label=f"{fate}, class {number}" if fate == FATES[0] else fate)
            )  # fmt: skip
        for _, row in rows.iloc[:: max(1, len(rows) // 24)].iterrows():
            _arrow(ax, row["start"], row["end"])
        for k, part in samples.groupby("class"):
            scale = 0.72 / np.hypot(samples["x"], samples["y"]).max()
            x, y = scale * part["x"], scale * part["y"]
            ax.plot(x, y, linestyle="none", marker=MARKERS[k], color=COLOURS[k])
            mean = np.array([x.mean(), y.mean()])
            ax.plot(*np.stack([np.zeros(2), 0.84 * mean / np.linalg.norm(mean)]).T,
                    color=COLOURS[k], linestyle=(0, (4, 2)), lw=1)  # fmt: skip
        ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xticks=[], yticks=[], title=sign)
        ax.set_aspect("equal")
        ax.grid(False)
        ax.spines[:].set_visible(False)
    shared_legend(fig, layout, columns=2)
    return fig


def _arrow(ax: Axes, start: float, end: float) -> None:
    """Draw outside the ring which way a neuron turns, if it does."""
    turn = (end - start + 180) % 360 - 180
    if abs(turn) < 3:
        return
    ends = np.radians([start, start + np.sign(turn) * min(abs(turn), 9)])
    from_, to = 1.13 * np.stack([np.cos(ends), np.sin(ends)], 1)
    arrow = {"arrowstyle": "->", "color": INK, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", to, from_, arrowprops=arrow)
