"""``python -m bench.device --trainings``: deep networks at the papers' sizes.

Jobs for a machine with a graphics processor, the most valuable first: of Figure 4 of Min, Zhu and
Vidal a seed with all heads and both data sets; features of CIFAR-100 through a ResNet50 of our own,
for Figure 1 (b) of Wu and Mondelli; of Figure 5 a seed, then the other seeds of both. A job that
has been done, here or on another machine, is not done again; what cannot end in the time that is
left is not begun; and the file is written after each job, so that files of several machines merge.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
import xarray as xr

from bench import cifar_features
from ncbook import files
from ncbook.data.idx import DataError
from ncbook.trainings import train_on_pictures

FILE = "results/bench/trainings.json"
HEADS = ("none", "rms", "layer")
SETS = ("mnist (full)", "cifar10")
# The paper's: 50 epochs of batch 128, the rate times 0.1 every 20 epochs, five runs.
PAPER = {
    "epochs": 50,
    "batch": 128,
    "momentum": 0.95,
    "drops": [20, 40],
    "width": 64,
    "stem": "3x3",
    "hidden": 1000,
    "every": 2,
}
RATES = {18: 0.1, 50: 0.02}
SEEDS = 5
MARGIN = 1.15  # a job counts as this much longer than it is expected to be

Say = Callable[[str], None]


def jobs() -> Iterator[dict]:
    """Yield what tells each job from the others, the most valuable first."""
    for seed in range(SEEDS):
        for depth in RATES:
            for data in SETS:
                for head in HEADS:
                    yield {"depth": depth, "data": data, "head": head, "seed": seed}
            if seed == 0 and depth == min(RATES):
                yield from ({"features": name} for name in cifar_features.PLANNED)


def arguments(job: dict) -> dict:
    """Return all that a job is told."""
    if "features" in job:
        schedule = asdict(cifar_features.PLANNED[job["features"]].schedule)
        return job | json.loads(json.dumps(schedule))  # as the file has it
    return PAPER | {"rate": RATES[job["depth"]]} | job


def pace(job: dict) -> float:
    """Return the seconds that a job may take, from its first two epochs of a tenth of the data.

    Raises
    ------
    DataError
        The pictures are not at hand.
    """
    if "features" in job:
        source = cifar_features.PLANNED[job["features"]]
        began = time.monotonic()
        epochs = source.schedule.epochs
        short = source._replace(schedule=replace(source.schedule, epochs=2, drops=()))
        cifar_features.train(short, None, 50, os.environ["NCBOOK_DEVICE"])
        return (time.monotonic() - began) / 2 * 500 / 50 * epochs
    per_class = 500
    short = arguments(job) | {"per_class": per_class, "test_per_class": 100, "every": 2}
    train_on_pictures(**short | {"epochs": 1})  # the first calls load what the others find
    began = time.monotonic()
    run = train_on_pictures(**short | {"epochs": 2})
    epoch = float(run["seconds"]) / 2 * 60_000 / (10 * per_class)
    # A measurement is a pass forward over what an epoch passes forward and back.
    looks = (time.monotonic() - began - float(run["seconds"])) / 2 * 60_000 / (10 * per_class)
    return PAPER["epochs"] * epoch + (PAPER["epochs"] / PAPER["every"] + 1) * looks


def rows(run: xr.Dataset) -> dict:
    """Return a training as plain lists by epoch, and its status, steps and seconds."""
    found = {"epoch": run["epoch"].values.tolist()}
    for name, values in run.data_vars.items():
        found[name] = values.values.tolist() if values.dims else values.item()
    return found


def key(job: dict) -> str:
    """Return what tells a job from the others, in words."""
    if "features" in job:
        return f"{job['features']} on other classes of CIFAR-100, features"
    return f"ResNet{job['depth']}, {job['data']}, {job['head']}, seed {job['seed']}"


def due(done: dict) -> Iterator[dict]:
    """Yield the jobs that a file does not have."""
    return (job for job in jobs() if done.get(key(job), {}).get("arguments") != arguments(job))


def perform(job: dict, folder: Path) -> dict:
    """Do a job; return what the file of results has of it. Features go into a file beside it."""
    if "features" not in job:
        return rows(train_on_pictures(**arguments(job)))
    source, device = cifar_features.PLANNED[job["features"]], os.environ["NCBOOK_DEVICE"]
    network, course = cifar_features.train(source, None, None, device)
    path = folder / f"features-{job['features'].lower()}.npz"
    sha256 = cifar_features.write(path, source, network, cifar_features.chosen())
    return rows(course) | {"file": path.name, "sha256": sha256}


def run_all(path: Path, device: str, end: float, say: Say, about: dict) -> int:
    """Do the jobs that are due while there is time; return how many remain.

    Parameters
    ----------
    path : Path
        The file of results: what it has is kept.
    device : str
        As it is named in each result.
    end : float
        When all must have ended, by ``time.monotonic()``.
    say : callable
        Told a line a job.
    about : dict
        The provenance of what is added.
    """
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known: dict[tuple, float] = {}
    torch.backends.cudnn.benchmark = True  # all mini-batches have one shape
    for job in list(due(content)):
        kind = (job.get("depth"), job.get("data"))
        try:
            if kind not in known and end - time.monotonic() > 0:
                known[kind] = pace(job)
        except DataError as error:
            known[kind] = float("inf")
            say(f"{key(job)}: {error}")
        left, expected = end - time.monotonic(), known.get(kind, float("inf"))
        if MARGIN * expected > left:
            say(f"{key(job)}: not begun, takes about {expected:.0f} s of the {left:.0f} s left")
            continue
        began = time.monotonic()
        run = perform(job, path.parent)
        known[kind] = time.monotonic() - began
        content[key(job)] = {
            "arguments": arguments(job), "device": device, "provenance": about, "runs": run,
        }  # fmt: skip
        files.write_atomic(path, json.dumps(content, indent=1) + "\n")
        say(f"{key(job)}: {known[kind]:.0f} s")
    return len(list(due(content)))
