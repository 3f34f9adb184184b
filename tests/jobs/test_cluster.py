"""Jobs on a Dask cluster of real processes: lost workers, a killed client, a stopped scheduler."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from unittest.mock import MagicMock

import distributed
import pytest
import sample_jobs
from processes import runs, wait_for
from sample_jobs import calls, stored

from ncbook.files import BookError
from ncbook.jobs import cluster, identity, sweep, worker


@pytest.fixture(scope="module")
def there():
    """A cluster of two processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        silence_logs="CRITICAL",
    ) as one:  # fmt: skip
        yield one


@pytest.fixture
def fixed(there, tmp_path) -> dict:
    """Where jobs run, where their results go and where they leave traces."""
    trace = tmp_path / "trace"
    trace.mkdir()
    return {"scheduler": there.scheduler_address, "folder": tmp_path / "store", "trace": str(trace)}


def test_its_results_are_those_of_this_process_and_are_made_once(fixed):
    grid, said = {"norm": ["none", "rms"], "seed": [0, 1]}, []
    found = sweep(sample_jobs.curve, grid, report=said.append, epochs=3, **fixed)
    assert found.identical(
        sweep(sample_jobs.curve, grid, workers=0, epochs=3, trace=fixed["trace"])
    )
    assert said[0].endswith(" ...") and "(4 of 4)" in said[-1]
    before = calls(fixed["trace"])
    assert sweep(sample_jobs.curve, grid, epochs=3, **fixed).identical(found)
    assert calls(fixed["trace"]) == before
    assert not any((fixed["folder"] / worker.UNFINISHED).iterdir())


def test_workers_that_do_not_see_the_folder_send_their_results(fixed, monkeypatch):
    monkeypatch.setattr(worker, "UNFINISHED", "other-place")  # here: they look in another place
    found = sweep(sample_jobs.curve, {"norm": ["none"], "seed": [7]}, epochs=3, **fixed)
    assert len(stored(fixed["folder"])) == 1
    assert not (fixed["folder"] / "unfinished").exists()
    grid = {"norm": ["none"], "seed": [7]}
    assert found.identical(sweep(sample_jobs.curve, grid, epochs=3, **fixed))
    assert calls(fixed["trace"]) == ["none-7"]


def test_a_worker_that_is_lost_in_mid_job_loses_nothing(fixed):
    found = sweep(sample_jobs.dies_once, {"x": [0, 1, 2, 3]}, **fixed)
    assert found["resumed"].to_numpy().tolist() == [0, 1, 0, 0]
    assert calls(fixed["trace"]) == ["0", "1", "1", "2", "3"]


def test_a_job_that_fails_is_named(fixed):
    with pytest.raises(BookError, match=r"1 of 3 jobs failed(.|\n)*square x=2: (.|\n)*two cannot"):
        sweep(sample_jobs.square, {"x": [1, 2, 3]}, **fixed)
    assert len(stored(fixed["folder"])) == 2


def test_other_code_than_the_worker_has_is_refused(fixed, monkeypatch):
    real = identity.parts

    def other(*arguments):
        parts = real(*arguments)
        return parts | {"code": parts["code"] | {"sample_jobs.py": "0" * 64}}

    monkeypatch.setattr(identity, "parts", other)
    with pytest.raises(BookError, match=r"code: sample_jobs.py(.|\n)*Bring both to one version"):
        sweep(sample_jobs.square, {"x": [1]}, **fixed)
    assert calls(fixed["trace"]) == []


def test_workers_of_two_kinds_are_refused():
    class Client:
        def nthreads(self):
            return {"tcp://a": 1, "tcp://b": 1}

        def run(self, function):
            return {"tcp://a": function(), "tcp://b": function() | {"device": "cuda"}}

    with pytest.raises(BookError, match="device is 'cpu' at tcp://a, and 'cuda' at tcp://b"):
        cluster.where(Client())


