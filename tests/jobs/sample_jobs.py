"""Jobs for the tests: functions that another process can import, and that leave traces."""

import os
import time
from pathlib import Path

import numpy as np
import xarray as xr


def curve(norm: str, seed: int, epochs: int, trace: str) -> xr.Dataset:
    """A course over epochs; each call leaves a file."""
    leave(trace, f"{norm}-{seed}")
    draw = np.random.default_rng(seed)
    data = {"loss": ("epoch", draw.normal(size=epochs)), "norm_length": ((), len(norm))}
    return xr.Dataset(data, {"epoch": np.arange(epochs)})


def square(x: float, trace: str) -> dict[str, float]:
    """A number, unless it is 2."""
    leave(trace, str(x))
    if x == 2:
        raise ValueError("two cannot be squared here")
    return {"y": x**2}


def echo(x: float) -> dict[str, float]:
    """What it is given, under its name."""
    return {"x": x}


def dies_once(x: int, trace: str, checkpoint: Path | None = None) -> dict[str, float]:
    """Of 1: half the work, then the process dies; the rest in the next try."""
    leave(trace, str(x))
    half = checkpoint / "half"
    if x == 1 and not half.exists():
        half.write_text("0.5")
        os.kill(os.getpid(), 9)
    return {"done": 1.0, "resumed": float(half.exists())}


def dies(x: int, trace: str) -> dict[str, float]:
    """Of 1 the process dies, each time."""
    leave(trace, str(x))
    if x == 1:
        print("out of everything")
        os.kill(os.getpid(), 9)
    return {"y": 1.0}


def waits(x: int, trace: str) -> dict[str, float]:
    """Wait for a file ``go``, but of 0."""
    leave(trace, str(x))
    (Path(trace) / f"process-{os.getpid()}").touch()
    while x and not (Path(trace) / "go").exists():
        time.sleep(0.02)
    return {"y": float(x)}


def stored(store: Path) -> set[str]:
    """The keys of the results in a store."""
    return {path.name for path in store.glob("[0-9a-f]*")}


def leave(trace: str, name: str) -> None:
    """Leave a trace of a call."""
    with (Path(trace) / "calls").open("a") as file:
        file.write(name + "\n")


def calls(trace: str | Path) -> list[str]:
    """The calls that left a trace, in order of their names."""
    path = Path(trace) / "calls"
    return sorted(path.read_text().split()) if path.exists() else []
