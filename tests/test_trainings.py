"""Trainings as jobs: what they return, that they repeat and resume, what they refuse."""

import pytest
import torch

from ncbook.data import pictures
from ncbook.metrics import nc1_min_zhu_vidal
from ncbook.metrics.definitions import DEFINITIONS
from ncbook.trainings import DATA, train_on_pictures

SMALL = {
    "data": "mnist (sample)", "per_class": 8, "test_per_class": 3, "width": 4, "stem": "3x3/2",
    "epochs": 2, "rate": 0.02, "batch": 16, "hidden": 30, "precision": "float32",
}  # fmt: skip


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("NCBOOK_DEVICE", "cpu")


@pytest.mark.parametrize("head", ["linear", "none", "layer", "rms"])
def test_a_training_returns_every_measure_by_epoch(head):
    runs = train_on_pictures(**SMALL, head=head)
    assert runs["epoch"].values.tolist() == [0, 1, 2]
    assert runs["status"].item() == "finished" and runs["steps"].item() == 10
    own = {"accuracy", "accuracy.test", "dead", "loss", "status", "steps", "seconds"}
    assert own <= set(runs) and ("nc1.papyan" in runs) == (head == "linear")
    assert set(runs) - own <= set(DEFINITIONS)
    assert {"nc1.min-zhu-vidal.unit", "lengths.spread", "nc4.papyan", "nc3.papyan"} <= set(runs)
    assert float(runs["loss"][-1]) < float(runs["loss"][1])
    assert 0 <= float(runs["dead"][-1]) < 1 and not runs["dead"].isnull().any()


def test_the_seed_is_that_of_the_start_and_of_the_order():
    one, same, other = (train_on_pictures(**SMALL, seed=seed) for seed in (0, 0, 1))
    assert one.drop_vars("seconds").identical(same.drop_vars("seconds"))
    assert float(one["loss"][1]) != float(other["loss"][1])


def test_a_training_goes_on_from_its_checkpoint(tmp_path):
    whole = train_on_pictures(**SMALL, checkpoint=tmp_path / "whole")
    place = tmp_path / "cut"

    class Cut(Exception):
        pass

    def cut(*_, **__):
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        seen = []

        def once(*arguments, **options):
            from ncbook.metrics.network import collapse_of

            seen.append(1)
            return cut() if len(seen) == 3 else collapse_of(*arguments, **options)

        patch.setattr("ncbook.trainings.collapse_of", once)
        with pytest.raises(Cut):
            train_on_pictures(**SMALL, checkpoint=place)
    resumed = train_on_pictures(**SMALL, checkpoint=place)
    assert resumed.drop_vars("seconds").identical(whole.drop_vars("seconds"))


def test_epochs_are_measured_as_often_as_asked():
    runs = train_on_pictures(**SMALL | {"epochs": 5}, every=2)
    assert runs["epoch"].values.tolist() == [0, 2, 4, 5]


def test_what_is_measured_is_the_network(monkeypatch):
    """By hand, of the network at its start, in float64."""
    from ncbook.metrics import class_statistics
    from ncbook.models.layers import TwoLayerHead, initialise
    from ncbook.models.resnet import ResNet

    runs = train_on_pictures(**SMALL, head="rms", seed=4)
    with torch.device("meta"):
        head = TwoLayerHead(32, 10, 30, "rms")
        network = ResNet(18, 10, width=4, channels=1, stem="3x3/2", head=head)
    initialise(network, 4).double().eval()
    chosen = pictures.mnist("sample").balanced(8, 3)
    train, _ = chosen.standardised(torch.float64)
    with torch.no_grad():
        x = network.fc.norm(network.features(train))
        features = (x @ network.fc.first.weight.T).clamp(min=0)
    expected = nc1_min_zhu_vidal(class_statistics(features, chosen.train_labels))
    assert float(runs["nc1.min-zhu-vidal"][0]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "mnist"}, r"data is 'mnist': expected one of 'mnist \(sample\)'"),
        ({"head": "batch"}, "head is 'batch': expected one of 'linear', 'none', 'layer', 'rms'"),
        ({"every": 0}, "every is 0"),
        ({"per_class": 5000}, "5000 pictures of each class"),
        ({"depth": 20}, "depth is 20"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        train_on_pictures(**SMALL | change)


def test_the_data_are_those_of_the_catalogue():
    assert set(DATA) == {"mnist (sample)", "mnist (full)", "cifar10", "cifar100"}
