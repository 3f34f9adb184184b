"""The features of four classes over training, seen in the space of their class means."""

from collections.abc import Sequence

import numpy as np

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5  # of a tetrahedron
INSIDE = 0.97  # of the examples of an epoch: in the unit ball


def projected(
    features: np.ndarray, labels: np.ndarray, classes: Sequence[int], points: int
) -> dict[int, np.ndarray]:
    """Return the features of four classes, seen in the space of the four class means, over time.

    The features, less the mean of the four class means, are projected isometrically to R^3, at all
    epochs alike: such that the class means of the last come as close as they can to ``CORNERS``
    (the polar factor of the product of the two, as in the orthogonal Procrustes problem). Those of
    an epoch are divided by one length, beyond which 3 % of the drawn examples lie, so that at
    collapse the means lie at the corners. The projection hides what is orthogonal to the last class
    means, and one size hides that features grow.

    Parameters
    ----------
    features : ndarray
        ``(T, n, D)``, D >= 3: one run.
    labels : ndarray
        ``(n,)``.
    classes : sequence of int
        Four classes.
    points : int
        How many examples of each class to return, the first ones; at least 1.

    Returns
    -------
    dict
        Of each class the places ``(T, 1 + points, 3)``: its mean, then its examples.

    Raises
    ------
    ValueError
        There are not four different classes, or ``points`` is 0 or more than one has.
    """
    classes = list(classes)
    counts = [int((labels == k).sum()) for k in classes]
    if len(set(classes)) != 4 or not 1 <= points <= min(counts):
        raise ValueError(
            f"classes = {classes} with {counts} examples, points = {points}: expected four "
            "different classes with at least that many examples each."
        )
    means = np.stack([features[:, labels == k].mean(1) for k in classes], 1)  # (T, 4, D)
    centre = means.mean(1, keepdims=True)
    left, _, right = np.linalg.svd((means - centre)[-1].T @ CORNERS, full_matrices=False)
    places = {}
    for i, k in enumerate(classes):
        members = features[:, labels == k][:, :points]
        group = np.concatenate([means[:, i : i + 1], members], 1)
        places[k] = (group - centre) @ (left @ right)
    drawn = np.concatenate([group[:, 1:] for group in places.values()], 1)
    length = np.quantile(np.linalg.norm(drawn, axis=-1), INSIDE, axis=1)[:, None, None]
    return {k: group / length for k, group in places.items()}
