"""The features of four classes over training, in the space of their class means."""

import numpy as np
import pytest

from ncbook.figures import emergence

EPOCHS = 5


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    """Five epochs of 5 classes in R^8: noise, then a simplex with less and less noise."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(5), 6)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    noise = rng.normal(size=(EPOCHS, len(labels), 8))
    scales = np.array([0, 1, 2, 3, 7.0])[:, None, None]
    noise[-1] = 0
    return 5 + scales * basis[labels] + noise / (1 + scales) ** 2, labels


def test_projected_is_an_isometry_up_to_its_scale(features):
    values, labels = features
    places = emergence.projected(values, labels, [0, 1, 2, 4], points=6)
    assert list(places) == [0, 1, 2, 4]
    assert {one.shape for one in places.values()} == {(EPOCHS, 7, 3)}
    for time in range(EPOCHS):
        means = np.stack([one[time, 0] for one in places.values()])
        assert np.square(means).sum(-1).mean() == pytest.approx(1)
        true = np.stack([values[time, labels == k].mean(0) for k in (0, 1, 2, 4)])
        true = true - true.mean(0)
        gram = true @ true.T / np.square(true).sum(-1).mean()
        np.testing.assert_allclose(means @ means.T, gram, atol=1e-12)
        # Projected points of a class keep their mean.
        inside = np.stack([one[time, 1:].mean(0) for one in places.values()])
        np.testing.assert_allclose(inside, means, atol=1e-12)


def test_projected_lies_at_the_corners_of_a_collapsed_simplex(features):
    places = emergence.projected(*features, [0, 1, 2, 4], points=6)
    for corner, one in zip(emergence.CORNERS, places.values(), strict=True):
        np.testing.assert_allclose(one[-1], np.tile(corner, (7, 1)), atol=1e-12)
    begin = np.stack([one[0] for one in places.values()])
    assert np.abs(begin).max() > 1.5  # control: noise is elsewhere


@pytest.mark.parametrize(
    ("classes", "points"), [([0, 1, 2], 3), ([0, 1, 2, 2], 3), ([0, 1, 2, 3], 7)]
)
def test_projected_refuses_what_it_cannot_show(features, classes, points):
    with pytest.raises(ValueError, match="expected four different classes"):
        emergence.projected(*features, classes, points)
