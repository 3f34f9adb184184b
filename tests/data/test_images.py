"""The digits: the split, its seed, the values."""

import pytest
import torch

from ncbook.data import catalogue, images, mnist_files
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


@pytest.fixture(scope="module")
def digits() -> images.Images:
    return images.digits(RUN, per_class=100, seed=0)


@pytest.fixture(scope="module")
def sample() -> images.Images:
    return images.mnist(RUN)


@pytest.fixture(scope="module")
def modulo() -> images.Images:
    return images.mnist_modulo(RUN, q=3, per_class=500, seed=1)


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
    entries = catalogue.available()
    assert [entry["name"] for entry in entries] == [
        "digits", "mnist (sample)", "mnist (full)", "features of CIFAR-100", "cifar10", "cifar100"
    ]  # fmt: skip
    for entry in entries:
        assert set(entry) == {"name", "shape", "source", "licence", "where", "at hand"}
        assert all(entry.values())
    entries[0]["name"] = "changed"
    assert catalogue.available()[0]["name"] == "digits"


# --- MNIST with labels modulo q -----------------------------------------------------------------


def test_labels_are_remainders_of_the_digits(modulo, sample):
    pictures = [row.tobytes() for row in sample.train.numpy()]
    digit_of = dict(zip(pictures, sample.train_labels.tolist(), strict=True))
    assert len(digit_of) == len(sample.train)  # no image twice, so an image has one digit
    digits = torch.tensor([digit_of[row.tobytes()] for row in modulo.train.numpy()])
    assert torch.equal(digits % 3, modulo.train_labels)
    assert not torch.equal(digits % 4, modulo.train_labels)  # control
    # Drawn from all digits of a class in their share: 45 of 500 is four standard deviations.
    shares = sample.train_labels.bincount().double()
    for k in range(3):
        expected = 500 * shares[k::3] / shares[k::3].sum()
        assert (digits[digits % 3 == k].bincount(minlength=10)[k::3] - expected).abs().max() < 45
    assert digits.unique().numel() == 10


def test_both_parts_are_balanced_and_mixed(modulo, sample):
    assert modulo.train_labels.bincount().tolist() == [500] * 3 and modulo.K == 3
    smallest = int((sample.test_labels % 3).bincount().min())
    assert modulo.test_labels.bincount().tolist() == [smallest] * 3
    assert not rows(modulo.train) & rows(modulo.test)
    # Every class is in every part of the order: 300 of the 1500 have about 100 of each.
    for part in modulo.train_labels.split(300):
        assert part.bincount(minlength=3).min() > 60
    assert modulo.train.shape == (1500, 784) and modulo.shape == (28, 28)


def test_the_seed_alone_decides_the_draw(modulo):
    again = images.mnist_modulo(RUN, 3, 500, seed=1)
    other = images.mnist_modulo(RUN, 3, 500, seed=2)
    assert torch.equal(modulo.train, again.train) and torch.equal(modulo.test, again.test)
    common = rows(modulo.train) & rows(other.train)
    assert 0 < len(common) < 700  # 500 of 2871 to 3970 of each class, twice: about 240
    torch.manual_seed(5)
    assert torch.equal(modulo.train, images.mnist_modulo(RUN, 3, 500, seed=1).train)


def test_other_moduli(modulo):
    parity = images.mnist_modulo(RUN, 2, 10)
    assert parity.K == 2 and parity.train_labels.bincount().tolist() == [10, 10]


@pytest.mark.parametrize("q", [1, 11, 2.5])
def test_a_modulus_without_classes_is_refused(q):
    with pytest.raises(
        ValueError, match=f"q is {q}[;:] .*(whole number from 2 to 10|expected an integer)"
    ):
        images.mnist_modulo(RUN, q)


@pytest.mark.parametrize("per_class", [0, -3, 10_000])
def test_more_images_than_a_class_has_are_refused(per_class):
    with pytest.raises(
        ValueError, match=rf"per_class is {per_class}; the smallest of the 3 .*2\d+"
    ):
        images.mnist_modulo(RUN, 3, per_class)


def test_the_papers_draw_from_the_full_set():
    if mnist_files.folder() is None:
        pytest.skip(
            "needs MNIST's official files: set NCBOOK_DATA to a folder that has them, or run "
            "'python -m ncbook data fetch mnist'"
        )
    data = images.mnist_modulo(Runtime(torch.device("cpu"), torch.float32, 1), 3, 10_000, 0, "full")
    assert data.train.shape == (30_000, 784) and data.train.dtype == torch.float32
    assert data.train_labels.bincount().tolist() == [10_000] * 3
    assert int((data.train != 0).any(0).sum()) in range(700, 718)  # 67 pixels are never used
