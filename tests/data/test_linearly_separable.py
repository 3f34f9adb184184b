"""Linearly separable data: the margin asked for, what cannot be asked for, and the controls."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ncbook.data import linearly_separable as module
from ncbook.data.linearly_separable import (
    bayes_error,
    largest_tau,
    linearly_separable,
    overlapping,
    separating_frame,
)
from ncbook.frames import simplex_etf
from ncbook.runtime import Runtime, generator
from ncbook.theory.mean_field.one_vs_rest import one_vs_rest_margins

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
few = settings(max_examples=60)


def signed(K: int, y: torch.Tensor) -> torch.Tensor:
    """+1 where a sample is of the class, -1 elsewhere: (n, K)."""
    return 2 * torch.nn.functional.one_hot(y, K).double() - 1


# --- The largest margin -------------------------------------------------------------------------


def test_the_largest_margin_in_numbers():
    assert largest_tau(2) == 1
    assert largest_tau(3) == pytest.approx(0.6)
    assert largest_tau(3, 5.0) == pytest.approx(3)
    assert largest_tau(10**6) == pytest.approx(1 / 3, rel=1e-5)


def uphill(K: int, d: int, seed: int, steps: int) -> float:
    """The margin of unit vectors and points after some steps uphill on its soft minimum."""
    rng, sign = generator(seed), signed(K, torch.arange(K))
    U, X = (torch.randn(K, d, generator=rng, dtype=torch.float64) for _ in range(2))
    for step in range(steps):
        U, X = (Z / Z.norm(dim=1, keepdim=True) for Z in (U, X))
        sharp = 10.0 + step
        pull = 3 / sharp * sign * (-sharp * sign * (U @ X.T)).flatten().softmax(0).view(K, K)
        U, X = U + pull @ X, X + pull.T @ U
    U, X = (Z / Z.norm(dim=1, keepdim=True) for Z in (U, X))
    return float((sign * (U @ X.T)).min())


@few
@given(st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**32))
def test_no_vectors_and_points_have_more(K, d, seed):
    assert uphill(K, d, seed, 50) <= largest_tau(K) + 1e-12


@pytest.mark.parametrize("K", [2, 3, 5])
def test_the_way_uphill_comes_close(K):
    """Control of the test above: it asks vectors that do have large margins."""
    assert uphill(K, K + 1, 0, 4000) > 0.97 * largest_tau(K)


@pytest.mark.parametrize(("K", "d"), [(2, 1), (2, 4), (3, 3), (3, 7), (5, 5), (8, 20)])
def test_the_frame_attains_it(K, d):
    U, P = separating_frame(K, d)
    assert U.shape == P.shape == (K, d)
    for Z in (U, P):
        assert (Z.norm(dim=1) - 1).abs().max() < 1e-14
    expected = largest_tau(K) * signed(K, torch.arange(K))
    assert (U @ P.T - expected).abs().max() < 1e-14
    # An independent solver finds no better vectors for these points.
    assert (one_vs_rest_margins(P, torch.arange(K), K) - largest_tau(K)).abs().max() < 1e-9


@pytest.mark.parametrize("K", [3, 4, 6])
def test_a_simplex_has_less(K):
    """Control: points that are as far from each other as can be are not the best."""
    margins = one_vs_rest_margins(simplex_etf(K, K), torch.arange(K), K)
    assert (margins - 1 / (K - 1)).abs().max() < 1e-9
    assert largest_tau(K) > 1 / (K - 1) + 0.05


@pytest.mark.parametrize(("K", "d"), [(1, 3), (2, 0), (3, 2), (5, 4)])
def test_a_frame_without_room_is_refused(K, d):
    with pytest.raises(ValueError, match=f"K = {K}"):
        separating_frame(K, d)


# --- The law ------------------------------------------------------------------------------------


@st.composite
def requests(draw) -> dict:
    K = draw(st.integers(2, 5))
    M = draw(st.floats(0.5, 4))
    return {
        "K": K,
        "d": draw(st.integers(1 if K == 2 else K, 12)),
        "per_class": draw(st.integers(1, 9)),
        "test_per_class": draw(st.integers(1, 9)),
        "tau": largest_tau(K, M) * draw(st.floats(0.01, 0.99)),
        "M": M,
    }


@few
@given(requests(), st.integers(0, 2**20))
def test_both_samples_have_the_margin_and_the_norms(request, seed):
    K, d, tau, M = (request[name] for name in ("K", "d", "tau", "M"))
    U = M * separating_frame(K, d)[0]
    samples = linearly_separable(RUN, [seed, seed + 1], **request)
    for data, size in zip(samples, ("per_class", "test_per_class"), strict=True):
        assert data.X.shape == (2, K * request[size], d) and data.X.dtype == torch.float64
        assert data.y.tolist() == [k for k in range(K) for _ in range(request[size])]
        assert (data.X.norm(dim=-1) <= 1 + 1e-12).all()
        heights = (data.X @ U.T) * signed(K, data.y)
        assert (heights >= tau * (1 - 1e-12)).all()
        assert (M * one_vs_rest_margins(data.X, data.y, K) >= tau * (1 - 1e-9)).all()
        # Control: two labels exchanged, and these vectors separate nothing.
        y = data.y.clone()
        y[[0, -1]] = y[[-1, 0]]
        assert (((data.X @ U.T) * signed(K, y)).amin((-2, -1)) < 0).all()


@pytest.mark.parametrize("tau", [0.05, 0.2, 0.5])
def test_no_vectors_have_more_margin_on_the_law(tau):
    """A sample has more than the law, and the less the larger it is."""
    excess = []
    for per_class in (5, 50, 2000):
        data, _ = linearly_separable(RUN, [3], 3, 3, per_class, 1, tau)
        excess.append(float(one_vs_rest_margins(data.X, data.y, 3).min()) - tau)
    assert excess[0] > excess[1] > excess[2] >= -1e-12
    assert excess[2] < 0.02


def test_a_smaller_margin_is_a_smaller_margin():
    """Control: the knob turns what the independent solver measures."""
    found = [
        one_vs_rest_margins(*_first(linearly_separable(RUN, [0], 3, 5, 300, 1, tau)), 3).min()
        for tau in (0.05, 0.2, 0.4)
    ]
    assert found == sorted(found) and found[0] < 0.2 < found[1] < 0.3 < found[2]


def _first(samples):
    return samples[0].X[0], samples[0].y


def test_the_samples_are_of_one_law_and_not_the_same():
    training, test = linearly_separable(RUN, [0], 3, 6, 4000, 4000, 0.2)
    assert not torch.equal(training.X, test.X)
    for k in range(3):
        ours, theirs = (z.X[0, z.y == k] for z in (training, test))
        # Means of 4000 points agree to their standard errors, of 5 of which the chance is 1e-6.
        error = ours.std(0) * math.sqrt(2 / 4000)
        assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()


def test_a_seed_has_its_data_whatever_the_others():
    one = linearly_separable(RUN, [7], 3, 5, 4, 6, 0.1, flipped=0.3)
    many = linearly_separable(RUN, [3, 7], 3, 5, 4, 6, 0.1, flipped=0.3)
    longer = linearly_separable(RUN, [7], 3, 5, 9, 6, 0.1, flipped=0.3)
    for ours, theirs in zip(one, many, strict=True):
        assert torch.equal(ours.X[0], theirs.X[1])
        assert not torch.equal(theirs.X[0], theirs.X[1])
    # The test sample does not depend on the size of the training sample.
    assert torch.equal(one[1].X, longer[1].X)


# --- Controls that nothing separates ------------------------------------------------------------


def binomial(rate: float, n: int) -> float:
    """Five standard deviations of a frequency."""
    return 5 * math.sqrt(rate * (1 - rate) / n)


@pytest.mark.parametrize(("K", "flipped"), [(2, 0.3), (3, 0.2), (5, 0.6)])
def test_flipped_labels_leave_the_least_error_that_is_said(K, flipped):
    U, _ = separating_frame(K, 6)
    for data in linearly_separable(RUN, [0], K, 6, 3000, 3000, 0.1, flipped=flipped):
        own = (data.X[0] @ U.T).argmax(-1)
        assert float((own != data.y).double().mean()) == pytest.approx(
            flipped, abs=binomial(flipped, 3000 * K)
        )
        # The wrong labels are spread over the other classes.
        wrong = torch.bincount(((data.y - own) % K)[own != data.y], minlength=K)[1:]
        share = flipped / (K - 1)
        assert (wrong / (3000 * K) - share).abs().max() < binomial(share, 3000 * K)
        assert one_vs_rest_margins(data.X, data.y, K).max() < 1e-7


def test_without_flips_there_is_no_error():
    """Control of the test above."""
    data, _ = linearly_separable(RUN, [0], 3, 6, 3000, 1, 0.1)
    assert torch.equal((data.X[0] @ separating_frame(3, 6)[0].T).argmax(-1), data.y)


@pytest.mark.parametrize(("K", "d", "distance"), [(2, 1, 1.0), (3, 2, 2.5), (3, 8, 2.5), (5, 6, 4)])
def test_nearest_centres_have_the_bayes_error(K, d, distance):
    training, test = overlapping(RUN, [0], K, d, 6000, 6000, distance)
    centres = simplex_etf(K, d)
    for data in (training, test):
        assert (data.X.norm(dim=-1) <= 1 + 1e-12).all()
        wrong = float(((data.X[0] @ centres.T).argmax(-1) != data.y).double().mean())
        expected = bayes_error(K, distance)
        assert wrong == pytest.approx(expected, abs=binomial(expected, 6000 * K))
        assert wrong != pytest.approx(bayes_error(K, 1.5 * distance), abs=0.02)  # control
        assert one_vs_rest_margins(data.X, data.y, K).max() < 1e-7
    # The data themselves: centres at the distance that is said, in units of the noise.
    means = torch.stack([training.X[0, training.y == k].mean(0) for k in range(K)])
    noise = (training.X[0] - means[training.y]).square().mean().sqrt()
    assert float((means[0] - means[1]).norm() / noise) == pytest.approx(distance, abs=0.1)


def test_the_bayes_error_in_closed_forms():
    for distance in (0.0, 0.5, 2.0, 6.0):
        normal = 0.5 * math.erfc(distance / 2 / math.sqrt(2))
        assert bayes_error(2, distance) == pytest.approx(normal, abs=1e-12)
    for K in (2, 3, 7):
        assert bayes_error(K, 0) == pytest.approx(1 - 1 / K, abs=1e-12)
        assert bayes_error(K, 30) < 1e-12
    # Control: with a third class there is more to confuse.
    assert bayes_error(3, 2.0) > bayes_error(2, 2.0) + 0.05


# --- What cannot be had -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"K": 1}, "K = 1"),
        ({"d": 2}, "expected d >= 3, because the products"),
        ({"tau": 0.0}, "expected 0 < tau < 0.6"),
        ({"tau": 0.6}, "expected 0 < tau < 0.6, because no 3 classes"),
        ({"tau": 0.7, "M": 1.1}, "expected 0 < tau < 0.66"),
        ({"tau": math.nan}, "expected 0 < tau"),
        ({"M": 0.0}, "a positive bound M"),
        ({"flipped": -0.1}, "expected from 0 to"),
        ({"flipped": 0.7}, "labels say nothing any more"),
        ({"per_class": 0}, "at least one of each"),
        ({"test_per_class": 0}, "at least one of each"),
        ({"seeds": []}, "at least one of each"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(changed, why):
    given = {"seeds": [0], "K": 3, "d": 5, "per_class": 4, "test_per_class": 4, "tau": 0.2}
    linearly_separable(RUN, **given)  # control
    with pytest.raises(ValueError, match=why):
        linearly_separable(RUN, **{**given, **changed})


@pytest.mark.parametrize("distance", [0.0, -1.0, math.inf, math.nan])
def test_a_distance_that_is_none_is_refused(distance):
    with pytest.raises(ValueError, match="expected a positive number"):
        overlapping(RUN, [0], 3, 5, 4, 4, distance)


def test_a_bayes_error_of_one_class_is_refused():
    with pytest.raises(ValueError, match="K = 1"):
        bayes_error(1, 1.0)
    with pytest.raises(ValueError, match="distance = -1"):
        bayes_error(2, -1.0)


def test_the_runs_dtype_is_taken():
    single = Runtime(torch.device("cpu"), torch.float32, 1)
    for data in linearly_separable(single, [0], 2, 3, 4, 4, 0.1):
        assert data.X.dtype == torch.float32 and data.y.dtype == torch.int64


def test_noise_that_reaches_too_far_is_shortened(monkeypatch):
    """The bound on the norm holds for every noise, also for one in a hundred million."""
    monkeypatch.setattr(module, "_REACH", 0.0)
    data, _ = overlapping(RUN, [0], 3, 4, 500, 1, 2.0)
    assert float(data.X.norm(dim=-1).max()) == pytest.approx(1, abs=0.2)
    assert (data.X.norm(dim=-1) <= 1 + 1e-12).all()
