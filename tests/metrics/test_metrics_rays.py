"""Directions within and between classes: exact cases, brute force, and what must be noticed."""

import math

import pytest
import torch

from ncbook import metrics

LABELS = torch.tensor([0, 0, 1, 1, 1])


@pytest.fixture
def on_rays() -> torch.Tensor:
    """Two classes on two orthogonal rays at different lengths."""
    lengths = torch.tensor([1.0, 3.0, 0.5, 2.0, 7.0], dtype=torch.float64)
    axes = torch.tensor([[0.6, 0.8, 0, 0], [0, 0, 1, 0]], dtype=torch.float64)
    return lengths[:, None] * axes[LABELS]


def test_rays_have_no_angle_and_no_overlap_but_nc1(on_rays):
    assert float(metrics.largest_angle(on_rays, LABELS)) < 1e-15
    assert float(metrics.largest_overlap(on_rays, LABELS)) == 0
    measured = metrics.min_zhu_vidal(on_rays, LABELS, torch.eye(2, 4, dtype=torch.float64))
    assert float(measured["nc2"]) < 1e-15
    assert float(measured["nc1"]) > 0.1


def test_largest_angle_is_that_of_the_worst_pair_of_one_class():
    features = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for run, found in zip(features, metrics.largest_angle(features, LABELS), strict=True):
        pairs = [(0, 1), (2, 3), (2, 4), (3, 4)]
        cosines = [run[i] @ run[j] / run[i].norm() / run[j].norm() for i, j in pairs]
        assert float(found) == pytest.approx(math.acos(min(cosines)))


def test_largest_overlap_is_that_of_the_worst_pair_of_two_classes():
    features = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for run, found in zip(features, metrics.largest_overlap(features, LABELS), strict=True):
        pairs = [(i, j) for i in (0, 1) for j in (2, 3, 4)]
        cosines = [abs(run[i] @ run[j]) / run[i].norm() / run[j].norm() for i, j in pairs]
        assert float(found) == pytest.approx(float(max(cosines)))


def test_one_feature_off_its_ray_is_noticed(on_rays):
    moved = on_rays.clone()
    moved[1, 3] += 3e-6  # of a feature of length 3
    assert float(metrics.largest_angle(moved, LABELS)) == pytest.approx(1e-6, rel=1e-6)
    moved[4, 3] += 7e-6
    assert float(metrics.largest_overlap(moved, LABELS)) == pytest.approx(1e-12, rel=1e-3)


def test_min_zhu_vidal_returns_the_measures_of_their_own_functions(on_rays):
    weights = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    measured = metrics.min_zhu_vidal(on_rays, LABELS, weights)
    statistics = metrics.class_statistics(on_rays, LABELS)
    assert measured == {
        "nc1": metrics.nc1_min_zhu_vidal(statistics),
        "nc2": metrics.nc2_min_zhu_vidal(statistics),
        "nc3": metrics.nc3_min_zhu_vidal(statistics, weights),
        "nc3_printed": metrics.nc3_min_zhu_vidal(statistics, weights, printed=True),
    }


@pytest.mark.parametrize("measure", [metrics.largest_angle, metrics.largest_overlap])
def test_labels_must_fit(measure, on_rays):
    with pytest.raises(ValueError, match="give one label for each row"):
        measure(on_rays, LABELS[:4])


def test_normalised_features_forget_their_lengths(on_rays):
    weights = torch.eye(2, 4, dtype=torch.float64)
    measured = metrics.min_zhu_vidal_normalised(on_rays, LABELS, weights)
    assert float(measured["nc1"]) > 0.1  # as they are: lengths differ
    assert float(measured["nc1_rms"]) < 1e-28 and float(measured["nc1_layer"]) < 1e-28
    assert float(measured["nc2_rms"]) < 1e-15 and float(measured["nc2_layer"]) > 0.1
    longer = metrics.min_zhu_vidal_normalised(3 * on_rays, LABELS, weights)
    assert float(longer["nc3_rms"]) == pytest.approx(float(measured["nc3_rms"]))
    assert set(measured) == {
        f"{nc}{kind}"
        for nc in ("nc1", "nc2", "nc3", "nc3_printed")
        for kind in ("", "_rms", "_layer")
    }
