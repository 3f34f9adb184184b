"""Every chapter's cells on a second device, at a size at which they take seconds.

What a chapter claims need not hold at that size; its cells must run, and what it measures must be
numbers. The device is emulated as MPS is, in float32, and refuses all that either kind refuses; for
a chapter of each part also as CUDA is, in float64.

Each test is a process's own work: see the groups in conftest.py. `make test` passes over those of
which results/repeated.json says that they passed with the same code: see nbval_chapters.py.
"""

import contextlib
import functools
import inspect
import math
import os
import warnings
from collections import Counter
from pathlib import Path
from unittest import mock

import emulated_device
import pytest
import torch

from ncbook import files
from ncbook.claims import record, schema
from ncbook.pipeline import chapters, workers

ROOT = Path(__file__).resolve().parents[1]
STEPS = 2  # the most of an iteration from one place of its record to the next
PART = 16  # of the way there a flow of given steps goes one sixteenth
PLACES = 40  # of a record, at which about it is observed
BATCHES = 20  # the most steps of training on mini-batches
SEARCH = 30  # the most iterations of a search for minima
ALL = 1000
# Chapters that need more steps.
LONG = {
    "dang-et-al/02-every-local-minimum": 200,
    "tirer-bruna/02-before-a-relu": ALL,
    "wu-mondelli/02-stationary-points": 300,
    "wu-mondelli/08-features": ALL,
}
RTOL = 1e-2  # the least error that is allowed on a step of adaptive length
MOST = 7  # of the steps of a flow in rescaled time
STRIDE = 4  # steps between two looks at them: most end in the second
POINTS = 61  # of the grid of a limit of many particles, along an axis
# Chapters that ask for what only a run has that came to its end.
FINISHED = {"min-zhu-vidal/06-many-classes"}
# The parameters of each chapter that are not as they stand in it.
SMALL = {
    "hong-ling/01-data-decide": dict(n=4, seeds=2),
    "hong-ling/02-closed-gates": dict(n=6, starts=2, width=4, steps=50),
    "dang-et-al/01-lost-classes": dict(seeds=8, costs=[0.4, 0.7, 0.97, 1.03]),
    "dang-et-al/02-every-local-minimum": dict(seeds=8, costs=[0.9, 1.15]),
    "behnia-thrampoulidis/01-contrast": dict(K=7, n=2, seeds=20),
    "behnia-thrampoulidis/02-two-sizes": dict(n=2, ratios=[1, 5], seeds=2),
    "jacot-et-al/01-balance": dict(per_class=3, end=100.0, seeds=2),
    "barannikov-et-al/01-barcodes": dict(seeds=6, nets=3, epochs=20),
    "he-su/01-layer-by-layer": dict(
        width=8, per_class=20, epochs=11, conv_epochs=1, seeds=2
    ),
    "min-zhu-vidal/01-rays-not-points": dict(seeds=2),
    "min-zhu-vidal/02-orthogonally-separable": dict(seeds=2, draws=100, points=20),
    "min-zhu-vidal/03-alignment": dict(seeds=2, h=20, decades=5, frames=2),
    "min-zhu-vidal/04-separation": dict(seeds=1, runs=1),
    "min-zhu-vidal/05-late-training": dict(seeds=2, per_class=4),
    "min-zhu-vidal/06-many-classes": dict(seeds=2, per_class=3, classes=[3, 4, 5], R_end=11.0),
    "min-zhu-vidal/07-mnist": dict(seeds=2, epochs=13, passes=1, frozen=1, width=8),
    "min-zhu-vidal/08-biases": dict(sets=2, seeds=2, level=2.0),
    "min-zhu-vidal/09-deep-networks": dict(
        per_class=4, test_per_class=2, width=4, hidden=20, epochs=2, drops=[1], every=1, batch=20,
        seeds=1,
    ),
    "mixon-parshall-pi/01-neural-collapse": dict(
        seeds=2, width=8, epochs=6, per_class=25, frames=4
    ),
    "mixon-parshall-pi/02-near-the-origin": dict(seeds=2),
    "mixon-parshall-pi/03-on-the-subspace": dict(seeds=2),
    "mixon-parshall-pi/04-figure-1": dict(seeds=2, steps=200, decades=3),
    "mixon-parshall-pi/05-figure-2": dict(seeds=2, steps=200, decades=3),
    "mixon-parshall-pi/06-limits-and-costs": dict(p=3, seeds=1, steps=100),
    "mixon-parshall-pi/07-deep-network": dict(
        per_class=10, test_per_class=2, width=4, epochs=4, early=1, drop=2, batch=50, seeds=1
    ),
    "papyan-han-donoho/01-measure-your-network": dict(
        per_class=10, test_per_class=2, width=4, epochs=2
    ),
    "tirer-bruna/01-extended-model": dict(seeds=2, ratios=[0.9, 1.1]),
    "tirer-bruna/02-before-a-relu": dict(seeds=8),
    "sukenik-lampert-mondelli/01-depth": dict(most=3),
    "sukenik-lampert-mondelli/02-descent": dict(widths=[12, 14], runs=2, seeds=2),
    "fang-et-al/01-features-as-state": dict(widths=[4, 8], seeds=4, steps=8),
    "skorski-temperoni-theobald/01-hessian-norm": dict(per_class=1, seeds=1),
    "wu-mondelli/01-mean-field": dict(
        m=2, seeds=8, widths=[16, 32, 64], wide=128, end=76.0
    ),
    "wu-mondelli/02-stationary-points": dict(end=702.0, seeds=1, betas=[10, 100], sizes=[10, 20]),
    "wu-mondelli/03-not-balanced": dict(
        m=2, p=3, widths=[16, 32], betas=[30.0], seeds=2, end=20.0
    ),
    "wu-mondelli/04-gradient-flow": dict(N=20, seeds=1, betas=[10.0, 30.0]),
    "wu-mondelli/05-one-minimiser": dict(N=40, seeds=1, end=300.0),
    "wu-mondelli/06-generalisation": dict(
        d=8, N=20, sizes=[15, 30], test_per_class=10, T=100.0, seeds=2
    ),
    "wu-mondelli/07-mnist-modulo-3": dict(
        per_class=20, batch=20, N=20, p=4, T=12.8, seeds=2, orthonormal=2, epochs=2, constant=[0.02]
    ),
    "wu-mondelli/08-features": dict(d=16, N=32, p=8, per_subclass=5, epochs=160, rate=1.0, runs=2),
    "wu-mondelli/09-deep-features": dict(N=32, p=8, per_subclass=5, epochs=400, runs=2),
    "zhang-et-al/01-by-construction": dict(per_class=10, seeds=2, updates=16),
}  # fmt: skip
# In float64, too: one of each part.
ON_CUDA = (
    "mixon-parshall-pi/03-on-the-subspace",
    "wu-mondelli/03-not-balanced",
    "min-zhu-vidal/01-rays-not-points",
    "dang-et-al/01-lost-classes",
)


