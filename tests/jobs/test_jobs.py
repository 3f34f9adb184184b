"""Jobs over a grid: run once, stored to the bit, whatever happens to processes."""

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import sample_jobs
import xarray as xr
from processes import runs, wait_for
from sample_jobs import calls, stored

from ncbook.files import BookError
from ncbook.jobs import identity, results, run, sweep, worker
from ncbook.store import Store

GRID = {"norm": ["none", "rms"], "seed": range(3)}


@pytest.fixture
def trace(tmp_path) -> Path:
    folder = tmp_path / "trace"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "store"


def test_results_are_labelled_the_same_everywhere_and_made_once(trace, store):
    fixed = {"epochs": 4, "trace": str(trace)}
    said = []
    first = sweep(sample_jobs.curve, GRID, folder=store, report=said.append, **fixed)
    every = sorted(f"{norm}-{seed}" for norm in GRID["norm"] for seed in GRID["seed"])
    assert first.sizes == {"norm": 2, "seed": 3, "epoch": 4}
    expected = np.random.default_rng(1).normal(size=4)
    assert (first["loss"].sel(norm="rms", seed=1).to_numpy() == expected).all()
    assert calls(trace) == every
    assert sum("(6 of 6)" in line for line in said) == 1
    again = sweep(sample_jobs.curve, GRID, folder=store, report=said.append, **fixed)
    assert again.identical(first) and calls(trace) == every
    assert said[-1] == "6 of 6 jobs are there already."
    more = GRID | {"seed": [2, 3]}
    sweep(sample_jobs.curve, more, folder=store, workers=1, **fixed)
    assert calls(trace) == sorted([*every, "none-3", "rms-3"])
    metas = {key: Store(store).get(key).meta for key in stored(store)}
    ran = {json.dumps(meta["parts"]["arguments"], sort_keys=True) for meta in metas.values()}
    assert json.dumps({"norm": "rms", "seed": 3} | fixed, sort_keys=True) in ran
    assert all(identity.key(meta["parts"]) == key for key, meta in metas.items())
    assert all(meta["machine"]["cores"] and "T" in meta["made"] for meta in metas.values())
    here = sweep(sample_jobs.curve, GRID, workers=0, **fixed)
    assert here.identical(first) and len(calls(trace)) == 14  # and it stored nothing
    assert len(stored(store)) == 8


def test_a_result_is_read_as_it_was_written(tmp_path):
    data = xr.Dataset(
        {
            "half": ("t", np.float32([0.1, np.nan, -0.0])),
            "long": (("t", "k"), np.arange(6).reshape(3, 2) + 2**60),
            "flag": ((), True),
            "said": ("k", np.array(["a", "bcd"])),
        },
        {"t": [1e-300, 0.1, np.inf], "k": [True, False], "word": ("t", ["x", "y", "z"])},
        {"source": "here", "sizes": [1, 2]},
    )
    data["half"].attrs["unit"] = "s"
    results.write(tmp_path / "a.npz", data)
    found = results.read(tmp_path / "a.npz")
    assert found.identical(data) and found["half"].dtype == np.float32
    assert found["half"].to_numpy().tobytes() == data["half"].to_numpy().tobytes()
    odd = xr.Dataset({"a": ("t", np.array([{}, []], dtype=object))})
    with pytest.raises(TypeError, match="variable 'a' holds objects"):
        results.write(tmp_path / "b.npz", odd)
    with pytest.raises(TypeError, match="it returned list; expected an xarray Dataset or a dict"):
        results.dataset([1.0])


def test_a_job_that_fails_is_named_and_the_others_are_finished(trace, store):
    fixed = {"folder": store, "trace": str(trace)}
    with pytest.raises(BookError, match=r"1 of 3 jobs failed(.|\n)*square x=2: (.|\n)*two cannot"):
        sweep(sample_jobs.square, {"x": [1, 2, 3]}, **fixed)
    assert len(stored(store)) == 2 and calls(trace) == ["1", "2", "3"]
    with pytest.raises(BookError, match="1 of 3 jobs failed"):
        sweep(sample_jobs.square, {"x": [1, 2, 3]}, **fixed)
    assert calls(trace) == ["1", "2", "2", "3"]


def test_a_job_whose_process_dies_goes_on_in_another(trace, store):
    found = sweep(sample_jobs.dies_once, {"x": [0, 1, 2]}, folder=store, trace=str(trace))
    assert found["resumed"].to_numpy().tolist() == [0, 1, 0]
    assert calls(trace) == ["0", "1", "1", "2"]
    assert not any((store / worker.UNFINISHED).iterdir())  # what it had so far is gone


