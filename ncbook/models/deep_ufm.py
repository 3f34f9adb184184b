"""Deep unconstrained features: free features below several weight matrices, with weight decay.

Tirer, Bruna, Extended unconstrained features model (2022), one or two matrices; Dang et al., Neural
collapse in deep linear networks (2023), any number; Sukenik, Mondelli, Lampert, Deep neural
collapse is provably optimal for the deep unconstrained features model (2023), with ReLUs.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ncbook.runtime import Runtime, whole


class DeepUnconstrainedFeatures:
    r"""The regularised risk over Z = (H, W_1, ..., W_M, b), for a batch of runs.

    With :math:`A_1 = H` and :math:`Z_l = W_l A_l`, :math:`A_{l+1} = Z_l` or
    :math:`\max(Z_l, 0)`, it is

    .. math:: \frac1{2N} \|Z_M + b 1^T - Y\|_F^2 + \frac{\lambda_H}2 \|H\|_F^2
        + \sum_l \frac{\lambda_l}2 \|W_l\|_F^2 + \frac{\lambda_b}2 |b|^2 .

    One feature a class can stand for all its samples, with the weight n_k in fit and decay: the
    risk of collapsed features, whose minima are those of the whole model.

    A state is a flat tensor of shape ``(*batch, P)``, holding H (d_1 x S), W_1 (d_2 x d_1), ...,
    W_M (K x d_M) and, with a bias, b (K), each by rows; S is K, or N where features are single.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each class, at least two classes.
    widths : sequence of int
        d_1, ..., d_M: the dimension of the features and of each hidden layer.
    decays : sequence of float
        lambda_1, ..., lambda_M and lambda_H, at least 0.
    relu : bool
        Whether a ReLU stands between any two weight matrices.
    bias_decay : float, optional
        lambda_b of the last layer's bias, 0 or more; without it there is no bias.
    single : bool
        Whether each sample has a feature of its own, in place of one a class.
    device, dtype
        Of the targets, hence of the states; float64 on the CPU without them.

    Raises
    ------
    ValueError
        A size or a width is no positive integer, or the decays are not M + 1 numbers of at least 0.

    Examples
    --------
    Two layers, and the risk at the start that is zero, where each sample costs 1/(2 N):

    >>> model = DeepUnconstrainedFeatures([3, 3], widths=[4, 4], decays=[0.1, 0.1, 0.1])
    >>> model.risk(torch.zeros(model.size, dtype=torch.float64)).item()
    0.5
    """

    def __init__(
        self,
        sizes: Sequence[int],
        widths: Sequence[int],
        decays: Sequence[float],
        relu: bool = False,
        bias_decay: float | None = None,
        single: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.sizes = tuple(whole("a class size", size, 1) for size in _several("sizes", sizes, 2))
        self.widths = tuple(whole("a width", width, 1) for width in _several("widths", widths, 1))
        self.K, self.N, self.layers = len(self.sizes), sum(self.sizes), len(self.widths)
        self.decays = tuple(float(d) for d in _several("decays", decays, 2))
        both = self.decays if bias_decay is None else (*self.decays, float(bias_decay))
        if len(self.decays) != self.layers + 1 or not all(0 <= d < math.inf for d in both):
            raise ValueError(
                f"decays = {self.decays}, bias_decay = {bias_decay}: expected numbers of at least "
                f"0, M + 1 = {self.layers + 1} of them for W_1, ..., W_M and H; M is the number "
                "of widths."
            )
        self.relu, self.bias_decay, self.single = relu, bias_decay, single
        labels = torch.arange(self.K)
        counts = torch.tensor(self.sizes)
        self.labels = torch.repeat_interleave(labels, counts) if single else labels
        weights = torch.ones(self.N) if single else counts
        self.labels = self.labels.to(device)
        # Samples that a column stands for, (S,), and its target, (K, S).
        self.counts = weights.to(device, dtype)
        self.Y = torch.nn.functional.one_hot(self.labels, self.K).T.to(device, dtype).contiguous()
        S, outer = self.Y.shape[1], (*self.widths[1:], self.K)
        self.shapes = [(self.widths[0], S), *zip(outer, self.widths, strict=True)]
        self.size = sum(math.prod(s) for s in self.shapes) + (0 if bias_decay is None else self.K)

    def unpack(self, z: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Return views H ``(*batch, d_1, S)``, the list of W_l, and b ``(*batch, K)``.

        Without a bias b is zero.
        """
        lengths = [math.prod(shape) for shape in self.shapes]
        *parts, b = z.split([*lengths, z.shape[-1] - sum(lengths)], dim=-1)
        H, *W = (part.unflatten(-1, s) for part, s in zip(parts, self.shapes, strict=True))
        return H, W, z.new_zeros(*z.shape[:-1], self.K) if self.bias_decay is None else b

    def pack(self, H: Tensor, W: Sequence[Tensor], b: Tensor | None = None) -> Tensor:
        """Return the flat state of H, W_1, ..., W_M and, with a bias, b: ``(*batch, P)``."""
        parts = [part.flatten(-2) for part in (H, *W)]
        return torch.cat(parts if self.bias_decay is None else [*parts, b], dim=-1)

    def layers_of(self, z: Tensor) -> list[Tensor]:
        """Return H, Z_1, ..., Z_M: the features and what each matrix makes of its input.

        Shapes ``(*batch, d_1, S)``, ``(*batch, d_2, S)``, ..., ``(*batch, K, S)``: before the ReLU,
        and the last without the bias.
        """
        H, W, _ = self.unpack(z)
        seen = [H]
        for index, one in enumerate(W):
            seen.append(one @ (seen[-1].relu() if self.relu and index else seen[-1]))
        return seen

    def risk(self, z: Tensor) -> Tensor:
        """Return the regularised risk, shape ``batch``."""
        H, W, b = self.unpack(z)
        E = self.layers_of(z)[-1] + b.unsqueeze(-1) - self.Y
        total = (self.counts * E.square()).sum((-2, -1)) / (2 * self.N)
        total = total + self.decays[-1] / 2 * (self.counts * H.square()).sum((-2, -1))
        for decay, one in zip(self.decays, W, strict=False):
            total = total + decay / 2 * one.square().sum((-2, -1))
        return total + (self.bias_decay or 0) / 2 * b.square().sum(-1)

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the risk, as a flat tensor ``(*batch, P)``.

        At the kink of a ReLU the slope is 0.
        """
        H, W, b = self.unpack(z)
        seen = self.layers_of(z)
        back = self.counts / self.N * (self.Y - b.unsqueeze(-1) - seen[-1])
        of_b = back.sum(-1) - (self.bias_decay or 0) * b
        of_W = []
        for index in reversed(range(self.layers)):
            below = seen[index].relu() if self.relu and index else seen[index]
            of_W.insert(0, back @ below.mT - self.decays[index] * W[index])
            back = W[index].mT @ back
            if self.relu and index:
                back = back * (seen[index] > 0)
        return self.pack(back - self.decays[-1] * self.counts * H, of_W, of_b)

    def start(
        self, seeds: Sequence[int], run: Runtime, scale: float = 1.0, weights: float | None = None
    ) -> Tensor:
        """Return random starts, shape ``(len(seeds), P)``: normal entries, and b = 0.

        Parameters
        ----------
        seeds : sequence of int
            One start each; a seed has the same directions at every scale.
        run : Runtime
            Draws the numbers.
        scale : float
            Standard deviation of the features' entries.
        weights : float, optional
            That of the weights' entries; ``scale`` without it.
        """
        H, W, b = self.unpack(run.normal(seeds, self.size))
        weights = scale if weights is None else weights
        return self.pack(scale * H, [weights * one for one in W], torch.zeros_like(b))


def _several(name: str, values: Sequence, least: int) -> list:
    # A tensor without dimensions is iterable by its type alone.
    if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name} = {values!r}: expected a sequence of numbers.")
    values = list(values)
    if len(values) < least:
        raise ValueError(f"{name} = {values}: expected at least {least} numbers.")
    return values
