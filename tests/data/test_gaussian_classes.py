"""Standard normal noise about means."""

import pytest
import torch

from ncbook.data.gaussian_classes import around
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def test_noise_about_means_is_standard_normal():
    means = torch.tensor([[3.0, 0.0, 0.0], [0.0, -2.0, 1.0]])
    training, test = around(RUN, [4, 7], means, 4000, 3)
    assert training.X.shape == (2, 8000, 3) and test.X.shape == (2, 6, 3)
    for k in range(2):
        own = training.X[:, training.y == k]
        assert (own.mean(1) - means[k]).abs().max() < 0.08
        assert (own.var(1) - 1).abs().max() < 0.1
    # A seed's data do not depend on the others; the test sample is not the training sample.
    alone, _ = around(RUN, [7], means, 4000, 3)
    assert torch.equal(alone.X[0], training.X[1])
    assert not torch.equal(training.X[0, :3], test.X[0, :3])


def test_what_is_refused():
    with pytest.raises(ValueError, match="expected finite numbers of shape"):
        around(RUN, [0], torch.zeros(3), 2, 2)
    with pytest.raises(ValueError, match="at least one seed"):
        around(RUN, [], torch.zeros(3, 3), 2, 2)
    with pytest.raises(ValueError, match="test_per_class is 0"):
        around(RUN, [0], torch.zeros(3, 3), 2, 0)
    with pytest.raises(ValueError, match="convert it"):
        around(RUN, [0], [[0.0]], 2, 2)
