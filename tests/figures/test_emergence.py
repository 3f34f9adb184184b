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


def test_projected_is_one_isometry_up_to_the_size_of_an_epoch(features):
    values, labels = features
    places = emergence.projected(values, labels, [0, 1, 2, 4], points=6)
    assert list(places) == [0, 1, 2, 4]
    assert {one.shape for one in places.values()} == {(EPOCHS, 7, 3)}
    four = np.concatenate([values[:, labels == k] for k in (0, 1, 2, 4)], 1)
    centred = four - four.mean(1, keepdims=True)
    drawn = np.concatenate([one[:, 1:] for one in places.values()], 1)
    seen = np.linalg.lstsq(centred[-1], drawn[-1], rcond=None)[0]  # of the last epoch
    for time in range(EPOCHS):
        radii = np.linalg.norm(drawn[time], axis=-1)
        assert np.quantile(radii, emergence.INSIDE) == pytest.approx(1)
        # Projected points of a class keep their mean.
        for one in places.values():
            np.testing.assert_allclose(one[time, 1:].mean(0), one[time, 0], atol=1e-12)
    means = np.stack([one[-1, 0] for one in places.values()])
    true = np.stack([values[-1, labels == k].mean(0) for k in (0, 1, 2, 4)])
    true = true - true.mean(0)
    gram = true @ true.T / np.square(true).sum(-1).mean()
    np.testing.assert_allclose(means @ means.T, gram, atol=1e-12)
    for time in range(EPOCHS):  # all epochs are seen from where the last one is
        expected = centred[time] @ seen
        expected /= np.quantile(np.linalg.norm(expected, axis=-1), emergence.INSIDE)
        np.testing.assert_allclose(drawn[time], expected, atol=1e-9)


def test_projected_lies_at_the_corners_of_a_collapsed_simplex(features):
    places = emergence.projected(*features, [0, 1, 2, 4], points=6)
    for corner, one in zip(emergence.CORNERS, places.values(), strict=True):
        np.testing.assert_allclose(one[-1], np.tile(corner, (7, 1)), atol=1e-12)
    begin = np.stack([one[0] for one in places.values()])
    assert (
        max(
            np.abs(one - corner).max() for one, corner in zip(begin, emergence.CORNERS, strict=True)
        )
        > 1
    )
    spread = [np.square(one[:, 1:] - one[:, :1]).sum((1, 2)) for one in places.values()]
    assert (np.diff(sum(spread)) < 0).all()  # and less and less of it is within the classes


@pytest.mark.parametrize(
    ("classes", "points"), [([0, 1, 2], 3), ([0, 1, 2, 2], 3), ([0, 1, 2, 3], 7), ([0, 1, 2, 3], 0)]
)
def test_projected_refuses_what_it_cannot_show(features, classes, points):
    with pytest.raises(ValueError, match="expected four different classes"):
        emergence.projected(*features, classes, points)
