"""Class means as arrows, of which only lengths and angles are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ncbook.figures.scene import Scene, from_origin


def arrows(grams, titles: Sequence[str], frames: Sequence[Any], **options: Any) -> Scene:
    """Return a scene of three arrows a panel, one frame after another.

    Each Gram matrix is drawn by its symmetric square root, whose columns have its inner products:
    orthogonal arrows are the axes, and a small change of the matrix is a small move.

    Parameters
    ----------
    grams : array
        Gram matrices of three vectors, shape ``(panels, frames, 3, 3)``; each is scaled so that the
        mean squared length is 1.
    titles : sequence of str
        A panel's title.
    frames : sequence
        The labels of the slider.
    **options
        As of :class:`~ncbook.figures.scene.Scene`.

    Raises
    ------
    ValueError
        The shape is another.
    """
    grams = np.asarray(grams, dtype=float)
    if grams.shape != (len(titles), len(frames), 3, 3):
        raise ValueError(
            f"The Gram matrices have shape {grams.shape}; expected "
            f"({len(titles)}, {len(frames)}, 3, 3), for a panel each title and a frame each label."
        )
    grams = grams / np.trace(grams, axis1=-2, axis2=-1)[..., None, None] * 3
    values, vectors = np.linalg.eigh(grams)
    roots = (vectors * np.sqrt(np.clip(values, 0, None))[..., None, :]) @ vectors.swapaxes(-1, -2)
    scene = Scene(list(titles), list(frames), **options)
    for panel, means in enumerate(roots):
        for k in range(3):
            tip = means[:, None, :, k]
            scene.strokes(from_origin(tip), "", k, panel=panel, size=3)
            scene.points(tip, f"class {k + 1}", k, panel=panel, size=6)
    return scene
