"""A multilayer perceptron without biases under square loss, in the scalings of its width.

    theta^1 = a_0 W_0 x,   theta^{l+1} = a_l W_l h(theta^l),   f = theta^{L+1},

with L hidden layers and, where asked for, the skip theta^{l+1} = theta^l + a_l W_l h(theta^l)
between hidden layers of one width. A scaling says of each layer's weights how large they start,
which factor a stands before them and at which rate they move, as powers of the widths.

Fang, Lee, Yang, Zhang, Modeling from features (2021), for the scaling in which features move by
order one at every width.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ncbook.models.mean_field import ACTIVATIONS, SLOPES
from ncbook.runtime import Runtime, tensors, whole

ACTIVATIONS = ACTIVATIONS | {"linear": lambda z: z}
SLOPES = SLOPES | {"linear": torch.ones_like}

# (factor, standard deviation of the start, rate) of weights from i to o units: in the first layer,
# in those between hidden layers, in the last.
SCALINGS = {
    # Variance 1/inputs, one rate for all: as networks are trained.
    "plain": [lambda i, o: (1.0, i**-0.5, 1.0)] * 3,
    # Features, outputs and losses move by order one in a unit of time, at every width.
    "features": [
        lambda i, o: (1.0, i**-0.5, o),
        lambda i, o: (1 / i, i**0.5, i * o),
        lambda i, o: (1 / i, 1.0, i),
    ],
    # The same, but the weights between hidden layers start at order one.
    "order one": [
        lambda i, o: (1.0, i**-0.5, o),
        lambda i, o: (1 / i, 1.0, i * o),
        lambda i, o: (1 / i, 1.0, i),
    ],
    # The neural tangent kernel's: wide networks move, their features do not.
    "lazy": [lambda i, o: (i**-0.5, 1.0, 1.0)] * 3,
}


class Perceptron:
    """The network on its data, with the loss ||f - Y||_F^2 / (2 n), for a batch of runs.

    A state is a flat tensor of shape ``(*batch, P)``: the weights ``(outputs, inputs)`` of each
    layer by rows, from the first to the last. sigma'(0) of the ReLU is 0.

    Parameters
    ----------
    X : Tensor
        Samples, ``(n, d)``.
    Y : Tensor
        Targets, ``(n, K)``, in X's dtype and on its device.
    hidden : sequence of int
        Widths of the hidden layers, one or more.
    activation : {"relu", "tanh", "sigmoid", "linear"}
    scaling : {"plain", "features", "order one", "lazy"}
    skip : bool
        Add a hidden layer to the next one. All widths must then be the same.

    Raises
    ------
    ValueError
        An argument is not as described.

    Examples
    --------
    A step moves a network of any width by the same, in the scaling of the features:

    >>> from ncbook import runtime
    >>> run = runtime.start("cpu")
    >>> X, Y = run.tensor([[1.0, 0.0], [0.6, 0.8]]), run.tensor([[1.0], [0.0]])
    >>> for width in (16, 256):
    ...     model = Perceptron(X, Y, [width, width], "tanh", "features")
    ...     start = model.start(range(4), run)
    ...     moved = model.features(start + 0.1 * model.field(start))[1] - model.features(start)[1]
    ...     print(f"{moved.square().mean().sqrt():.2f}")
    0.04
    0.04
    """

    def __init__(
        self,
        X: Tensor,
        Y: Tensor,
        hidden: Sequence[int],
        activation: str = "relu",
        scaling: str = "plain",
        skip: bool = False,
    ) -> None:
        tensors(X=X, Y=Y)
        for name, value, known in (
            ("activation", activation, ACTIVATIONS), ("scaling", scaling, SCALINGS)
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"Unknown {name} {value!r}; known are {', '.join(known)}.")
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or X.dtype != Y.dtype or len(X) == 0:
            raise ValueError(
                f"X has shape {tuple(X.shape)} and dtype {X.dtype}, Y {tuple(Y.shape)} and "
                f"{Y.dtype}; expected samples (n, d) and targets (n, K) of one dtype."
            )
        hidden = [whole("a width", width, 1) for width in hidden]
        if not hidden or (skip and len({*hidden}) > 1):
            raise ValueError(
                f"The widths of the hidden layers are {hidden}; expected one or more"
                f"{', all the same, because a skip adds a layer to the next' if skip else ''}."
            )
        self.X, self.Y, self.hidden = X, Y, tuple(hidden)
        self.activation, self.scaling, self.skip = activation, scaling, skip
        self.sizes = (X.shape[1], *hidden, Y.shape[1])
        self.shapes = [(o, i) for i, o in pairwise(self.sizes)]
        self._lengths = [o * i for o, i in self.shapes]
        self.size = sum(self._lengths)
        kinds = [0, *[1] * (len(hidden) - 1), 2]
        of = SCALINGS[scaling]
        self.factors, self.spreads, self.rates = zip(
            *(of[k](i, o) for k, (o, i) in zip(kinds, self.shapes, strict=True)), strict=True
        )
        self._h, self._slope = ACTIVATIONS[activation], SLOPES[activation]

    def unpack(self, z: Tensor) -> list[Tensor]:
        """Return views of each layer's weights, ``(*batch, outputs, inputs)``."""
        parts = z.split(self._lengths, dim=-1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def pack(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the flat state of each layer's weights, ``(*batch, P)``."""
        return torch.cat([weight.flatten(-2) for weight in weights], dim=-1)

    def layers(self) -> list[slice]:
        """Return where in a state each layer's weights stand."""
        ends = torch.tensor([0, *self._lengths]).cumsum(0).tolist()
        return [slice(a, b) for a, b in pairwise(ends)]

    def start(
        self, seeds: Sequence[int], run: Runtime, spread: float = 1.0, mean: float = 0.0
    ) -> Tensor:
        """Return normal starts, ``(seeds, P)``.

        Their standard deviation is ``spread`` times the scaling's; ``mean`` is the mean of the
        weights between hidden layers. A seed has the same directions at every spread.
        """
        weights = self.unpack(run.normal(seeds, self.size))
        weights = [spread * s * weight for s, weight in zip(self.spreads, weights, strict=True)]
        return self.pack([weights[0], *(weight + mean for weight in weights[1:-1]), weights[-1]])

    def features(self, z: Tensor) -> list[Tensor]:
        """Return theta^1 to theta^{L+1}, the last being f, each ``(*batch, n, width)``."""
        weights = self.unpack(z)
        found, last = [self.factors[0] * (self.X @ weights[0].mT)], len(weights) - 1
        for layer in range(1, last + 1):
            theta = self.factors[layer] * (self._h(found[-1]) @ weights[layer].mT)
            found.append(found[-1] + theta if self.skip and layer < last else theta)
        return found

    def outputs(self, z: Tensor) -> Tensor:
        """Return f, ``(*batch, n, K)``."""
        return self.features(z)[-1]

    def hidden_units(self, z: Tensor) -> list[Tensor]:
        """Return h(theta^1) to h(theta^L), each ``(*batch, n, width)``."""
        return [self._h(theta) for theta in self.features(z)[:-1]]

    def grams(self, z: Tensor) -> list[Tensor]:
        """Return each hidden layer's mean over units of h(theta) h(theta)^T, ``(*batch, n, n)``."""
        return [h @ h.mT / h.shape[-1] for h in self.hidden_units(z)]

    def loss(self, z: Tensor) -> Tensor:
        """Return ||f - Y||_F^2 / (2 n), shape ``batch``."""
        return (self.outputs(z) - self.Y).square().sum(dim=(-2, -1)) / (2 * len(self.X))

    def output_jacobians(self, z: Tensor) -> list[Tensor]:
        """Return the derivative of each sample's f in its theta^1 to theta^{L+1}.

        Each of shape ``(*batch, n, K, width)``; the last is the identity.
        """
        # An output is one more dimension of the batch: what is pulled back has shape (K, n, width).
        eye = torch.eye(self.sizes[-1]).to(z).unsqueeze(-2).expand(-1, len(self.X), -1)
        pulls = self._pulled(z.unsqueeze(-2), eye.expand(*z.shape[:-1], *eye.shape))[0]
        return [pull.movedim(-3, -2) for pull in pulls]

    def block_traces(self, z: Tensor) -> Tensor:
        """Return the trace of each block of the Gauss-Newton matrix, ``(*batch, L + 1)``."""
        backward = [jacobian.square().sum((-2, -1)) for jacobian in self.output_jacobians(z)]
        forward = [units.square().sum(-1) for units in self._inputs(z)]
        traces = zip(self.factors, backward, forward, strict=True)
        return torch.stack([a**2 * (B * x).mean(-1) for a, B, x in traces], dim=-1)

    def block_norms(self, z: Tensor) -> Tensor:
        """Return the largest eigenvalue of each layer's block of the Gauss-Newton matrix.

        The matrix is J^T J / n, J the Jacobian of all outputs in all weights. Of a layer's part of
        J the eigenvalues are found from J J^T / n, ``(n K, n K)``. Shape ``(*batch, L + 1)``.
        """
        found = []
        for jacobian, x, factor in zip(
            self.output_jacobians(z), self._inputs(z), self.factors, strict=True
        ):
            backward, pairs = jacobian.flatten(-3, -2), x @ x.mT
            for dim in (-1, -2):
                pairs = pairs.repeat_interleave(self.sizes[-1], dim)
            kernel = factor**2 / len(self.X) * pairs * (backward @ backward.mT)
            found.append(torch.linalg.eigvalsh(kernel)[..., -1])
        return torch.stack(found, dim=-1)

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the loss, each layer's times its rate, as a flat tensor."""
        pulls, inputs = self._pulled(z, None)
        moves = [
            (-rate * factor / len(self.X)) * (pull.mT @ h)
            for rate, factor, pull, h in zip(self.rates, self.factors, pulls, inputs, strict=True)
        ]
        return self.pack(moves)

    def widened(self, z: Tensor, times: int) -> tuple["Perceptron", Tensor]:
        """Return the network in which every hidden unit stands ``times`` times, and its state.

        In the scaling of the features both compute the same, and go on to do so along the flow.
        """
        times = whole("times", times, 1)
        hidden = [times * width for width in self.hidden]
        wide = Perceptron(self.X, self.Y, hidden, self.activation, self.scaling, self.skip)
        weights = self.unpack(z)
        for layer in range(len(weights)):
            if layer > 0:
                weights[layer] = weights[layer].repeat_interleave(times, -1)
            if layer < len(weights) - 1:
                weights[layer] = weights[layer].repeat_interleave(times, -2)
        return wide, wide.pack(weights)

    def _inputs(self, z: Tensor) -> list[Tensor]:
        """Return what each layer's weights act on, from the samples on, for every run."""
        return [self.X.expand(*z.shape[:-1], *self.X.shape), *self.hidden_units(z)]

    def _pulled(self, z: Tensor, above: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Return what is above f, or f - Y, pulled back to each theta, and the layers' inputs."""
        weights, thetas = self.unpack(z), self.features(z)
        inputs = [self.X, *map(self._h, thetas[:-1])]
        pulls = [thetas[-1] - self.Y if above is None else above]
        for layer in range(len(weights) - 1, 0, -1):
            pull = self.factors[layer] * (pulls[-1] @ weights[layer]) * self._slope(inputs[layer])
            skipped = self.skip and layer < len(weights) - 1
            pulls.append(pull + pulls[-1] if skipped else pull)
        return pulls[::-1], inputs
