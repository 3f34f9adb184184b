"""The surface (wh - 1)^2 / 2 as a landscape that turns, with the shore of a rising level."""

from collections.abc import Sequence

import numpy as np

from ncbook.figures.scene import Scene

REACH = 2.0  # of both factors
STRETCH = 1.4  # of the height, beside the factors


def landscape(levels: Sequence[float], path, top: float = 1.2, begin: int = 0) -> Scene:
    """Return the surface below ``top``, the curves at each level, and a path on the surface.

    Parameters
    ----------
    levels : sequence of float
        One a frame, positive. Below 1/2 the two components have a colour each, above it one.
    path : array
        ``(n, 2)``: w and h along a path.
    top : float
        Where the surface is cut off.
    begin : int
        The frame that is shown at first.

    Raises
    ------
    ValueError
        A level is not between 0 and ``top``.
    """
    if not all(0 < level < top for level in levels):
        raise ValueError(f"The levels are {list(levels)}: expected them between 0 and top = {top}.")
    scene = Scene(
        frames=[f"{level:g}" for level in levels], frame_name="level", view=(-62, 32), begin=begin
    )
    fine, lines = np.linspace(-REACH, REACH, 49), np.linspace(-REACH, REACH, 17)
    along = np.stack(np.broadcast_arrays(lines[:, None], np.append(fine, np.nan)), -1)
    grid = np.concatenate([along.reshape(-1, 2), along.reshape(-1, 2)[:, ::-1]])
    surface = _raised(grid)
    surface[surface[:, 2] > STRETCH * top] = np.nan
    scene.strokes(surface, "", size=0.8, faint=True)
    shores = [_shore(level) for level in levels]
    nowhere = np.full_like(shores[0], np.nan)
    pairs = [(shore, level <= 0.5) for shore, level in zip(shores, levels, strict=True)]
    for colour, name, turn in ((0, "one component", [1, 1, 1]), (1, "another", [-1, -1, 1])):
        places = [turn * shore if apart else nowhere for shore, apart in pairs]
        scene.strokes(places, name, colour, size=2.2)
        places = [nowhere if apart else turn * shore for shore, apart in pairs]
        scene.strokes(places, "joined", 2, size=2.2)
    scene.strokes(_raised(np.asarray(path, dtype=float)), "path", 3, size=2.6)
    return scene.points([[0, 0, STRETCH / 2]], "the pass", size=5)


def _raised(places: np.ndarray) -> np.ndarray:
    height = STRETCH * (places.prod(-1) - 1) ** 2 / 2
    return np.column_stack([places, height])


def _shore(level: float) -> np.ndarray:
    """Return the half of the curves at a level that is about the branch w, h > 0."""
    arms = []
    for k in (1 + (2 * level) ** 0.5, 1 - (2 * level) ** 0.5):
        # From one end of the square to the other along wh = k; of a negative k the arm with w > 0.
        least = max(abs(k) / REACH, 1e-3)
        w = np.geomspace(least, REACH, 30)
        w = np.append(w, np.nan)
        arms.append(np.column_stack([w, k / w, np.full_like(w, STRETCH * level)]))
    return np.concatenate(arms)
