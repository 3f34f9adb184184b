"""Pictures for convolutional networks: grey levels as bytes, with channels, rows and columns."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ncbook.data import mnist_files
from ncbook.data.images import balanced
from ncbook.runtime import generator, whole


@dataclass(frozen=True, eq=False)
class Pictures:
    """Labelled pictures in two parts.

    Attributes
    ----------
    train, test : Tensor
        Shape ``(n, channels, rows, columns)``, uint8, levels 0..255, on the CPU.
    train_labels, test_labels : Tensor
        Shape ``(n,)``, int64, positions in ``classes``, on the CPU.
    classes : tuple of str
        The classes' names.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]

    @property
    def K(self) -> int:
        """The number of classes."""
        return len(self.classes)

    def digest(self) -> str:
        """Return the SHA-256 of both parts' shapes, pictures and labels, in hexadecimal.

        It tells the same pictures in another order apart, and JPEG files from the official archive.
        """
        made = hashlib.sha256()
        for part in (self.train, self.train_labels, self.test, self.test_labels):
            made.update(str(tuple(part.shape)).encode())
            made.update(part.contiguous().numpy())
        return made.hexdigest()

    def balanced(
        self, per_class: int | None = None, test_per_class: int | None = None, seed: int = 0
    ) -> "Pictures":
        """Return as many pictures of every class, drawn without replacement, in random order.

        Parameters
        ----------
        per_class, test_per_class : int, optional
            Pictures of each class in the training and in the test part. A part whose number is
            None stays as it is.
        seed : int
            Of the generator, on the CPU, that draws them; the test part's draw does not depend on
            ``per_class``.

        Raises
        ------
        ValueError
            A number is not positive, or some class has fewer pictures.
        """
        parts = []
        for part, labels, size in (
            (self.train, self.train_labels, per_class),
            (self.test, self.test_labels, test_per_class),
        ):
            if size is not None:
                counts = labels.bincount(minlength=self.K)
                size, least = whole("per_class", size), int(counts.min())
                if not 0 < size <= least:
                    raise ValueError(
                        f"{size} pictures of each class are asked for; "
                        f"{self.classes[int(counts.argmin())]!r} has {least}. Give a number from "
                        f"1 to {least}, or None for all."
                    )
                chosen = balanced(labels, size, generator(seed))
                part, labels = part[chosen], labels[chosen]
            parts += [part, labels]
        return Pictures(*parts, self.classes)

    def merged(self, groups: Mapping[str, Sequence[str]]) -> "Pictures":
        """Return the pictures of some classes, labelled by the group that their class is in.

        Parameters
        ----------
        groups : mapping
            Group -> its classes. The groups, in this order, are the new classes; pictures of a
            class in no group are left out.

        Raises
        ------
        ValueError
            There is no group, or one names an unknown class, or a class is in two.
        """
        named = [name for members in groups.values() for name in members]
        if not groups or len(set(named)) < len(named) or not set(named) <= set(self.classes):
            raise ValueError(
                f"The groups have the classes {', '.join(named)}: expected at least one group, "
                f"and each class once, out of {', '.join(self.classes)}."
            )
        new = torch.full((self.K,), -1)
        for k, members in enumerate(groups.values()):
            new[[self.classes.index(name) for name in members]] = k
        parts = []
        for part, labels in ((self.train, self.train_labels), (self.test, self.test_labels)):
            labels = new[labels]
            parts += [part[labels >= 0], labels[labels >= 0]]
        return Pictures(*parts, tuple(groups))

    def without_duplicates(self) -> "Pictures":
        """Return the pictures without those that are there before, to the last pixel.

        Of pictures that are the same in all pixels, whatever their labels, the first stays; one
        that is in the training part is dropped from the test part, for a test of what was learnt.
        """
        seen, parts = set(), []
        for part, labels in ((self.train, self.train_labels), (self.test, self.test_labels)):
            kept = []
            for i, picture in enumerate(part.numpy()):
                if (key := picture.tobytes()) not in seen:
                    seen.add(key)
                    kept.append(i)
            parts += [part[kept], labels[kept]]
        return Pictures(*parts, self.classes)

    def standardised(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Return the training and the test part with mean 0 and variance 1 in every channel.

        Mean and variance are those of the training part, over its pictures, rows and columns; the
        test part is shifted and scaled by the same numbers.

        Returns
        -------
        tuple of Tensor
            Both of shape ``(n, channels, rows, columns)``, of this dtype on this device.

        Raises
        ------
        ValueError
            A channel is constant in the training part.
        """
        mean, deviation = self.moments()
        if not (deviation > 0).all():
            raise ValueError(
                "A channel has the same level in all training pictures: expected one that varies, "
                "for its variance is to be made 1."
            )
        mean, deviation = (m.to(device, dtype)[:, None, None] for m in (mean, deviation))
        return tuple(
            part.to(device, dtype).sub_(mean).div_(deviation) for part in (self.train, self.test)
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return each channel's mean and standard deviation in the training part, as levels.

        Returns
        -------
        tuple of Tensor
            Both of shape ``(channels,)``, float64, in levels 0..255 (divide by 255 for the usual
            numbers); the deviation is the population's.
        """
        levels = torch.arange(256, dtype=torch.float64)
        counts = torch.stack(
            [self.train[:, c].flatten().bincount(minlength=256) for c in range(self.train.shape[1])]
        ).double()
        share = counts / counts.sum(1, keepdim=True)
        mean = share @ levels
        return mean, (share * (levels - mean[:, None]).square()).sum(1).sqrt()


def mnist(source: str = "sample") -> Pictures:
    """Return MNIST's handwritten digits with one channel, in the order of the official files.

    Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits; licence
    CC BY-SA 3.0.

    Parameters
    ----------
    source : {"sample", "full"}
        The sample of 10000 + 2000 images that ships with this package, or the full set of
        60000 + 10000. Nothing is downloaded here; :func:`ncbook.data.mnist_files.fetch` does that.

    Raises
    ------
    ValueError
        ``source`` is unknown.
    DataError
        The files are not at hand, or are not what they should be.
    """
    arrays = mnist_files.arrays(source)
    parts = []
    for part in ("train", "t10k"):
        # Copied, because what is read from a file cannot be written to, as tensors expect.
        parts += [
            torch.from_numpy(arrays[f"{part}-images-idx3-ubyte"].copy()).unsqueeze(1),
            torch.from_numpy(arrays[f"{part}-labels-idx1-ubyte"].copy()).long(),
        ]
    return Pictures(*parts, tuple("0123456789"))
