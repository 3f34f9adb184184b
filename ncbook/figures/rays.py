"""What collapse looks like: points of a simplex beside rays on orthogonal axes."""

import numpy as np

from ncbook.figures.scene import Scene, from_origin

AXIS = 1.1  # the length to which coordinate axes are drawn
ROW = 0.75  # the longest row of the classifier, in units of the longest feature


def on_axes(features, labels, rows) -> tuple[np.ndarray, np.ndarray]:
    """Turn features of R^3 and a classifier so that centred class means meet centred axes.

    The rotation or reflection is the polar factor of the product of both, as in the orthogonal
    Procrustes problem. It makes two pictures comparable and changes no length and no angle.

    Parameters
    ----------
    features : Tensor
        ``(n, 3)``, of three classes.
    labels : Tensor
        ``(n,)``.
    rows : Tensor
        ``(3, 3)``, the classifier's rows.
    """
    features, labels, rows = (values.cpu().numpy() for values in (features, labels, rows))
    means = np.stack([features[labels == k].mean(0) for k in range(3)])
    axes = np.eye(3)
    left, _, right = np.linalg.svd((means - means.mean(0)).T @ (axes - axes.mean(0)))
    return features @ left @ right, rows @ left @ right


def add_shape(scene: Scene, panel: int, features, labels, rows) -> None:
    """Draw features of three classes and their classifiers, with the axes, in a panel in space.

    The longest feature gets the length 1 and the longest row of the classifier ``ROW``: only
    directions and proportions are compared.

    Parameters
    ----------
    scene : Scene
    panel : int
    features : array
        ``(n, 3)``, or ``(frames, n, 3)``, each frame scaled by itself.
    labels : array
        ``(n,)``.
    rows : array
        ``(3, 3)``, the classifier's rows.
    """
    features, labels, rows = (np.asarray(values) for values in (features, labels, rows))
    features = features[None] if features.ndim == 2 else features
    features = features / np.linalg.norm(features, axis=-1).max(-1)[:, None, None]
    rows = ROW * rows / np.linalg.norm(rows, axis=1).max()
    scene.strokes(from_origin(AXIS * np.eye(3)), "", None, panel=panel, size=1.0, faint=True)
    for k in range(3):
        own = features[:, labels == k]
        scene.strokes(from_origin(own), "", k, panel=panel, size=1.0, faint=True)
        scene.points(own, f"features of class {k}", k, panel=panel, size=4.5)
        scene.strokes(from_origin(rows[k : k + 1]), "", k, panel=panel, size=4.0)
        scene.words(1.12 * rows[k : k + 1], [f"row {k}"], k, panel=panel)
