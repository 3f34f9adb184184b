r"""The limit of Theorem 1: rays on orthogonal axes and a projected duality.

theta / ``|theta|`` tends to W = sum_k s_k u_k phi_k^T and V = E~ diag(s) Phi with unit phi_k >= 0
that are orthogonal to each other, the rows of Phi (Min, Zhu and Vidal, 2025, Theorem 1). The u_k
are the max-margin directions of the classes. As c gamma_k s_k^2 / R tends to 1 for every class
(``late_training``), the scales are s_k^2 in proportion to 1/gamma_k. Features of class k lie on
the ray of phi_k at <s_k u_k, x_i>, class means at s_k m_k with m_k = <u_k, xbar_k> and xbar_k the
mean of the samples of the class (not scaled to norm 1). Everything else follows:

- the class means are orthogonal (NC2 = 0) with norms s_k m_k;
- NC1, the spread along the rays, does not vanish; it is 0 after any normalisation of the features
  that makes rays points;
- V M^+ = E~ diag(1/m_k) with the class means M as rows: NC3 = 0 only if the m_k agree. With
  normalised features it is E~ diag(s_k), and NC3 = 0 only if the margins agree;
- V V^T = E~ diag(s_k^2) E~: for K > 2 V is a simplex only if the margins agree.

The phi_k alone depend on the start. K = 2 with a scalar output is the same with E~ = (+1, -1), or,
given the rows [v, -v], with E~ of two outputs up to scale.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.runtime import tensors
from ncbook.theory.relu.alignment import pseudo_labels
from ncbook.theory.relu.one_class_svm import MaxMargin, class_indices


def limit_scales(margins: Tensor) -> Tensor:
    """Return s_k in the limit of theta / ``|theta|``, ``(*batch, K)``.

    s_k^2 is as 1/gamma_k, and 2 sum_k s_k^2 = 1: W and V have half of the square each.

    Source: Min, Zhu and Vidal (2025), Theorem 1; the scales are derived here.

    Parameters
    ----------
    margins : Tensor
        gamma_k, ``(*batch, K)``.
    """
    return (1 / (2 * margins * (1 / margins).sum(-1, keepdim=True))).sqrt()


def limit_network(found: MaxMargin, phi: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """Return the limit (Wbar, Vbar) of theta / ``|theta|``.

    Source: Min, Zhu and Vidal (2025), Theorem 1.

    Parameters
    ----------
    found : MaxMargin
        The max margins of the classes.
    phi : Tensor
        phi_k as rows, ``(*batch, K, h)``, orthonormal and not negative.
    outputs : int
        d_y, K or, for K = 2, 1.

    Returns
    -------
    W : Tensor
        ``(*batch, D, h)``.
    V : Tensor
        ``(*batch, outputs, h)``.

    Raises
    ------
    ValueError
        phi is not as described, or the outputs do not fit.
    """
    K = found.margins.shape[-1]
    off = (phi @ phi.mT - torch.eye(phi.shape[-2]).to(phi)).abs().max()
    if phi.shape[-2] != K or bool((phi < 0).any()) or float(off) > 1e-6:
        raise ValueError(
            f"phi has shape {tuple(phi.shape)}, least entry {float(phi.min()):.1e} and is "
            f"{float(off):.1e} from orthonormal; expected {K} orthonormal rows that are not "
            "negative."
        )
    scaled = limit_scales(found.margins).unsqueeze(-1) * phi
    return found.directions.mT @ scaled, pseudo_labels(K, outputs).to(phi) @ scaled


def ray_positions(X: Tensor, y: Sequence[int] | Tensor, found: MaxMargin) -> Tensor:
    """Return <u_k, x_i> of each sample, k its class, ``(*batch, n)``.

    The feature of x_i in the limit is s_k times this times phi_k.

    Source: Min, Zhu and Vidal (2025), Theorem 1, intra-class directional collapse.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    tensors(X=X)
    positions = X.new_empty(X.shape[:-1])
    for k, members in enumerate(class_indices(y, X.shape[-2])):
        u = found.directions[..., k, :, None]
        positions[..., members] = (X[..., members, :] @ u).squeeze(-1)
    return positions


