"""The unconstrained features model: the features are free variables.

Mixon, Parshall, Pi, Neural collapse with unconstrained features (2022).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ncbook.runtime import Runtime, whole


class UnconstrainedFeatures:
    """The risk 1/2 ||W H + b 1^T - Y||_F^2 over Z = (H, W, b), for a batch of runs.

    A state is a flat tensor of shape ``(*batch, P)``, P = p n + C p + C, holding H (p x n, columns
    grouped by class), W (C x p) and b (C), each by rows.

    Parameters
    ----------
    C : int
        Classes, at least 2.
    N : int or sequence of int
        Examples of each class; one number for balanced classes.
    p : int
        Dimension of the features, at least 1 (the paper takes p >= C).
    device, dtype
        Of the targets, hence of the states; float64 on the CPU without them.

    Raises
    ------
    ValueError
        A size is not a positive integer, or ``N`` does not list C sizes.

    Examples
    --------
    Gradient flow from ten starts of each of two sizes ends close to strong collapse, the closer
    the smaller the start:

    >>> from ncbook import metrics, runtime
    >>> from ncbook.dynamics.flow import flow
    >>> run = runtime.start("cpu")
    >>> model = UnconstrainedFeatures(C=3, N=4, p=8)
    >>> starts = model.small_start(run.tensor([1e-1, 1e-3]), seeds=range(10), run=run)
    >>> ended = flow(model.field, starts, step=0.1, record=[0.0, 40.0])
    >>> errors = metrics.strong_collapse(*model.unpack(ended.final))
    >>> errors.frame.shape
    torch.Size([2, 10])
    >>> (errors.frame.median(-1).values < run.tensor([1e-1, 1e-5])).tolist()
    [True, True]
    """

    def __init__(
        self,
        C: int,
        N: int | Sequence[int],
        p: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        C, p = whole("C", C, 2), whole("p", p, 1)
        # A tensor without dimensions is iterable by its type alone.
        several = isinstance(N, Iterable) and getattr(N, "ndim", 1) > 0
        sizes = tuple(whole("N", size, 1) for size in (N if several else (N,) * C))
        if len(sizes) != C:
            raise ValueError(
                f"N = {N} has {len(sizes)} sizes: expected the number of examples of a class, as "
                f"one number or as C = {C} numbers."
            )
        self.C, self.p, self.sizes, self.n = C, p, sizes, sum(sizes)
        self.size = p * self.n + C * p + C
        labels = torch.repeat_interleave(torch.arange(C), torch.tensor(sizes))
        self.Y = torch.nn.functional.one_hot(labels, C).T.to(device, dtype).contiguous()

    @property
    def N(self) -> int:
        """Examples of each class.

        Raises
        ------
        ValueError
            The classes are not balanced.
        """
        if len(set(self.sizes)) > 1:
            raise ValueError(f"The classes have sizes {self.sizes}: there is no common N.")
        return self.sizes[0]

    def unpack(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return views H ``(*batch, p, n)``, W ``(*batch, C, p)``, b ``(*batch, C)``."""
        H, W, b = z.split([self.p * self.n, self.C * self.p, self.C], dim=-1)
        return H.unflatten(-1, (self.p, self.n)), W.unflatten(-1, (self.C, self.p)), b

    def pack(self, H: Tensor, W: Tensor, b: Tensor) -> Tensor:
        """Return the flat state of H, W, b, shape ``(*batch, P)``."""
        return torch.cat([H.flatten(-2), W.flatten(-2), b], dim=-1)

    def residual(self, z: Tensor) -> Tensor:
        """Return E = W H + b 1^T - Y, shape ``(*batch, C, n)``."""
        H, W, b = self.unpack(z)
        return W @ H + b.unsqueeze(-1) - self.Y

    def risk(self, z: Tensor) -> Tensor:
        """Return the empirical risk 1/2 ||E||_F^2, shape ``batch``."""
        return self.residual(z).square().sum(dim=(-2, -1)) / 2

    def field(self, z: Tensor) -> Tensor:
        """Return minus the gradient of the risk, (-W^T E, -E H^T, -E 1), as a flat tensor."""
        H, W, b = self.unpack(z)
        minus_E = self.Y - b.unsqueeze(-1) - W @ H
        return self.pack(W.mT @ minus_E, minus_E @ H.mT, minus_E.sum(-1))

    def small_start(self, eps: Tensor, seeds: Sequence[int], run: Runtime) -> Tensor:
        """Return random starts with ||H_0||_F = ||W_0||_F = eps and b_0 = 0, as in Figure 1.

        The directions of H_0 and W_0 are uniform on the sphere; a seed has the same directions at
        every eps.

        Parameters
        ----------
        eps : Tensor or sequence of float
            Shape ``(A,)``.
        seeds : sequence of int
            S seeds.
        run : Runtime
            Draws the numbers.

        Returns
        -------
        Tensor
            Shape ``(A, S, P)``.
        """
        H, W, b = self.unpack(run.normal(seeds, self.size))
        H = H / torch.linalg.matrix_norm(H, keepdim=True)
        W = W / torch.linalg.matrix_norm(W, keepdim=True)
        direction = self.pack(H, W, torch.zeros_like(b))
        return run.tensor(eps)[:, None, None] * direction
