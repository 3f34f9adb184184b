"""The script that makes the features of our own networks, on a few random pictures."""

import pytest
import torch

from bench import cifar_features
from ncbook.data import cifar
from ncbook.data.pictures import Pictures
from ncbook.dynamics.networks import Schedule
from ncbook.models.resnet import ResNet
from ncbook.models.vgg import VGG11
from ncbook.runtime import generator


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    draw = generator(0)
    levels = [torch.randint(256, (n, 3, 32, 32), generator=draw, dtype=torch.uint8) for n in (9, 5)]
    labels = [torch.arange(len(one)) % 3 for one in levels]
    pictures = Pictures(levels[0], labels[0], levels[1], labels[1], ("a", "b", "c"))
    monkeypatch.setattr(cifar, "cifar10", lambda: pictures)
    small = {
        "ResNet18": lambda: ResNet(18, 3, width=2, stem="3x3/2"),
        "VGG-11": lambda: VGG11(3, width=2, hidden=6, pool=1),
    }
    schedule = Schedule(1, rate=0.05, batch=6)
    networks = {name: (make, schedule) for name, make in small.items()}
    monkeypatch.setattr(cifar_features, "NETWORKS", networks)


@pytest.mark.parametrize("name,d", [("ResNet18", 16), ("VGG-11", 6)])
def test_the_features_are_the_input_of_the_last_layer(name, d, tmp_path, capsys):
    network = cifar_features.train(name, tmp_path)
    assert f"{name} test accuracy" in capsys.readouterr().out
    assert (tmp_path / f"{name}.pt").is_file()
    images = cifar.cifar10().train
    found = torch.from_numpy(cifar_features.features(network, images)).float()
    assert found.shape == (9, d) and found.min() >= 0
    # The whole network, which is as it was, is the last layer of the features.
    logits = cifar_features.outputs(network, cifar.cifar10().standardised()[0])
    last = network.fc if name == "ResNet18" else network.classifier[6]
    with torch.no_grad():
        torch.testing.assert_close(last(found), logits, rtol=0, atol=5e-3)


def test_a_training_that_was_done_is_not_done_again(tmp_path):
    cifar_features.train("VGG-11", tmp_path)
    kept = torch.load(tmp_path / "VGG-11.pt", weights_only=True)
    kept["network"]["classifier.6.bias"] += 1.0
    torch.save(kept, tmp_path / "VGG-11.pt")
    again = cifar_features.train("VGG-11", tmp_path).state_dict()
    assert torch.equal(again["classifier.6.bias"], kept["network"]["classifier.6.bias"])
