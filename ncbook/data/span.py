"""Data on their own span: the same data in as few dimensions as they have."""

import torch
from torch import Tensor

from ncbook.runtime import tensors


def onto_span(X: Tensor) -> Tensor:
    """Rotate samples onto their span, and leave out the coordinates that are 0.

    With X = P S V^T, the singular value decomposition of rank r, this is X V = P S. As V has
    orthonormal columns, (X V)(X V)^T = X X^T: lengths, angles and distances are those of X.

    It reduces the mean-field network of Wu and Mondelli (2025) without approximation. A particle
    (a, u) sees a sample only through <u, x> = <V^T u, V^T x>. Write u = V b + c with c orthogonal
    to the span. The outputs, hence the loss and its gradient, depend on a and b alone, and
    ||u||^2 = ||b||^2 + ||c||^2; so in the gradient flow dc/dt = -lambda_rho c, whatever the data,
    a and b do, and (a, b) follows the flow of the same network with r in place of d. Where u
    starts as N(0, s^2 I_d), b = V^T u starts as N(0, s^2 I_r), independent of c: the start of the
    reduced network. So outputs, features and all that is computed from them have the same law in r
    dimensions as in d. What E||u||^2 loses is E||c||^2 = s^2 (d - r) exp(-2 lambda_rho t).

    Parameters
    ----------
    X : Tensor
        Shape ``(n, d)``.

    Returns
    -------
    Tensor
        Shape ``(n, r)``; the columns are orthogonal, the longest first. A singular value counts
        for 0 where it is at most max(n, d) eps times the greatest, eps of the dtype.

    Raises
    ------
    ValueError
        X is no matrix of floating-point numbers, or is 0, empty or not finite.
    """
    tensors(X=X)
    if X.ndim != 2 or not X.is_floating_point() or not X.isfinite().all() or not (X != 0).any():
        raise ValueError(
            f"X has shape {tuple(X.shape)} and dtype {X.dtype}: expected a matrix of finite "
            "floating-point numbers, one row a sample, that are not all 0."
        )
    P, S, _ = torch.linalg.svd(X, full_matrices=False)
    least = max(X.shape) * torch.finfo(X.dtype).eps * S[0]
    return (P * S)[:, least < S]
