"""The edge of Assumption 4: inside, at the edge, and what lies beyond."""

import itertools
import math

import pytest
import torch
from relu_cases import cone_data, random_start

from ncbook.models.shallow_relu import ShallowReLU
from ncbook.runtime import start
from ncbook.theory.alignment import pseudo_labels
from ncbook.theory.assumptions import semi_local
from ncbook.theory.semi_local import coverage, edge, safe_cosine


def pairs(K, h=12, seed=0):
    """A start at pairs (x_i, e~), and a random one."""
    X, y = cone_data(seed, K, 4)
    model = ShallowReLU(X, y, K, h, "cross-entropy")
    theta = model.semi_local_start(torch.ones(1, dtype=X.dtype), [seed], start("cpu"))[0, 0]
    return X, y, model.unpack(theta), random_start(seed + 7, X.shape[-1], h, K)


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
    X, y, (W, V), (far_W, far_V) = pairs(K)
    cosine = safe_cosine(K)
    w, v = edge(W, V, far_W, far_V, X, y, cosine)
    found, before = semi_local(w, v, X, y), semi_local(W, V, X, y)
    assert (found.group == before.group).all()
    assert (found.cosine > cosine).all()
    assert (found.own > 2 * found.others).all()
    turned = (w - W / W.norm(dim=0)).norm(dim=0) > 1e-3
    assert turned.all()
    # Negative control: a hundredth of the way further every neuron that did not arrive is outside.
    further_v = torch.lerp(v, far_V, 0.01)
    further_w = torch.lerp(w, far_W, 0.01)
    beyond = semi_local(further_w, further_v, X, y)
    arrived_v = (v - far_V).norm(dim=0) < 1e-9
    arrived_w = (w - far_W).norm(dim=0) < 1e-9
    assert ((beyond.cosine < cosine) | arrived_v).all()
    assert ((beyond.own < 2 * beyond.others) | arrived_w).all()


def test_a_start_outside_is_refused():
    X, y, (W, V), (far_W, far_V) = pairs(3)
    with pytest.raises(ValueError, match="do not satisfy Assumption 4"):
        edge(far_W, far_V, W, V, X, y, safe_cosine(3))


def test_runs_do_not_touch_each_other():
    X, y, (W, V), (far_W, far_V) = pairs(3)
    _, _, (W1, V1), far1 = pairs(3, seed=0)
    both = edge(
        torch.stack([W, W1.flip(-1)]),
        torch.stack([V, V1.flip(-1)]),
        torch.stack([far_W, far1[0]]),
        torch.stack([far_V, far1[1]]),
        X,
        y,
        0.9,
    )
    alone = edge(W, V, far_W, far_V, X, y, 0.9)
    assert torch.equal(both[0][0], alone[0]) and torch.equal(both[1][0], alone[1])


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


def test_coverage_refuses_more_than_all():
    with pytest.raises(ValueError, match="up to 1/K"):
        coverage(0.6, 2, [4])
