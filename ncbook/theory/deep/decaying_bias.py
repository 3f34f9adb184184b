r"""From the simplex to the orthogonal frame: a bias that decays, for balanced classes.

K classes of equal size, M linear layers, one feature a class, and a bias of the last layer with the
decay lambda_b. With the cost c of a class the outputs are q on the complement of 1 and s_1 on 1: q
is the output of the scalar problem at c, s_1 that at :math:`c(1 + \lambda_b)/\lambda_b`, for the
bias takes a part :math:`1/(1 + \lambda_b)` of the mean away. So the mean is lost, and the features
are a simplex, up to :math:`\lambda_b = c/(c_M - c)` with the threshold :math:`c_M`.

Source: derived here, after Tirer, Bruna (2022), who have no bias or one without decay.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.frames import centring
from ncbook.theory.deep import scalar
from ncbook.theory.deep.classes import ClassProblem


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
    return math.inf if bias_decay == 0 else c * (1 + 1 / bias_decay)  # of infinity: c


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


def gram(problem: ClassProblem, bias_decay: float) -> Tensor:
    """Return the Gram matrix of the class means at the minimum, shape ``(K, K)``, float64.

    Parameters
    ----------
    problem : ClassProblem
        Classes of one size, without a bias.
    bias_decay : float
        lambda_b; infinite for no bias.

    Raises
    ------
    ValueError
        The classes have several sizes.
    """
    if len(set(problem.sizes)) > 1:
        raise ValueError(f"The classes have sizes {problem.sizes}: expected one size.")
    K, M, c = len(problem.sizes), problem.layers, float(problem.cost[0])
    s_1 = mean_output(c, bias_decay, M)
    rest = float(problem.features(problem.output())[0])
    of_mean = float(problem.features(torch.full((K,), s_1, dtype=torch.float64))[0])
    Pi = centring(K)
    return rest * Pi + of_mean * (torch.eye(K).double() - Pi)


def law(problem: ClassProblem, bias_decays: Sequence[float]) -> dict[str, Tensor]:
    """Return output on the mean, cosine of two means and bias at the minimum, each ``(T,)``.

    Parameters
    ----------
    problem : ClassProblem
        Classes of one size, without a bias.
    bias_decays : sequence of float
        T decays of the bias.

    Returns
    -------
    dict
        ``mean``, ``cosine`` and ``b``.
    """
    K, M, c = len(problem.sizes), problem.layers, float(problem.cost[0])
    outputs = [mean_output(c, one, M) for one in bias_decays]
    return {
        "mean": torch.tensor(outputs, dtype=torch.float64),
        "cosine": torch.tensor([cosine(c, s_1, M, K) for s_1 in outputs], dtype=torch.float64),
        "b": torch.tensor([bias(c, one, M, K) for one in bias_decays], dtype=torch.float64),
    }
