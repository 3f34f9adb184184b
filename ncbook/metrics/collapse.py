r"""NC1 to NC4 as each paper defines them: functions of the class statistics.

The papers agree on what collapses and differ in how they measure it. Notation as in
:mod:`ncbook.metrics.statistics`; :math:`W` are the classifier's rows. With

.. math::

    \Sigma_W = \frac1n \sum_i (h_i - \mu_{y_i})(h_i - \mu_{y_i})^T, \qquad
    \Sigma_B = \frac1K \sum_k (\mu_k - \mu_G)(\mu_k - \mu_G)^T

and balanced classes, NC1 is

- Papyan, Han, Donoho: :math:`\operatorname{Tr}(\Sigma_W \Sigma_B^+) / K`;
- Wu, Mondelli: :math:`\operatorname{Tr} \Sigma_W / \operatorname{Tr} (\Sigma_W + \Sigma_B)`;
- Min, Zhu, Vidal: :math:`\operatorname{Tr} \Sigma_W / \operatorname{Tr} \Sigma_B`.

So for balanced classes the second is :math:`r / (1 + r)`, where the third is :math:`r`.

None of these measures is differentiated: they are computed without gradients.

References
----------
Papyan, Han and Donoho, Prevalence of neural collapse during the terminal phase of deep learning
training, PNAS 117(40):24652-24663, 2020. Wu and Mondelli, Neural collapse beyond the
unconstrained features model, ICML 2025. Min, Zhu and Vidal, Neural collapse under gradient flow
on shallow ReLU networks for orthogonally separable data, NeurIPS 2025. Galanti, Gyorgy and
Hutter, On the role of neural collapse in transfer learning, ICLR 2022.
"""

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.metrics import _checks
from ncbook.metrics.frames import (
    cosines,
    distances,
    equiangularity,
    equinorm,
    frobenius_unit,
    max_angle,
    off_diagonal,
    orthogonal_distance,
)
from ncbook.metrics.statistics import ClassStatistics


@torch.no_grad()
def nc1_papyan(
    statistics: ClassStatistics, *, weighting: str = "class", rtol: float | None = None
) -> Tensor:
    r"""NC1 of Papyan, Han and Donoho: within-class scatter seen through the class means.

    .. math:: \operatorname{Tr}(\Sigma_W \Sigma_B^+) / K

    Source: Papyan, Han and Donoho (2020), the figure on variability collapse. With imbalanced
    classes :math:`\Sigma_W` averages over all samples, and ``weighting`` says how
    :math:`\Sigma_B` and :math:`\mu_G` average over classes: ``"class"``, each once, as the
    authors' published code does; ``"sample"``, by :math:`n_k / n`, so that
    :math:`\Sigma_W + \Sigma_B` is the total covariance. The paper's classes are balanced, where
    the two agree.

    Computed from the thin singular value decomposition of the K x D matrix :math:`A` with rows
    :math:`\sqrt{p_k} (\mu_k - \mu_G)`, :math:`\Sigma_B = A^T A = V S^2 V^T`: with :math:`F` the
    square root of the within-class scatter it is :math:`\|F V S^{-1}\|_F^2 / (n K)`, a sum of
    squares, never negative, and no D x D matrix is formed.

    Parameters
    ----------
    statistics
        The class statistics, made with ``scatter=True``.
    weighting
        ``"class"`` or ``"sample"``.
    rtol
        Singular values of :math:`A` up to ``rtol`` times the largest count as zero, and their
        directions are left out, as in the pseudo-inverse. By default ``max(K, D)`` times the
        machine epsilon, or what the rounding of the class means themselves can reach,
        ``4 eps ||M||_F``, if that is more. (On :math:`\Sigma_B` the cutoff is its square.) At
        most K - 1 directions are ever used: centred means have no more.

    Returns
    -------
    Tensor
        (...), at least 0. Where all class means coincide no direction is left: infinity, or NaN
        if the within-class scatter is 0 too.

    Raises
    ------
    ValueError
        The statistics lack the scatter; ``weighting`` is unknown; ``rtol`` is not in [0, 1).
    """
    if statistics.factor is None:
        raise ValueError(
            "The statistics were made with scatter=False, but nc1_papyan needs the within-class "
            "scatter; make them with scatter=True, or use nc1_min_zhu_vidal or nc1_wu_mondelli."
        )
    means, k = statistics.means, statistics.num_classes
    weights = statistics.class_weights(weighting).sqrt().unsqueeze(-1)
    between = weights * statistics.centred_means(weighting)
    noise = 4 * torch.finfo(means.dtype).eps * torch.linalg.matrix_norm(weights * means)
    _, inverse, vh = _inverse_svd(between, rtol, noise, max_rank=k - 1)
    scatter = (statistics.factor @ (vh.mT * inverse.unsqueeze(-2))).square().sum((-2, -1))
    value = scatter / (statistics.samples * k)
    # Without a direction the ratio is within over nothing: infinity, or NaN for 0/0.
    nothing = statistics.squares.sum(-1) / torch.zeros_like(value)
    return torch.where((inverse == 0).all(-1), nothing, value)


