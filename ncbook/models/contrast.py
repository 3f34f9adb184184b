"""The supervised contrastive loss over free features, for a batch of runs.

Behnia, Thrampoulidis, Supervised contrastive representation learning: landscape analysis with
unconstrained features (2024); the loss is that of Khosla et al. (2020).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ncbook.frames import simplex_etf
from ncbook.runtime import Runtime, whole


class SupervisedContrast:
    """The full-batch supervised contrastive loss, on the unit sphere or with weight decay.

    Each sample i is an anchor; its positives are the other samples of its class. The loss is the
    mean over anchors of the mean over positives j of

        log sum_{l != i} exp((h_i . h_l - h_i . h_j) / tau),

    a convex function of the Gram matrix of the features. There is no classifier.

    A state is a flat tensor of shape ``(*batch, P)``, P = points times d, holding the vectors z_i
    by rows, grouped by class. On the sphere the features are h_i = z_i / ``|z_i|``; with a decay
    they are h_i = z_i, and the risk has decay / (2 N) ``||H||^2`` besides, N samples.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each class, at least 2 each.
    d : int
        Dimension of the features, at least 1.
    temperature : float
        tau > 0.
    decay : float, optional
        Of the features, positive; without it they are on the unit sphere.
    collapsed : bool
        One vector a class, that stands for all its samples, in place of one a sample. At a minimum
        classes are collapsed, and so nothing is lost there.
    device, dtype
        Of the labels' matrices, hence of the states; float64 on the CPU without them.

    Raises
    ------
    ValueError
        There are fewer than two classes, a class has fewer than 2 samples, or a number is not as
        described.

    Examples
    --------
    From every start the same level, that of a simplex:

    >>> from ncbook import runtime
    >>> from ncbook.dynamics.minimise import minimise
    >>> run = runtime.start("cpu")
    >>> model = SupervisedContrast([3, 3, 3], d=4, temperature=1.0)
    >>> found = minimise(model.risk, model.start(range(5), run))
    >>> level = run.tensor(2 + 6 * run.tensor(-1.5).exp()).log()
    >>> bool((model.risk(found.final) - level).abs().max() < 1e-10)
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        d: int,
        temperature: float,
        decay: float | None = None,
        collapsed: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.sizes = tuple(whole("a class's size", size, 2) for size in sizes)
        if len(self.sizes) < 2:
            raise ValueError(f"sizes is {self.sizes}: expected the sizes of two or more classes.")
        if not temperature > 0 or not (decay is None or decay > 0):
            raise ValueError(
                f"temperature = {temperature}, decay = {decay}: expected positive numbers, or no "
                "decay for features on the unit sphere."
            )
        self.d, self.temperature, self.decay = whole("d", d, 1), temperature, decay
        self.N, counts = sum(self.sizes), torch.tensor(self.sizes)
        labels = torch.arange(len(counts))
        if collapsed:
            # Of a class's own samples one is the anchor.
            log_counts = counts.double().log().repeat(len(counts), 1)
            log_counts.diagonal().copy_((counts - 1).double().log())
            shares, positives = counts.double() / self.N, torch.eye(len(counts)).double()
        else:
            labels = labels.repeat_interleave(counts)
            same = (labels[:, None] == labels).double().fill_diagonal_(0)
            log_counts = torch.zeros_like(same).fill_diagonal_(-torch.inf)
            shares, positives = same.new_full((self.N,), 1 / self.N), same / same.sum(1)[:, None]
        self.points = len(labels)
        self.size = self.points * self.d
        self.labels = labels.to(device)
        # Of each anchor: its part of the mean; the logarithm of how many each vector is, the anchor
        # left out; what each vector weighs among its positives.
        self.shares, self._log_counts, self._positives = (
            one.to(device, dtype) for one in (shares, log_counts, positives)
        )

    def features(self, z: Tensor) -> Tensor:
        """Return the features, by rows, shape ``(*batch, points, d)``."""
        H = z.unflatten(-1, (self.points, self.d))
        return H if self.decay else torch.nn.functional.normalize(H, dim=-1, eps=0)

    def loss(self, gram: Tensor) -> Tensor:
        """Return the loss of a Gram matrix, ``(*batch, points, points)`` to ``batch``."""
        scaled = gram / self.temperature
        others = (scaled + self._log_counts).logsumexp(-1)
        return ((others - (self._positives * scaled).sum(-1)) * self.shares).sum(-1)

    def risk(self, z: Tensor) -> Tensor:
        """Return the loss, with the decay's part where there is a decay, shape ``batch``."""
        H = self.features(z)
        value = self.loss(H @ H.mT)
        if self.decay:
            value = value + self.decay / 2 * (self.shares * H.square().sum(-1)).sum(-1)
        return value

    def gram_gradient(self, H: Tensor) -> Tensor:
        """Return the loss's gradient in the Gram matrix, symmetric, (..., points, points)."""
        others = H @ H.mT / self.temperature + self._log_counts
        pull = self.shares[:, None] * (others.softmax(-1) - self._positives) / self.temperature
        return (pull + pull.mT) / 2

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the risk, as a flat tensor."""
        H = self.features(z)
        minus = -2 * self.gram_gradient(H) @ H
        if self.decay:
            return (minus - self.decay * self.shares[:, None] * H).flatten(-2)
        along = (minus * H).sum(-1, keepdim=True)
        norms = z.unflatten(-1, (self.points, self.d)).norm(dim=-1, keepdim=True)
        return ((minus - along * H) / norms).flatten(-2)

    def certificate(self, z: Tensor) -> Tensor:
        """Return the least eigenvalue of the dual certificate at a stationary point, ``batch``.

        With the gradient Gamma in the Gram matrix and the multipliers Lambda of the constraint (or
        of the decay) S = Gamma - Lambda has S H = 0 at a stationary point. If S is positive
        semidefinite, the point is a global minimum, whatever the dimension d, as the loss is convex
        in the Gram matrix. On the sphere the risk is above the global minimum by at most the number
        of points times the amount by which the least eigenvalue is negative.
        """
        H = self.features(z)
        gradient = self.gram_gradient(H)
        if self.decay:
            multipliers = (-self.decay / 2 * self.shares).expand(H.shape[:-1])
        else:
            multipliers = ((gradient @ H) * H).sum(-1)
        return torch.linalg.eigvalsh(gradient - torch.diag_embed(multipliers))[..., 0]

    def two_simplices(self, k: int) -> Tensor:
        """Return the state of two simplices, of the first k classes and of the others, ``(P,)``.

        They are orthogonal to each other, and take K - 2 of the d dimensions.

        Raises
        ------
        ValueError
            k is not from 2 to K - 2, or d < K - 2.
        """
        K = len(self.sizes)
        if not 2 <= whole("k", k) <= K - 2 or self.d < K - 2:
            raise ValueError(
                f"k = {k} of K = {K} classes in d = {self.d} dimensions: expected k from 2 to "
                "K - 2, and K - 2 dimensions or more."
            )
        both = torch.block_diag(simplex_etf(k, k - 1), simplex_etf(K - k, K - k - 1))
        rows = torch.nn.functional.pad(both, (0, self.d - K + 2))
        return rows[self.labels.cpu()].flatten().to(self.shares)

    def start(self, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return normal starts, one a seed, shape ``(seeds, P)``."""
        return run.normal(seeds, self.size)
