"""The benchmark of Part II runs, and notices a wrong result. Its times are nobody's business."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed with the package

from bench import part_2  # noqa: E402

SMALL = part_2.Problem.at_hand(quick=True)


@pytest.fixture(scope="module")
def data():
    return SMALL.data(torch.float64)


def quiet(_line: str) -> None:
    pass


def test_sizes_at_hand(monkeypatch):
    monkeypatch.setattr(part_2.mnist_files, "folder", lambda: None)
    assert part_2.Problem.at_hand().source == "sample"
    monkeypatch.setattr(part_2.mnist_files, "folder", lambda: ROOT)
    paper = part_2.Problem.at_hand()
    assert (paper.source, 3 * paper.per_class, paper.N, paper.epoch) == ("full", 30_000, 6272, 469)


def test_a_plain_loop_takes_the_same_steps(data):
    start = SMALL.start(data)
    ours = part_2.ours(SMALL, data, start, 6)
    for fused in (False, True):
        plain = part_2.loop(SMALL, data, start, 6, fused)
        assert part_2.difference(plain, ours) < 1e-12
        for wrong in (
            part_2.loop(replace(SMALL, rate=0.041), data, start, 6, fused),
            part_2.loop(replace(SMALL, decay=1e-3), data, start, 6, fused),
            part_2.loop(SMALL, data, start.flip(0), 6, fused),
        ):
            assert part_2.difference(wrong, ours) > part_2.SAME[torch.float64]
    ours[0, 0] = math.nan
    assert part_2.difference(ours, plain) == math.inf


def test_every_method_is_timed_and_compared():
    lines = [part_2.head(SMALL)]
    table = part_2.rows(SMALL, repeats=1, say=lines.append)
    assert [(row["method"], row["dtype"]) for row in table] == [
        (method, dtype)
        for dtype in ("float32", "float64")
        for method in (part_2.OURS, part_2.LOOP, part_2.FUSED)
    ]
    assert all(row["agrees"] and row["step"] > 0 and row["share"] > 0 for row in table)
    assert len(lines) == 7 and str(ROOT) not in "".join(lines)
    # Twice the particles are twice the operations; the pixels that are always 0 do not count.
    wide = replace(SMALL, N=2 * SMALL.N)
    data = SMALL.data(torch.float64)
    assert part_2.flops(wide, data) == 2 * part_2.flops(SMALL, data)
    assert part_2.flops(SMALL, data) < 2 * SMALL.batch * SMALL.N * (2 * 784 + 3 * SMALL.p)


def test_a_method_that_differs_is_noticed(monkeypatch):
    right = part_2.loop

    def spoilt(problem, *args, **settings):
        return right(replace(problem, rate=1.01 * problem.rate), *args, **settings)

    monkeypatch.setattr(part_2, "loop", spoilt)
    lines = []
    table = part_2.rows(SMALL, repeats=1, say=lines.append)
    assert [row["agrees"] for row in table] == [True, False, False] * 2
    assert [line.endswith("DIFFERS") for line in lines] == [i % 3 > 0 for i in range(6)]


def test_the_schedules_end_alike_with_fewer_steps():
    table = part_2.schedules(SMALL, say=quiet)
    constant, paper = table
    assert constant["time"] == pytest.approx(paper["time"], abs=SMALL.rate)
    assert paper["steps"] > 3 * constant["steps"]
    assert all(row["agrees"] for row in table)
    assert paper["apart"] > 0 == constant["apart"]
    for row in table:
        assert 0 < row["nc1"] < 1 and 0 < row["nb"] < 1.1


def test_an_end_that_is_elsewhere_is_noticed():
    reference = {
        "loss": torch.tensor([0.1, 0.2, 0.3]),
        "nc1": torch.tensor([0.5, 0.6, 0.8]),
        "nb": torch.tensor([0.4, 0.8, 0.6]),
    }
    same = {name: value[:2] for name, value in reference.items()}
    assert part_2.distance(same, reference) == 0
    assert part_2.distance(same | {"loss": same["loss"] + 0.05}, reference) == pytest.approx(0.5)
    assert part_2.distance(same | {"nb": same["nb"] * math.nan}, reference) == math.inf
    longer = replace(SMALL, epochs=3 * SMALL.epochs)
    data = SMALL.data(torch.float32)
    model, start = SMALL.model(data), SMALL.start(data)
    ends = [
        part_2.measured(
            part_2.minibatch_sgd(
                model, start, part_2.paper_rates(p.epochs, p.epoch), seeds=range(3),
                batch=p.batch, record=[p.epochs * p.epoch],
            ),
            model.y,
        )
        for p in (SMALL, longer)
    ]  # fmt: skip
    assert part_2.distance(ends[1], ends[0]) > part_2.SPREADS
