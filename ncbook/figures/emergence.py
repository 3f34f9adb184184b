"""The features of four classes over training, seen in the space of their class means."""

from collections.abc import Sequence

import numpy as np

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5  # of a tetrahedron


def projected(
    features: np.ndarray, labels: np.ndarray, classes: Sequence[int], points: int
) -> dict[int, np.ndarray]:
    """Return the features of four classes, seen in the space of the four class means, over time.

    At each epoch the features, less the mean of the four class means, are projected isometrically
    to R^3 such that the class means come as close as they can to ``CORNERS`` (the polar factor of
    the product of the two, as in the orthogonal Procrustes problem). Then all are divided by the
    root mean square length of the four centred means, so that at collapse the means lie at the
    corners. The projection hides what is orthogonal to the class means.

    Parameters
    ----------
    features : ndarray
        ``(T, n, D)``, D >= 3: one run.
    labels : ndarray
        ``(n,)``.
    classes : sequence of int
        Four classes.
    points : int
        How many examples of each class to return, the first ones.

    Returns
    -------
    dict
        Of each class the places ``(T, 1 + points, 3)``: its mean, then its examples.

    Raises
    ------
    ValueError
        There are not four different classes, or one has fewer examples than ``points``.
    """
    classes = list(classes)
    counts = [int((labels == k).sum()) for k in classes]
    if len(set(classes)) != 4 or min(counts) < max(points, 1):
        raise ValueError(
            f"classes = {classes} with {counts} examples, points = {points}: expected four "
            "different classes with at least that many examples each."
        )
    means = np.stack([features[:, labels == k].mean(1) for k in classes], 1)  # (T, 4, D)
    centre = means.mean(1, keepdims=True)
    left, _, right = np.linalg.svd((means - centre).swapaxes(1, 2) @ CORNERS, full_matrices=False)
    length = np.sqrt(np.square(means - centre).sum(-1).mean(-1))[:, None, None]
    isometry = left @ right / length  # (T, D, 3)
    places = {}
    for i, k in enumerate(classes):
        members = features[:, labels == k][:, :points]
        group = np.concatenate([means[:, i : i + 1], members], 1)
        places[k] = (group - centre) @ isometry
    return places