@pytest.fixture
def process(tmp_path, root):
    """Give a chapter a process as the pipeline would, and leave it as it was."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    given = workers.environment(root, tmp_path / "out", "", tmp_path)
    with mock.patch.dict(os.environ, given), warnings.catch_warnings():
        yield
    torch.use_deterministic_algorithms(deterministic)


def with_(driver, **changed):
    """Return a driver with some arguments changed by a function of what was asked for."""
    signature = inspect.signature(driver)

    @functools.wraps(driver)
    def other(*args, **options):
        asked = signature.bind(*args, **options)
        for name, change in changed.items():
            asked.arguments[name] = change(asked.arguments.get(name))
        return driver(*asked.args, **asked.kwargs)

    return other


def hurried(iterate, part_of):
    """Return an iteration that goes to ``part_of(now, stop)`` of each stretch, and few of many.

    At the places between, what was observed last is repeated.
    """

    @functools.wraps(iterate)
    def part(z, advance, record, end, times, observe=None, *args, **options):
        every, place, seen = 1 + len(record) // PLACES, -1, {}

        def short(now, stop):
            nonlocal place
            place += 1
            return 0 if place % every else advance(now, part_of(now, stop))

        def look(z):
            if place % every == 0:
                seen.update(observe(z))
            return seen

        return iterate(z, short, record, end, times, observe and look, *args, **options)

    return part


def at_first(step, most):
    """Return a step that a run takes ``most`` times, and no more."""
    taken = Counter()

    @functools.wraps(step)
    def other(run, *args):
        taken[run] += 1
        if taken[run] <= most:
            step(run, *args)

    return other


@contextlib.contextmanager
def light(name: str):
    """Draw figures in one layout, make no page of them, and integrate no better than needed.

    A run of the chapter makes all its records and sees all its observables, in fewer steps.
    """
    from ncbook import figures, jobs
    from ncbook.dynamics import descent, ensemble, flow, langevin, minibatch, rank_one, rescaled
    from ncbook.dynamics import minimise as search
    from ncbook.figures import style
    from ncbook.theory.mean_field import limit as mean_field_limit

    def figure(name, picture):
        if hasattr(picture, "still"):
            picture.still(name)
        else:
            with style.settings():
                picture.draw("wide")

    def few_steps(now, stop):
        return min(stop, now + LONG.get(name, STEPS))

    def short_time(now, stop):
        return min(stop, now + max(0.1, (stop - now) / PART))

    coarse = {"rtol": lambda asked: max(RTOL, asked or 0)}
    few = coarse | {"max_steps": lambda asked: ALL if name in FINISHED else MOST}
    with (
        mock.patch.object(langevin, "iterate", hurried(langevin.iterate, few_steps)),
        mock.patch.object(descent, "iterate", hurried(descent.iterate, few_steps)),
        mock.patch.object(
            minibatch._Run, "step", at_first(minibatch._Run.step, LONG.get(name, BATCHES))
        ),
        mock.patch.object(flow, "iterate", hurried(flow.iterate, short_time)),
        mock.patch.object(flow, "flow", with_(flow.flow, method=lambda asked: "Euler")),
        mock.patch.object(flow, "adaptive_flow", with_(flow.adaptive_flow, **coarse)),
        mock.patch.object(rescaled, "rescaled_flow", with_(rescaled.rescaled_flow, **few)),
        mock.patch.object(rank_one, "class_paths", with_(rank_one.class_paths, **coarse)),
        mock.patch.object(rescaled, "timed_flow", with_(rescaled.timed_flow, **few)),
        mock.patch.object(
            search, "minimise", with_(search.minimise, steps=lambda asked: LONG.get(name, SEARCH))
        ),
        mock.patch.object(ensemble, "STRIDE", STRIDE),
        mock.patch.object(
            mean_field_limit,
            "stationary_limit",
            with_(mean_field_limit.stationary_limit, points=lambda asked: POINTS),
        ),
        mock.patch.object(mean_field_limit, "_RESOLVED", math.inf),
        mock.patch.object(record.kept, "read", lambda *args: None),  # it may be of older claims
        mock.patch.object(figures, "figure", figure),
        mock.patch.object(jobs, "sweep", with_(jobs.sweep, workers=lambda asked: 0)),
        mock.patch.object(record.Chapter, "show", lambda chapter: None),
    ):
        yield


def run(chapter: chapters.Chapter, given: dict) -> record.Chapter:
    """Run a chapter's cells here; return its record."""
    parameters, variables = chapter.rendered(chapter.values(given=given)), {}
    for number, cell in enumerate(chapter.cells):
        code = parameters if cell.source == chapter.parameters_source else cell.source
        exec(compile(code, f"{chapter.id}, cell {number}", "exec"), variables)
    return variables["chapter"]


def test_every_chapter_has_its_size(root):
    assert {chapter.id for chapter in chapters.discover(root)} == set(SMALL)


def repeats(name: str, kind: str):
    """Return the case of a chapter on a kind of device, with what its outcome depends on."""
    claims = ROOT / "notebooks" / Path(name).with_name(schema.FILE)
    read = (Path(module.__file__) for module in (emulated_device, chapters, workers))
    return pytest.param(name, kind, marks=pytest.mark.repeats(name, SMALL[name], claims, *read))


@pytest.mark.parametrize(
    ("name", "kind"),
    [*(repeats(name, "mps") for name in SMALL), *(repeats(name, "cuda") for name in ON_CUDA)],
)
def test_a_chapter_runs_on_a_second_device(name, kind, root, process, monkeypatch):
    monkeypatch.setenv("NCBOOK_DEVICE", kind)
    chapter = chapters.read(root / "notebooks" / f"{name}.md")
    with light(name), emulated_device.emulated(kind) as device:
        ran = run(chapter, SMALL[name])
    assert device.waits  # so it was there
    written = {path.stem for path in files.output_dir().glob("claims/*.json")}
    assert written == {claim.id for claim in ran.claims.values() if claim.planned is None}
