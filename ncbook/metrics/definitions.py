"""What each measure is called, how it is computed and where it is from, for tables that print it.

``n`` samples ``h_i`` of ``K`` classes, ``n_k`` of class ``k``; ``μ_k`` are the class means, ``μ``
is the mean of these, ``m_k = μ_k - μ``; ``w_k``, ``b_k`` are the classifier's rows and biases, and
``Σ_W``, ``Σ_B`` the covariances within classes and of the class means. Std is that of a whole
population. The functions that compute them say the rest.
"""

from typing import NamedTuple

PAPYAN = "Papyan, Han, Donoho (2020)"
WU = "Wu, Mondelli (2025)"
MIN = "Min, Zhu, Vidal (2025)"
GALANTI = "Galanti, György, Hutter (2022)"
OURS = "this book"


class Definition(NamedTuple):
    """A measure in words, as a formula, and the paper that defines it."""

    title: str
    formula: str
    source: str


#: The name of each measure, as :func:`~ncbook.metrics.collapse.measures` and others have it, and
#: its definition, in the order of a table.
#:
#: :meta hide-value:
DEFINITIONS = {
    "nc1.papyan": Definition(
        "within-class scatter, seen through the class means", "Tr(Σ_W Σ_B⁺) / K", PAPYAN
    ),
    "nc1.wu-mondelli": Definition(
        "within-class part of the total variance", "Σ_i |h_i - μ_yi|² / Σ_i |h_i - Avg_j h_j|²", WU
    ),
    "nc1.min-zhu-vidal": Definition(
        "within-class variances over the spread of the class means",
        "Σ_k Avg_(i in k) |h_i - μ_k|² / Σ_k |m_k|²",
        MIN,
    ),
    "nc1.min-zhu-vidal.unit": Definition(
        "the same of unit features: collapse of directions",
        "that of h_i / |h_i|, where h_i is not 0",
        f"{OURS}, after {MIN}",
    ),
    "lengths.spread": Definition(
        "within-class variances of lengths over the mean lengths squared",
        "Σ_k Var_(i in k) |h_i| / Σ_k (Avg_(i in k) |h_i|)²",
        OURS,
    ),
    "lengths.zero": Definition("features of length 0, without direction", "#{i : h_i = 0}", OURS),
    "cdnv": Definition(
        "class-distance normalised variance",
        "Avg_(k≠l) (σ_k² + σ_l²) / (2 |μ_k - μ_l|²), σ_k² = Avg_(i in k) |h_i - μ_k|²",
        GALANTI,
    ),
    "nc2.equinorm.means": Definition(
        "class means of equal length", "Std_k |m_k| / Avg_k |m_k|", PAPYAN
    ),
    "nc2.equiangularity.means": Definition(
        "class means at equal angles", "Std_(k≠l) cos(m_k, m_l)", PAPYAN
    ),
    "nc2.max-angle.means": Definition(
        "class means at the largest angles", "Avg_(k≠l) |cos(m_k, m_l) + 1/(K-1)|", PAPYAN
    ),
    "nc2.min-zhu-vidal": Definition(
        "class means orthogonal, not centred", "|G/|G|_F - I/√K|_F, G_kl = cos(μ_k, μ_l)", MIN
    ),
    "nc2.equinorm.weights": Definition(
        "classifiers of equal length", "Std_k |w_k| / Avg_k |w_k|", PAPYAN
    ),
    "nc2.equiangularity.weights": Definition(
        "classifiers at equal angles", "Std_(k≠l) cos(w_k, w_l)", PAPYAN
    ),
    "nc2.max-angle.weights": Definition(
        "classifiers at the largest angles", "Avg_(k≠l) |cos(w_k, w_l) + 1/(K-1)|", PAPYAN
    ),
    "nc3.papyan": Definition(
        "classifiers are the centred class means", "|W/|W|_F - M/|M|_F|_F², M = (m_k)", PAPYAN
    ),
    "nc3.min-zhu-vidal": Definition(
        "classifiers are the class means, projected",
        "|P/|P|_F - (I - 11ᵀ/K)/√(K-1)|_F, P = W (μ_k)⁺",
        f"{MIN}, target of norm 1",
    ),
    "nc4.papyan": Definition(
        "classifier and nearest class mean disagree",
        "#{i : argmax_k (⟨w_k, h_i⟩ + b_k) ≠ argmin_k |h_i - μ_k|} / n",
        PAPYAN,
    ),
}
