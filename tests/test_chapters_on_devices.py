"""Every chapter's cells on a second device, at a size at which they take seconds.

What a chapter claims need not hold at that size; its cells must run, and what it measures must be
numbers. The device is emulated, once as CUDA is, in float64, and once as MPS is, in float32.

Each test is a process's own work: see the groups in conftest.py.
"""

import contextlib
import functools
import os
import warnings
from unittest import mock

import pytest
import torch
from emulated_device import KINDS, emulated

from ncbook import files
from ncbook.claims import record
from ncbook.pipeline import chapters, workers

COARSE = 1e-2  # the least error that is allowed on a step
# The parameters of each chapter that are not as they stand in it.
SMALL = {
    "min-zhu-vidal/01-rays-not-points": dict(seeds=2),
    "min-zhu-vidal/02-orthogonally-separable": dict(seeds=2, draws=100, points=20),
    "min-zhu-vidal/03-alignment": dict(seeds=2, h=20, decades=5, frames=2),
    "min-zhu-vidal/04-separation": dict(seeds=2, runs=2),
    "min-zhu-vidal/05-late-training": dict(seeds=2, per_class=4),
    "min-zhu-vidal/06-many-classes": dict(seeds=2, per_class=3, classes=[3, 4, 5], R_end=20.0),
    "min-zhu-vidal/07-mnist": dict(seeds=2, epochs=13, passes=1, frozen=1, width=8),
    "min-zhu-vidal/08-biases": dict(sets=2, seeds=2, level=2.0),
    "mixon-parshall-pi/01-neural-collapse": dict(
        seeds=2, width=8, epochs=6, per_class=25, frames=4
    ),
    "mixon-parshall-pi/02-near-the-origin": dict(seeds=2),
    "mixon-parshall-pi/03-on-the-subspace": dict(seeds=2),
    "mixon-parshall-pi/04-figure-1": dict(seeds=2, steps=200, decades=3),
    "mixon-parshall-pi/05-figure-2": dict(seeds=2, steps=200, decades=3),
    "mixon-parshall-pi/06-limits-and-costs": dict(seeds=2, steps=100),
    "wu-mondelli/01-mean-field": dict(
        m=2, seeds=8, widths=[16, 32, 64], wide=128, end=76.0
    ),
    "wu-mondelli/02-stationary-points": dict(
        d=8, per_class=3, N=25, T=702.0, seeds=1, betas=[10, 100], sizes=[10, 20]
    ),
    "wu-mondelli/03-not-balanced": dict(
        m=2, p=3, widths=[16, 32], betas=[30.0], seeds=2, end=20.0
    ),
    "wu-mondelli/04-gradient-flow": dict(N=20, seeds=2, betas=[10.0, 30.0]),
    "wu-mondelli/05-one-minimiser": dict(N=40, seeds=1, end=300.0),
    "wu-mondelli/06-generalisation": dict(
        d=8, N=20, sizes=[15, 30], test_per_class=10, T=100.0, seeds=2
    ),
    "wu-mondelli/07-mnist-modulo-3": dict(
        per_class=20, batch=20, N=20, p=4, T=12.8, seeds=2, orthonormal=2, epochs=2, constant=[0.02]
    ),
    "wu-mondelli/08-features": dict(d=16, N=32, p=8, per_subclass=5, epochs=80, rate=1.0, runs=2),
}  # fmt: skip


@pytest.fixture
def process(tmp_path, root):
    """Give a chapter a process as the pipeline would, and leave it as it was."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    given = workers.environment(root, tmp_path / "out", "", tmp_path)
    with mock.patch.dict(os.environ, given), warnings.catch_warnings():
        yield
    torch.use_deterministic_algorithms(deterministic)


def coarse(driver):
    """Return a driver of adaptive steps that takes longer ones than it was asked for."""

    @functools.wraps(driver)
    def longer(field, start, *args, rtol=None, **options):
        # What the driver would refuse.
        assert rtol is None or rtol >= 16 * torch.finfo(start.dtype).eps, f"rtol = {rtol}"
        return driver(field, start, *args, rtol=max(COARSE, rtol or 0), **options)

    return longer


@contextlib.contextmanager
def light():
    """Draw figures in one layout, make no page of them, and integrate no better than needed."""
    from ncbook.dynamics import flow, rescaled
    from ncbook.figures import style

    def show(draw, table, *, name, alt, **options):
        with style.settings():
            draw(table, "wide", **options)

    with (
        mock.patch.object(flow, "adaptive_flow", coarse(flow.adaptive_flow)),
        mock.patch.multiple(
            rescaled,
            rescaled_flow=coarse(rescaled.rescaled_flow),
            timed_flow=coarse(rescaled.timed_flow),
        ),
        mock.patch.object(record.kept, "read", lambda *args: None),  # it may be of older claims
        mock.patch.object(style, "show", show),
        mock.patch.object(style, "show_interactive", lambda *args, **options: None),
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_a_chapter_runs_on_a_second_device(name, kind, root, process, monkeypatch):
    monkeypatch.setenv("NCBOOK_DEVICE", kind)
    chapter = chapters.read(root / "notebooks" / f"{name}.md")
    with light(), emulated(kind) as device:
        ran = run(chapter, SMALL[name])
    assert device.waits  # so it was there
    written = {path.stem for path in files.output_dir().glob("claims/*.json")}
    assert written == {claim.id for claim in ran.claims.values() if claim.planned is None}
