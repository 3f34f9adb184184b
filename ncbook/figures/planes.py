"""Features of several classes in a plane over a training: points, and a line to each mean."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ncbook.figures.scene import Scene, from_origin


def class_planes(
    panels: Mapping[str, Any], labels: Any, frames: Sequence[Any], name: str, begin: int = 0
) -> Scene:
    """Return a scene with a panel for each title and a slider over the frames.

    Each frame is divided by the root mean square of its points, so that what is seen is how far a
    class spreads beside how far the classes are apart.

    Parameters
    ----------
    panels : mapping
        A panel's title to its points, shape ``(frames, n, 2)``.
    labels : array
        Shape ``(n,)``, whole numbers from 0 on.
    frames : sequence
        The labels of the slider.
    name : str
        What stands before a label.
    begin : int
        The frame that is shown at first.

    Raises
    ------
    ValueError
        The points of a panel do not fit the labels and the frames.
    """
    labels = np.asarray(labels)
    scene = Scene(list(panels), frames, name, 2, begin=begin)
    for panel, points in enumerate(map(np.asarray, panels.values())):
        if points.shape != (len(frames), len(labels), 2):
            raise ValueError(
                f"The points of panel {panel} have shape {points.shape}; expected "
                f"({len(frames)}, {len(labels)}, 2): a frame, a label, the plane."
            )
        points = points / np.sqrt((points**2).sum(-1).mean(-1))[:, None, None]
        for k in range(labels.max() + 1):
            own = points[:, labels == k]
            scene.points(own, f"class {k + 1}", k, panel=panel)
            scene.strokes(from_origin(own.mean(1, keepdims=True)), "", k, panel=panel)
    return scene
