"""The two-layer ReLU network whose features are penalised, and not the weights that make them.

Hong and Ling, Beyond unconstrained features: neural collapse for shallow neural networks with
general data (2026). (We had the abstract, and what others say of the paper: Wu and Mondelli say
that it penalises features. The squared error is our choice.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.models.labels import class_labels
from ncbook.runtime import Runtime, tensors, whole


class PenalisedReLU:
    """The network H W with the features H = relu(X A), for a batch of runs.

    Its risk is ``|H W - Y|^2 / (2 N) + lambda_W |W|^2 / 2 + lambda_H |H|^2 / (2 N)``, Y one-hot by
    rows. A state is a flat tensor of shape ``(*batch, P)``, P = h (d + K), holding A (d x h) and W
    (h x K), each by rows. ReLU'(0) = 0. A bias is a coordinate of X that is 1.

    Parameters
    ----------
    X : Tensor
        The samples, ``(N, d)`` shared by all runs, or ``(*b, N, d)``, one data set a run, where b
        broadcasts against the batch of a state. Its dtype and device are the model's.
    y : sequence of int or Tensor
        The N labels, 0 to K - 1.
    width : int
        Hidden units h, at least 1.
    decay, feature_decay : float
        lambda_W and lambda_H, not negative.

    Raises
    ------
    ValueError
        An argument is not as described.

    Examples
    --------
    >>> X = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> network = PenalisedReLU(X, [0, 1], width=2, decay=0.1, feature_decay=0.1)
    >>> network.risk(network.pack(torch.eye(2), torch.eye(2)))  # no error, and both penalties
    tensor(0.1500)
    """

    def __init__(
        self,
        X: Tensor,
        y: Sequence[int] | Tensor,
        width: int,
        decay: float,
        feature_decay: float,
    ) -> None:
        tensors(X=X)
        if X.ndim < 2:
            raise ValueError(
                f"X has shape {tuple(X.shape)}: expected samples by rows, (..., N, d)."
            )
        labels = class_labels(y, X.shape[-2], X.device)
        if not (decay >= 0 and feature_decay >= 0):
            raise ValueError(
                f"decay = {decay}, feature_decay = {feature_decay}: expected none to be negative."
            )
        self.X, self.y, self.width = X, labels, whole("width", width, 1)
        self.decay, self.feature_decay = decay, feature_decay
        self.Y = one_hot(self.y).to(X)
        (self.N, self.K), self.d = self.Y.shape, X.shape[-1]
        self.size = self.width * (self.d + self.K)

    def unpack(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return views A ``(*batch, d, h)``, W ``(*batch, h, K)``."""
        A, W = z.split([self.d * self.width, self.width * self.K], dim=-1)
        return A.unflatten(-1, (self.d, self.width)), W.unflatten(-1, (self.width, self.K))

    def pack(self, A: Tensor, W: Tensor) -> Tensor:
        """Return the flat state of A and W, shape ``(*batch, P)``."""
        return torch.cat([A.flatten(-2), W.flatten(-2)], dim=-1)

    def features(self, z: Tensor, X: Tensor | None = None) -> Tensor:
        """Return H = relu(X A) of the samples, or of others, ``(*batch, N, h)``."""
        return ((self.X if X is None else X) @ self.unpack(z)[0]).relu()

    def outputs(self, z: Tensor, X: Tensor | None = None) -> Tensor:
        """Return H W of the samples, or of others, ``(*batch, N, K)``."""
        return self.features(z, X) @ self.unpack(z)[1]

    def risk(self, z: Tensor) -> Tensor:
        """Return the risk, shape ``batch``."""
        H, W = self.features(z), self.unpack(z)[1]
        error, size = (one.square().sum((-2, -1)) for one in (H @ W - self.Y, H))
        penalty = self.decay * W.square().sum((-2, -1))
        return ((error + self.feature_decay * size) / self.N + penalty) / 2

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the risk as a flat tensor."""
        _, W = self.unpack(z)
        H = self.features(z)
        minus_E = (self.Y - H @ W) / self.N
        pull = (minus_E @ W.mT - (self.feature_decay / self.N) * H) * (H > 0)
        return self.pack(self.X.mT @ pull, H.mT @ minus_E - self.decay * W)

    def random_start(self, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return starts with normal weights, A of variance 1/d and W of variance 1/h.

        Returns
        -------
        Tensor
            Shape ``(S, P)``.
        """
        A, W = self.unpack(run.normal(seeds, self.size))
        return self.pack(A / self.d**0.5, W / self.width**0.5)
