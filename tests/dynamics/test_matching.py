"""Matching units: the network computes the same, and a renamed network is found again."""

import itertools

import pytest
import torch

from ncbook.dynamics.matching import matched
from ncbook.models.deep import MLP
from ncbook.runtime import Runtime, generator

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def renamed(network: MLP, state: torch.Tensor, seed: int) -> torch.Tensor:
    """The state with the units of every hidden layer in random order."""
    state, draw = state.clone(), generator(seed)
    hidden, last = network.unpack(state)
    layers = [*hidden, last]
    for here, after in itertools.pairwise(layers):
        order = torch.randperm(here[0].shape[0], generator=draw)
        for one in here:
            one.copy_(one[order].clone())
        after[0].copy_(after[0][:, order].clone())
    return state


@pytest.mark.parametrize("sizes", [[3, 6, 2], [3, 6, 5, 2]])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_renamed_network_is_found_again(sizes, normalise):
    network = MLP(sizes, normalise)
    z = network.start(range(3), RUN) + 0.1 * RUN.normal(range(9, 12), network.size)
    other = torch.stack([renamed(network, one, 5 + k) for k, one in enumerate(z)])
    assert not torch.equal(other, z)
    torch.testing.assert_close(matched(network, other, z), z, rtol=0, atol=0)


def test_it_computes_the_same_and_is_no_farther():
    network = MLP([3, 8, 7, 6, 2], normalise=False)
    z, like = network.start(range(4), RUN), network.start(range(4, 8), RUN)
    found, x = matched(network, z, like), RUN.normal([1], 20, 3)[0]
    torch.testing.assert_close(network.forward(found, x)[1], network.forward(z, x)[1])
    assert bool(((found - like).norm(dim=-1) < (z - like).norm(dim=-1)).all())
    # Were only a layer's own weights moved, and not what reads them, it would compute another.
    hidden, last = network.unpack(found.clone())
    hidden[0][0].copy_(hidden[0][0].flip(-2).clone())
    broken = network.forward(torch.cat([p.flatten(1) for q in (*hidden, last) for p in q], 1), x)
    assert float((broken[1] - network.forward(z, x)[1]).abs().max()) > 0.1


def test_bad_input_is_an_error():
    network = MLP([3, 4, 2], normalise=False)
    z = network.start(range(2), RUN)
    for states, like in ((z, z[:1]), (z[0], z[0]), (z[:, 1:], z[:, 1:])):
        with pytest.raises(ValueError, match="expected"):
            matched(network, states, like)
    with pytest.raises(ValueError, match="sweeps"):
        matched(network, z, z, sweeps=0)
