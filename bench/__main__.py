"""``python -m bench``: measure ncbook against other ways to compute the same, and print ratios."""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import figure_1, metrics, mnist, part_3
from ncbook import files

MEASURED = ("bench", "ncbook/dynamics", "ncbook/models", "ncbook/metrics")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return 1 if two methods that must agree do not, else 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: its times mean nothing")
    parser.add_argument(
        "--save", metavar="NAME", help="also write results/bench/NAME.json, with its provenance"
    )
    options = parser.parse_args(arguments)
    if options.save is not None and not options.save.replace("-", "").replace(".", "").isalnum():
        parser.error(f"--save {options.save!r}: give a name of letters, digits, '-' and '.'.")
    if importlib.util.find_spec("torchdiffeq") is None:
        parser.error("torchdiffeq is not installed; make bench installs it, or pip install it.")
    load = _load()
    report = figure_1.run(options.quick, say=_say)
    with figure_1.one_thread():
        nc1 = metrics.rows((64,), 500) if options.quick else metrics.rows()
        metrics.show(nc1)
        training = mnist.Problem.at_hand(options.quick)
        _say(f"\n{mnist.head(training)}")
        digits = mnist.rows(training, say=_say)
        _say(f"\n{part_3.HEAD}")
        problems = (part_3.SMALL,) if options.quick else part_3.PROBLEMS
        late = [row for p in problems for row in part_3.rows(p, options.quick, _say)]
    wrong = report.wrong + [
        f"NC1, {row['method']} at D = {row['D']}: differs from ours by {row['error']:.1e}, "
        f"relative; expected at most {metrics.TOLERANCE:g}."
        for row in nc1
        if not row["agrees"]
    ]
    wrong += [
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
    if options.save:
        tables = report.tables | {"metrics": nc1, "mnist": digits, "late": late}
        content = {"provenance": provenance() | load} | tables
        path = files.root() / "results" / "bench" / f"{options.save}.json"
        files.write_atomic(path, json.dumps(content, indent=1) + "\n")
        _say(f"\nWritten: results/bench/{path.name}")
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def provenance() -> dict:
    """Return when, on what machine and with which versions and sources this runs."""
    packages = ("torch", "numpy", "scipy", "torchdiffeq")
    sources = sorted(path for folder in MEASURED for path in (files.root() / folder).rglob("*.py"))
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
