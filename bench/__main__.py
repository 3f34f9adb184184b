"""``python -m bench``: measure ncbook against other ways to compute the same, and print ratios."""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import figure_1, metrics, mnist, networks, part_2, part_3, stationarity, sweep
from bench.figure_1 import Report
from ncbook import files

ROOMS = ("dynamics", "models", "metrics", "theory")
MEASURED = ("bench/**/*.py", "ncbook/frames.py", *(f"ncbook/{room}/**/*.py" for room in ROOMS))

Say = Callable[[str], None]


def part_i(quick: bool, say: Say) -> Report:
    """Figure 1 of Part I, and the metrics."""
    report = figure_1.run(quick, say=say)
    with figure_1.one_thread():
        nc1 = metrics.rows((64,), 500) if quick else metrics.rows()
        network = metrics.network_rows(((64, 500),)) if quick else metrics.network_rows()
        metrics.show(nc1)
        metrics.show(network)
    wrong = [
        f"NC1, {row['method']} at D = {row['D']}: differs from ours by {row['error']:.1e}, "
        f"relative; expected at most {metrics.TOLERANCE:g}."
        for row in nc1 + network
        if not row["agrees"]
    ]
    return Report(report.tables | {"metrics": nc1, "network": network}, report.wrong + wrong)


def part_ii(quick: bool, say: Say) -> Report:
    """Figure 1 (a) of Part II, and Theorem 4.2's right-hand side."""
    problem = part_2.Problem.at_hand(quick)
    with figure_1.one_thread():
        say(part_2.head(problem))
        steps = part_2.rows(problem, repeats=1 if quick else 5, say=say)
        say(f"\n{part_2.schedules_head(problem)}")
        schedules = part_2.schedules(problem, say=say)
        say("")
        systems = stationarity.stationarity_rows(quick, say)
    wrong = [
        f"Part II, {row['method']}, {row['dtype']}: {row['apart']:.1e} from ours after the same "
        "steps; expected equal states."
        for row in steps
        if not row["agrees"]
    ]
    wrong += [
        f"Part II, {row['schedule']}: {row['apart']:.1f} standard deviations from the constant "
        f"rate's end; expected at most {part_2.SPREADS:g}."
        for row in schedules
        if not row["agrees"]
    ]
    wrong += [
        f"Theorem 4.2, {row['method']} at n = {row['n']}: differs from ours by "
        f"{row['error']:.1e}; expected at most {stationarity.TOLERANCE:g}."
        for row in systems
        if not row["agrees"]
    ]
    return Report({"steps": steps, "schedules": schedules, "systems": systems}, wrong)


def part_iii(quick: bool, say: Say) -> Report:
    """Figure 3 of Part III, and the flow of the ReLU network."""
    training = mnist.Problem.at_hand(quick)
    problems = (part_3.SMALL,) if quick else part_3.PROBLEMS
    with figure_1.one_thread():
        say(mnist.head(training))
        digits = mnist.rows(training, say=say)
        say(f"\n{part_3.HEAD}")
        late = [row for problem in problems for row in part_3.rows(problem, quick, say)]
    wrong = [
        f"MNIST, {row['method']}, {row['dtype']}: {row['apart']:.1f} standard deviations from "
        f"ours; expected at most {mnist.SPREADS:g}."
        for row in digits
        if not row["agrees"]
    ]
    reached = {row["problem"] for row in late if row["group"] == part_3.OURS}
    wrong += [
        f"Part III, {problem.name}: no setting of ours reaches an error of {problem.level:g}."
        for problem in problems
        if problem.name not in reached
    ]
    return Report({"mnist": digits, "late": late}, wrong)


def deep(quick: bool, say: Say) -> Report:
    """Trainings of a deep network."""
    with figure_1.one_thread():
        table = networks.rows(quick, say)
    wrong = [
        f"Networks, {row['method']} on {row['device']} in {row['precision']}: weights "
        f"{row['apart']:.1e} from ours; expected at most {networks.TOLERANCE:g}."
        for row in table
        if not row["agrees"]
    ]
    return Report({"networks": table}, wrong)


PARTS = {"part-1": part_i, "part-2": part_ii, "part-3": part_iii, "networks": deep}
ON_DEMAND = {"sweep": sweep.run}  # about the machinery, not about the papers


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return 1 if two methods that must agree do not, else 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART",
        help=f"any of {', '.join(PARTS)}, or {', '.join(ON_DEMAND)}; without it, all the first",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="a smoke test: its times mean nothing")
    parser.add_argument(
        "--save", action="store_true", help="also write results/bench/PART.json, with provenance"
    )
    options = parser.parse_args(arguments)
    every = PARTS | ON_DEMAND
    if unknown := set(options.parts) - set(every):
        parser.error(f"unknown part {min(unknown)!r}; known are {', '.join(every)}.")
    if importlib.util.find_spec("torchdiffeq") is None:
        parser.error("torchdiffeq is not installed; make bench installs it, or pip install it.")
    wrong = []
    for name in options.parts or PARTS:
        load = _load()
        report = every[name](options.quick, _say)
        wrong += report.wrong
        if options.save:
            content = {"provenance": provenance() | load} | report.tables
            path = files.root() / "results" / "bench" / f"{name}.json"
            files.write_atomic(path, json.dumps(content, indent=1) + "\n")
            _say(f"\nWritten: results/bench/{path.name}")
        _say("")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def provenance() -> dict:
    """Return when, on what machine and with which versions and sources this runs."""
    packages = ("torch", "numpy", "scipy", "torchdiffeq")
    sources = sorted(path for pattern in MEASURED for path in files.root().glob(pattern))
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "sources": files.digest("".join(files.digest(path) for path in sources)),
    }


def _load() -> dict:
    """Return how busy the machine was beforehand, where the system tells."""
    return {"load": [round(x, 2) for x in os.getloadavg()]} if hasattr(os, "getloadavg") else {}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
