"""Collapse of directions beside that of features: closed forms, one pass, features of length 0."""

import math

import pytest
import torch

from ncbook import metrics
from ncbook.metrics.directional import DirectionalAccumulator, directional_collapse

NAMES = ["nc1.min-zhu-vidal", "nc1.min-zhu-vidal.unit", "lengths.spread", "lengths.zero"]
LABELS = torch.tensor([0, 0, 1, 1])


def values(found):
    assert list(found) == NAMES
    return [float(value) for value in found.values()]


def case(seed=0, n=60, k=3, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % k
    draw = {"generator": generator, "dtype": torch.float64}
    means = torch.randn(k, d, **draw)
    return (means[labels] + 0.3 * torch.randn(n, d, **draw)).to(dtype), labels


@pytest.mark.parametrize("dtype, tiny", [(torch.float64, 1e-30), (torch.float32, 1e-13)])
def test_rays_have_one_direction_and_many_lengths(dtype, tiny):
    rays = torch.tensor([[3.0, 4.0], [4.0, -3.0]], dtype=dtype)
    features = torch.tensor([1.0, 3.0, 2.0, 6.0], dtype=dtype).unsqueeze(-1) * rays[LABELS]
    nc1, unit, spread, zero = values(directional_collapse(features, LABELS))
    # Lengths 5, 15 and 10, 30: variances 25 and 100 about 10 and 20.
    assert math.isclose(spread, 125 / 500, rel_tol=1e-6)
    # Means (6, 8) and (16, -12), half their difference squared (25 + 100) on either side.
    assert math.isclose(nc1, 125 / (2 * 125), rel_tol=1e-6)
    assert 0 <= unit < tiny and zero == 0


def test_equal_lengths_in_two_directions():
    c, s = math.cos(0.1), math.sin(0.1)
    features = torch.tensor([[c, s], [c, -s], [s, c], [-s, c]], dtype=torch.float64)
    nc1, unit, spread, _ = values(directional_collapse(7 * features, LABELS))
    # Means (c, 0) and (0, c), at c / sqrt(2) from their mean; variances s^2.
    assert math.isclose(nc1, 2 * s**2 / c**2, rel_tol=1e-13)
    assert math.isclose(unit, nc1, rel_tol=1e-13)
    assert 0 <= spread < 1e-30


def test_unit_features_measure_as_if_they_were_given():
    features, labels = case()
    found = directional_collapse(features, labels)
    unit = features / features.norm(dim=1, keepdim=True)
    expected = metrics.nc1_min_zhu_vidal(metrics.class_statistics(unit, labels))
    torch.testing.assert_close(found[NAMES[1]], expected, rtol=1e-13, atol=0)
    assert abs(float(found[NAMES[0]] / expected) - 1) > 0.01  # which is another number
    # Each feature's own length is nothing to its direction.
    longer = features * torch.linspace(0.1, 10, 60, dtype=torch.float64).unsqueeze(-1)
    again = directional_collapse(longer, labels)
    torch.testing.assert_close(again[NAMES[1]], expected, rtol=1e-13, atol=0)
    assert again[NAMES[2]] > 5 * found[NAMES[2]]


@pytest.mark.parametrize("scale", [1e-300, 1e200, 1e300])
def test_no_scale_is_too_small_or_too_large(scale):
    features, labels = case()
    expected, found = (
        values(directional_collapse(x, labels)) for x in (features, scale * features)
    )
    for one, other in zip(found, expected, strict=True):
        assert math.isclose(one, other, rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_one_pass_is_the_whole(dtype):
    features, labels = case(dtype=dtype)
    accumulator = DirectionalAccumulator(3)
    for part in torch.arange(60).split(7):
        accumulator.update(features[part], labels[part])
    whole = directional_collapse(features.double(), labels)
    for name, value in accumulator.measures().items():
        torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=0)


def test_a_feature_of_length_0_is_counted_and_left_out():
    features, labels = case()
    more = torch.cat([features, torch.zeros(2, 5, dtype=torch.float64)])
    found = directional_collapse(more, torch.cat([labels, torch.tensor([1, 2])]))
    before = directional_collapse(features, labels)
    torch.testing.assert_close(found[NAMES[1]], before[NAMES[1]], rtol=1e-13, atol=0)
    assert found["lengths.zero"] == 2 and found[NAMES[0]] != before[NAMES[0]]
    # Their length is one of the lengths.
    assert found["lengths.spread"] > before["lengths.spread"]


def test_a_class_of_zeros_has_no_direction():
    features, labels = case()
    features[labels == 1] = 0
    found = directional_collapse(features, labels)
    assert found[NAMES[1]].isnan() and found["lengths.zero"] == 20
    assert found[NAMES[0]].isfinite() and found["lengths.spread"].isfinite()
    nothing = directional_collapse(torch.zeros(4, 2), LABELS)
    assert all(nothing[name].isnan() for name in NAMES[:3]) and nothing["lengths.zero"] == 4


def test_runs_are_apart_and_a_run_that_is_not_finite_is_nan():
    runs = torch.stack([case(seed)[0] for seed in range(3)])
    labels = case()[1]
    runs[1, 0, 0] = torch.nan
    runs[2, 0] = 0
    found = directional_collapse(runs, labels)
    for i in (0, 2):
        for name, value in directional_collapse(runs[i], labels).items():
            torch.testing.assert_close(found[name][i], value, rtol=1e-13, atol=0)
    assert found[NAMES[1]][1].isnan() and found["lengths.zero"].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: directional_collapse(torch.eye(4).long(), LABELS), "features has dtype"),
        (lambda: directional_collapse(torch.eye(4), LABELS[:3]), "give one for each row"),
        (lambda: directional_collapse(torch.eye(4), LABELS, 3), "No sample of class 2"),
        (lambda: DirectionalAccumulator(1), "num_classes is 1"),
        (lambda: DirectionalAccumulator(3).measures(), "No mini-batch"),
        (lambda: DirectionalAccumulator(2).update(torch.eye(4), LABELS + 1), "labels lie in 1..2"),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert str(caught.value).endswith(".")
