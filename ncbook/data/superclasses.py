"""Features that are made, as a stand-in for those of a pretrained network on three superclasses.

Figure 1 (b) of Wu and Mondelli (ICML 2025) trains on the penultimate layer of a ResNet50,
pretrained on ImageNet, of three superclasses of CIFAR-100 with five classes each. Those weights
are not at hand; :mod:`ncbook.data.pretrained` has the features of another network. The ones here
share the structure that can be said without images, and nothing else: they are outputs of a ReLU,
so that none is negative and half are zero; each superclass is made of five subclasses; within a
subclass they vary in few directions. Numbers measured on them are about this law, not about
CIFAR-100.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.data.synthetic import Labelled
from ncbook.runtime import Runtime, generator, whole


def superclass_features(
    run: Runtime,
    seeds: Sequence[int],
    d: int = 2048,
    *,
    K: int = 3,
    subclasses: int = 5,
    per_subclass: int = 100,
    rank: int = 60,
    variances: tuple[float, float, float] = (0.2, 0.3, 0.5),
) -> Labelled:
    """Draw features of superclasses, one data set a seed: a stand-in for Figure 1 (b).

    A point is relu(c + s + F z), scaled so that the longest point of its data set has norm 1
    (Assumption A2). All are Gaussian: a centre c of the superclass, a shift s of the subclass, a
    factor F (d x rank) of the subclass and a z of the point. The sum has variance 1 in each
    coordinate, made of the three ``variances``.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    seeds : sequence of int
        S data sets; none depends on the other seeds.
    d : int
        Dimensions; a ResNet50 has 2048.
    K, subclasses, per_subclass : int
        Superclasses, at least 2, which are the labels; subclasses of each; points of each
        subclass. The defaults are the figure's: 500 points of each superclass.
    rank : int
        Directions in which a subclass varies, from 1 to d.
    variances : three floats
        Of c, s and F z; not negative, with sum 1.

    Returns
    -------
    Labelled
        X of shape ``(S, n, d)`` with n = K subclasses per_subclass, ordered by superclass and
        subclass; y of shape ``(n,)``.

    Raises
    ------
    ValueError
        A number is out of its range.

    Notes
    -----
    Source: made for this book, after what Wu and Mondelli (2025) say of the data of
    Figure 1 (b).
    """
    K, d, rank = whole("K", K), whole("d", d), whole("rank", rank)
    subclasses = whole("subclasses", subclasses)
    per_subclass = whole("per_subclass", per_subclass)
    if min(d, subclasses, per_subclass, len(seeds)) < 1 or K < 2 or not 1 <= rank <= d:
        raise ValueError(
            f"K = {K}, d = {d}, subclasses = {subclasses}, per_subclass = {per_subclass}, rank = "
            f"{rank}, {len(seeds)} seeds: expected K >= 2, 1 <= rank <= d and at least one of all "
            "others."
        )
    if len(variances) != 3 or min(variances) < 0 or not math.isclose(sum(variances), 1):
        raise ValueError(f"variances = {variances}: expected three that are >= 0 and add up to 1.")
    of_class, of_subclass, within = (math.sqrt(v) for v in variances)

    def draw(rng: torch.Generator) -> Tensor:
        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, dtype=torch.float64)

        centres = of_class * normal(K, 1, d) + of_subclass * normal(K, subclasses, d)
        factors = within / math.sqrt(rank) * normal(K, subclasses, rank, d)
        X = centres.unsqueeze(-2) + normal(K, subclasses, per_subclass, rank) @ factors
        X = X.relu().reshape(-1, d)
        return X / torch.linalg.vector_norm(X, dim=1).max()

    y = torch.arange(K).repeat_interleave(subclasses * per_subclass)
    X = torch.stack([draw(generator(seed)) for seed in seeds])
    return Labelled(run.tensor(X), y.to(run.device))
