"""``python -m bench.cifar_features FOLDER``: make the features of our own networks that ship.

A ResNet18 and a VGG-11 of half the width are trained on CIFAR-10, none of whose classes is in the
three superclasses of CIFAR-100, and the input of their last layer on those images is kept beside
:mod:`ncbook.data.pretrained`. ``NCBOOK_DATA`` names a folder that has both data sets. On one core
a network takes about a quarter of an hour; its state after each epoch is in FOLDER, so that a
training that was cut off goes on. Digits depend on the processor and on the version of torch.
"""

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from ncbook.data import cifar
from ncbook.data.pictures import Pictures
from ncbook.data.pretrained import FILES, FOLDER
from ncbook.data.pretrained_features._make import chosen
from ncbook.dynamics.networks import Schedule, train_network
from ncbook.files import digest, write_atomic
from ncbook.models.layers import initialise
from ncbook.models.resnet import ResNet
from ncbook.models.vgg import VGG11


class Source(NamedTuple):
    """A network, how it is trained, and on what."""

    make: Callable[[], nn.Module]
    schedule: Schedule
    data: Callable[[], Pictures]


@functools.cache  # reading takes seconds, and the moments are asked for later
def ten_classes() -> Pictures:
    """Return CIFAR-10."""
    return cifar.cifar10()


@functools.cache
def other_classes() -> Pictures:
    """Return CIFAR-100 without the three superclasses: 85 classes."""
    return cifar.cifar100([one for one in cifar.SUPERCLASSES if one not in cifar.THREE])


SHIPPED = {
    "ResNet18": Source(
        lambda: ResNet(18, 10, width=32, stem="3x3/2"),
        Schedule(5, rate=0.05, batch=128, momentum=0.9, decay=5e-4, drops=(4,)),
        ten_classes,
    ),
    "VGG-11": Source(
        lambda: VGG11(10, width=32, hidden=512, pool=1),
        Schedule(4, rate=0.05, batch=128, momentum=0.9, decay=5e-4, drops=(3,)),
        ten_classes,
    ),
}
# The nearest to the paper's ResNet50 that can be had without weights of ImageNet. It needs a
# graphics processor: python -m bench.device --trainings.
PLANNED = {
    "ResNet50": Source(
        lambda: ResNet(50, 85, stem="3x3"),
        Schedule(20, rate=0.1, batch=128, momentum=0.9, decay=5e-4, drops=(12, 17)),
        other_classes,
    ),
}


def train(
    source: Source, checkpoint: Path | None, per_class: int | None = None, device="cpu"
) -> tuple[nn.Module, xr.Dataset]:
    """Train a network on images and their mirror images, all or some of each class.

    Returns
    -------
    Module, Dataset
        The network, and its ``accuracy.test`` by epoch.
    """
    data = source.data().balanced(per_class)
    images, test = data.standardised(device=device)
    labels = data.train_labels.repeat(2).to(device)
    with torch.device("meta"):
        network = source.make()
    initialise(network, 0, device)

    def observe(one: nn.Module) -> dict[str, Tensor]:
        return {"accuracy.test": (outputs(one, test).argmax(1) == data.test_labels).float().mean()}

    found = train_network(
        network,
        torch.cat([images, images.flip(-1)]),
        labels,
        source.schedule,
        seed=0,
        observe=observe,
        precision="bfloat16",
        checkpoint=checkpoint,
    )
    return network, found


def features(source: Source, network: nn.Module, images: Tensor) -> np.ndarray:
    """Return the input of the last layer, for images standardised as its data were, ``(n, d)``."""
    last = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
    kept = network.get_submodule(last)
    network.set_submodule(last, nn.Identity())
    mean, deviation = (one.float()[:, None, None] for one in source.data().moments())
    standardised = (images.float() - mean) / deviation
    found = outputs(network, standardised.to(next(network.parameters()).device))
    network.set_submodule(last, kept)
    return found.half().numpy()


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """Return what the network makes of the images in eval mode, in float32, on the CPU."""
    return torch.cat([network.eval()(part).cpu() for part in images.split(500)])


def write(path: Path, source: Source, network: nn.Module, pictures: Pictures) -> str:
    """Write the features of the pictures, in float16, into a file; return its SHA-256."""
    content = io.BytesIO()
    np.savez_compressed(
        content,
        train=features(source, network, pictures.train),
        test=features(source, network, pictures.test),
    )
    return digest(write_atomic(path, content.getvalue()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, source in SHIPPED.items():
        trained, course = train(source, Path(sys.argv[1]) / f"{name}.pt")
        print(name, "test accuracy", course["accuracy.test"].values)
        print(FILES[name][0], write(FOLDER / FILES[name][0], source, trained, chosen()))
