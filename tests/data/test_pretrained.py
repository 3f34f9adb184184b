"""The features that ship: their labels, what they look like, and what tells the classes apart."""

import pytest
import torch

from ncbook.data import cifar, pretrained
from ncbook.data.idx import DataError
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)
DIMENSIONS = {"EfficientNet-Lite0": 1280, "ResNet18": 256, "VGG-11": 512}
ZEROS = {"EfficientNet-Lite0": (0.45, 0.55), "ResNet18": (0.15, 0.25), "VGG-11": (0.4, 0.9)}
PROBE = {"EfficientNet-Lite0": 0.85, "ResNet18": 0.65, "VGG-11": 0.6}


@pytest.fixture(scope="module", params=DIMENSIONS)
def network(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def features(network) -> pretrained.Features:
    return pretrained.pretrained_features(RUN, network)


def test_they_are_balanced_and_ordered(features, network):
    d = DIMENSIONS[network]
    assert features.train.shape == (1500, d) and features.test.shape == (300, d)
    assert features.train.dtype == torch.float64
    for size, classes, labels in (
        (100, features.train_classes, features.train_labels),
        (20, features.test_classes, features.test_labels),
    ):
        assert torch.equal(classes, torch.arange(15).repeat_interleave(size))
        assert torch.equal(labels, classes // 5)
        assert torch.equal(classes[::5].bincount(), torch.full((15,), size // 5))
    assert features.names == cifar.THREE
    for k, name in enumerate(features.names):
        assert features.class_names[5 * k : 5 * k + 5] == cifar.SUPERCLASSES[name]


def test_they_are_outputs_of_a_relu_of_length_at_most_1(features, network):
    """In the first about half are 0, which the stand-in of `superclasses` takes for granted."""
    assert features.train.min() == 0 == features.test.min()
    zeros = (features.train == 0).double().mean()
    assert ZEROS[network][0] < zeros < ZEROS[network][1]
    lengths = torch.linalg.vector_norm(features.train, dim=1)
    assert float(lengths.max()) == pytest.approx(1, abs=1e-14)
    assert len(features.train.unique(dim=0)) == 1500  # no image is there twice


def probe(features: pretrained.Features, labels: torch.Tensor) -> float:
    """Return the test accuracy of a ridge regression onto the superclasses, its own labels."""
    mean = features.train.mean(0)
    X, T = features.train - mean, features.test - mean
    Y = torch.eye(3, dtype=X.dtype)[labels] - 1 / 3
    scores = T @ (X.T @ torch.linalg.solve(X @ X.T + 0.3 * torch.eye(1500, dtype=X.dtype), Y))
    return (scores.argmax(1) == features.test_labels).double().mean().item()


def test_a_linear_classifier_tells_the_superclasses_apart(features, network):
    assert probe(features, features.train_labels) > PROBE[network]
    # Control: of shuffled labels it learns nothing.
    shuffled = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    assert probe(features, features.train_labels[shuffled]) < 0.5


def test_their_file_says_where_they_are_from_and_is_small():
    folder = pretrained.FOLDER
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        *(name for name, _ in pretrained.FILES.values()), "LICENCE.txt", "_make.py"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 6_000_000
    text = (folder / "LICENCE.txt").read_text()
    for word in ("Krizhevsky", "states no licence", "Apache License", "EfficientNet-Lite0"):
        assert word in text


def test_a_file_that_is_not_there_or_another_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"lite0\.npz cannot be read"):
        pretrained.pretrained_features(RUN)
    (tmp_path / "efficientnet_lite0.npz").write_bytes(b"other")
    with pytest.raises(DataError, match="is not what it should be: its SHA-256 is"):
        pretrained.pretrained_features(RUN)


def test_a_network_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="network is 'VGG': expected one of 'EfficientNet-Lite0'"):
        pretrained.pretrained_features(RUN, "VGG")
