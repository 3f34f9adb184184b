"""``python -m bench.device``: every chapter on a graphics processor, and what its steps cost there.

For a machine with a GPU, in one command, without a network, and within a time that is given:

1. each chapter's cells, in the quick profile, on the CPU and on the GPU in float64 and on the GPU
   in float32, each in a process of its own, without its figures; and the value of each claim in all
   three, with how far it moved as a share of what the claim allows;
2. the time of a paper-size step of MNIST modulo 3 and of Figure 1's batch, beside the time of the
   matrix products in it alone.

All goes to ``results/bench/device.json``. What stands there from the same sources on the same card
is not run again; what cannot end in the time that is left is not begun; and the file is written
after each part, so that a run that is cut off loses only what was under way.

With ``--trainings`` it trains the deep networks of Part III at the paper's size instead, as
:mod:`bench.trainings` says.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import torch

from bench import trainings
from bench.__main__ import provenance
from ncbook import files, runtime
from ncbook.claims import check, record, schema
from ncbook.dynamics.descent import descent
from ncbook.dynamics.minibatch import minibatch_sgd
from ncbook.models.mean_field import MeanField
from ncbook.models.ufm import UnconstrainedFeatures
from ncbook.pipeline import chapters, halving
from ncbook.runtime import Runtime

WHERE = ("cpu", "gpu", "single")  # float64 on the CPU and on the GPU, float32 on the GPU
FILE = "results/bench/device.json"
SECONDS = 450.0  # without other word
# How long chapters take on the CPU, until the file says: seconds of the longest, and of most.
LONGEST, COMMON = 120.0, 30.0

Say = Callable[[str], None]


# --- One chapter ------------------------------------------------------------------------------


def run_cells(name: str, device: str, dtype: str, output: Path) -> None:
    """Run the cells of a chapter in this process, without figures; leave its records in a folder.

    Parameters
    ----------
    name : str
        ``<paper's folder>/<NN-name>``.
    device, dtype : str
        Where, as :func:`ncbook.runtime.start` names it, and in what.
    output : Path
        Gets ``claims/<id>.json``.
    """
    from ncbook import figures

    root, start = files.root(), runtime.start

    def begin(*_: object, **options) -> Runtime:
        run = start(device, **options)
        return Runtime(run.device, getattr(torch, dtype), run.threads)

    chapter = chapters.read(root / "notebooks" / f"{name}.md")
    os.environ |= {"NCBOOK_OUT": str(output), "NCBOOK_ROOT": str(root)}
    variables = {"__name__": "__main__"}
    with (
        mock.patch.object(runtime, "start", begin),
        mock.patch.object(figures, "figure", lambda *_: None),
        mock.patch.object(record.Chapter, "show", lambda _: None),
    ):
        source = chapter.rendered(chapter.values())
        for number, cell in enumerate(chapter.cells, 1):
            code = source if cell.source == chapter.parameters_source else cell.source
            exec(compile(code, f"{name}, code cell {number}", "exec"), variables)


def values(name: str, output: Path) -> dict[str, float]:
    """Return the value of each claim of a chapter that left its records in a folder."""
    found = {}
    for id, claim in schema.of_chapter(files.root(), name).items():
        one = record.read(output / "claims" / f"{id}.json", claim, chapters.QUICK)
        if one is not None:
            found[id] = check.value(claim, one)
    return found


def in_a_process(name: str, where: str, device: str, seconds: float) -> dict:
    """Run a chapter's cells in a process of its own; return its values, or how it ended."""
    on, dtype = ("cpu", "float64") if where == "cpu" else (device, "float64")
    dtype = "float32" if where == "single" else dtype
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.device", "--chapter", name, "--device", on]
        began = time.perf_counter()
        child = subprocess.Popen(
            [*command, "--dtype", dtype, "--output", folder],
            cwd=files.root(),
            env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, said = child.communicate(timeout=max(seconds, 1.0))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return {"problem": f"not finished in {seconds:.0f} s"}
        took = round(time.perf_counter() - began, 2)
        if child.returncode:
            last = [line for line in said.splitlines() if line.strip()][-3:]
            return {"problem": " | ".join(last), "seconds": took}
        return {"seconds": took, "values": values(name, Path(folder))}


# --- The chapters -----------------------------------------------------------------------------


def due(table: dict, names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield which chapters have still to be run where: the longest first, all places of one."""
    known = {name: one.get("cpu", {}).get("seconds", COMMON) for name, one in table.items()}
    for name in sorted(names, key=lambda name: -known.get(name, LONGEST)):
        for where in WHERE:
            if "values" not in table.get(name, {}).get(where, {}):
                yield name, where


def run_chapters(table: dict, names: list[str], device: str, end: float, say: Say, save) -> None:
    """Run what is due while there is time, on as many processes as the machine bears."""

    def one(job: tuple[str, str]) -> None:
        name, where = job
        left = end - time.monotonic()
        expected = table.get(name, {}).get("cpu", {}).get("seconds", COMMON)
        if left < min(expected, LONGEST):
            say(f"{name} ({where}): not begun, {left:.0f} s are left")
            return
        found = in_a_process(name, where, device, left)
        table.setdefault(name, {})[where] = found
        say(f"{name} ({where}): {found.get('problem') or format(found['seconds'], '.1f') + ' s'}")
        save()

    with ThreadPoolExecutor(max(1, min(6, (os.cpu_count() or 2) - 1))) as pool:
        list(pool.map(one, list(due(table, names))))


def compared(table: dict) -> list[dict]:
    """Return a row a claim: its value in each place, and how far from that on the CPU in float64.

    The latter is a share of what the claim allows: see :func:`ncbook.pipeline.halving.share`.
    """
    rows = []
    claims = schema.registry(files.root())
    for places in table.values():
        found = {where: places.get(where, {}).get("values", {}) for where in WHERE}
        for id, value in found["cpu"].items():
            row = {"claim": id, **{where: found[where].get(id) for where in WHERE}}
            for where in WHERE[1:]:
                if id in claims and row[where] is not None:
                    row[f"{where}_share"] = halving.share(claims[id], value, row[where])
            rows.append(row)
    return rows


# --- Steps ------------------------------------------------------------------------------------


def timed(once: Callable[[], object], device: torch.device, seconds: float = 0.5) -> float:
    """Return the seconds that a call takes, from so many that they fill half a second, twice."""

    def loop(count: int) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(count):
            once()
        _wait(device)
        return time.perf_counter() - began

    loop(3)  # the first calls load what the others find
    count = max(1, round(seconds / max(loop(3) / 3, 1e-7)))
    return min(loop(count), loop(count)) / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def mnist_step(device: torch.device, dtype: torch.dtype, N: int = 6272) -> dict:
    """Return the time of a step of MNIST modulo 3 at the paper's size, and of its products alone.

    Four runs, mini-batches of 64, 784 pixels of random images: a step does not depend on them.
    """
    p, b, d, runs, steps = 16, 64, 784, 4, 20
    draw = runtime.generator(0)
    X = torch.rand(512, d, generator=draw, dtype=torch.float64).to(device, dtype)
    model = MeanField(X, [k % 3 for k in range(512)], 3, p, N, decay=1e-4)
    start = model.start(range(runs), Runtime(device, dtype, 1), W="normal")

    def train(count: int) -> None:
        rates = torch.full((count,), 0.04, dtype=torch.float64)
        minibatch_sgd(model, start, rates, seeds=range(runs), batch=b, record=[])

    # Of a longer and a shorter training, so that what is done once does not count.
    step = (timed(lambda: train(2 * steps), device) - timed(lambda: train(steps), device)) / steps
    x, (_, A, U) = X[:b], model.unpack(start[0])
    S, G = x @ U, torch.ones(p, b, device=device, dtype=dtype)
    A, U = A.clone(), U.clone()

    def products() -> None:
        for _ in range(runs):
            torch.mm(x, U, out=S)
            torch.mm(A, S.mT)
            torch.mm(G.mT, A)
            torch.addmm(A, G, S)
            torch.addmm(U, x.mT, S)

    return {"step": step, "products": timed(products, device)}


def figure_1_step(device: torch.device, dtype: torch.dtype, runs: int = 350) -> dict:
    """Return the time of an iteration of Figure 1's whole batch, and of its products alone."""
    model = UnconstrainedFeatures(3, 3, 15, device, dtype)
    run = Runtime(device, dtype, 1)
    z = model.small_start([1e-2], range(runs), run)[0]

    def iterate(count: int) -> None:
        descent(model.field, z, 1e-2, count)

    step = (timed(lambda: iterate(200), device) - timed(lambda: iterate(100), device)) / 100
    H, W, _ = model.unpack(z)
    E = W @ H

    def products() -> None:
        torch.bmm(W, H)
        torch.bmm(W.mT, E)
        torch.bmm(E, H.mT)

    return {"step": step, "products": timed(products, device)}


STEPS = {"mnist-modulo-3": mnist_step, "figure-1": figure_1_step}


def steps(device: str) -> list[dict]:
    """Return a row a problem, place and dtype."""
    rows = []
    for problem, measure in STEPS.items():
        for on in dict.fromkeys(("cpu", device)):
            for dtype in (torch.float64, torch.float32):
                found = measure(torch.device(on), dtype)
                rows.append(
                    {"problem": problem, "device": on, "dtype": str(dtype)[6:], **found}
                    | {"share": found["products"] / found["step"]}
                )
    return rows


# --- The command ------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run what is due; return 1 where a chapter stopped on the device."""
    parser = argparse.ArgumentParser(prog="python -m bench.device", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHAPTER", help="all without any")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long it may take")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--save", type=Path, help="the file")
    parser.add_argument("--trainings", action="store_true", help="deep networks at paper size")
    for name in ("--chapter", "--dtype", "--output"):  # of a process that runs one chapter
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.chapter:
        run_cells(options.chapter, options.device, options.dtype, Path(options.output))
        return 0
    end = time.monotonic() + options.seconds
    try:
        device = runtime.start(options.device)
    except ValueError as error:
        parser.error(str(error))
    about = provenance() | {"device": str(device)}
    say = lambda line: print(line, flush=True)  # noqa: E731
    path = options.save or files.root() / (trainings.FILE if options.trainings else FILE)
    if options.trainings:
        os.environ["NCBOOK_DEVICE"] = options.device
        say(f"{trainings.run_all(path, str(device), end, say, about)} trainings remain: {path}")
        return 0
    content = _resumed(path, about)

    def save() -> None:
        content["device-claims"] = compared(content["chapters"])
        text = json.dumps(content, indent=1, allow_nan=True)
        files.write_atomic(path, text + "\n")

    torch.use_deterministic_algorithms(False)
    if "device-steps" not in content:
        content["device-steps"] = steps(options.device)
        save()
    known = [chapter.id for chapter in chapters.discover(files.root())]
    if strange := set(options.names) - set(known):
        parser.error(f"unknown chapter {min(strange)!r}; known are {', '.join(known)}.")
    run_chapters(content["chapters"], options.names or known, options.device, end, say, save)
    save()
    stopped = {
        f"{name} ({where})": found["problem"]
        for name, places in content["chapters"].items()
        for where, found in places.items()
        if "problem" in found
    }
    for place, problem in stopped.items():
        print(f"{place}: {problem}", file=sys.stderr)
    print(f"Written: {path}")
    return 1 if stopped else 0


def _resumed(path: Path, about: dict) -> dict:
    """Return what a file has from the same sources and the same card; else nothing yet."""
    same = ("sources", "device", "processor", "torch")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if all(content["provenance"][name] == about[name] for name in same):
            return content
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {"provenance": about, "chapters": {}}


if __name__ == "__main__":
    sys.exit(main())
