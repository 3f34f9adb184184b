r"""Collapse to rays: directions within and between classes, and one paper's three measures.

Behind a ReLU without bias the features of a class can end on one ray at different lengths. What
collapses then are directions, so that the measures here read angles.
"""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm

from ncbook.metrics import _checks
from ncbook.metrics.collapse import nc1_min_zhu_vidal, nc2_min_zhu_vidal, nc3_min_zhu_vidal
from ncbook.metrics.frames import angles, cosines
from ncbook.metrics.statistics import class_statistics


@torch.no_grad()
def largest_angle(features: Tensor, labels: Tensor) -> Tensor:
    """Return the largest angle between two features of one class, in radians: 0 on rays.

    Source: Min, Zhu and Vidal (2025), Theorem 1, intra-class directional collapse.

    Parameters
    ----------
    features
        (..., n, D).
    labels
        (n,), shared by all runs.

    Returns
    -------
    Tensor
        (...); NaN where a feature is 0.

    Raises
    ------
    ValueError
        The labels do not fit the features.
    """
    same = _same_class(features, labels)
    return angles(features).masked_fill(~same, 0).amax((-2, -1))


@torch.no_grad()
def largest_overlap(features: Tensor, labels: Tensor) -> Tensor:
    """Return the largest cosine, without sign, between features of different classes.

    Source: Min, Zhu and Vidal (2025), Theorem 1, orthogonal class means: on orthogonal rays the
    features themselves are orthogonal, and exactly so where no neuron serves two classes.

    Parameters
    ----------
    features
        (..., n, D).
    labels
        (n,), shared by all runs.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where a feature is 0.

    Raises
    ------
    ValueError
        The labels do not fit the features.
    """
    same = _same_class(features, labels)
    return cosines(features).abs().masked_fill(same, 0).amax((-2, -1))


@torch.no_grad()
def min_zhu_vidal(features: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Return NC1, NC2 and NC3 of Min, Zhu and Vidal in one dict of tensors (...).

    ``nc1``, ``nc2``, ``nc3`` (target of norm 1) and ``nc3_printed`` (the target as printed); see
    :func:`nc1_min_zhu_vidal`, :func:`nc2_min_zhu_vidal`, :func:`nc3_min_zhu_vidal`.

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments.

    Parameters
    ----------
    features
        (..., n, D).
    labels
        (n,) or (..., n), integers in 0..K-1.
    weights
        (..., K, D), the classifier's rows.

    Raises
    ------
    ValueError
        The arguments do not fit each other.
    """
    statistics = class_statistics(features, labels, scatter=False)
    return {
        "nc1": nc1_min_zhu_vidal(statistics),
        "nc2": nc2_min_zhu_vidal(statistics),
        "nc3": nc3_min_zhu_vidal(statistics, weights),
        "nc3_printed": nc3_min_zhu_vidal(statistics, weights, printed=True),
    }


@torch.no_grad()
def min_zhu_vidal_normalised(
    features: Tensor, labels: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Return :func:`min_zhu_vidal` of features as they are and behind two normalisations.

    The names of those end in ``_rms`` (divided by the root mean square of the coordinates) and
    ``_layer`` (LayerNorm, without parameters): both forget a feature's length.

    Source: Min, Zhu and Vidal (2025), the remark on Theorem 1, for the first.

    Parameters
    ----------
    features, labels, weights
        As of :func:`min_zhu_vidal`; a feature that is 0 has no normalised one, and gives NaN.

    Raises
    ------
    ValueError
        The arguments do not fit each other.
    """
    _checks.floating("features", features, "(..., n, D)")
    shape = features.shape[-1:]
    kinds = {
        "": features,
        "_rms": rms_norm(features, shape, eps=0.0),
        "_layer": layer_norm(features, shape, eps=0.0),
    }
    return {
        name + kind: value
        for kind, seen in kinds.items()
        for name, value in min_zhu_vidal(seen, labels, weights).items()
    }


def _same_class(features: Tensor, labels: Tensor) -> Tensor:
    """Return which pairs of samples share a class, (n, n)."""
    _checks.floating("features", features, "(..., n, D)")
    _checks.is_tensor("labels", labels, "(n,)")
    if labels.shape != features.shape[-2:-1]:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}, but features {tuple(features.shape)} needs "
            f"{tuple(features.shape[-2:-1])}; give one label for each row."
        )
    return labels.unsqueeze(-1) == labels.unsqueeze(-2)