def test_a_job_whose_process_dies_each_time_is_given_up(trace, store, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what it said last is there without
    said = r"dies x=1: its process was killed by SIGKILL \(often: out of memory\), 2 times"
    with pytest.raises(BookError, match=said + r"(.|\n)*out of everything") as error:
        sweep(sample_jobs.dies, {"x": [0, 1, 2]}, folder=store, trace=str(trace))
    assert "1 of 3 jobs failed" in str(error.value) and len(stored(store)) == 2


def test_killed_it_loses_no_finished_job_and_leaves_no_process(trace, store):
    code = f"""
    import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
    import sample_jobs
    from ncbook.jobs import sweep
    sweep(sample_jobs.waits, {{"x": [0, 1, 2]}}, workers=2, folder={str(store)!r},
          trace={str(trace)!r})
    """
    client = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    wait_for(lambda: calls(trace) == ["0", "1", "2"] and len(stored(store)) == 1)
    client.send_signal(signal.SIGKILL)
    client.wait()
    processes = [int(path.name.removeprefix("process-")) for path in trace.glob("process-*")]
    wait_for(lambda: not any(runs(process) for process in processes))
    (trace / "go").touch()
    found = sweep(sample_jobs.waits, {"x": [0, 1, 2]}, folder=store, trace=str(trace))
    assert found["y"].to_numpy().tolist() == [0, 1, 2]
    assert calls(trace) == ["0", "1", "1", "2", "2"]


def test_two_who_ask_for_the_same_job_have_it_run_once(trace, store):
    def ask():
        sweep(sample_jobs.waits, {"x": [1]}, folder=store, workers=1, trace=str(trace))

    both = [threading.Thread(target=ask) for _ in range(2)]
    for one in both:
        one.start()
    wait_for(lambda: calls(trace) == ["1"])
    time.sleep(0.3)
    (trace / "go").touch()
    for one in both:
        one.join()
    assert calls(trace) == ["1"] and len(stored(store)) == 1


def test_a_damaged_result_is_made_again(trace, store):
    fixed = {"folder": store, "workers": 1, "trace": str(trace)}
    first = sweep(sample_jobs.square, {"x": [3]}, **fixed)
    (path,) = store.glob(f"*/{results.FILE}")
    path.write_bytes(path.read_bytes()[:-9])
    assert sweep(sample_jobs.square, {"x": [3]}, **fixed).identical(first)
    assert calls(trace) == ["3", "3"]


def test_identity_follows_code_and_not_words(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "some_space").mkdir()  # a package without __init__
    (tmp_path / "some_space" / "inner.py").write_text("")
    package = tmp_path / "some_lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "some_script.py").write_text("FACTOR = 2\n")
    (package / "train.py").write_text(
        "import numpy, some_script\nfrom some_lab import deep\nfrom some_space import inner\n"
        "from ncbook import frames\n"
    )
    (package / "deep.py").write_text('"""Words."""\n')
    (package / "other.py").write_text("")

    def key(**arguments):
        parts = identity.parts("some_lab.train:go", arguments, identity.here())
        return identity.key(parts), parts

    first, parts = key(a=1)
    assert {"some_lab/train.py", "some_lab/deep.py", "some_script.py", "some_space/inner.py"} < {
        *parts["code"]
    }
    assert {"ncbook/frames.py", "ncbook/runtime.py"} < parts["code"].keys()
    assert "some_lab/other.py" not in parts["code"]
    assert parts["versions"]["numpy"] == np.__version__ and "torch" in parts["versions"]
    assert "ncbook" not in parts["versions"] and "os" not in parts["versions"]
    assert key(a=2)[0] != first
    (package / "deep.py").write_text('"""Other words."""\n# and a comment\n')
    (package / "other.py").write_text("x = 1\n")
    assert key(a=1)[0] == first
    for path in ("some_lab/deep.py", "some_script.py", "some_space/inner.py"):
        before = key(a=1)[0]
        (tmp_path / path).write_text("x = 1\n")
        assert key(a=1)[0] != before
    before = key(a=1)[0]
    monkeypatch.setenv("NCBOOK_DEVICE", "cuda:1")
    assert key(a=1)[0] != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "cuda"}, r'\(device\): "cuda" was asked for'),
        ({"code": {"sample_jobs.py": "0" * 64}}, r"\(code: sample_jobs.py\).*Bring both to one"),
        ({"versions": {"numpy": "0.1"}}, r'\(versions: numpy\): "0.1" was asked for'),
    ],
)
def test_a_worker_with_other_code_refuses(trace, store, change, said):
    name = "sample_jobs:square"
    arguments = {"x": 1, "trace": str(trace)}
    parts = identity.parts(name, arguments, identity.here())
    for part, value in change.items():
        parts[part] = parts[part] | value if isinstance(value, dict) else value
    order = {"fill": "ncbook.jobs.worker:call", "folder": str(store), "parts": parts,
             "key": identity.key(parts), "label": "one"}  # fmt: skip
    event = worker.perform(order)
    assert event["event"] == "error"
    with pytest.raises(BookError, match=said):
        raise BookError(event["said"])
    assert calls(trace) == [] and stored(store) == set()


