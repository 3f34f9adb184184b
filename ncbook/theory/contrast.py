"""The supervised contrastive loss over free features: its minima as problems of a few numbers.

The loss is convex in the Gram matrix G of the features, so that averaging G over permutations that
leave the loss as it is does not raise it. What is left is one number for balanced classes, three
cosines for p large and q small ones (STEP imbalance), with one equation between them at the
optimum. All is derived in the chapters of behnia-thrampoulidis; the setting is that of Behnia and
Thrampoulidis (2024). Numbers in, numbers out.
"""

import math
from typing import NamedTuple

from scipy.optimize import brentq

from ncbook.runtime import whole

_MOST = 60.0  # the logarithm of the largest ratio of class sizes that is looked at


class Step(NamedTuple):
    """The optimum for p large and q small classes: cosines between class means, and the loss."""

    large: float  # a, between large classes
    small: float  # m, between small ones
    across: float  # x = -sqrt((1 + (p-1) a) (1 + (q-1) m) / (p q))
    level: float


def simplex_level(K: int, n: float, temperature: float) -> float:
    """Return the least loss on the sphere for K classes of n samples, that of a simplex.

    log(n - 1 + n (K - 1) exp(-K / ((K - 1) tau))).

    Raises
    ------
    ValueError
        K < 2, n < 2, or the temperature is not positive.
    """
    _check(n, temperature, K=K)
    return math.log(n - 1 + n * (K - 1) * math.exp(-K / ((K - 1) * temperature)))


def simplex_length(K: int, n: float, temperature: float, decay: float) -> float:
    """Return the squared length of the features that minimise loss + decay / (2 N) ``||H||^2``.

    With s = decay tau (K - 1) / (2 K) it is (K - 1) tau / K log(n (K - 1) (1 - s) / (s (n - 1))),
    or 0 where that is negative: from decay = 2 n K / (tau (n K - 1)) on.

    Raises
    ------
    ValueError
        As :func:`simplex_level`; or the decay is not positive.
    """
    _check(n, temperature, K=K)
    if not decay > 0:
        raise ValueError(f"decay = {decay}: expected a positive number.")
    s = decay * temperature * (K - 1) / (2 * K)
    if decay >= 2 * n * K / (temperature * (n * K - 1)):
        return 0.0
    return (K - 1) * temperature / K * math.log(n * (K - 1) * (1 - s) / (s * (n - 1)))


def split_level(k: int, m: int, n: float, temperature: float) -> float:
    """Return the loss of k + m classes on two simplices, orthogonal to each other, in k + m - 2 D.

    Raises
    ------
    ValueError
        As :func:`simplex_level`, for k and for m.
    """
    _check(n, temperature, k=k, m=m)

    def anchor(own: int, other: int) -> float:
        within = (own - 1) * math.exp(-own / ((own - 1) * temperature))
        return math.log(n - 1 + n * (within + other * math.exp(-1 / temperature)))

    return (k * anchor(k, m) + m * anchor(m, k)) / (k + m)


def step(
    p: int, q: int, n: float, ratio: float, temperature: float, small: float | None = None
) -> Step:
    """Return the optimum on the sphere for p classes of ``ratio`` times n samples and q of n.

    A convex problem in u = 1 + (p - 1) a in (0, p] and v = 1 + (q - 1) m in (0, q], solved by
    finding in v the root of the derivative at the best u, itself found so. With ``small`` m is
    given, and the others are the best for it.

    Raises
    ------
    ValueError
        As :func:`simplex_level`, for p and for q; the ratio is not positive; or m is not above
        -1 / (q - 1) and up to 1.
    """
    loss = _StepLoss(p, q, n, ratio, temperature)
    if small is not None and not -1 / (q - 1) < small <= 1:
        raise ValueError(f"small = {small}: expected a cosine above -1 / (q - 1), and up to 1.")
    v = math.exp(_root(loss.along_v, math.log(q))) if small is None else 1 + (q - 1) * small
    u = loss.best_u(v)
    return Step((u - 1) / (p - 1), (v - 1) / (q - 1), loss.cross(u, v), loss.value(u, v))


def small_limit(p: int, temperature: float) -> float:
    """Return the limit of the small classes' cosine as the ratio of sizes grows.

    tau log((D + p exp(-1/tau))^2 / (4 p E D)) with E = exp(-p / ((p - 1) tau)) and
    D = 1 + (p - 1) E, or 1 where that is more. It is at least 1 / (p - 1), and depends neither on
    the number of the small classes nor on their size.

    Raises
    ------
    ValueError
        p < 2, or the temperature is not positive.
    """
    _check(2, temperature, p=p)
    return min(1.0, _small_limit(p, temperature))