def test_workers_of_several_threads_are_refused():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as one,
        distributed.Client(one, set_as_default=False) as client,
        pytest.raises(BookError, match=r"has 2 threads(.|\n)*Start workers with --nthreads 1"),
    ):
        cluster.where(client)


def test_what_a_worker_could_not_do_is_an_error_of_its_job(there):
    with distributed.Client(there, set_as_default=False) as client:
        future = client.submit(os.listdir, "/no/such/folder")
        event = cluster._event(future, {})
    assert event["event"] == "error"
    assert "FileNotFoundError" in event["said"] and "/no/such/folder" in event["said"]


def test_workers_that_are_gone_for_long_are_a_sentence(tmp_path, monkeypatch):
    there, client = iter([{"tcp://a": 1}, {}, {"tcp://a": 1}]), MagicMock()
    client.nthreads = lambda: next(there, {})
    monkeypatch.setattr(cluster, "WAIT", 0.1)
    monkeypatch.setattr(cluster, "POLL", 0.06)
    orders = [{"folder": str(tmp_path), "key": "a"}, {"folder": str(tmp_path), "key": "b"}]
    with pytest.raises(BookError, match=r"no worker for(.|\n)*start workers, and the same again"):
        list(cluster.run(orders, client))
    assert client.submit.call_count == 1 and next(there, None) is None
    client.cancel.assert_called_once_with([client.submit.return_value])


def test_killed_it_loses_no_finished_job(fixed):
    code = f"""
    import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
    import sample_jobs
    from ncbook.jobs import sweep
    sweep(sample_jobs.waits, {{"x": [0, 1, 2, 3]}}, scheduler={fixed["scheduler"]!r},
          folder={str(fixed["folder"])!r}, trace={fixed["trace"]!r})
    """
    trace = Path(fixed["trace"])
    client = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    wait_for(lambda: calls(trace) == ["0", "1", "2"] and len(stored(fixed["folder"])) == 1)
    client.send_signal(signal.SIGKILL)
    client.wait()
    (trace / "go").touch()
    # The store has also what its workers were at.
    wait_for(lambda: len(stored(fixed["folder"])) == 3)
    found = sweep(sample_jobs.waits, {"x": [0, 1, 2, 3]}, **fixed)
    assert found["y"].to_numpy().tolist() == [0, 1, 2, 3]
    assert calls(trace) == ["0", "1", "2", "3"]


def test_a_scheduler_that_is_not_there_is_a_sentence(fixed, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "WAIT", 1)
    for name in ("tcp://127.0.0.1:9", "no-such-file.json"):
        with pytest.raises(BookError, match=f"No scheduler answers at '{name}'.*Name one that"):
            sweep(sample_jobs.square, {"x": [1]}, **fixed | {"scheduler": name})
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BookError, match=r"pip install ncbook\[cluster\]"):
        sweep(sample_jobs.square, {"x": [1]}, **fixed)


def test_a_scheduler_that_stops_loses_no_finished_job(there, fixed):
    """The last test: it takes the cluster down."""
    trace, said = Path(fixed["trace"]), []

    def ask():
        with pytest.raises(BookError, match="connection to the scheduler was lost"):
            sweep(sample_jobs.waits, {"x": [0, 1, 2, 3]}, **fixed)
        said.append("lost")

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(lambda: calls(trace) == ["0", "1", "2"] and len(stored(fixed["folder"])) == 1)
    there.close()
    asking.join(60)
    assert said == ["lost"]
    (trace / "go").touch()
    processes = [int(path.name.removeprefix("process-")) for path in trace.glob("process-*")]
    wait_for(lambda: not any(runs(one) for one in processes if one != os.getpid()))
    local = {name: fixed[name] for name in ("folder", "trace")}
    found = sweep(sample_jobs.waits, {"x": [0, 1, 2, 3]}, **local)
    assert found["y"].to_numpy().tolist() == [0, 1, 2, 3]
    assert calls(trace).count("0") == 1
