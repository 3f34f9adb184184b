"""Graphs and fans as shapes: their closed forms, and what each opens to."""

import math

import pytest
import torch

from ncbook.theory.deep import fan, graph, phases, shapes


def with_loops_kappa(r, L, q):
    """kappa of the complete graph with all loops; r = 2 is the path. Worked out by hand."""
    E = r * (r - 1) / 2
    nuclear = (r - 1) * math.sqrt(1 + (r - 2) * q**2) + math.sqrt(1 + 2 * (r - 1) * q**2)
    opening = r * math.sqrt(r + E / (2 * q**2)) + E * math.sqrt(r) / (2 * q)
    return (r ** (L - 3) * (nuclear * opening) ** 2) ** (1 / (L + 1)) / (r + E)


@pytest.mark.parametrize("r", [3, 4, 5, 7])
def test_the_complete_graph_opens_to_the_identity(r):
    one = graph.complete(r)
    B = one.points
    torch.testing.assert_close(one.units @ B, 2 * (B.mT @ B - 1))
    torch.testing.assert_close(one.opened(), 2 * torch.eye(one.classes).double())


@pytest.mark.parametrize("layers", [3, 4, 9])
def test_closed_forms(layers):
    for r in (3, 4, 6):
        for tilt in (1.0, 0.85, 0.6):
            found = float(shapes.kappa(graph.complete(r, tilt), layers))
            assert found == pytest.approx(graph.complete_kappa(r, layers, tilt), rel=1e-12)
    for r in (2, 3, 5):
        for q in (0.5, 0.9, 1.7):
            found = float(shapes.kappa(graph.with_loops(r, q), layers))
            assert found == pytest.approx(with_loops_kappa(r, layers, q), rel=1e-12)


def test_known_values():
    """As a prototype measured them, and by hand for three vertices: kappa^(L+1) = 4/3."""
    assert graph.complete_kappa(3, 7) == pytest.approx((4 / 3) ** (1 / 8), rel=1e-14)
    assert graph.complete_kappa(5, 4) == pytest.approx(0.9014, abs=5e-5)
    assert graph.complete_kappa(4, 4) == pytest.approx(0.9633, abs=5e-5)
    assert graph.complete_kappa(5, 3) == pytest.approx(1.0444, abs=5e-5)
    assert with_loops_kappa(2, 4, 0.9035) == pytest.approx(0.9819, abs=5e-5)


def test_the_best_of_a_family_is_stationary():
    t = graph.best_tilt(5)
    assert graph.complete_kappa(5, 4, t) < graph.complete_kappa(5, 4, t + 1e-3)
    assert graph.complete_kappa(5, 4, t) < graph.complete_kappa(5, 4, t - 1e-3)
    q = graph.best_length(2, [0, 1], [(0, 1)])
    assert with_loops_kappa(2, 4, q) < with_loops_kappa(2, 4, q + 1e-3)
    assert with_loops_kappa(2, 4, q) < with_loops_kappa(2, 4, q - 1e-3)


def test_cheapest_has_a_graph_of_each_rank():
    found = {one.dimensions: one for one in graph.cheapest(6)}
    assert set(found) == {3, 4, 5}
    assert all(one.classes == 6 for one in found.values())
    best = graph.complete_kappa(4, 4, graph.best_tilt(4))
    assert float(shapes.kappa(found[4], 4)) == pytest.approx(best)
    assert graph.cheapest(2) == []


@pytest.mark.parametrize("K", [3, 4, 7, 10])
def test_a_fan_lies_in_the_quarter_plane_and_is_no_worse_than_equal_angles(K):
    one = fan.fan(K)
    assert (one.dimensions, one.classes) == (2, K)
    angles = torch.atan2(one.points[1], one.points[0])
    assert bool((angles.diff() > 0).all())
    opened = one.opened()
    opened = opened.where(opened > 1e-12, 0.0)
    middle = K // 2
    for k in range(K):  # an answer to all up to its own class, to all, or to all from its own on
        on = (opened[k] > 0).nonzero().ravel().tolist()
        expected = range(k + 1) if k < middle else range(K) if k == middle else range(k, K)
        assert on == list(expected)
    x = torch.zeros(2 * K, dtype=torch.float64)
    x[-1] = torch.pi / 4
    assert float(shapes.kappa(one, 6)) <= float(shapes.kappa(fan._shape(x, K), 6)) + 1e-12


def test_the_fan_of_three_is_the_path():
    path = graph.with_loops(2, graph.best_length(2, [0, 1], [(0, 1)]))
    assert float(shapes.kappa(fan.fan(3), 5)) == pytest.approx(float(shapes.kappa(path, 5)))


def test_bad_graphs_are_refused():
    for loops, edges in (([0], []), ([0, 5], []), ([], [(0, 1), (1, 5)])):
        with pytest.raises(ValueError, match="vertices"):
            graph.graph(3, loops, edges)
    for q, tilt in ((0.0, 1.0), (1.0, 1.5), (1.0, -0.1)):
        with pytest.raises(ValueError, match="tilt"):
            graph.graph(3, [0, 1], [(0, 1)], q, tilt)
    with pytest.raises(ValueError, match="integer of at least 3"):
        graph.complete(2)
    with pytest.raises(ValueError, match="integer of at least 3"):
        fan.fan(2)


def test_phases_say_the_cheapest_of_what_is_known():
    rows = {(row["classes"], row["layers"]): row for row in phases.phases([2, 3, 6], [3, 4, 5, 12])}
    ranks = {place: row["rank"] for place, row in rows.items()}
    assert [ranks[2, L] for L in (3, 4, 5, 12)] == [2, 2, 2, 2]
    assert [ranks[3, L] for L in (3, 4, 5, 12)] == [3, 2, 2, 2]
    assert [ranks[6, L] for L in (3, 4, 5, 12)] == [6, 4, 3, 2]
    assert rows[6, 3]["kappa"] == pytest.approx(1, rel=1e-14)
    least = min(float(shapes.kappa(one, 4)) for one in phases.known(6))
    assert rows[6, 4]["kappa"] == pytest.approx(least, rel=1e-14)
    assert least <= graph.complete_kappa(4, 4, graph.best_tilt(4)) + 1e-12