def merging_temperature(p: int) -> float:
    """Return the temperature below which small classes merge for a large enough ratio.

    Infinite for p = 2 large classes.

    Raises
    ------
    ValueError
        p < 2.
    """
    _check(2, 1.0, p=p)
    if p == 2:
        return math.inf
    # Near 1/((p - 1) log(4 p)), its value where exp(-1/tau) is small.
    guess = 1 / ((p - 1) * math.log(4 * p))
    return brentq(lambda t: _small_limit(p, t) - 1, guess / 4, 4 * guess, xtol=1e-15)


def merging_ratio(p: int, q: int, n: float, temperature: float) -> float:
    """Return the ratio of class sizes from which on the q small classes are one point.

    Where the derivative of the loss in m at m = 1 changes its sign for the first time, looking in
    steps of a factor e; infinite where it does not up to e^60.

    Raises
    ------
    ValueError
        As :func:`step`.
    """

    def away(s: float) -> float:
        return _StepLoss(p, q, n, math.exp(s), temperature).along_v(math.log(q))

    if temperature >= merging_temperature(p):
        return math.inf
    low = 0.0
    while away(low + 1) > 0:
        low += 1
        if low > _MOST:
            return math.inf
    return math.exp(brentq(away, low, low + 1, xtol=1e-14))


class _StepLoss:
    """N times the loss in (u, v), over n, with x at its optimum, and its derivatives."""

    def __init__(self, p: int, q: int, n: float, ratio: float, temperature: float) -> None:
        _check(n, temperature, p=p, q=q)
        if not ratio > 0:
            raise ValueError(f"The ratio of class sizes is {ratio}: expected a positive number.")
        self.p, self.q, self.n, self.ratio, self.temperature = p, q, n, ratio, temperature

    def cross(self, u: float, v: float) -> float:
        return -math.sqrt(u * v / (self.p * self.q))

    def _terms(self, u: float, v: float) -> tuple[float, float, float, float, float, float]:
        """Return what the classes contribute to the sums of a large and of a small anchor."""
        p, q, n, R, tau = self.p, self.q, self.n, self.ratio, self.temperature
        other = math.exp((self.cross(u, v) - 1) / tau)
        large = (p - 1) * R * math.exp(((u - 1) / (p - 1) - 1) / tau), q * other
        small = (q - 1) * math.exp(((v - 1) / (q - 1) - 1) / tau), p * R * other
        return *large, R - 1 / n + sum(large), *small, 1 - 1 / n + sum(small)

    def value(self, u: float, v: float) -> float:
        *_, Z_large, _, _, Z_small = self._terms(u, v)
        share = self.p * self.ratio / (self.p * self.ratio + self.q)
        return math.log(self.n) + share * math.log(Z_large) + (1 - share) * math.log(Z_small)

    def gradient(self, u: float, v: float) -> tuple[float, float]:
        """Return the derivatives in log u and log v, times the temperature."""
        own, over, Z, own_small, over_small, Z_small = self._terms(u, v)
        in_x = self.p * self.ratio * over / Z + self.q * over_small / Z_small
        half = in_x * self.cross(u, v) / 2
        in_u = self.p * self.ratio * own / Z / (self.p - 1)
        in_v = self.q * own_small / Z_small / (self.q - 1)
        return in_u * u + half, in_v * v + half

    def best_u(self, v: float) -> float:
        return math.exp(_root(lambda s: self.gradient(math.exp(s), v)[0], math.log(self.p)))

    def along_v(self, s: float) -> float:
        """Return the derivative in log v at v = exp(s), where u is the best for it."""
        v = math.exp(s)
        return self.gradient(self.best_u(v), v)[1]


def _root(rising, end: float) -> float:
    """Return where a function that is negative far to the left changes its sign, or ``end``."""
    if rising(end) <= 0:
        return end
    width = 1.0
    while rising(end - width) > 0:
        width *= 2
    return brentq(rising, end - width, end, xtol=1e-15, rtol=1e-14)


def _small_limit(p: int, temperature: float) -> float:
    E, F = math.exp(-p / ((p - 1) * temperature)), p * math.exp(-1 / temperature)
    D = 1 + (p - 1) * E
    # The logarithm of E apart: E itself may underflow.
    apart = p / ((p - 1) * temperature)
    return temperature * (2 * math.log(D + F) - math.log(4 * p * D) + apart)


def _check(n: float, temperature: float, **classes: int) -> None:
    for name, count in classes.items():
        whole(name, count, 2)
    if not n >= 2 or not 0 < temperature < math.inf:
        raise ValueError(
            f"n = {n}, temperature = {temperature}: expected at least 2 samples of a class, as "
            "each needs a positive, and a positive temperature."
        )
