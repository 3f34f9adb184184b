"""Images that a reader has at hand, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.data import mnist_files
from ncbook.runtime import Runtime, generator, whole


@dataclass(frozen=True)
class Images:
    """Labelled images in two parts that share no image.

    Attributes
    ----------
    train, test : Tensor
        Shape ``(n, pixels)``, grey levels in [0, 1].
    train_labels, test_labels : Tensor
        Shape ``(n,)``, int64, classes 0..K-1.
    shape : tuple of int
        Rows and columns of one image.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    shape: tuple[int, int]

    @property
    def K(self) -> int:
        """The number of classes."""
        return int(self.train_labels.max()) + 1


def digits(run: Runtime, per_class: int = 100, seed: int = 0) -> Images:
    """Return scikit-learn's handwritten digits, drawn by class into a training and a test part.

    1797 images of 8 x 8 pixels by 13 writers, with grey levels 0..16, here divided by 16: the
    test part of the Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, UCI
    Machine Learning Repository, 1998, doi:10.24432/C50P49; licence CC BY 4.0). Nothing is
    downloaded.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    per_class : int
        Training images of every class, so that the classes are balanced as the papers have them;
        the others (74 to 83 a class at 100) are for testing.
    seed : int
        Of the generator that chooses them.

    Raises
    ------
    ValueError
        ``per_class`` is not positive, or leaves some class without a test image.
    """
    per_class = whole("per_class", per_class)
    from sklearn.datasets import load_digits  # slow to import: only where it is used

    bunch = load_digits()
    images = torch.from_numpy(bunch.data) / 16
    labels = torch.from_numpy(bunch.target).long()
    smallest = int(labels.bincount().min())
    if not 0 < per_class < smallest:
        raise ValueError(
            f"per_class is {per_class}; the smallest class has {smallest} images, so give a "
            f"number from 1 to {smallest - 1}."
        )
    draw = generator(seed)
    train, test = [], []
    for k in range(10):
        members = (labels == k).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=draw)]
        train.append(members[:per_class])
        test.append(members[per_class:])
    train, test = torch.cat(train), torch.cat(test)
    return Images(
        train=run.tensor(images[train]),
        train_labels=labels[train].to(run.device),
        test=run.tensor(images[test]),
        test_labels=labels[test].to(run.device),
        shape=(8, 8),
    )


def mnist(run: Runtime, digits: Sequence[int] | None = None, source: str = "sample") -> Images:
    """Return MNIST's handwritten digits, all or some.

    Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits; licence
    CC BY-SA 3.0. Grey levels 0..255, here divided by 255; the order is that of the official files.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    digits : sequence of int, optional
        The digits to take; the first becomes class 0, the second class 1, and so on. All ten
        without it.
    source : {"sample", "full"}
        The sample of 10000 + 2000 images that ships with this package, or the full set of
        60000 + 10000. Nothing is downloaded here; :func:`ncbook.data.mnist_files.fetch` does that.

    Raises
    ------
    ValueError
        ``digits`` does not name different digits from 0 to 9, or ``source`` is unknown.
    DataError
        The files are not at hand, or are not what they should be.
    """
    digits = tuple(whole("a digit", d) for d in (range(10) if digits is None else digits))
    if not digits or len(set(digits)) < len(digits) or not set(digits) <= set(range(10)):
        raise ValueError(f"digits = {digits}: expected different digits from 0 to 9.")
    arrays = mnist_files.arrays(source)
    wanted = torch.full((10,), -1)
    wanted[list(digits)] = torch.arange(len(digits))
    parts = []
    for part in ("train", "t10k"):
        # Copied, because what is read from a file cannot be written to, as tensors expect.
        images = torch.from_numpy(arrays[f"{part}-images-idx3-ubyte"].copy())
        labels = wanted[torch.from_numpy(arrays[f"{part}-labels-idx1-ubyte"].copy()).long()]
        images, labels = images[labels >= 0], labels[labels >= 0]
        parts += [run.tensor(images.flatten(1)).div_(255), labels.to(run.device)]
    return Images(*parts, shape=tuple(images.shape[1:]))


def mnist_modulo(
    run: Runtime, q: int = 3, per_class: int = 1000, seed: int = 0, source: str = "sample"
) -> Images:
    """Return MNIST with each label replaced by its remainder modulo q, the classes balanced.

    The data of Figure 1 (a) of Wu and Mondelli (2025), where q = 3 and ``per_class`` = 10000. The
    images of a class are drawn from all digits that it is made of; their order is random.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    q : int
        Classes, 2 to 10.
    per_class : int
        Training images of each class. The test part has as many of each as the smallest class.
    seed : int
        Of the generator that draws the images and their order.
    source : {"sample", "full"}
        See :func:`mnist`.

    Raises
    ------
    ValueError
        ``q`` or ``source`` is none of these, or some class has fewer than ``per_class`` images.
    DataError
        The files are not at hand, or are not what they should be.
    """
    q, per_class = whole("q", q), whole("per_class", per_class)
    if q not in range(2, 11):
        raise ValueError(f"q is {q}; give a whole number from 2 to 10, so that a class has digits.")
    every = mnist(run, source=source)
    labels, test_labels = every.train_labels % q, every.test_labels % q
    smallest = int(labels.bincount().min())
    if not 0 < per_class <= smallest:
        raise ValueError(
            f"per_class is {per_class}; the smallest of the {q} classes has {smallest} images, so "
            f'give a number from 1 to {smallest}, or more images with source = "full".'
        )
    draw = generator(seed)
    train = balanced(labels, per_class, draw)
    test = balanced(test_labels, int(test_labels.bincount().min()), draw)
    return Images(
        every.train[train], labels[train], every.test[test], test_labels[test], every.shape
    )


def balanced(labels: Tensor, per_class: int, draw: torch.Generator) -> Tensor:
    """Return positions of ``per_class`` labels of each class, in random order.

    Parameters
    ----------
    labels : Tensor
        Shape ``(n,)``, classes 0..K-1; a class that has fewer gives what it has.
    per_class : int
        Positions of each class.
    draw : torch.Generator
        On the CPU; draws the positions and their order.
    """
    order = torch.randperm(len(labels), generator=draw).to(labels.device)
    ranked = labels[order]
    members = [(ranked == k).nonzero().flatten() for k in range(int(labels.max()) + 1)]
    chosen = order[torch.cat([one[:per_class] for one in members])]
    return chosen[torch.randperm(len(chosen), generator=draw).to(labels.device)]
