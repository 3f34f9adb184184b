"""How far two sets of features are from each other up to a turn of their space."""

import torch
from torch import Tensor

from ncbook.metrics import _checks


@torch.no_grad()
def procrustes_distance(H: Tensor, reference: Tensor) -> Tensor:
    r"""How far features are from others if their space may be turned or mirrored.

    .. math:: \min_{R^T R = I} \|R H - H_{ref}\|_F, \qquad R = V U^T

    with the singular value decomposition :math:`H H_{ref}^T = U S V^T`. A layer after
    the features can be turned with them, so that such a turn changes no output.

    Source: Schoenemann (1966), A generalized solution of the orthogonal Procrustes problem.

    Parameters
    ----------
    H, reference
        (..., p, n), features as columns; the leading dimensions broadcast.

    Returns
    -------
    Tensor
        (...), at least 0; NaN where an entry is not finite.

    Raises
    ------
    ValueError
        The shapes do not fit.
    """
    _checks.floating("H", H, "(..., p, n)")
    _checks.floating("reference", reference, "(..., p, n)")
    if H.shape[-2:] != reference.shape[-2:]:
        raise ValueError(
            f"The features have shape {tuple(H.shape)} and those that they are compared with "
            f"{tuple(reference.shape)}; expected the same p and n."
        )
    overlap = H @ reference.mT
    finite = _checks.finite(overlap)
    # LAPACK would raise, and take the other runs with it.
    left, _, right = torch.linalg.svd(torch.where(finite[..., None, None], overlap, 0))
    distance = torch.linalg.matrix_norm((left @ right).mT @ H - reference)
    return torch.where(finite, distance, torch.nan)
