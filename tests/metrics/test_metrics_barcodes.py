"""The elder rule against a flood by hand, against gudhi where it is, and on a grid."""

import itertools
import math

import pytest
import torch

from ncbook.metrics.barcodes import elder_rule
from ncbook.runtime import generator


def flooded(minima, pairs, levels):
    """Deaths by their definition: the least level at which an older minimum can be reached."""
    M, best = len(minima), {}
    for (i, j), level in zip(pairs, levels, strict=True):
        best[i, j] = best[j, i] = max(level, minima[i], minima[j])
    reach = [[best.get((i, j), math.inf) for j in range(M)] for i in range(M)]
    for k, i, j in itertools.product(range(M), repeat=3):
        reach[i][j] = min(reach[i][j], max(reach[i][k], reach[k][j]))
    age = sorted(range(M), key=lambda i: (minima[i], i))
    return [min((reach[i][j] for j in age[: age.index(i)]), default=math.inf) for i in range(M)]


def landscape(seed: int, M: int, E: int):
    draw = generator(seed)
    minima = torch.rand(M, generator=draw, dtype=torch.float64)
    pairs = torch.combinations(torch.arange(M), 2)
    pairs = pairs[torch.randperm(len(pairs), generator=draw)[:E]]
    return minima, pairs, 0.5 + torch.rand(E, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize(("seed", "M", "E"), [(1, 10, 45), (2, 10, 45), (3, 7, 9), (4, 5, 2)])
def test_it_is_the_flood(seed, M, E):
    minima, pairs, levels = landscape(seed, M, E)
    dies = elder_rule(minima, pairs, levels).tolist()
    assert dies == flooded(minima.tolist(), pairs.tolist(), levels.tolist())
    assert dies[int(minima.argmin())] == math.inf
    # Direct pairs alone, without a way through a third minimum, give longer bars.
    if E == 45:
        lower = {i: [k for k, pair in enumerate(pairs.tolist()) if i in pair
                     and minima[pair].min() < minima[i]] for i in range(M)}  # fmt: skip
        levels = torch.maximum(levels, minima[pairs].max(-1).values)
        direct = [float(levels[ks].min()) if ks else math.inf for ks in lower.values()]
        assert all(one <= other for one, other in zip(dies, direct, strict=True))
        assert dies != direct or seed != 1


def test_it_is_gudhis():
    gudhi = pytest.importorskip("gudhi")
    for seed in range(5):
        minima, pairs, levels = landscape(seed, 10, 45)
        tree = gudhi.SimplexTree()
        for node, value in enumerate(minima.tolist()):
            tree.insert([node], value)
        # Not below its ends, which gudhi would lower to it.
        levels = torch.maximum(levels, minima[pairs].max(-1).values)
        for pair, level in zip(pairs.tolist(), levels.tolist(), strict=True):
            tree.insert(pair, level)
        bars = tree.persistence(homology_coeff_field=2, min_persistence=-1)
        dies = elder_rule(minima, pairs, levels)
        assert sorted(bar for dim, bar in bars if dim == 0) == sorted(
            zip(minima.tolist(), dies.tolist(), strict=True)
        )


def test_on_a_grid_it_finds_the_saddle_of_two_factors():
    """(wh - 1)^2 / 2 on a grid that has the origin: one bar of 1/2, all others are of one point."""
    axis = torch.linspace(-2, 2, 41, dtype=torch.float64)
    values = ((axis[:, None] * axis - 1).square() / 2).flatten()
    nodes = torch.arange(41 * 41).view(41, 41)
    pairs = torch.cat(
        [
            torch.stack([a.flatten(), b.flatten()], -1)
            for a, b in (
                (nodes[:, 1:], nodes[:, :-1]),
                (nodes[1:], nodes[:-1]),
                # Diagonals that follow the valleys, so that the grid makes no minima of its own.
                (nodes[1:, :-1], nodes[:-1, 1:]),
            )
        ]
    )
    bars = elder_rule(values, pairs, torch.zeros(len(pairs), dtype=torch.float64)) - values
    finite = bars[bars.isfinite()].sort().values
    assert float(finite[-1]) == 0.5 and float(finite[-2]) < 0.05
    # Without the saddle and its diagonal the two branches are joined higher.
    cut = (pairs != nodes[20, 20]).all(-1)
    cut &= ~((pairs == nodes[21, 19]).any(-1) & (pairs == nodes[19, 21]).any(-1))
    bars = elder_rule(values, pairs[cut], torch.zeros(int(cut.sum()), dtype=torch.float64)) - values
    # The lone node at the origin is a component of its own.
    assert float(bars[bars.isfinite()].max()) != 0.5


def test_equal_minima_and_no_pair():
    dies = elder_rule(torch.tensor([1.0, 1.0]), [(0, 1)], torch.tensor([0.5]))
    assert dies.tolist() == [math.inf, 1.0]  # no lower than its ends
    assert elder_rule(torch.tensor([1.0]), torch.zeros(0, 2), torch.zeros(0)).tolist() == [math.inf]


@pytest.mark.parametrize(
    ("minima", "pairs", "levels", "words"),
    [
        (torch.zeros(2, 2), [(0, 1)], torch.zeros(1), "expected"),
        (torch.zeros(2), [(0, 1)], torch.zeros(2), "expected"),
        (torch.zeros(2), [(0, 2)], torch.zeros(1), "names a minimum"),
        (torch.tensor([0.0, math.nan]), [(0, 1)], torch.zeros(1), "not finite"),
    ],
)
def test_bad_input_is_an_error(minima, pairs, levels, words):
    with pytest.raises(ValueError, match=words):
        elder_rule(minima, pairs, levels)


def test_a_batch_of_levels_is_a_loop():
    minima, pairs, levels = landscape(6, 6, 15)
    several = torch.stack([levels, levels.flip(0), 2 * levels]).view(3, 1, 15)
    dies = elder_rule(minima, pairs, several)
    assert dies.shape == (3, 1, 6)
    for row, one in zip(dies[:, 0], several[:, 0], strict=True):
        assert torch.equal(row, elder_rule(minima, pairs, one))


def test_without_pairs_no_minimum_meets_another():
    none = torch.zeros(0, 2, dtype=torch.int64)
    for batch in ((), (3,), (2, 3)):
        dies = elder_rule(torch.tensor([1.0, 0.0]), none, torch.zeros(*batch, 0))
        assert dies.shape == (*batch, 2) and bool(dies.isinf().all())
