r"""Minima of deep linear unconstrained features for given class sizes, in closed form.

The targets are one-hot, so their singular values are :math:`\sqrt{n_k}`; with a bias that does not
decay the samples' mean is free, and they are those of :math:`Y(I - \frac1N 11^T)`, one of them 0.
Each is one scalar problem (:mod:`~ncbook.theory.deep.scalar`): the class is kept with the output
s_k, or lost. For more than one layer there is a local minimum for every number of kept classes.

Source: worked out for this book; without a bias, in other words, Dang et al. (2023).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.runtime import whole
from ncbook.theory.deep import scalar


class ClassProblem:
    """The risk of deep linear unconstrained features, split into one problem a singular value.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each class, n_1, ..., n_K.
    decays : sequence of float
        lambda_1, ..., lambda_M of the weight matrices, the first next to the features, and
        lambda_H of the features; all positive.
    free_bias : bool
        Whether the last layer has a bias without decay. The singular values are then no longer
        one a class.
    width : int, optional
        The least width, at least 1, where it is below K: no more singular values can be kept.

    Attributes
    ----------
    y : Tensor
        Singular values of the targets, shape ``(K,)``, float64: in the order of the classes, or
        with a bias descending.
    cost : Tensor
        The cost of each, shape ``(K,)``.
    layers, samples : int
        M and N.
    decay : float
        Lambda, the product of all decays.

    Raises
    ------
    ValueError
        A size or the width is no positive integer, there are less than two decays, or one is not
        positive.

    Examples
    --------
    >>> problem = ClassProblem([200, 100, 50, 50], [0.0137] * 3)
    >>> problem.output().round(decimals=3)  # two layers: the small classes are lost
    tensor([0.8290, 0.7160, 0.0000, 0.0000], dtype=torch.float64)
    >>> problem.kept().round(decimals=3)  # though they have a minimum of their own
    tensor([0.8290, 0.7160, 0.4870, 0.4870], dtype=torch.float64)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        decays: Sequence[float],
        free_bias: bool = False,
        width: int | None = None,
    ) -> None:
        self.sizes = tuple(whole("a class size", size, 1) for size in sizes)
        self.decays = tuple(float(decay) for decay in decays)
        if len(self.decays) < 2 or not all(0 < decay < math.inf for decay in self.decays):
            raise ValueError(
                f"decays = {self.decays}: expected positive numbers, one for each weight matrix "
                "and a last one for the features."
            )
        self.width = len(self.sizes) if width is None else whole("width", width, 1)
        self.samples, self.layers = sum(self.sizes), len(self.decays) - 1
        self.decay = math.prod(self.decays)
        self.y = singular_values(self.sizes, free_bias)
        self.cost = scalar.cost(self.y, self.samples, self.decay, self.layers)

    def output(self) -> Tensor:
        """Return each output at the global minimum, shape ``(K,)``.

        Below K dimensions the largest singular values are kept; of equal ones at the cut the
        first, though any of them, and any mixture, would have the same risk.
        """
        s = scalar.output(self.cost, self.layers)
        order = self.y.argsort(descending=True, stable=True)
        return s.index_fill(0, order[self.width :], 0.0)

    def kept(self) -> Tensor:
        """Return each output at its kept minimum, global or not, shape ``(K,)``; NaN without."""
        return scalar.kept(self.cost, self.layers)

    def risk(self, s: Tensor) -> Tensor:
        """Return the risk of outputs s, shapes ``(..., K)`` to ``(...)``."""
        shares = scalar.risk(s, self.cost.to(s), self.layers)
        return (self.y.to(s).square() * shares).sum(-1) / self.samples

    def least_risk(self) -> Tensor:
        """Return the risk of the global minimum, a scalar."""
        return self.risk(self.output())

    def levels(self) -> Tensor:
        """Return the risks of all local minima, shape ``(R + 1,)``: entry r keeps r classes.

        A local minimum keeps the r largest classes that have a kept minimum, at that, and no
        others: where a class is lost and a smaller one kept, turning the kept feature and its row
        of the last layer into those of the lost class goes down. For one layer a class that can be
        kept is not lost at a minimum, and there is one level.
        """
        s = self.kept()
        order = self.y.argsort(descending=True, stable=True)
        s, y, c = s[order], self.y[order], self.cost[order]
        most = min(int((~s.isnan()).sum()), self.width)
        gains = y.square() * (0.5 - scalar.risk(s, c, self.layers)) / self.samples
        nothing = y.square().sum() / (2 * self.samples)  # the level at which all are lost
        levels = nothing - torch.cat([gains.new_zeros(1), gains[:most].cumsum(0)])
        return levels[-1:] if self.layers == 1 else levels

    def shares(self, s: Tensor) -> Tensor:
        """Return (Lambda sigma^2)^(1/(M+1)), what each factor's decay times squared norm is.

        Shapes ``(..., K)`` to ``(..., K)``. So without a bias, at outputs s,
        ``n_k |h_k|^2 lambda_H`` and the last layer's ``|w_k|^2 lambda_M`` are both this.
        """
        return (self.decay * (s * self.y.to(s)).square()) ** (1 / (self.layers + 1))

    def features(self, s: Tensor) -> Tensor:
        """Return the squared length of each class's feature, without a bias: ``(..., K)``."""
        return self.shares(s) / (self.decays[-1] * torch.tensor(self.sizes).to(s))

    def weights(self, s: Tensor) -> Tensor:
        """Return the squared length of each row of the last layer, without a bias: ``(..., K)``."""
        return self.shares(s) / self.decays[-2]

    def factors(self, s: Tensor, width: int) -> tuple[Tensor, list[Tensor]]:
        """Return features (one a class) and weights with the outputs s, without a bias.

        The cheapest, and diagonal: H ``(..., width, K)``, W_1 to W_(M-1) ``(..., width, width)``,
        W_M ``(..., K, width)`` for s of shape ``(..., K)``. At stationary outputs they are a
        stationary point of the risk.

        Raises
        ------
        ValueError
            The width is less than K.
        """
        K = len(self.sizes)
        if whole("width", width, 1) < K:
            raise ValueError(f"width = {width}: expected at least one dimension a class, K = {K}.")
        slots = torch.eye(width, K).to(s)  # a class's own direction

        def diagonal(squares: Tensor) -> Tensor:
            return slots * squares.sqrt().unsqueeze(-2)

        W = [diagonal(self.shares(s) / decay) for decay in self.decays[:-1]]
        return diagonal(self.features(s)), [*(one @ slots.mT for one in W[:-1]), W[-1].mT]


def singular_values(sizes: Sequence[int], free_bias: bool = False) -> Tensor:
    """Return the singular values of the one-hot targets, shape ``(K,)``, float64.

    sqrt(n_k) in the order of the classes; with a free bias those of the targets less their mean,
    descending, the last of them 0.
    """
    n = torch.tensor(list(sizes), dtype=torch.float64)
    if not free_bias:
        return n.sqrt()
    squares = torch.linalg.eigvalsh(n.diag() - torch.outer(n, n) / n.sum()).flip(0)
    squares[-1] = 0.0  # exactly: 1 is in the kernel
    return squares.sqrt()