@torch.no_grad()
def nc1_wu_mondelli(statistics: ClassStatistics) -> Tensor:
    r"""NC1 of Wu and Mondelli: the within-class part of the total variance.

    .. math::

        \frac{\operatorname{Tr}[(H_c - M)^T (H_c - M)]}{\operatorname{Tr}[H_c^T H_c]}
        = \frac{\sum_i \|h_i - \mu_{y_i}\|^2}
               {\sum_i \|h_i - \mu_{y_i}\|^2 + \sum_k n_k \|\mu_k - \bar h\|^2}

    Source: Wu and Mondelli (2025), the definition of NC1; :math:`H_c` is the matrix of features
    less the mean :math:`\bar h` of all samples, :math:`M` that of the class means of
    :math:`H_c`. Their classes are balanced; with imbalanced ones this is the formula on the left
    taken literally, an average over samples.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where all features are equal.
    """
    within = statistics.squares.sum(-1)
    centred = statistics.centred_means("sample").square().sum(-1)
    return within / (within + (statistics.counts * centred).sum(-1))


@torch.no_grad()
def nc1_min_zhu_vidal(statistics: ClassStatistics) -> Tensor:
    r"""NC1 of Min, Zhu and Vidal: within-class variances over the spread of the class means.

    .. math::

        \frac{\sum_k \frac{1}{n_k} \sum_{i \in I_k} \|h_i - \mu_k\|^2}
             {\sum_k \|\mu_k - \bar\mu\|^2}, \qquad \bar\mu = \frac1K \sum_k \mu_k

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments. Each class counts once,
    however many samples it has.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.

    Returns
    -------
    Tensor
        (...), at least 0; infinity where all class means coincide, NaN where all features do.
    """
    return statistics.variances.sum(-1) / statistics.centred_means().square().sum((-2, -1))


@torch.no_grad()
def cdnv_matrix(statistics: ClassStatistics) -> Tensor:
    r"""Class-distance normalised variance of each pair of classes (Galanti, Gyorgy, Hutter).

    .. math:: V_{kl} = \frac{\sigma_k^2 + \sigma_l^2}{2 \|\mu_k - \mu_l\|^2}, \qquad
        \sigma_k^2 = \frac{1}{n_k} \sum_{i \in I_k} \|h_i - \mu_k\|^2

    Source: Galanti, Gyorgy and Hutter (2022), the definition of the class-distance normalised
    variance, with the empirical distributions of the classes. Class sizes do not weigh.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.

    Returns
    -------
    Tensor
        (..., K, K), symmetric; the diagonal, which is not defined, is NaN. Infinity where two
        class means coincide, NaN where their features do.
    """
    centred = statistics.centred_means()
    variances = statistics.variances
    sums = variances.unsqueeze(-1) + variances.unsqueeze(-2)
    values = sums / (2 * distances(centred, centred).square())
    diagonal = torch.eye(statistics.num_classes, dtype=torch.bool, device=values.device)
    return torch.where(diagonal, torch.nan, values)


@torch.no_grad()
def cdnv(statistics: ClassStatistics) -> Tensor:
    """Class-distance normalised variance, averaged over the pairs of different classes: (...).

    Source: Galanti, Gyorgy and Hutter (2022), who report this average; see :func:`cdnv_matrix`.
    """
    return off_diagonal(cdnv_matrix(statistics)).mean(-1)


@torch.no_grad()
def nc2_min_zhu_vidal(statistics: ClassStatistics) -> Tensor:
    r"""NC2 of Min, Zhu and Vidal: how far the class means are from orthogonal.

    .. math:: \left\| \frac{G}{\|G\|_F} - \frac{I}{\sqrt K} \right\|_F, \qquad
        G_{kl} = \cos(\mu_k, \mu_l)

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments. The means are not centred:
    behind a ReLU they are non-negative and become an orthogonal frame, not a simplex. Their
    norms do not count, as G is the Gram matrix of their directions.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.

    Returns
    -------
    Tensor
        (...), in [0, 2]; NaN where a class mean is 0. With K > D it has a positive floor.
    """
    return orthogonal_distance(cosines(statistics.means))


