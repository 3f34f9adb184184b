"""Labels that spread along a graph of nearest neighbours, without any representation.

Zhou, Bousquet, Lal, Weston, Schoelkopf, Learning with local and global consistency (2004).
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ncbook.models.labels import class_labels
from ncbook.runtime import tensors, whole


def neighbour_graph(X: Tensor, neighbours: int) -> Tensor:
    """Return the graph that joins samples of largest cosine, symmetric, 0 and 1.

    Parameters
    ----------
    X : Tensor
        Samples by rows, none of them zero, ``(*batch, N, D)``.
    neighbours : int
        Of each sample; it is joined as well to those of which it is one.

    Returns
    -------
    Tensor
        ``(*batch, N, N)``.

    Raises
    ------
    ValueError
        ``neighbours`` is not from 1 to N - 1.
    """
    tensors(X=X)
    N = X.shape[-2]
    if not 1 <= whole("neighbours", neighbours) < N:
        raise ValueError(f"neighbours = {neighbours} of {N} samples: expected 1 to {N - 1}.")
    unit = X / X.norm(dim=-1, keepdim=True)
    self_last = unit @ unit.mT - 3 * torch.eye(N).to(X)
    nearest = self_last.topk(neighbours, dim=-1).indices
    joined = torch.zeros_like(self_last).scatter(-1, nearest, 1.0)
    return torch.maximum(joined, joined.mT)


def propagate_labels(graph: Tensor, labels: Sequence[int] | Tensor, share: float = 0.9) -> Tensor:
    """Return a class for every sample, of which the first have labels, int64 ``(*batch, N)``.

    The largest entry of the row of (I - share D^(-1/2) S D^(-1/2))^(-1) Y.

    Source: Zhou et al. (2004).

    Parameters
    ----------
    graph : Tensor
        S, symmetric and nonnegative, no sample without a neighbour, ``(*batch, N, N)``.
    labels : sequence of int or Tensor
        Of the first L samples, 0 to C - 1, ``(L,)``.
    share : float
        Of what a sample takes from its neighbours, from 0 up to 1.

    Raises
    ------
    ValueError
        The share or the labels are not as described, or a sample has no neighbour.
    """
    tensors(graph=graph)
    N, degrees = graph.shape[-1], graph.sum(-1)
    given = class_labels(labels, min(len(labels), N), graph.device)
    if not 0 <= share < 1 or not bool((degrees > 0).all()):
        raise ValueError(
            f"share = {share}, and the least sum of a sample's weights is "
            f"{float(degrees.min()):.3g}: expected a share from 0 up to 1, and a neighbour of each "
            "sample; leave out samples without one."
        )
    root = degrees.rsqrt()
    spread = root.unsqueeze(-1) * graph * root.unsqueeze(-2)
    Y = torch.nn.functional.pad(one_hot(given).to(graph), (0, 0, 0, N - len(given)))
    return torch.linalg.solve(torch.eye(N).to(graph) - share * spread, Y.expand(
        *graph.shape[:-1], Y.shape[-1])).argmax(-1)  # fmt: skip
