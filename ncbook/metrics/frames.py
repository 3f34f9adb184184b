r"""Cosines, angles, and how far a set of vectors is from a frame. One vector is one row.

The measures of NC2 act on rows :math:`m_1, \dots, m_K \in \mathbb R^D`, so that one function
serves class means (``statistics.centred_means()``, ``statistics.means``) and classifiers. A row
of zeros has no direction: what needs one is NaN.
"""

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.metrics import _checks


def off_diagonal(matrix: Tensor) -> Tensor:
    """Return the entries of a square matrix that are not on its diagonal, by rows.

    Parameters
    ----------
    matrix
        (..., K, K).

    Returns
    -------
    Tensor
        (..., K (K - 1)).

    Raises
    ------
    ValueError
        The matrix is not square.
    """
    k = _square("matrix", matrix).shape[-1]
    # Less its first entry, the matrix by rows is K - 1 stretches of K entries and a diagonal one.
    flat = matrix.flatten(-2)[..., 1:]
    return flat.unflatten(-1, (k - 1, k + 1))[..., :-1].flatten(-2)


def directions(rows: Tensor) -> Tensor:
    """Return the rows divided by their norms, (..., K, D); NaN for a row of zeros.

    Rows are scaled by their largest entry first: the square of a tiny or huge one would
    underflow or overflow.

    Raises
    ------
    ValueError
        ``rows`` is not a floating-point (..., K, D).
    """
    _checks.floating("rows", rows, "(..., K, D)")
    scaled = rows / rows.abs().amax(-1, keepdim=True)
    return scaled / torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)


@torch.no_grad()
def cosines(rows: Tensor, others: Tensor | None = None) -> Tensor:
    r"""Return the cosines of the angles between rows, clipped to [-1, 1].

    Parameters
    ----------
    rows
        (..., K, D).
    others
        (..., L, D); by default ``rows`` themselves.

    Returns
    -------
    Tensor
        (..., K, L), :math:`\langle m_k, m_l\rangle / (\|m_k\|\,\|m_l\|)`; NaN for a row of zeros.

    Raises
    ------
    ValueError
        The arguments are not floating point or their last dimensions differ.
    """
    u, v = _direction_pair(rows, others)
    return (u @ v.mT).clamp(-1, 1)


@torch.no_grad()
def angles(rows: Tensor, others: Tensor | None = None) -> Tensor:
    r"""Return the angles between rows in radians, in [0, pi].

    Of unit vectors :math:`2 \operatorname{atan2}(\|u - v\|, \|u + v\|)` (Kahan), which keeps its
    digits where the arc cosine loses half of them: near 0 and near pi.

    Parameters
    ----------
    rows
        (..., K, D).
    others
        (..., L, D); by default ``rows`` themselves.

    Returns
    -------
    Tensor
        (..., K, L); NaN for a row of zeros.

    Raises
    ------
    ValueError
        The arguments are not floating point or their last dimensions differ.
    """
    u, v = _direction_pair(rows, others)
    return 2 * torch.atan2(distances(u, v), distances(u, -v))


def distances(rows: Tensor, others: Tensor) -> Tensor:
    """Return the Euclidean distances between two sets of rows, from the differences: (..., K, L).

    Never from the inner products, whose difference cancels for close rows.
    """
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


@torch.no_grad()
def equinorm(rows: Tensor) -> Tensor:
    r"""NC2 of Papyan, Han and Donoho: how far the rows' norms are from equal.

    .. math:: \operatorname{Std}_k \|m_k\| \,/\, \operatorname{Avg}_k \|m_k\|

    Source: Papyan, Han and Donoho (2020), the figure on equal norms; rows are
    :math:`\mu_k - \mu_G` (``statistics.centred_means()``) or the classifiers :math:`w_k`. The
    standard deviation is that of the K numbers (divisor K), as everywhere in this room; the
    authors' published code divides by K - 1, which gives :math:`\sqrt{K/(K-1)}` times as much.

    Parameters
    ----------
    rows
        (..., K, D), K >= 2.

    Returns
    -------
    Tensor
        (...), at least 0; NaN where all rows are 0.

    Raises
    ------
    ValueError
        There are fewer than two rows, or they are not floating point.
    """
    norms = torch.linalg.vector_norm(_checks.rows("rows", rows), dim=-1)
    return norms.std(-1, correction=0) / norms.mean(-1)


@torch.no_grad()
def equiangularity(rows: Tensor) -> Tensor:
    r"""NC2 of Papyan, Han and Donoho: how far the rows' angles are from equal.

    .. math:: \operatorname{Std}_{k \ne l} \cos(m_k, m_l)

    Source: Papyan, Han and Donoho (2020), the figure on equal angles; rows as in
    :func:`equinorm`, divisor of the standard deviation K (K - 1). With two rows it is 0.

    Parameters
    ----------
    rows
        (..., K, D), K >= 2.

    Returns
    -------
    Tensor
        (...), at least 0; NaN where a row is 0.

    Raises
    ------
    ValueError
        There are fewer than two rows, or they are not floating point.
    """
    return off_diagonal(cosines(_checks.rows("rows", rows))).std(-1, correction=0)