@torch.no_grad()
def nc3_papyan(statistics: ClassStatistics, weights: Tensor, *, weighting: str = "class") -> Tensor:
    r"""NC3 of Papyan, Han and Donoho: how far classifiers are from the centred class means.

    .. math:: \left\| \frac{W^T}{\|W\|_F} - \frac{\dot M}{\|\dot M\|_F} \right\|_F^2, \qquad
        \dot M = [\mu_k - \mu_G]_k

    Source: Papyan, Han and Donoho (2020), the figure on self-duality. The norm is squared.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.
    weights
        (..., K, D), the classifier's rows.
    weighting
        How :math:`\mu_G` averages with imbalanced classes: ``"class"``, the mean of the class
        means, as in the authors' published code, or ``"sample"``.

    Returns
    -------
    Tensor
        (...), in [0, 4]; NaN where the weights or the centred means are 0.

    Raises
    ------
    ValueError
        The weights do not fit the statistics; ``weighting`` is unknown.
    """
    _check_weights(weights, statistics)
    difference = frobenius_unit(weights) - frobenius_unit(statistics.centred_means(weighting))
    return difference.square().sum((-2, -1))


@torch.no_grad()
def nc3_min_zhu_vidal(
    statistics: ClassStatistics,
    weights: Tensor,
    *,
    printed: bool = False,
    rtol: float | None = None,
) -> Tensor:
    r"""NC3 of Min, Zhu and Vidal: projected self-duality of classifiers and class means.

    .. math:: \left\| \frac{V M^+}{\|V M^+\|_F} - \frac{I - 11^T/K}{\sqrt{K - 1}} \right\|_F

    with :math:`V` the classifier's rows and :math:`M` the class means (not centred) as rows.

    Source: Min, Zhu and Vidal (2025), the metrics of the experiments. The paper prints
    :math:`\tilde E / \sqrt{K - 1}` with :math:`\tilde E = \sqrt{K/(K-1)} (I - 11^T/K)`, which has
    norm :math:`\sqrt{K/(K-1)}`, not 1: with it the measure never falls below
    :math:`\sqrt{K/(K-1)} - 1`. By default the target is scaled to norm 1. Even so the limit of
    Theorem 1 gives 0 only if the classes' scales agree: it has
    :math:`V M^+ = \tilde E \operatorname{diag}(1/\langle u_k, \bar x_k\rangle)` up to scale.

    For two classes and the paper's scalar output :math:`v`, give the rows ``[v, -v]``.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.
    weights
        (..., K, D), the classifier's rows.
    printed
        Compare with the target as the paper prints it.
    rtol
        Singular values of :math:`M` up to ``rtol`` times the largest count as zero; by default
        ``max(K, D)`` times the machine epsilon.

    Returns
    -------
    Tensor
        (...); NaN where the weights or the class means are 0. With D < K - 1 it has a positive
        floor.

    Raises
    ------
    ValueError
        The weights do not fit the statistics; ``rtol`` is not in [0, 1).
    """
    _check_weights(weights, statistics)
    k = statistics.num_classes
    u, inverse, vh = _inverse_svd(statistics.means, rtol)
    product = (weights @ vh.mT * inverse.unsqueeze(-2)) @ u.mT
    target = centring(k, product) * (k**0.5 / (k - 1) if printed else 1 / (k - 1) ** 0.5)
    return torch.linalg.matrix_norm(frobenius_unit(product) - target)


@torch.no_grad()
def nc4_papyan(
    statistics: ClassStatistics, weights: Tensor, bias: Tensor | None, features: Tensor
) -> Tensor:
    r"""NC4 of Papyan, Han and Donoho: how often classifier and nearest class mean disagree.

    .. math:: \frac1n \#\left\{ i : \arg\max_k (\langle w_k, h_i\rangle + b_k)
        \ne \arg\min_k \|h_i - \mu_k\| \right\}

    Source: Papyan, Han and Donoho (2020), the figure on the nearest class mean: the class means
    are those of the training samples (``statistics``), the features those of test samples; those
    of training samples show the same decision rule in the making. Of equal candidates either
    rule takes the class with the smallest number.

    For mini-batches, average the values weighted by the batches' sizes.

    Parameters
    ----------
    statistics
        The class statistics; the scatter is not needed.
    weights
        (..., K, D), the classifier's rows.
    bias
        (..., K), or None for a classifier without.
    features
        (..., n, D), the samples to decide on, n >= 1.

    Returns
    -------
    Tensor
        (...), in [0, 1]; NaN where an input is not finite.

    Raises
    ------
    ValueError
        A shape does not fit the statistics, or there is no sample.
    """
    _check_weights(weights, statistics)
    _checks.floating("features", features, "(..., n, D)")
    k, dim = statistics.means.shape[-2:]
    if features.shape[-1] != dim or features.shape[-2] == 0:
        raise ValueError(
            f"features has shape {tuple(features.shape)}, but (..., n, {dim}) with n >= 1 is "
            f"expected; give at least one sample of the dimension of the class means."
        )
    _checks.one_device(class_means=statistics.means, features=features)
    # Distances from a common centre, where the squared norms that are compared are smallest.
    scale = 1 if statistics.scale is None else statistics.scale[..., None, None]
    centre = statistics.global_mean().unsqueeze(-2)
    means = statistics.centred_means()
    offsets = means.square().sum(-1).unsqueeze(-2) / 2
    nearness = (features / scale - centre) @ means.mT - offsets
    logits = features @ weights.mT
    if bias is not None:
        _checks.floating("bias", bias, "(..., K)")
        _checks.one_device(class_means=statistics.means, bias=bias)
        if bias.shape[-1] != k:
            raise ValueError(
                f"bias has shape {tuple(bias.shape)}, but (..., {k}) is expected; give one entry "
                f"for each class."
            )
        logits = logits + bias.unsqueeze(-2)
    differ = logits.argmax(-1) != nearness.argmax(-1)
    value = differ.to(features.dtype).mean(-1)
    return torch.where(_checks.finite(logits) & _checks.finite(nearness), value, torch.nan)


