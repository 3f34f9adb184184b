"""Slopes: exact on lines, blind to no point, clear about too few. Intervals: as SciPy's."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ncbook.metrics.rates import shares, slope, wilson_interval


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(2, 9))
def test_a_line_has_its_slope(a, b, points):
    x = torch.linspace(-1, 2, points, dtype=torch.float64)
    assert slope(x, a * x + b) == pytest.approx(a, abs=1e-12)


def test_it_is_the_least_squares_slope_of_each_row():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, generator=generator, dtype=torch.float64)
    y = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    design = torch.stack([x, torch.ones_like(x)], -1)
    expected = torch.linalg.lstsq(design, y.T).solution[0]
    assert torch.allclose(slope(x, y), expected, rtol=0, atol=1e-12)


def test_a_bent_line_is_seen():
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    assert abs(float(slope(x, x + 0.2 * x**2)) - 1) > 0.1


def test_nan_is_passed_on_and_too_few_points_are_refused():
    x = torch.tensor([0.0, 1.0])
    assert slope(x, torch.tensor([0.0, torch.nan])).isnan()
    with pytest.raises(ValueError, match="at least 2 points; got 1"):
        slope(x[:1], x[:1])


@given(st.integers(1, 300), st.data())
def test_wilson_interval_is_scipys(trials, data):
    successes = data.draw(st.integers(0, trials))
    found = wilson_interval(torch.tensor([successes], dtype=torch.float64), trials)[0].tolist()
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert found == pytest.approx([expected.low, expected.high], abs=1e-7)


def test_wilson_interval_covers_the_rate_about_as_often_as_it_says():
    """Over all counts of 60 trials at a rate of 0.3; the rate itself is no such interval."""
    counts = torch.arange(61, dtype=torch.float64)
    weights = torch.distributions.Binomial(60, torch.tensor(0.3, dtype=torch.float64))
    chance = weights.log_prob(counts).exp()
    ends = wilson_interval(counts, 60)
    inside = (ends[:, 0] <= 0.3) & (ends[:, 1] >= 0.3)
    assert 0.92 < float(chance[inside].sum()) < 0.98
    narrow = wilson_interval(counts, 60, z=1.0)
    inside = (narrow[:, 0] <= 0.3) & (narrow[:, 1] >= 0.3)
    assert float(chance[inside].sum()) < 0.8


@pytest.mark.parametrize("successes, trials", [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="expected counts from 0"):
        wilson_interval(torch.tensor([successes]), trials)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: wilson_interval(torch.tensor([0]), 0), "trials is 0, but an integer of at least"),
        (lambda: wilson_interval(torch.tensor([0]), 2.0), "trials is 2.0, but an integer"),
        (lambda: wilson_interval([0], 2), "successes is a list"),
        (lambda: slope([0.0, 1.0], torch.ones(2)), "x is a list"),
        (lambda: slope(torch.ones(2), torch.ones(2).numpy()), "y is a ndarray"),
        (lambda: slope(torch.arange(2), torch.ones(2)), "x has dtype torch.int64"),
    ],
)
def test_what_is_no_tensor_or_no_count_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_shares_have_their_intervals_for_one_number_of_trials_or_for_each_its_own():
    counts = torch.tensor([3.0, 20.0])
    one, each = shares(counts, 20), shares(counts, torch.tensor([20, 20]))
    for name in ("share", "low", "high"):
        assert one[name].tolist() == pytest.approx(each[name].tolist())
    assert one["share"].tolist() == pytest.approx([0.15, 1.0])
    ends = torch.stack([one["low"], one["high"]], -1)
    assert ends.equal(wilson_interval(counts.double(), 20))
    assert shares(counts.int(), 20)["share"].dtype == torch.float64
    assert shares(counts, torch.tensor([4, 40]))["share"].tolist() == pytest.approx([0.75, 0.5])
    with pytest.raises(ValueError, match="expected counts"):
        shares(counts, 10)
