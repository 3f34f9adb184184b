"""The benchmark runs, and notices a wrong result. Its times are nobody's business here."""

import json
import math
import socket
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # bench is not installed with the package

from bench import figure_1, methods, mnist, networks, part_3  # noqa: E402
from bench.__main__ import PARTS, main  # noqa: E402

SMALL = figure_1.SMALL


def quiet(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def start() -> torch.Tensor:
    return SMALL.start()


@pytest.fixture(scope="module")
def judge() -> figure_1.Judge:
    return figure_1.Judge.of(SMALL, methods.reference(SMALL))


def test_quick_run_writes_everything_and_names_no_machine(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").touch()
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    assert main(["--quick", "--save"]) == 0
    printed = capsys.readouterr().out
    written = {
        name: (tmp_path / "results" / "bench" / f"{name}.json").read_text() for name in PARTS
    }
    groups = (
        methods.OURS,
        methods.TORCHDIFFEQ,
        methods.TORCHDIFFEQ_OUR_STEPS,
        methods.TORCHDIFFEQ_RUNS,
        methods.SCIPY,
        methods.SCIPY_RUNS,
    )
    one, two, three, deep = (json.loads(written[name]) for name in PARTS)
    assert {row["group"] for row in one["flow"]} == set(groups)
    assert all(row["accuracy"] <= row["level"] for row in one["flow"])
    assert all(row["difference"] <= figure_1.SAME for row in one["descent"])
    assert one["metrics"] and one["network"] and one["limit"] and one["threads"]
    assert two["steps"] and two["systems"] and len(two["schedules"]) == 2
    assert [(row["method"], row["dtype"]) for row in three["mnist"]] == [
        (method, dtype)
        for dtype in ("float64", "float32")
        for method in (mnist.OURS, mnist.SHARED, mnist.ROWS, mnist.LOADER)
    ]
    assert all(row["apart"] <= mnist.SPREADS for row in three["mnist"])
    assert [row["group"] for row in three["late"]] == list(part_3.GROUPS)
    assert all(row["error"] <= row["level"] for row in three["late"])
    assert {row["method"] for row in deep["networks"]} == set(networks.METHODS)
    assert all(row["agrees"] for row in deep["networks"])
    for part in (one, two, three, deep):
        assert {"date", "processor", "cores", "torch", "sources"} <= set(part["provenance"])
    for text in (printed, *written.values()):
        assert str(tmp_path) not in text and str(ROOT) not in text
        assert socket.gethostname() not in text


def test_a_part_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["--quick", "part-7"])
    said = capsys.readouterr().err
    assert "unknown part 'part-7'; known are part-1, part-2, part-3, networks, sweep" in said


def test_descents_agree(start):
    ours = methods.descent_batch(SMALL, start)
    for other in (methods.descent_sgd, methods.descent_sgd_batch):
        assert figure_1.difference(other(SMALL, start), ours) <= figure_1.SAME


def test_other_iterates_are_noticed(start, monkeypatch):
    right = methods.descent_batch
    ours = right(SMALL, start)
    for spoil in (1e-11, math.nan):
        spoilt = ours.clone()
        spoilt[3, 7] += spoil
        assert not figure_1.difference(spoilt, ours) <= figure_1.SAME

    def slightly_longer_steps(problem, runs):
        return right(figure_1.replace(problem, step=problem.step * (1 + 1e-9)), runs)

    monkeypatch.setattr(methods, "descent_batch", slightly_longer_steps)
    wrong: list[str] = []
    figure_1.descents(SMALL, start, True, wrong, quiet)
    assert len(wrong) == 2 and all("differ from ours" in sentence for sentence in wrong)


def test_every_group_reaches_the_reference(start, judge):
    for method in methods.flows(quick=True):
        final, evaluations = method.solve(SMALL, start)
        assert judge.accuracy(final)["accuracy"] < 1e-2, method.setting
        assert evaluations > 0


def test_a_wrong_flow_is_noticed(start, judge):
    exact = methods.reference(SMALL)
    assert judge.accuracy(exact)["accuracy"] == 0
    assert judge.accuracy(exact[:3])["accuracy"] == 0
    spoilt = exact.clone()
    spoilt[-1, -1] += 1e-3 * float(judge.expected[1, -1])  # one bias, by a thousandth of its error
    assert judge.accuracy(spoilt)["right"] > 1e-4
    assert judge.accuracy(spoilt)["middle"] == 0
    spoilt[-1, -1] = math.nan
    assert judge.accuracy(spoilt)["accuracy"] == math.inf
    step_too_long, _ = methods._torchdiffeq_fixed("midpoint", 0.2).solve(SMALL, start)
    assert judge.accuracy(step_too_long)["accuracy"] > 1e-2


def test_only_the_accurate_win():
    method = methods.flows(quick=True)[0]
    rows = [
        {"group": "a", "seconds": 1.0, "accuracy": math.inf},
        {"group": "a", "seconds": 3.0, "accuracy": 1e-6},
        {"group": "a", "seconds": 2.0, "accuracy": 1e-5},
        {"group": "b", "seconds": 1.0, "accuracy": 1e-2},
    ]
    best = figure_1.winners([(method, row) for row in rows], 1e-5)
    assert best["a"] == (method, rows[2])
    assert best["b"] is None


def test_ours_that_is_not_accurate_enough_is_an_error(start, judge):
    method = methods.flows(quick=True)[0]
    row = {"group": methods.OURS, "seconds": 1.0, "accuracy": 1e-2}
    wrong: list[str] = []
    rows = figure_1.compare(SMALL, start, 3, [(method, row)], 1e-5, True, wrong, quiet)
    assert rows == [] and "No setting of ours" in wrong[0]


def test_metrics_that_differ_are_an_error(monkeypatch, capsys):
    from bench import metrics

    right = metrics.rows

    def spoilt(*args):
        table = right(*args)
        table[-1] |= {"agrees": False, "error": 1e-3}
        return table

    monkeypatch.setattr(metrics, "rows", spoilt)
    monkeypatch.setattr(figure_1, "run", lambda quick, say: figure_1.Report({}, []))
    monkeypatch.setattr(mnist, "rows", lambda problem, say: [])
    monkeypatch.setattr(part_3, "rows", lambda problem, quick, say: [])
    assert main(["--quick", "part-1", "part-3"]) == 1
    printed = capsys.readouterr().err
    assert "differs from ours by 1.0e-03" in printed
    assert "Part III, to log L = -5: no setting of ours reaches an error of 1e-05" in printed


@pytest.fixture(scope="module")
def digits():
    problem = mnist.Problem.at_hand(quick=True)
    data = problem.data(torch.float64)
    states = mnist.ours(problem, data, problem.start(data))
    return problem, data, mnist.measured(problem, data, states)


def test_a_plain_loop_trains_the_same_network(digits):
    problem, data, _ = digits
    short = figure_1.replace(problem, epochs=1, seeds=2, batch=len(data.train))
    start = short.start(data)
    # With all images in a batch their order is but a matter of rounding.
    ours = mnist.ours(short, data, start)
    for loader in (True, False):
        plain = mnist.loop(short, data, start, loader)
        assert figure_1.difference(plain, ours) < 1e-10
        other = mnist.loop(figure_1.replace(short, rate=0.11), data, start, loader)
        assert figure_1.difference(other, ours) > 1e-3  # control


def test_runs_that_differ_by_more_than_the_spread_are_noticed(digits):
    problem, data, reference = digits
    shared = mnist.ours(problem, data, problem.start(data), shared=True)
    assert mnist.distance(mnist.measured(problem, data, shared), reference) <= mnist.SPREADS
    slower = figure_1.replace(problem, rate=0.9 * problem.rate)
    states = mnist.ours(slower, data, slower.start(data))
    assert mnist.distance(mnist.measured(problem, data, states), reference) > mnist.SPREADS
    states[0, 0] = math.nan
    assert mnist.distance(mnist.measured(problem, data, states), reference) == math.inf


@pytest.fixture(scope="module")
def late():
    problem = part_3.SMALL
    return problem, *part_3.reference(problem)


def test_the_fields_written_for_others_are_ours(late):
    problem, _, _ = late
    model, starts = problem.model(), problem.start()
    expected = model.rescaled_field(100 * starts)
    for make in (part_3.numpy_field, part_3.torch_field):
        for number, start in enumerate(starts):
            field = torch.from_numpy(make(model, number)(0.0, 100 * start.numpy()))
            assert figure_1.difference(field[None], expected[number : number + 1]) < 1e-12
    with pytest.raises(StopIteration):
        part_3.numpy_field(model, 0, most=0)(0.0, starts[0].numpy())


def test_the_reference_ends_at_the_loss_asked_for(late):
    problem, states, times = late
    some = slice(problem.sample)
    assert problem.model(some).log_loss(states).tolist() == pytest.approx([-problem.R] * 2)
    assert all(time > 1 for time in times)


def test_a_wrong_direction_is_noticed(late):
    problem, expected, times = late
    model, starts = problem.model(slice(2)), problem.start()[:2]
    assert part_3.direction_error(7 * expected, expected) < 1e-15
    right = part_3.scipy_runs("RK45", 1e-7, problem.eps)
    assert part_3.direction_error(right(model, starts, problem.R, times), expected) < 1e-5
    early = [0.99 * time for time in times]
    assert part_3.direction_error(right(model, starts, problem.R, early), expected) > 1e-4
    expected = expected.clone()
    expected[1, 3] = math.nan
    assert part_3.direction_error(expected, expected) == math.inf


def test_a_method_that_is_never_accurate_is_left_out(late, monkeypatch):
    problem, _, _ = late
    wrong = part_3.ours(1e-2)
    monkeypatch.setattr(
        part_3,
        "settings",
        lambda *_: [
            (part_3.OURS, "right", part_3.ours(1e-6)),
            (part_3.TORCHDIFFEQ_BATCH, "too far", lambda m, z, R, times: wrong(m, z, R + 1, times)),
        ],
    )
    (row,) = part_3.rows(problem, quick=True, say=quiet)
    assert row["group"] == part_3.OURS and row["ratio"] == 1
