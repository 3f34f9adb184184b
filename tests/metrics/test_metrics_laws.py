"""Kolmogorov's statistic against SciPy's and against its own limit law."""

import pytest
import torch
from scipy import stats

from ncbook.metrics.laws import ks_statistic
from ncbook.runtime import generator


def uniform(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_it_is_scipys(n):
    shares = uniform(1, 3, n) ** 1.5
    for row, value in zip(shares, ks_statistic(shares), strict=True):
        assert float(value) == pytest.approx(n**0.5 * stats.kstest(row, "uniform").statistic)


def test_the_law_itself_passes_and_another_does_not():
    values = ks_statistic(uniform(2, 4000, 200))
    for level, share in ((1.36, 0.05), (1.63, 0.01)):
        assert float((values > level).double().mean()) == pytest.approx(share, abs=0.01)
    # Normal draws with a mean that is wrong by 0.15 standard deviations, and with a wrong variance.
    normal = torch.randn(2000, generator=generator(3), dtype=torch.float64)
    assert float(ks_statistic(torch.special.ndtr(normal))) < 1.63
    for wrong in (normal + 0.15, 1.2 * normal):
        assert float(ks_statistic(torch.special.ndtr(wrong))) > 1.8


def test_a_nan_is_not_hidden():
    shares = uniform(4, 2, 5)
    shares[0, 3] = torch.nan
    assert ks_statistic(shares).isnan().tolist() == [True, False]
