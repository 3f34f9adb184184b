r"""Concept factorisation with label and graph constraints, and its multiplicative updates.

The samples, columns here, are written in terms of r concepts that are combinations of samples,

.. math:: X \approx X U V^T, \qquad U, V \ge 0, \qquad V = A Z,

where A makes all labelled samples of a class share one row of Z and leaves every other sample its
own. With a graph S of the samples, D its degrees, the objective is

.. math:: \|X - X U V^T\|^2 + \lambda \operatorname{tr} V^T (D - S) V .

Both updates multiply entries by a quotient of nonnegative numbers. Let x minimise
x^T Q x - 2 b^T x over x >= 0 with Q = P - M, P and M nonnegative, b >= 0. As diag(P y / y) - P is
positive semidefinite (Lee and Seung), x_i = y_i (b + M y)_i / (P y)_i does not raise the value of y
if M is positive semidefinite, too. So D - S is split as 2 D - (D + S) here: D + S is semidefinite,
S alone need not be.

Source: Xu and Gong (2004) for the factorisation; this is the common core of the constrained
variants, among them Zhang et al. (2021), whose method has more parts. The split is ours.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.models.labels import class_labels
from ncbook.runtime import Runtime, tensors, whole


class ConceptFactorisation:
    """The factorisation of samples, the first of which may have labels, for a batch of runs.

    A state is a flat tensor ``(*batch, P)``, P = (N + c) r, holding U (N x r) and Z (c x r), each
    by rows; c is the number of classes and unlabelled samples.

    Parameters
    ----------
    X : Tensor
        Samples by rows, nonnegative, ``(*batch, N, D)``.
    rank : int
        Concepts r, at least 1.
    labels : sequence of int or Tensor, optional
        Of the first L samples, 0 to C - 1, ``(L,)``; without it no rows are shared.
    graph : Tensor, optional
        S, symmetric and nonnegative, ``(*batch, N, N)``.
    weight : float
        lambda, not negative.

    Raises
    ------
    ValueError
        An argument is not as described.

    Examples
    --------
    >>> from ncbook import runtime
    >>> from ncbook.dynamics.descent import descent
    >>> run = runtime.start("cpu")
    >>> X = run.normal([0], 6, 4).abs()
    >>> model = ConceptFactorisation(X, rank=2, labels=[0, 0, 1, 1])
    >>> ended = descent(model.field, model.random_start([0], run), step=1.0, steps=20).final
    >>> V = model.coordinates(ended)[0]
    >>> bool((V[0] == V[1]).all()), bool((V[4] == V[5]).all())
    (True, False)
    """

    def __init__(
        self,
        X: Tensor,
        rank: int,
        labels: Sequence[int] | Tensor | None = None,
        graph: Tensor | None = None,
        weight: float = 0.0,
    ) -> None:
        tensors(X=X)
        if X.ndim < 2 or not bool((X >= 0).all()):
            raise ValueError(
                f"X has shape {tuple(X.shape)} and the least entry {float(X.min()):.3g}: expected "
                "samples by rows, (..., N, D), that are not negative."
            )
        if not weight >= 0 or (graph is None and weight > 0):
            raise ValueError(
                f"weight = {weight}: expected a number that is not negative, with the graph whose "
                "weight it is."
            )
        self.N, self.rank = X.shape[-2], whole("rank", rank, 1)
        given = [] if labels is None else labels
        self.labels = torch.zeros(0, dtype=torch.int64, device=X.device)
        if len(given):
            self.labels = class_labels(given, min(len(given), self.N), X.device)
        counts = torch.bincount(self.labels)
        if not bool((counts > 0).all()):
            raise ValueError(
                f"Of the labels up to {len(counts) - 1} some are not given: expected whole numbers "
                "from 0 to C - 1, each at least once."
            )
        self.C = len(counts)
        self.size = (2 * self.N - len(self.labels) + self.C) * self.rank
        self._Y = one_hot(self.labels, self.C).to(X) if self.C else X.new_zeros(0, 0)
        self._counts = self._gather(X.new_ones(self.N, 1))
        self.products = X @ X.mT
        self.squares = X.square().sum((-2, -1))
        self.graph, self.weight = graph, weight
        if graph is not None:
            self._degrees = graph.sum(-1, keepdim=True)

    def unpack(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return views U ``(*batch, N, r)``, Z ``(*batch, c, r)``."""
        U, Z = z.split([self.N * self.rank, self.size - self.N * self.rank], dim=-1)
        return U.unflatten(-1, (self.N, self.rank)), Z.unflatten(-1, (-1, self.rank))

    def pack(self, U: Tensor, Z: Tensor) -> Tensor:
        """Return the flat state of U and Z."""
        return torch.cat([U.flatten(-2), Z.flatten(-2)], dim=-1)

    def _spread(self, Z: Tensor) -> Tensor:
        """Return A Z."""
        shared, own = Z.split([self.C, Z.shape[-2] - self.C], dim=-2)
        return torch.cat([shared[..., self.labels, :], own], dim=-2)

    def _gather(self, V: Tensor) -> Tensor:
        """Return A^T V."""
        labelled, own = V.split([len(self.labels), V.shape[-2] - len(self.labels)], dim=-2)
        return torch.cat([self._Y.mT @ labelled, own], dim=-2)

    def coordinates(self, z: Tensor) -> Tensor:
        """Return V = A Z, the new coordinates of the samples by rows, ``(*batch, N, r)``."""
        return self._spread(self.unpack(z)[1])

    def objective(self, z: Tensor) -> Tensor:
        """Return the objective, shape ``batch``."""
        U, _ = self.unpack(z)
        V = self.coordinates(z)
        KU = self.products @ U
        fit = ((U.mT @ KU) * (V.mT @ V)).sum((-2, -1)) - 2 * (V * KU).sum((-2, -1))
        if self.graph is None:
            return self.squares + fit
        bend = (V * (self._degrees * V - self.graph @ V)).sum((-2, -1))
        return self.squares + fit + self.weight * bend

    def update(self, z: Tensor) -> Tensor:
        """Return the state after one update of U and then one of Z; the objective does not rise."""
        U, Z = self.unpack(z)
        V = self._spread(Z)
        U = _scaled(U, self.products @ V, self.products @ (U @ (V.mT @ V)))
        KU = self.products @ U
        up, down = self._gather(KU), self._counts * (Z @ (U.mT @ KU))
        if self.graph is not None:
            pulled = self._degrees * V
            up = up + self.weight * self._gather(pulled + self.graph @ V)
            down = down + 2 * self.weight * self._gather(pulled)
        return self.pack(U, _scaled(Z, up, down))

    def field(self, z: Tensor) -> Tensor:
        """Return what an update adds: a descent with this field and step 1 is the updates."""
        return self.update(z) - z

    def random_start(self, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return positive starts of absolute normal numbers, ``(S, P)``.

        U has the factor 1/N, so that X U is of the size of the samples.
        """
        U, Z = self.unpack(run.normal(seeds, self.size).abs())
        return self.pack(U / self.N, Z)


def _scaled(values: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Return values * up / down; where nothing pulls down an entry stays, as nothing sees it."""
    return values * torch.where(down > 0, up / down, 1.0)
