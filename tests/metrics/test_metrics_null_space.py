"""The part of NC1 outside the range of W, against the features turned and cut by hand."""

import pytest
import torch

from ncbook.metrics import class_statistics, imbalance, nc1_wu_mondelli, wu_mondelli
from ncbook.metrics.null_space import nc1_null_space
from ncbook.runtime import generator

LABELS = torch.arange(3).repeat_interleave(4)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def test_it_is_the_scatter_outside_the_range_over_the_whole():
    features, W = normal(1, 2, 12, 5), normal(2, 2, 5, 3)
    values = nc1_null_space(class_statistics(features, LABELS), W)
    for H, weights, value in zip(features, W, values, strict=True):
        within = torch.cat([H[4 * k : 4 * k + 4] - H[4 * k : 4 * k + 4].mean(0) for k in range(3)])
        null = torch.linalg.svd(weights).U[:, 3:]
        expected = (within @ null).square().sum() / (H - H.mean(0)).square().sum()
        assert float(value) == pytest.approx(float(expected), rel=1e-12)
    # Any other basis of the range gives the same; another range does not.
    other = nc1_null_space(class_statistics(features, LABELS), W @ normal(3, 3, 3))
    assert torch.allclose(values, other)
    flipped = nc1_null_space(class_statistics(features, LABELS), W.flip(-2))
    assert not torch.allclose(values, flipped)


def test_the_parts_add_up():
    features = normal(1, 12, 5)
    statistics = class_statistics(features, LABELS)
    Q = torch.linalg.qr(normal(4, 5, 5)).Q
    inside, outside = nc1_null_space(statistics, Q[:, 3:]), nc1_null_space(statistics, Q[:, :3])
    assert float(inside + outside) == pytest.approx(float(nc1_wu_mondelli(statistics)))
    assert float(nc1_null_space(statistics, Q)) < 1e-25 < float(outside)


def test_what_does_not_fit_is_refused():
    features = normal(1, 12, 5)
    bare = class_statistics(features, LABELS, scatter=False)
    with pytest.raises(ValueError, match=r"needs statistics with scatter=True .* got no scatter"):
        nc1_null_space(bare, normal(2, 5, 3))
    with pytest.raises(ValueError, match=r"got W of shape \(3, 5\)"):
        nc1_null_space(class_statistics(features, LABELS), normal(2, 3, 5))


def test_all_measures_of_the_paper_in_one():
    features, W, A = normal(1, 2, 5, 12), normal(2, 2, 5, 3), normal(3, 2, 5, 7)
    found = wu_mondelli(features, LABELS, W, A @ A.mT)
    statistics = class_statistics(features.mT, LABELS)
    assert torch.equal(found["nc1"], nc1_wu_mondelli(statistics))
    assert torch.equal(found["null_space"], nc1_null_space(statistics, W))
    assert torch.equal(found["nb"], imbalance(A @ A.mT, W))
    assert (found["null_space"] < found["nc1"]).all()
    with pytest.raises(ValueError, match="second_moment"):
        wu_mondelli(features, LABELS, W, A)
