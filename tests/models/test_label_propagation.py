"""Labels that spread along a graph, against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.semi_supervised import LabelSpreading

from ncbook.models.label_propagation import neighbour_graph, propagate_labels
from ncbook.runtime import generator


def blobs(seed: int, spread: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes in three directions, one labelled sample of each first."""
    y = torch.arange(3).repeat(12)
    noise = torch.randn(36, 5, generator=generator(seed), dtype=torch.float64)
    return 2 * torch.eye(5, dtype=torch.float64)[y] + spread * noise, y


def test_neighbours_are_those_of_largest_cosine():
    X, _ = blobs(1)
    graph = neighbour_graph(X, 3)
    assert torch.equal(graph, graph.T) and graph.diagonal().abs().max() == 0
    unit = X / X.norm(dim=1, keepdim=True)
    cosines = unit @ unit.T
    for i in range(36):
        mine = set(cosines[i].argsort(descending=True)[1:4].tolist())
        assert mine <= set(graph[i].nonzero().flatten().tolist())
    assert torch.equal(neighbour_graph(7 * X, 3), graph)
    assert torch.equal(neighbour_graph(torch.stack([X, X]), 3)[1], graph)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_it_answers_as_label_spreading_does(share):
    X, y = blobs(2, 1.2)
    graph = neighbour_graph(X, 4)
    given = np.where(np.arange(36) < 6, y.numpy(), -1)
    theirs = LabelSpreading(
        kernel=lambda a, b: graph.numpy(), alpha=share, max_iter=5000, tol=1e-12
    )
    theirs.fit(X.numpy(), given)
    ours = propagate_labels(graph, y[:6], share)
    assert ours.tolist() == theirs.transduction_.tolist()
    assert 0.4 < float((ours == y).double().mean()) < 1


def test_classes_that_are_apart_are_found_from_one_label_each():
    X, y = blobs(3, 0.1)
    assert torch.equal(propagate_labels(neighbour_graph(X, 4), y[:3]), y)
    # Control: with wrong labels the answers are wrong in the same way.
    wrong = propagate_labels(neighbour_graph(X, 4), [1, 2, 0])
    assert torch.equal(wrong, (y + 1) % 3)


def test_what_is_refused():
    X, _ = blobs(4)
    with pytest.raises(ValueError, match="neighbours = 36"):
        neighbour_graph(X, 36)
    graph = neighbour_graph(X, 3)
    for labels in ([], [0, -1], [0.5], [0] * (len(X) + 1)):
        with pytest.raises(ValueError, match="one whole number from 0"):
            propagate_labels(graph, labels, 0.5)
    with pytest.raises(ValueError, match="share from 0 up to 1"):
        propagate_labels(graph, [0, 1], 1.0)
    graph[2] = graph[:, 2] = 0  # a sample that nobody can tell anything
    with pytest.raises(ValueError, match="a neighbour of each sample"):
        propagate_labels(graph, [0, 1], 0.5)
