"""Which starts lead to which classes: the threshold of Assumption 4, and chance.

Min, Zhu and Vidal (2025), Assumption 4, asks of a neuron of group k that the cosine B of v and e~_k
exceeds a threshold and that its alignment A_k with class k exceeds twice that with all others
(:func:`ncbook.theory.relu.assumptions.semi_local`). We had the text without its displayed formulas,
so the threshold is our reconstruction. It matters. In the alignment phase sample i pushes w along
x_i with the weight <e~_{y_i}, v>. With unit v

    <e~_l, v> <= (sqrt(1 - B^2) sqrt((K - 1)^2 - 1) - B) / (K - 1),  l other than k,

attained in the plane of e~_k and e~_l: no other class pulls w towards itself if
B^2 >= 1 - 1/(K - 1)^2. A little more is 1 - 1/(2 (K - 1)^2), which follows as well from
``|v - e~_k|`` < 1/(K - 1), and is the threshold of this book. Below that bound, as with
1 - 1/(2 (K - 1)), another class may pull, and harder than class k if its samples are longer: the
neuron can leave its group. Starts at either threshold are made by ``ShallowReLU.edge_start``.
"""

from collections.abc import Sequence

import numpy as np


def safe_cosine(K: int) -> float:
    """Return 1 - 1/(2 (K - 1)^2): beyond it only a neuron's own class pulls at it.

    Source: derived for Assumption 4 of Min, Zhu and Vidal (2025); see the module.

    Raises
    ------
    ValueError
        K < 2.
    """
    if K < 2:
        raise ValueError(f"K = {K}: expected at least two classes.")
    return 1 - 1 / (2 * (K - 1) ** 2)


def coverage(share: float, K: int, widths: Sequence[int]) -> list[float]:
    """Return the chance that h independent neurons reach all K classes, for some h.

    Each neuron ends in a given class with probability ``share``; while outputs are small neurons do
    not see each other. By inclusion and exclusion the chance is the sum over j of
    (-1)^j (K choose j) (1 - j share)^h, whose terms cancel. Here one neuron after the other is
    added to the distribution of the number of classes reached, so that all terms are positive.

    Source: derived for random starts.

    Raises
    ------
    ValueError
        The share is not in [0, 1/K].
    """
    if not 0 <= share <= (1 + 1e-12) / K:
        raise ValueError(f"share = {share}: expected a probability up to 1/K = {1 / K:g}.")
    reached = np.arange(K + 1)
    found, chance = {}, (reached == 0).astype(float)
    for h in range(max(widths, default=0) + 1):
        found[h] = float(chance[-1])
        more = chance * np.minimum((K - reached) * share, 1)
        chance = chance - more
        chance[1:] += more[:-1]
    return [found[h] for h in widths]
