"""Pictures: balanced draws, groups, duplicates, standardisation; MNIST as pictures."""

import hashlib

import pytest
import torch

from ncbook.data import images, pictures
from ncbook.data.pictures import Pictures
from ncbook.runtime import Runtime


def made(n: int = 60, test: int = 30, seed: int = 0) -> Pictures:
    """Return random pictures of 2 channels, 3 rows and 4 columns, of 3 classes."""
    draw = torch.Generator().manual_seed(seed)

    def part(size):
        levels = torch.randint(0, 256, (size, 2, 3, 4), generator=draw, dtype=torch.uint8)
        return levels, torch.arange(size) % 3

    return Pictures(*part(n), *part(test), ("a", "b", "c"))


def keys(part: torch.Tensor) -> list[bytes]:
    return [picture.tobytes() for picture in part.numpy()]


def labelled(part: torch.Tensor, labels: torch.Tensor) -> dict[bytes, int]:
    return dict(zip(keys(part), labels.tolist(), strict=True))


def test_a_balanced_draw_has_as_many_of_each_class_with_their_labels():
    every = made()
    some = every.balanced(7, 4, seed=1)
    assert some.train_labels.bincount().tolist() == [7] * 3
    assert some.test_labels.bincount().tolist() == [4] * 3
    for part in ("train", "test"):
        whole = labelled(getattr(every, part), getattr(every, f"{part}_labels"))
        drawn = labelled(getattr(some, part), getattr(some, f"{part}_labels"))
        assert drawn.items() <= whole.items()
        assert len(drawn) == len(getattr(some, part))  # none twice
    assert some.classes == every.classes and some.K == 3


