"""Make the sample from MNIST's official files: ``python _make.py FOLDER-WITH-THEM``.

A sixth of the training images and a fifth of the test images. Every digit has its share of them,
and its images are spread evenly over the official file, because the first and the last ones are by
different writers. The order is that of the official files. No random number is drawn, and the
files depend on nothing but the official ones and the version of zlib.
"""

import sys
from pathlib import Path

import numpy as np

from ncbook.data import idx, mnist_files
from ncbook.files import digest, write_atomic

SIZES = {"train": 10_000, "t10k": 2_000}


def chosen(labels: np.ndarray, size: int) -> np.ndarray:
    """Return the positions of ``size`` labels, every label in proportion, spread evenly."""
    counts = np.bincount(labels)
    shares = size * counts / len(labels)
    takes = np.floor(shares).astype(int)
    # The images that rounding down left over go where it took most.
    takes[np.argsort(takes - shares, kind="stable")[: size - takes.sum()]] += 1
    positions = [
        (labels == k).nonzero()[0][np.arange(take) * counts[k] // take]
        for k, take in enumerate(takes)
        if take
    ]
    return np.sort(np.concatenate(positions))


def sample(official: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the sample's arrays, under the names of the official files."""
    arrays = {}
    for part, size in SIZES.items():
        images, labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        positions = chosen(official[labels], size)
        arrays |= {images: official[images][positions], labels: official[labels][positions]}
    return arrays


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    here = Path(__file__).resolve().parent
    for name, array in sample(mnist_files.read(Path(sys.argv[1]), mnist_files.OFFICIAL)).items():
        content = idx.encode(array)
        write_atomic(here / f"{name}.gz", content)
        print(f'"{name}": "{digest(idx.unpack(content, name))}",')