def measures(statistics: ClassStatistics, weights: Tensor | None = None) -> dict[str, Tensor]:
    """Return every measure that the arguments allow, by name: one row of a table over time.

    Parameters
    ----------
    statistics
        The class statistics; without the scatter ``nc1.papyan`` is left out.
    weights
        (..., K, D), the classifier's rows; without them what concerns them is left out.

    Returns
    -------
    dict
        Tensors (...) under ``nc1.papyan``, ``nc1.wu-mondelli``, ``nc1.min-zhu-vidal``, ``cdnv``,
        ``nc2.equinorm.means``, ``nc2.equiangularity.means``, ``nc2.max-angle.means``,
        ``nc2.min-zhu-vidal``, and with weights the first three of NC2 with ``.weights``,
        ``nc3.papyan`` and ``nc3.min-zhu-vidal``.

    Raises
    ------
    ValueError
        The weights do not fit the statistics.
    """
    table = {}
    if statistics.factor is not None:
        table["nc1.papyan"] = nc1_papyan(statistics)
    table["nc1.wu-mondelli"] = nc1_wu_mondelli(statistics)
    table["nc1.min-zhu-vidal"] = nc1_min_zhu_vidal(statistics)
    table["cdnv"] = cdnv(statistics)
    rows = {"means": statistics.centred_means()}
    if weights is not None:
        rows["weights"] = _check_weights(weights, statistics)
    for name, value in rows.items():
        table[f"nc2.equinorm.{name}"] = equinorm(value)
        table[f"nc2.equiangularity.{name}"] = equiangularity(value)
        table[f"nc2.max-angle.{name}"] = max_angle(value)
    table["nc2.min-zhu-vidal"] = nc2_min_zhu_vidal(statistics)
    if weights is not None:
        table["nc3.papyan"] = nc3_papyan(statistics, weights)
        table["nc3.min-zhu-vidal"] = nc3_min_zhu_vidal(statistics, weights)
    return table


def _check_weights(weights: Tensor, statistics: ClassStatistics) -> Tensor:
    _checks.floating("weights", weights, "(..., K, D)")
    if weights.shape[-2:] != statistics.means.shape[-2:]:
        k, dim = statistics.means.shape[-2:]
        raise ValueError(
            f"weights has shape {tuple(weights.shape)}, but (..., {k}, {dim}) is expected; give "
            f"one row for each class, of the dimension of the features."
        )
    _checks.one_device(class_means=statistics.means, weights=weights)
    return weights


def _inverse_svd(
    matrix: Tensor, rtol: float | None, noise: Tensor | float = 0.0, max_rank: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, the inverse singular values (0 for those that count as zero), and V^T, all thin.

    A singular value counts as zero up to ``rtol`` times the largest, by default
    ``max(K, D) eps`` or ``noise``, whichever is more, and beyond ``max_rank``. A matrix that is
    not finite gives NaN, where LAPACK would raise and take the other runs with it.
    """
    if rtol is not None and not 0 <= rtol < 1:
        raise ValueError(
            f"rtol is {rtol}, but a number in [0, 1) is expected; it is the part of the largest "
            f"singular value up to which others count as zero."
        )
    finite = _checks.finite(matrix)
    clean = torch.where(finite[..., None, None], matrix, 0)
    u, s, vh = torch.linalg.svd(clean, full_matrices=False)
    largest = s.amax(-1, keepdim=True)
    if rtol is None:
        cutoff = max(matrix.shape[-2:]) * torch.finfo(s.dtype).eps * largest
        cutoff = torch.maximum(cutoff, torch.as_tensor(noise).to(s).unsqueeze(-1))
    else:
        cutoff = rtol * largest
    index = torch.arange(s.shape[-1], device=s.device)
    used = (s > cutoff) & (index < (s.shape[-1] if max_rank is None else max_rank))
    inverse = torch.where(used, 1 / s, 0)
    return u, torch.where(finite.unsqueeze(-1), inverse, torch.nan), vh
