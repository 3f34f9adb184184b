"""The features that ship: their labels, what they look like, and what tells the classes apart."""

import pytest
import torch

from ncbook.data import cifar, pretrained
from ncbook.data.idx import DataError
from ncbook.runtime import Runtime

RUN = Runtime(torch.device("cpu"), torch.float64, 1)


@pytest.fixture(scope="module")
def features() -> pretrained.Features:
    return pretrained.pretrained_features(RUN)


def test_they_are_balanced_and_ordered(features):
    assert features.train.shape == (1500, 1280) and features.test.shape == (300, 1280)
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


def test_they_are_outputs_of_a_relu_of_length_at_most_1(features):
    """About half are 0, which the stand-in of `superclasses` takes for granted."""
    assert features.train.min() == 0 == features.test.min()
    assert 0.45 < (features.train == 0).double().mean() < 0.55
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


def test_a_linear_classifier_tells_the_superclasses_apart(features):
    assert probe(features, features.train_labels) > 0.85
    # Control: of shuffled labels it learns nothing.
    shuffled = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    assert probe(features, features.train_labels[shuffled]) < 0.5


def test_their_file_says_where_they_are_from_and_is_small():
    folder = pretrained.FILE.parent
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        pretrained.FILE.name, "LICENCE.txt", "_make.py"
    }  # fmt: skip
    assert pretrained.FILE.stat().st_size < 3_000_000
    text = (folder / "LICENCE.txt").read_text()
    for word in ("Krizhevsky", "states no licence", "Apache License", "EfficientNet-Lite0"):
        assert word in text


def test_a_file_that_is_not_there_or_another_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "FILE", tmp_path / "some.npz")
    with pytest.raises(DataError, match=r"some\.npz cannot be read"):
        pretrained.pretrained_features(RUN)
    (tmp_path / "some.npz").write_bytes(b"other")
    with pytest.raises(DataError, match="is not what it should be: its SHA-256 is"):
        pretrained.pretrained_features(RUN)