def test_a_draw_is_its_seed_s_and_the_test_part_s_does_not_depend_on_the_other():
    every = made()
    first, again, other = (every.balanced(7, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(first.train, again.train) and torch.equal(first.test, again.test)
    assert not torch.equal(first.train, other.train) and not torch.equal(first.test, other.test)
    assert torch.equal(first.test, every.balanced(8, 4, 1).test)
    # The order is random, too: the classes are mixed.
    assert first.train_labels.diff().ne(0).sum() > 3


def test_a_part_without_a_number_stays_as_it_is():
    every = made()
    assert torch.equal(every.balanced(None, 4).train, every.train)
    assert torch.equal(every.balanced(4).test, every.test)
    assert torch.equal(every.balanced(4).test_labels, every.test_labels)


@pytest.mark.parametrize("sizes", [(0, None), (21, None), (None, 11), (-1, 1)])
def test_more_than_there_are_is_refused(sizes):
    with pytest.raises(ValueError, match=r"pictures of each class are asked for; '.' has"):
        made().balanced(*sizes)


def test_a_number_that_is_no_integer_is_refused():
    with pytest.raises(ValueError, match=r"per_class is 2\.5: expected an integer"):
        made().balanced(2.5)


def test_the_digest_is_that_of_the_bytes():
    every = made(3, 2)
    parts = (every.train, every.train_labels, every.test, every.test_labels)
    content = [str(tuple(part.shape)).encode() + part.numpy().tobytes() for part in parts]
    assert every.digest() == hashlib.sha256(b"".join(content)).hexdigest()
    strided = every.train.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not strided.is_contiguous()
    assert Pictures(strided, *parts[1:], every.classes).digest() == every.digest()


def test_another_pixel_label_or_part_has_another_digest():
    every, others = made(3, 3), []
    for part in ("train", "train_labels", "test", "test_labels"):
        other = made(3, 3)
        getattr(other, part).view(-1)[0] ^= 1
        others.append(other.digest())
    t, labels, u, _ = every.train, every.train_labels, every.test, every.test_labels
    others.append(Pictures(u, labels, t, labels, every.classes).digest())
    flat = Pictures(t.flatten(2)[:, :, None], labels, u, labels, every.classes)
    others.append(flat.digest())
    assert len({every.digest(), *others}) == 7


def test_groups_are_the_new_classes_in_their_order():
    every = made()
    two = every.merged({"late": ("c",), "early": ("b", "a")})
    assert two.classes == ("late", "early") and two.K == 2
    assert torch.equal(two.train, every.train)
    assert torch.equal(two.train_labels, every.train_labels.ne(2).long())
    one = every.merged({"only": ("b",)})
    assert torch.equal(one.test, every.test[every.test_labels == 1])
    assert one.test_labels.eq(0).all()


@pytest.mark.parametrize("groups", [{}, {"x": ("a", "d")}, {"x": ("a",), "y": ("a",)}])
def test_groups_that_are_none_are_refused(groups):
    with pytest.raises(ValueError, match=r"expected at least one group.*out of a, b, c"):
        made().merged(groups)


def test_duplicates_are_dropped_within_and_between_the_parts():
    every = made(6, 5)
    every.train[4] = every.train[1]  # of another class, after it
    every.test[0] = every.train[2]
    every.test[3] = every.test[1]
    less = every.without_duplicates()
    assert torch.equal(less.train, every.train[[0, 1, 2, 3, 5]])
    assert less.train_labels.tolist() == [0, 1, 2, 0, 2]
    assert torch.equal(less.test, every.test[[1, 2, 4]])
    assert less.test_labels.tolist() == [1, 2, 1]
    # Control: one level apart is no duplicate.
    near = made(6, 5)
    near.train[4] = near.train[1]
    near.train[4, 0, 0, 0] ^= 1
    assert len(near.without_duplicates().train) == 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_standardised_channels_have_mean_0_and_variance_1(dtype):
    every = made(200)
    for part in (every.train, every.test):
        part[:, 1] //= 4  # another mean and deviation
    train, test = every.standardised(dtype)
    eps = torch.finfo(dtype).eps
    assert train.dtype == test.dtype == dtype and train.shape == every.train.shape
    assert train.mean((0, 2, 3)).abs().max() < 32 * eps
    assert (train.var((0, 2, 3), correction=0) - 1).abs().max() < 32 * eps
    # The test part is moved by the same numbers, not by its own.
    x = every.train.double()
    mean, deviation = x.mean((0, 2, 3)), x.std((0, 2, 3), correction=0)
    expected = (every.test - mean[:, None, None]) / deviation[:, None, None]
    assert (test - expected).abs().max() < 32 * eps
    assert test.mean((0, 2, 3)).abs().max() > 1e-3


def test_moments_are_those_of_the_levels():
    every = made(100)
    x = every.train.double()
    mean, deviation = every.moments()
    torch.testing.assert_close(mean, x.mean((0, 2, 3)), rtol=1e-13, atol=0)
    torch.testing.assert_close(deviation, x.std((0, 2, 3), correction=0), rtol=1e-13, atol=0)


def test_a_constant_channel_is_refused():
    every = made()
    every.train[:, 0] = 7
    with pytest.raises(ValueError, match="A channel has the same level"):
        every.standardised()


def test_mnist_s_pictures_are_its_images():
    run = Runtime(torch.device("cpu"), torch.float64, 1)
    flat, same = images.mnist(run), pictures.mnist()
    assert same.train.shape == (10_000, 1, 28, 28) and same.train.dtype == torch.uint8
    assert torch.equal(same.train.flatten(1).double() / 255, flat.train)
    assert torch.equal(same.test_labels, flat.test_labels)
    assert same.classes == tuple("0123456789")
    # The published mean and deviation of all of MNIST are .1307 and .3081.
    mean, deviation = (float(m) / 255 for m in same.moments())
    assert (mean, deviation) == (pytest.approx(0.1307, abs=1e-3), pytest.approx(0.3081, abs=1e-3))
    with pytest.raises(ValueError, match='expected "sample" or "full"'):
        pictures.mnist("all")