@torch.no_grad()
def max_angle(rows: Tensor) -> Tensor:
    r"""NC2 of Papyan, Han and Donoho: how far the rows' angles are from the largest possible.

    .. math:: \operatorname{Avg}_{k \ne l} \left| \cos(m_k, m_l) + \frac{1}{K - 1} \right|

    Source: Papyan, Han and Donoho (2020), the figure on maximal angles; rows as in
    :func:`equinorm`. It is 0 if and only if the directions form a simplex, which needs K <= D + 1;
    with more rows it has a positive floor.

    Parameters
    ----------
    rows
        (..., K, D), K >= 2.

    Returns
    -------
    Tensor
        (...), at least 0; NaN where a row is 0.

    Raises
    ------
    ValueError
        There are fewer than two rows, or they are not floating point.
    """
    k = _checks.rows("rows", rows).shape[-2]
    return (off_diagonal(cosines(rows)) + 1 / (k - 1)).abs().mean(-1)


@torch.no_grad()
def simplex_distance(gram: Tensor) -> Tensor:
    r"""Return the distance of a Gram matrix from that of the simplex frame, scale apart.

    .. math:: \left\| \frac{G}{\|G\|_F} - \frac{I - 11^T/K}{\sqrt{K - 1}} \right\|_F

    Both matrices have norm 1, so the distance lies in [0, 2]; it is 0 if and only if the rows
    are a simplex equiangular tight frame of any scale.

    Parameters
    ----------
    gram
        (..., K, K), K >= 2: ``rows @ rows.mT``, in which norms count, or ``cosines(rows)``.

    Returns
    -------
    Tensor
        (...); NaN where ``gram`` is 0.

    Raises
    ------
    ValueError
        ``gram`` is not square, or K < 2.
    """
    k = _square("gram", gram).shape[-1]
    return _distance_from_shape(gram, centring(k, gram) / (k - 1) ** 0.5)


@torch.no_grad()
def orthogonal_distance(gram: Tensor) -> Tensor:
    r"""Return the distance of a Gram matrix from that of an orthogonal frame, scale apart.

    .. math:: \left\| \frac{G}{\|G\|_F} - \frac{I}{\sqrt K} \right\|_F

    Parameters
    ----------
    gram
        (..., K, K), K >= 2: ``rows @ rows.mT``, in which norms count, or ``cosines(rows)``.

    Returns
    -------
    Tensor
        (...), in [0, 2]; 0 if and only if the rows are orthogonal and equally long; NaN where
        ``gram`` is 0.

    Raises
    ------
    ValueError
        ``gram`` is not square, or K < 2.
    """
    k = _square("gram", gram).shape[-1]
    return _distance_from_shape(gram, torch.eye(k).to(gram) / k**0.5)


def class_plane(features: Tensor, labels: Tensor) -> Tensor:
    """Return features of three classes in the plane of their class means, (n, 2).

    The mean of all is the origin, the mean of the first class lies to the right of it, and that of
    the second above the first axis.

    Parameters
    ----------
    features
        (n, D).
    labels
        (n,): 0, 1 and 2.

    Raises
    ------
    ValueError
        There are not three classes.
    """
    if labels.numel() == 0 or int(labels.max()) != 2:
        raise ValueError("class_plane needs labels 0, 1 and 2: three means span a plane.")
    centred = features - features.mean(0)
    right, second = (centred[labels == k].mean(0) for k in range(2))
    right = right / right.norm()
    up = second - (second @ right) * right
    return centred @ torch.stack([right, up / up.norm()], 1)


def frobenius_unit(matrix: Tensor) -> Tensor:
    """Return the matrices divided by their Frobenius norms; NaN for a matrix of zeros."""
    scaled = matrix / matrix.abs().amax((-2, -1), keepdim=True)
    return scaled / torch.linalg.matrix_norm(scaled, keepdim=True)


def _distance_from_shape(matrix: Tensor, target: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(frobenius_unit(matrix) - target)


def _square(name: str, matrix: Tensor) -> Tensor:
    _checks.rows(name, matrix, "(..., K, K)")
    if matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(
            f"{name} has shape {tuple(matrix.shape)}, but a square (..., K, K) is expected; "
            f"give rows @ rows.mT or cosines(rows)."
        )
    return matrix


def _direction_pair(rows: Tensor, others: Tensor | None) -> tuple[Tensor, Tensor]:
    u = directions(rows)
    if others is None:
        return u, u
    _checks.floating("others", others, "(..., L, D)")
    _checks.one_device(rows=rows, others=others)
    if others.shape[-1] != rows.shape[-1]:
        raise ValueError(
            f"others has shape {tuple(others.shape)}, but rows have {rows.shape[-1]} entries; "
            f"give both the same last dimension."
        )
    return u, directions(others)
