"""The digits: the split, its seed, the values."""

import pytest
import torch

from ncbook.data import images
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.digits(RUN, per_class=100, seed=0)


def rows(tensor: torch.Tensor) -> set[tuple[float, ...]]:
    return {tuple(row) for row in tensor.tolist()}


def test_the_training_part_is_balanced(digits):
    assert digits.K == 10
    assert digits.train.shape == (1000, 64)
    assert digits.train_labels.bincount().tolist() == [100] * 10


def test_the_two_parts_make_the_whole(digits):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    assert len(digits.train) + len(digits.test) == len(bunch.data) == 1797
    whole = torch.cat([digits.train, digits.test]) * 16
    labels = torch.cat([digits.train_labels, digits.test_labels])
    # As multisets of (image, label): nothing lost, nothing twice, no label exchanged.
    found = sorted(zip(whole.tolist(), labels.tolist(), strict=True))
    assert found == sorted(zip(bunch.data.tolist(), bunch.target.tolist(), strict=True))


def test_no_image_is_in_both_parts(digits):
    assert not rows(digits.train) & rows(digits.test)


def test_values_are_float64_in_0_1_in_sixteenths(digits):
    assert digits.train.dtype == torch.float64
    assert digits.train.min() == 0 and digits.train.max() == 1
    assert torch.equal(digits.train * 16, (digits.train * 16).round())
    assert digits.train_labels.dtype == torch.int64
    assert digits.shape == (8, 8)


def test_the_seed_alone_decides_the_split(digits):
    again, other = images.digits(RUN, 100, seed=0), images.digits(RUN, 100, seed=1)
    assert torch.equal(digits.train, again.train) and torch.equal(digits.test, again.test)
    assert not torch.equal(digits.train, other.train)


@pytest.mark.parametrize("per_class", [0, -1, 174, 1000])
def test_a_part_without_images_is_refused(per_class):
    with pytest.raises(ValueError, match=f"per_class is {per_class}; the smallest class has 174"):
        images.digits(RUN, per_class)


def test_what_is_available_has_source_and_licence():
    entries = images.available()
    assert [entry["name"] for entry in entries] == ["digits", "mnist (sample)", "mnist (full)"]
    for entry in entries:
        assert set(entry) == {"name", "shape", "source", "licence", "where", "at hand"}
        assert all(entry.values())
    entries[0]["name"] = "changed"
    assert images.available()[0]["name"] == "digits"
