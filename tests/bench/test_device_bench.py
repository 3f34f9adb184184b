"""The benchmark of devices runs, resumes, and begins nothing that it cannot end."""

import json
import math
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed with the package

from bench import device  # noqa: E402

CHAPTER = "min-zhu-vidal/08-biases"
ABOUT = {"sources": "a", "device": "cpu, float64", "processor": "p", "torch": "2"}


def quiet(_line: str) -> None:
    pass


class Products(TorchDispatchMode):
    """Count the products of matrices."""

    products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.products += func.overloadpacket.__name__ in ("mm", "addmm", "bmm", "baddbmm")
        return func(*args, **(kwargs or {}))


def products(once, device) -> float:
    """Return how many products a call has: a time that no other process changes."""
    with Products() as counted:
        once()
    return counted.products


def test_steps_are_timed_beside_their_products(monkeypatch):
    cpu = torch.device("cpu")
    assert 0 < device.timed(lambda: torch.ones(9).sum(), cpu, seconds=0.01) < 0.01
    monkeypatch.setattr(device, "timed", products)
    training = device.mnist_step(cpu, torch.float32, N=64)
    assert training == {"step": training["products"], "products": 4 * 5}  # of four runs
    descent = device.figure_1_step(cpu, torch.float64, 5)
    assert descent == {"step": 3, "products": 3}


def test_a_chapter_runs_in_a_process_and_leaves_its_values():
    found = device.in_a_process("mixon-parshall-pi/03-on-the-subspace", "single", "cpu", 300.0)
    assert "problem" not in found, found
    assert 0.9 < found["values"]["mpp.subspace.saddle"] < 1.1


def test_a_chapter_that_cannot_end_is_stopped_and_one_that_fails_is_told():
    assert device.in_a_process(CHAPTER, "cpu", "cpu", 1.0) == {"problem": "not finished in 1 s"}
    found = device.in_a_process("min-zhu-vidal/99-none", "cpu", "cpu", 60.0)
    assert "99-none" in found["problem"]


def test_what_is_done_is_skipped_and_the_longest_comes_first():
    done = {"seconds": 5.0, "values": {}}
    table = {"b": {"cpu": done, "gpu": done, "single": {"problem": "x"}}, "c": {"cpu": done}}
    table["c"] = {"cpu": {"seconds": 50.0, "values": {}}}
    assert list(device.due(table, ["a", "b", "c"])) == [
        ("a", "cpu"), ("a", "gpu"), ("a", "single"), ("c", "gpu"), ("c", "single"), ("b", "single"),
    ]  # fmt: skip


def test_nothing_is_begun_that_cannot_end(monkeypatch):
    begun, saved = [], []
    monkeypatch.setattr(device, "in_a_process", lambda *job: begun.append(job) or {"values": {}})
    end = time.monotonic() + device.COMMON / 2
    device.run_chapters({}, ["a"], "cpu", end, quiet, lambda: saved.append(1))
    assert begun == [] and saved == []
    table = {}
    end = time.monotonic() + 2 * device.COMMON
    monkeypatch.setattr(device, "in_a_process", lambda *job: {"values": {}, "seconds": 1.0})
    device.run_chapters(table, ["a"], "cpu", end, quiet, lambda: saved.append(1))
    assert set(table["a"]) == set(device.WHERE) and len(saved) == 3


def test_values_are_compared_by_what_the_claims_allow():
    claims = device.schema.of_chapter(ROOT, CHAPTER)
    id, one = next((id, claim) for id, claim in claims.items() if claim.slack and not claim.side)
    places = {
        "cpu": {"values": {id: one.expect}},
        "gpu": {"values": {id: one.expect + one.slack / 4}},
        "single": {"problem": "x"},
    }
    (row,) = device.compared({CHAPTER: places})
    assert row["claim"] == id and row["single"] is None and "single_share" not in row
    assert row["gpu_share"] == pytest.approx(0.25)
    places["single"] = {"values": {id: math.nan}}
    assert device.compared({CHAPTER: places})[0]["single_share"] == math.inf


def test_a_file_is_resumed_on_the_same_card_alone(tmp_path):
    path = tmp_path / "device.json"
    assert device._resumed(path, ABOUT) == {"provenance": ABOUT, "chapters": {}}
    path.write_text(json.dumps({"provenance": ABOUT, "chapters": {"a": {}}}))
    assert device._resumed(path, ABOUT)["chapters"] == {"a": {}}
    for name in ABOUT:
        assert device._resumed(path, ABOUT | {name: "another"})["chapters"] == {}
    path.write_text("{")
    assert device._resumed(path, ABOUT)["chapters"] == {}


def test_a_device_that_is_not_there_is_told(capsys):
    with pytest.raises(SystemExit):
        device.main(["--device", "cuda:99"])
    assert "cuda:99" in capsys.readouterr().err
