r"""Linearly separable data with the margin as a knob, and two controls that nothing separates.

Data are :math:`(\tau, M)`-linearly separable if for each class k there is a :math:`u_k` of norm at
most M with

.. math:: \langle u_k, x \rangle \ge \tau \text{ on class } k, \qquad
    \langle u_k, x \rangle < -\tau \text{ on all others}

(Wu and Mondelli, ICML 2025, Definition 5.2); their inputs have norm at most 1 (Assumption A2).

How large can :math:`\tau` be? Derived here: of one point a class the products
:math:`b_{kl} = \langle u_k, x_l \rangle / M` are a matrix with at least :math:`\tau/M` on its
diagonal and at most :math:`-\tau/M` beside it. For matrices that are products of unit vectors, and
for unit vectors of weights v, w, the trace norm of :math:`(v_k b_{kl} w_l)` is at most 1; so with
equal weights that of b is at most K. Averaged over all orders of the classes, which does not
enlarge it, b is :math:`(a + c) I - c 11^T` with :math:`a, c \ge \tau/M`, whose trace norm
:math:`(K-1)(a+c) + |a - (K-1)c|` is least at :math:`a = c = \tau/M`. Hence

.. math:: \frac{\tau}{M} \le \frac{K}{3K - 4}

which is 1 for two classes, 3/5 for three, and falls to 1/3. :func:`separating_frame` attains it;
for more than two classes that takes K dimensions, the rank of :math:`2I - 11^T`.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ncbook.data.synthetic import Labelled
from ncbook.frames import centring, simplex_etf
from ncbook.runtime import Runtime, generator, whole

# Added to a seed for its test sample, below 2**32, of which the generator takes the remainder.
_TEST = 2**30
# Gaussian noise in d dimensions is longer than sqrt(d) + 6 with probability below exp(-18).
_REACH = 6.0


def largest_tau(K: int, M: float = 1.0) -> float:
    """Return the least upper bound M K / (3K - 4) of the margin tau of K classes.

    It is not attained: the definition asks for less than -tau on other classes.

    Source: derived for Definition 5.2 of Wu and Mondelli (2025); see the module.

    Raises
    ------
    ValueError
        K < 2, or M is not positive.
    """
    K = whole("K", K)
    if K < 2 or not 0 < M < math.inf:
        raise ValueError(f"K = {K}, M = {M}: expected at least 2 classes and a positive bound M.")
    return M * K / (3 * K - 4)


def separating_frame(K: int, d: int) -> tuple[Tensor, Tensor]:
    """Return unit vectors u_k and points p_k with U P^T = (2 I - 11^T) K / (3K - 4).

    These attain ``largest_tau``. For K = 2 both are e_1 and -e_1. Else they use the first K
    coordinates: with C = I - 11^T/K, U and P are sqrt(2) C + sqrt(K - 2) 11^T/K and
    sqrt(2) C - sqrt(K - 2) 11^T/K, scaled to unit rows.

    Returns
    -------
    U, P : Tensor
        Shape ``(K, d)`` each, float64.

    Raises
    ------
    ValueError
        K < 2, or d is too small: less than 1 for two classes, less than K for more.
    """
    K, d = whole("K", K), whole("d", d)
    scale = math.sqrt(largest_tau(K))
    least = 1 if K == 2 else K
    if d < least:
        raise ValueError(
            f"K = {K} classes in d = {d} dimensions: expected d >= {least}, because the products "
            f"of a separating frame have that rank."
        )
    mean = torch.full((K, K), 1 / K, dtype=torch.float64)
    U = scale * (math.sqrt(2) * centring(K) + math.sqrt(K - 2) * mean)
    P = scale * (math.sqrt(2) * centring(K) - math.sqrt(K - 2) * mean)
    if K == 2:  # of rank 1: the axis is e_1
        U = P = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    rest = torch.zeros(K, d - U.shape[1], dtype=torch.float64)
    return torch.cat([U, rest], 1), torch.cat([P, rest], 1)


def linearly_separable(
    run: Runtime,
    seeds: Sequence[int],
    K: int,
    d: int,
    per_class: int,
    test_per_class: int,
    tau: float,
    *,
    M: float = 1.0,
    flipped: float = 0.0,
) -> tuple[Labelled, Labelled]:
    """Draw a training and a test sample of (tau, M)-linearly separable data for each seed.

    Independent points of norm at most 1, the same number from each class. With s = tau over
    ``largest_tau(K, M)`` a point of class k is x = s p_k + (1 - s) v, where u and p are the
    ``separating_frame`` and v lies in the unit ball: a Gaussian direction, whose products with
    the u are given the signs that class k has, and a radius whose d-th power is uniform. So the
    vectors M u_k separate every sample with the margin tau, and no vectors do so for the law with
    more: v can be short.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    seeds : sequence of int
        S data sets; none depends on the other seeds.
    K, d : int
        Classes and dimensions: K >= 2, and d >= K if K > 2.
    per_class, test_per_class : int
        Points of each class in the two samples.
    tau : float
        The margin, positive and less than ``largest_tau(K, M)``.
    M : float
        Bound of ``|u_k|``.
    flipped : float
        Share of flipped labels, from 0 to (K - 1)/K: a point with label k is of another class
        with this probability, each as likely, in both samples. The classes, as labelled, stay
        balanced, and the least error that any classifier has on the test sample's law is
        ``flipped`` (it answers the class that a point has). Not separable then.

    Returns
    -------
    training, test : Labelled
        X of shapes ``(S, K per_class, d)`` and ``(S, K test_per_class, d)``, ordered by label.

    Raises
    ------
    ValueError
        A number is out of its range; the message says why.

    Notes
    -----
    Source: Wu and Mondelli (2025), Definition 5.2, for what separable means; this law is ours.
    """
    K, d = whole("K", K), whole("d", d)
    U, P = separating_frame(K, d)
    most = largest_tau(K, M)
    if not 0 < tau < most:
        raise ValueError(
            f"tau = {tau:g}: expected 0 < tau < {most:g}, because no {K} classes of points of "
            f"norm at most 1 have more than M K/(3K - 4) with M = {M:g}. Ask for a smaller margin "
            "or allow a larger M."
        )
    if not 0 <= flipped <= 1 - 1 / K:
        raise ValueError(
            f"flipped = {flipped:g}: expected from 0 to (K - 1)/K = {1 - 1 / K:g}, where labels "
            "say nothing any more."
        )
    s = tau / most
    signs = 2 * torch.eye(K, dtype=torch.float64) - 1
    back = torch.linalg.pinv(U).T  # (K, d): back.T turns products with the u into a point

    def draw(rng: torch.Generator, labels: Tensor) -> Tensor:
        n = len(labels)
        chance = torch.rand(n, generator=rng, dtype=torch.float64)
        shift = torch.randint(1, K, (n,), generator=rng)
        own = torch.where(chance < flipped, (labels + shift) % K, labels)
        g = torch.randn(n, d, generator=rng, dtype=torch.float64)
        products = g @ U.T
        g = g + (products.abs() * signs[own] - products) @ back
        radius = torch.rand(n, 1, generator=rng, dtype=torch.float64) ** (1 / d)
        return s * P[own] + (1 - s) * radius * g / torch.linalg.vector_norm(g, dim=1, keepdim=True)

    return _samples(run, seeds, K, per_class, test_per_class, draw)


def overlapping(
    run: Runtime,
    seeds: Sequence[int],
    K: int,
    d: int,
    per_class: int,
    test_per_class: int,
    distance: float,
) -> tuple[Labelled, Labelled]:
    """Draw a training and a test sample of classes that overlap, for each seed.

    Gaussian noise of variance sigma^2 about K equidistant centres, the corners of a simplex; the
    scale is such that the points have norm at most 1. Nearest centres are the best classifier,
    and its error is ``bayes_error(K, distance)``.

    Parameters
    ----------
    run, seeds, per_class, test_per_class
        As in :func:`linearly_separable`.
    K, d : int
        Classes and dimensions, K >= 2 and d >= K - 1.
    distance : float
        Distance of two centres over sigma, positive.

    Returns
    -------
    training, test : Labelled
        As in :func:`linearly_separable`.

    Raises
    ------
    ValueError
        A number is out of its range.
    """
    K, d = whole("K", K), whole("d", d)
    centres = simplex_etf(K, d)
    if not 0 < distance < math.inf:
        raise ValueError(f"distance = {distance}: expected a positive number.")
    # Centres at the radius r sigma, noise up to reach sigma, and both together at most 1.
    r, reach = distance * math.sqrt((K - 1) / (2 * K)), math.sqrt(d) + _REACH
    sigma = 1 / (r + reach)

    def draw(rng: torch.Generator, labels: Tensor) -> Tensor:
        g = torch.randn(len(labels), d, generator=rng, dtype=torch.float64)
        # One noise in a hundred million is shortened.
        g = g * (reach / torch.linalg.vector_norm(g, dim=1, keepdim=True)).clamp_max(1)
        return sigma * (r * centres[labels] + g)

    return _samples(run, seeds, K, per_class, test_per_class, draw)


def bayes_error(K: int, distance: float) -> float:
    """Return the least error of any classifier on the classes of :func:`overlapping`.

    With the centres at c e_k, c = distance / sqrt(2), class k wins if its own coordinate is the
    largest: 1 - E[Phi(z + c)^(K - 1)] for a standard normal z, by Gauss and Hermite's rule. For
    K = 2 it is Phi(-distance / 2). What the bound on the norm changes is below 1e-7.

    Source: the textbook error of nearest centres under equal Gaussian noise.

    Raises
    ------
    ValueError
        K < 2, or the distance is negative.
    """
    K = whole("K", K)
    if K < 2 or not distance >= 0:
        raise ValueError(f"K = {K}, distance = {distance}: expected K >= 2 and distance >= 0.")
    nodes, weights = (torch.from_numpy(x) for x in np.polynomial.hermite_e.hermegauss(100))
    wins = torch.special.ndtr(nodes + distance / math.sqrt(2)) ** (K - 1)
    return 1 - float(weights @ wins) / math.sqrt(2 * math.pi)


def _samples(run, seeds, K, per_class, test_per_class, draw) -> tuple[Labelled, Labelled]:
    """Draw both samples of each seed from generators of their own."""
    per_class = whole("per_class", per_class)
    test_per_class = whole("test_per_class", test_per_class)
    if per_class < 1 or test_per_class < 1 or not len(seeds):
        raise ValueError(
            f"per_class = {per_class}, test_per_class = {test_per_class} and {len(seeds)} seeds: "
            "expected at least one of each."
        )
    samples = []
    for size, offset in ((per_class, 0), (test_per_class, _TEST)):
        y = torch.arange(K).repeat_interleave(size)
        X = torch.stack([draw(generator(offset + seed), y) for seed in seeds])
        samples.append(Labelled(run.tensor(X), y.to(run.device)))
    return samples[0], samples[1]
