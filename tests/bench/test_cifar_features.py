"""The script that makes the features of our own networks, on a few random pictures."""

import numpy as np
import pytest
import torch

from bench import cifar_features
from ncbook.data.pictures import Pictures
from ncbook.dynamics.networks import Schedule
from ncbook.models.resnet import ResNet
from ncbook.models.vgg import VGG11
from ncbook.runtime import generator


def few_pictures() -> Pictures:
    draw = generator(0)
    levels = [torch.randint(256, (n, 3, 32, 32), generator=draw, dtype=torch.uint8) for n in (9, 5)]
    labels = [torch.arange(len(one)) % 3 for one in levels]
    return Pictures(levels[0], labels[0], levels[1], labels[1], ("a", "b", "c"))


SCHEDULE = Schedule(1, rate=0.05, batch=6)
SMALL = {
    "ResNet18": lambda: ResNet(18, 3, width=2, stem="3x3/2"),
    "VGG-11": lambda: VGG11(3, width=2, hidden=6, pool=1),
}
SOURCES = {n: cifar_features.Source(make, SCHEDULE, few_pictures) for n, make in SMALL.items()}


@pytest.mark.parametrize("name,d", [("ResNet18", 16), ("VGG-11", 6)])
def test_the_features_are_the_input_of_the_last_layer(name, d, tmp_path):
    network, course = cifar_features.train(SOURCES[name], tmp_path / "state.pt")
    assert course["accuracy.test"].shape == (2,)
    assert (tmp_path / "state.pt").is_file()
    images = few_pictures().train
    found = torch.from_numpy(cifar_features.features(SOURCES[name], network, images)).float()
    assert found.shape == (9, d) and found.min() >= 0
    # The whole network, which is as it was, is the last layer of the features.
    logits = cifar_features.outputs(network, few_pictures().standardised()[0])
    last = network.fc if name == "ResNet18" else network.classifier[6]
    with torch.no_grad():
        torch.testing.assert_close(last(found), logits, rtol=0, atol=5e-3)


def test_a_training_that_was_done_is_not_done_again(tmp_path):
    state = tmp_path / "state.pt"
    cifar_features.train(SOURCES["VGG-11"], state)
    kept = torch.load(state, weights_only=True)
    kept["network"]["classifier.6.bias"] += 1.0
    torch.save(kept, state)
    again = cifar_features.train(SOURCES["VGG-11"], state)[0].state_dict()
    assert torch.equal(again["classifier.6.bias"], kept["network"]["classifier.6.bias"])


def test_the_written_file_has_both_parts(tmp_path):
    network, _ = cifar_features.train(SOURCES["ResNet18"], None)
    path = tmp_path / "features.npz"
    cifar_features.write(path, SOURCES["ResNet18"], network, few_pictures())
    with np.load(path, allow_pickle=False) as arrays:
        assert {name: one.shape for name, one in arrays.items()} == {
            "train": (9, 16),
            "test": (5, 16),
        }


def test_the_networks_fit_their_data():
    """A network that is planned is not trained here: its outputs are as many as the classes."""
    for name, source in (cifar_features.SHIPPED | cifar_features.PLANNED).items():
        with torch.device("meta"):
            network = source.make()
        last = [one for one in network.modules() if isinstance(one, torch.nn.Linear)][-1]
        assert last.out_features == (85 if name == "ResNet50" else 10)
