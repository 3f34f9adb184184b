"""Features of images of CIFAR-100 through networks that were trained on other images.

Figure 1 (b) of Wu and Mondelli (ICML 2025) trains on the penultimate layer of a ResNet50,
pretrained on ImageNet-1K, of the superclasses aquatic mammals, large carnivores and people of
CIFAR-100. Weights of a ResNet or a VGG for ImageNet were not to be had on the package registries;
those of EfficientNet-Lite0 were, under Apache 2.0, with d = 1280 in place of 2048. So the images
are the paper's, their number is, and the network is another. Its Appendix E has the same picture
for a ResNet-18 and a VGG-11; here these are ours, of half the width, trained on CIFAR-10, none of
whose classes is in the superclasses.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncbook.data.cifar_classes import SUPERCLASSES, THREE
from ncbook.data.idx import DataError
from ncbook.files import digest
from ncbook.runtime import Runtime

FOLDER = Path(__file__).parent / "pretrained_features"
# Network -> the file with its features, and the SHA-256.
FILES = {
    "EfficientNet-Lite0": (
        "efficientnet_lite0.npz",
        "5b0fab97341061717793c5633b9b3a282bf1ea50350555861ecbc678ad9060c8",
    ),
    "ResNet18": (
        "resnet18.npz",
        "797c0fbbb52f2c9c67dce96f916fdc9950c652fd57056ae556a729a795d6b538",
    ),
    "VGG-11": (
        "vgg11.npz",
        "b9bbfa1c3155f15c7a1c27ca81e1a786568302e16e7775a5d36f81e6e7f6d4b6",
    ),
}
PER_CLASS, TEST_PER_CLASS = 100, 20  # of each of the 15 classes


@dataclass(frozen=True)
class Features:
    """Features with the labels of superclasses, and of the classes that these are made of.

    Attributes
    ----------
    train, test : Tensor
        Shapes ``(1500, d)`` and ``(300, d)``, not negative, with d = 1280 for EfficientNet-Lite0,
        256 for ResNet18 and 512 for VGG-11; the longest training vector has norm 1, as Assumption
        A2 of Wu and Mondelli (2025) has it, and the test part is scaled by the same number.
        Ordered by class; of each class in random order, so that ``train[::5]`` has as many of
        each.
    train_labels, test_labels : Tensor
        int64, positions in ``names``: the superclass.
    train_classes, test_classes : Tensor
        int64, positions in ``class_names``, five to a superclass.
    names, class_names : tuple of str
        Names of the superclasses and of the classes.
    """

    train: Tensor
    train_labels: Tensor
    train_classes: Tensor
    test: Tensor
    test_labels: Tensor
    test_classes: Tensor
    names: tuple[str, ...] = THREE
    class_names: tuple[str, ...] = tuple(c for s in THREE for c in SUPERCLASSES[s])


def pretrained_features(run: Runtime, network: str = "EfficientNet-Lite0") -> Features:
    """Return the features that ship with this package, of three superclasses of CIFAR-100.

    They are of 1500 training and 300 test images, 100 and 20 of each of 15 classes, without
    duplicates; the same images for each network, which is in eval mode. The features are in
    float16. Their folder holds their origin and licence.

    Parameters
    ----------
    run : Runtime
        Sets dtype and device.
    network : {"EfficientNet-Lite0", "ResNet18", "VGG-11"}
        The first (M. Tan, Q. V. Le, EfficientNet, ICML 2019, and its Lite version of 2020) was
        trained on ImageNet; it got the images enlarged to 128 x 128 pixels (bicubic), as
        (level - 127) / 128; the features are the last convolution's output, after its ReLU6,
        averaged over the places. The others are :class:`~ncbook.models.resnet.ResNet` and
        :class:`~ncbook.models.vgg.VGG11` of width 32, trained on CIFAR-10 by this project's
        ``bench.cifar_features``; they got the images standardised as those of CIFAR-10 were, and
        the features are the input of their last layer.

    Raises
    ------
    ValueError
        The network is unknown.
    DataError
        The package was installed in part, or changed.
    """
    if network not in FILES:
        known = ", ".join(map(repr, FILES))
        raise ValueError(f"network is {network!r}: expected one of {known}.")
    path, sha256 = FOLDER / FILES[network][0], FILES[network][1]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    if (found := digest(content)) != sha256:
        raise DataError(
            f"{path} is not what it should be: its SHA-256 is {found}, and {sha256} was expected. "
            "Install the package anew."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        train, test = (torch.from_numpy(arrays[part]).double() for part in ("train", "test"))
    scale = torch.linalg.vector_norm(train, dim=1).max()
    classes = torch.arange(sum(len(SUPERCLASSES[s]) for s in THREE), device=run.device)
    parts = []
    for part, size in ((train, PER_CLASS), (test, TEST_PER_CLASS)):
        of = classes.repeat_interleave(size)
        parts += [run.tensor(part / scale), of // 5, of]
    return Features(*parts)
