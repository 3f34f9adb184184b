"""The benchmark of Theorem 4.2's first form runs, and notices a wrong result."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench is not installed

from bench import stationarity


@pytest.fixture
def no_processes(monkeypatch):
    """Memory in this process: a spawned one takes seconds to start."""
    monkeypatch.setattr(stationarity, "_peak", stationarity._measured)


def test_all_methods_agree_and_every_size_is_timed(no_processes):
    said = []
    rows = stationarity.stationarity_rows(True, said.append)
    ((_, _, sizes),) = stationarity.SMALL
    assert [(row["n"], row["method"]) for row in rows] == [
        (n, method) for n in sizes for method in stationarity.METHODS
    ]
    assert all(row["agrees"] and row["error"] <= 1e-8 for row in rows)
    assert all(row["bytes"] > 0 and row["largest"] > row["n"] for row in rows)
    assert len(said) == len(rows) + 1 and not any("DIFFERS" in line for line in said)


def test_a_wrong_result_is_noticed(no_processes, monkeypatch, capsys):
    right = stationarity.METHODS[stationarity.LU]
    monkeypatch.setitem(
        stationarity.METHODS, stationarity.LU, lambda *inputs: right(*inputs) * (1 + 1e-6)
    )
    monkeypatch.setattr(sys, "argv", ["stationarity", "--quick"])
    assert stationarity.main() == 1
    assert "Kronecker, LU at n = 30" in capsys.readouterr().err


def test_memory_is_of_a_process_of_its_own():
    n = 1600  # so that the matrix is far larger than what libraries take as they go
    matrix = (3 * n) ** 2 * 8
    naive = stationarity._peak(stationarity.LU, n, 3, 5)
    assert 1.9 * matrix < naive < 4 * matrix
    # Ours holds a few matrices of a ninth of that size; a process adds some of its own.
    assert stationarity._peak(stationarity.OURS, n, 3, 5) < 0.6 * naive
