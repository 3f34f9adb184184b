"""The stand-in features: what is said of them, measured."""

import pytest
import torch

from ncbook.data.superclasses import superclass_features
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


def test_shapes_order_and_the_figures_sizes():
    data = superclass_features(RUN, [0, 1], 20, rank=4)
    assert data.X.shape == (2, 1500, 20) and data.X.dtype == torch.float64
    assert torch.bincount(data.y).tolist() == [500, 500, 500]
    assert data.y.tolist() == sorted(data.y.tolist())


def test_norms_signs_and_zeros():
    data = superclass_features(RUN, range(3), 200, per_subclass=20, rank=10)
    norms = data.X.norm(dim=-1)
    assert norms.amax(-1) == pytest.approx([1, 1, 1]) and norms.min() > 0.3
    assert (data.X >= 0).all()
    assert (data.X == 0).double().mean((-2, -1)) == pytest.approx([0.5] * 3, abs=0.05)


def spectrum(X: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(X - X.mean(0)).square()


@pytest.mark.parametrize("rank", [3, 30])
def test_a_subclass_varies_in_few_directions(rank):
    """A ReLU bends the directions; most of the variance stays in as many."""
    data = superclass_features(RUN, [0], 300, per_subclass=100, rank=rank)
    values = spectrum(data.X[0, :100])
    assert values[:rank].sum() / values.sum() > 0.85
    # Control: fewer directions hold less.
    assert values[: rank // 3].sum() / values.sum() < 0.75


def shares(**options) -> list[float]:
    """Variance between superclasses, between subclasses and within, over the total."""
    data = superclass_features(RUN, [0], 2000, per_subclass=40, rank=20, **options)
    X = data.X[0].reshape(3, 5, 40, -1)
    subs = X.mean(2, keepdim=True)
    tops = subs.mean(1, keepdim=True)
    parts = [tops - tops.mean(0), subs - tops, X - subs]
    sums = [part.expand(X.shape).square().sum() for part in parts]
    return [float(part / sum(sums)) for part in sums]


def test_superclasses_are_made_of_subclasses():
    top, sub, within = shares()
    assert top > 0.05 and sub > 0.15 and within > 0.3
    # Controls: a part without variance is missing, up to what finite means leave.
    assert shares(variances=(0.0, 0.5, 0.5))[0] < 0.12
    assert shares(variances=(0.5, 0.0, 0.5))[1] < 0.03
    assert shares(variances=(0.5, 0.5, 0.0))[2] < 1e-12


def test_a_seed_has_its_data_whatever_the_others():
    sizes = {"d": 12, "per_subclass": 3, "rank": 2}
    one, many = (superclass_features(RUN, seeds, **sizes) for seeds in ([5], [2, 5]))
    assert torch.equal(one.X[0], many.X[1])
    assert not torch.equal(many.X[0], many.X[1])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"K": 1}, "expected K >= 2"),
        ({"rank": 0}, "1 <= rank <= d"),
        ({"rank": 13}, "1 <= rank <= d"),
        ({"per_subclass": 0}, "at least one"),
        ({"subclasses": 0}, "at least one"),
        ({"seeds": []}, "0 seeds"),
        ({"variances": (0.5, 0.5)}, "three that are >= 0"),
        ({"variances": (0.5, 0.6, -0.1)}, "three that are >= 0"),
        ({"variances": (0.5, 0.5, 0.5)}, "add up to 1"),
    ],
)
def test_a_request_that_cannot_be_met_says_why(changed, why):
    given = {"seeds": [0], "d": 12, "per_subclass": 3, "rank": 2}
    superclass_features(RUN, **given)  # control
    with pytest.raises(ValueError, match=why):
        superclass_features(RUN, **{**given, **changed})
