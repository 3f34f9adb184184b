"""``python -m bench.device --trainings``: deep networks at the papers' sizes.

Jobs for a machine with a graphics processor, the most valuable first: of Figure 4 of Min, Zhu and
Vidal a seed with all heads and both data sets; features of CIFAR-100 through a ResNet50 of our own,
for Figure 1 (b) of Wu and Mondelli; of Figure 5 a seed, then the other seeds of both. A job that
has been done by the same code, here or on another machine, is not done again: files of other
machines are put beside this one's, as ``trainings-*.json``, and what they have is taken into it.
What cannot end in the time that is left is not begun; and the file is written after each job.
"""

import functools
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
from ncbook.jobs import identity
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
    """Return the seconds that a job may take, from two epochs of a part of its data.

    Only steps are multiplied: what is done once, as reading, counts once.

    Raises
    ------
    DataError
        The pictures are not at hand.
    """
    if "features" in job:
        source = cifar_features.PLANNED[job["features"]]
        epochs, looks, share = source.schedule.epochs, source.schedule.epochs + 1, 500 / 50
        short = source._replace(schedule=replace(source.schedule, epochs=2, drops=()))

        def once() -> xr.Dataset:
            return cifar_features.train(short, None, 50, os.environ["NCBOOK_DEVICE"])[1]
    else:
        epochs, share = PAPER["epochs"], 60_000 / 5_000
        looks = epochs / PAPER["every"] + 1
        short = {"per_class": 500, "test_per_class": 100, "every": 2, "epochs": 2}

        def once() -> xr.Dataset:
            return train_on_pictures(**arguments(job) | short)

    once()  # the first calls load what the others find
    began = time.monotonic()
    seconds = float(once()["seconds"])
    beside = time.monotonic() - began - seconds
    # A look is a pass forward, a third of what an epoch computes, and its sums.
    return share * seconds / 2 * (epochs + looks / 2) + beside


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


@functools.cache
def code() -> str:
    """Return a hash of the code that a training reaches."""
    return files.digest(json.dumps(identity.reached("ncbook.trainings")[0], sort_keys=True))


def due(done: dict) -> Iterator[dict]:
    """Yield the jobs that a file does not have, or has from other code or with other arguments."""
    for job in jobs():
        found = done.get(key(job), {})
        if (found.get("arguments"), found.get("code")) != (arguments(job), code()):
            yield job


def known_results(path: Path) -> dict:
    """Return what a file has, and those of other machines beside it."""
    content = {}
    for one in sorted(path.parent.glob(f"{path.stem}*.json")):
        content |= json.loads(one.read_text(encoding="utf-8"))
    return content


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
    content = known_results(path)
    known: dict[tuple, float] = {}
    torch.backends.cudnn.benchmark = True  # there are few shapes of mini-batches
    for job in list(due(content)):
        kind = (job.get("depth"), job.get("data"))
        try:
            if kind not in known and end - time.monotonic() > 0:
                known[kind] = pace(job)
        except DataError as error:
            say(f"{key(job)}: {error}")
            continue
        left, expected = end - time.monotonic(), known.get(kind)
        if expected is None or MARGIN * expected > left:
            about_it = "" if expected is None else f", takes about {expected:.0f} s"
            say(f"{key(job)}: not begun{about_it}; {max(left, 0):.0f} s are left")
            continue
        began = time.monotonic()
        run = perform(job, path.parent)
        known[kind] = time.monotonic() - began
        content[key(job)] = {
            "arguments": arguments(job), "code": code(), "device": device, "provenance": about,
            "runs": run,
        }  # fmt: skip
        files.write_atomic(path, json.dumps(content, indent=1) + "\n")
        say(f"{key(job)}: {known[kind]:.0f} s")
    return len(list(due(content)))
