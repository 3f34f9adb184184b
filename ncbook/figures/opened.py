"""A quarter plane that a layer of three ReLUs opens into space."""

import numpy as np

from ncbook.figures.scene import Scene, from_origin

SLOPES = 1 - np.arange(11) / 10  # for negative inputs: from a linear layer to the ReLU
SIDE = 9  # lines of the net in each direction


def opening(points, units) -> Scene:
    """Return the scene: what units with a slope for negative inputs make of points and of a net.

    Parameters
    ----------
    points : array
        Shape ``(2, K)``, in the quarter plane.
    units : array
        Shape ``(3, 2)``.

    Raises
    ------
    ValueError
        The shapes are others.
    """
    points, units = np.asarray(points, dtype=float), np.asarray(units, dtype=float)
    if points.ndim != 2 or len(points) != 2 or units.shape != (3, 2):
        raise ValueError(
            f"points of shape {points.shape} and units of shape {units.shape}: expected (2, K) "
            "and (3, 2), a plane that is opened into space."
        )
    reach = points.max()
    across, along = np.meshgrid(np.linspace(0, reach, SIDE), np.linspace(0, reach, 41))
    lines = [np.stack(pair, axis=-1) for pair in ((across, along), (along, across))]
    # Each line of the net is a stroke of its own.
    gap = np.full((1, 2), np.nan)
    net = np.concatenate([np.vstack([one[:, k], gap]) for one in lines for k in range(SIDE)])
    scene = Scene(
        frames=[f"{slope:.1f}" for slope in SLOPES], frame_name="slope below zero",
        view=(20.0, 28.0), begin=len(SLOPES) - 1,
    )  # fmt: skip

    def through(flat: np.ndarray) -> np.ndarray:
        before = flat @ units.T
        return np.stack([np.where(before < 0, slope * before, before) for slope in SLOPES])

    scene.strokes(through(net), "the quarter plane", size=0.8, faint=True)
    for k, point in enumerate(points.T):
        place = through(point[None])
        scene.strokes(from_origin(place), "", k, size=2.2)
        scene.points(place, f"class {k + 1}", k, size=6.0)
    return scene
