"""The benchmark of sweeps runs, here and on a cluster. Its times are nobody's business here."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench is not installed

from bench import sweep


def test_both_ways_run_all_jobs_and_a_low_share_is_reported(monkeypatch):
    monkeypatch.setattr(sweep, "SECONDS", 0.2)
    monkeypatch.setattr(sweep, "JOBS", 2)
    monkeypatch.setattr(sweep, "SHARE", 1.0)
    said = []
    report = sweep.run(say=said.append)
    rows = report.tables["sweep"]
    assert [row["method"] for row in rows] == [sweep.HERE, sweep.CLUSTER]
    assert all(row["jobs"] == 2 and 0 < row["share"] < 1 and row["gain"] > 0 for row in rows)
    assert len(report.wrong) == 2 and "expected at least 100%" in report.wrong[0]
    assert len(said) == 4


def test_a_job_is_the_same_each_time():
    loss = [sweep.work(3, seed)["loss"] for seed in (1, 1, 2)]
    assert loss[0] == loss[1] != loss[2]
    assert sweep.work(50, 1)["loss"] < sweep.work(1, 1)["loss"] == pytest.approx(1.5, abs=1)
