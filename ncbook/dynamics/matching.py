"""The units of one network in the order of another's, so that paths between them make sense.

A hidden layer's units can be renamed without changing what the network computes. Found greedily,
a layer at a time, each by an assignment problem, until no layer changes: the weight matching of
Ainsworth, Hayase and Srinivasa, Git Re-Basin (2023).
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ncbook.models.deep import MLP
from ncbook.runtime import whole


def matched(network: MLP, states: Tensor, like: Tensor, sweeps: int = 20) -> Tensor:
    """Return states that compute what ``states`` do, with the hidden units in the order of others.

    Parameters
    ----------
    network : MLP
        Its layers.
    states, like : Tensor
        ``(R, P)``: each state is matched to the other in its row.
    sweeps : int
        The most passes over the layers; with one hidden layer the first is the best there is.

    Returns
    -------
    Tensor
        ``(R, P)``, no farther from ``like`` than before.

    Raises
    ------
    ValueError
        The states are no batch of this network's, or there is no sweep.
    """
    sweeps = whole("sweeps", sweeps, 1)
    if states.shape != like.shape or states.ndim != 2 or states.shape[1] != network.size:
        raise ValueError(
            f"The states have shapes {tuple(states.shape)} and {tuple(like.shape)}: expected "
            f"(R, {network.size}) twice."
        )
    found, others = states.cpu().clone(), like.cpu()
    for state, other in zip(found, others, strict=True):
        ours, theirs = (_layers(network, one) for one in (state, other))
        for _ in range(sweeps):
            if not sum(_rename(ours, theirs, depth) for depth in range(len(ours) - 1)):
                break
    return found.to(states)


def _layers(network: MLP, state: Tensor) -> list[tuple[Tensor, ...]]:
    hidden, last = network.unpack(state)
    return [*hidden, last]


def _rename(ours: list, theirs: list, depth: int) -> bool:
    """Reorder the units of a layer in place; return whether that changed any."""
    alike = theirs[depth + 1][0].T @ ours[depth + 1][0]
    for one, other in zip(ours[depth], theirs[depth], strict=True):
        alike = alike + other.reshape(len(other), -1) @ one.reshape(len(one), -1).T
    _, order = linear_sum_assignment(alike.double().numpy(), maximize=True)
    order = torch.from_numpy(order)
    if bool((order == torch.arange(len(order))).all()):
        return False
    for one in ours[depth]:
        one.copy_(one[order])
    after = ours[depth + 1][0]
    after.copy_(after[:, order])
    return True