def mean_positions(X: Tensor, y: Sequence[int] | Tensor, found: MaxMargin) -> Tensor:
    """Return m_k = <u_k, xbar_k>, the mean of the ray positions of a class, ``(*batch, K)``.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    positions = ray_positions(X, y, found)
    classes = class_indices(y, X.shape[-2])
    return torch.stack([positions[..., members].mean(-1) for members in classes], dim=-1)


def mean_gram(X: Tensor, y: Sequence[int] | Tensor, found: MaxMargin) -> Tensor:
    """Return the Gram matrix of the class means in the limit, ``(*batch, K, K)``.

    diag(s_k^2 m_k^2): orthogonal, of norms that differ.

    Source: Min, Zhu and Vidal (2025), Theorem 1, orthogonal class means.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    tensors(X=X)
    norms = limit_scales(found.margins) * mean_positions(X, y, found)
    return torch.diag_embed(norms.square())


def nc1_limit(X: Tensor, y: Sequence[int] | Tensor, found: MaxMargin) -> Tensor:
    """Return the limit of the paper's NC1, shape ``batch``; it is 0 for normalised features.

    sum_k s_k^2 var_k / ((1 - 1/K) sum_k s_k^2 m_k^2) with var_k the variance of the ray positions
    of class k; the means are orthogonal, so their squared distances from their own mean add up
    to (1 - 1/K) of their squared norms.

    Source: Min, Zhu and Vidal (2025), Theorem 1 and the metrics of the experiments.

    Raises
    ------
    ValueError
        X is no tensor, or the labels do not fit the samples.
    """
    positions, classes = ray_positions(X, y, found), class_indices(y, X.shape[-2])
    own = [positions[..., members] for members in classes]
    spread = torch.stack([part.var(-1, correction=0) for part in own], dim=-1)
    means = torch.stack([part.mean(-1) for part in own], dim=-1)
    squares = limit_scales(found.margins).square()
    K = len(classes)
    return (squares * spread).sum(-1) / ((1 - 1 / K) * (squares * means.square()).sum(-1))


def nc3_of_ratios(ratios: Tensor, printed: bool = False) -> Tensor:
    """Return the paper's NC3 of V M^+ = E~ diag(ratios), shape ``batch``.

    In the limit the ratios are 1/m_k (``1 / mean_positions``), or s_k for normalised features.
    The cosine of E~ diag(a) and the target is sum a / sqrt(K sum a^2), so NC3 is
    sqrt(2 - 2 cosine), 0 if the ratios agree. The target as printed, E~ / sqrt(K - 1), has the
    norm t = sqrt(K/(K-1)), and NC3 is sqrt(1 + t^2 - 2 t cosine), at least t - 1 (``nc3_floor``).

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments; the limit is derived here.

    Parameters
    ----------
    ratios : Tensor
        Positive, ``(*batch, K)``.
    printed : bool
        Compare with the target as the paper prints it.
    """
    K = ratios.shape[-1]
    unit = ratios / torch.linalg.vector_norm(ratios, dim=-1, keepdim=True)
    # 1 - cosine as half of a squared distance: a difference would lose small values.
    short = (unit - 1 / math.sqrt(K)).square().sum(-1) / 2
    t = 1 + nc3_floor(K) if printed else 1.0
    return ((1 - t) ** 2 + 2 * t * short).sqrt()


def nc3_floor(K: int) -> float:
    """Return sqrt(K/(K-1)) - 1, below which NC3 as printed cannot fall.

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments; derived here.
    """
    return math.sqrt(K / (K - 1)) - 1


def distance_from_simplex(margins: Tensor) -> Tensor:
    """Return how far V V^T is from a simplex's in the limit, both at unit norm, shape ``batch``.

    V V^T = E~ diag(s^2) E~ against Pi = I - 11^T/K; s^2 is as 1/gamma. 0 if the margins agree, and
    for K > 2 only then: diag(s^2) acts as a number on the complement of 1 only if it is one.

    Source: Min, Zhu and Vidal (2025), the remark on Theorem 1.

    Parameters
    ----------
    margins : Tensor
        gamma_k, ``(*batch, K)``.
    """
    K = margins.shape[-1]
    Pi = centring(K, margins)
    gram = Pi @ torch.diag_embed(1 / margins) @ Pi
    gram = gram / torch.linalg.matrix_norm(gram, keepdim=True)
    return torch.linalg.matrix_norm(gram - Pi / math.sqrt(K - 1))
