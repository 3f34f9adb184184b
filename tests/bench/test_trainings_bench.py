"""The trainings at paper size: in their order, begun only where they can end, merged."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed with the package

from bench import cifar_features, device, trainings  # noqa: E402
from ncbook.data.pictures import Pictures  # noqa: E402
from ncbook.dynamics.networks import Schedule  # noqa: E402
from ncbook.models.resnet import ResNet  # noqa: E402
from ncbook.trainings import train_on_pictures  # noqa: E402

SOURCE = cifar_features.Source(
    lambda: ResNet(18, 3, width=2, stem="3x3/2"), Schedule(2, 0.05, 6), lambda: few_pictures(50)
)
TINY = {"epochs": 2, "batch": 16, "drops": [1], "width": 4, "stem": "3x3/2", "hidden": 20}


@pytest.fixture
def tiny(monkeypatch):
    """Four jobs that take seconds, and what each was told."""
    told = []

    def train(**options):
        told.append(options)
        small = {"per_class": 8, "test_per_class": 4, "precision": "float32"}
        return train_on_pictures(**options | small | {"data": "mnist (sample)"})

    monkeypatch.setenv("NCBOOK_DEVICE", "cpu")
    monkeypatch.setattr(trainings, "PAPER", trainings.PAPER | TINY)
    monkeypatch.setattr(trainings, "RATES", {18: 0.02})
    monkeypatch.setattr(trainings, "HEADS", ("none", "rms"))
    monkeypatch.setattr(trainings, "SETS", ("mnist (full)",))
    monkeypatch.setattr(trainings, "SEEDS", 2)
    monkeypatch.setattr(trainings, "train_on_pictures", train)
    monkeypatch.setattr(cifar_features, "PLANNED", {"ResNet50": SOURCE})
    monkeypatch.setattr(cifar_features, "chosen", few_pictures)
    return told


def few_pictures(per_class: int = 3) -> Pictures:
    draw, n = torch.Generator().manual_seed(0), 3 * per_class
    levels = [torch.randint(256, (n, 3, 32, 32), generator=draw, dtype=torch.uint8) for _ in "ab"]
    labels = torch.arange(n) % 3
    return Pictures(levels[0], labels, levels[1], labels, ("a", "b", "c"))


def run_all(path: Path, seconds: float) -> tuple[int, list[str]]:
    said: list[str] = []
    end = time.monotonic() + seconds
    return trainings.run_all(path, "cpu", end, said.append, {"sources": "a"}), said


def test_a_seed_of_figure_4_comes_first_then_one_of_figure_5():
    found = [trainings.key(job) for job in trainings.jobs()]
    assert found[:3] == [
        f"ResNet18, mnist (full), {head}, seed 0" for head in ("none", "rms", "layer")
    ]
    assert found[3] == "ResNet18, cifar10, none, seed 0"
    assert found[6] == "ResNet50 on other classes of CIFAR-100, features"
    assert found[7] == "ResNet50, mnist (full), none, seed 0"
    assert len(found) == len(set(found)) == 1 + 5 * 2 * 2 * 3


def test_jobs_have_the_papers_settings():
    job = trainings.arguments(next(trainings.jobs()))
    expected = {"epochs": 50, "batch": 128, "rate": 0.1, "momentum": 0.95, "drops": [20, 40],
                "hidden": 1000, "width": 64, "depth": 18}  # fmt: skip
    assert expected.items() <= job.items()
    assert trainings.arguments({"depth": 50})["rate"] == 0.02


def test_results_are_written_and_done_jobs_skipped(tiny, tmp_path, monkeypatch):
    path = tmp_path / "trainings.json"
    remain, said = run_all(path, 600)
    assert remain == 0 and len(said) == 5
    content = json.loads(path.read_text())
    one = content["ResNet18, mnist (full), rms, seed 1"]
    assert one["runs"]["epoch"] == [0, 2] and one["runs"]["status"] == "finished"
    assert len(one["runs"]["nc1.min-zhu-vidal"]) == 2 and one["device"] == "cpu"
    assert one["arguments"]["seed"] == 1 and one["provenance"] == {"sources": "a"}
    features = content["ResNet50 on other classes of CIFAR-100, features"]["runs"]
    assert features["file"] == "features-resnet50.npz" and len(features["accuracy.test"]) == 3
    with np.load(tmp_path / features["file"], allow_pickle=False) as arrays:
        assert arrays["train"].shape == (9, 16)
    # Other code makes it anew, and another machine's file is taken in.
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "code", lambda: "other")
        assert len(list(trainings.due(content))) == 5
    other = tmp_path / "other" / "trainings.json"
    other.parent.mkdir()
    (other.parent / "trainings-a.json").write_text(json.dumps(content))
    assert run_all(other, 600) == (0, [])
    # What another machine lacks is done there, and nothing else.
    del content["ResNet18, mnist (full), none, seed 0"]
    path.write_text(json.dumps(content))
    tiny.clear()
    assert run_all(path, 600)[0] == 0
    assert [one["seed"] for one in tiny if "per_class" not in one] == [0]
    assert set(json.loads(path.read_text())) == {*content, "ResNet18, mnist (full), none, seed 0"}


def test_nothing_is_begun_that_cannot_end(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "pace", lambda job: 100.0)
    remain, said = run_all(tmp_path / "trainings.json", 110)
    assert remain == 5 and tiny == [] and all("not begun" in line for line in said)
    assert not (tmp_path / "trainings.json").exists()


def test_data_that_are_not_at_hand_are_told(tiny, tmp_path, monkeypatch):
    def missing(job):
        raise trainings.DataError("The full MNIST is not at hand.")

    monkeypatch.setattr(trainings, "pace", missing)
    remain, said = run_all(tmp_path / "trainings.json", 600)
    assert remain == 5 and "not at hand" in said[0]


def test_the_command_runs_them(tiny, tmp_path, capsys):
    path = tmp_path / "trainings.json"
    options = ["--trainings", "--device", "cpu", "--seconds", "600", "--save", str(path)]
    assert device.main(options) == 0
    assert "0 trainings remain" in capsys.readouterr().out and path.exists()
