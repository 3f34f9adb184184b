"""Images that a reader has at hand, as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.runtime import Runtime, generator

SOURCES = {
    "digits": {
        "name": "digits",
        "shape": "1797 images of 8 x 8 pixels, 10 classes",
        "source": "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, "
        "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49 (its test part)",
        "licence": "CC BY 4.0",
        "where": "ships with scikit-learn (sklearn.datasets.load_digits)",
    },
}


def available() -> list[dict[str, str]]:
    """Return what there is: name, shape, source, licence and where it lies, one dict a data set."""
    return [dict(entry) for entry in SOURCES.values()]


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
