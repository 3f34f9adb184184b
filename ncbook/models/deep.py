"""A multilayer perceptron, trained as a batch of runs.

Stands in for the deep networks of Papyan, Han and Donoho (2020): ReLU layers, each normalised
over the mini-batch as in theirs, below a linear classifier with bias.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ncbook.runtime import Runtime, whole

Moments = list[tuple[Tensor, Tensor]]

_EPS = 1e-5  # added to variances before their root, as torch.nn.BatchNorm1d does


class MLP:
    """Layers h <- relu(g * normalised(W h) + s), then logits W h + b, for a batch of runs.

    A state is a flat tensor of shape ``(*batch, P)``. It holds, layer by layer, the weight
    (outputs x inputs, by rows), the shift and, in normalised layers, the gain g. "Normalised"
    takes from each coordinate its mean over the examples and divides it by the root of its
    variance plus 1e-5. Without normalisation a layer is relu(W h + s).

    Parameters
    ----------
    sizes : sequence of int
        Inputs, the widths of one or more hidden layers, classes. The last hidden layer's outputs
        are the features.
    normalise : bool
        Normalise the hidden layers over the examples they are given (batch normalisation).
    linear : bool
        Leave out the ReLUs.

    Raises
    ------
    ValueError
        There are fewer than three sizes, or one is not a positive integer.
    """

    def __init__(self, sizes: Sequence[int], normalise: bool = True, linear: bool = False) -> None:
        self.sizes, self.normalise = tuple(whole("a size", size, 1) for size in sizes), normalise
        self.linear = linear
        if len(self.sizes) < 3:
            raise ValueError(
                f"sizes is {self.sizes}; expected the number of inputs, of units in each of one "
                "or more hidden layers, and of classes."
            )
        self._shapes: list[tuple[int, ...]] = []
        for inputs, outputs in zip(self.sizes[:-2], self.sizes[1:-1], strict=True):
            self._shapes += [(outputs, inputs), (outputs,)]
            if normalise:
                self._shapes.append((outputs,))
        self._shapes += [(self.sizes[-1], self.sizes[-2]), (self.sizes[-1],)]
        self._lengths = [torch.Size(shape).numel() for shape in self._shapes]
        self.size = sum(self._lengths)

    def unpack(self, z: Tensor) -> tuple[list[tuple[Tensor, ...]], tuple[Tensor, Tensor]]:
        """Return views: (weight, shift[, gain]) of each hidden layer, and the classifier's W, b."""
        views = [
            part.unflatten(-1, shape)
            for part, shape in zip(z.split(self._lengths, dim=-1), self._shapes, strict=True)
        ]
        step = 3 if self.normalise else 2
        hidden = [tuple(views[i : i + step]) for i in range(0, len(views) - 2, step)]
        return hidden, (views[-2], views[-1])

    def classifier(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last layer: W of shape ``(*batch, K, D)`` and b of shape ``(*batch, K)``."""
        return self.unpack(z)[1]

    def start(self, seeds: Sequence[int], run: Runtime, variance: float = 2.0) -> Tensor:
        """Return a start for each seed, shape ``(seeds, P)``.

        Weights are normal with variance 2 over the inputs (He et al. 2015), or another ``variance``
        over them (1/3 for that of torch's own layers), shifts 0, gains 1.
        """
        z = run.normal(seeds, self.size)
        hidden, (weight, shift) = self.unpack(z)
        for layer in (*hidden, (weight, shift)):
            layer[0].mul_((variance / layer[0].shape[-1]) ** 0.5)
            layer[1].zero_()
            if len(layer) == 3:
                layer[2].fill_(1)
        return z

    def forward(
        self, z: Tensor, x: Tensor, moments: Moments | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return features and logits.

        Parameters
        ----------
        z : Tensor
            ``(*batch, P)``.
        x : Tensor
            ``(n, inputs)``, the same for all runs, or ``(*batch, n, inputs)``.
        moments : list, optional
            Means and variances to normalise with, from :meth:`moments`; without it, those of the
            examples in ``x``.

        Returns
        -------
        Tensor, Tensor
            ``(*batch, n, D)`` and ``(*batch, n, K)``.
        """
        features, logits, _ = self._forward(z, x, moments)
        return features, logits

    def layers(self, z: Tensor, x: Tensor) -> list[Tensor]:
        """Return the inputs and each hidden layer's outputs, ``(*batch, n, width)``."""
        found = [x.expand(*z.shape[:-1], *x.shape[-2:])]
        self._forward(z, x, None, found)
        return found

    def moments(self, z: Tensor, x: Tensor) -> Moments:
        """Return each hidden layer's means and variances over the examples ``x``.

        With the training examples they are what a running average over mini-batches estimates;
        tests on other examples use them. An empty list without normalisation.
        """
        return [(mean, variance) for *_, mean, variance in self._forward(z, x, None)[2]]

    def loss_gradient(self, z: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        """Return the gradient of the mean cross-entropy, by hand, shape ``(*batch, P)``.

        Parameters
        ----------
        z, x : Tensor
            As for :meth:`forward`.
        labels : Tensor
            ``(n,)`` or ``(*batch, n)``, int64.
        """
        hidden, (weight, _) = self.unpack(z)
        inputs = [x.expand(*z.shape[:-1], *x.shape[-2:])]
        features, logits, saved = self._forward(z, x, None, inputs)
        targets = labels.unsqueeze(-1) == torch.arange(self.sizes[-1], device=labels.device)
        delta = logits.softmax(-1).sub_(targets.to(z.dtype)).div_(x.shape[-2])
        parts = [delta.sum(-2), (delta.mT @ features).flatten(-2)]  # from the last to the first
        for depth in range(len(hidden) - 1, -1, -1):
            layer, outputs = hidden[depth], inputs[depth + 1]
            delta = delta @ weight
            if not self.linear:
                delta.mul_(outputs > 0)
            if self.normalise:
                normalised, scale, *_ = saved[depth]
                gain, shift = (delta * normalised).sum(-2), delta.sum(-2)
                parts += [gain, shift]
                # Moving one example moves the mean and the variance of all.
                n = x.shape[-2]
                delta = delta.sub_(shift.unsqueeze(-2) / n)
                delta = delta.sub_(normalised * (gain / n).unsqueeze(-2))
                delta = delta.mul_(layer[2].unsqueeze(-2) * scale)
            else:
                parts.append(delta.sum(-2))
            weight = layer[0]
            parts.append((delta.mT @ inputs[depth]).flatten(-2))
        return torch.cat(parts[::-1], dim=-1)

    def progress(self, x: Tensor, labels: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
        """Return an observable of states: the ``loss`` and the ``error`` rate on these examples."""

        def observe(z: Tensor) -> dict[str, Tensor]:
            return scores(self.forward(z, x)[1], labels)

        return observe

    def _forward(
        self, z: Tensor, x: Tensor, moments: Moments | None, inputs: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
        """Return features, logits and, of normalised layers, what the gradient needs."""
        hidden, (weight, shift) = self.unpack(z)
        saved, h = [], x
        for depth, layer in enumerate(hidden):
            if self.normalise:
                h = h @ layer[0].mT
                mean = h.mean(-2, keepdim=True) if moments is None else moments[depth][0]
                h = h.sub_(mean)
                if moments is None:
                    variance = h.square().mean(-2, keepdim=True)
                else:
                    variance = moments[depth][1]
                scale = (variance + _EPS).rsqrt()
                h = h.mul_(scale)
                saved.append((h, scale, mean, variance))
                h = torch.addcmul(layer[1].unsqueeze(-2), h, layer[2].unsqueeze(-2))
            else:
                h = _affine(h, layer[0], layer[1])
            if not self.linear:
                h.relu_()
            if inputs is not None:
                inputs.append(h)
        return h, _affine(h, weight, shift), saved


class PenalisedLoss:
    """The mean cross-entropy of a perceptron on given examples, with weight decay, as a landscape.

    Parameters
    ----------
    network : MLP
    x, labels : Tensor
        ``(n, inputs)`` and ``(n,)`` int64.
    decay : float
        At least 0; decay/2 times the squared norm of all parameters is added.

    Raises
    ------
    ValueError
        There is not one label an example, or the decay is negative.
    """

    def __init__(self, network: MLP, x: Tensor, labels: Tensor, decay: float = 0.0) -> None:
        if labels.shape != x.shape[:1] or not decay >= 0:
            raise ValueError(
                f"There are {tuple(labels.shape)} labels for examples of shape {tuple(x.shape)}, "
                f"and decay is {decay}: expected a label an example, and a decay of at least 0."
            )
        self.network, self.x, self.labels, self.decay = network, x, labels, decay

    def risk(self, z: Tensor) -> Tensor:
        """Return the penalised loss of states ``(*batch, P)``, shape ``batch``."""
        loss = scores(self.network.forward(z, self.x)[1], self.labels)["loss"]
        return loss + self.decay / 2 * z.square().sum(-1)

    def field(self, z: Tensor) -> Tensor:
        """Return minus its gradient, shape ``(*batch, P)``."""
        return -self.network.loss_gradient(z, self.x, self.labels).add(z, alpha=self.decay)


def scores(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the mean cross-entropy ``loss`` and the ``error`` rate, each of shape ``batch``.

    Parameters
    ----------
    logits : Tensor
        ``(*batch, n, K)``.
    labels : Tensor
        ``(n,)``.
    """
    flat = logits.flatten(0, -2)
    repeated = labels.expand(logits.shape[:-1])
    loss = cross_entropy(flat, repeated.flatten(), reduction="none")
    wrong = (logits.argmax(-1) != labels).to(logits.dtype)
    return {"loss": loss.view(logits.shape[:-1]).mean(-1), "error": wrong.mean(-1)}


def _affine(h: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """Return W h + s for examples in rows."""
    if h.ndim == 3 and weight.ndim == 3:  # one fused product for the common case
        return torch.baddbmm(shift.unsqueeze(-2), h, weight.mT)
    return h @ weight.mT + shift.unsqueeze(-2)
