"""A network with one nonlinear layer and linear layers behind it, for a batch of runs.

Jacot, Sukenik, Wang, Mondelli, Wide neural networks trained with weight decay provably exhibit
neural collapse (2025), take any nonlinear body below two or more linear layers. Here the body is
one layer, so that all weights can be looked at.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.models.labels import class_labels
from ncbook.models.mean_field import ACTIVATIONS, SLOPES
from ncbook.runtime import Runtime, tensors, whole


class LinearHead:
    """The network W_L ... W_1 sigma(W_0 x), with square loss and weight decay, no biases.

    A state is a flat tensor of shape ``(*batch, P)`` that holds W_0, ..., W_L, each by rows. With Y
    (K x N) the one-hot labels and Z_L the outputs the risk is

        ||Z_L - Y||_F^2 / (2 N) + (lambda / 2) sum_l ||W_l||_F^2.

    Parameters
    ----------
    X : Tensor
        Samples, ``(N, D)`` shared by all runs, or ``(*b, N, D)``, where b broadcasts against the
        batch of a state. Its dtype and device are the model's.
    y : sequence of int or Tensor
        Labels 0 to K - 1, ``(N,)``.
    widths : sequence of int
        Outputs of W_0, ..., W_L: the nonlinear layer's, those of the linear layers, the last one
        K. So L + 1 numbers, at least 2.
    activation : {"relu", "tanh", "sigmoid"}
        sigma.
    decay : float or Tensor
        lambda, at least 0; a tensor broadcasts against the batch of a state.

    Raises
    ------
    ValueError
        An argument is not as described.

    Examples
    --------
    >>> from ncbook import runtime
    >>> run = runtime.start("cpu")
    >>> model = LinearHead(run.normal([0], 6, 4)[0], [0, 0, 1, 1, 2, 2], (10, 5, 5, 3))
    >>> z = model.start(1.0, range(7), run)
    >>> [tuple(one.shape) for one in model.balance(z)]
    [(7, 5, 5), (7, 5, 5)]
    """

    def __init__(
        self,
        X: Tensor,
        y: Sequence[int] | Tensor,
        widths: Sequence[int],
        activation: str = "relu",
        decay: float | Tensor = 0.0,
    ) -> None:
        tensors(X=X)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"Unknown activation {activation!r}; known are {', '.join(ACTIVATIONS)}."
            )
        self.widths = tuple(whole("a width", width, 1) for width in widths)
        if len(self.widths) < 2 or X.ndim != 2:
            raise ValueError(
                f"widths = {self.widths} and samples of shape {tuple(X.shape)}: expected two "
                "widths or more, the last one the number of classes, and samples by rows, (N, d)."
            )
        K = self.widths[-1]
        self.y = class_labels(y, len(X), X.device, K)
        self.X, self.decay = X, torch.as_tensor(decay, dtype=X.dtype, device=X.device)
        if not bool((self.decay >= 0).all()):
            raise ValueError(f"decay = {decay}: expected a number of at least 0.")
        self.Y = one_hot(self.y, K).mT.to(X.dtype)
        self._sigma, self._slope = ACTIVATIONS[activation], SLOPES[activation]
        inputs = (X.shape[-1], *self.widths[:-1])
        self._shapes = list(zip(self.widths, inputs, strict=True))
        self._lengths = [rows * columns for rows, columns in self._shapes]
        self.size = sum(self._lengths)

    def unpack(self, z: Tensor) -> list[Tensor]:
        """Return views W_0, ..., W_L, each ``(*batch, outputs, inputs)``."""
        parts = z.split(self._lengths, dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def pack(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the flat state of W_0, ..., W_L, shape ``(*batch, P)``."""
        return torch.cat([weight.flatten(-2) for weight in weights], dim=-1)

    def layers(self, z: Tensor) -> list[Tensor]:
        """Return Z_0 = sigma(W_0 x), Z_1, ..., Z_L, samples as columns, ``(*batch, width, N)``."""
        first, *linear = self.unpack(z)
        found = [self._sigma(first @ self.X.mT)]
        for weight in linear:
            found.append(weight @ found[-1])
        return found

    def fit(self, z: Tensor) -> Tensor:
        """Return ``||Z_L - Y||_F``, shape ``batch``."""
        return torch.linalg.matrix_norm(self.layers(z)[-1] - self.Y)

    def risk(self, z: Tensor) -> Tensor:
        """Return the risk, decay included, shape ``batch``."""
        error = self.layers(z)[-1] - self.Y
        loss = error.square().sum((-2, -1)) / (2 * self.Y.shape[-1])
        return loss + self.decay / 2 * z.square().sum(-1)

    def loss_gradients(self, z: Tensor) -> list[Tensor]:
        """Return the gradient of the loss without decay in W_0, ..., W_L."""
        weights, layers = self.unpack(z), self.layers(z)
        back, found = (layers[-1] - self.Y) / self.Y.shape[-1], []
        for weight, below in zip(weights[:0:-1], layers[-2::-1], strict=True):
            found.append(back @ below.mT)
            back = weight.mT @ back
        found.append((back * self._slope(layers[0])) @ self.X)
        return found[::-1]

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the risk, as a flat tensor."""
        return -self.pack(self.loss_gradients(z)) - self.decay[..., None] * z

    def balance(self, z: Tensor) -> list[Tensor]:
        """Return D_l = W_{l+1}^T W_{l+1} - W_l W_l^T for l = 1, ..., L - 1: of linear layers."""
        return _differences(self.unpack(z)[1:])

    def across(self, z: Tensor) -> Tensor:
        """Return W_1^T W_1 - W_0 W_0^T, across the nonlinear layer."""
        return _differences(self.unpack(z)[:2])[0]

    def start(self, scale: float, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return normal starts of variance scale^2 over the inputs, shape ``(seeds, P)``.

        A seed has the same directions at every scale.
        """
        z = run.normal(seeds, self.size)
        for weight in self.unpack(z):
            weight.mul_(scale / weight.shape[-1] ** 0.5)
        return z


def _differences(weights: Sequence[Tensor]) -> list[Tensor]:
    return [above.mT @ above - below @ below.mT for below, above in pairwise(weights)]
