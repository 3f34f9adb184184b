r"""Strong neural collapse and the invariant subspace of Mixon, Parshall and Pi.

The layout is the paper's: :math:`H \in \mathbb R^{p \times CN}` with columns grouped by class
(N of the first, N of the second, ...), :math:`W \in \mathbb R^{C \times p}`,
:math:`b \in \mathbb R^C`; leading dimensions ``...`` are independent runs. N is read off the
shapes. The other measures take the same features as rows: ``H.mT`` with labels
``torch.arange(C).repeat_interleave(N)``.

This room computes the projection onto the subspace by itself, from its definition: the measure
must not share an error with the theory that it tests.

Reference: Mixon, Parshall and Pi, Neural collapse with unconstrained features, Sampling Theory,
Signal Processing, and Data Analysis 20(2):11, 2022.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.metrics import _checks


class StrongCollapse(NamedTuple):
    """The three residuals of strong collapse: of WW^T from the frame, of H from W, and of b."""

    frame: Tensor
    duality: Tensor
    bias: Tensor


@torch.no_grad()
def strong_collapse(H: Tensor, W: Tensor, b: Tensor) -> StrongCollapse:
    r"""Return the residuals of the three equations of strong collapse.

    .. math::

        \text{frame} &= \left\| W W^T - \sqrt N (I - 11^T/C) \right\|_F \\
        \text{duality} &= \left\| H - (W \otimes 1_N)^T / \sqrt N \right\|_F / \|H\|_F \\
        \text{bias} &= \left\| b - 1_C/C \right\|_2

    Source: Mixon, Parshall and Pi (2022), Figure 1: its left, middle and right panel. The duality
    error is relative, the others are not.

    Parameters
    ----------
    H
        (..., p, C N), columns grouped by class.
    W
        (..., C, p).
    b
        (..., C).

    Returns
    -------
    StrongCollapse
        ``frame``, ``duality``, ``bias``, each (...) and at least 0; ``duality`` is NaN where H and
        W are 0, infinity where only H is.

    Raises
    ------
    ValueError
        The shapes do not fit each other, or C < 2.
    """
    classes, per_class = _sizes(H, W, b)
    frame = torch.linalg.matrix_norm(W @ W.mT - per_class**0.5 * centring(classes, W))
    duality = torch.linalg.matrix_norm(H - _lift(W, per_class)) / torch.linalg.matrix_norm(H)
    bias = torch.linalg.vector_norm(b - 1 / classes, dim=-1)
    return StrongCollapse(frame, duality, bias)


@torch.no_grad()
def subspace_distance(H: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    r"""Return the relative distance :math:`\|Z - P_S Z\|_E / \|Z\|_E` from the subspace S.

    .. math:: S = \{ (H, W, b) : 1^T W = 0,\; H = (W \otimes 1_N)^T / \sqrt N,\;
        b \in \operatorname{span}(1_C) \}

    with :math:`\|Z\|_E^2 = \|H\|_F^2 + \|W\|_F^2 + \|b\|^2`. Source: Mixon, Parshall and Pi
    (2022), Figure 2. Without ``b`` it is the same in (H, W) alone: b tends to 1/C, which lies in
    S, so that it hides in the paper's ratio what small H and W do.

    The orthogonal projection is the linear one (worked out here, from the definition of S): with
    the p x C class means :math:`\bar H` and :math:`\Pi = I - 11^T/C` the nearest W is
    :math:`W^* = \Pi (W + \sqrt N \bar H^T) / 2`, and b keeps its mean. The distance is a sum of
    squares of differences: never negative, and it does not cancel.

    Parameters
    ----------
    H
        (..., p, C N), columns grouped by class.
    W
        (..., C, p).
    b
        (..., C), or None for the distance in (H, W) alone.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where all arguments are 0.

    Raises
    ------
    ValueError
        The shapes do not fit each other, or C < 2.
    """
    classes, per_class = _sizes(H, W, b)
    means = H.unflatten(-1, (classes, per_class)).mean(-1)
    nearest = (W + per_class**0.5 * means.mT) / 2
    nearest = nearest - nearest.mean(-2, keepdim=True)
    pairs = [(W, nearest), (H, _lift(nearest, per_class))]
    if b is not None:
        pairs.append((b.unsqueeze(-1), b.mean(-1, keepdim=True).unsqueeze(-1)))
    off = [torch.linalg.matrix_norm(part - near) for part, near in pairs]
    size = [torch.linalg.matrix_norm(part) for part, _ in pairs]
    return _norm(off) / _norm(size)


def _lift(W: Tensor, per_class: int) -> Tensor:
    """Return (W (x) 1_N)^T / sqrt(N): each row of W as N equal columns."""
    return W.mT.repeat_interleave(per_class, -1) / per_class**0.5


def _norm(parts: list[Tensor]) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(torch.broadcast_tensors(*parts), -1), dim=-1)


def _sizes(H: Tensor, W: Tensor, b: Tensor | None) -> tuple[int, int]:
    """Return C and N if the shapes fit, or raise ``ValueError``."""
    _checks.floating("H", H, "(..., p, C*N)")
    _checks.rows("W", W, "(..., C, p)")
    _checks.one_device(W=W, H=H)
    classes, dim = W.shape[-2:]
    columns = H.shape[-1]
    if H.shape[-2] != dim:
        raise ValueError(
            f"H has shape {tuple(H.shape)}, but W {tuple(W.shape)} needs (..., {dim}, C*N); give "
            f"features as columns (features as rows: H.mT)."
        )
    if columns == 0 or columns % classes:
        raise ValueError(
            f"H has {columns} columns, but a positive multiple of the {classes} classes is "
            f"expected; strong collapse is defined for balanced classes, N columns for each."
        )
    if b is not None:
        _checks.floating("b", b, "(..., C)")
        _checks.one_device(W=W, b=b)
        if b.shape[-1] != classes:
            raise ValueError(
                f"b has shape {tuple(b.shape)}, but (..., {classes}) is expected; give one entry "
                f"for each class."
            )
    return classes, columns // classes
