"""Fuzziness by its definition, and the floor that linear maps cannot pass and can attain."""

import pytest
import torch

from ncbook import metrics
from ncbook.metrics.separation import fuzziness, linear_floor
from ncbook.runtime import generator

K, N, D = 4, 30, 6
LABELS = torch.arange(K).repeat_interleave(N)


def features(seed: int, dim: int = D, runs: int = 2) -> torch.Tensor:
    draw = generator(seed)
    mix = torch.randn(runs, dim, dim, generator=draw, dtype=torch.float64)
    means = torch.randn(runs, K, dim, generator=draw, dtype=torch.float64)
    noise = torch.randn(runs, K * N, dim, generator=draw, dtype=torch.float64)
    return (means[:, LABELS] + 0.7 * noise) @ mix


def statistics(x: torch.Tensor, labels=LABELS) -> metrics.ClassStatistics:
    return metrics.class_statistics(x, labels)


def scatters(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = x.unflatten(-2, (K, N)).mean(-2)
    within, between = x - means[:, LABELS], means - means.mean(-2, keepdim=True)
    return within.mT @ within / (K * N), between.mT @ between / K


def test_fuzziness_is_its_definition():
    x = features(1)
    within, between = scatters(x)
    inverse = torch.linalg.pinv(between, rtol=1e-10, hermitian=True)
    expected = (within @ inverse).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(fuzziness(statistics(x)), expected)
    torch.testing.assert_close(fuzziness(statistics(x)), K * metrics.nc1_papyan(statistics(x)))
    wrong = (within @ torch.linalg.pinv(within + between)).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert not torch.allclose(fuzziness(statistics(x)), wrong)


def test_the_floor_is_the_sum_over_the_discriminants():
    x = features(2)
    within, between = scatters(x)
    values = torch.linalg.eigvals(torch.linalg.solve(within, between)).real
    expected = (1 / values.sort(descending=True, dim=-1).values[:, : K - 1]).sum(-1)
    torch.testing.assert_close(linear_floor(statistics(x)), expected)


def test_no_linear_map_passes_the_floor_and_whitening_attains_it():
    x = features(3)
    floor = linear_floor(statistics(x))
    draw = generator(4)
    for shape in ((D, D), (D, 4), (D, 40)):
        M = torch.randn(shape, generator=draw, dtype=torch.float64)
        mapped = statistics(x @ M)
        assert bool((fuzziness(mapped) > floor * (1 + 1e-3)).all())
        if shape[1] >= D:  # nothing is lost: the floor stays
            torch.testing.assert_close(linear_floor(mapped), floor)
        else:
            assert bool((linear_floor(mapped) >= floor).all())
    within, between = scatters(x)
    for scatter in (within, within + between):
        values, vectors = torch.linalg.eigh(scatter)
        white = x @ (vectors * values.rsqrt().unsqueeze(-2))
        torch.testing.assert_close(fuzziness(statistics(white)), floor)
    # Coordinate by coordinate, as batch normalisation does, it is not attained.
    normalised = (x - x.mean(-2, keepdim=True)) / x.std(-2, keepdim=True)
    assert bool((fuzziness(statistics(normalised)) > 1.01 * floor).all())
    # And a ReLU passes it or raises it, but does not keep it.
    assert not torch.allclose(linear_floor(statistics(normalised.relu())), floor, rtol=1e-2)


def test_with_more_dimensions_than_samples_a_linear_map_collapses_all():
    x = features(5, dim=K * N + 5)
    assert bool((linear_floor(statistics(x)) < 1e-9).all())
    assert bool((fuzziness(statistics(x)) > 0.05).all())


def test_without_scatter_is_an_error():
    bare = metrics.class_statistics(features(6), LABELS, scatter=False)
    for measure in (fuzziness, linear_floor):
        with pytest.raises(ValueError, match="scatter=False"):
            measure(bare)
