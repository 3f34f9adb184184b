"""Four class means on the sphere, of two large and two small classes, as the sizes part."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ncbook.figures.scene import Scene, from_origin

RING = np.linspace(0, 2 * np.pi, 61)


def two_pairs(
    cosines: Mapping[str, Any], ratios: Sequence[float], frame: str, begin: int = 0
) -> Scene:
    """Return a scene of a panel for each title, with a slider over the ratio of sizes.

    Two large classes at a cosine a and two small ones at m, at equal cosines across: if that is
    -sqrt((1 + a) (1 + m)) / 2 they span three dimensions, and the picture is exact.

    Parameters
    ----------
    cosines : mapping
        A panel's title to a and m at each ratio, shape ``(frames, 2)``.
    ratios : sequence of float
        The labels of the slider.
    frame : str
        What stands before a label.
    begin : int
        The frame that is shown at first.

    Raises
    ------
    ValueError
        A panel has not one row of two cosines a ratio.
    """
    scene = Scene(
        list(cosines), [f"{ratio:.3g}" for ratio in ratios], frame, 3, (60.0, 18.0), begin
    )
    for panel, values in enumerate(map(np.asarray, cosines.values())):
        if values.shape != (len(ratios), 2):
            raise ValueError(
                f"The cosines of panel {panel} have shape {values.shape}; expected two a ratio, "
                f"({len(ratios)}, 2)."
            )
        for axis in range(3):
            ring = np.insert(np.stack([np.cos(RING), np.sin(RING)], 1), axis, 0, axis=1)
            scene.strokes(ring, "", size=0.8, faint=True, panel=panel)
        for kind, name in enumerate(("large class", "small class")):
            out, up = np.sqrt((1 - values[:, kind]) / 2), np.sqrt((1 + values[:, kind]) / 2)
            ends = np.zeros((len(ratios), 2, 3))
            ends[:, 0, kind], ends[:, 1, kind] = out, -out
            ends[:, :, 2] = (up if kind == 0 else -up)[:, None]
            scene.strokes(from_origin(ends), "", kind, size=3.5, panel=panel)
            scene.points(ends, name, kind, size=6, panel=panel)
    return scene
