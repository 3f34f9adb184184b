r"""From the simplex to the orthogonal frame: a bias that decays, for balanced classes.

K classes of equal size, M linear layers, one feature a class, and a bias of the last layer with the
decay lambda_b. With the cost c of a class the outputs are q on the complement of 1 and s_1 on 1: q
is the output of the scalar problem at c, s_1 that at :math:`c(1 + \lambda_b)/\lambda_b`, for the
bias takes a part :math:`1/(1 + \lambda_b)` of the mean away. So the mean is lost, and the features
are a simplex, up to :math:`\lambda_b = c/(c_M - c)` with the threshold :math:`c_M`.

Source: derived here, after Tirer, Bruna (2022), who have no bias or one without decay.
"""

import math

from ncbook.theory.deep import scalar


def transition(c: float, layers: int) -> float:
    """Return the decay of the bias up to which the features are a simplex.

    Raises
    ------
    ValueError
        c is not between 0 and the threshold, at which all classes are lost.
    """
    most = scalar.threshold(layers)
    if not 0 < c < most:
        raise ValueError(
            f"c = {c}: expected a cost between 0 and the threshold {most:.4g}, up to which the "
            "classes are kept."
        )
    return c / (most - c)


def mean_output(c: float, bias_decay: float, layers: int) -> float:
    """Return s_1, the output on the mean at the minimum; 0 for a simplex."""
    return float(scalar.output(mean_cost(c, bias_decay), layers))


def mean_cost(c: float, bias_decay: float) -> float:
    """Return the cost c (1 + lambda_b) / lambda_b of the mean, infinite without decay."""
    return math.inf if bias_decay == 0 else c * (1 + 1 / bias_decay)


def bias(c: float, bias_decay: float, layers: int, classes: int) -> float:
    """Return the entries of the bias, (1 - s_1) / (K (1 + lambda_b))."""
    return (1 - mean_output(c, bias_decay, layers)) / (classes * (1 + bias_decay))


def cosine(c: float, s_1: float, layers: int, classes: int) -> float:
    """Return the cosine of two class means where the mean's output is s_1.

    The Gram matrix of the features is q^p on the complement of 1 and s_1^p on 1, p = 2/(M + 1).
    """
    power = 2 / (layers + 1)
    one, rest = s_1**power, float(scalar.output(c, layers)) ** power
    return (one - rest) / (one + (classes - 1) * rest)


def least_risk(c: float, bias_decay: float, layers: int, classes: int) -> float:
    """Return the risk at the minimum."""
    of_mean = scalar.least(mean_cost(c, bias_decay), layers) * bias_decay / (1 + bias_decay)
    return float((classes - 1) * scalar.least(c, layers) + of_mean) / classes