@pytest.mark.parametrize("edited", ["own", "shared", "machinery"])
def test_a_worker_that_imported_code_before_an_edit_refuses_the_new(
    store, tmp_path, monkeypatch, edited
):
    """A worker of a cluster: one process that runs jobs of many sweeps."""
    monkeypatch.syspath_prepend(tmp_path)
    one, other, shared = f"{edited}_one", f"{edited}_other", f"{edited}_shared"
    monkeypatch.setattr(worker, "_SEEN", {})
    (tmp_path / f"{shared}.py").write_text("VALUE = 1.0\n")
    text = f"import {shared}\n\ndef f():\n    return {{'y': {shared}.VALUE}}\n"
    more = text.replace("def f", "def g") if edited == "own" else ""
    (tmp_path / f"{one}.py").write_text(text + more)
    (tmp_path / f"{other}.py").write_text(text.replace("def f", "def g"))

    def order(name):
        parts = identity.parts(name, {}, identity.here())
        return {"fill": "ncbook.jobs.worker:call", "folder": str(store), "parts": parts,
                "key": identity.key(parts), "label": "one"}  # fmt: skip

    if edited == "machinery":  # imported by what runs jobs, and not by a job
        monkeypatch.setattr(worker, "__name__", shared)
        worker.here()
    else:
        assert worker.perform(order(f"{one}:f"))["event"] == "done"
    second = f"{one if edited == 'own' else other}:g"
    path = tmp_path / f"{one if edited == 'own' else shared}.py"
    before = path.read_text()
    path.write_text(before + "ADDED = 1\n")
    event = worker.perform(order(second))
    assert event["event"] == "error"
    assert f"(code: {path.name})" in event["said"]
    assert "start the workers anew before" in event["said"]
    assert len(stored(store)) == (edited != "machinery")
    path.write_text(before)
    assert worker.perform(order(second))["event"] == "done"


def test_what_cannot_be_a_job_is_refused(store):
    def inner(x):
        return {"y": x}

    for function in (inner, lambda x: x):
        with pytest.raises(BookError, match="no other process can import it"):
            sweep(function, {"x": [1]}, folder=store)
    refused = [
        ({"x": [1, 1]}, {}, "each of them once"),
        ({"x": [1, True]}, {}, "each of them once"),
        ({"x": [0.5, 1, 1.0]}, {}, "each of them once"),
        ({"x": []}, {}, "expected values"),
        ({"x": [[1, 2]]}, {}, r"x has the value \[1, 2\]; expected numbers, texts"),
        ({"x": [1], "z": [1]}, {}, "unexpected keyword argument 'z'. It takes x, trace"),
        ({"x": [1]}, {"x": 2}, "in the grid and for all"),
        ({"x": [1]}, {"checkpoint": "here"}, "a folder that each job is given"),
        ({"x": [1]}, {"trace": store}, "no plain value"),
        ({"x": [float("nan")]}, {"trace": ""}, "no plain value"),
    ]
    for grid, fixed, said in refused:
        with pytest.raises(BookError, match=said):
            sweep(sample_jobs.square, grid, folder=store, **{"trace": ""} | fixed)
    with pytest.raises(BookError, match="returned a variable x, which is an axis of the grid"):
        sweep(sample_jobs.echo, {"x": [1]}, workers=0)
    with pytest.raises(BookError, match="3 workers of this machine and the scheduler"):
        sweep(sample_jobs.square, {"x": [1]}, workers=3, scheduler="tcp://nowhere:1", trace="")


def test_results_are_where_the_book_or_the_variable_says(tmp_path, monkeypatch, root):
    monkeypatch.setenv("NCBOOK_ROOT", str(root))
    monkeypatch.delenv("NCBOOK_JOBS", raising=False)
    assert run.folder() == root / "_build" / "jobs"
    monkeypatch.setenv("NCBOOK_JOBS", str(tmp_path))
    assert run.folder() == tmp_path
    monkeypatch.delenv("NCBOOK_JOBS")
    monkeypatch.setenv("NCBOOK_ROOT", str(tmp_path))
    with pytest.raises(BookError, match="Set NCBOOK_JOBS"):
        run.folder()
