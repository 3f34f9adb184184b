"""``python -m bench.cifar_features FOLDER``: make the features of our own networks that ship.

A ResNet18 and a VGG-11 of half the width are trained on CIFAR-10, none of whose classes is in the
three superclasses of CIFAR-100, and the input of their last layer on those images is kept beside
:mod:`ncbook.data.pretrained`. ``NCBOOK_DATA`` names a folder that has both data sets. On one core
a network takes about a quarter of an hour; its state after each epoch is in FOLDER, so that a
training that was cut off goes on. Digits depend on the processor and on the version of torch.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ncbook.data import cifar
from ncbook.data.pretrained import FILES, FOLDER
from ncbook.data.pretrained_features._make import chosen
from ncbook.dynamics.networks import Schedule, train_network
from ncbook.files import digest, write_atomic
from ncbook.models.layers import initialise
from ncbook.models.resnet import ResNet
from ncbook.models.vgg import VGG11

# Name -> the network, how it is trained.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Schedule]] = {
    "ResNet18": (
        lambda: ResNet(18, 10, width=32, stem="3x3/2"),
        Schedule(5, rate=0.05, batch=128, momentum=0.9, decay=5e-4, drops=(4,)),
    ),
    "VGG-11": (
        lambda: VGG11(10, width=32, hidden=512, pool=1),
        Schedule(4, rate=0.05, batch=128, momentum=0.9, decay=5e-4, drops=(3,)),
    ),
}


def train(name: str, folder: Path) -> nn.Module:
    """Train a network on CIFAR-10's images and their mirror images; print its test accuracy."""
    make, schedule = NETWORKS[name]
    data = cifar.cifar10()
    images, test = data.standardised()
    with torch.device("meta"):
        network = make()
    initialise(network, 0)

    def observe(one: nn.Module) -> dict[str, Tensor]:
        right = outputs(one, test).argmax(1) == data.test_labels
        return {"accuracy.test": right.double().mean()}

    found = train_network(
        network,
        torch.cat([images, images.flip(-1)]),
        data.train_labels.repeat(2),
        schedule,
        seed=0,
        observe=observe,
        precision="bfloat16",
        checkpoint=folder / f"{name}.pt",
    )
    print(name, "test accuracy", found["accuracy.test"].values)
    return network


def features(network: nn.Module, images: Tensor) -> np.ndarray:
    """Return the input of the last layer, for images standardised as CIFAR-10 was, ``(n, d)``."""
    last = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1]
    kept = network.get_submodule(last)
    network.set_submodule(last, nn.Identity())
    mean, deviation = (one.float()[:, None, None] for one in cifar.cifar10().moments())
    found = outputs(network, (images.float() - mean) / deviation)
    network.set_submodule(last, kept)
    return found.half().numpy()


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """Return what the network makes of the images in eval mode, in float32."""
    return torch.cat([network.eval()(part) for part in images.split(500)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    pictures = chosen()
    for name in NETWORKS:
        trained, content = train(name, Path(sys.argv[1])), io.BytesIO()
        np.savez_compressed(
            content,
            train=features(trained, pictures.train),
            test=features(trained, pictures.test),
        )
        print(FILES[name][0], digest(write_atomic(FOLDER / FILES[name][0], content.getvalue())))
