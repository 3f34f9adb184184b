"""The edge of Assumption 4: inside, at the edge, and what lies beyond."""

import itertools
import math

import pytest
import torch
from relu_cases import cone_data

from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import start
from ncbook.theory.relu.alignment import pseudo_labels
from ncbook.theory.relu.assumptions import semi_local
from ncbook.theory.relu.semi_local import coverage, safe_cosine

ONE = torch.ones(1, dtype=torch.float64)


def pairs(K, h=12, seed=0):
    """A network, its start at pairs (x_i, e~), and its random one."""
    model = ShallowReLU(*cone_data(seed, K, 4), K, h, "cross-entropy")
    near = model.semi_local_start(ONE, [seed], start("cpu"))[0, 0]
    far = model.balanced_start(ONE, [seed], start("cpu"))[0, 0]
    return model, model.unpack(near), model.unpack(far)


def edge(model, cosine, seed=0):
    """The directions at the edge, as the network makes them."""
    return model.unpack(model.edge_start(ONE, [seed], start("cpu"), cosine)[0, 0])


@pytest.mark.parametrize("K", [3, 4, 6])
def test_beyond_the_safe_cosine_no_other_class_pulls(K):
    labels = pseudo_labels(K, K)
    e, other = labels[:, 0], labels[:, 1]
    across = other - (other @ e) * e
    across = across / across.norm()
    most = [
        float((b * e + math.sqrt(1 - b * b) * across) @ other)
        for b in (safe_cosine(K), math.sqrt(1 - 1 / (K - 1) ** 2), 1 - 1 / (2 * (K - 1)))
    ]
    assert most[0] < 0
    assert most[1] == pytest.approx(0, abs=1e-15)
    assert most[2] > 0  # negative control: a threshold without the square


def test_two_classes_at_least():
    with pytest.raises(ValueError, match="at least two classes"):
        safe_cosine(1)


@pytest.mark.parametrize("K", [3, 4, 5])
def test_the_edge_is_inside_and_a_little_further_is_not(K):
    model, (W, V), (far_W, far_V) = pairs(K)
    cosine = safe_cosine(K)
    w, v = edge(model, cosine)
    found = semi_local(w, v, model.X, model.y)
    assert (found.group == semi_local(W, V, model.X, model.y).group).all()
    assert (found.cosine > cosine).all()
    assert (found.own > 2 * found.others).all()
    assert ((w - W).norm(dim=0) > 1e-3).all()
    # Negative control: a hundredth of the way further every neuron that did not arrive is outside.
    further_v = torch.lerp(v, far_V, 0.01)
    further_w = torch.lerp(w, far_W, 0.01)
    beyond = semi_local(further_w, further_v, model.X, model.y)
    arrived_v = (v - far_V).norm(dim=0) < 1e-9
    arrived_w = (w - far_W).norm(dim=0) < 1e-9
    assert ((beyond.cosine < cosine) | arrived_v).all()
    assert ((beyond.own < 2 * beyond.others) | arrived_w).all()


def test_another_threshold_is_another_edge():
    model, _, _ = pairs(4)
    cosines = []
    for cosine in (safe_cosine(4), 1 - 1 / (2 * 3)):
        found = semi_local(*edge(model, cosine), model.X, model.y)
        cosines.append(found.cosine)
        assert float((found.cosine - cosine).min()) == pytest.approx(0, abs=1e-9)
    assert (cosines[1] < cosines[0]).any()


def test_below_a_low_threshold_the_group_ends_the_way():
    model, (W, V), (far_W, far_V) = pairs(4, h=40)
    _, v = edge(model, 0.1)
    group = semi_local(W, V, model.X, model.y).group
    assert (semi_local(W, v, model.X, model.y).group == group).all()
    # Negative control: where the way goes, most neurons have another group; these stop at a tie.
    other = semi_local(far_W, far_V, model.X, model.y).group != group
    assert other.sum() > 20
    first, second = (pseudo_labels(4, 4).T @ v).topk(2, dim=0).values
    assert float((first - second)[other].max()) < 1e-9
    assert float((first - second)[~other].max()) > 1e-3


@pytest.mark.parametrize("K, share", [(2, 0.5), (2, 0.4), (3, 0.25), (4, 0.25)])
def test_coverage_is_what_counting_all_outcomes_gives(K, share):
    """Each neuron is in class 0, ..., K - 1 or in none: add up the chances of what covers all."""
    chances = [share] * K + [1 - K * share]
    for h in (1, 2, 4):
        total = sum(
            math.prod(chances[outcome] for outcome in outcomes)
            for outcomes in itertools.product(range(K + 1), repeat=h)
            if set(range(K)) <= set(outcomes)
        )
        assert coverage(share, K, [h])[0] == pytest.approx(total, abs=1e-14)
    assert coverage(share, K, [4])[0] != pytest.approx(coverage(share * 0.9, K, [4])[0], abs=1e-3)


@pytest.mark.parametrize("K", [2, 10, 40, 60])
def test_coverage_is_a_chance_and_zero_where_neurons_are_too_few(K):
    found = coverage(1 / K, K, [0, K // 2, K - 1, K, 5 * K, 200 * K])
    assert found[:3] == [0, 0, 0]
    factor = math.factorial(K) / K**K  # each neuron another class
    assert found[3] == pytest.approx(factor, rel=1e-12)
    assert 0 < found[3] < found[4] < found[5] <= 1 + 1e-12


def test_coverage_refuses_more_than_all():
    with pytest.raises(ValueError, match="up to 1/K"):
        coverage(0.6, 2, [4])
